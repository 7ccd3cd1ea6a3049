"""One attempt at one address of a next hop: connect, greeting, EHLO, TLS as the level says, EHLO again.

Whether the server's certificate satisfies the level is judged here, before MAIL: no envelope and no content
goes to a server that the level refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from OpenSSL import SSL

from mxseal.capture.orders import Connection, tidy
from mxseal.certs.ours import delivery_offer
from mxseal.certs.sent import read_sent
from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import (
    DeliveryClosed,
    DeliveryFailed,
    DeliveryInClear,
    DeliveryOpened,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
)
from mxseal.relay.channel import Broken, Channel, network_error
from mxseal.relay.handover import Session
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import Host
from mxseal.relay.routing import Target
from mxseal.relay.verification import Verifier
from mxseal.smtp.client import STARTTLS, Capabilities, hello
from mxseal.smtp.wire import Reply
from mxseal.tls.diagnosis import diagnose_outbound, diagnose_stage, diagnose_unavailable
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.openings import Stage
from mxseal.tls.policy import REQUIRING, RULES, Condition, Event, after_failure, condition, plan
from mxseal.tls.unverified import diagnose_verification, remark_chain
from mxseal.tls.verification import Verification

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
    exchangers: tuple[str, ...] = ()
    """All hosts of the domain's MX records; empty behind an SMTP route."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What every attempt needs of the gateway."""

    bus: Bus
    clock: Clock
    verifier: Verifier
    context: Callable[[bool], SSL.Context]
    """`context(post_quantum)`: the client context of the configuration in force."""
    session: Callable[[Way, SSL.Context], Any]
    """What an earlier handshake with the same peer left to resume; None: nothing."""
    recorder: Recorder | None = None


