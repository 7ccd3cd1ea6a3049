"""The time of one attempt at a server, and what its stages take: name and connection, for whoever goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mxseal.clock import Clock
from mxseal.tls.facts import StageTimes
from mxseal.tls.reasons import socket_reason


class Unreached(Exception):
    """There is no address, or no connection; the text says why."""


class Attempt:
    """All stages together have `seconds`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._since = clock.monotonic()
        self._until = self._since + seconds
        self._spent: dict[str, float] = {}

    @property
    def times(self) -> StageTimes:
        """Of the stages that are over."""
        return StageTimes(**self._spent)

    @property
    def silence(self) -> str:
        """What a time-out is called."""
        return f"no answer within {self._seconds:g} s"

    def left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    def spend(self, stage: str) -> None:
        """The stage is over."""
        now = self._clock.monotonic()
        self._spent[stage] = now - self._since
        self._since = now

    async def addresses(
        self, resolve: Callable[[str], Awaitable[tuple[str, ...] | str]], host: str
    ) -> tuple[str, ...]:
        """Of a host name. Raises Unreached."""
        found = await self._within(asyncio.ensure_future(resolve(host)))
        self.spend("lookup")
        if isinstance(found, tuple):
            return found
        raise Unreached(self.silence if found is None else found)

    async def connect(
        self, addresses: Sequence[str], port: int, protocol: Callable[[], asyncio.BaseProtocol]
    ) -> str:
        """The first address that takes a connection, which `protocol` then has. Raises Unreached.

        Whoever gives up may do so between the connection and the news of it: `protocol` tells what there is.
        """
        loop = asyncio.get_running_loop()
        reason = "no address"
        for address in addresses:
            try:
                done = await self._within(loop.create_task(loop.create_connection(protocol, address, port)))
            except OSError as error:
                reason = socket_reason(error.errno or 0, error.strerror or str(error))
                continue
            if done is None:
                reason = self.silence
                break
            self.spend("connect")
            return address
        self.spend("connect")
        raise Unreached(reason)

    async def _within(self, task: asyncio.Future[Any]) -> Any:
        """Its result; None when the time is over first."""
        timer = self._clock.call_later(self.left(), task.cancel)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                return None
            task.cancel()
            raise
        finally:
            timer.cancel()
