"""A gateway in the test's own process: real sockets, real spool, its events collected, its clock in hand."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from lab.ca import Issued
from lab.ca import pem as _pem
from lab.client import ANY
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import Live
from mxseal.certs.make import Made, demo_certificate
from mxseal.clock import Clock, SystemClock
from mxseal.config.history import Commit, Committed, History, Rejected, initial
from mxseal.config.model import Certificate, Document
from mxseal.crew.hiring import Ends, Hired
from mxseal.crew.wire import Asked, Frames
from mxseal.crew.worker import Post, Worker
from mxseal.events.types import Event
from mxseal.gateway import Gateway
from mxseal.relay.listener import Listeners
from mxseal.relay.outbound import Outbound
from mxseal.relay.queue import Queue
from mxseal.storage.board import Board
from mxseal.storage.home import Home
from mxseal.storage.ports import Envelope, Queued, Recipient
from mxseal.storage.spool import SqliteSpool

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

    def __init__(self, gateway: Relay, told: Collected, port: int) -> None:
        self.gateway = gateway
        self.told = told
        self.port = port
        self._stopped = False

    async def stop(self) -> None:
        """End the gateway, once."""
        if not self._stopped:
            self._stopped = True
            await self.gateway.stop()

    async def commit(self, **changes: Any) -> Sequence[str]:
        """Put the document in force with these keys replaced; what the administrator is told."""
        outcome = await self.try_commit(**changes)
        assert not isinstance(outcome, Rejected), outcome
        return outcome

    async def try_commit(self, **changes: Any) -> Sequence[str] | Rejected:
        """The same, or why it can't be."""
        gateway = self.gateway
        async with gateway.changing:
            plain = gateway.history.current().document.model_dump() | changes
            gateway.history.replace("test", Document.model_validate(plain))
            wish = Commit("test", "test", "a change", gateway.clock.now())
            outcome = await gateway.history.commit(wish, gateway.build)
            if isinstance(outcome, Rejected):
                gateway.history.clear("test")
                return outcome
            assert isinstance(outcome, Committed)
            return await gateway.put_in_force(outcome.built, outcome.revision, outcome.document)

    def certificate(self, name: str, issued: Issued) -> dict[str, Any]:
        """A profile for the document's certificates; its key goes into the store."""
        self.gateway.keys.put(issued.key)
        pems = [each.decode() for each in map(_pem, issued.chain)]
        return Certificate(name=name, certificate=pems[0], intermediates=tuple(pems[1:])).model_dump()

    async def content(self, mid: int) -> bytes:
        """What is on the spool of a message."""
        return b"".join([piece async for piece in self.gateway.spool.content(mid)])

    async def submit(
        self, *recipients: str, sender: str = "from@lab.test", content: bytes = CONTENT, **envelope: Any
    ) -> int:
        """Put a message on the queue as if it had just come in; gives its MID."""
        gateway = self.gateway
        mid = gateway.worker.numbers.allocate("mid")
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
        self.gateway.worker.logs.flush()
        folder = self.gateway.home.logs / "mail_logs"
        text = "".join(path.read_text() for path in sorted(folder.glob("*.@*")))
        found = [line[25:] for line in text.splitlines()]
        return [line for line in found if not line.startswith(("Info: Begin", "Info: Version", "Info: Time"))]


@cache
def _demonstration() -> Made:
    """One for all tests of the process: an RSA key takes longer to make than most tests take."""
    return demo_certificate(HOSTNAME, SystemClock().now())


def make_home(folder: Path, document: dict[str, Any] | None = None, port: int = 0) -> Home:
    """A home whose revision 1 is the initial document with `document` laid over it."""
    home = Home(folder)
    home.make()
    state = home.open_state()
    made = _demonstration()
    KeyStore(state.secrets).put(made.key)
    plain = initial(HOSTNAME, smtp_port=port, demo=made.certificate).model_dump() | {"workers": 1}
    for listener in plain["listeners"]:
        listener["reverse_dns"] = False
    plain.update(document or {})
    History(state).begin(Document.model_validate(plain), "test", SystemClock().now())
    state.close()
    return home


