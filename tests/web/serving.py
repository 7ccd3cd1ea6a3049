"""The web face in a thread of its own, over TLS, on a home of its own: what tests of pages start."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from argon2 import PasswordHasher

from lab.ca import Authority, Issued, pem
from lab.place import free_port
from mxseal.alerts.memory import Recent
from mxseal.analysis.state import Report
from mxseal.certs.keys import KeyStore
from mxseal.certs.make import Order, Subject, make_profile
from mxseal.certs.revocation import CrlKeeper
from mxseal.clock import ManualClock
from mxseal.commands.catalogue import registry
from mxseal.commands.running import AuditRecord, Runner
from mxseal.commands.services import Figure, PushState
from mxseal.config.history import History
from mxseal.config.model import (
    AlertRecipient,
    Alerts,
    Certificate,
    CrlSource,
    Destination,
    Document,
    Interface,
    RecipientAccess,
    TlsOverride,
    Trust,
)
from mxseal.config.model import Authority as TrustedAuthority
from mxseal.config.toml import render
from mxseal.events.bus import Bus
from mxseal.events.types import Event
from mxseal.faces.http import HttpFace
from mxseal.faces.http_services import HttpServices
from mxseal.faces.web.sessions import Caller
from mxseal.faces.web.site import Site
from mxseal.relay.orders import LaneState, Selection
from mxseal.relay.orders import Order as MailOrder
from mxseal.relay.probe import Seen
from mxseal.relay.routing import Routing
from mxseal.storage.home import Home
from mxseal.storage.peers import PeersFile
from mxseal.storage.ports import Envelope, Queued, Recipient
from mxseal.storage.quarantine import Kept
from mxseal.storage.users import User
from tests.commands.gateway import NOW, FakeServices
from tests.commands.test_tlspeers import BANK, GONE, MENDED, OFF, PLAIN, SENDER
from tests.config.documents import document
from tests.config.memory import MemoryDocuments
from tests.web import around
from tests.web.tracked import Tracked, fill

PATIENCE = 20.0
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""Hashes that are made at once."""
CALLER = Caller("127.0.0.1", "a test")
USERS = (
    ("anna", "administrator"),
    ("otto", "operator"),
    ("cora", "certificate-officer"),
    ("rhea", "read-only"),
)
"""One of each role, all with PASSWORD."""


class MemoryMail:
    """A queue in memory, which keeps the orders that it was given."""

    def __init__(self) -> None:
        self.messages: dict[int, Queued] = {}
        self.orders: list[tuple[MailOrder, Selection]] = []
        self.states: list[LaneState] = []
        self.suspended = False
        self.shelf: dict[int, Kept] = {}
        self.released: list[int] = []

    def keep(self, mid: int, about: Report, *recipients: str) -> None:
        """Into quarantine."""
        self.shelf[mid] = Kept(
            mid=mid,
            sender="stranger@elsewhere.example",
            recipients=recipients,
            recipient_count=len(recipients),
            size=81_920,
            arrived=NOW - 3700,
            since=NOW - 3600,
            about=msgspec.json.encode(about).decode(),
        )

    async def quarantine(self) -> AsyncIterator[Kept]:
        for mid in sorted(self.shelf):
            yield self.shelf[mid]

    async def kept(self, mid: int) -> Kept | None:
        return self.shelf.get(mid)

    async def kept_header(self, mid: int) -> bytes | None:
        return b"Subject: An offer\x1b[2J\r\nFrom: <x@y.example>\r\n" if mid in self.shelf else None

    async def release(self, mid: int, _user: str) -> bool:
        there = self.shelf.pop(mid, None) is not None
        self.released += [mid] * there
        return there

    async def delete_kept(self, mid: int, _user: str) -> bool:
        return self.shelf.pop(mid, None) is not None

    def put(self, mid: int, sender: str, *recipients: str, error: str = "", attempts: int = 0) -> None:
        envelope = Envelope(mid=mid, sender=sender, size=4096 * mid, queued_at=NOW - 7200, icid=mid + 70)
        due = NOW + 540 if attempts else NOW
        entries = tuple(
            Recipient(rid=rid, address=address, attempts=attempts, next_attempt=due, last_error=error)
            for rid, address in enumerate(recipients)
        )
        self.messages[mid] = Queued(envelope=envelope, recipients=entries)

    async def waiting(self) -> AsyncIterator[Queued]:
        for mid in sorted(self.messages):
            yield self.messages[mid]

    async def load(self, mid: int) -> Queued | None:
        return self.messages.get(mid)

    async def carry(self, order: MailOrder, selection: Selection) -> int:
        self.orders.append((order, selection))
        chosen = [
            mid
            for mid, queued in self.messages.items()
            if (selection.mids is None or mid in selection.mids)
            and any(selection.concerns(each.address) for each in queued.recipients)
        ]
        count = sum(len(self.messages[mid].recipients) for mid in chosen)
        if order == "delete":
            for mid in chosen:
                del self.messages[mid]
        return count

    async def lanes(self) -> list[LaneState]:
        return self.states

    async def suspend(self) -> None:
        self.suspended = True

    async def resume(self) -> None:
        self.suspended = False


