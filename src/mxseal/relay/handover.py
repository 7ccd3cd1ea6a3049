"""A session with a next hop that stands, and the handing over of messages on it (RFC 5321 §3.3, RFC 2920)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.config.model import Delivery
from mxseal.events.bus import Bus
from mxseal.events.types import DeliveryStarted, PossibleDelivery, RecipientsDelivered
from mxseal.mail.status import of_reply
from mxseal.relay.bounces import Verdict
from mxseal.relay.channel import Broken, Channel
from mxseal.relay.lanes import Job
from mxseal.smtp.client import RSET, Capabilities, Outcome, Transaction
from mxseal.smtp.wire import Reply
from mxseal.storage.ports import Spool, StorageRefused

if TYPE_CHECKING:
    from mxseal.relay.opening import Way

_RECIPIENT_SECONDS = 30.0
"""What each recipient adds to the time for the envelope: an answer may take minutes (RFC 5321 §4.5.3.2.3),
and a thousand that each do would hold the connection for days."""


class Session:
    """A connection after its last EHLO, ready for messages."""

    channel: Channel
    capabilities: Capabilities
    context: SSL.Context | None

    def __init__(self, bus: Bus, clock: Clock, way: Way, dcid: int, delivery: Delivery) -> None:
        self._bus = bus
        self._clock = clock
        self._delivery = delivery
        self.way = way
        self.dcid = dcid
        self.sent = 0
        self.heard = False
        """Whether the peer answered anything in the message at work."""
        self.finished = False
        """The peer is done with this connection: it takes no further message."""
        self._transaction: Transaction | None = None
        self.closed = False
        """Whether it was given up: that is counted once."""

    def over(self, channel: Channel, capabilities: Capabilities, context: SSL.Context | None) -> Session:
        """The same session on its channel; `context` is None in clear text."""
        self.channel, self.capabilities, self.context = channel, capabilities, context
        return self

    def usable(self, most: int) -> bool:
        """Whether one more message may go over it, of at most `most`."""
        if self.channel.waiting_reply() is not None:  # 421 while idle: the peer is about to close
            return False
        return self.channel.alive and not self.finished and self.sent < most

    async def deliver(self, job: Job, spool: Spool) -> list[Verdict]:
        """Hand over one message; a verdict for each recipient. Broken when the connection breaks."""
        envelope = job.queued.envelope
        self.heard = False
        self.sent += 1
        transaction = self._transaction = Transaction(
            self.capabilities,
            envelope.sender,
            [recipient.address for recipient in job.recipients],
            size=envelope.size + len(envelope.prefix),
            smtputf8=envelope.smtputf8,
            eightbit=envelope.eightbit,
        )
        self._bus.publish(
            DeliveryStarted(
                at=self._clock.now(),
                dcid=self.dcid,
                mid=envelope.mid,
                rids=tuple(recipient.rid for recipient in job.recipients),
            )
        )
        limit = self._delivery.command_time
        self._patience(limit + _RECIPIENT_SECONDS * len(job.recipients))
        if commands := transaction.commands():
            self.channel.send(commands)
        while not transaction.finished:
            reply = await self.channel.reply(limit)
            self.heard = True
            if following := transaction.receive(reply):
                self.channel.send(following)
            if transaction.wants_content:
                await self._send_content(job, spool, transaction)
                limit = self._delivery.data_time
                self._patience(limit)
        self.finished = transaction.must_close
        self.channel.until = None
        if transaction.needs_reset and not transaction.must_close:
            self.channel.send(RSET)
            self.finished = (await self.channel.reply(limit)).code != 250
        return self._verdicts(job, transaction.outcomes)

    async def _send_content(self, job: Job, spool: Spool, transaction: Transaction) -> None:
        prefix = job.queued.envelope.prefix.encode("ascii")
        if job.body is not None:
            self.channel.send(transaction.encode(prefix + job.body) + transaction.end())
            return
        # RFC 5321 §4.5.3.2.5 has a time for each block; a peer that takes each just before its time is over
        # would hold its connection as long as it likes.
        size = job.queued.envelope.size
        self._patience(self._delivery.data_time + size / self._delivery.slowest_rate)
        if prefix:
            self.channel.send(transaction.encode(prefix))
        async for piece in spool.content(job.queued.envelope.mid):
            self.channel.send(transaction.encode(piece))
            await self.channel.drain(self._delivery.data_time)
        self.channel.send(transaction.end())

    def _patience(self, seconds: float) -> None:
        """All that follows, until the next call, has so many seconds as a whole."""
        self.channel.until = self._clock.monotonic() + seconds

    def _verdicts(self, job: Job, outcomes: Sequence[Outcome]) -> list[Verdict]:
        verdicts = [self._verdict(job, outcome) for outcome in outcomes]
        delivered = [v for v in verdicts if v.kind == "delivered"]
        if delivered:
            self._bus.publish(
                RecipientsDelivered(
                    at=self._clock.now(),
                    dcid=self.dcid,
                    mid=job.queued.envelope.mid,
                    rids=tuple(v.recipient.rid for v in delivered),
                    response=delivered[0].text,
                )
            )
        return verdicts

    def _verdict(self, job: Job, outcome: Outcome) -> Verdict:
        code = f"{outcome.code:03}"
        return Verdict(
            recipient=job.recipients[outcome.index],
            kind=outcome.kind,
            code=code,
            status=of_reply(code, Reply(outcome.code, outcome.lines).enhanced),
            text=" ".join(outcome.lines),
            lines=outcome.lines,
            host=self.way.host.name,
            dcid=self.dcid,
        )

    def after_trouble(self, job: Job, refusal: StorageRefused) -> list[Verdict]:
        """Our own disk could not give the content: for the recipients it is one more attempt."""
        text = f"this gateway could not read the message: {refusal}"
        return [
            Verdict(recipient=each, kind="deferred", status="4.3.0", text=text, lines=(text,), dcid=self.dcid)
            for each in job.recipients
        ]

    def after_break(self, job: Job, broken: Broken) -> list[Verdict]:
        """What a broken connection means for the recipients: those that were answered keep their outcome."""
        transaction = self._transaction
        known = {outcome.index: outcome for outcome in transaction.outcomes} if transaction else {}
        open_rids = tuple(r.rid for i, r in enumerate(job.recipients) if i not in known)
        if transaction is not None and transaction.content_sent and open_rids:
            # RFC 5321 §4.5.3.2.6, RFC 1047: the answer is lost, so the message must be sent again.
            self._bus.publish(
                PossibleDelivery(
                    at=self._clock.now(), dcid=self.dcid, mid=job.queued.envelope.mid, rids=open_rids
                )
            )
        text = f"{self.way.host.name} [{self.way.address}]: {broken.reason}: {broken.details}"
        return [
            self._verdict(job, known[index])
            if index in known
            else Verdict(
                recipient=recipient,
                kind="deferred",
                status="4.4.2",
                text=text,
                lines=(text,),
                host=self.way.host.name,
                dcid=self.dcid,
            )
            for index, recipient in enumerate(job.recipients)
        ]
