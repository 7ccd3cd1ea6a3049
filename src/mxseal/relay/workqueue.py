"""The work queue: messages that were taken, about which directories are asked before anything is delivered.

Such a message is on the spool with a mark that says so (`Envelope.asks`), until what the directories said is
written down in one transaction. Where they do not answer it waits, as long as other mail may, and they are
asked again; kill -9 leaves the mark, so that nothing is delivered unasked.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from mxseal.config.model import Document
from mxseal.events.directory import LdapMessageRequeued
from mxseal.events.types import MessageFinished
from mxseal.ldap.values import Fault
from mxseal.relay.acceptance import Questions
from mxseal.relay.bounces import Notice, Verdict, bounce, warning
from mxseal.relay.outcomes import asked_again, postponed, told
from mxseal.relay.sorting import Letter, Sorted, Sorting, Turned, belongings, sortings
from mxseal.storage.ports import Amendment, Head, Outcome, Queued, Recipient, StorageRefused

if TYPE_CHECKING:
    from mxseal.relay.queue import Queue

_MOST = 1000
"""Messages about which is asked at a time; further ones wait on the spool, so that other mail has room."""
_LATER_SECONDS = 20.0
_HEADER_BYTES = 4 << 20
_REJECTED = "#5.1.0 Address rejected."
OWN = "own"
"""The mark of messages that the gateway wrote itself."""


def mark(listener: str, *, relayed: bool) -> str:
    """How a message remembers what is to be asked: its listener's questions, in the document of then."""
    return f"{'relayed' if relayed else 'received'} {listener}"


