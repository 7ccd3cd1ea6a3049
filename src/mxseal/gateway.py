"""The running gateway: what a document is built into, how it is put in force, and how all of it stops."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import msgspec
from OpenSSL import SSL

from mxseal import __version__
from mxseal.certs.facts import fingerprint, key_type
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import ContextsRefused, Live, build, server_names
from mxseal.certs.profiles import parse as parse_profile
from mxseal.clock import Clock, Timer
from mxseal.commands.running import AuditRecord
from mxseal.commands.services import Figure
from mxseal.config.check import Problem
from mxseal.config.history import BuildFailed, Built, History
from mxseal.config.model import Document, Listener
from mxseal.events.bus import Bus
from mxseal.events.types import (
    CertificateServed,
    CommandRun,
    ConfigurationCommitted,
    GatewayStarted,
    GatewayStopped,
    ReloadRefused,
    StorageRecovered,
    StorageTrouble,
)
from mxseal.logs.follow import Wait
from mxseal.relay.intake import Intake, Reception, receptions
from mxseal.relay.listener import Listeners, Place
from mxseal.relay.outbound import Outbound
from mxseal.relay.probe import Probe, Seen, Wanted
from mxseal.relay.queue import Queue
from mxseal.relay.resolver import DnsResolver
from mxseal.sinks.counts import Counts
from mxseal.sinks.logs import LogSinks
from mxseal.storage.home import Home, Limits
from mxseal.storage.ports import Revision, StorageRefused
from mxseal.storage.spool import SqliteSpool
from mxseal.tls.diagnosis import OurSettings

_INBOUND_SECONDS = 10.0
_OUTBOUND_SECONDS = 20.0
_DAY = 86_400.0


class Prepared(msgspec.Struct):
    """All that a document needs, ready and not in force."""

    live: Live
    receptions: list[Reception]
    resolver: DnsResolver
    sockets: dict[Place, socket.socket]

    def discard(self) -> None:
        for sock in self.sockets.values():
            sock.close()


class Gateway:
    """The gateway of one home. Implements `commands.services.Services`."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.home = home
        self.clock = clock
        self.version = __version__
        self.started_at = clock.now()
        self.changing = asyncio.Lock()
        self.state = home.open_state()
        self.history = History(self.state)
        self.keys = KeyStore(self.state.secrets)
        self.bus = Bus()
        self.counts = Counts()
        document = self.history.current().document
        schedule = asyncio.get_running_loop().call_soon
        self.logs = LogSinks(home, clock, schedule, self.serial(), document.logs)
        for sink in (*self.logs.sinks, self.counts):
            self.bus.add(sink)
        self.spool = SqliteSpool(home.spool, clock, _limits(document), self._storage_trouble)
        for counter in ("icid", "mid", "dcid"):
            self.state.reserve(counter)
        self._live: Live | None = None
        self._resolver = DnsResolver(document.dns, clock)
        self.outbound = Outbound(
            self.bus, clock, self.state.allocate, lambda: self._resolver, self._delivery_context
        )
        self.queue = Queue(self.spool, self.bus, clock, self.state.allocate, self.outbound.work)
        self.listeners = Listeners(Intake(self.queue, lambda: self._resolver))
        self.probing = Probe(clock)
        self._revision = 0
        self._daily: Timer | None = None
        self._reloading: set[asyncio.Task[None]] = set()

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
        return self.logs.bell.listener()

    @property
    def resolver(self) -> DnsResolver:
        return self._resolver

    @property
    def live(self) -> Live:
        assert self._live is not None, "the gateway has not started"
        return self._live

    def _delivery_context(self, post_quantum: bool) -> SSL.Context:
        delivery = self.live.delivery
        return delivery.context if post_quantum else delivery.classic

    # --- documents ------------------------------------------------------------------------------------------

    def build(self, document: Document) -> Prepared:
        """See `Services.build`."""
        problems: list[Problem] = []
        live: Live | None = None
        try:
            live = build(document, self.keys, self._live, self.clock.now())
        except ContextsRefused as refused:
            problems += [Problem(p.path, p.text.rstrip("."), p.remedy) for p in refused.problems]
        sockets, taken = self.listeners.open(document.listeners)
        problems += taken
        if problems or live is None:
            for sock in sockets.values():
                sock.close()
            raise BuildFailed(problems)
        found = receptions(document, live.server_context, lambda each: _ours(document, each))
        return Prepared(live, found, DnsResolver(document.dns, self.clock), sockets)

    async def put_in_force(self, built: Built, revision: Revision, document: Document) -> Sequence[str]:
        """See `Services.put_in_force`."""
        assert isinstance(built, Prepared), "what `build` gave"
        await self._swap(built, document)
        self._revision = revision.number
        self.bus.publish(
            ConfigurationCommitted(
                at=self.clock.now(), revision=revision.number, user=revision.user, comment=revision.comment
            )
        )
        return [_told(seen) for seen in await self.probe()]

    async def _swap(self, built: Prepared, document: Document) -> None:
        self._live = built.live
        self._resolver = built.resolver
        self.spool.limits = _limits(document)
        self.logs.configure(document.logs)
        self.queue.configure(document)
        await self.listeners.put_in_force(built.receptions, built.sockets)

    async def probe(self) -> list[Seen]:
        """What each listener serves, seen from outside: each certificate of it, also by server name."""
        document = self.history.current().document
        wanted = [want for listener in document.listeners for want in _wanted(document, listener)]
        seen = await self.probing.look(wanted)
        seen = [
            msgspec.structs.replace(each, certificate=want.certificate)
            for want, each in zip(wanted, seen, strict=True)
        ]
        for each in seen:
            if each.sha256 is not None:
                self.bus.publish(
                    CertificateServed(
                        at=self.clock.now(),
                        listener=each.listener,
                        certificate=each.certificate,
                        sha256=each.sha256,
                        expected=each.expected,
                    )
                )
        return seen

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the ports and begin to deliver. BuildFailed when the document in force can't be built."""
        current = self.history.current()
        self._revision = current.number
        self.logs.open()
        prepared = self.build(current.document)
        await self._swap(prepared, current.document)
        self.queue.start()
        self._arm_daily()
        self.bus.publish(
            GatewayStarted(at=self.clock.now(), version=__version__, revision=current.number, pid=os.getpid())
        )

    def _arm_daily(self) -> None:
        self._daily = self.clock.call_later(_DAY, self._new_day)

    def _new_day(self) -> None:
        """Fresh ticket keys, so that today's do not open yesterday's sessions; old logs expire; changed trust
        lists are seen."""
        self._arm_daily()
        task = asyncio.get_running_loop().create_task(self.reload_and_tell())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

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
            self._live, previous = None, self._live
            try:
                prepared = self.build(document)
            finally:
                self._live = previous
            await self._swap(prepared, document)
            self.logs.reopen()

    async def stop(self) -> None:
        """Finish what is in flight, within bounds; the queue keeps the rest."""
        if self._daily is not None:
            self._daily.cancel()
        await self.listeners.stop(_INBOUND_SECONDS)
        await self.queue.stop(_OUTBOUND_SECONDS)
        self.bus.publish(GatewayStopped(at=self.clock.now(), pid=os.getpid()))
        self.logs.close()
        self.spool.close()
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

    def _storage_trouble(self, trouble: StorageRefused | None) -> None:
        now = self.clock.now()
        if trouble is None:
            self.bus.publish(StorageRecovered(at=now, what="queue"))
        else:
            self.bus.publish(StorageTrouble(at=now, what="queue", error=str(trouble)))

    # --- numbers --------------------------------------------------------------------------------------------

    def figures(self) -> Sequence[Figure]:
        messages, size = self.spool.count()
        return [
            Figure("Gateway", "Deliveries", "suspended" if self.queue.suspended else "on"),
            Figure("Queue", "Messages", messages),
            Figure("Queue", "Bytes", size),
            Figure("Queue", "Being delivered", self.queue.at_work()),
            Figure("Connections", "Incoming", self.listeners.connections()),
            Figure("Connections", "Outgoing", self.queue.connections()),
            *self.counts.figures(),
        ]


