"""Messages whose files are analysed before they are delivered.

A message is on the spool all the time, marked (`screening`), and leaves this place by one transaction each
time: it waits with what is known so far, goes on without the mark, goes into quarantine, or is dropped.
Whatever happens to the process, it is looked at again from where it was. Here are at most `_MESSAGES` of
them, of which servers are asked about a few at a time; the others' mail does not wait for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from mxseal.analysis.decision import Decision, Finding, Policy, decide
from mxseal.analysis.state import (
    File,
    State,
    decode,
    encode,
    file_of,
    header,
    report,
    unfit_findings,
)
from mxseal.analysis.values import Analyser, Item
from mxseal.events.screening import FilePassed, MessageHeld, MessageScreened
from mxseal.events.types import MessageFinished
from mxseal.mail.attachments import Attachments, Bounds, attachments
from mxseal.relay.asking import Asking
from mxseal.relay.queue import Queue
from mxseal.storage.ports import INLINE_BYTES, Outcome, Queued, StorageRefused

T = TypeVar("T")
_MESSAGES, _RECIPIENTS = 500, 5000
_AGAIN, _CROWDED = 5.0, 15.0
"""Seconds: after trouble of our own; where too many messages are here."""
_FIRST_WAIT, _LONGEST_WAIT, _GROWTH = 5.0, 60.0, 1.6
"""Between two questions about a held message."""
_WAITING = "servers are asked about other messages"


class Screen(msgspec.Struct, frozen=True, kw_only=True):
    """What a document says."""

    bounds: Bounds
    policy: Policy
    analysers: tuple[tuple[str, Analyser], ...]
    """By the name of their servers, in the order in which they are asked."""
    header: str
    questions: int


class Screening:
    """The port `lanes.Screener` of one worker."""

    def __init__(self, queue: Queue, *, kept: Callable[[], object] = lambda: None) -> None:
        """`kept` is called when a message has come into quarantine."""
        self.recipients = 0
        self._queue = queue
        self._kept = kept
        self._screen: Screen | None = None
        self._asking = Asking(queue.bus, queue.clock)
        self._slots = asyncio.Semaphore(1)
        self._reading = asyncio.Semaphore(1)
        self._here: dict[int, Queued] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        queue.screener = self

    def configure(self, screen: Screen | None) -> None:
        """For what comes next; None: nothing is analysed, and what waits for it goes on."""
        if screen is not None and (self._screen is None or screen.questions != self._screen.questions):
            self._slots = asyncio.Semaphore(screen.questions)
        self._screen = screen

    def __contains__(self, mid: object) -> bool:
        return mid in self._here

    async def stop(self) -> None:
        """See Screener."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def take(self, queued: Queued, body: bytes | None) -> None:
        """See Screener. Where too many are here it waits on the spool."""
        if self._stopping:
            return
        if len(self._here) >= _MESSAGES or self.recipients >= _RECIPIENTS:
            self._enter(queued, self._postpone(queued, None, _CROWDED))
        else:
            self._enter(queued, self._look(queued, body))

    def _enter(self, queued: Queued, work: Coroutine[None, None, None]) -> None:
        self._here[queued.envelope.mid] = queued
        self.recipients += len(queued.recipients)
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(queued, ended))

    def _ended(self, queued: Queued, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._leave(queued)
        if task.cancelled() or (error := task.exception()) is None:
            return
        self._queue.arm(self._queue.clock.now() + _AGAIN)
        if not isinstance(error, StorageRefused):  # of which the spool has told
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "the analysis of a message failed", "exception": error})

    def _leave(self, queued: Queued) -> None:
        if self._here.pop(queued.envelope.mid, None) is not None:
            self.recipients -= len(queued.recipients)

    # --- a message ------------------------------------------------------------------------------------------

    async def _look(self, queued: Queued, body: bytes | None) -> None:
        screen = self._screen
        if screen is None or not screen.analysers:
            await self._go_on(queued, body, "")
            return
        state = decode(queued.envelope.screening or "")
        items: dict[str, Item] = {}
        if state is None:
            found = await self._read(queued, body, screen.bounds)
            state = self._begin(queued, found)
            if not state.files and not state.unfit:
                await self._go_on(queued, body, "")
                return
            if len(body or b"") or not self._slots.locked():  # else too much would be in memory
                items = {item.sha256: item for item in found.items}
            del found
        slots = self._slots
        if slots.locked() and state.looks:
            await self._settle(queued, screen, state, [_unasked(state)])
            return
        async with slots:
            await self._ask(queued, screen, state, items)

    async def _read(self, queued: Queued, body: bytes | None, bounds: Bounds) -> Attachments:
        if body is not None:
            return attachments(body, bounds)
        async with self._reading:
            content = b"".join([piece async for piece in self._queue.spool.content(queued.envelope.mid)])
            if len(content) <= INLINE_BYTES:
                return attachments(content, bounds)
            return await asyncio.to_thread(attachments, content, bounds)

    def _begin(self, queued: Queued, found: Attachments) -> State:
        now, mid = self._queue.clock.now(), queued.envelope.mid
        for each in found.unfit:
            self._queue.bus.publish(
                FilePassed(at=now, mid=mid, name=each.name, media_type=each.media_type, sha256=each.sha256,
                           reason=each.reason)
            )  # fmt: skip
        for passed in found.passed:
            self._queue.bus.publish(
                FilePassed(at=now, mid=mid, name=passed.name, media_type=passed.media_type,
                           sha256=passed.sha256, reason="its type is not among those that are analysed")
            )  # fmt: skip
        unfit = tuple((each.name, each.reason) for each in found.unfit)
        return State(tuple(map(file_of, found.items)), unfit)

    async def _ask(self, queued: Queued, screen: Screen, state: State, items: dict[str, Item]) -> None:
        names = [name for name, _ in screen.analysers]
        lacking = [file for file in state.files if any(file.answer(name) is None for name in names)]
        if lacking and any(file.sha256 not in items for file in lacking):
            found = await self._read(queued, None, screen.bounds)
            items = {item.sha256: item for item in found.items}
            del found
        run = self._asking.run(queued.envelope.mid, screen.analysers, screen.policy)
        files: list[File] = []
        findings: list[Finding] = []
        for file in state.files:
            asked, found_of_it = await run.file(file, items.pop(file.sha256, None))
            files.append(asked)
            findings.append(found_of_it)
        state = State(tuple(files), state.unfit, state.looks + 1)
        await self._settle(queued, screen, state, findings)

    # --- what becomes of it ---------------------------------------------------------------------------------

    async def _settle(
        self, queued: Queued, screen: Screen, state: State, findings: Sequence[Finding]
    ) -> None:
        waited = self._queue.age(queued)
        decision = decide([*findings, *unfit_findings(state)], screen.policy, waited)
        prefix = header(screen.header, decision, len(state.files))
        if decision.action == "hold":
            await self._hold(queued, screen, state, decision)
        elif decision.action == "quarantine":
            await self._quarantine(queued, decision, prefix)
        elif decision.action == "drop":
            await self._drop(queued, decision)
        else:
            self._tell(queued, decision)
            await self._go_on(queued, None, prefix)

    async def _hold(self, queued: Queued, screen: Screen, state: State, decision: Decision) -> None:
        first = not (decode(queued.envelope.screening or "") or State()).looks
        left = screen.policy.hold_time - self._queue.age(queued)
        now = self._queue.clock.now()
        if first and decision.finding is not None:
            found = decision.finding
            self._queue.bus.publish(
                MessageHeld(at=now, mid=queued.envelope.mid, word=found.word, name=found.name,
                            sha256=found.sha256, server=found.server, reason=found.reason, until=now + left)
            )  # fmt: skip
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * _GROWTH ** min(state.looks - 1, 20))
        await self._postpone(queued, state, max(0.1, min(wait, left)))

    async def _postpone(self, queued: Queued, state: State | None, wait: float) -> None:
        due = self._queue.clock.now() + wait
        text = encode(state) if state is not None else queued.envelope.screening
        await self._durable(lambda: self._queue.spool.shelf.note(queued.envelope.mid, text, "", due))
        self._leave(queued)
        self._queue.arm(due)

    async def _go_on(self, queued: Queued, body: bytes | None, prefix: str) -> None:
        """To those who deliver it."""
        mid = queued.envelope.mid
        await self._durable(lambda: self._queue.spool.shelf.note(mid, None, prefix, None))
        self._leave(queued)
        envelope = msgspec.structs.replace(queued.envelope, screening=None, prefix=prefix)
        self._queue.add(msgspec.structs.replace(queued, envelope=envelope), body)

    async def _quarantine(self, queued: Queued, decision: Decision, prefix: str) -> None:
        mid, now = queued.envelope.mid, self._queue.clock.now()
        about = msgspec.json.encode(report(decision)).decode()
        await self._durable(lambda: self._queue.spool.shelf.put(mid, now, about, prefix))
        self._tell(queued, decision)
        self._leave(queued)
        self._kept()

    async def _drop(self, queued: Queued, decision: Decision) -> None:
        mid = queued.envelope.mid
        outcomes = [Outcome(mid=mid, rid=each.rid, done=True) for each in queued.recipients]
        finished = await self._queue.keep(outcomes, [])
        if finished is None:
            return  # the gateway stops first: it is looked at again
        self._tell(queued, decision)
        for each in finished:
            self._queue.bus.publish(MessageFinished(at=self._queue.clock.now(), mid=each))

    def _tell(self, queued: Queued, decision: Decision) -> None:
        found = decision.finding
        if found is None:
            return
        self._queue.bus.publish(
            MessageScreened(
                at=self._queue.clock.now(),
                mid=queued.envelope.mid,
                rids=tuple(each.rid for each in queued.recipients),
                action=decision.action,
                word=found.word,
                name=found.name,
                sha256=found.sha256,
                score=found.score,
                threat=found.threat,
                server=found.server,
                reason=found.reason,
                late=decision.late,
            )
        )

    async def _durable(self, write: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What was decided is written down however long the disk refuses; until then the message stays
        here."""
        while True:
            try:
                return await write()
            except StorageRefused:
                await self._queue.pause(_AGAIN)


def _unasked(state: State) -> Finding:
    """Of a message for which no server had time in this turn."""
    file = state.files[0] if state.files else None
    return Finding(
        word="pending",
        name=file.name if file else "",
        sha256=file.sha256 if file else "",
        reason=_WAITING,
    )
