"""The API of a running gateway, as others use it: curl, openssl, and a fuzzer of its description."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
import tomllib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from lab.ca import Authority, Files
from lab.gateway import Gateway

PATIENCE = 30.0
ELSEWHERE = {
    "/restart", "/tail", "/tlsverify", "/testreceiver", "/nslookup", "/dig", "/certconfig/crl/update",
    "/alertconfig/test", "/ldaptest", "/grep",
}  # fmt: skip
"""Commands that have no end, end the gateway, or speak to other hosts."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@dataclass(frozen=True)
class Outside:
    """A gateway, and what a client knows of it."""

    gateway: Gateway
    port: int
    token: str
    root: Path
    other: Files

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/api/v1"

    def connect(self) -> HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.root))
        return HTTPSConnection("localhost", self.port, timeout=PATIENCE, context=context)

    def curl(self, path: str, *words: str) -> tuple[int, str]:
        """Status and body."""
        done = subprocess.run(
            ["curl", "-sS", "-m", "30", "--cacert", str(self.root), "-w", "\n%{http_code}", *words,
             "-H", f"Authorization: Bearer {self.token}", f"{self.url}/{path}"],
            capture_output=True, text=True, timeout=PATIENCE * 2, check=True,
        )  # fmt: skip
        body, _, status = done.stdout.rpartition("\n")
        return int(status), body


@pytest.fixture(scope="module")
def outside(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("api")
    first, second = (
        authority.intermediate().issue("localhost").write(folder, name) for name in ("first", "second")
    )
    prepare = [
        ("certconfig", "import", "first", str(first.chain), str(first.key), "--any-names"),
        ("certconfig", "import", "second", str(second.chain), str(second.key), "--any-names"),
        ("certconfig", "assign", "first", "interface:Management"),
    ]
    with Gateway(prepare=prepare) as gateway:
        port = tomllib.loads(gateway.text("showconfig"))["interfaces"][0]["https_port"]
        token = gateway.command("tokenconfig", "new", "robot", "--role", "administrator")["token"]
        yield Outside(gateway, port, token, first.root, second)


def test_curl_does_what_an_administrator_does(outside: Outside) -> None:
    status, body = outside.curl("certconfig/list")
    assert (status, [entry["name"] for entry in json.loads(body)]) == (200, ["Demo", "first", "second"])
    post = ("-H", "Content-Type: application/json", "-d")
    route = '{"domain": "example.com", "hosts": ["mail.example.com"]}'
    assert outside.curl("smtproutes/new", *post, route)[0] == 200
    assert "no uncommitted changes" in outside.gateway.text("showchanges")
    status, body = outside.curl("commit", *post, '{"comment": "by curl"}')
    assert status == 200
    assert any(
        "Interface Management serves the certificate first" in note for note in json.loads(body)["notes"]
    )
    assert "mail.example.com" in outside.gateway.text("smtproutes", "list")
    status, body = outside.curl("grep?words=by+curl&words=mail_logs")
    lines = [json.loads(line) for line in body.splitlines()]
    assert "commit changes: by curl" in lines[0]["lines"][0]
    assert lines[-1]["ended"]["outcome"] == "ok"


def test_openssl_sees_a_chain_that_verifies_and_no_old_protocol(outside: Outside) -> None:
    def client(*words: str) -> subprocess.CompletedProcess[bytes]:
        place = ["-connect", f"127.0.0.1:{outside.port}", "-servername", "localhost"]
        verify = ["-CAfile", str(outside.root), "-verify_return_error", "-verify_hostname", "localhost"]
        return subprocess.run(
            ["openssl", "s_client", *place, *verify, *words], input=b"", capture_output=True, check=False,
            timeout=PATIENCE,
        )  # fmt: skip

    assert client("-tls1_3").returncode == 0
    assert client("-tls1_2").returncode == 0
    assert client("-tls1_1", "-cipher", "ALL:@SECLEVEL=0").returncode != 0
    assert client("-tls1_2", "-cipher", "AES128-SHA").returncode != 0


def test_a_commit_of_another_certificate_drops_no_request_and_no_connection(outside: Outside) -> None:
    over = threading.Event()
    wrong: list[object] = []
    answered: list[int] = []

    def ask(client: HTTPSConnection) -> None:
        client.request("GET", "/api/v1/whoami", headers={"Authorization": f"Bearer {outside.token}"})
        answer = client.getresponse()
        answer.read()
        answered.append(answer.status)

    def one_connection() -> None:
        client = outside.connect()
        while not over.is_set():
            ask(client)
            assert client.sock is not None
        client.close()

    def many_connections() -> None:
        while not over.is_set():
            client = outside.connect()
            ask(client)
            client.close()

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as fault:  # noqa: BLE001 - whatever it is, the test tells it
            wrong.append(fault)

    threads = [
        threading.Thread(target=guarded, args=(work,))
        for work in (one_connection, one_connection, many_connections, many_connections)
    ]
    for thread in threads:
        thread.start()
    try:
        for name in ("second", "first", "second"):
            outside.gateway.text("interfaceconfig", "certificate", "Management", name)
            assert f"Interface Management serves the certificate {name}" in outside.gateway.text(
                "commit", name
            )
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert wrong == []
    assert set(answered) == {200}
    assert len(answered) > 20
    served = outside.gateway.command("certconfig", "served")
    assert all(entry["expected"] for entry in served)


def test_a_stopped_gateway_ends_in_time_with_a_tail_open(outside: Outside) -> None:
    client = outside.connect()
    client.request("GET", "/api/v1/tail?log=mail_logs", headers={"Authorization": f"Bearer {outside.token}"})
    answer = client.getresponse()
    assert b"lines" in answer.readline()
    assert outside.gateway.stop() == 0
    assert b'"ended"' in answer.read()
    client.close()
    outside.gateway.start()
    assert outside.curl("uptime")[0] == 200  # tokens are there after a restart


def test_the_api_is_as_its_description_says(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(outside.root))
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {outside.token}"
    document = session.get(f"{outside.url}/openapi.json", timeout=PATIENCE).json()
    document["paths"] = _quick(document["paths"])
    document["components"]["schemas"]["File"] = _quick(document["components"]["schemas"]["File"])
    wrong: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the fuzzer's own
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            operation: Any = cast("Any", found).ok()
            if operation.path not in ELSEWHERE:
                try:
                    _examine(operation, session, outside.url)
                except FailureGroup as failures:
                    wrong.append(f"{operation.path}: {failures}")
    session.close()
    assert not wrong, "\n".join(wrong)


def _examine(operation: Any, session: requests.Session, url: str) -> None:
    @settings(
        max_examples=2, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy())
    def examine(case: Any) -> None:
        response = case.call(session=session, base_url=url, timeout=PATIENCE)
        case.validate_response(response, checks=CHECKS)

    examine()


def _quick(schema: Any) -> Any:
    """The same description with short texts: long ones take the fuzzer seconds to make."""
    if isinstance(schema, list):
        return [_quick(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _quick(value) for key, value in schema.items() if key not in {"pattern", "maxItems"}}
    if found.get("type") == "string":
        found["maxLength"] = 12
    if found.get("type") == "array":
        found["maxItems"] = 2
    return found
