"""All that is served over HTTPS, put together in one place."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from mxseal.commands.running import Runner
from mxseal.faces.api.app import Api
from mxseal.faces.http_guard import Guard
from mxseal.faces.http_metrics import MetricsPage
from mxseal.faces.http_services import HttpServices
from mxseal.faces.login import Login
from mxseal.faces.web import site as web


class Site:
    """The application of every HTTPS port."""

    def __init__(self, runner: Runner, services: HttpServices, counted: Login | None = None) -> None:
        self._services = services
        self._api = Api(runner, services)
        login = Login(services.users, services.clock, services.bus.publish, counted=counted)
        pages = web.Site(runner, services, login)
        self.web = pages.app
        self._login = pages.login
        routes = [
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/metrics", MetricsPage(services, self._api.turned_away).answer),
            Mount("/api/v1", self._api),
            Mount("/", self.web),
        ]
        self._app = Guard(Starlette(routes=routes), services.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def untrusted(self, remote: str, reason: str) -> None:
        """A client's certificate ended its handshake."""
        self._login.no_certificate_fitted("", remote, "web", reason)

    def leave(self) -> None:
        """The gateway is stopping: what has no end of its own ends now."""
        self._api.leave()

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def _ready(self, _request: Request) -> Response:
        if self._services.ready:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready"}, 503)
