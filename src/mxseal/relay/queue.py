"""The queue in motion: what is due, gathered by target, handed to workers, and settled.

The spool holds everything; in memory are the messages at work, at most `_AT_WORK`. A message is at work until
the outcome of its recipients is durable: a disk that refuses the outcome keeps it here, so that what was
delivered is not delivered again while the gateway runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import cast

import msgspec

from mxseal.clock import Clock, Timer
from mxseal.config.model import Document, domain_name
from mxseal.events.bus import Bus
from mxseal.events.types import MessageFinished, RecipientBounced, RecipientDelayed, RecipientsDeleted
from mxseal.mail.status import words
from mxseal.relay.bounces import Notice, Verdict, bounce, store, warning
from mxseal.relay.routing import Routing, Target, retry_delay
from mxseal.smtp.grammar import split_address
from mxseal.storage.ports import Outcome, Queued, Recipient, Spool, StorageRefused

_AT_WORK = 5000
_REFILL_BELOW = 2500
_FIRST_WORKERS = 5
"""Connections that a target gets before it has shown that it delivers."""
_JOBS_PER_WORKER = 4
"""A further connection is worth its handshake when this many jobs wait for each."""
_KEPT_BODIES = 64 << 20
_RETRY_SETTLE = 5.0


class Job(msgspec.Struct):
    """One message for one target: those of its recipients that go there."""

    queued: Queued
    recipients: tuple[Recipient, ...]
    body: bytes | None


class Lane:
    """What waits for one target, and the workers that deliver it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.jobs: deque[Job] = deque()
        self.workers = 0
        self.allowed = _FIRST_WORKERS
        self.idle: deque[asyncio.Future[None]] = deque()
        self.connected = 0
        self.up: bool | None = None
        """Whether the last attempt to connect succeeded; None before the first."""
        self.last_error = ""
        self.delivered = 0
        self.soft_failures = 0
        self.hard_failures = 0
        self.last_activity = 0.0

    def take(self) -> Job | None:
        return self.jobs.popleft() if self.jobs else None

    def delivered_one(self) -> None:
        """A message got through: where many wait, one more connection is tried (slow start)."""
        if self.allowed < self.target.concurrency and len(self.jobs) > self.allowed * _JOBS_PER_WORKER:
            self.allowed += 1


