"""A gateway in the test's own process: real sockets, real spool, its events collected, its clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from mxseal.certs.keys import KeyStore
from mxseal.certs.make import demo_certificate
from mxseal.clock import Clock, SystemClock
from mxseal.config.history import History, initial
from mxseal.config.model import Document
from mxseal.events.types import Event
from mxseal.gateway import Gateway
from mxseal.storage.home import Home
from mxseal.storage.ports import Envelope, Queued, Recipient

E = TypeVar("E", bound=Event)
_PATIENCE = 30.0
HOSTNAME = "mx.lab.test"
CONTENT = b"Subject: hello\r\nMessage-ID: <1@lab.test>\r\n\r\nHello.\r\n.dot\r\n"


class Collected:
    """A sink that keeps every event, and wakes who waits for one."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()
        self.is_ready = True

    def handle(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def ready(self) -> bool:
        return self.is_ready

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[E], count: int = 1) -> list[E]:
        """All events of a kind, once there are `count`."""
        async with asyncio.timeout(_PATIENCE):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)


class Running:
    """The gateway and what a test does with it."""

    def __init__(self, gateway: Gateway, told: Collected, port: int) -> None:
        self.gateway = gateway
        self.told = told
        self.port = port

    async def submit(
        self, *recipients: str, sender: str = "from@lab.test", content: bytes = CONTENT, **envelope: Any
    ) -> int:
        """Put a message on the queue as if it had just come in; gives its MID."""
        gateway = self.gateway
        mid = gateway.state.allocate("mid")
        now = gateway.clock.now()
        incoming = gateway.spool.begin()
        incoming.write(content)
        found = tuple(Recipient(rid=i, address=a, next_attempt=now) for i, a in enumerate(recipients))
        known = Envelope(mid=mid, sender=sender, size=len(content), queued_at=now, **envelope)
        await incoming.commit(known, found)
        gateway.queue.add(Queued(envelope=known, recipients=found), incoming.body)
        return mid

    async def quiet(self) -> None:
        """Until nothing is at work any more and all outcomes are written down."""
        while self.gateway.queue.at_work():
            await self.gateway.spool.flush()
            await asyncio.sleep(0)

    def lines(self) -> list[str]:
        """The mail log so far, without its time stamps and without file heads."""
        self.gateway.logs.flush()
        folder = self.gateway.home.logs / "mail_logs"
        text = "".join(path.read_text() for path in sorted(folder.glob("*.@*")))
        found = [line[25:] for line in text.splitlines()]
        return [line for line in found if not line.startswith(("Info: Begin", "Info: Version", "Info: Time"))]


def make_home(folder: Path, document: dict[str, Any] | None = None, port: int = 0) -> Home:
    """A home whose revision 1 is the initial document with `document` laid over it."""
    home = Home(folder)
    home.make()
    state = home.open_state()
    made = demo_certificate(HOSTNAME, SystemClock().now())
    KeyStore(state.secrets).put(made.key)
    plain = initial(HOSTNAME, smtp_port=port, demo=made.certificate).model_dump()
    for listener in plain["listeners"]:
        listener["reverse_dns"] = False
    plain.update(document or {})
    History(state).begin(Document.model_validate(plain), "test", SystemClock().now())
    state.close()
    return home


@asynccontextmanager
async def running(
    folder: Path,
    port: int,
    document: dict[str, Any] | None = None,
    clock: Clock | None = None,
    prepare: Callable[[Gateway], None] | None = None,
) -> AsyncIterator[Running]:
    """A gateway that has started, and is stopped at the end."""
    home = Home(folder) if (folder / "state.db").exists() else make_home(folder, document, port)
    gateway = Gateway(home, clock or SystemClock())
    told = Collected()
    gateway.bus.add(told)
    if prepare is not None:
        prepare(gateway)
    await gateway.start()
    try:
        yield Running(gateway, told, port)
    finally:
        await gateway.stop()


def route(*ports: int, tls: str = "preferred", **delivery: Any) -> dict[str, Any]:
    """Everything goes to these loopback ports, under this TLS level."""
    return {
        "smtp_routes": {"all": [f"127.0.0.1:{port}" for port in ports]},
        "destinations": [{"domain": "default", "tls": tls}],
        "delivery": {"idle_time": 0.05, "command_time": 5.0, "handshake_time": 5.0, **delivery},
    }