class Opening:
    """One attempt. `run` gives a session that is ready for MAIL, or why there is none."""

    def __init__(self, around: Surroundings, document: Document, way: Way, dcid: int, lookup: float) -> None:
        """`lookup`: seconds that finding the hosts took."""
        self._around = around
        self._bus = around.bus
        self._clock = around.clock
        self._document = document
        self._delivery = document.delivery
        self._way = way
        self._dcid = dcid
        self._channel = Channel(self._clock)
        self._spent: dict[str, float] = {"lookup": lookup}
        self._stage: Stage = "connect"
        self._since = self._clock.monotonic()

    async def run(self, modern: bool) -> Session | Unreachable:
        """`modern`: with the post-quantum group."""
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

    def _protocol(self) -> asyncio.Protocol:
        recorder, way = self._around.recorder, self._way
        if recorder is None or not recorder.armed:
            return self._channel
        known = Connection(
            direction="delivery",
            address=way.address,
            names={tidy(way.host.name)},
            domains={tidy(way.domain), tidy(way.target.domain)},
        )
        return recorder.delivery(self._channel, known, self._dcid)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        source = self._delivery.source_address
        connecting = loop.create_task(
            loop.create_connection(
                self._protocol,
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
        self._enter("banner")
        greeting = await self._channel.reply(self._delivery.command_time)
        if greeting.code != 220:
            return self._refused(greeting, "greeting")
        self._enter("ehlo")
        answer = await self._hello()
        if isinstance(answer, Unreachable):
            return answer
        capabilities, level = _capabilities(answer), self._way.target.tls
        step = plan(level, esmtp=capabilities.esmtp, starttls=capabilities.starttls)
        if step.action == "fail" and step.event is not None:
            return self._tls_unavailable(step.event, answer)
        context: SSL.Context | None = None
        if step.action == "deliver-clear":
            self._in_clear(step.event, answer)
        elif step.action == "starttls":
            self._enter("starttls")
            self._channel.send(STARTTLS)
            reply = await self._channel.reply(self._delivery.command_time)
            if reply.code == 220:
                context = self._around.context(modern)
                unsafe = await self._secure(context)
                if unsafe is not None:
                    return unsafe
                self._enter("ehlo_again")
                answer = await self._hello()  # RFC 3207 §4.2: what was said in clear is forgotten
                if isinstance(answer, Unreachable):
                    return answer
                capabilities = _capabilities(answer)
            elif after_failure(level, "starttls-refused") != "deliver-clear":
                return self._tls_unavailable("starttls-refused", answer, reply)
            else:
                self._in_clear("starttls-refused", answer, reply)
        return Session(self._bus, self._clock, self._way, self._dcid, self._delivery).over(
            self._channel, capabilities, context
        )

    async def _hello(self) -> Reply | Unreachable | None:
        """The reply to EHLO; None from a server that only knows HELO."""
        hostname = self._delivery.hostname or self._document.hostname
        limit = self._delivery.command_time
        self._channel.send(hello(hostname))
        reply = await self._channel.reply(limit)
        if reply.code == 250:
            return reply
        if reply.code == 421:
            return self._refused(reply, "EHLO")
        self._channel.send(hello(hostname, extended=False))  # RFC 5321 §3.2: an old server
        reply = await self._channel.reply(limit)
        if reply.code == 250:
            return None
        return self._refused(reply, "HELO")

    def _enter(self, stage: Stage) -> None:
        """The next stage begins: the one before has taken its time."""
        now = self._clock.monotonic()
        self._spent[self._stage] = now - self._since
        self._stage, self._since = stage, now

    def _times(self) -> StageTimes:
        self._enter(self._stage)
        return StageTimes(**self._spent)

    # --- TLS ------------------------------------------------------------------------------------------------

    async def _secure(self, context: SSL.Context) -> Unreachable | None:
        """The handshake, and what the level says about it; None: it stands, and MAIL may follow."""
        way, level = self._way, self._way.target.tls
        self._enter("handshake")
        name = way.host.name if way.host.name != way.address else None
        session = self._around.session(way, context)
        facts = await self._channel.start_tls(context, name, session, self._delivery.handshake_time)
        if isinstance(facts, TlsFault):
            return self._handshake_failed(facts)
        found = await self._around.verifier.verify(way, facts, self._document.trust)
        verdict = found.judge(level)
        if verdict.action == "fail" and verdict.event is not None:
            return self._unverified(verdict.event, facts, found)
        self._bus.publish(
            OutboundTlsSucceeded(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                facts=facts.brief(),
                level=level,
                level_from=way.target.level_from,
                verification=found,
                diagnosis=self._diagnose(facts, found, verdict.event),
                remark=self._remark(facts) if verdict.event is None else None,
                times=self._times(),
            )
        )
        return None

    def _diagnose(self, facts: TlsFacts, found: Verification, event: Event | None) -> Diagnosis | None:
        """What is wrong with the certificate; names and pins where the level compares them."""
        level = self._way.target.tls
        if event is None or (level not in RULES and event not in ("untrusted", "revoked")):
            return None
        close = read_sent(facts.peer_certificates, self._clock.now())
        return diagnose_verification(found, level, self._way.host.name, close)

    def _remark(self, facts: TlsFacts) -> Diagnosis | None:
        """What stricter senders than this gateway would stumble over."""
        close = read_sent(facts.peer_certificates, self._clock.now())
        return remark_chain("server", self._way.host.name, close)

    def _tls_failed(self, **facts: Any) -> None:
        """Publish OutboundTlsFailed with what it always has."""
        way = self._way
        required = way.target.tls in REQUIRING
        self._bus.publish(
            OutboundTlsFailed(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                required=required,
                level=way.target.tls,
                level_from=way.target.level_from,
                alert=required and way.target.alert,
                times=self._times(),
                **facts,
            )
        )

    def _insecure(self, status: str, text: str, *, choked: bool = False) -> Unreachable:
        return Unreachable(status=status, text=text, dcid=self._dcid, host=self._way.host.name, choked=choked)

    def _tls_unavailable(self, event: Event, ehlo: Reply | None, reply: Reply | None = None) -> Unreachable:
        """One of the three conditions under which required TLS can't be used (reference §3.3)."""
        which, diagnosis = self._why_unavailable(event, ehlo, reply)
        reason = "unexpected-response" if event == "starttls-refused" else "unavailable"
        self._tls_failed(reason=reason, condition=which, diagnosis=diagnosis)
        return self._insecure("4.7.4", diagnosis.summary)

    def _why_unavailable(
        self, event: Event, ehlo: Reply | None, reply: Reply | None
    ) -> tuple[Condition, Diagnosis]:
        which = condition(event)
        assert which is not None, "after the 220 there is a handshake"
        said = f"{reply.code} {reply.text}" if reply is not None else ""
        offered = ehlo.lines[1:] if ehlo is not None else ()
        return which, diagnose_unavailable(which, self._way.host.name, reply=said, offered=offered)

    def _in_clear(self, event: Event | None, ehlo: Reply | None, reply: Reply | None = None) -> None:
        """The level lets mail go without TLS; `event`: why there is none, None where none is wanted."""
        way = self._way
        self._bus.publish(
            DeliveryInClear(
                at=self._clock.now(),
                dcid=self._dcid,
                domain=way.domain,
                host=way.host.name,
                level=way.target.tls,
                level_from=way.target.level_from,
                diagnosis=self._why_unavailable(event, ehlo, reply)[1] if event is not None else None,
                times=self._times(),
            )
        )

    def _handshake_failed(self, fault: TlsFault) -> Unreachable:
        ours = delivery_offer(self._document, self._clock.now())
        diagnosis = diagnose_outbound(fault, host=self._way.host.name, ours=ours, times=self._times())
        self._tls_failed(reason="handshake", fault=fault, diagnosis=diagnosis)
        return self._insecure("4.7.5", diagnosis.summary, choked=fault.kind in _CHOKED)

    def _unverified(self, event: Event, facts: TlsFacts, found: Verification) -> Unreachable:
        """The level refuses the certificate: for the host that is a failure as any other (reference §3.6)."""
        error = found.error(event)
        diagnosis = self._diagnose(facts, found, event)
        self._tls_failed(
            reason="verification",
            verify_error=error,
            facts=facts.brief(),
            verification=found,
            diagnosis=diagnosis,
        )
        return self._insecure("4.7.5", diagnosis.summary if diagnosis is not None else error)

    # --- faults ---------------------------------------------------------------------------------------------

    def _failed(self, broken: Broken) -> Unreachable:
        way = self._way
        self._publish_failure(broken)
        return Unreachable(
            status="4.4.1" if broken.reason == "connection timed out" else "4.4.2",
            text=f"{way.host.name} [{way.address}]: {broken.reason}: {broken.details}",
            dcid=self._dcid,
            host=way.host.name,
        )

    def _publish_failure(self, broken: Broken, reply: str = "") -> None:
        """Why it ended before MAIL; `reply`: the error reply that ended it."""
        host, times = self._way.host.name, self._times()
        if broken.fault is not None:
            ours = delivery_offer(self._document, self._clock.now())
            diagnosis = diagnose_outbound(broken.fault, host=host, ours=ours, times=times)
        else:
            diagnosis = diagnose_stage(
                self._stage, None, host, reply=reply, reason=broken.details, times=times
            )
        failed = delivery_failed(self._clock.now(), self._way, self._dcid, self._channel.local_ip, broken)
        self._bus.publish(msgspec.structs.replace(failed, diagnosis=diagnosis, times=times))

    def _refused(self, reply: Reply, stage: str) -> Unreachable:
        said = f"{reply.code} {reply.text}"
        self._publish_failure(Broken(said, f"unexpected SMTP response to {stage}"), said)
        return Unreachable(
            code=str(reply.code),
            status="4.3.2",
            text=reply.text,
            dcid=self._dcid,
            host=self._way.host.name,
        )


def _capabilities(reply: Reply | None) -> Capabilities:
    return Capabilities.parse(reply) if reply is not None else Capabilities()


def delivery_failed(at: float, way: Way, dcid: int, local_ip: str, broken: Broken) -> DeliveryFailed:
    """The event of a connection that could not be made, or broke."""
    return DeliveryFailed(
        at=at,
        dcid=dcid,
        domain=way.domain,
        host=way.host.name,
        remote_ip=way.address,
        port=way.host.port,
        local_ip=local_ip or "unknown",
        details=broken.details,
        reason=broken.reason,
    )
