"""What holds for every HTTP answer: headers that keep browsers from harm, and a bound on bodies."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 8 << 20
"""Bytes of a request's body: a file of 4 MiB in base64 fits."""
LARGEST_HEAD = 32 << 10
"""Bytes of a request's line and headers."""
HEADERS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""An application may set a header itself, and then its own value stands."""
HSTS = "max-age=31536000"
"""Over TLS only (RFC 6797 §7.2)."""
_LONG = f"The request's headers are larger than {LARGEST_HEAD >> 10} KiB, which is what is taken.\n"
_TOO_LARGE = f"The request is larger than {LARGEST_BODY >> 20} MiB, which is what is taken.\n"


class Guard:
    """Around the whole application. `now`: seconds since the epoch, for the Date header (RFC 9110 §6.6.1)."""

    def __init__(self, app: ASGIApp, now: Callable[[], float]) -> None:
        self._app = app
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        told = _Answer(send, self._now(), scope["scheme"] == "https")
        if _head(scope) > LARGEST_HEAD:
            await PlainTextResponse(_LONG, 431, {"connection": "close"})(scope, receive, told.send)
            return
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            refusal = PlainTextResponse(_TOO_LARGE, 413, {"connection": "close"})
            await refusal(scope, receive, told.send)
            return
        await self._app(scope, _Bounded(receive).receive, told.send)


def _head(scope: Scope) -> int:
    fields = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


class _Bounded:
    """Counts a body of unknown length."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > LARGEST_BODY:
            raise HTTPException(413, _TOO_LARGE.strip(), {"connection": "close"})
        return message


class _Answer:
    def __init__(self, send: Send, now: float, secure: bool) -> None:
        self._send = send
        self._secure = secure
        self._now = now

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._secure:
                headers.setdefault("strict-transport-security", HSTS)
            headers.setdefault("date", formatdate(self._now, usegmt=True))
        await self._send(message)
