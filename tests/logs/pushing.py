"""A log whose lines a test writes, and its push to a server."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from lab.ca import Issued
from lab.process import PATIENCE
from mxseal.certs.keys import KeyStore
from mxseal.clock import SystemClock
from mxseal.config.model import Certificate, Document
from mxseal.config.subscriptions import wanted
from mxseal.events.bus import Bus
from mxseal.sinks.files import LogFile, Surroundings
from mxseal.sinks.push import Patience
from mxseal.sinks.pushing import Pushing
from tests.certs.authority import MemorySecrets
from tests.relay.harness import Collected

QUICK = Patience(
    connect=5.0, first_wait=0.05, longest_wait=0.2, settled=0.3, look=0.01, save=0.02, goodbye=2.0
)
STAMP = "Sat Feb 14 19:20:28 2026"


class NoFraming:
    def head(self, _at: float) -> bytes:
        return b""

    def foot(self, _at: float) -> bytes:
        return b""


class Shifted(SystemClock):
    """The machine's clock, set forward at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class Log:
    """The log mail_logs of a document in a home, and what sends it. `push`: of the subscription."""

    def __init__(
        self, home: Path, push: dict[str, Any] | None, patience: Patience = QUICK, **document: Any
    ) -> None:
        self.clock = Shifted()
        self.told = Collected()
        self.keys = KeyStore(MemorySecrets())
        self._home = home
        self._document = document
        self._patience = patience
        self.document = self.with_push(push)
        self.count = 0

    def with_push(self, push: dict[str, Any] | None, **entry: Any) -> Document:
        subscription = {"name": "mail_logs", "kind": "mail", "push": push, **entry}
        plain = {"hostname": "esa.example.com", "logs": {"time": "utc"}} | self._document
        return Document.model_validate(plain | {"log_subscriptions": [subscription]})

    def certificate(self, issued: Issued) -> dict[str, Any]:
        """A profile called client; its key goes into the store."""
        self.keys.put(issued.key)
        return Certificate(name="client", certificate=issued.cert_pem.decode()).model_dump()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """As the gateway does it."""
        self.bus = Bus()
        self.bus.add(self.told)
        self.pushing = Pushing(self._home, self.bus, self.clock, self.keys, self._patience)
        around = Surroundings(
            self._home,
            self.clock,
            asyncio.get_running_loop().call_soon,
            expiring=self.pushing.expiring,
        )
        log = wanted(self.document)[0]
        self.file = LogFile(log.name, log.filename, NoFraming(), log.logs, around)
        self.pushing.load(self.document)
        self.file.open()
        await self.put_in_force(self.document)

    async def put_in_force(self, document: Document) -> None:
        ready, problems = self.pushing.build(document)
        assert not problems
        self.document = document
        await self.pushing.configure(ready)

    async def stop(self) -> None:
        self.file.close()
        await self.pushing.stop()

    def write(self, lines: int) -> None:
        """Lines 'line 1', 'line 2' and so on, over all calls."""
        first = self.count + 1
        self.count += lines
        for number in range(first, self.count + 1):
            self.file.write(f"{STAMP} Info: line {number} end\n".encode())
        self.file.flush()

    @property
    def state(self) -> Any:
        (state,) = self.pushing.states()
        return state

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not look():
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Until all that was written counts as received."""
        await self.until(lambda: self.state.sent == self.count and self.state.waiting == 0)


def numbers(messages: list[str]) -> list[int]:
    """The numbers of the lines in messages."""
    return [int(found[1]) for each in messages if (found := re.search(r"line (\d+) end", each))]
