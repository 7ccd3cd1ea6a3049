"""A local face in a thread of its own, for callers that are real processes or plain sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import uvloop

from mxseal.commands import configuration, system
from mxseal.commands.registry import Registry
from mxseal.commands.running import AuditRecord, Runner
from mxseal.commands.services import Services
from mxseal.faces.local import LocalFace
from tests.commands import gateway
from tests.commands.gateway import FakeServices


class Serving:
    """A face that serves a home, and what it reported."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.services = FakeServices()
        self.records: list[AuditRecord] = []
        self.reported = threading.Semaphore(0)
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work)

    def _audit(self, record: AuditRecord) -> None:
        self.records.append(record)
        self.reported.release()

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        commands = Registry((configuration, system, gateway))
        face = LocalFace(self.home, Runner(commands, self._audit), cast("Services", self.services))
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        await face.start()
        self._ready.set()
        await self._stop.wait()
        await face.stop()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(20)

    def stop(self) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def ended(self) -> AuditRecord:
        """The next report, waited for."""
        assert self.reported.acquire(timeout=20)
        return self.records[-1]


@contextmanager
def serving(home: Path) -> Iterator[Serving]:
    server = Serving(home)
    server.start()
    try:
        yield server
    finally:
        server.stop()
