"""What a caller types or pipes in, kept until somebody wants it. Bounded: a full one stops the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST_KEPT = 8 << 20
"""Bytes that are kept: the largest file that a command takes fits twice."""


class Interrupted(Exception):
    """Ctrl-C was pressed while a line was waited for."""


class Input:
    """Bytes in, lines or everything out. One reader at a time."""

    def __init__(
        self, pause: Callable[[], object], resume: Callable[[], object], resting: Callable[[], object]
    ) -> None:
        """`pause` and `resume` the caller's sending; `resting` is called when a wait for it begins."""
        self._pause = pause
        self._resume = resume
        self._resting = resting
        self._kept = bytearray()
        self._over = False
        self._breaks = 0
        """How often an end was typed (Ctrl-D) behind what is kept."""
        self._waiter: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the caller."""
        return self._waiter is not None

    def feed(self, data: bytes) -> None:
        self._kept += data
        if len(self._kept) > MOST_KEPT:
            self._pause()
        self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self._over = True
        self._wake()

    def end_once(self) -> None:
        """Ctrl-D: an end for the one who waits, but more may come."""
        self._breaks += 1
        self._wake()

    def interrupt(self) -> None:
        """Ctrl-C: what was typed ahead is forgotten, and whoever waits for a line gets Interrupted."""
        self._kept.clear()
        self._breaks = 0
        self._resume()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Interrupted())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        self._resting()
        self._resume()
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def line(self) -> str:
        """A line without its end. Raises EOFError and Interrupted."""
        while (end := self._kept.find(b"\n")) < 0:
            if self._over or self._breaks or len(self._kept) > MOST_KEPT:
                self._breaks = max(0, self._breaks - 1)
                if not self._kept:
                    raise EOFError
                end = len(self._kept)
                break
            await self._more()
        line = bytes(self._kept[:end])
        del self._kept[: end + 1]
        return line.decode("utf-8", "replace").removesuffix("\r")

    async def rest(self, limit: int) -> bytes:
        """Everything up to the end, or somewhat more than `limit` bytes."""
        while not self._over and len(self._kept) <= limit:
            await self._more()
        data = bytes(self._kept)
        self._kept.clear()
        return data
