"""`tail`: the last lines of a log, then each new one as it is written, across rotations (reference §6.2)."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from mxseal.clock import Clock
from mxseal.logs.offload import in_thread
from mxseal.logs.retained import Retained, open_retained, retained, subscription

CHUNK = 1 << 18
NEWLINE = b"\n"
Wait = Callable[[], Awaitable[object]]


def tail(home: Path, name: str, *, wait: Wait, lines: int = 10) -> AsyncIterator[bytes]:
    """The last `lines` lines of the log `name`, then what is written, in chunks of whole lines; never ends.

    `wait` is awaited whenever all has been read: `polling(clock, seconds)` or `bell.listener()`. Raises
    UnknownLog at once, OSError while reading.
    """
    return in_thread(Follower(subscription(home, name).folder, lines), wait)


def polling(clock: Clock, seconds: float) -> Wait:
    """A wait of `seconds`."""

    async def wait() -> None:
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = clock.call_later(seconds, lambda: None if due.done() else due.set_result(None))
        try:
            await due
        finally:
            timer.cancel()

    return wait


class Bell:
    """Rung by the writer of a log; wakes all who listen. A ring between two waits is not lost."""

    def __init__(self) -> None:
        self._events: weakref.WeakSet[asyncio.Event] = weakref.WeakSet()

    def ring(self) -> None:
        for event in self._events:
            event.set()

    def listener(self) -> Wait:
        event = asyncio.Event()
        self._events.add(event)

        async def wait() -> None:
            await event.wait()
            event.clear()

        return wait


class Follower:
    """Reads on from a place near the end, from file to file. Blocking; `step` gives b"" when all is read."""

    def __init__(self, folder: Path, lines: int) -> None:
        self._folder = folder
        self._wanted: int | None = max(0, lines)
        self._stamp = ""
        self._descriptor: int | None = None
        self._offset = 0

    def step(self) -> bytes:
        """Whole lines that were written since the last step, at most about a quarter of a megabyte."""
        if self._wanted is not None:
            self._begin(self._wanted)
            self._wanted = None
        while True:
            if lines := self._lines():
                return lines
            files = retained(self._folder)
            newer = [entry for entry in files if entry.stamp > self._stamp]
            if not newer or any(entry.current and entry.stamp == self._stamp for entry in files):
                return b""
            # The file was finished, and then given its name as a saved one: what is there now is all.
            if rest := self._lines() or self._torn():
                return rest
            self._move_to(newer[0])

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _move_to(self, entry: Retained) -> None:
        self.close()
        self._descriptor = open_retained(entry)
        self._stamp, self._offset = entry.stamp, 0

    def _begin(self, wanted: int) -> None:
        """Go to the `wanted`th line from the end, in whichever file it is."""
        for entry in reversed(retained(self._folder)):
            self._move_to(entry)
            if self._descriptor is None:
                continue
            size = os.fstat(self._descriptor).st_size
            self._offset, wanted = _last_lines(self._descriptor, size, wanted)
            if not wanted:
                return

    def _lines(self) -> bytes:
        if self._descriptor is None:
            return b""
        if os.fstat(self._descriptor).st_size < self._offset:
            # Somebody emptied the file: begin again.
            self._offset = 0
        length = CHUNK
        while True:
            block = os.pread(self._descriptor, length, self._offset)
            end = block.rfind(NEWLINE) + 1
            if end or len(block) < length:
                self._offset += end
                return block[:end]
            length *= 4

    def _torn(self) -> bytes:
        """The end of a file that lacks its newline and will never get it."""
        if self._descriptor is None:
            return b""
        rest = os.pread(self._descriptor, CHUNK, self._offset)
        self._offset += len(rest)
        return rest + NEWLINE if rest else b""


def _last_lines(descriptor: int, size: int, wanted: int) -> tuple[int, int]:
    """(offset of the `wanted`th last line, 0), or (0, how many lines are still missing)."""
    if not size:
        return 0, wanted
    # A line that is not ended yet counts as none: it is given when its end is written.
    offset = size
    newlines = 0
    while offset:
        start = max(0, offset - CHUNK)
        block = os.pread(descriptor, offset - start, start)
        position = len(block)
        while (position := block.rfind(NEWLINE, 0, position)) >= 0:
            newlines += 1
            if newlines > wanted:
                return start + position + 1, 0
        offset = start
    return 0, wanted - newlines
