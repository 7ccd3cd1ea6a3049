"""Recordings as the leading process sees them: what is armed, for how long, and what was made of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mxseal.capture.orders import Order
from mxseal.clock import Clock, Timer
from mxseal.events.event import Event
from mxseal.events.types import WorkerDied
from mxseal.relay.recorder import MOST
from mxseal.storage.captures import About, Captures

MOST_ARMED = 10
_SWEEP_SECONDS = 3600.0
_DAY = 86_400.0
_OVERHEAD = 2
"""A recording's file against the bytes in it: small pieces have large headers."""
Tell = Callable[[Sequence[Order], Sequence[str]], None]


class RecordingRefused(Exception):
    """It can't be armed now; the text is a sentence with the remedy."""


class Armed(msgspec.Struct, frozen=True):
    """An order and how far it is."""

    order: Order
    running: int
    done: int


class Recordings:
    """Orders are in memory only: a restart disarms. A sink of the bus, for workers that die."""

    def __init__(
        self,
        store: Captures,
        clock: Clock,
        tell: Tell,
        allowed: Callable[[], tuple[int, int]],
    ) -> None:
        """`tell` hands the orders to all workers; `allowed` gives (days that recordings are kept, bytes of
        all of them)."""
        self.store = store
        self._clock = clock
        self._tell = tell
        self._allowed = allowed
        self._orders: dict[str, Order] = {}
        self._timers: dict[str, Timer] = {}
        self._sweeping: Timer | None = None
        self._numbers = itertools.count(1)

    def start(self) -> None:
        """Drop what an earlier run left unfinished, and from now on what is too old."""
        self.store.sweep()
        self._expire()

    async def stop(self) -> None:
        """The workers end by themselves, and store what they have."""
        for timer in (*self._timers.values(), self._sweeping):
            if timer is not None:
                timer.cancel()

    # --- orders ---------------------------------------------------------------------------------------------

    def arm(self, user: str, seconds: float, **wanted: Any) -> Order:
        """Arm an order; `wanted` are fields of it. Raises RecordingRefused."""
        armed = self.armed()
        if len(armed) >= MOST_ARMED:
            raise RecordingRefused(
                f"{MOST_ARMED} recordings are armed already: 'sessioncapture disarm' takes one back"
            )
        now = self._clock.now()
        # Older numbers may still be in the hands of workers.
        name = f"{next(self._numbers)}"
        order = Order(name=name, user=user, armed_at=now, until=now + seconds, **wanted)
        promised = sum(MOST * _OVERHEAD * (each.order.count - each.done) for each in armed)
        self.room(promised + MOST * _OVERHEAD * order.count)
        self._orders[name] = order
        self._timers[name] = self._clock.call_later(seconds, lambda: self._end(name))
        self._tell(self._in_force(), ())
        return order

    def room(self, size: int) -> None:
        """Raises RecordingRefused when so many bytes more would be too many."""
        used, most = self.store.used(), self._allowed()[1]
        if used + size > most:
            raise RecordingRefused(
                f"Recordings take {used} bytes, {size} more may come, and {most} are allowed: delete some, "
                "or raise max_bytes in [captures]"
            )

    def armed(self) -> list[Armed]:
        """Orders that wait for connections, or whose connections are being recorded."""
        found = [Armed(o, *self.store.progress(o.name, o.count)) for o in self._orders.values()]
        for each in found:
            if each.done == each.order.count:
                self._end(each.order.name)
        return [each for each in found if each.done < each.order.count]

    def disarm(self, name: str) -> Order | None:
        """Take an order back; what is being recorded for it ends here and is kept. None: there is none."""
        order = self._orders.get(name)
        if order is not None:
            self._end(name, stopped=True)
        return order

    def _end(self, name: str, *, stopped: bool = False) -> None:
        """An order is fulfilled, its time is over, or it is taken back."""
        self._orders.pop(name, None)
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()
        self.store.forget(name)
        self._tell(self._in_force(), (name,) if stopped else ())

    def _in_force(self) -> Sequence[Order]:
        return tuple(self._orders.values())

    # --- recordings -----------------------------------------------------------------------------------------

    def kept(self) -> list[About]:
        """All recordings, oldest first."""
        return self.store.all()

    def _expire(self) -> None:
        self._sweeping = self._clock.call_later(_SWEEP_SECONDS, self._expire)
        self.store.expire(self._clock.now() - self._allowed()[0] * _DAY)

    # --- workers --------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        """A worker died: its recordings are as if they had not begun, and others may make them."""
        if not isinstance(event, WorkerDied) or event.problem is not None:
            return
        if self.store.take_back(f"worker{event.worker}") and self._orders:
            self._tell(self._in_force(), ())

    def ready(self) -> bool:
        return True
