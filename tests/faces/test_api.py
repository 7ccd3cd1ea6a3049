"""The API: one route for each command, its answers, its refusals, and what is told piece by piece."""

from __future__ import annotations

import base64
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from lab.ca import self_signed
from mxseal.commands import configuration, logs, system, tokenconfig, users
from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument, OutputFile
from mxseal.commands.registry import Registry, command
from mxseal.commands.results import File, Result, Stream
from mxseal.faces.http_connection import WRITE_TIME
from mxseal.faces.http_guard import LARGEST_BODY
from tests.commands import gateway
from tests.faces.http_serving import HttpServing, http_serving, request

BRICK = bytes(range(256)) * 10
CUPS = 1000
poured: list[int] = []


@command("press", role="read-only", summary="Press leaves into a file that is not text")
def press(ctx: Context, file: Annotated[OutputFile, Argument("File to write")]) -> Result:
    return File(file.path, BRICK, f"Pressed into {file.path}.", private=True)


@command("drips", role="read-only", summary="Drip until it is ended", streams=True)
async def drips(ctx: Context) -> Result:
    return await gateway.drip(ctx)


@command("pour", role="read-only", summary="More than any buffer holds", streams=True)
def pour(ctx: Context) -> Result:
    async def cups() -> AsyncIterator[str]:
        for number in range(CUPS):
            poured.append(number)
            yield "tea " * 5000 + "\n"

    return Stream(cups())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServing]:
    poured.clear()
    here = sys.modules[__name__]
    commands = Registry((configuration, system, logs, users, tokenconfig, gateway, here))
    with http_serving(tmp_path, commands=commands) as running:
        yield running


@pytest.fixture
def admin(server: HttpServing) -> str:
    return str(server.do(lambda: server.services.token("admin", "administrator")))


@pytest.fixture
def reader(server: HttpServing) -> str:
    return str(server.do(lambda: server.services.token("reader", "read-only")))


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem document of an answer."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = answer.json
    assert content["status"] == status
    return content


# --- answers ------------------------------------------------------------------------------------------------


def test_a_query_is_a_get_with_its_parameters_in_the_url(server: HttpServing, reader: str) -> None:
    answer = server.get("status?detail=detail", reader)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json["queue"] == {"messages": 12, "oldest_seconds": 3.5}
    assert answer.json["as_of"] == "2026-02-16T09:31:02Z"


def test_a_command_is_a_post_with_one_json_object(server: HttpServing, admin: str) -> None:
    answer = server.post("pot/new", admin, name="Kyusu", litres=2, mark=["a", "b"])
    assert (answer.status, answer.json["litres"], answer.json["marks"]) == (200, 2.0, ["a", "b"])
    record = server.ended()
    assert (record.user, record.face, record.remote) == ("token:admin", "api", "127.0.0.1")
    assert record.words == ("pot", "new", "Kyusu", "--litres", "2", "--mark", "a", "--mark", "b")


def test_a_body_may_be_left_out_where_nothing_is_needed(server: HttpServing, admin: str) -> None:
    assert server.ask("POST", "/api/v1/clearchanges", admin).status == 200


def test_each_token_has_a_candidate_of_its_own(server: HttpServing, admin: str) -> None:
    other = server.do(lambda: server.services.token("other", "administrator"))
    text = "hostname = 'gate.example.com'\n[[mail_flow_policies]]\nname = 'ACCEPTED'\n"
    assert server.post("loadconfig", admin, file=text).status == 200
    assert server.get("showchanges", admin).json
    assert server.get("showchanges", other).json == []
    committed = server.post("commit", admin, comment="by a program")
    assert (committed.status, committed.json["revision"]) == (200, 2)
    assert server.do(lambda: server.services.history.revisions()[0].comment) == "by a program"


def test_a_file_comes_in_the_answer_as_text_or_base64(server: HttpServing, reader: str) -> None:
    text = server.post("saveconfig", reader, file="gate.toml").json
    assert text["file"] == "gate.toml"
    assert text["text"].startswith('hostname = "mx.example.com"')
    assert base64.b64decode(server.post("press", reader, file="/etc/brick").json["base64"]) == BRICK


def test_a_secret_is_in_no_report(server: HttpServing, admin: str) -> None:
    assert server.post("pot/lock", admin, passphrase="hush hush").status == 200
    assert "hush" not in repr(server.records)


def test_a_secret_in_the_url_is_refused(server: HttpServing, admin: str) -> None:
    answer = server.ask("POST", "/api/v1/pot/lock?passphrase=hush", admin)
    assert "body" in problem(answer, 400)["detail"]
    assert not server.records


