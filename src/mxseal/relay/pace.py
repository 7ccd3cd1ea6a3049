"""When a client is read from: everybody gets a turn, and those rest who cost much and bring nothing.

Processor time that leads to no message is kept by host. Each host has an allowance of it that comes back
slowly; a message that is taken gives some back. Hosts beyond it are read from one after the other, so that
all of them together have a tenth of the time, however many they are. Floods that keep to every other limit -
of commands, of headers, of new keys - end here. What counts is the processor's time, not the clock's: what a
busy machine takes from this process is nobody's fault.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from mxseal.tls.engine import Engine

ALLOWANCE = 0.025
"""Seconds of processor time; a handshake with a whole dialogue takes one to five milliseconds, and a large
sender begins with dozens at once."""
CREDIT = 0.5
"""What a host can have earned beyond that: who sent mail all day is not held back for a bad minute."""
RETURNS = 0.002
"""Of what was used, in each second: what a host may cost for ever."""
MESSAGE, RECIPIENT = 0.005, 0.0001
"""What a message that is taken is worth, and each of its recipients."""
BARREN = 64 * 1024
"""Bytes within TLS without content, behind which the client is hung up on. A record has up to 16 KiB, and
honest clients ask for new keys once in gigabytes (RFC 8446 §4.6.3)."""
_REST = 9.0
"""Seconds of rest for each second of work beyond the allowance, for all hosts together."""
_HOSTS = 10_000
_FULL_READ = 128 * 1024
"""Bytes of a read behind which there is probably more."""


class Fairness:
    """The accounts of a process, by host. Times in seconds; `now` is of the monotonic clock."""

    def __init__(self, work: Callable[[], float] = time.thread_time) -> None:
        """`work` gives the processor time that this thread has had."""
        self.work = work
        self._spent: dict[str, tuple[float, float]] = {}
        """Host to (used of its allowance, when that was so)."""
        self._free_at = 0.0
        """When the next host that is beyond its allowance may go on."""

    def spend(self, host: str, seconds: float, now: float, lasted: float = 0.0) -> float:
        """Note work that led to nothing yet; `lasted`: by the clock, which on a busy machine is longer.

        For how long the host is not to be read from; 0: go on."""
        used = self._used(host, now) + seconds
        self._keep(host, used, now)
        if used <= ALLOWANCE:
            return 0.0
        self._free_at = max(self._free_at, now) + _REST * max(seconds, lasted)
        return self._free_at - now

    def earn(self, host: str, recipients: int, now: float) -> None:
        """A message of this host was taken."""
        left = self._used(host, now) - MESSAGE - RECIPIENT * recipients
        self._keep(host, max(-CREDIT, left), now)

    def in_credit(self, host: str, now: float) -> bool:
        """Whether the mail that it sent is worth more than what it cost."""
        return self._used(host, now) < 0

    def _keep(self, host: str, used: float, now: float) -> None:
        if host not in self._spent and len(self._spent) >= _HOSTS:
            self._spent.clear()  # strangers choose from where they come: forgotten rather than kept for ever
        self._spent[host] = used, now

    def _used(self, host: str, now: float) -> float:
        """Of the allowance; negative: earned."""
        used, at = self._spent.get(host, (0.0, now))
        return max(0.0, used - RETURNS * (now - at)) if used > 0 else used


class Paced(asyncio.Protocol):
    """The half of an incoming connection that knows when it is read from; `_received` is the other's."""

    address: str
    _transport: asyncio.Transport

    def __init__(self, fairness: Fairness) -> None:
        self._fairness = fairness
        self._trusted = False
        """A host that relays through us: it is ours, and its load is our own."""
        self._deaf = False
        """Nothing is read: what was read waits already, or others come first."""
        self._resting = False
        self._useful = False
        """What came last is content that is kept."""
        self._barren = 0

    def data_received(self, data: bytes) -> None:
        if self._trusted:
            self._received(data)
            return
        loop, work = asyncio.get_running_loop(), self._fairness.work
        began, worked = time.monotonic(), work()
        self._received(data)
        if not self._transport.is_closing():
            self._reckon(loop, len(data), work() - worked, began)

    def _received(self, data: bytes) -> None:
        raise AssertionError(data)

    def _read_on(self) -> None:
        """Go on reading, unless something else is waited for."""

    def _stop_reading(self) -> None:
        self._deaf = True
        self._transport.pause_reading()

    def _reckon(self, loop: asyncio.AbstractEventLoop, size: int, spent: float, began: float) -> None:
        useful, self._useful = self._useful, False
        # What uvloop calls the time stands still within a turn.
        now = time.monotonic()
        rest = 0.0 if useful else self._fairness.spend(self.address, spent, now, now - began)
        if rest > 0:
            self._resting = True
            self._stop_reading()
            loop.call_later(rest, self._rested)
        elif size >= _FULL_READ and not self._deaf:
            # libuv would read up to 32 times: a few who send as fast as they can would have all turns.
            self._stop_reading()
            loop.call_soon(self._read_on)

    def _rested(self) -> None:
        self._resting = False
        self._read_on()

    def _earned(self, recipients: int) -> None:
        """A message of this client was taken."""
        self._fairness.earn(self.address, recipients, time.monotonic())

    def _decrypted(self, engine: Engine, data: bytes) -> bytes:
        """The plaintext in `data`, taken in pieces, so that `_barren` is seen before all was worked on."""
        found: list[bytes] = []
        for at in range(0, len(data), BARREN):
            piece = data[at : at + BARREN] if len(data) > BARREN else data
            established = engine.established
            plain = engine.receive(piece)
            found.append(plain)
            self._barren = 0 if plain or not established else self._barren + len(piece)
            if self._barren > BARREN:
                break
        return found[0] if len(found) == 1 else b"".join(found)