class WorkQueue:
    """That of one process."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._sortings: dict[str, Sorting | None] = {}
        self.own: str | None = None
        """The mark for messages of the gateway's own; None: nothing is asked about them."""
        self._under_way = 0

    def configure(self, document: Document, questions: Questions) -> None:
        """What is asked from now on."""
        self._sortings = {
            listener.name: sortings(listener, document, questions)[1] for listener in document.listeners
        }
        found = belongings(document, questions, ("recipient",))
        self._sortings[""] = Sorting(None, None, None, found)
        self.own = OWN if found else None

    async def sort(self, queued: Queued, *, fresh: bool) -> tuple[Queued, Head | None] | None:
        """Ask about a message that is at work; gives what is to be delivered of it, once that is written
        down, with the header that it got; None: nothing now. `fresh`: it has just come, with all its
        recipients. StorageRefused: it is on the spool as it was."""
        if self._under_way >= _MOST:
            await self._wait(queued, None)
            return None
        self._under_way += 1
        try:
            whole = queued if fresh else await self._queue.spool.load(queued.envelope.mid)
            if whole is None or whole.envelope.asks is None:
                return None
            found = await self._found(whole)
            if isinstance(found, Fault):
                await self._put_off(whole, found)
                return None
            return await self._apply(whole, found)
        finally:
            self._under_way -= 1

    async def _found(self, queued: Queued) -> Sorted | Fault:
        direction, _, listener = (queued.envelope.asks or "").partition(" ")
        sorting, relayed = self._sortings.get(listener), direction == "relayed"
        envelope = queued.envelope
        if sorting is None:  # the listener, or its questions, are gone: nobody wants an answer
            return Sorted(envelope.sender, queued.recipients)
        header = await self._header(envelope.mid) if sorting.headers(relayed=relayed) else None
        letter = Letter(
            mid=envelope.mid,
            now=self._queue.clock.now(),
            sender=envelope.sender,
            recipients=queued.recipients,
            relayed=relayed,
            header=header,
            smtputf8=envelope.smtputf8,
        )
        return await sorting.sort(letter)

    async def _header(self, mid: int) -> bytes | None:
        """With its last line end and without the blank line; None where it has no end."""
        start = b""
        async for piece in self._queue.spool.content(mid):
            start += piece
            if (end := start.find(b"\r\n\r\n")) >= 0:
                return start[: end + 2]
            if len(start) > _HEADER_BYTES:
                break
        return None

    async def _apply(self, queued: Queued, found: Sorted) -> tuple[Queued, Head | None] | None:
        """Write down what was found; gives what is left to deliver, and its header.

        First who gets nothing: were the gateway killed in between, the others would be asked about anew, and
        nobody gets what the directory did not want."""
        left: Queued | None = queued
        if found.turned:
            left = await turn_away(self._queue, queued, found.turned)
        if left is None:
            self._tell(found)
            self._queue.bus.publish(MessageFinished(at=self._queue.clock.now(), mid=queued.envelope.mid))
            return None
        gone = {each.recipient.rid for each in found.turned}
        recipients = tuple(each for each in found.recipients if each.rid not in gone)
        before = {each.rid: each for each in queued.recipients}
        envelope = queued.envelope
        await self._queue.spool.amend(
            Amendment(
                mid=envelope.mid,
                sender=found.sender if found.sender != envelope.sender else None,
                head=found.head,
                recipients=tuple(each for each in recipients if each is not before[each.rid]),
            )
        )
        self._tell(found)
        size = envelope.size + (len(found.head.data) - found.head.skip if found.head is not None else 0)
        envelope = msgspec.structs.replace(envelope, asks=None, sender=found.sender, size=size)
        return Queued(envelope=envelope, recipients=recipients), found.head

    def _tell(self, found: Sorted) -> None:
        for act in found.acts:
            self._queue.bus.publish(act)

    async def _put_off(self, queued: Queued, fault: Fault) -> None:
        """No answer: it waits. Too old for that, it goes back to its sender."""
        queue = self._queue
        if queue.age(queued) >= queue.document.delivery.expiry:
            await self._give_back(queued, [_unasked(each, fault).expired() for each in queued.recipients])
            return
        due = await self._wait(queued, fault)
        at, mid = queue.clock.now(), queued.envelope.mid
        queue.bus.publish(LdapMessageRequeued(at=at, mid=mid, reason=fault.text, next_attempt=due))

    async def _wait(self, queued: Queued, fault: Fault | None) -> float:
        """Put a message off; gives until when. `fault` None: nobody was asked, as too many wait."""
        queue, envelope, delivery = self._queue, queued.envelope, self._queue.document.delivery
        age, chance = queue.age(queued), secrets.randbelow(1 << 20) / (1 << 20)
        wait = asked_again(age, chance) if fault is not None else _LATER_SECONDS * (1 + chance)
        due = queue.clock.now() + max(1.0, min(wait, delivery.expiry - age))
        outcomes = [postponed(envelope.mid, each, due) for each in queued.recipients]
        notices: list[Notice] = []
        if fault is not None:
            error = f"000 {_why(fault)}"[:1000]
            patience = delivery.delay_warning
            late = patience is not None and age >= patience and envelope.sender != ""
            unwarned = [_unasked(each, fault) for each in queued.recipients if late and not each.warned]
            if unwarned:
                notices.append(await warning(queue, queued, unwarned))
            replace = msgspec.structs.replace
            outcomes = [replace(each, last_error=error, warned=each.warned or late) for each in outcomes]
        await queue.keep(outcomes, notices)
        queue.arm(due)
        return due

    async def _give_back(self, queued: Queued, verdicts: Sequence[Verdict]) -> None:
        queue, mid = self._queue, queued.envelope.mid
        notice = await bounce(queue, queued, verdicts)
        outcomes = [Outcome(mid=mid, rid=each.rid, done=True) for each in queued.recipients]
        for event in told(queued, verdicts, outcomes, queue.clock.now()):
            queue.bus.publish(event)
        for done in await queue.keep(outcomes, [notice] if notice is not None else []) or ():
            queue.bus.publish(MessageFinished(at=queue.clock.now(), mid=done))


def _why(fault: Fault) -> str:
    return f"the directory does not answer: {fault.text}"


def _unasked(recipient: Recipient, fault: Fault) -> Verdict:
    text = _why(fault)
    return Verdict(recipient=recipient, kind="deferred", status="4.4.3", text=text, lines=(text,))


async def turn_away(queue: Queue, queued: Queued, turned: Sequence[Turned]) -> Queued | None:
    """Take those recipients out of a message that is on the spool, with one bounce for all that want one;
    gives what is left of it, None when nothing is. StorageRefused: it is as it was."""
    verdicts = [_bounced(each.recipient) for each in turned if not each.drop]
    notice = await bounce(queue, queued, verdicts) if verdicts else None
    mid = queued.envelope.mid
    outcomes = [Outcome(mid=mid, rid=each.recipient.rid, done=True) for each in turned]
    if await queue.keep(outcomes, [notice] if notice is not None else []) is None:
        raise StorageRefused("sick", "the gateway stops")
    for event in told(queued, verdicts, outcomes[: len(verdicts)], queue.clock.now()):
        queue.bus.publish(event)
    gone = {each.recipient.rid for each in turned}
    left = tuple(each for each in queued.recipients if each.rid not in gone)
    return msgspec.structs.replace(queued, recipients=left) if left else None


def _bounced(recipient: Recipient) -> Verdict:
    lines = (_REJECTED,)
    return Verdict(
        recipient=recipient, kind="bounced", code="550", status="5.1.0", text=_REJECTED, lines=lines
    )
