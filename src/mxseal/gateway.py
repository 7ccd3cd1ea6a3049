"""The running gateway: what a document is built into, how it is put in force, and how all of it stops."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import weakref
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509

from mxseal import __version__
from mxseal.alerts.desk import Alerts
from mxseal.alerts.post import Post
from mxseal.alerts.sources import Sources
from mxseal.alerts.standing import CrlFacts, Oldest
from mxseal.capture.orders import Order as CaptureOrder
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import ContextsRefused, Live, build
from mxseal.certs.revocation import CrlKeeper
from mxseal.clock import Clock, Timer
from mxseal.cluster.desk import Around as AroundCluster
from mxseal.cluster.desk import Desk
from mxseal.cluster.joining import admit
from mxseal.commands.certificate_trust import trusted
from mxseal.commands.context import CommandFailed
from mxseal.commands.running import AuditRecord
from mxseal.commands.services import Figure, PushState
from mxseal.config.check import Problem
from mxseal.config.history import BuildFailed, Built, History
from mxseal.config.model import Document
from mxseal.config.toml import render
from mxseal.crew.crew import Crew, InForce
from mxseal.crew.directory import DirectoryDesk
from mxseal.crew.hiring import Hire, HireIndexer
from mxseal.crew.measuring import Measured, page
from mxseal.crew.scanning import AnalysisDesk
from mxseal.crew.tracking import Indexing
from mxseal.crew.wire import FOLLOWERS
from mxseal.events.bus import Bus
from mxseal.events.types import (
    CommandRun,
    ConfigurationCommitted,
    GatewayStarted,
    GatewayStopped,
    ReloadRefused,
    TrackingTrouble,
)
from mxseal.logs.follow import Bell, Wait
from mxseal.relay.packets import Packets
from mxseal.relay.ports import Place, Ports
from mxseal.relay.probe import Seen
from mxseal.relay.recorder import Recorder
from mxseal.relay.recordings import Recordings
from mxseal.relay.resolver import DnsResolver
from mxseal.relay.routing import mail_domain
from mxseal.relay.served import Around, Looks, served, told
from mxseal.sinks.counts import figures
from mxseal.sinks.files import LogFile, Surroundings
from mxseal.sinks.logs import LogSinks
from mxseal.sinks.metrics import Metrics
from mxseal.sinks.pushing import Pushing, Ready
from mxseal.storage.home import Home
from mxseal.storage.numbers import Numbers
from mxseal.storage.peers import PeersFile
from mxseal.storage.ports import Revision, StorageRefused
from mxseal.storage.state import SealedSecrets
from mxseal.storage.tokens import Tokens
from mxseal.storage.users import Users
from mxseal.storage.web import WebStore

_PATIENCE = 3.0
_DAY = 86_400.0


class Face(Protocol):
    """A way in for administrators that has a port of its own in the document."""

    def prepare(self, document: Document) -> list[Problem]:
        """Open what the document wants; nothing in force changes. `configure` follows, or `forget`."""
        ...

    def forget(self) -> None: ...

    async def configure(self, document: Document) -> list[Problem]:
        """The document is in force; what could not be done about it."""
        ...


class Prepared(msgspec.Struct):
    """What a document needs of the leading process: the workers have prepared the rest."""

    live: Live
    resolver: DnsResolver
    sockets: dict[Place, socket.socket]
    crew: Crew
    faces: Sequence[Face]
    pushes: Ready

    def discard(self) -> None:
        for sock in self.sockets.values():
            sock.close()
        self.crew.forget()
        for face in self.faces:
            face.forget()


class Gateway:
    """The leading process of one home's gateway. Implements `commands.services.Services`.

    It has the documents, the keys, the commands, the ports and the keeping of logs. Workers move the mail.
    """

    def __init__(
        self,
        home: Home,
        clock: Clock,
        hire: Hire,
        inherited: Iterable[socket.socket] = (),
        indexer: HireIndexer | None = None,
    ) -> None:
        """`inherited` are listening sockets that were handed over at the start. Without `indexer` nothing new
        is tracked."""
        self.home = home
        self.clock = clock
        self.version = __version__
        self.started_at = clock.now()
        self.changing = asyncio.Lock()
        self.state = home.open_state()
        self._alone = History(self.state)
        self.peers = PeersFile(home.peers_file)
        self.peers.prepare()
        self.tracking = Indexing(home.root, clock, indexer, self._tracking_trouble)
        self.keys = KeyStore(self.state.secrets)
        self.bus = Bus()
        self.cluster = self._cluster()
        self.bell = Bell()
        document = self.history.current().document
        self.pushing = Pushing(home.root, self.bus, clock, self.keys)
        around = Surroundings(
            home.root,
            clock,
            asyncio.get_running_loop().call_soon,
            self.bell.ring,
            turned=self._log_turned,
            expiring=self.pushing.expiring,
        )
        self.logs = LogSinks(around, self.serial(), document)
        self.bus.add(self.logs)
        self.ports = Ports(inherited)
        self.crew = Crew(worker_count(document), home.shares(), hire, clock, self.bus)
        self.crew.bell = self.bell.ring
        self.crls = CrlKeeper(home, clock, self.bus, _trusted_roots)
        self.crls.changed = lambda: self._spawn(self.crew.reread_lists())
        self._sources = self._asked_by_alerts()
        self.alerts = Alerts(
            bus=self.bus,
            clock=clock,
            store=self.state,
            secrets=self.state.secrets,
            post=Post(self.bus, clock, lambda: self._resolver, lambda: self.live.delivery.classic),
            sources=self._sources,
        )
        self.bus.add(self.alerts)
        self.bus.add(Metrics(self.crew.row))
        self.crew.heard = self.alerts.handle
        self._live: Live | None = None
        self._resolver = DnsResolver(document.dns, clock)
        self.looks = Looks(clock, self.bus, self._around_looks())
        self.faces: list[Face] = []
        """Those that run; added once they have started."""
        self.directories = self._directories()
        self.restart: Callable[[], None] = lambda: None
        """See `Services.restart`; set by who runs the gateway."""
        self._revision = 0
        self._daily: Timer | None = None
        self._ending = False
        self._tasks: set[asyncio.Task[None]] = set()

    def _asked_by_alerts(self) -> Sources:
        return Sources(
            waiting=self._waiting_for,
            oldest=self._oldest,
            disk=self._disk,
            lists=self._lists,
            roots=_trusted_roots,
        )

    def _directories(self) -> DirectoryDesk:
        desk = DirectoryDesk(
            self.crew,
            self.bus,
            self.clock,
            keys=self.keys,
            secrets=self.state.secrets,
            resolver=lambda: self._resolver,
        )
        desk.recorder = self.recorder
        return desk

    def _cluster(self) -> Desk:
        desk = Desk(
            AroundCluster(
                state=self.state,
                keys=self.keys,
                clock=self.clock,
                bus=self.bus,
                changing=self.changing,
                alone=self._alone,
                build=self.build,
                put_in_force=self.put_in_force,
                served=lambda: served(self.looks),
                version=__version__,
            )
        )
        desk.admit = lambda request: admit(desk, request)
        return desk

    @property
    def history(self) -> History:
        """See `Services.history`. As a member of a cluster, what the machines have agreed on."""
        return self.cluster.history or self._alone

    def serial(self) -> str:
        """This installation's serial number, as the log files' heads show it."""
        known = self.state.fact("serial")
        if known is None:
            raw = os.urandom(16).hex().upper()
            known = f"{raw[:20]}-{raw[20:]}"
            self.state.put_fact("serial", known)
        return known

    def now(self) -> float:
        return self.clock.now()

    @property
    def logs_home(self) -> Path:
        return self.home.root

    def log_wait(self) -> Wait:
        """See `Services.log_wait`. Workers tell that they wrote while somebody follows."""
        self.crew.row.add(FOLLOWERS)
        listener = self.bell.listener()
        weakref.finalize(listener, self.crew.row.add, FOLLOWERS, -1)
        return listener

    @property
    def users(self) -> Users:
        return self.state.users

    @property
    def tokens(self) -> Tokens:
        return self.state.tokens

    @property
    def web(self) -> WebStore:
        """Sessions, second factors and settings of the web face."""
        return self.state.web

    @property
    def secrets(self) -> SealedSecrets:
        return self.state.secrets

    @property
    def mail(self) -> Crew:
        return self.crew

    @property
    def resolver(self) -> DnsResolver:
        return self._resolver

    @property
    def live(self) -> Live:
        assert self._live is not None, "the gateway has not started"
        return self._live

    @property
    def ready(self) -> bool:
        """Whether mail is taken."""
        return self._live is not None and not self._ending and self.crew.whole

    # --- documents ------------------------------------------------------------------------------------------

    async def build(self, document: Document) -> Prepared:
        """See `Services.build`."""
        return await self._build(document, self._live)

    async def _build(self, document: Document, previous: Live | None) -> Prepared:
        problems: list[Problem] = []
        live: Live | None = None
        try:
            live = build(document, self.keys, previous, self.clock.now())
        except ContextsRefused as refused:
            problems += [Problem(p.path, p.text.rstrip("."), p.remedy) for p in refused.problems]
        sockets, taken = self.ports.open(document.listeners)
        pushes, refused_pushes = self.pushing.build(document)
        problems += [*taken, *self.logs.prepare(document), *refused_pushes]
        for face in self.faces:
            problems += face.prepare(document)
        if not problems and self.crew.running:
            problems += await self.crew.prepare(render(document), sockets, fresh=previous is None)
        if problems or live is None:
            for sock in sockets.values():
                sock.close()
            for face in self.faces:
                face.forget()
            raise BuildFailed(problems)
        return Prepared(live, DnsResolver(document.dns, self.clock), sockets, self.crew, self.faces, pushes)

    async def put_in_force(self, built: Built, revision: Revision, document: Document) -> Sequence[str]:
        """See `Services.put_in_force`."""
        assert isinstance(built, Prepared), "what `build` gave"
        await self._swap(built, document)
        self._revision = revision.number
        self.crls.configure(document)
        self.alerts.configure(document)
        self.tracking.configure(document)
        self.bus.publish(
            ConfigurationCommitted(
                at=self.clock.now(), revision=revision.number, user=revision.user, comment=revision.comment
            )
        )
        notes = [str(problem) for face in self.faces for problem in await face.configure(document)]
        return [*(told(seen) for seen in await self.probe()), *notes]

    async def _swap(self, built: Prepared, document: Document) -> None:
        self._live = built.live
        self._resolver = built.resolver
        self.logs.configure(document)
        self.ports.put_in_force(document.listeners, built.sockets)
        await self.crew.adopt()
        await self.pushing.configure(built.pushes)

    async def probe(self) -> list[Seen]:
        """See `Services.probe`."""
        return await self.looks.look()

    def _around_looks(self) -> Around:
        return Around(
            document=lambda: self.history.current().document,
            settled=self._settled,
            announce=self.crew.expect,
            workers=lambda: self.crew.workers,
        )

    def _settled(self) -> int | None:
        """The number of the document that everything serves; None while one is being put in force."""
        return None if self.changing.locked() else self._revision

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ports and begin to deliver. BuildFailed when the document in force can't be built."""
        current = self.history.current()
        self._revision = current.number
        self.pushing.load(current.document)
        self.logs.open()
        prepared = await self.build(current.document)
        self._live, self._resolver = prepared.live, prepared.resolver
        self.ports.put_in_force(current.document.listeners, prepared.sockets)
        if problems := await self.crew.start(self._in_force):
            raise BuildFailed(problems)
        self._arm_daily()
        await self.pushing.configure(prepared.pushes)
        self.captures.start()
        self.bus.add(self.captures)
        self.crls.start(current.document)
        self.alerts.start(current.document)
        self.tracking.configure(current.document)
        self.looks.start()
        self.cluster.start()
        self.bus.publish(
            GatewayStarted(at=self.clock.now(), version=__version__, revision=current.number, pid=os.getpid())
        )

    def _in_force(self) -> InForce:
        return InForce(render(self.history.current().document), self.ports.sockets)

    def _arm_daily(self) -> None:
        self._daily = self.clock.call_later(_DAY, self._new_day)

    def _new_day(self) -> None:
        """Fresh ticket keys, so that today's do not open yesterday's sessions; old logs expire; changed trust
        lists are seen."""
        self._arm_daily()
        self._spawn(self.reload_and_tell())

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @cached_property
    def captures(self) -> Recordings:
        """See `Services.captures`."""
        return Recordings(self.home.open_captures(), self.clock, self._record, self._captures_allowed)

    @cached_property
    def recorder(self) -> Recorder:
        """For the connections of this process: those of `ldaptest` and `testanalysis`."""
        return Recorder(self.bus, self.clock, self.home.open_captures(), "leader")

    @cached_property
    def analysis(self) -> AnalysisDesk:
        """See `Services.analysis`."""
        secrets = self.state.secrets
        desk = AnalysisDesk(
            self.bus, self.clock, keys=self.keys, secrets=secrets, resolver=lambda: self._resolver
        )
        desk.recorder = self.recorder
        return desk

    @cached_property
    def packets(self) -> Packets:
        """See `Services.packets`."""
        return Packets(self.captures, self.clock)

    def _record(self, orders: Sequence[CaptureOrder], stopped: Sequence[str]) -> None:
        self.recorder.arm(orders, stopped)
        self._spawn(self.crew.record(orders, stopped))

    def _captures_allowed(self) -> tuple[int, int]:
        captures = self.history.current().document.captures
        return captures.keep_days, captures.max_bytes

    def _log_turned(self, file: LogFile) -> None:
        self._spawn(self._finish(file))

    async def _finish(self, file: LogFile) -> None:
        await self.crew.reopen_logs()
        file.finish()

    async def reload_and_tell(self) -> None:
        """`reload`, with a refusal told as an event."""
        try:
            await self.reload()
        except BuildFailed as failed:
            for problem in failed.problems:
                self.bus.publish(ReloadRefused(at=self.clock.now(), problem=str(problem)))

    async def reload(self) -> None:
        """SIGHUP: read again what lies outside the document (trust lists, resolvers), and reopen the logs."""
        async with self.changing:
            document = self.history.current().document
            prepared = await self._build(document, None)
            await self._swap(prepared, document)
            self.logs.reopen()
            await self.crew.reopen_logs()

    async def stop(self) -> None:
        """Finish what is in flight, within bounds; the queue keeps the rest."""
        self.ports.close()
        await self._wind_up(patience=0.0)

    async def give_way(self) -> None:
        """`stop`, with the ports left open: who connects meanwhile waits for the next program."""
        await self._wind_up(patience=_PATIENCE)

    async def _wind_up(self, patience: float) -> None:
        self._ending = True
        await self.cluster.stop()
        if self._daily is not None:
            self._daily.cancel()
        await self.looks.stop()
        await self.crls.stop()
        await self.packets.stop()
        await self.recorder.stop()
        await self.captures.stop()
        await self.crew.stop(patience)
        numbers = Numbers(self.home.state_file, self.crew.board)
        numbers.give_back()
        numbers.close()
        self.crew.board.close()
        await self.alerts.stop()
        self.bus.publish(GatewayStopped(at=self.clock.now(), pid=os.getpid()))
        self.logs.close()
        await self.pushing.stop()
        await self.tracking.stop()
        self.state.close()

    def audit(self, record: AuditRecord) -> None:
        """Tell that a command was run."""
        self.bus.publish(
            CommandRun(
                at=record.at,
                user=record.user,
                role=record.role,
                face=record.face,
                remote=record.remote,
                words=record.words,
                outcome=record.outcome,
                message=record.message,
            )
        )

    # --- logs -----------------------------------------------------------------------------------------------

    def pushes(self) -> Sequence[PushState]:
        """See `Services.pushes`."""
        return self.pushing.states()

    def roll_over(self, log: str) -> Sequence[str]:
        """See `Services.roll_over`."""
        return self.logs.rotate(log)

    def _tracking_trouble(self, problem: str) -> None:
        self.bus.publish(TrackingTrouble(at=self.clock.now(), problem=problem))

    # --- what alerts ask ------------------------------------------------------------------------------------

    async def _waiting_for(self, domain: str) -> int:
        count = 0
        async for queued in self.crew.waiting():
            count += any(mail_domain(recipient.address) == domain for recipient in queued.recipients)
        return count

    async def _oldest(self) -> Oldest | None:
        try:
            first = await self.crew.first()
        except StorageRefused:
            return None  # there is an alert of its own for that
        if first is None:
            return None
        recipient = first.recipients[0]
        return Oldest(
            mid=first.envelope.mid,
            queued_at=first.envelope.queued_at,
            domain=mail_domain(recipient.address),
            last_error=recipient.last_error,
        )

    def _lists(self) -> list[CrlFacts]:
        return [
            CrlFacts(name=each.name, next_update=each.next_update, problem=each.problem)
            for each in self.crls.facts()
        ]

    def _disk(self) -> tuple[int, int]:
        usage = shutil.disk_usage(self.home.root)
        return usage.free, usage.total

    # --- numbers --------------------------------------------------------------------------------------------

    async def metrics(self) -> str:
        """See `Services.metrics`."""
        measured = Measured(
            version=__version__,
            started_at=self.started_at,
            now=self.clock.now(),
            current=self.history.current(),
            ready=self.ready,
            sources=self._sources,
            pushes=self.pushes(),
        )
        return await page(self.crew, measured)

    async def figures(self) -> Sequence[Figure]:
        """See `Services.figures`."""
        # What a worker holds that is just being started again is in none of these figures.
        running = len(self.crew.processes())
        now = await self.crew.gauges()
        return [
            Figure("Gateway", "Workers", self.crew.workers),
            Figure("Gateway", "Workers running", min(running, len(self.crew.processes()))),
            Figure("Gateway", "Deliveries", "suspended" if self.crew.suspended else "on"),
            Figure("Queue", "Messages", now.messages),
            Figure("Queue", "Bytes", now.size),
            Figure("Queue", "Being delivered", now.at_work),
            Figure("Connections", "Incoming", now.incoming),
            Figure("Connections", "Outgoing", now.outgoing),
            *(Figure(*counted) for counted in figures(self.crew.board)),
        ]


async def _trusted_roots(document: Document) -> Sequence[x509.Certificate] | None:
    try:
        return await trusted(document)
    except CommandFailed:
        return None  # the commit has said so


def worker_count(document: Document) -> int:
    """How many workers a document wants: as many as there are processors for this process, unless it says."""
    return document.workers or len(os.sched_getaffinity(0))
