"""An administrator's orders to the queue: deliver now, delete, set a TLS level. What is being delivered at
this moment is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Literal

import msgspec

from mxseal.config.model import DeliveryLevel
from mxseal.events.types import MessageFinished, RecipientsDeleted
from mxseal.relay.outcomes import postponed
from mxseal.relay.queue import Queue
from mxseal.relay.routing import Target
from mxseal.storage.ports import Outcome, Queued

_PAGE = 500
Order = Literal["deliver", "delete", "level"]


class Selection(msgspec.Struct, frozen=True):
    """Which recipients are meant: those of some messages, those that match, or all."""

    mids: tuple[int, ...] | None = None
    which: str | None = None
    """A recipient's address, or a domain."""
    level: DeliveryLevel | None = None
    """With the order 'level': the one that the messages get; None: they lose theirs."""

    def concerns(self, address: str) -> bool:
        """'user@example.com' is that recipient, 'example.com' or '@example.com' everyone there."""
        if self.which is None:
            return True
        wanted, address = self.which.lower(), address.lower()
        if "@" in wanted.lstrip("@"):
            return address == wanted
        return address.endswith("@" + wanted.lstrip("@"))


class LaneState(msgspec.Struct, frozen=True):
    """How deliveries to one target go at one worker, since its start."""

    target: Target
    connected: int = 0
    """Connections now."""
    up: bool | None = None
    """Whether the last attempt to connect succeeded; None before the first."""
    last_error: str = ""
    last_activity: float = 0.0
    delivered: int = 0
    soft_failures: int = 0
    hard_failures: int = 0
    """Recipients."""


async def deliver_now(queue: Queue, selection: Selection) -> int:
    """Make recipients due at once; gives their number. StorageRefused when the disk does not take it."""
    now = queue.clock.now()
    count = 0
    async for queued in _messages(queue, selection.mids):
        outcomes = [
            postponed(queued.envelope.mid, r, now)
            for r in queued.recipients
            if r.next_attempt > now and selection.concerns(r.address)
        ]
        if outcomes and not queue.is_at_work(queued.envelope.mid):
            await queue.spool.settle(outcomes)
            count += len(outcomes)
    await queue.look()
    return count


async def delete(queue: Queue, selection: Selection) -> int:
    """Take recipients off the queue without a bounce; gives their number. StorageRefused as above."""
    count = 0
    async for queued in _messages(queue, selection.mids):
        mid = queued.envelope.mid
        rids = [r.rid for r in queued.recipients if selection.concerns(r.address)]
        if not rids or queue.is_at_work(mid):
            continue
        finished = await queue.spool.settle([Outcome(mid=mid, rid=rid, done=True) for rid in rids])
        now = queue.clock.now()
        queue.bus.publish(RecipientsDeleted(at=now, mid=mid, rids=tuple(rids)))
        for done in finished:
            queue.bus.publish(MessageFinished(at=now, mid=done))
        count += len(rids)
    return count


async def set_level(queue: Queue, selection: Selection) -> int:
    """Give messages a level of their own; gives the number of their recipients. StorageRefused as above.
    What is being delivered goes on as it is: the level counts from the next attempt on."""
    count = 0
    async for queued in _messages(queue, selection.mids):
        if await queue.spool.set_level(queued.envelope.mid, selection.level):
            count += len(queued.recipients)
    return count


async def carry_out(queue: Queue, order: Order, selection: Selection) -> int:
    """One order; gives the number of recipients that it concerned."""
    carry = {"deliver": deliver_now, "delete": delete, "level": set_level}[order]
    return await carry(queue, selection)


async def _messages(queue: Queue, mids: Iterable[int] | None) -> AsyncIterator[Queued]:
    if mids is not None:
        for mid in mids:
            if (queued := await queue.spool.load(mid)) is not None:
                yield queued
        return
    after = -1
    while page := await queue.spool.browse(after, _PAGE):
        for queued in page:
            yield queued
        after = page[-1].envelope.mid
