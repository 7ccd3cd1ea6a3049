"""All that is served over HTTPS, put together in one place."""

from __future__ import annotations

from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from mxseal.commands.running import Runner
from mxseal.faces.http_guard import Guard
from mxseal.faces.http_metrics import MetricsPage, no_tokens
from mxseal.faces.web import site as web
from mxseal.faces.web.sessions import WebServices


class HttpServices(WebServices, Protocol):
    """What the HTTP faces need beside what the commands need."""

    @property
    def ready(self) -> bool:
        """Whether mail is taken: all workers run, and nothing is stopping."""
        ...


def compose(runner: Runner, services: HttpServices) -> ASGIApp:
    """The application of every HTTPS port."""

    async def live(_request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_request: Request) -> Response:
        return (
            JSONResponse({"status": "ready"})
            if services.ready
            else JSONResponse({"status": "not ready"}, 503)
        )

    site = Starlette(
        routes=[
            Route("/health/live", live),
            Route("/health/ready", ready),
            Route("/metrics", MetricsPage(services, no_tokens).answer),
            Mount("/", web.build(runner, services)),
        ]
    )
    return Guard(site, services.now)
