"""The lasting connection to the engine: made, followed, made again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from mxseal.clock import Clock, Timer
from mxseal.cluster.engine import Access, Engine, EngineAway

LOOK_SECONDS = 10.0
"""Between two looks at what is there, when nobody calls."""
_ONCE_MORE = 0.5
"""Seconds until a second look behind a call: among several servers it may overtake what it is about."""
_AGAIN = (0.5, 1.0, 2.0, 5.0)
"""Seconds until the next attempt to connect."""
_MOMENT = 3.0
"""Seconds that a command waits for a connection that is being made."""
log = logging.getLogger(__name__)


class Link:
    """`start` and `stop` it. `begin` is called with each new connection, `look` when there may be news."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        begin: Callable[[Engine], Awaitable[None]],
        look: Callable[[Engine], Awaitable[None]],
    ) -> None:
        self._access = access
        self._clock = clock
        self._begin = begin
        self._look = look
        self._engine: Engine | None = None
        self._news = asyncio.Event()
        self._up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.problem = "The engine has not been reached since the gateway started"
        """Why there is no connection."""

    @property
    def engine(self) -> Engine:
        """Raises EngineAway."""
        if self._engine is None or self._engine.closed:
            raise EngineAway(self.problem or "The connection to the engine was lost")
        return self._engine

    async def reached(self) -> Engine:
        """The same, after a moment's patience: one of several servers may just have ended. Raises
        EngineAway."""
        try:
            return self.engine
        except EngineAway:
            timer = self._clock.call_later(_MOMENT, self._up.set)
            try:
                await self._up.wait()
            finally:
                timer.cancel()
            if self._engine is None:
                self._up.clear()
            return self.engine

    @property
    def server(self) -> str:
        """The one that it is connected to; empty: none."""
        return "" if self._engine is None else self._engine.server

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            task, self._task = self._task, None
            if task is asyncio.current_task():
                self._news.set()  # it has just read that this machine is no member any more, and ends
                return
            task.cancel()
            await asyncio.wait([task])

    def wake(self) -> None:
        """Look again now."""
        self._news.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                engine = await Engine.connect(self._access, self._news.set)
            except EngineAway as away:
                self.problem = str(away)
                await self._pause(_AGAIN[min(failures, len(_AGAIN) - 1)])
                failures += 1
                continue
            failures = 0
            try:
                await self._follow(engine)
            except EngineAway as away:
                self.problem = str(away)
            finally:
                self._engine = None
                self._up.clear()
                await engine.close()
            if self._task is None:
                return
            await self._pause(_AGAIN[0])

    async def _follow(self, engine: Engine) -> None:
        await engine.listen(self._news.set)
        await self._begin(engine)
        self._engine, self.problem = engine, ""
        self._up.set()
        wait = LOOK_SECONDS
        while not engine.closed and self._task is not None:
            self._news.clear()
            try:
                await self._look(engine)
            except EngineAway:
                raise
            except Exception:
                log.exception("what the cluster's engine has could not be taken")
            wait = _ONCE_MORE if await self._pause(wait) else LOOK_SECONDS
        self.problem = "The connection to the engine was lost"

    async def _pause(self, seconds: float) -> bool:
        """Until there is news: True; or the time is over."""
        over = False

        def late() -> None:
            nonlocal over
            over = True
            self._news.set()

        timer: Timer = self._clock.call_later(seconds, late)
        try:
            await self._news.wait()
        finally:
            timer.cancel()
        self._news.clear()
        return not over