# --- refusals -----------------------------------------------------------------------------------------------


def test_a_refusal_has_the_problems_that_the_command_line_shows(server: HttpServing, admin: str) -> None:
    text = "hostname = 'a b'\n[[listeners]]\nname = 'IncomingMail'\nport = 99999\n"
    told = problem(server.post("loadconfig", admin, file={"text": text, "name": "new.toml"}), 409)
    assert told["detail"] == "new.toml was not loaded."
    assert [entry["path"] for entry in told["problems"]] == [
        "hostname", "listeners.IncomingMail.port", "default_policy",
    ]  # fmt: skip
    assert all(entry["text"] for entry in told["problems"])


def test_parameters_that_do_not_fit_are_all_named(server: HttpServing, admin: str) -> None:
    told = problem(server.post("pot/new", admin, litres=9, nonsense=1), 422)
    assert [entry["path"] for entry in told["problems"]] == ["nonsense", "name", "litres"]


def test_a_question_about_what_is_not_there_is_404(server: HttpServing, reader: str) -> None:
    assert "There is no revision 7" in problem(server.get("showconfig?revision=7", reader), 404)["detail"]


def test_a_fault_of_the_gateway_is_told_as_one(server: HttpServing, reader: str) -> None:
    problem(server.get("spill", reader), 500)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "nowhere", 404),
        ("GET", "pot", 404),
        ("GET", "pot/new/", 405),
        ("GET", "..%2f..%2fetc%2fpasswd", 404),
        ("GET", "commit", 405),
        ("POST", "status", 405),
        ("DELETE", "status", 405),
        ("OPTIONS", "commit", 405),
        ("POST", "openapi.json", 405),
    ],
)
def test_paths_and_methods(server: HttpServing, admin: str, method: str, path: str, status: int) -> None:
    answer = server.ask(method, f"/api/v1/{path}", admin)
    problem(answer, status)
    assert (status == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"name": ', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b'{"name": "\\ud800"}', "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[1]", "application/json", 422),
        (b'{"name": "a\\u0000b"}', "application/json", 422),
        (b"name=a", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b'{"name": "%s"}' % (b"a" * 70_000), "application/json; charset=utf-8", 422),
    ],
)
def test_bodies_that_are_not_taken(
    server: HttpServing, admin: str, body: bytes, kind: str, status: int
) -> None:
    answer = server.ask("POST", "/api/v1/pot/new", admin, body=body, headers={"Content-Type": kind})
    problem(answer, status)


@pytest.mark.parametrize("query", ["detail=x", "nonsense=1", "detail=detail&detail=detail"])
def test_queries_that_are_not_taken(server: HttpServing, reader: str, query: str) -> None:
    assert server.get(f"status?{query}", reader).status in (400, 422)


def test_a_body_of_unknown_length_has_the_same_bound(server: HttpServing, admin: str) -> None:
    with server.secure() as client:
        head = request(
            "/api/v1/loadconfig", f"Authorization: Bearer {admin}", "Content-Type: application/json",
            "Transfer-Encoding: chunked", method="POST",
        )  # fmt: skip
        client.sendall(head)
        piece = b"a" * (1 << 16)
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        heard = b""
        client.settimeout(0.0)
        for _ in range(LARGEST_BODY // len(piece) + 3):
            client.settimeout(20)
            try:
                client.sendall(chunk)
            except (BrokenPipeError, ConnectionError):
                break
        while piece := client.recv(65536):
            heard += piece
    assert heard.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in heard


def test_what_is_not_accepted_is_told_before_anything_is_done(server: HttpServing, admin: str) -> None:
    headers = {"Accept": "text/html"}
    answer = server.ask("POST", "/api/v1/pot/new", admin, body={"name": "Kyusu"}, headers=headers)
    problem(answer, 406)
    assert not server.records


def test_no_page_of_another_site_may_read_the_api(server: HttpServing, admin: str) -> None:
    answer = server.get("status", admin, Origin="https://evil.example", Cookie="a=b")
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith("access-control") or name == "set-cookie"]


# --- piece by piece -----------------------------------------------------------------------------------------


def begin(server: HttpServing, token: str, path: str, accept: str = "*/*") -> Any:
    client = server.secure()
    client.sendall(request(f"/api/v1/{path}", f"Authorization: Bearer {token}", f"Accept: {accept}"))
    return client


