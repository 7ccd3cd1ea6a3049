"""Deliveries: connect to the next hop, upgrade to TLS as the policy says, hand over messages.

A failed connection is a fault of the host, not of the recipient: the next host is tried, then the message
waits (reference §3.6). What each level does with each failure is decided in `tls.policy`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.config.model import Delivery, Document
from mxseal.events.bus import Bus
from mxseal.events.types import (
    DeliveryClosed,
    DeliveryFailed,
    DeliveryOpened,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
)
from mxseal.relay.bounces import Verdict
from mxseal.relay.channel import Broken, Channel, network_error
from mxseal.relay.handover import Session
from mxseal.relay.queue import Job, Lane, Queue
from mxseal.relay.resolver import DnsFault, Host, Resolver
from mxseal.relay.routing import Target
from mxseal.smtp.client import QUIT, STARTTLS, Capabilities, hello
from mxseal.smtp.grammar import split_address
from mxseal.smtp.wire import Reply
from mxseal.storage.ports import StorageRefused
from mxseal.tls.diagnosis import diagnose_outbound, diagnose_unavailable
from mxseal.tls.facts import TlsFault
from mxseal.tls.policy import Event, after_failure, condition, plan

_HOSTS_TRIED = 10
_OUTAGE_SECONDS = 5.0
"""For so long a target whose hosts do not answer is not asked again, however much mail for it comes in."""
_REMEMBERED = 2000
_CLASSIC_SECONDS = 86_400.0
_QUIT_SECONDS = 2.0
_CHOKED = {"peer-gone", "reset", "timeout", "alert-received", "local-error"}
"""Handshake faults after which a peer is tried once more without the post-quantum group."""


class Unreachable(msgspec.Struct, frozen=True, kw_only=True):
    """Why no connection to a target stands, in the terms of a verdict."""

    hard: bool = False
    code: str = "000"
    status: str = "4.4.1"
    text: str = ""
    dcid: int = 0
    host: str | None = None
    choked: bool = False
    """The handshake failed as it does with peers that choke on the post-quantum group."""


class Way(msgspec.Struct, frozen=True):
    """One address of one host of a target."""

    target: Target
    domain: str
    """The recipient domain that the connection was opened for; others may share it."""
    host: Host
    address: str


class Outbound:
    """Delivers lanes. One for the gateway; what it remembers of hosts is bounded."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        allocate: Callable[[str], int],
        resolver: Callable[[], Resolver],
        context: Callable[[bool], SSL.Context],
    ) -> None:
        """`context(post_quantum)` gives the client context of the configuration in force."""
        self._bus = bus
        self._clock = clock
        self._allocate = allocate
        self._resolver = resolver
        self._context = context
        self._sessions: dict[tuple[str, int, SSL.Context], Any] = {}
        self._classic: dict[tuple[str, int], float] = {}

    async def work(self, queue: Queue, lane: Lane) -> None:
        """Deliver what waits in the lane over one connection after the other, until nothing does."""
        session: Session | None = None
        try:
            while True:
                idle = queue.document.delivery.idle_time
                job = await queue.next_job(lane, idle) if session is not None else lane.take()
                if job is None:
                    return
                if session is not None and not session.usable(lane.target.messages_per_connection):
                    await self._close(lane, session)
                    session = None
                session = await self._deliver(queue, lane, job, session)
                if session is None and lane.connected and lane.workers > lane.allowed:
                    return  # the peer takes no more connections: those that stand deliver what waits
        finally:
            if session is not None:
                await self._close(lane, session)

    async def _deliver(self, queue: Queue, lane: Lane, job: Job, session: Session | None) -> Session | None:
        """Deliver one job, over the session or a new one. Gives the session that stands afterwards."""
        reused = session is not None
        if session is None:
            if lane.outage_until > self._clock.monotonic():
                self._give_up(queue, lane, job, lane.outage)
                return None
            try:
                opened = await self._open(queue.document, lane, job)
            except StorageRefused:  # our own disk has no room for a number: that is no attempt
                queue.put_back(job)
                return None
            except BaseException:
                queue.put_back(job)
                raise
            if isinstance(opened, Unreachable):
                if not lane.connected:
                    lane.outage = opened
                    lane.outage_until = self._clock.monotonic() + _OUTAGE_SECONDS
                self._give_up(queue, lane, job, opened)
                return None
            session = opened
        try:
            verdicts = await session.deliver(job, queue.spool)
        except Broken as broken:
            if reused and not session.heard:
                # A connection that was kept may have been closed by the peer: that is no attempt.
                await self._close(lane, session)
                return await self._deliver(queue, lane, job, None)
            self._publish_failure(session.way, session.dcid, session.channel.local_ip, broken)
            verdicts = session.after_break(job, broken)
        except StorageRefused as refusal:
            session.channel.abort()  # in the middle of the content: no QUIT, and nothing that looks complete
            verdicts = session.after_trouble(job, refusal)
        except BaseException:
            session.channel.abort()
            await self._close(lane, session)
            queue.put_back(job)
            raise
        if any(v.kind == "delivered" for v in verdicts):
            lane.delivered_one()
        queue.settle(lane, job, verdicts)
        if not session.channel.alive or session.finished:
            await self._close(lane, session)
            return None
        return session

    def _give_up(self, queue: Queue, lane: Lane, job: Job, why: Unreachable) -> None:
        """No host answers: the job waits, and with it what else waits for the same target."""
        lane.last_error = f"{why.code} {why.text}"
        if lane.connected:  # others get through: this is a limit of the peer's, not an outage
            lane.allowed = max(1, lane.connected)
            lane.jobs.appendleft(job)
            return
        lane.up = False
        lane.allowed = 1
        while True:
            queue.settle(lane, job, [_verdict(recipient, why) for recipient in job.recipients])
            following = lane.take()
            if following is None:
                return
            job = following

    async def _close(self, lane: Lane, session: Session) -> None:
        if session.closed:
            return
        session.closed = True
        lane.connected -= 1
        channel = session.channel
        if channel.alive:
            self._remember(session)
            channel.send(QUIT)
            try:
                await channel.reply(_QUIT_SECONDS)
            except Broken:
                pass  # the messages are settled: how the peer says goodbye changes nothing
        channel.close()
        self._bus.publish(DeliveryClosed(at=self._clock.now(), dcid=session.dcid))

    def _remember(self, session: Session) -> None:
        ticket = session.channel.session()
        if ticket is not None and session.context is not None:
            if len(self._sessions) >= _REMEMBERED:
                self._sessions.clear()
            self._sessions[session.way.address, session.way.host.port, session.context] = ticket

    # --- connecting ---------------------------------------------------------------------------------------

    async def _open(self, document: Document, lane: Lane, job: Job) -> Session | Unreachable:
        delivery, hostname = document.delivery, document.hostname
        domain = split_address(job.recipients[0].address)[1].lower()
        hosts = await self._hosts(lane.target)
        if not lane.target.hosts and not isinstance(hosts, DnsFault):
            hosts = _before_us(hosts, document, domain)
        if isinstance(hosts, DnsFault):
            return Unreachable(hard=hosts.hard, status=hosts.status, text=hosts.text)
        last = Unreachable(text=f"no address found for {lane.target.name}", status="4.4.3")
        ways = [Way(lane.target, domain, host, address) for host in hosts for address in host.addresses]
        for way in ways[:_HOSTS_TRIED]:
            modern = delivery.post_quantum and not self._is_classic(way)
            result = await self._attempt(delivery, hostname, way, modern=modern)
            if isinstance(result, Unreachable) and result.choked and modern:
                retry = await self._attempt(delivery, hostname, way, modern=False)
                if isinstance(retry, Session):
                    self._mark_classic(way)
                result = retry
            if isinstance(result, Session):
                lane.connected += 1
                lane.up = True
                lane.last_activity = self._clock.now()
                return result
            last = result
        return last

    async def _attempt(
        self, delivery: Delivery, hostname: str, way: Way, *, modern: bool
    ) -> Session | Unreachable:
        return await _Opening(self, delivery, hostname, way, self._allocate("dcid")).run(modern)

    async def _hosts(self, target: Target) -> tuple[Host, ...] | DnsFault:
        resolver = self._resolver()
        if not target.hosts:
            return await resolver.hosts(target.domain)
        found = [await resolver.host(name, port) for name, port in target.hosts]
        hosts = tuple(host for host in found if isinstance(host, Host))
        if hosts:
            return hosts
        fault = next(fault for fault in found if isinstance(fault, DnsFault))
        # A route is written by the administrator: its name may be mended, mail must not bounce meanwhile.
        return DnsFault(False, "4.4.3", fault.text)

    def _is_classic(self, way: Way) -> bool:
        return self._classic.get((way.address, way.host.port), 0.0) > self._clock.monotonic()

    def _mark_classic(self, way: Way) -> None:
        if len(self._classic) >= _REMEMBERED:
            self._classic.clear()
        self._classic[way.address, way.host.port] = self._clock.monotonic() + _CLASSIC_SECONDS

    def _publish_failure(self, way: Way, dcid: int, local_ip: str, broken: Broken) -> None:
        self._bus.publish(
            DeliveryFailed(
                at=self._clock.now(),
                dcid=dcid,
                domain=way.domain,
                host=way.host.name,
                remote_ip=way.address,
                port=way.host.port,
                local_ip=local_ip or "unknown",
                details=broken.details,
                reason=broken.reason,
            )
        )


