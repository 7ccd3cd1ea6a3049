"""Deliveries: connect to the next hop, upgrade to TLS as the policy says, hand over messages.

A failed connection is a fault of the host, not of the recipient: the next host is tried, then the message
waits (reference §3.6). What each level does with each failure is decided in `tls.policy`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import DeliveryClosed
from mxseal.relay.bounces import Verdict
from mxseal.relay.channel import Broken
from mxseal.relay.handover import Session
from mxseal.relay.lanes import Job, Lane
from mxseal.relay.opening import Opening, Surroundings, Unreachable, Way, delivery_failed
from mxseal.relay.queue import Queue
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import DnsFault, Host, Resolver
from mxseal.relay.routing import Target, mail_domain
from mxseal.relay.verification import Revoking, Verifier, no_lists
from mxseal.smtp.client import QUIT
from mxseal.storage.ports import StorageRefused

_HOSTS_TRIED = 10
_OUTAGE_SECONDS = 5.0
"""For so long a target whose hosts do not answer is not asked again, however much mail for it comes in."""
_REMEMBERED = 2000
_CLASSIC_SECONDS = 86_400.0
_QUIT_SECONDS = 2.0


class Outbound:
    """Delivers lanes. One for the gateway; what it remembers of hosts is bounded."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        allocate: Callable[[str], int],
        resolver: Callable[[], Resolver],
        context: Callable[[bool], SSL.Context],
        *,
        revoking: Callable[[], Revoking | None] = no_lists,
    ) -> None:
        """`context(post_quantum)` gives the client context of the configuration in force, `revoking` its
        lists of revoked certificates, None where the check is off."""
        self._bus = bus
        self._clock = clock
        self._allocate = allocate
        self._resolver = resolver
        self._around = Surroundings(
            bus=bus,
            clock=clock,
            verifier=Verifier(clock, resolver, revoking),
            context=context,
            session=self._session,
        )
        self._sessions: dict[tuple[str, int, str, SSL.Context], Any] = {}
        self._classic: dict[tuple[str, int], float] = {}

    def recorded_by(self, recorder: Recorder) -> None:
        """Connections of which administrators want a recording get one."""
        self._around = msgspec.structs.replace(self._around, recorder=recorder)

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
            way, local_ip = session.way, session.channel.local_ip
            self._bus.publish(delivery_failed(self._clock.now(), way, session.dcid, local_ip, broken))
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
            self._sessions[_peer(session.way, session.context)] = ticket

    def _session(self, way: Way, context: SSL.Context) -> Any:
        return self._sessions.get(_peer(way, context))

    # --- connecting ---------------------------------------------------------------------------------------

    async def _open(self, document: Document, lane: Lane, job: Job) -> Session | Unreachable:
        delivery = document.delivery
        domain = mail_domain(job.recipients[0].address)
        began = self._clock.monotonic()
        hosts = await self._hosts(lane.target)
        exchangers: tuple[str, ...] = ()
        if not lane.target.hosts and not isinstance(hosts, DnsFault):
            exchangers = tuple(host.name for host in hosts)
            hosts = _before_us(hosts, document, domain)
        lookup = self._clock.monotonic() - began
        if isinstance(hosts, DnsFault):
            return Unreachable(hard=hosts.hard, status=hosts.status, text=hosts.text)
        last = Unreachable(text=f"no address found for {lane.target.name}", status="4.4.3")
        ways = [
            Way(lane.target, domain, host, address, exchangers)
            for host in hosts
            for address in host.addresses
        ]
        for way in ways[:_HOSTS_TRIED]:
            modern = delivery.post_quantum and not self._is_classic(way)
            result = await self._attempt(document, way, lookup, modern=modern)
            if isinstance(result, Unreachable) and result.choked and modern:
                retry = await self._attempt(document, way, lookup, modern=False)
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
        self, document: Document, way: Way, lookup: float, *, modern: bool
    ) -> Session | Unreachable:
        return await Opening(self._around, document, way, self._allocate("dcid"), lookup).run(modern)

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


def _peer(way: Way, context: SSL.Context) -> tuple[str, int, str, SSL.Context]:
    """Whose session it is: servers choose certificates by the name that is asked for."""
    return way.address, way.host.port, way.host.name, context


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