def _limits(document: Document) -> Limits:
    queue = document.queue
    return Limits(queue.max_messages, queue.max_bytes, queue.min_free_bytes)


def _assigned(listener: Listener) -> list[str]:
    names = [listener.certificate]
    if listener.second_certificate:
        names.append(listener.second_certificate)
    return names


def _ours(document: Document, listener: Listener) -> OurSettings:
    """What the diagnosis of a failed handshake should know about us."""
    types = []
    for name in _assigned(listener):
        profile = document.certificate(name)
        bundle = parse_profile(profile) if profile is not None else []
        if not isinstance(bundle, list):
            types.append(key_type(bundle.leaf))
    return OurSettings(
        key_types=tuple(types),  # type: ignore[arg-type]
        certificate=listener.certificate,
        demonstration=listener.certificate == "Demo",
    )


class _Want(Wanted, frozen=True, kw_only=True):
    certificate: str


def _wanted(document: Document, listener: Listener) -> list[_Want]:
    """One probe for each certificate of a listener; those chosen by name are asked for by name."""
    found: list[_Want] = []
    for name in (*_assigned(listener), *listener.sni_certificates):
        profile = document.certificate(name)
        bundle = parse_profile(profile) if profile is not None else []
        if isinstance(bundle, list):
            continue
        server_name = None
        if name in listener.sni_certificates:
            names = server_names(bundle.leaf)
            server_name = names[0].replace("*", "probe", 1) if names else None
        found.append(
            _Want(
                listener=listener,
                hostname=document.hostname,
                server_name=server_name,
                fingerprint=fingerprint(bundle.leaf),
                key_type=key_type(bundle.leaf),
                certificate=name,
            )
        )
    return found


def _told(seen: Seen) -> str:
    by_name = f" to clients that ask for {seen.server_name}" if seen.server_name else ""
    if seen.sha256 is None:
        return f"Listener {seen.listener}: {seen.certificate} was not seen{by_name}: {seen.problem}."
    if seen.expected:
        return (
            f"Listener {seen.listener} serves the certificate {seen.certificate}{by_name}: "
            f"SHA-256 {seen.sha256}."
        )
    return (
        f"Warning: listener {seen.listener} serves another certificate than {seen.certificate}{by_name}: "
        f"SHA-256 {seen.sha256}."
    )
