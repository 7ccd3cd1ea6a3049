"""What holds for every request: headers that bind the browser, and who may post from where."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""On every response. HSTS is remembered for the host name alone: others of the domain are not ours."""
_SAFE = {"GET", "HEAD"}


class Guard:
    """Middleware around all pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = None if scope["method"] in _SAFE else _refusal(headers)
        app: Any = PlainTextResponse(refusal, 403) if refusal else self._app
        await app(scope, receive, with_headers)


def _refusal(headers: Headers) -> str | None:
    """Why a request that changes something is not taken. Browsers tell where it comes from (Fetch Metadata;
    RFC 6454): one from another site is forged, and one that tells nothing is from no browser of today."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in (None, "same-origin"):
        return "This request came from another site and was refused."
    if origin is None:
        return None if site is not None else "This request does not tell where it comes from: no Origin."
    # as text: a broken address ("https://[x") can not be taken apart, and an origin has nothing to cut off
    if origin != f"https://{headers.get('host')}":
        return "This request came from another site and was refused."
    return None


def from_another_site(request: Request) -> bool:
    """Whether a link elsewhere led here: then SameSite=Strict kept the cookie back."""
    return request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}


def safe_path(wanted: str) -> str:
    """Where to go on behind the login: a path of ours, whatever a link asked for."""
    # '//host' and '/\\host' are addresses of other hosts to a browser; control characters are dropped by it.
    plain = wanted.isprintable() and "\\" not in wanted and len(wanted) <= 2000
    return wanted if plain and wanted.startswith("/") and not wanted.startswith("//") else "/"
