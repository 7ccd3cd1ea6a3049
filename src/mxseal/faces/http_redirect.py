"""What the HTTP port says: that HTTPS is there. Nothing is served in clear text."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"([A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?")


def to_https(hostname: str, port: int, *, redirect: bool) -> ASGIApp:
    """Sends browsers on to the same host's HTTPS `port`, or tells them where it is."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        place = f"https://{_host(scope, hostname)}{'' if port == 443 else f':{port}'}"
        closing = {"connection": "close"}
        # the path as it came, which has no byte that a header could not have
        target = place + scope["raw_path"].decode("ascii", "replace") if _plain(scope) else f"{place}/"
        answer: Response
        if redirect:
            query = scope["query_string"].decode("ascii", "replace")
            answer = RedirectResponse(f"{target}{f'?{query}' if query else ''}", 308, closing)
        else:
            answer = PlainTextResponse(f"Nothing is served in clear text: use {place}/\n", 403, closing)
        await answer(scope, receive, send)

    return app


def _plain(scope: Scope) -> bool:
    """Whether the target is a path, not '*' or a whole URL (RFC 9112 §3.2)."""
    return bool(scope["raw_path"].startswith(b"/"))


def _host(scope: Scope, hostname: str) -> str:
    """The name under which the browser came, where it is one; else the interface's."""
    named = _HOST.fullmatch(Headers(scope=scope).get("host", ""))
    return named[1] if named else hostname