class Inside:
    """Hires one worker, in the test's own process: with the sockets, frames and board of separate ones."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self._home = home
        self._clock = clock
        self.worker: Worker
        self.prepare: Callable[[Worker], None] = lambda _worker: None
        self.pid = os.getpid()
        self._serving: asyncio.Task[bool]

    def __call__(self, number: int, workers: int, board: Board, ends: Ends) -> Hired:
        self._serving = asyncio.get_running_loop().create_task(self._serve(number, workers, board, ends))
        return self

    async def _serve(self, number: int, workers: int, board: Board, ends: Ends) -> bool:
        ends.frames.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ends.frames)
        frames = Frames(reader, writer, Asked)
        post = Post(self._home, self._clock, number, workers, board.row(number), frames, ends.passing)
        state = self._home.open_state()
        document = History(state).current().document
        state.close()
        self.worker = Worker(post, document)
        self.prepare(self.worker)
        try:
            return await self.worker.serve()
        finally:
            await frames.drain()
            ends.passing.close()

    async def ended(self) -> int:
        return 0 if await asyncio.shield(self._serving) else 1

    def kill(self) -> None:
        self._serving.cancel()


class Relay(Gateway):
    """A gateway with its one worker inside, whose parts are at hand."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.inside = Inside(home, clock)
        super().__init__(home, clock, self.inside)

    @property
    def worker(self) -> Worker:
        return self.inside.worker

    @property
    def served(self) -> Live:
        """The contexts that its connections get."""
        assert self.worker.live is not None
        return self.worker.live

    @property
    def spool(self) -> SqliteSpool:
        return self.worker.spool

    @property
    def queue(self) -> Queue:
        return self.worker.queue

    @property
    def listeners(self) -> Listeners:
        return self.worker.listeners

    @property
    def outbound(self) -> Outbound:
        return self.worker.outbound


@asynccontextmanager
async def running(
    folder: Path,
    port: int,
    document: dict[str, Any] | None = None,
    clock: Clock | None = None,
    prepare: Callable[[Worker], None] | None = None,
) -> AsyncIterator[Running]:
    """A gateway that has started, and is stopped at the end. `prepare` gets its worker before it starts."""
    home = Home(folder) if (folder / "state.db").exists() else make_home(folder, document, port)
    gateway = Relay(home, clock or SystemClock())
    told = Collected()
    gateway.bus.add(told)

    def prepared(worker: Worker) -> None:
        worker.bus.add(told)
        if prepare is not None:
            prepare(worker)

    gateway.inside.prepare = prepared
    await gateway.start()
    relay = Running(gateway, told, port)
    try:
        yield relay
    finally:
        await relay.stop()


def keeping(worker: Worker) -> None:
    """For `prepare`: nothing is delivered, messages stay on the spool."""
    worker.queue.suspended = True


def route(*ports: int, tls: str = "preferred", **delivery: Any) -> dict[str, Any]:
    """Everything goes to these loopback ports, under this TLS level."""
    return {
        "smtp_routes": {"all": [f"127.0.0.1:{port}" for port in ports]},
        "destinations": [{"domain": "default", "tls": tls}],
        "delivery": {"idle_time": 0.05, "command_time": 5.0, "handshake_time": 5.0, **delivery},
    }


def listening(
    port: int,
    *,
    action: str = "accept",
    tls: str = "preferred",
    limits: dict[str, Any] | None = None,
    policy: dict[str, Any] | None = None,
    **listener: Any,
) -> dict[str, Any]:
    """One listener, under one policy for everybody, that takes mail for example.com. `limits` are the
    listener's, `policy` the policy's own."""
    name = {"name": "IncomingMail", "port": port, "reverse_dns": False}
    return {
        "listeners": [name | listener | {"limits": limits or {}}],
        "mail_flow_policies": [{"name": "ACCEPTED", "action": action, "tls": tls, "limits": policy or {}}],
        "sender_groups": [],
        "recipient_access": {"domains": ["example.com"]},
    }


