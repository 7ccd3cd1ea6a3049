"""One host of a profile: few connections, over which many questions go side by side.

The first question opens a connection, and all that come meanwhile wait for the same one. A further connection
is opened where those that stand have much to do. A host that failed rests: nobody asks it for a while.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from mxseal.clock import Clock
from mxseal.config.model import LdapProfile
from mxseal.directory.connection import Connection
from mxseal.directory.opening import Server
from mxseal.directory.state import HostState
from mxseal.ldap.values import Fault

COMFORT = 8
"""Questions on one connection, above which a further one is worth its handshake."""
MOST = 48
"""On one connection: servers end those on which too many wait (OpenLDAP's conn_max_pending is 100)."""
WAITING = 5000
IDLE_SECONDS = 300.0


class Host:
    """Its connections and how it is."""

    def __init__(
        self,
        clock: Clock,
        profile: LdapProfile,
        server: Server,
        opening: Callable[[], Awaitable[Connection | Fault]],
    ) -> None:
        self.server = server
        self.rests_until = float("-inf")
        self.failed_at = float("-inf")
        self.connections: list[Connection] = []
        self.answered = self.failed = self.timeouts = self.opened = 0
        self.last_error = ""
        self._clock = clock
        self._profile = profile
        self._open = opening
        self._opening: asyncio.Task[None] | None = None
        self._full_until = float("-inf")
        """The server gave no further connection: until then those that stand have to do."""
        self._fault: Fault | None = None
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def pending(self) -> int:
        return len(self._waiters) + sum(connection.pending for connection in self.connections)

    async def connection(self) -> Connection | Fault:
        """One that has room for a question. The caller asks at once, without waiting in between."""
        until = self._clock.monotonic() + self._profile.connect_time + self._profile.search_time
        tried = False
        while True:
            best = min(self.connections, key=lambda each: each.pending, default=None)
            if best is None and tried and self._opening is None:
                return self._fault or Fault(
                    kind="lost", text="the connection has ended", host=self.server.name
                )
            if best is None or best.pending >= COMFORT:
                self._grow()
            if best is not None and best.pending < MOST:
                return best
            if len(self._waiters) >= WAITING or self._clock.monotonic() >= until:
                return Fault(kind="busy", text="too many questions wait for it", host=self.server.name)
            await self._wait(until)
            tried = True

    async def _wait(self, until: float) -> None:
        """Until a connection stands, failed, or has room again."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        timer = self._clock.call_later(until - self._clock.monotonic(), lambda: _wake(waiter))
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _grow(self) -> None:
        now = self._clock.monotonic()
        if self._opening is not None or len(self.connections) >= self._profile.connections:
            return
        if now < self._full_until and self.connections:
            return
        self._fault = None
        self._opening = asyncio.get_running_loop().create_task(self._begin())

    async def _begin(self) -> None:
        try:
            got = await self._open()
        finally:
            self._opening = None
            self._let_in(len(self._waiters))
        if isinstance(got, Fault):
            self._fault = got
            self.last_error = got.text
            if self.connections:
                self._full_until = self._clock.monotonic() + self._profile.rest_time
            else:
                self.rest()
        elif got.fault is None:
            self.opened += 1
            self.rests_until = float("-inf")
            got.ended = self._ended
            self.connections.append(got)
        else:
            self._fault = got.fault

    def _ended(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        fault = connection.fault
        if fault is not None and fault.kind in ("silent", "protocol"):
            self.last_error = fault.text
            self.rest()
        self._let_in(len(self._waiters))

    def rest(self) -> None:
        """It failed: it is not asked for a while."""
        self.failed_at = self._clock.monotonic()
        self.rests_until = self.failed_at + self._profile.rest_time

    def done(self) -> None:
        """A question came back: there is room for one that waits."""
        self._let_in(1)

    def _let_in(self, count: int) -> None:
        for _ in range(count):
            if not self._waiters:
                return
            _wake(self._waiters.popleft())

    def close_idle(self, seconds: float) -> None:
        """Close what nobody has used for so long."""
        now = self._clock.monotonic()
        for connection in list(self.connections):
            if not connection.pending and now - connection.used_at >= seconds:
                connection.close()

    def stop(self) -> None:
        """Hang up."""
        if self._opening is not None:
            self._opening.cancel()
        for connection in list(self.connections):
            connection.close()

    def state(self) -> HostState:
        now = self._clock.monotonic()
        return HostState(
            host=self.server.name,
            connections=len(self.connections),
            pending=self.pending,
            opened=self.opened,
            answered=self.answered,
            failed=self.failed,
            timeouts=self.timeouts,
            resting=max(0.0, self.rests_until - now),
            last_error=self.last_error,
        )


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