def heard(client: socket.socket, wanted: bytes) -> bytes:
    """What comes until `wanted` has come."""
    got = bytearray()
    while wanted not in got[-(65536 + len(wanted)) :]:
        piece = client.recv(65536)
        assert piece, got[-1000:]
        got += piece
    return bytes(got)


def test_a_stream_comes_line_by_line_and_ends_with_its_caller(server: HttpServing, reader: str) -> None:
    with begin(server, reader, "drips") as client:
        assert b"application/x-ndjson" in heard(client, b'{"text":"drop 1\\n"}\n')
        assert not server.records
    assert server.ended().outcome == "cancelled"


def test_a_stream_may_come_as_events(server: HttpServing, reader: str) -> None:
    with begin(server, reader, "drips", "text/event-stream") as client:
        assert b"text/event-stream" in heard(client, b'event: piece\ndata: {"text":"drop 1\\n"}\n\n')


def test_the_last_line_says_how_it_ended(server: HttpServing, reader: str) -> None:
    answer = server.get("pour", reader)
    last = msgspec.json.decode(answer.body.rstrip().rpartition(b"\n")[2])
    assert last == {"ended": {"outcome": "ok", "status": 200}}
    assert len(poured) == CUPS


def test_a_stream_that_can_not_begin_is_a_problem(server: HttpServing, reader: str) -> None:
    assert "There is no log" in problem(server.get("tail?log=nothing", reader), 422)["detail"]


def test_who_takes_no_stream_is_told_so(server: HttpServing, reader: str) -> None:
    problem(server.get("drips", reader, Accept="application/json"), 406)
    problem(server.get("drips", reader, Accept="application/x-ndjson;q=0"), 406)


def test_a_slow_reader_holds_up_its_own_command_and_nothing_else(server: HttpServing, reader: str) -> None:
    with begin(server, reader, "pour") as client:
        heard(client, b"tea tea")
        assert server.get("whoami", reader).status == 200
        assert len(poured) < CUPS  # what the buffers of both sides hold
        server.until(lambda: any(c._writing for port in server.face.open.values() for c in port.connections))
        held = len(poured)
        server.advance(WRITE_TIME - 1)
        assert server.get("whoami", reader).status == 200
        assert len(poured) <= held + 2
        assert not any(record.words == ("pour",) for record in server.records)
        server.advance(2)  # who reads nothing at all for so long is disconnected
        server.until(lambda: any(record.words == ("pour",) for record in server.records))


def test_commands_at_the_same_time_are_bounded_for_each_token(server: HttpServing, reader: str) -> None:
    clients = [begin(server, reader, "drips") for _ in range(16)]
    for client in clients:
        heard(client, b"drop 1")
    refused = server.get("whoami", reader)
    problem(refused, 429)
    assert refused.headers["retry-after"]
    other = server.do(lambda: server.services.token("other", "read-only"))
    assert server.get("whoami", other).status == 200
    for client in clients:
        client.close()
    server.until(lambda: not server.face.site._api._gate._running)
    assert server.get("whoami", reader).status == 200


def test_a_stream_ends_with_the_token_that_it_was_begun_with(server: HttpServing, reader: str) -> None:
    with begin(server, reader, "pour") as client:
        heard(client, b"tea tea")
        server.do(lambda: server.services.tokens.delete(reader.split("_")[1]))
        got = heard(client, b'"ended"')
    assert got.count(b'{"text":"tea') < CUPS


def test_a_gateway_that_stops_tells_those_who_listen(tmp_path: Path) -> None:
    here = sys.modules[__name__]
    server = HttpServing(tmp_path, commands=Registry((gateway, here)))
    server.start()
    token = server.do(lambda: server.services.token("reader", "read-only"))
    with begin(server, token, "drips") as client:
        heard(client, b"drop 1")
        server.stop()
        assert b'"outcome":"cancelled"' in heard(client, b'"ended"')


def test_a_new_certificate_disturbs_no_answer_that_is_on_its_way(server: HttpServing, reader: str) -> None:
    server.do(lambda: server.services.add_certificate("web", self_signed("web.example.com")))
    with begin(server, reader, "pour") as client:
        got = heard(client, b"tea tea")
        assert server.change(certificate="web") == []
        got += heard(client, b'{"ended":{"outcome":"ok","status":200}}')
    assert got.count(b'{"text":"tea') == CUPS


def test_the_document_is_served_to_those_who_have_a_token(server: HttpServing, reader: str) -> None:
    found = server.get("openapi.json", reader).json
    assert found["openapi"] == "3.1.0"
    assert found["paths"]["/pot/new"]["post"]["x-roles"] == ["administrator", "operator"]
    assert server.get("openapi.json").status == 401
