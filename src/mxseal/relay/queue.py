"""The queue in motion: what is due, gathered by target, handed to workers, and settled.

The spool holds everything; in memory are the messages at work, within bounds (`atwork`). A message is at work
until the outcome of its recipients is durable: a disk that refuses the outcome keeps it here, so that what
was delivered is not delivered again while the gateway runs.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import cast

from mxseal.clock import Clock, Timer
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import MessageFinished
from mxseal.relay.acceptance import Questions
from mxseal.relay.atwork import BODY_BYTES, MESSAGES, RECIPIENTS, AtWork
from mxseal.relay.bounces import Notice, Verdict, bounce, store, warning
from mxseal.relay.jumps import Ages, farthest
from mxseal.relay.lanes import JOBS_PER_WORKER, Job, Lane, Screener
from mxseal.relay.outcomes import postponed, told
from mxseal.relay.places import Places
from mxseal.relay.routing import Routing, Target, own_level, retry_delay
from mxseal.relay.workqueue import WorkQueue
from mxseal.storage.board import Row
from mxseal.storage.ports import INLINE_BYTES, Outcome, Queued, Recipient, Spool, StorageRefused

_RETRY_SETTLE, _PLACE_SECONDS = 5.0, 1.0
_STUCK_JOBS, _STUCK_SECONDS, _POSTPONED_SECONDS = 100, 30.0, 60.0


class Queue:
    """Messages at work and the way back to the spool."""

    def __init__(
        self,
        spool: Spool,
        bus: Bus,
        clock: Clock,
        allocate: Callable[[str], int],
        *,
        work: Callable[[Queue, Lane], Coroutine[None, None, None]],
        row: Row,
    ) -> None:
        self.spool = spool
        self.bus = bus
        self.clock = clock
        self._ages = Ages(clock)
        self.allocate = allocate
        self.suspended = False
        self.screener: Screener | None = None
        """Who looks at the files of messages before they are delivered."""
        self._work = work
        self._document = Document()
        self._routing = Routing(self._document)
        self._at_work = AtWork()
        self.workqueue = WorkQueue(self)
        self._unstaffed: dict[Target, Lane] = {}
        """Lanes without a worker, because all connections were taken."""
        self._places = Places(row)
        self._row = row
        self._look_again: Timer | None = None
        self._shed_at = float("-inf")
        self.lanes: dict[Target, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers = 0
        self._timer: Timer | None = None
        self._due_at = 0.0
        self._refilling = False
        self._more_due = False
        self._stopping = False

    # --- life ---------------------------------------------------------------------------------------------

    def configure(self, document: Document, questions: Questions = lambda _name: None) -> None:
        """Routes, controls and questions to directories for what comes next; deliveries at work keep
        theirs."""
        self._document = document
        self.workqueue.configure(document, questions)
        self._routing = Routing(document)
        self._staff_waiting()

    @property
    def document(self) -> Document:
        return self._document

    def start(self) -> None:
        self._spawn(self._refill())

    async def stop(self, within: float) -> None:
        """Let deliveries at work end, at most `within` seconds; the spool keeps the rest."""
        self._stopping = True
        if self.screener is not None:
            await self.screener.stop()
        for timer in (self._timer, self._look_again):
            if timer is not None:
                timer.cancel()
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
        if self._stopping or self.is_at_work(queued.envelope.mid):
            return  # a look at the spool may come between the commit of a message and this, and find it
        asks = queued.envelope.asks is not None
        if (self.suspended and not asks) or self._at_work.full:
            self._more_due = True
            self._shed()
            return
        if body is not None and self._at_work.body_bytes + len(body) > BODY_BYTES:
            body = None
        if asks:
            self._ask(queued, body, fresh=True)
        else:
            self._put_to_work(queued, body)

    def _ask(self, queued: Queued, body: bytes | None, *, fresh: bool) -> None:
        """Directories come first: what they say is written down before anything is delivered."""
        self._at_work.enter(queued, 1)
        self._at_work.body_bytes += len(body or b"")
        self._spawn(self._asked(Job(queued, queued.recipients, body, self.clock.monotonic()), fresh=fresh))

    async def _asked(self, job: Job, *, fresh: bool) -> None:
        found = None
        try:
            found = await self.workqueue.sort(job.queued, fresh=fresh)
        except StorageRefused:
            self._at_work.came_back(job.queued.envelope.mid)
        except BaseException:
            self._at_work.came_back(job.queued.envelope.mid)
            raise
        finally:
            self._leave(job)
        if found is not None:
            left, head = found
            body = job.body
            if head is not None and body is not None:
                body = head.data + body[head.skip :]
            self.add(left, body)

    def _put_to_work(self, queued: Queued, body: bytes | None) -> None:
        if queued.envelope.screening is not None and self.screener is not None:
            self.screener.take(queued, body)
            return
        groups: dict[Target, list[Recipient]] = {}
        for recipient in queued.recipients:
            target = self.target_of(queued, recipient)
            groups.setdefault(target, []).append(recipient)
        self._at_work.enter(queued, len(groups))
        entered = self.clock.monotonic()
        for target, recipients in groups.items():
            if body is not None:
                self._at_work.body_bytes += len(body)
            self._enter(target, Job(queued, tuple(recipients), body, entered))

    def target_for(self, domain: str) -> Target:
        """Where mail for a domain goes; lower case, A-labels."""
        return self._routing.target(domain)

    def target_of(self, queued: Queued, recipient: Recipient) -> Target:
        """Where a recipient's copy of a message goes, at which level."""
        message = queued.envelope
        level = own_level(message)
        return self._routing.target_of(
            recipient.address, message.sender, level, recipient.route, recipient.groups
        )

    def _enter(self, target: Target, job: Job) -> None:
        lane = self.lanes.get(target)
        if lane is None:
            lane = self.lanes[target] = Lane(target)
        if self._stuck(lane):
            self._spawn(self._postpone([job]))
            return
        lane.jobs.append(job)
        self.staff(lane)

    def _stuck(self, lane: Lane) -> bool:
        """Whether much waits in a lane, and its first for long: the peers are slow, perhaps on purpose."""
        if len(lane.jobs) < _STUCK_JOBS:
            return False
        return self.clock.monotonic() - lane.jobs[0].entered > _STUCK_SECONDS

    def _shed(self) -> None:
        """No room is left: what waits for slow peers gives up its place, so that the others' mail goes on."""
        now = self.clock.monotonic()
        if now - self._shed_at < 1.0:
            return
        self._shed_at = now
        jobs: list[Job] = []
        for lane in self.lanes.values():
            if self._stuck(lane):
                jobs += [lane.jobs.pop() for _ in range(len(lane.jobs) - _STUCK_JOBS + 1)]
        if jobs:
            self._spawn(self._postpone(jobs))

    async def _postpone(self, jobs: list[Job]) -> None:
        """Put jobs off that were not attempted; that is no attempt."""
        due = self.clock.now() + _POSTPONED_SECONDS
        outcomes = [postponed(job.queued.envelope.mid, each, due) for job in jobs for each in job.recipients]
        await self.keep(outcomes, [])
        for job in jobs:
            self._leave(job)
        self.arm(due)

    def staff(self, lane: Lane) -> None:
        """See to it that somebody delivers what waits in the lane."""
        if lane.idle:
            _wake(lane.idle.popleft())
            return
        wanted = 1 + len(lane.jobs) // JOBS_PER_WORKER
        most = min(lane.allowed, lane.target.concurrency, wanted)
        if lane.workers >= most:
            return
        if self._workers >= self._connections or not self._places.take(lane.target):
            if not lane.workers:
                self._wait_for_place(lane)
            return
        lane.workers += 1
        self._workers += 1
        self._spawn(self._run(lane))

    async def _run(self, lane: Lane) -> None:
        try:
            await self._work(self, lane)
        finally:
            lane.workers -= 1
            self._workers -= 1
            self._places.give_back(lane.target)
            if lane.jobs and not self._stopping:
                if self._places.wanted(lane.target):
                    self._wait_for_place(lane)
                else:
                    self.staff(lane)
            elif not lane.workers and not lane.jobs:
                self._forget_lanes()
            self._staff_waiting()

    @property
    def _connections(self) -> int:
        """This process's part of all connections out."""
        return -(-self._document.delivery.connections // self._row.board.movers)

    def _wait_for_place(self, lane: Lane) -> None:
        self._unstaffed[lane.target] = lane
        if self._look_again is None:  # other processes give back places without a word
            self._look_again = self.clock.call_later(_PLACE_SECONDS, self._staff_late)

    def _staff_late(self) -> None:
        self._look_again = None
        self._staff_waiting()

    def _staff_waiting(self) -> None:
        """Lanes that found no place among the connections have their turn."""
        if self._stopping or self._workers >= self._connections:
            return
        waiting, self._unstaffed = self._unstaffed, {}
        for lane in waiting.values():
            if lane.jobs and not lane.workers:
                self.staff(lane)

    def _forget_lanes(self) -> None:
        """Quiet lanes are kept for `hoststatus`, up to a bound: strangers choose the domains."""
        if len(self.lanes) <= MESSAGES:
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
        final = [self._final(job, verdict) for verdict in verdicts]
        lane.delivered += sum(v.kind == "delivered" for v in final)
        lane.soft_failures += sum(v.kind == "deferred" for v in final)
        lane.hard_failures += sum(v.kind == "bounced" for v in final)
        lane.last_activity = now
        failures = [v for v in final if v.kind != "delivered"]
        if failures:
            lane.last_error = f"{failures[-1].code} {failures[-1].text}"
        outcomes = [self._outcome(job, verdict, now) for verdict in final]
        for event in told(job.queued, final, outcomes, now):
            self.bus.publish(event)
        self._spawn(self._settle(job, final, outcomes))

    async def _settle(self, job: Job, final: Sequence[Verdict], outcomes: Sequence[Outcome]) -> None:
        if len(final) < len(job.recipients):
            self._at_work.came_back(job.queued.envelope.mid)
        # What was delivered is written down first: no trouble with a notification may make it be sent again.
        bounced = {v.recipient.rid for v in final if v.kind == "bounced"}
        finished: list[int] | None = []
        try:
            plain = [o for o in outcomes if o.rid not in bounced]
            finished = await self.keep(plain, []) if plain else []
            notices = await self._composed(job, final, outcomes) if finished is not None else None
            if finished is not None and notices is not None:
                last = [o for o in outcomes if o.rid in bounced]
                more = await self.keep(last, notices)
                finished = None if more is None else finished + more
        finally:
            if finished is not None or not self._stopping:
                self._leave(job)
        now = self.clock.now()
        for mid in finished or ():
            self.bus.publish(MessageFinished(at=now, mid=mid))
        waits = [o.next_attempt for o in outcomes if not o.done]
        if waits:
            self.arm(min(waits))

    async def _composed(
        self, job: Job, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> list[Notice] | None:
        """The notifications, as soon as the disk gives what they need; None: the gateway stops first."""
        while True:
            try:
                return await self._notices(job, verdicts, outcomes)
            except StorageRefused:
                if self._stopping:
                    return None
                await self.pause(_RETRY_SETTLE)

    async def _notices(
        self, job: Job, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome]
    ) -> list[Notice]:
        bounced = [v for v in verdicts if v.kind == "bounced"]
        late = [v for v, o in zip(verdicts, outcomes, strict=True) if o.warned and not v.recipient.warned]
        notices = [await bounce(self, job.queued, bounced)] if bounced else []
        if late:
            notices.append(await warning(self, job.queued, late))
        return [notice for notice in notices if notice is not None]

    async def keep(self, outcomes: Sequence[Outcome], notices: list[Notice]) -> list[int] | None:
        """Make outcomes and notifications durable; gives the messages that are finished.

        In one transaction where the notifications are small; else they come first, as one too many is better
        than none. What was delivered must not be forgotten: this tries until the disk takes it. None: the
        gateway stops first, and what could not be written is attempted again.
        """
        finished: list[int] = []
        if any(len(notice.content) > INLINE_BYTES for notice in notices):
            if await self.keep((), notices) is None:
                return None
            notices = []
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
                await self.pause(_RETRY_SETTLE)
        return finished

    def age(self, queued: Queued) -> float:
        """Seconds for which a message is in the queue, less those that the clock was put forward."""
        return self._ages.age(queued.envelope.queued_at)

    async def pause(self, seconds: float) -> None:
        """Wait, by the clock."""
        done = asyncio.get_running_loop().create_future()
        self.clock.call_later(seconds, lambda: _wake(done))
        await done

    def _final(self, job: Job, verdict: Verdict) -> Verdict:
        """A deferral beyond the limits of time or attempts is a bounce (reference §3.6)."""
        delivery = self._document.delivery
        if verdict.kind != "deferred":
            return verdict
        too_old = self.age(job.queued) >= delivery.expiry
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
        age = self.age(job.queued)
        late = patience is not None and age >= patience and envelope.sender != ""
        return Outcome(
            mid=envelope.mid,
            rid=recipient.rid,
            done=False,
            attempts=attempts,
            next_attempt=now + min(wait, max(0.0, delivery.expiry - age)),
            last_error=f"{verdict.code} {verdict.text}"[:1000],
            warned=recipient.warned or late,
        )

    def _leave(self, job: Job) -> None:
        if job.body is not None:
            self._at_work.body_bytes -= len(job.body)
        again = self._at_work.leave(job.queued.envelope.mid)
        if again:
            self.arm(self.clock.now() + _RETRY_SETTLE)
        if self._more_due and self._at_work.half_empty and not self._stopping:
            self._more_due = False
            self._spawn(self._refill())

    def put_back(self, job: Job) -> None:
        """A job that was taken and not attempted: it is due again soon, from the spool.

        Not at once: what made the attempt impossible would only happen again.
        """
        self._at_work.came_back(job.queued.envelope.mid)
        self._leave(job)

    # --- time -----------------------------------------------------------------------------------------------

    def arm(self, due: float) -> None:
        """Look at the spool at this moment of the wall clock, or before."""
        now = self.clock.now()
        if due > farthest(now, self._document.delivery.longest_retry)[0]:
            due = now + _RETRY_SETTLE  # the clock was put back since `due` was set: a look recalls it
        if self._timer is not None:
            if now < self._due_at <= due:  # one that is overdue: the clock was put forward
                return
            self._timer.cancel()
        self._due_at = due
        self._timer = self.clock.call_later(due - now, self._alarm)

    def _alarm(self) -> None:
        self._timer = None
        self._spawn(self._refill())

    async def _refill(self) -> None:
        """Put due messages to work, up to the bound, and set the alarm for the next one."""
        if self._refilling or self._stopping or self.suspended:
            self._more_due = True
            return
        if not self.bus.ready():  # a log that can't be written takes no further story
            self.arm(self.clock.now() + _RETRY_SETTLE)
            return
        self._refilling = True
        now = self._ages.look()
        try:
            await self.spool.recall(*farthest(now, self._document.delivery.longest_retry))
            # The rows of what is at work come with the answer, so that many more are asked for.
            limit = self._at_work.recipients + RECIPIENTS
            limit += self.screener.recipients if self.screener is not None else 0
            found = await self.spool.due(now, limit)
            following = await self.spool.next_due(now)
        except StorageRefused:
            self.arm(now + _RETRY_SETTLE)
            return
        finally:
            self._refilling = False
        if sum(len(queued.recipients) for queued in found) >= limit:
            self._more_due = True
        for queued in found:
            if queued.envelope.mid in self._at_work:
                self._at_work.seen_due(queued)
            elif self.is_at_work(queued.envelope.mid):
                continue
            elif self._at_work.full:
                self._more_due = True
            elif queued.envelope.asks is not None:
                self._ask(queued, None, fresh=False)
            else:
                self._put_to_work(queued, None)
        if self._at_work.full:
            self._shed()
        if self._more_due and not len(self._at_work):
            self.arm(now + _RETRY_SETTLE)
        if following is not None:
            self.arm(following)

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

    async def look(self) -> None:
        """See what is due on the spool, now, and ask again where no host answered."""
        for lane in self.lanes.values():
            lane.outage_until = 0.0
        await self._refill()

    def is_at_work(self, mid: int) -> bool:
        return mid in self._at_work or (self.screener is not None and mid in self.screener)

    def at_work(self) -> int:
        return len(self._at_work)

    def connections(self) -> int:
        return sum(lane.connected for lane in self.lanes.values())


def _refused(said: object) -> bool:
    """Whether the disk refused; any other fault is ours and is raised."""
    if isinstance(said, BaseException) and not isinstance(said, StorageRefused):
        raise said
    return isinstance(said, StorageRefused)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
