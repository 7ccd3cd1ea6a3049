"""Deliveries without listeners: the queue, the outbound side and its contexts, in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from lab.ca import Authority
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import build
from mxseal.clock import Clock, SystemClock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.relay.outbound import Outbound
from mxseal.relay.queue import Queue
from mxseal.relay.resolver import ClientName, DnsFault, Host
from mxseal.relay.routing import MailExchanger
from mxseal.relay.verification import Revoking
from mxseal.storage.board import Board
from mxseal.storage.ports import Envelope, Queued, Recipient
from mxseal.storage.spool import Limits, SqliteSpool
from tests.relay.harness import CONTENT, Collected

LOOPBACK = "127.0.0.1"


class Names:
    """A resolver with answers of its own: domains to (exchanger, port), addresses to names."""

    def __init__(
        self,
        exchangers: Mapping[str, Sequence[tuple[str, int]]] | None = None,
        reverse: Mapping[str, str] | None = None,
    ) -> None:
        self._exchangers = dict(exchangers or {})
        self._reverse = dict(reverse or {})
        self.asked: list[str] = []
        """Domains and addresses, in order."""

    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault:  # noqa: ARG002
        self.asked.append(domain)
        found = self._exchangers.get(domain)
        if found is None:
            return DnsFault(hard=False, status="4.4.3", text=f"no answer for {domain}")
        return tuple(Host(name, own, (LOOPBACK,)) for name, own in found)

    async def host(self, name: str, port: int) -> Host | DnsFault:
        return Host(name, port, (LOOPBACK,))

    async def exchangers(self, domain: str) -> tuple[MailExchanger, ...] | DnsFault:
        self.asked.append(domain)
        found = self._exchangers.get(domain)
        if found is None:
            return DnsFault(hard=False, status="4.4.3", text=f"no answer for {domain}")
        return tuple(MailExchanger(10, name) for name, _ in found)

    def permitted(self, addresses: Sequence[str]) -> tuple[str, ...]:
        return tuple(addresses)

    async def client_name(self, address: str) -> ClientName:
        self.asked.append(address)
        return ClientName(self._reverse.get(address), verified=True)


class _Secrets(dict[str, bytes]):
    """Keys in memory: no document here has any."""

    def put(self, name: str, value: bytes) -> None:
        self[name] = value

    def delete(self, name: str) -> None:
        del self[name]

    def names(self) -> list[str]:
        return list(self)


class Delivering:
    """What a test does with it. Events are in `told`."""

    def __init__(
        self,
        folder: Path,
        document: Document,
        resolver: Names,
        revoking: Revoking | None,
        clock: Clock | None = None,
    ) -> None:
        self.clock = SystemClock()
        self.told = Collected()
        self.resolver = resolver
        bus = Bus()
        bus.add(self.told)
        self._numbers = {"mid": count(1), "dcid": count(1)}
        self.spool = SqliteSpool(folder, self.clock, Limits(100_000, 1 << 40, 0))
        self.keys = KeyStore(_Secrets())
        self.live = build(document, self.keys, None, self.clock.now())
        outbound = Outbound(
            bus,
            self.clock,
            lambda which: next(self._numbers[which]),
            lambda: self.resolver,
            lambda modern: self.live.delivery.context if modern else self.live.delivery.classic,
            revoking=lambda: revoking,
        )
        allocate = outbound._allocate
        self.board = Board.make(2)
        row = self.board.row(0)
        self.queue = Queue(self.spool, bus, clock or self.clock, allocate, work=outbound.work, row=row)
        self.queue.configure(document)

    def commit(self, document: Document) -> None:
        """Another document in force."""
        self.live = build(document, self.keys, self.live, self.clock.now())
        self.queue.configure(document)

    async def submit(self, *recipients: str, sender: str = "from@lab.test", **envelope: Any) -> int:
        """A message on the queue; gives its MID."""
        mid, now = next(self._numbers["mid"]), self.clock.now()
        incoming = self.spool.begin()
        incoming.write(CONTENT)
        found = tuple(Recipient(rid=i, address=a, next_attempt=now) for i, a in enumerate(recipients))
        known = Envelope(mid=mid, sender=sender, size=len(CONTENT), queued_at=now, **envelope)
        await incoming.commit(known, found)
        self.queue.add(Queued(envelope=known, recipients=found), incoming.body)
        return mid

    async def quiet(self) -> None:
        """Until nothing is at work any more and all outcomes are written down."""
        while self.queue.at_work():
            await self.spool.flush()
            await asyncio.sleep(0.001)


@asynccontextmanager
async def delivering(
    folder: Path,
    document: Mapping[str, Any],
    resolver: Names | None = None,
    revoking: Revoking | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Delivering]:
    """Deliveries under a document, which is laid over one that shows no certificate of its own. `clock`: the
    queue's, where it is another than that of the connections."""
    plain = dict(document)
    quick = {"idle_time": 0.05, "command_time": 5.0, "handshake_time": 5.0, "certificate": None}
    plain["delivery"] = quick | dict(plain.get("delivery", {}))
    here = Delivering(folder, Document.model_validate(plain), resolver or Names(), revoking, clock)
    here.queue.start()
    try:
        yield here
    finally:
        await here.queue.stop(1.0)
        here.spool.close()
        here.board.close()


def believing(authority: Authority, **more: Any) -> dict[str, Any]:
    """For a document's `trust`: this authority alone."""
    entry = {"name": "lab", "certificate": authority.root.pem.decode()}
    return {"system": False, "custom": True, "authorities": [entry], **more}
