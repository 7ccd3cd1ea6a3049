"""The API as an application: who comes in, which command a path means, and how refusals are told."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mxseal.commands.running import Runner
from mxseal.faces.api import answers, openapi
from mxseal.faces.api.answers import Refused
from mxseal.faces.api.gate import Gate
from mxseal.faces.api.running import Endpoint
from mxseal.faces.http_services import HttpServices

DOCUMENT = "openapi.json"


class Api:
    """What is served at /api/v1. It looks at the token first: strangers do not learn what there is."""

    def __init__(self, runner: Runner, services: HttpServices) -> None:
        self._gate = Gate(services, services.clock, services.bus)
        self._document = answers.encode(openapi.document(runner.commands, services.version))
        self._endpoints = {
            "/".join(entry.words): (openapi.method(entry), Endpoint(entry, runner, services, self._gate))
            for entry in runner.commands.commands
        }

    def turned_away(self, request: Request) -> Response | None:
        """What a request is answered that has no token which counts; for routes beside these."""
        try:
            self._gate.admit(request)
        except Refused as refused:
            return refused.response()
        return None

    def leave(self) -> None:
        """The gateway is stopping: end all commands, and with them what they still have to say."""
        for work in self._gate.at_work:
            work.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response: Response | None = None
        try:
            await self._answer(scope, receive, send)
        except Refused as refused:
            response = refused.response()
        except (
            HTTPException
        ) as fault:  # what is around the application says, such as of a body that is too large
            response = Refused(fault.status_code, fault.detail, headers=fault.headers).response()
        if response is not None:
            await response(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        scope.setdefault("state", {})["token"] = self._gate.admit(request)
        path = _within(scope)
        if path == DOCUMENT:
            _allow("GET", request.method)
            await Response(self._document, media_type="application/json")(scope, receive, send)
            return
        found = self._endpoints.get(path)
        if found is None:
            raise Refused(
                404, f"There is no command {path[:200]!r} here: GET /api/v1/describe lists all of them"
            )
        method, endpoint = found
        _allow(method, request.method)
        await endpoint(scope, receive, send)


def _within(scope: Scope) -> str:
    """The path below the mount."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path.removeprefix(root).strip("/")


def _allow(method: str, used: str) -> None:
    allowed = ("GET", "HEAD") if method == "GET" else (method,)
    if used not in allowed:
        raise Refused(405, f"This is {method}, not {used[:20]}", headers={"allow": ", ".join(allowed)})
