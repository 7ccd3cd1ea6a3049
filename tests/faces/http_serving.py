"""HTTP ports in a thread of their own, on a home of its own, for callers that are real clients."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop

from lab.ca import Issued, self_signed
from mxseal.certs.keys import KeyStore
from mxseal.clock import ManualClock
from mxseal.commands import configuration, logs, system, tokenconfig, tokens, users
from mxseal.commands.registry import Registry
from mxseal.commands.running import AuditRecord, Runner
from mxseal.config.history import History
from mxseal.config.model import Certificate, Document, Interface
from mxseal.config.problem import Problem
from mxseal.events.bus import Bus
from mxseal.events.types import Event
from mxseal.faces.http import HttpFace
from mxseal.faces.http_services import HttpServices
from mxseal.logs.follow import Bell, Wait
from mxseal.storage.home import Home
from mxseal.storage.tokens import Token
from tests.commands import gateway
from tests.commands.gateway import NOW, FakeServices
from tests.config.documents import document
from tests.config.memory import MemoryDocuments
from tests.faces.terminal import PATIENCE

DEMO = self_signed("localhost")


class Services(FakeServices):
    """The fake gateway with a real state and a clock that stands."""

    def __init__(self, root: Path, *interfaces: Interface) -> None:
        super().__init__()
        home = Home(root)
        home.make()
        self.state = home.open_state()
        self.users = self.state.users
        self.tokens = self.state.tokens
        self.secrets = self.state.secrets
        self.web = self.state.web
        self.clock = ManualClock(NOW)
        self.bus = Bus()
        self.bus.add(self)
        self.events: list[Event] = []
        self.ready = True
        self.logs_home = root
        self.bell = Bell()
        self.certificates: list[Certificate] = []
        self.add_certificate("Demo", DEMO)
        self.set(self.document(*interfaces))

    def add_certificate(self, name: str, issued: Issued) -> None:
        KeyStore(self.secrets).put(issued.key)
        self.certificates.append(Certificate(name=name, certificate=issued.cert_pem.decode()))

    def document(self, *interfaces: Interface, **changes: Any) -> Document:
        return document(interfaces=interfaces, certificates=tuple(self.certificates), **changes)

    def set(self, new: Document) -> None:
        """Another document in force."""
        self.documents = MemoryDocuments()
        self.history = History(self.documents)
        self.history.begin(new, "admin", NOW)

    def now(self) -> float:
        return self.clock.now()

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def log_wait(self) -> Wait:
        return self.bell.listener()

    def token(self, name: str, role: str, *, user: str = "", expires: float | None = None) -> str:
        """The text of a new token."""
        made = tokens.make()
        self.state.tokens.put(
            Token(
                id=made.id, name=name, user=user, role=role, digest=made.digest, made=NOW, made_by="test",
                expires=expires,
            )
        )  # fmt: skip
        return made.text


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class HttpServing:
    """A face that serves an interface on free ports, and what it reported."""

    def __init__(self, root: Path, *, commands: Registry | None = None, **changes: Any) -> None:
        self._commands = commands or Registry((configuration, system, logs, users, tokenconfig, gateway))
        self.root = root
        self.port, self.http_port = free_port(), free_port()
        self.interface = Interface(
            name="Management", https_port=self.port, http_port=self.http_port, **changes
        )
        self.services: Services
        self.face: HttpFace
        self.problems: list[Problem] = []
        self.records: list[AuditRecord] = []
        self._client: HTTPSConnection | None = None
        self._reported = threading.Semaphore(0)
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.services = services = Services(self.root / "home", self.interface)
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self.face = HttpFace(Runner(self._commands, self._audit), cast("HttpServices", services))
        self.problems = await self.face.start()
        self._ready.set()
        await self._stop.wait()
        await self.face.stop()
        services.state.close()

    def _audit(self, record: AuditRecord) -> None:
        self.records.append(record)
        self._reported.release()

    def ended(self) -> AuditRecord:
        """The next report of a command, waited for."""
        assert self._reported.acquire(timeout=PATIENCE)
        return self.records[-1]

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def stop(self) -> None:
        self.hang_up()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def do(self, what: Callable[[], Any]) -> Any:
        """Call it on the server's loop, and wait."""

        async def call() -> Any:
            found = what()
            return await found if inspect.isawaitable(found) else found

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    def advance(self, seconds: float) -> None:
        self.do(lambda: self.services.clock.advance(seconds))

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds on the server's side."""

        async def wait() -> None:
            while not holds():
                await asyncio.sleep(0.005)

        self.do(wait)

    def put_in_force(self, new: Document) -> list[Problem]:
        """Prepared and configured as a commit does."""

        async def swap() -> list[Problem]:
            if problems := self.face.prepare(new):
                return problems
            self.services.set(new)
            return await self.face.configure(new)

        return list(self.do(swap))

    def change(self, **changes: Any) -> list[Problem]:
        """Another interface in the place of the one that there is."""
        self.interface = Interface.model_validate(self.interface.model_dump() | changes)
        return self.put_in_force(self.services.document(self.interface))

    # --- clients ------------------------------------------------------------------------------------------

    def connect(self, port: int | None = None) -> socket.socket:
        """In clear text."""
        sock = socket.create_connection(("127.0.0.1", port or self.port), PATIENCE)
        sock.settimeout(PATIENCE)
        return sock

    def secure(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Behind a handshake that verifies nothing."""
        return (context or anything()).wrap_socket(self.connect(), server_hostname="localhost")

    def ask(
        self,
        method: str,
        path: str,
        token: str = "",
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request, on the connection of the last one where that is open; a `body` that is no bytes
        becomes JSON."""
        told = dict(headers or {})
        if token:
            told.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = msgspec.json.encode(body)
            told.setdefault("Content-Type", "application/json")
        if self._client is None:
            self._client = HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=anything())
        try:
            self._client.request(method, path, body, told)
            found = self._client.getresponse()
            lowered = {name.lower(): value for name, value in found.getheaders()}
            answer = Answer(found.status, lowered, found.read())
        except BaseException:
            self.hang_up()
            raise
        if lowered.get("connection") == "close":
            self.hang_up()
        return answer

    def hang_up(self) -> None:
        """Close the connection of `ask`."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def get(self, path: str, token: str = "", **headers: str) -> Answer:
        return self.ask("GET", f"/api/v1/{path}", token, headers=headers)

    def post(self, path: str, token: str = "", **values: Any) -> Answer:
        return self.ask("POST", f"/api/v1/{path}", token, body=values)

    def shown(self) -> bytes:
        """The certificate (DER) that a new client gets to see."""
        with self.secure() as client:
            return client.getpeercert(binary_form=True) or b""


def anything() -> ssl.SSLContext:
    """A client that believes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer with a length."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = sock.recv(4096)
        if not piece:
            raise EOFError(head)
        head += piece
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(4096)
    return int(first.split()[1]), headers, body


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def http_serving(root: Path, **changes: Any) -> Iterator[HttpServing]:
    server = HttpServing(root, **changes)
    server.start()
    try:
        yield server
    finally:
        server.stop()
