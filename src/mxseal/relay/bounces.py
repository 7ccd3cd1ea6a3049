"""What became of a recipient, and the notifications that follow: bounces and delay warnings."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from mxseal.events.types import DoubleBounced, DsnGenerated, MessageQueued
from mxseal.mail.dsn import WHOLE_MESSAGE_BYTES, FailedRecipient, Report, render
from mxseal.mail.status import words
from mxseal.storage.ports import Envelope, Queued, Recipient, StorageRefused

if TYPE_CHECKING:
    from mxseal.relay.queue import Queue


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What an attempt gave for one recipient."""

    recipient: Recipient
    kind: Literal["delivered", "deferred", "bounced"]
    code: str = "000"
    """SMTP reply code; 000 when there was no reply."""
    status: str = ""
    """Enhanced status code."""
    text: str = ""
    """The reply's text, or our own words, in one line."""
    lines: tuple[str, ...] = ()
    host: str | None = None
    dcid: int = 0

    def expired(self) -> Verdict:
        """The same, for a recipient whose time or attempts are used up (reference §3.6)."""
        return Verdict(
            recipient=self.recipient,
            kind="bounced",
            code=self.code,
            status="5.4.7",
            text=f"Delivery expired (message too old): {self.code} {self.text}",
            lines=self.lines,
            host=self.host,
            dcid=self.dcid,
        )


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A notification, written and not yet stored."""

    envelope: Envelope
    recipient: Recipient
    content: bytes
    event: DsnGenerated


async def bounce(queue: Queue, queued: Queued, failed: Sequence[Verdict]) -> Notice | None:
    """One notification about all recipients of a message that failed together; None when none may be sent."""
    envelope = queued.envelope
    if envelope.sender != "":
        return await _compose(queue, envelope, failed, "bounce")
    # RFC 5321 §4.5.5: no notification about a message with the null path: it would loop.
    for verdict in failed:
        queue.bus.publish(
            DoubleBounced(
                at=queue.clock.now(),
                mid=envelope.mid,
                rid=verdict.recipient.rid,
                status=verdict.status,
                reason=words(verdict.status),
                code=verdict.code,
                lines=verdict.lines,
            )
        )
    return None


async def warning(queue: Queue, queued: Queued, late: Sequence[Verdict]) -> Notice:
    """A notification that a message is still being tried; its sender is not the null path."""
    return await _compose(queue, queued.envelope, late, "delay")


async def _compose(
    queue: Queue, about: Envelope, verdicts: Sequence[Verdict], kind: Literal["bounce", "delay"]
) -> Notice:
    now = queue.clock.now()
    mid = queue.allocate("mid")
    document = queue.document
    report = Report(
        kind=kind,
        hostname=document.delivery.hostname or document.hostname,
        mid=mid,
        to=about.sender,
        recipients=tuple(
            FailedRecipient(
                address=v.recipient.address, status=v.status, code=v.code, text=v.text, remote_host=v.host
            )
            for v in verdicts
        ),
        arrived=about.queued_at,
        now=now,
        retry_until=about.queued_at + document.delivery.expiry if kind == "delay" else None,
        boundary=secrets.token_hex(16),
    )
    original, whole = await _original(queue, about)
    content = render(report, original, whole=whole)
    return Notice(
        envelope=Envelope(
            mid=mid,
            sender="",
            size=len(content),
            queued_at=now,
            smtputf8=about.smtputf8,
            eightbit=True,
            dsn_for=about.mid,
            asks=queue.workqueue.own,
        ),
        recipient=Recipient(rid=0, address=about.sender, next_attempt=now),
        content=content,
        event=DsnGenerated(at=now, mid=mid, about=about.mid, kind=kind, recipient=about.sender),
    )


async def store(queue: Queue, notice: Notice) -> None:
    """Put a notification on the queue. StorageRefused when the disk does not take it."""
    incoming = queue.spool.begin()
    incoming.write(notice.content)
    await incoming.commit(notice.envelope, (notice.recipient,))
    queue.bus.publish(notice.event)
    queue.bus.publish(MessageQueued(at=queue.clock.now(), mid=notice.envelope.mid, icid=None))
    queue.add(Queued(envelope=notice.envelope, recipients=(notice.recipient,)), notice.content)


async def _original(queue: Queue, about: Envelope) -> tuple[bytes, bool]:
    """(the message, True) when it is small, else (its start with the headers, False)."""
    pieces: list[bytes] = []
    size = 0
    try:
        async for piece in queue.spool.content(about.mid):
            pieces.append(piece)
            size += len(piece)
            if size > 2 * WHOLE_MESSAGE_BYTES and b"\r\n\r\n" in b"".join(pieces):
                break
            if size > 1 << 20:  # headers are bounded far below this on the way in
                break
    except StorageRefused:
        return b"", False  # unreadable: that it was not delivered must be told all the same
    start = b"".join(pieces)
    return start, size == about.size and size <= WHOLE_MESSAGE_BYTES
