"""The web GUI's application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mxseal.commands.running import Runner
from mxseal.commands.services import Services


def build(_runner: Runner, services: Services) -> ASGIApp:
    """What is served at '/'."""

    async def front(_request: Request) -> Response:
        hostname = services.history.current().document.hostname
        return PlainTextResponse(f"This is MXSeal on {hostname}. Its API is at /api/v1.\n")

    return Starlette(routes=[Route("/", front)])
