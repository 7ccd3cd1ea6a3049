"""Time as an argument: the one interface through which the product learns what time it is.

Pure modules get `now` as a number and give back deadlines. The asyncio shells get a `Clock`.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call that is to come; `cancel` takes it back and may be called twice."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Where time comes from. Two implementations ship: `SystemClock` and `ManualClock`."""

    def now(self) -> float:
        """Seconds since the epoch, UTC: for people, logs and what must outlive a restart."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back: for time-outs and durations."""
        ...

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        """Call `call` on the running loop in `delay` seconds, on the monotonic clock."""
        ...


class SystemClock:
    """The machine's own clock and the running loop's timers."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, delay), call)


class _ManualTimer:
    __slots__ = ("call", "cancelled")

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """A clock that stands still until `advance` moves it, firing what falls due in order."""

    def __init__(self, start: float = 1_771_096_828.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._timers: list[tuple[float, int, _ManualTimer]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        timer = _ManualTimer(call)
        heapq.heappush(self._timers, (self._now + max(0.0, delay), next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`, calling each timer at its own moment."""
        until = self._now + seconds
        while self._timers and self._timers[0][0] <= until:
            due, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, due)
            if not timer.cancelled:
                timer.call()
        self._now = until
