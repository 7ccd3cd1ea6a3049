"""One request to the API: its command, run while the caller is there, and its answer, perhaps in pieces."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from mxseal.commands import tokens
from mxseal.commands.context import Context, Role
from mxseal.commands.registry import Command
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import CANCELLED, Ended, Runner
from mxseal.commands.services import Services
from mxseal.faces.api import answers, requests
from mxseal.faces.api.answers import Refused
from mxseal.faces.api.caller import Caller
from mxseal.faces.api.gate import FACE, Gate, gone, remote_of
from mxseal.faces.piecewise import until_ended
from mxseal.storage.tokens import Token


class Run:
    """A command at work. What it delivers piece by piece waits here until the caller has taken it: a caller
    that reads slowly holds up its own command, and one piece is all that is kept for it."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[Any] = asyncio.Queue(1)
        self.result: Result | None = None
        self.begun = asyncio.Event()
        """Set when the command gave a stream, or has ended."""
        self.streaming = False

    async def deliver(self, result: Result) -> None:
        if not isinstance(result, Stream):
            self.result = result
            return
        self.streaming = True
        self.begun.set()
        chunks = result.chunks
        try:
            async for chunk in chunks:
                await self._pieces.put(result.encode(chunk))
        finally:
            if hasattr(chunks, "aclose"):
                await chunks.aclose()

    def pieces(self, work: asyncio.Task[Ended]) -> AsyncGenerator[Any, None]:
        """The pieces until the command has ended."""
        return until_ended(work, self._pieces)


class Endpoint:
    """The route of one command: an ASGI application."""

    def __init__(self, entry: Command, runner: Runner, services: Services, gate: Gate) -> None:
        self._entry = entry
        self._runner = runner
        self._services = services
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        token: Token = scope["state"]["token"]
        form = requests.stream_kind(request) if self._entry.streams else None
        if form is None and (self._entry.streams or not requests.takes_json(request)):
            wanted = f"{requests.NDJSON} or {requests.EVENTS}" if self._entry.streams else requests.JSON
            raise Refused(406, f"This command answers with {wanted}")
        values = await requests.values_of(request, self._entry)
        if self._entry.reads:
            await request.body()
        if not tokens.lives(self._services, token):  # a body may take minutes to come
            raise Refused(401, "The token was revoked or has expired while the request came")
        with self._gate.running(token):
            await self._run(request, token, values, form or requests.NDJSON)

    async def _run(self, request: Request, token: Token, values: dict[str, Any], form: str) -> None:
        caller, run = Caller(), Run()
        context = _context(token, remote_of(request), caller, self._services, self._runner)
        loop = asyncio.get_running_loop()
        work = loop.create_task(self._runner.call(self._entry.words, values, context, run.deliver))
        work.add_done_callback(lambda _task: run.begun.set())
        self._gate.at_work.add(work)
        work.add_done_callback(self._gate.at_work.discard)
        watch = loop.create_task(gone(request))
        watch.add_done_callback(lambda _task: work.cancel())
        try:
            await run.begun.wait()
            if run.streaming:
                response = _stream(run, work, form, lambda: tokens.lives(self._services, token))
            else:
                ended = await _end_of(work)
                response = answers.answer(ended, run.result, caller.files, reads=self._entry.reads)
            await response(request.scope, request.receive, request._send)  # noqa: SLF001 - it was given to it
        finally:
            watch.cancel()
            work.cancel()
            await asyncio.wait({work, watch})


def _context(token: Token, remote: str, caller: Caller, services: Services, runner: Runner) -> Context:
    return Context(
        user=token.user or f"token:{token.name}",
        role=cast("Role", token.role),
        face=FACE,
        remote=remote,
        owner=f"token:{token.id}",
        services=services,
        client=caller,
        catalogue=runner.commands,
    )


async def _end_of(work: asyncio.Task[Ended]) -> Ended:
    await asyncio.wait({work})
    return Ended(CANCELLED, "cancelled", "the command was ended", ()) if work.cancelled() else work.result()


def _stream(run: Run, work: asyncio.Task[Ended], form: str, good: Callable[[], bool]) -> Response:
    """A piece a line, or an event each; the last one says how it ended. Nothing once it is not `good`."""

    async def lines() -> AsyncIterator[bytes]:
        async with contextlib.aclosing(run.pieces(work)) as pieces:
            async for piece in pieces:
                if not good():
                    work.cancel()
                    break
                yield _line(form, "piece", piece)
        ended = await _end_of(work)
        status = answers.status_of(ended)
        told: dict[str, Any] = {"outcome": ended.outcome, "status": status}
        if ended.outcome != "ok":
            told["problem"] = answers.failure(ended, status, run.result, {})
        yield _line(form, "ended", {"ended": told})

    return StreamingResponse(lines(), media_type=form)


def _line(form: str, kind: str, value: Any) -> bytes:
    content = answers.encode(value)
    return (
        b"event: %s\ndata: %s\n\n" % (kind.encode(), content) if form == requests.EVENTS else content + b"\n"
    )