class Talker:
    """A client by hand, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def reply(self) -> str:
        """The next reply, its lines joined by newlines; "" when the connection has ended."""
        lines: list[str] = []
        async with asyncio.timeout(_PATIENCE):
            while not lines or lines[-1][3:4] == "-":
                try:
                    raw = await self.reader.readline()
                except OSError:
                    raw = b""
                if not raw:
                    return "\n".join(lines)
                assert raw.endswith(b"\r\n")
                lines.append(raw[:-2].decode())
        return "\n".join(lines)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def say(self, *commands: str) -> str:
        """Send commands, each after the reply to the one before; gives the last reply."""
        answer = ""
        for command in commands:
            self.send(command.encode() + b"\r\n")
            answer = await self.reply()
        return answer

    async def secure(self, context: ssl.SSLContext | None = None, name: str | None = None) -> None:
        """STARTTLS, with the handshake. Raises ssl.SSLError, OSError."""
        assert (await self.say("STARTTLS")).startswith("220 ")
        await self.handshake(context, name)

    async def handshake(self, context: ssl.SSLContext | None = None, name: str | None = None) -> None:
        async with asyncio.timeout(_PATIENCE):
            await self.writer.start_tls(context or ANY.context(), server_hostname=name)

    async def offer(self, *recipients: str, sender: str = "from@lab.test", parameters: str = "") -> str:
        """EHLO and envelope up to the reply to DATA, or the first refusal. Recipients may be refused."""
        answer = await self.say("EHLO client.lab.test", f"MAIL FROM:<{sender}>{parameters}")
        if answer.startswith("250"):
            for recipient in recipients or ("to@example.com",):
                await self.say(f"RCPT TO:<{recipient}>")
            answer = await self.say("DATA")
        return answer

    async def message(self, *recipients: str, content: bytes = CONTENT, **envelope: Any) -> str:
        """A whole message; the last reply."""
        answer = await self.offer(*recipients, **envelope)
        if not answer.startswith("354"):
            return answer
        self.send(stuffed(content) + b".\r\n")
        return await self.reply()

    async def rest(self) -> bytes:
        """All that comes until the server closes."""
        found = b""
        async with asyncio.timeout(_PATIENCE):
            with suppress(OSError):
                while piece := await self.reader.read(1 << 16):
                    found += piece
        return found

    def unread(self) -> bytes:
        """What has come and was not read."""
        return bytes(self.reader._buffer)  # type: ignore[attr-defined]

    def certificate(self) -> bytes:
        """DER of what the server showed."""
        session: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return session.getpeercert(binary_form=True) or b""

    def reset(self) -> None:
        """Go away without a goodbye: RST instead of FIN (RFC 9293 §3.10.4)."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def leave(self) -> None:
        self.writer.close()
        with suppress(OSError):
            await self.writer.wait_closed()


@asynccontextmanager
async def talking(
    port: int, host: str = "127.0.0.1", source: str | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Talker]:
    """A connection on which nothing was read yet; `tls`: from the first byte."""
    local = (source, 0) if source is not None else None
    talker = Talker(*await asyncio.open_connection(host, port, local_addr=local, ssl=tls))
    try:
        yield talker
    finally:
        await talker.leave()


@asynccontextmanager
async def greeted(port: int, **how: Any) -> AsyncIterator[Talker]:
    """`talking`, behind the banner."""
    async with talking(port, **how) as talker:
        assert (await talker.reply()).startswith("220 ")
        yield talker


def stuffed(content: bytes) -> bytes:
    """Dots at line starts doubled (RFC 5321 §4.5.2)."""
    return (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]


class Held:
    """A commit of the spool that does not end."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._free = threading.Event()

    def wait(self) -> None:
        """In the writer's own thread."""
        self._loop.call_soon_threadsafe(self._reached.set)
        assert self._free.wait(_PATIENCE)

    async def reached(self) -> None:
        """Until the commit has begun."""
        async with asyncio.timeout(_PATIENCE):
            await self._reached.wait()

    def free(self) -> None:
        self._free.set()


@contextmanager
def holding(gateway: Relay) -> Iterator[Held]:
    """Within the block no commit of the spool ends."""
    writer = gateway.spool._writer
    commit, held = writer._commit, Held()

    def late() -> Any:
        held.wait()
        return commit()

    writer._commit = late  # type: ignore[method-assign]
    try:
        yield held
    finally:
        held.free()
        writer._commit = commit  # type: ignore[method-assign]
