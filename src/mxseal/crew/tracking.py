"""The indexer of message tracking, as the leading process sees it: started, stopped, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.crew.hiring import Hired, HireIndexer
from mxseal.crew.indexing import Orders
from mxseal.sinks.tracking.indexer import Limits
from mxseal.storage.tracking.file import TrackingFile

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between the indexer's death and its successor's start; doubled while it dies young."""
_YOUNG = 60.0
_LONGEST_LINE = 1 << 16


class Indexing:
    """Keeps one indexer while the document wants it. Nothing waits for it but `stop`."""

    def __init__(
        self, home: Path, clock: Clock, hire: HireIndexer | None, tell: Callable[[str], None]
    ) -> None:
        """`tell` hears what is wrong, in sentences, and "" when it is over. Without `hire` nothing runs."""
        self._home = home
        self.file = TrackingFile(home)
        """What it has found, for commands."""
        self._clock = clock
        self._hire = hire
        self._tell = tell
        self._limits: Limits | None = None
        self._hired: Hired | None = None
        self._line: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause: asyncio.Future[None] | None = None
        self.problem = ""
        """What it said last; "": all is well."""

    @property
    def pid(self) -> int | None:
        """Process id of the indexer that runs."""
        return self._hired.pid if self._hired is not None else None

    def configure(self, document: Document) -> None:
        """What is to be kept: an indexer with other limits takes the place of the one that runs."""
        wanted = document.tracking
        limits = Limits(
            keep_days=wanted.keep_days,
            max_bytes=wanted.max_bytes,
            refusals=wanted.max_refused,
            min_free_bytes=2 * document.queue.min_free_bytes,
        )
        self._change(limits if wanted.enabled else None)

    def _change(self, limits: Limits | None) -> None:
        if limits == self._limits or self._hire is None:
            return
        self._limits = limits
        if self._task is None or self._task.done():
            if limits is not None:
                self._task = asyncio.get_running_loop().create_task(self._keep())
        else:
            self._hang_up()

    async def stop(self) -> None:
        """Let the indexer end, and wait for that."""
        self._limits = None
        self._hang_up()
        if self._task is not None:
            await self._task
        self.file.close()

    def _hang_up(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError):  # it has ended
                self._line.shutdown(socket.SHUT_RDWR)
            self._line = None
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while (limits := self._limits) is not None:
            began = self._clock.monotonic()
            status = await self._one(limits)
            self.problem = ""
            if self._limits != limits:
                pause = FIRST_PAUSE
                continue  # it was told to end
            young = self._clock.monotonic() - began < _YOUNG
            self._hear(
                f"The indexer of message tracking ended with status {status} and is started again. Mail is "
                "not concerned, and nothing of the record is lost."
            )
            await self._rest(pause)
            pause = min(pause * 2, LONGEST_PAUSE) if young else FIRST_PAUSE

    async def _one(self, limits: Limits) -> int:
        """Run an indexer until it ends; its exit status."""
        assert self._hire is not None
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._line = ours
        self._hired = self._hire(Orders(home=str(self._home), limits=limits), theirs)
        hearing = asyncio.get_running_loop().create_task(self._listen(ours))
        try:
            return await self._hired.ended()
        finally:
            self._hired = self._line = None
            await hearing
            ours.close()

    async def _listen(self, line: socket.socket) -> None:
        loop, held = asyncio.get_running_loop(), b""
        while data := await _received(loop, line):
            *texts, held = (held + data).split(b"\n")
            held = held[:_LONGEST_LINE]
            for text in texts:
                self._hear(msgspec.json.decode(text, type=str))

    def _hear(self, text: str) -> None:
        self.problem = text
        self._tell(text)

    async def _rest(self, seconds: float) -> None:
        self._pause = pause = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, lambda: None if pause.done() else pause.set_result(None))
        await pause
        timer.cancel()
        self._pause = None


async def _received(loop: asyncio.AbstractEventLoop, line: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(line, 4096)
    except OSError:  # killed with words unread
        return b""
