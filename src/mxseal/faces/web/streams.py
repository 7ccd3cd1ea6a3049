"""Commands whose text comes piece by piece: the first of it, as it comes, or in the background."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from mxseal.clock import Timer
from mxseal.commands.results import Data, Parts, Problems, Result, Stream, Text
from mxseal.commands.running import Ended
from mxseal.faces.piecewise import until_ended
from mxseal.faces.render import clean
from mxseal.faces.web.calling import sentence
from mxseal.faces.web.visit import Visit

HEARTBEAT = 20.0
"""Seconds between two signs of life of a live view: who is gone, or not logged in any more, is found then."""
MOST_FOLLOWING = 4
"""Streams that one user has open."""
MOST_JOBS = 64
MOST_RUNNING = 3
"""Jobs of one user that run."""
MOST_TEXT = 256 << 10
"""Characters of a job that are kept."""


async def first(visit: Visit, command: str, most: int, **values: Any) -> tuple[str, bool, Ended]:
    """The first `most` characters of what a command gives, whether there was more, and how it ended."""
    found: list[str] = []
    cut = False

    async def keep(result: Result) -> None:
        nonlocal cut
        size = 0
        async with contextlib.aclosing(_texts(result)) as texts:
            async for text in texts:
                found.append(text)
                size += len(text)
                if size > most:
                    cut = True
                    return

    ended = await visit.site.runner.call(tuple(command.split()), values, visit.context(), keep)
    return "".join(found)[:most], cut, ended


async def _texts(result: Result) -> AsyncGenerator[str, None]:
    match result:
        case Stream(chunks):
            try:
                async for chunk in chunks:
                    yield str(chunk)
            finally:
                if hasattr(chunks, "aclose"):
                    await chunks.aclose()
        case Text(text) | Data(text):
            yield text
        case Problems(message, problems):
            yield "\n".join([sentence(message), *map(str, problems)]) + "\n"
        case Parts(parts):
            for part in parts:
                async for text in _texts(part):
                    yield text
        case _:
            return


# --- as it comes --------------------------------------------------------------------------------------------


class Following:
    """How many streams each user has open."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def room(self, user: str) -> None:
        """429 above the bound. Before the answer begins: behind that nothing can be refused any more."""
        if self._open[user] >= MOST_FOLLOWING:
            raise HTTPException(429)

    @contextlib.contextmanager
    def one(self, user: str) -> Any:
        """While one is open."""
        self._open[user] += 1
        try:
            yield
        finally:
            self._open[user] -= 1
            self._open += Counter()  # those at zero go


def follow(visit: Visit, command: str, **values: Any) -> Response:
    """Server-sent events: lists of lines, then `ended` with a sentence. Who reads slowly holds up nobody: one
    piece waits, and the command with it. Who leaves ends the command, and so does the end of the session: a
    logout, another role or password. 429 for a user who has enough of them open."""
    assert visit.user is not None
    assert visit.session is not None
    user, session = visit.user.name, visit.session
    visit.site.following.room(user)
    pieces: asyncio.Queue[str] = asyncio.Queue(1)
    clock = visit.site.services.clock

    async def keep(result: Result) -> None:
        async for text in _texts(result):
            await pieces.put(text)

    beating: list[Timer] = []

    def beat() -> None:
        if beating and pieces.empty():
            pieces.put_nowait("")
        beating[:] = [clock.call_later(HEARTBEAT, beat)]

    async def events() -> AsyncIterator[bytes]:
        with visit.site.following.one(user):
            running = visit.site.runner.call(tuple(command.split()), values, visit.context(), keep)
            work = asyncio.ensure_future(running)
            beat()
            try:
                async with contextlib.aclosing(until_ended(work, pieces)) as texts:
                    async for text in texts:
                        if not visit.site.sessions.lives(session):
                            return
                        lines = [clean(line) for line in text.splitlines()]
                        # A comment (HTML §9.2.6) that a browser that is gone does not take.
                        yield b"data: %s\n\n" % msgspec.json.encode(lines) if lines else b": here\n\n"
                told = "" if work.cancelled() else work.result().message
                yield b"event: ended\ndata: %s\n\n" % msgspec.json.encode(told)
            finally:
                beating[0].cancel()
                work.cancel()
                await asyncio.wait({work})

    return StreamingResponse(events(), media_type="text/event-stream")


# --- in the background --------------------------------------------------------------------------------------


class Job:
    """A command that takes its time, with what it has said so far."""

    def __init__(self, user: str, title: str) -> None:
        self.id = secrets.token_urlsafe(12)
        self.user = user
        self.title = title
        self.text = ""
        self.ended: Ended | None = None
        self.task: asyncio.Task[None] | None = None


class Jobs:
    """The last jobs of all users."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def find(self, visit: Visit) -> Job:
        """The visitor's job whose number the address has. 404 for any other."""
        job = self._jobs.get(visit.part("job"))
        if job is None or visit.user is None or job.user != visit.user.name:
            raise HTTPException(404)
        return job

    def start(self, visit: Visit, title: str, command: str, **values: Any) -> Job:
        """429 for a user who has enough of them running."""
        assert visit.user is not None
        running = [job for job in self._jobs.values() if job.ended is None]
        if sum(job.user == visit.user.name for job in running) >= MOST_RUNNING or len(running) >= MOST_JOBS:
            raise HTTPException(429)
        job = Job(visit.user.name, title)
        for old in [known.id for known in self._jobs.values() if known.ended is not None]:
            if len(self._jobs) >= MOST_JOBS:
                del self._jobs[old]
        self._jobs[job.id] = job
        job.task = asyncio.get_running_loop().create_task(self._work(job, visit, command, values))
        return job

    async def _work(self, job: Job, visit: Visit, command: str, values: dict[str, Any]) -> None:
        async def keep(result: Result) -> None:
            async for text in _texts(result):
                job.text = (job.text + text)[-MOST_TEXT:]

        job.ended = await visit.site.runner.call(tuple(command.split()), values, visit.context(), keep)
