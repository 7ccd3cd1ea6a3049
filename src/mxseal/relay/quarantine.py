"""The quarantine of one worker: bounded by time and size, and what administrators do with it."""

from __future__ import annotations

import asyncio

from mxseal.clock import Timer
from mxseal.config.model import Document, Quarantine
from mxseal.events.screening import QuarantineDeleted, QuarantineReleased
from mxseal.events.types import MessageFinished
from mxseal.relay.queue import Queue
from mxseal.storage.ports import StorageRefused
from mxseal.storage.quarantine import Kept

_DAY = 86_400.0
_TEND_SECONDS = 600.0
_AT_ONCE = 100
HEADER_BYTES = 256 * 1024


class Keeping:
    """Deletes what is too old or too much, releases, shows."""

    def __init__(self, queue: Queue, shares: int) -> None:
        """`shares`: of how many this is one; each has its part of the room."""
        self._queue = queue
        self._shares = shares
        self._says = Quarantine()
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def configure(self, document: Document) -> None:
        """From now on, at once."""
        self._says = document.quarantine
        self.tend()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def tend(self) -> None:
        """Look for what has to go, now and again in a while."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._queue.clock.call_later(_TEND_SECONDS, self.tend)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._clean())

    async def _clean(self) -> None:
        try:
            await self._expire()
            await self._make_room()
        except StorageRefused:
            return  # the spool has told; it is tried again

    async def _expire(self) -> None:
        before = self._queue.clock.now() - self._says.keep_days * _DAY
        while old := await self._queue.spool.shelf.oldest(before, _AT_ONCE):
            await self._gone(old, "", f"it was in quarantine for {self._says.keep_days} days")

    async def _make_room(self) -> None:
        room = self._says.max_bytes // self._shares
        shelf = self._queue.spool.shelf
        while shelf.count()[1] > room:
            oldest = await shelf.oldest(float("inf"), 1)
            if not oldest:
                return
            await self._gone(oldest, "", "newer ones needed its room")

    async def _gone(self, kept: list[Kept], user: str, reason: str) -> int:
        gone = await self._queue.spool.shelf.drop([each.mid for each in kept])
        now = self._queue.clock.now()
        for mid, rids in gone.items():
            self._queue.bus.publish(QuarantineDeleted(at=now, mid=mid, rids=rids, user=user, reason=reason))
            self._queue.bus.publish(MessageFinished(at=now, mid=mid))
        return len(gone)

    # --- administrators -------------------------------------------------------------------------------------

    async def release(self, mid: int, user: str) -> bool:
        """Into the queue, never to be analysed again; False: it is not here. StorageRefused."""
        now = self._queue.clock.now()
        if not await self._queue.spool.shelf.release(mid, now):
            return False
        queued = await self._queue.spool.load(mid)
        if queued is not None:
            rids = tuple(each.rid for each in queued.recipients)
            self._queue.bus.publish(QuarantineReleased(at=now, mid=mid, rids=rids, user=user))
            self._queue.add(queued)
        return True

    async def delete(self, mid: int, user: str) -> bool:
        """False: it is not here. StorageRefused."""
        kept = await self._queue.spool.shelf.find(mid)
        return kept is not None and await self._gone([kept], user, "deleted by an administrator") > 0

    async def header(self, mid: int) -> bytes | None:
        """The header of a message, as it came in; None: it is not here. StorageRefused."""
        if await self._queue.spool.shelf.find(mid) is None:
            return None
        start = b""
        async for piece in self._queue.spool.content(mid):
            start += piece
            end = start.find(b"\r\n\r\n")
            if end >= 0:
                return start[: min(end + 2, HEADER_BYTES)]
            if len(start) > HEADER_BYTES:
                break
        return start[:HEADER_BYTES]
