"""One analysis server: few connections that are used again, bounded work, and rest after a failure.

A server that does not answer costs its time once: then nobody asks it for a while, and when the while is over
one question tries it before the others may.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from mxseal.analysis.exchange import Exchange
from mxseal.analysis.values import AnalysisFault
from mxseal.clock import Timer
from mxseal.config.model import AnalysisServer
from mxseal.directory.opening import Client
from mxseal.scanning.connection import Connection
from mxseal.scanning.opening import Around, Opening

E = TypeVar("E", bound=Exchange)
WAITING = 500
"""Questions that may wait for a place."""
IDLE_SECONDS = 30.0
_IN_A_ROW = 3
"""One odd file must not put a server at rest for all: only so many odd answers in a row do."""

Greeting = Callable[[Connection], Awaitable[AnalysisFault | None]]


class ServerState(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes with one server, in one process."""

    server: str
    connections: int = 0
    working: int = 0
    waiting: int = 0
    answered: int = 0
    failed: int = 0
    resting: float = 0.0
    """Seconds until it is asked again after a failure; 0: it is in use."""
    last_error: str = ""


class Server:
    """Its connections and how it is."""

    def __init__(
        self, around: Around, client: Client | None, spec: AnalysisServer, key: str | None = None
    ) -> None:
        """`client` None: without TLS. `key`: its API key, where it has one."""
        self.spec = spec
        self.client = client
        self.key = key
        self.greeting: Greeting | None = None
        """What a connection begins with, before its first question."""
        self._around = around
        self._clock = around.clock
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._working = 0
        self._rests_until = float("-inf")
        self._suspect = False
        """The last question failed: one at a time."""
        self._odd = 0
        self._retired = False
        self._tidying: Timer | None = None
        self.answered = self.failed = 0
        self.last_error = ""

    async def ask(self, make: Callable[[], E]) -> E | AnalysisFault:
        """Have an exchange answered. `make` makes it, a second time where a connection was closed that had
        been idle."""
        refusal = await self._enter()
        if refusal is not None:
            return refusal
        try:
            got = await self._ask(make)
            if isinstance(got, AnalysisFault):
                self._failed(got)
            else:
                self.answered += 1
                self._suspect = False
            return got
        finally:
            self._leave()

    def judged(self, fault: AnalysisFault | None, after: float | None = None) -> None:
        """What an answer meant: None, it was one. `after`: seconds for which the server asks for patience."""
        if fault is None:
            self._odd = 0
            return
        self.failed += 1
        self.last_error = fault.text
        self._odd += 1
        if after is not None or self._odd >= _IN_A_ROW:
            self.rest(after)

    def rest(self, seconds: float | None = None) -> None:
        """It is not asked for a while."""
        self._rests_until = self._clock.monotonic() + (self.spec.rest_time if seconds is None else seconds)
        self._suspect = True
        self._odd = 0
        self._let_in(len(self._waiters))

    def _failed(self, fault: AnalysisFault) -> None:
        if fault.kind == "protocol":
            self.judged(fault)
            return
        self.failed += 1
        self.last_error = fault.text
        self.rest()

    # --- places ---------------------------------------------------------------------------------------------

    async def _enter(self) -> AnalysisFault | None:
        until = self._clock.monotonic() + self.spec.answer_time
        while True:
            now = self._clock.monotonic()
            if now < self._rests_until:
                return self._busy(f"it rests after a failure ({self.last_error})")
            if self._suspect and self._working:
                return self._busy(f"it is being tried again after a failure ({self.last_error})")
            if self._working < self.spec.connections:
                self._working += 1
                return None
            if len(self._waiters) >= WAITING or now >= until:
                return self._busy("too many files wait for it")
            await self._wait(until)

    async def _wait(self, until: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        timer = self._clock.call_later(until - self._clock.monotonic(), lambda: _wake(waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self._let_in(1)  # the place was for this one: another one gets it
            raise
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _leave(self) -> None:
        self._working -= 1
        self._let_in(1)
        if self._retired:
            self._close_idle(0.0)
        self._tidy_later()

    def _let_in(self, count: int) -> None:
        for _ in range(min(count, len(self._waiters))):
            _wake(self._waiters.popleft())

    def _busy(self, text: str) -> AnalysisFault:
        return AnalysisFault(kind="busy", text=text, server=self.spec.name)

    # --- connections ----------------------------------------------------------------------------------------

    async def _ask(self, make: Callable[[], E]) -> E | AnalysisFault:
        while self._idle:
            connection = self._idle.pop()
            got = await self._over(connection, make())
            if isinstance(got, AnalysisFault) and got.kind in ("unreachable", "tls") and not connection.heard:
                continue  # a server may close a connection that was idle just when it is used
            return got
        opening = Opening(self._around, self.client, self.spec)
        opened = await opening.run()
        if isinstance(opened, AnalysisFault):
            return opened
        self._all.add(opened)
        opened.ended = self._ended
        if opened.fault is not None:
            self._ended(opened)
        if self.greeting is not None:
            fault = await self.greeting(opened)
            if fault is not None:
                opened.end(fault.kind, fault.text)
                return opening.turned_away(fault)
            opening.proved()
        exchange = make()
        got = await self._over(opened, exchange)
        if self.greeting is None:
            if isinstance(got, AnalysisFault):
                return opening.turned_away(got)
            opening.proved()
        return got

    async def _over(self, connection: Connection, exchange: E) -> E | AnalysisFault:
        fault = await connection.ask(exchange, self.spec.answer_time)
        if fault is not None:
            return fault
        if connection.fault is None:
            self._idle.append(connection)
        return exchange

    def _ended(self, connection: Connection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    # --- keeping house --------------------------------------------------------------------------------------

    def _tidy_later(self) -> None:
        if self._tidying is None and self._idle:
            self._tidying = self._clock.call_later(IDLE_SECONDS, self._tidy)

    def _tidy(self) -> None:
        self._tidying = None
        self._close_idle(IDLE_SECONDS)
        self._tidy_later()

    def _close_idle(self, seconds: float) -> None:
        now = self._clock.monotonic()
        for connection in list(self._idle):
            if now - connection.used_at >= seconds:
                connection.close()

    def state(self) -> ServerState:
        return ServerState(
            server=self.spec.name,
            connections=len(self._all),
            working=self._working,
            waiting=len(self._waiters),
            answered=self.answered,
            failed=self.failed,
            resting=max(0.0, self._rests_until - self._clock.monotonic()),
            last_error=self.last_error,
        )

    def retire(self) -> None:
        """The document has another in its place: what was begun is finished, and then it hangs up."""
        self._retired = True
        self._close_idle(0.0)

    def stop(self) -> None:
        """Hang up now."""
        self._retired = True
        if self._tidying is not None:
            self._tidying.cancel()
        for connection in list(self._all):
            connection.close()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