class Queue:
    """Messages at work and the way back to the spool."""

    def __init__(
        self,
        spool: Spool,
        bus: Bus,
        clock: Clock,
        allocate: Callable[[str], int],
        work: Callable[[Queue, Lane], Coroutine[None, None, None]],
    ) -> None:
        self.spool = spool
        self.bus = bus
        self.clock = clock
        self.allocate = allocate
        self.suspended = False
        self._work = work
        self._document = Document()
        self._routing = Routing(self._document)
        self._at_work: dict[int, int] = {}
        self._body_bytes = 0
        self.lanes: dict[Target, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = 0
        self._timer: Timer | None = None
        self._due_at = 0.0
        self._refilling = False
        self._more_due = False
        self._stopping = False

    # --- life ---------------------------------------------------------------------------------------------

    def configure(self, document: Document) -> None:
        """Routes and controls for what comes next; deliveries at work keep theirs."""
        self._document = document
        self._routing = Routing(document)

    @property
    def document(self) -> Document:
        return self._document

    def start(self) -> None:
        self._spawn(self._refill())

    async def stop(self, within: float) -> None:
        """Let deliveries at work end, at most `within` seconds; the spool keeps the rest."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        for lane in self.lanes.values():
            lane.jobs.clear()
            while lane.idle:
                _wake(lane.idle.popleft())
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.spool.flush()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "a delivery task failed", "exception": error})

    # --- in ----------------------------------------------------------------------------------------------

    def add(self, queued: Queued, body: bytes | None = None) -> None:
        """A message that was just stored. Where too many are at work it waits on the spool."""
        if self._stopping:
            return
        if self.suspended or len(self._at_work) >= _AT_WORK:
            self._more_due = True
            return
        if body is not None and self._body_bytes + len(body) > _KEPT_BODIES:
            body = None
        self._put_to_work(queued, body)

    def _put_to_work(self, queued: Queued, body: bytes | None) -> None:
        groups: dict[Target, list[Recipient]] = {}
        for recipient in queued.recipients:
            target = self.target_of(recipient.address)
            groups.setdefault(target, []).append(recipient)
        self._at_work[queued.envelope.mid] = len(groups)
        for target, recipients in groups.items():
            if body is not None:
                self._body_bytes += len(body)
            self._enter(target, Job(queued, tuple(recipients), body))

    def target_for(self, domain: str) -> Target:
        """Where mail for a domain goes; lower case, A-labels."""
        return self._routing.target(domain)

    def target_of(self, address: str) -> Target:
        """Where mail for a recipient goes."""
        domain = split_address(address)[1].lower()
        if not domain.isascii():
            try:
                domain = domain_name(domain)
            except ValueError:
                pass  # it has no A-label form: the resolver will say that there is no such domain
        return self._routing.target(domain)

    def _enter(self, target: Target, job: Job) -> None:
        lane = self.lanes.get(target)
        if lane is None:
            lane = self.lanes[target] = Lane(target)
        lane.jobs.append(job)
        self.staff(lane)

    def staff(self, lane: Lane) -> None:
        """See to it that somebody delivers what waits in the lane."""
        if lane.idle:
            _wake(lane.idle.popleft())
            return
        wanted = 1 + len(lane.jobs) // _JOBS_PER_WORKER
        most = min(lane.allowed, lane.target.concurrency, wanted)
        if lane.workers < most and self._workers < self._document.delivery.connections:
            lane.workers += 1
            self._workers += 1
            self._spawn(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        try:
            await self._work(self, lane)
        finally:
            lane.workers -= 1
            self._workers -= 1
            if lane.jobs and not self._stopping:
                self.staff(lane)
            elif not lane.workers and not lane.jobs:
                self._forget_lanes()
            self._staff_waiting()

    def _staff_waiting(self) -> None:
        """A place among the connections is free: lanes that got none before have their turn."""
        if self._workers + 1 == self._document.delivery.connections and not self._stopping:
            for lane in list(self.lanes.values()):
                if lane.jobs and not lane.workers:
                    self.staff(lane)

    def _forget_lanes(self) -> None:
        """Quiet lanes are kept for `hoststatus`, up to a bound: strangers choose the domains."""
        if len(self.lanes) <= _AT_WORK:
            return
        quiet = [lane for lane in self.lanes.values() if not lane.workers and not lane.jobs]
        for lane in sorted(quiet, key=lambda lane: lane.last_activity)[: len(quiet) // 2]:
            del self.lanes[lane.target]

    async def next_job(self, lane: Lane, idle: float) -> Job | None:
        """The next job for a connection that stands, waiting up to `idle` seconds; None: close it."""
        job = lane.take()
        if job is not None or self._stopping:
            return job
        waiter = asyncio.get_running_loop().create_future()
        lane.idle.append(waiter)
        timer = self.clock.call_later(idle, lambda: _wake(waiter))
        try:
            await waiter
        finally:
            timer.cancel()
            if waiter in lane.idle:
                lane.idle.remove(waiter)
        return lane.take()

    # --- out ----------------------------------------------------------------------------------------------

    def settle(self, lane: Lane, job: Job, verdicts: Sequence[Verdict]) -> None:
        """Keep what became of each recipient of a job; returns at once, the writing goes on behind.

        A recipient without a verdict was not attempted and stays due."""
        now = self.clock.now()
        final = [self._final(job, verdict, now) for verdict in verdicts]
        lane.delivered += sum(v.kind == "delivered" for v in final)
        lane.soft_failures += sum(v.kind == "deferred" for v in final)
        lane.hard_failures += sum(v.kind == "bounced" for v in final)
        lane.last_activity = now
        failures = [v for v in final if v.kind != "delivered"]
        if failures:
            lane.last_error = f"{failures[-1].code} {failures[-1].text}"
        outcomes = [self._outcome(job, verdict, now) for verdict in final]
        self._tell(job, final, outcomes)
        self._spawn(self._settle(job, final, outcomes))

    async def _settle(self, job: Job, final: Sequence[Verdict], outcomes: Sequence[Outcome]) -> None:
        finished = await self._keep(outcomes, await self._notices(job, final, outcomes))
        if finished is None:
            return
        self._leave(job)
        for mid in finished:
            self.bus.publish(MessageFinished(at=self.clock.now(), mid=mid))
        waits = [o.next_attempt for o in outcomes if not o.done]
        if waits:
            self._arm(min(waits))

    async def _notices(
        self, job: Job, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> list[Notice]:
        bounced = [v for v in verdicts if v.kind == "bounced"]
        late = [v for v, o in zip(verdicts, outcomes, strict=True) if o.warned and not v.recipient.warned]
        notices = [await bounce(self, job.queued, bounced)] if bounced else []
        if late:
            notices.append(await warning(self, job.queued, late))
        return [notice for notice in notices if notice is not None]

    async def _keep(self, outcomes: Sequence[Outcome], notices: list[Notice]) -> list[int] | None:
        """Make outcomes and notifications durable, in one transaction; gives the messages that are finished.

        What was delivered must not be forgotten: this tries until the disk takes it. None: the gateway stops
        first, and the message will be delivered again.
        """
        finished: list[int] = []
        while outcomes or notices:
            settled, *stored = await asyncio.gather(
                self.spool.settle(outcomes), *(store(self, each) for each in notices), return_exceptions=True
            )
            notices = [each for each, said in zip(notices, stored, strict=True) if _refused(said)]
            if not _refused(settled):
                finished += cast("list[int]", settled)
                outcomes = ()
            if outcomes or notices:
                if self._stopping:
                    return None
                await self._pause(_RETRY_SETTLE)
        return finished

    def _tell(self, job: Job, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]) -> None:
        envelope, now = job.queued.envelope, self.clock.now()
        for verdict, outcome in zip(verdicts, outcomes, strict=True):
            recipient = verdict.recipient
            if verdict.kind == "deferred":
                self.bus.publish(
                    RecipientDelayed(
                        at=now,
                        dcid=verdict.dcid,
                        mid=envelope.mid,
                        rid=recipient.rid,
                        sender=envelope.sender,
                        recipient=recipient.address,
                        status=verdict.status,
                        reason=words(verdict.status),
                        code=verdict.code,
                        lines=verdict.lines,
                        next_attempt=outcome.next_attempt,
                    )
                )
            elif verdict.kind == "bounced" and envelope.sender:
                self.bus.publish(
                    RecipientBounced(
                        at=now,
                        dcid=verdict.dcid,
                        mid=envelope.mid,
                        rid=recipient.rid,
                        sender=envelope.sender,
                        recipient=recipient.address,
                        status=verdict.status,
                        reason=words(verdict.status),
                        code=verdict.code,
                        lines=verdict.lines,
                    )
                )

    async def _pause(self, seconds: float) -> None:
        done = asyncio.get_running_loop().create_future()
        self.clock.call_later(seconds, lambda: _wake(done))
        await done

    def _final(self, job: Job, verdict: Verdict, now: float) -> Verdict:
        """A deferral beyond the limits of time or attempts is a bounce (reference §3.6)."""
        delivery = self._document.delivery
        if verdict.kind != "deferred":
            return verdict
        too_old = now >= job.queued.envelope.queued_at + delivery.expiry
        if too_old or verdict.recipient.attempts + 1 >= delivery.max_retries:
            return verdict.expired()
        return verdict

    def _outcome(self, job: Job, verdict: Verdict, now: float) -> Outcome:
        recipient, envelope, delivery = verdict.recipient, job.queued.envelope, self._document.delivery
        if verdict.kind != "deferred":
            return Outcome(mid=envelope.mid, rid=recipient.rid, done=True)
        attempts = recipient.attempts + 1
        chance = secrets.randbelow(1 << 20) / (1 << 20)
        wait = retry_delay(attempts, delivery.first_retry, delivery.longest_retry, chance)
        patience = delivery.delay_warning
        late = patience is not None and now >= envelope.queued_at + patience and envelope.sender != ""
        return Outcome(
            mid=envelope.mid,
            rid=recipient.rid,
            done=False,
            attempts=attempts,
            next_attempt=min(now + wait, max(now, envelope.queued_at + delivery.expiry)),
            last_error=f"{verdict.code} {verdict.text}"[:1000],
            warned=recipient.warned or late,
        )

    def _leave(self, job: Job) -> None:
        mid = job.queued.envelope.mid
        left = self._at_work.get(mid, 0) - 1
        if left > 0:
            self._at_work[mid] = left
        else:
            self._at_work.pop(mid, None)
        if job.body is not None:
            self._body_bytes -= len(job.body)
        if self._more_due and len(self._at_work) < _REFILL_BELOW:
            self._more_due = False
            self._spawn(self._refill())

    def put_back(self, job: Job) -> None:
        """A job that was taken and not attempted: it is due again soon, from the spool."""
        self._leave(job)
        if not (self._stopping or self.suspended):
            # Not at once: what made the attempt impossible would only happen again.
            self._arm(self.clock.now() + _RETRY_SETTLE)

    # --- time -----------------------------------------------------------------------------------------------

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            if self._due_at <= due:
                return
            self._timer.cancel()
        self._due_at = due
        self._timer = self.clock.call_later(due - self.clock.now(), self._alarm)

    def _alarm(self) -> None:
        self._timer = None
        self._spawn(self._refill())

    async def _refill(self) -> None:
        """Put due messages to work, up to the bound, and set the alarm for the next one."""
        if self._refilling or self._stopping or self.suspended:
            self._more_due = True
            return
        self._refilling = True
        try:
            room = _AT_WORK - len(self._at_work)
            now = self.clock.now()
            limit = len(self._at_work) * 2 + room
            found = await self.spool.due(now, limit)
            for queued in found:
                if queued.envelope.mid not in self._at_work and room > 0:
                    room -= 1
                    self._put_to_work(queued, None)
            if len(found) >= limit or room <= 0:
                self._more_due = True
            following = await self.spool.next_due(now)
        finally:
            self._refilling = False
        if following is not None:
            self._arm(following)

    # --- orders of an administrator -------------------------------------------------------------------------

    def resume(self) -> None:
        self.suspended = False
        self._spawn(self._refill())

    def suspend(self) -> None:
        """No new attempt begins; connections at work end with their message."""
        self.suspended = True
        for lane in self.lanes.values():
            while lane.jobs:
                self.put_back(lane.jobs.popleft())
            while lane.idle:
                _wake(lane.idle.popleft())

    async def deliver_now(self, mids: Iterable[int] | None, which: str | None = None) -> int:
        """Make recipients due at once: those of `mids`, or an address, or a domain's, or all. Gives their
        number."""
        now = self.clock.now()
        count = 0
        async for queued in self._select(mids):
            outcomes = [
                Outcome(
                    mid=queued.envelope.mid,
                    rid=r.rid,
                    done=False,
                    attempts=r.attempts,
                    next_attempt=now,
                    last_error=r.last_error,
                    warned=r.warned,
                )
                for r in queued.recipients
                if r.next_attempt > now and (which is None or _concerns(which, r.address))
            ]
            if outcomes and queued.envelope.mid not in self._at_work:
                await self.spool.settle(outcomes)
                count += len(outcomes)
        await self._refill()
        return count

    async def delete(self, mids: Iterable[int] | None, address: str | None = None) -> int:
        """Take recipients off the queue without a bounce; those being delivered now are left alone."""
        count = 0
        async for queued in self._select(mids):
            mid = queued.envelope.mid
            rids = [r.rid for r in queued.recipients if address is None or _concerns(address, r.address)]
            if not rids or mid in self._at_work:
                continue
            finished = await self.spool.settle([Outcome(mid=mid, rid=rid, done=True) for rid in rids])
            now = self.clock.now()
            self.bus.publish(RecipientsDeleted(at=now, mid=mid, rids=tuple(rids)))
            for done in finished:
                self.bus.publish(MessageFinished(at=now, mid=done))
            count += len(rids)
        return count

    async def _select(self, mids: Iterable[int] | None) -> AsyncIterator[Queued]:
        if mids is not None:
            for mid in mids:
                if (queued := await self.spool.load(mid)) is not None:
                    yield queued
            return
        after = -1
        while page := await self.spool.browse(after, 500):
            for queued in page:
                yield queued
            after = page[-1].envelope.mid

    def at_work(self) -> int:
        return len(self._at_work)

    def connections(self) -> int:
        return sum(lane.connected for lane in self.lanes.values())


def _concerns(wanted: str, address: str) -> bool:
    """'user@example.com' is that recipient, 'example.com' or '@example.com' everyone there."""
    wanted, address = wanted.lower(), address.lower()
    return address == wanted if "@" in wanted.lstrip("@") else address.endswith("@" + wanted.lstrip("@"))


def _refused(said: object) -> bool:
    """Whether the disk refused; any other fault is ours and is raised."""
    if isinstance(said, BaseException) and not isinstance(said, StorageRefused):
        raise said
    return isinstance(said, StorageRefused)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
