"""Alerts over a bus, a home in memory and a clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Self, cast

from mxseal.alerts.desk import Alerts
from mxseal.alerts.post import Post
from mxseal.alerts.sources import Sources
from mxseal.alerts.standing import CrlFacts, Oldest
from mxseal.clock import Clock, ManualClock
from mxseal.config.model import Document, Logs
from mxseal.events.bus import Bus
from mxseal.events.types import AlertRaised, OutboundTlsFailed, OutboundTlsSucceeded
from mxseal.relay.resolver import ClientName, DnsFault, Host, Resolver
from mxseal.sinks.maillog import Renderer
from mxseal.storage.ports import StorageRefused
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.facts import TlsFacts
from tests.certs.authority import MemorySecrets
from tests.relay.harness import Collected

HOSTNAME = "esa.example.com"
ADMIN = "admin@example.com"
DISK = (50 << 30, 100 << 30)


class MemoryFacts:
    """Facts of a home, as long as the test runs. `full`: the disk takes nothing."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.full = False

    def fact(self, name: str) -> str | None:
        return self.values.get(name)

    def put_fact(self, name: str, value: str) -> None:
        if self.full:
            raise StorageRefused("full", "no space left")
        self.values[name] = value


class Names:
    """A resolver that knows the hosts that a test puts in."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Host, ...] | DnsFault] = {}
        self.asked: list[str] = []

    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault:  # noqa: ARG002
        self.asked.append(domain)
        return self.known.get(domain, DnsFault(True, "5.1.2", f"no such domain: {domain}"))

    async def host(self, name: str, port: int) -> Host | DnsFault:
        return Host(name, port, (name,))

    async def client_name(self, address: str) -> ClientName:  # noqa: ARG002
        return ClientName(None, verified=False)


class World:
    """What the gateway would answer."""

    def __init__(self) -> None:
        self.waiting = 0
        self.oldest: Oldest | None = None
        self.disk = DISK
        self.lists: Sequence[CrlFacts] = ()

    def sources(self) -> Sources:
        async def waiting(_domain: str) -> int:
            return self.waiting

        async def oldest() -> Oldest | None:
            return self.oldest

        return Sources(waiting=waiting, oldest=oldest, disk=lambda: self.disk, lists=lambda: self.lists)


class Desk:
    """Alerts as the gateway runs them. `told` has all events of the bus."""

    def __init__(self, facts: MemoryFacts | None = None, clock: Clock | None = None, **document: Any) -> None:
        self.clock = clock or ManualClock()
        self.facts = facts or MemoryFacts()
        self.secrets = MemorySecrets()
        self.world = World()
        self.names = Names()
        self.bus = Bus()
        self.told = Collected()
        self.document = document_with(**document)
        context = client_context(ClientTls(post_quantum=False))
        self.alerts = Alerts(
            bus=self.bus,
            clock=self.clock,
            store=self.facts,
            secrets=self.secrets,
            post=Post(self.bus, self.clock, lambda: cast("Resolver", self.names), lambda: context),
            sources=self.world.sources(),
        )
        self.bus.add(self.alerts)
        self.bus.add(self.told)

    async def __aenter__(self) -> Self:
        self.alerts.start(self.document)
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.alerts.stop()

    async def settle(self) -> None:
        """Until nothing moves that moves without time."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        self.clock.advance(seconds)
        await self.settle()

    async def fail(self, domain: str = "partner.example", **values: Any) -> None:
        """A required TLS connection fails."""
        self.bus.publish(tls_failed(self.clock.now(), domain, **values))
        await self.settle()

    async def work(self, domain: str = "partner.example") -> None:
        """A TLS connection is established."""
        self.bus.publish(tls_works(self.clock.now(), domain))
        await self.settle()

    @property
    def raised(self) -> list[AlertRaised]:
        return self.told.of(AlertRaised)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.raised]

    def lines(self) -> list[str]:
        """The mail log of all that was told, without time stamps."""
        renderer = Renderer(Logs(time="utc"))
        text = b"".join(map(renderer.render, self.told.events)).decode()
        return [line[25:] for line in text.splitlines()]


def document_with(**changes: Any) -> Document:
    plain: dict[str, Any] = {
        "hostname": HOSTNAME,
        "destinations": [{"domain": "default", "tls": "required"}],
        "delivery": {"alert_on_tls_failure": True, "certificate": None},
    }
    return Document.model_validate(plain | changes)


def tls_failed(at: float, domain: str, **values: Any) -> OutboundTlsFailed:
    known: dict[str, Any] = {
        "dcid": 7,
        "host": f"mx.{domain}",
        "required": True,
        "alert": True,
        "reason": "unexpected-response",
        "condition": "starttls-refused",
    }
    return OutboundTlsFailed(at=at, domain=domain, **(known | values))


def tls_works(at: float, domain: str) -> OutboundTlsSucceeded:
    facts = TlsFacts(protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256)
    return OutboundTlsSucceeded(at=at, dcid=8, domain=domain, host=f"mx.{domain}", facts=facts)
