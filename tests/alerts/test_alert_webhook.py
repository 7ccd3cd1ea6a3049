"""Alerts by webhook against a real HTTPS server: verified, signed, tried again, never sent elsewhere."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority, Issued
from mxseal.alerts.outbox import WAITS, secret_name
from mxseal.alerts.webhook import SIGNATURE
from mxseal.events.types import AlertFailed, AlertSent, WebhookRefused
from tests.alerts.desk import Desk

SECRET = b"a secret of thirty-two characters"


class Hook:
    """An HTTPS server that keeps what it is sent. `answers`: status and headers, the last one stays."""

    def __init__(self, issued: Issued, folder: Path) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = [(200, {})]
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.requests.append((self.path, dict(self.headers), body))
                status, headers = hook.answers.pop(0) if len(hook.answers) > 1 else hook.answers[0]
                self.send_response(status)
                for name, value in (headers | {"Content-Length": "0"}).items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        files = issued.write(folder, "hook")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.chain, files.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_port}/alerts?to=mxseal"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def hook(issue: Callable[..., Issued], tmp_path: Path) -> Iterator[Hook]:
    server = Hook(issue("127.0.0.1"), tmp_path)
    yield server
    server.close()


@pytest.fixture
def trusting(authority: Authority) -> dict[str, Any]:
    """Settings under which the laboratory's certificates verify."""
    return {
        "system": False,
        "custom": True,
        "authorities": [{"name": "Lab", "certificate": authority.pem.decode()}],
    }


def desk_for(hook: Hook, trust: dict[str, Any], **webhook: Any) -> Desk:
    return Desk(alerts={"webhooks": [{"name": "ops", "url": hook.url} | webhook]}, trust=trust)


async def test_a_webhook_gets_the_alert_as_json(hook: Hook, trusting: dict[str, Any]) -> None:
    async with desk_for(hook, trusting) as desk:
        desk.world.waiting = 4
        await desk.fail()
        (sent,) = await desk.told.until(AlertSent)
    assert sent.to == "webhook ops"
    (path, headers, body) = hook.requests[0]
    assert path == "/alerts?to=mxseal"
    assert headers["Content-Type"] == "application/json"
    assert SIGNATURE not in headers
    told = json.loads(body)
    assert told["text"].startswith("TLS connection to partner.example was required")
    chosen = ("version", "class", "severity", "kind", "key", "domain", "waiting", "held_back", "test")
    assert {key: told[key] for key in chosen} == {
        "version": 1,
        "class": "system",
        "severity": "warning",
        "kind": "tls-failed",
        "key": "tls:partner.example",
        "domain": "partner.example",
        "waiting": 4,
        "held_back": 0,
        "test": False,
    }


async def test_a_secret_signs_the_time_and_the_body(hook: Hook, trusting: dict[str, Any]) -> None:
    desk = desk_for(hook, trusting, secret="ops1")
    desk.secrets.put(secret_name("ops1"), SECRET)
    async with desk:
        await desk.fail()
        await desk.told.until(AlertSent)
    _, headers, body = hook.requests[0]
    at, digest = (part.split("=")[1] for part in headers[SIGNATURE].split(","))
    assert int(at) == int(desk.clock.now())
    assert hmac.compare_digest(digest, hmac.new(SECRET, f"{at}.".encode() + body, hashlib.sha256).hexdigest())


async def test_without_its_secret_nothing_is_sent_unsigned(hook: Hook, trusting: dict[str, Any]) -> None:
    async with desk_for(hook, trusting, secret="lost") as desk:
        await desk.fail()
        (failed,) = await desk.told.until(AlertFailed)
    assert "its secret is not in the store" in failed.reason
    assert hook.requests == []


async def test_a_certificate_that_does_not_verify_gets_no_alert(hook: Hook) -> None:
    async with desk_for(hook, {"system": True}) as desk:
        await desk.fail()
        (refused,) = await desk.told.until(WebhookRefused)
        assert desk.lines()[-1].startswith(
            "Warning: Webhook Error: Failed to send alert to webhook ops (attempt #0): "
        )
    assert "certificate verify failed" in refused.reason
    assert hook.requests == []


async def test_a_redirect_is_not_followed(hook: Hook, trusting: dict[str, Any]) -> None:
    hook.answers = [(307, {"Location": f"{hook.url}/elsewhere"})]
    async with desk_for(hook, trusting) as desk:
        await desk.fail()
        (failed,) = await desk.told.until(AlertFailed)
    assert "configure that address" in failed.reason
    assert len(hook.requests) == 1


async def test_a_webhook_that_is_not_well_is_tried_again_by_the_clock(
    hook: Hook, trusting: dict[str, Any]
) -> None:
    hook.answers = [(503, {}), (429, {}), (204, {})]
    async with desk_for(hook, trusting) as desk:
        await desk.fail()
        for attempt, wait in enumerate(WAITS[:2], 1):
            await desk.told.until(WebhookRefused, attempt)
            await desk.settle()
            await desk.pass_time(wait)
        await desk.told.until(AlertSent)
    identifiers = {json.loads(body)["id"] for _, _, body in hook.requests}
    assert len(hook.requests) == 3
    assert len(identifiers) == 1


async def test_a_webhook_that_refuses_for_good_is_given_up_at_once(
    hook: Hook, trusting: dict[str, Any]
) -> None:
    hook.answers = [(410, {})]
    async with desk_for(hook, trusting) as desk:
        await desk.fail()
        (failed,) = await desk.told.until(AlertFailed)
    assert failed.reason.startswith("it answers 410")
    assert len(hook.requests) == 1