class _Kept:
    """A sink that keeps events."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def handle(self, event: Event) -> None:
        self._events.append(event)

    def ready(self) -> bool:
        return True


class RecentAlerts:
    """One alert that was told."""

    def recent(self) -> Sequence[Recent]:
        text = "Mail to bank.example waits: its certificate expired on 3 March."
        return (
            Recent(at=NOW - 3600, alert_class="delivery", severity="warning", kind="tls-required-failed",
                   title="Required TLS to bank.example fails", text=text, held_back=2),
        )  # fmt: skip


class WebFake(FakeServices):
    """The fake gateway of the commands' tests, with a real state, a clock that stands, a bus and a queue."""

    ready = True

    def __init__(self, root: Path, interface: Interface, issued: Issued) -> None:
        super().__init__()
        home = Home(root)
        home.make()
        self.state = home.open_state()
        self.users = self.state.users
        self.web = self.state.web
        self.secrets = self.state.secrets
        self.clock = ManualClock(NOW)
        self.bus = Bus()
        self.events: list[Event] = []
        self.bus.add(_Kept(self.events))
        self.mail = MemoryMail()
        self.keys = KeyStore(self.secrets)
        self.seen: list[Seen] = []
        self.crls = CrlKeeper(home, self.clock, self.bus)
        self.alerts = RecentAlerts()
        self.tokens = self.state.tokens
        self.directories = around.Directing()
        self.resolver = around.Names()
        self.captures, self.packets = around.recordings(root, self.clock)
        self.restarts = 0
        self.peers: PeersFile
        self.tracking: Tracked
        self.logs_home = root
        self.documents = MemoryDocuments()
        self.history = History(self.documents)
        self.keys.put(issued.key)
        above = tuple(pem(each).decode() for each in issued.chain[1:])
        demo = Certificate(name="Demo", certificate=issued.cert_pem.decode(), intermediates=above)
        first = document(interfaces=(interface,), certificates=(demo,))
        self.history.begin(first, "init", NOW - 100_000)

    def now(self) -> float:
        return self.clock.now()

    def restart(self) -> None:
        self.restarts += 1

    def pushes(self) -> list[PushState]:
        return around.pushes()

    def roll_over(self, log: str) -> Sequence[str]:
        return [log]

    def log_wait(self) -> Callable[[], Awaitable[object]]:
        return asyncio.Event().wait

    async def probe(self) -> Sequence[Seen]:
        return self.seen

    async def figures(self) -> Sequence[Figure]:
        state = "suspended" if self.mail.suspended else "on"
        return (Figure("Gateway", "Deliveries", state), *(await super().figures()))