class _Opening:
    """One attempt at one address: connect, greeting, EHLO, TLS, EHLO again."""

    def __init__(self, owner: Outbound, delivery: Delivery, hostname: str, way: Way, dcid: int) -> None:
        self._owner = owner
        self._bus = owner._bus  # noqa: SLF001 - two halves of one thing
        self._clock = owner._clock  # noqa: SLF001
        self._delivery = delivery
        self._hostname = delivery.hostname or hostname
        self._way = way
        self._dcid = dcid
        self._channel = Channel(self._clock)

    async def run(self, modern: bool) -> Session | Unreachable:
        try:
            await self._connect()
        except OSError as error:
            return self._failed(network_error(error))
        way, channel = self._way, self._channel
        self._bus.publish(
            DeliveryOpened(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                local_ip=channel.local_ip,
                remote_ip=way.address,
                port=way.host.port,
            )
        )
        # Each answer has its time, and so has the opening as a whole.
        channel.until = self._clock.monotonic() + self._delivery.connect_time + self._delivery.command_time
        try:
            result = await self._converse(modern)
            channel.until = None
        except Broken as broken:
            result = self._failed(broken)
        except BaseException:
            channel.abort()
            raise
        if isinstance(result, Unreachable):
            channel.close()
            self._bus.publish(DeliveryClosed(at=self._clock.now(), dcid=self._dcid))
        return result

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        source = self._delivery.source_address
        connecting = loop.create_task(
            loop.create_connection(
                lambda: self._channel,
                self._way.address,
                self._way.host.port,
                local_addr=(source, 0) if source else None,
            )
        )
        late = False

        def give_up() -> None:
            nonlocal late
            late = True
            connecting.cancel()

        timer = self._clock.call_later(self._delivery.connect_time, give_up)
        try:
            await connecting
        except asyncio.CancelledError:
            if late:
                raise TimeoutError from None
            connecting.cancel()
            raise
        finally:
            timer.cancel()

    async def _converse(self, modern: bool) -> Session | Unreachable:
        limit = self._delivery.command_time
        greeting = await self._channel.reply(limit)
        if greeting.code != 220:
            return self._refused(greeting, "greeting")
        capabilities = await self._hello()
        if isinstance(capabilities, Unreachable):
            return capabilities
        level = self._way.target.tls
        context: SSL.Context | None = None
        if level != "off":
            event = await self._ask_for_tls(capabilities)
            if event is not None:
                if after_failure(level, event) != "deliver-clear":
                    return self._tls_unavailable(event)
            else:
                context = self._owner._context(modern)  # noqa: SLF001
                fault = await self._handshake(context)
                if fault is not None:
                    return self._handshake_failed(fault)
                capabilities = await self._hello()  # RFC 3207 §4.2: what was said in clear is forgotten
                if isinstance(capabilities, Unreachable):
                    return capabilities
        return Session(self._bus, self._clock, self._way, self._dcid, self._delivery).over(
            self._channel, capabilities, context
        )

    async def _hello(self) -> Capabilities | Unreachable:
        limit = self._delivery.command_time
        self._channel.send(hello(self._hostname))
        reply = await self._channel.reply(limit)
        if reply.code == 250:
            return Capabilities.parse(reply)
        if reply.code == 421:
            return self._refused(reply, "EHLO")
        self._channel.send(hello(self._hostname, extended=False))  # RFC 5321 §3.2: an old server
        reply = await self._channel.reply(limit)
        if reply.code == 250:
            return Capabilities()
        return self._refused(reply, "HELO")

    # --- TLS ------------------------------------------------------------------------------------------------

    async def _ask_for_tls(self, capabilities: Capabilities) -> Event | None:
        """What stands against TLS before the handshake; None: the peer said 220 to STARTTLS."""
        step = plan(self._way.target.tls, esmtp=capabilities.esmtp, starttls=capabilities.starttls)
        if step.action != "starttls":
            return step.event
        self._channel.send(STARTTLS)
        reply = await self._channel.reply(self._delivery.command_time)
        return None if reply.code == 220 else "starttls-refused"

    async def _handshake(self, context: SSL.Context) -> TlsFault | None:
        way = self._way
        name = way.host.name if way.host.name != way.address else None
        session = self._owner._sessions.get((way.address, way.host.port, context))  # noqa: SLF001
        result = await self._channel.start_tls(context, name, session, self._delivery.handshake_time)
        if isinstance(result, TlsFault):
            return result
        self._bus.publish(
            OutboundTlsSucceeded(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                facts=result.brief(),
            )
        )
        return None

    def _tls_unavailable(self, event: Event) -> Unreachable:
        """One of the three conditions under which required TLS can't be used (reference §3.3)."""
        way = self._way
        which = condition(event)
        assert which is not None, "after the 220 there is a handshake"
        diagnosis = diagnose_unavailable(which, way.host.name)
        self._bus.publish(
            OutboundTlsFailed(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                required=True,
                reason="unexpected-response" if event == "starttls-refused" else "unavailable",
                condition=which,
                diagnosis=diagnosis,
            )
        )
        return Unreachable(status="4.7.4", text=diagnosis.summary, dcid=self._dcid, host=way.host.name)

    def _handshake_failed(self, fault: TlsFault) -> Unreachable:
        way = self._way
        diagnosis = diagnose_outbound(fault, host=way.host.name)
        self._bus.publish(
            OutboundTlsFailed(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                required=way.target.tls == "required",
                reason="handshake",
                fault=fault,
                diagnosis=diagnosis,
            )
        )
        return Unreachable(
            status="4.7.5",
            text=diagnosis.summary,
            dcid=self._dcid,
            host=way.host.name,
            choked=fault.kind in _CHOKED,
        )

    # --- faults ---------------------------------------------------------------------------------------------

    def _failed(self, broken: Broken) -> Unreachable:
        way = self._way
        self._owner._publish_failure(way, self._dcid, self._channel.local_ip, broken)  # noqa: SLF001
        return Unreachable(
            status="4.4.1" if broken.reason == "connection timed out" else "4.4.2",
            text=f"{way.host.name} [{way.address}]: {broken.reason}: {broken.details}",
            dcid=self._dcid,
            host=way.host.name,
        )

    def _refused(self, reply: Reply, stage: str) -> Unreachable:
        broken = Broken(f"{reply.code} {reply.text}", f"unexpected SMTP response to {stage}")
        self._owner._publish_failure(self._way, self._dcid, self._channel.local_ip, broken)  # noqa: SLF001
        return Unreachable(
            code=str(reply.code),
            status="4.3.2",
            text=reply.text,
            dcid=self._dcid,
            host=self._way.host.name,
        )


def _before_us(hosts: tuple[Host, ...], document: Document, domain: str) -> tuple[Host, ...] | DnsFault:
    """The exchangers that are preferred to this gateway, where it is one itself (RFC 5321 §5.1): delivering
    to itself or to those behind it would go in circles."""
    own = {document.hostname, document.delivery.hostname}
    own |= {document.listener_hostname(listener) for listener in document.listeners}
    for index, host in enumerate(hosts):
        if host.name in own:
            if index:
                return hosts[:index]
            text = f"the best mail exchanger for {domain} is this gateway itself, and no SMTP route leads on"
            return DnsFault(True, "5.4.6", text)
    return hosts


def _verdict(recipient: Any, why: Unreachable) -> Verdict:
    return Verdict(
        recipient=recipient,
        kind="bounced" if why.hard else "deferred",
        code=why.code,
        status=why.status,
        text=why.text,
        lines=(why.text,),
        host=why.host,
        dcid=why.dcid,
    )