class WebServing:
    """HTTPS on https://localhost:PORT as a gateway has it, with a certificate from `authority`."""

    def __init__(self, root: Path, authority: Authority) -> None:
        self.root = root
        self.port = free_port()
        self.address = f"https://localhost:{self.port}"
        self.services: WebFake
        self.site: Site
        self.runner: Runner
        self.face: HttpFace
        self.records: list[AuditRecord] = []
        self.authority = authority
        self._issued = authority.issue("localhost", "127.0.0.1")
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        interface = Interface(name="Management", https_port=self.port)
        self.services = WebFake(self.root / "home", interface, self._issued)
        for name, role in USERS:
            self.services.users.put(User(name=name, role=role, password=CHEAP.hash(PASSWORD)))
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self.runner = Runner(registry(), self.records.append)
        face = self.face = HttpFace(self.runner, cast("HttpServices", self.services))
        self.site = cast("Any", face.site.web).state.site
        self.site.login._hasher = CHEAP
        self.site.login._nobody = CHEAP.hash("")
        assert await face.start() == []
        self._ready.set()
        await self._stop.wait()
        await face.stop()
        self.services.state.close()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def stop(self) -> None:
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

    def put(self, new: Document) -> None:
        """Another document in force."""
        latest = self.services.documents.latest()
        assert latest is not None
        self.services.documents.put(latest.number, render(new), "anna", "", self.services.now())

    def edit(self, user: str, **changes: Any) -> None:
        """Change the candidate of a user."""
        self.do(lambda: self.services.edit(f"user:{user}", **changes))

    def token(self, user: str = "anna") -> str:
        """The cookie of a new session, as behind a login."""
        found = self.do(lambda: self.services.users.get(user))
        begin = self.site.sessions.begin
        return str(self.do(lambda: begin(found, "in", "password", CALLER)))

    def change(self) -> None:
        """One more revision, and changes of anna's on top that are not committed."""
        history = self.services.history
        before = history.current()
        second = before.document.model_copy(update={"postmaster": "postmaster@example.com"})
        why = "Postmaster's mail goes to people"
        self.services.documents.put(before.number, render(second), "otto", why, NOW - 80_000)
        listener = second.listeners[0].model_copy(update={"port": 2626})
        interface = second.interfaces[0].model_copy(update={"http": True})
        partner = Destination(domain="partner.example", tls="required-verify")
        self.services.edit(
            "user:anna", listeners=(listener, *second.listeners[1:]), interfaces=(interface,),
            destinations=(*second.destinations, partner),
        )  # fmt: skip

    def fill_queue(self) -> None:
        """Messages that wait, for pages to show."""
        mail = self.services.mail
        mail.put(
            101, "anna@mx.example.com", "jan@example.org", "els@example.org", attempts=3,
            error="421 4.3.2 the connection failed: no route to host",
        )  # fmt: skip
        mail.put(102, "", "postmaster@example.net")
        bad = Report(
            word="malicious", name="offer.exe", sha256="a1" * 32, score=98, threat="Lab.Threat", server="grid"
        )
        mail.keep(301, bad, "one@example.com", "two@example.com")
        mail.keep(
            302, Report(word="fault", name="", reason="silent: no answer", late=True), "three@example.com"
        )
        mail.put(
            103, "billing@mx.example.com", "invoices@partner.example", attempts=1,
            error="4.7.5 TLS required, certificate verification failed: the certificate expired on 3 March",
        )  # fmt: skip
        routing = Routing(self.services.history.current().document)
        mail.states = [
            LaneState(routing.target("example.org"), up=False, soft_failures=6,
                      last_error="no route to host", last_activity=NOW - 60),
            LaneState(routing.target("example.net"), connected=1, up=True, delivered=812, hard_failures=2),
        ]  # fmt: skip

    def fill_peers(self) -> None:
        """A record of TLS with partners, and an entry for one of them."""
        file = PeersFile(self.root / "peers.db")
        file.prepare()
        file.write((BANK, PLAIN, MENDED, OFF, SENDER, GONE), NOW)
        self.services.peers = file

    def fill_logs(self) -> None:
        """A mail log, and what went wrong."""
        folder = self.root / "logs" / "mail_logs"
        folder.mkdir(parents=True)
        lines = (
            "Sat Feb 14 19:20:28 2026 Info: New SMTP ICID 8 interface Data 1 (192.0.2.1) address 192.0.2.9",
            "Sat Feb 14 19:20:28 2026 Info: Start MID 14 ICID 8",
            'Sat Feb 14 19:20:28 2026 Info: MID 14 Subject "<script>alert(1)</script>"',
            "Sat Feb 14 19:20:29 2026 Info: MID 14 queued for delivery",
        )
        (folder / "mail.@20260214T000000.current").write_text("\n".join(lines) + "\n")
        self.services.logs_home = self.root

    def fill_tracking(self) -> None:
        """Thirty days of mail; `tests.web.tracked` has the numbers of the last messages."""
        self.services.tracking = fill(self.root / "tracked", NOW)

    def fill_document(self) -> None:
        """Certificates: one that waits for its authority, and one whose chain is out of order."""
        services = self.services
        subject = Subject(common_name="mail.example.com", organization="Example", country="NL")
        made = make_profile(Order(name="waiting", subject=subject), NOW)
        assert not isinstance(made, list)
        middle = self.authority.intermediate("Example Issuing CA")
        issued = middle.issue("mx.example.com", "mail.example.com")
        links = tuple(pem(each).decode() for each in issued.chain[1:])
        other = pem(self.authority.intermediate("Left over CA").certificate).decode()
        mx = Certificate(
            name="mx", certificate=issued.cert_pem.decode(), intermediates=(*links, *links, other)
        )
        for key in (made.key, issued.key):
            services.keys.put(key)
        before = services.history.current().document
        listeners = (before.listeners[0].model_copy(update={"certificate": "mx"}), *before.listeners[1:])
        partner = Destination(domain="plain.example", tls="preferred")
        document = before.model_copy(
            update={
                "certificates": (*before.certificates, mx, made.certificate),
                "listeners": listeners,
                "destinations": (*before.destinations, partner),
                "smtp_routes": {"example.com": ("mail.example.com:25",)},
                "tls_overrides": (TlsOverride(sender="board@example.com", tls="required-verify"),),
                "recipient_access": RecipientAccess(domains=("example.com", ".example.com")),
                "trust": Trust(
                    authorities=(
                        TrustedAuthority(
                            name="partner", certificate=pem(self.authority.root.certificate).decode()
                        ),
                    ),
                    crl_sources=(CrlSource(name="partner", url="http://crl.partner.example/ca.crl"),),
                ),
                "alerts": Alerts(recipients=(AlertRecipient(address="noc@example.net"),)),
            }
        )
        document = around.surrounded(document)
        services.documents.put(1, render(document), "init", "certificates", NOW - 90_000)
        services.seen = [
            Seen(listener=listeners[0].name, server_name=None, sha256=issued.sha256, certificate="mx",
                 expected=True, protocol="TLSv1.3"),
        ]  # fmt: skip


@contextmanager
def web_serving(root: Path, authority: Authority) -> Iterator[WebServing]:
    server = WebServing(root, authority)
    server.start()
    try:
        yield server
    finally:
        server.stop()
