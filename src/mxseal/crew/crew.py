"""The workers, as the leading process sees them: started, told what to do, started again when one dies.

With one worker everything happens as with many.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import msgspec

from mxseal.capture.orders import Order as CaptureOrder
from mxseal.clock import Clock
from mxseal.config.check import Problem
from mxseal.crew import wire
from mxseal.crew.hiring import Ends, Hire, Hired
from mxseal.crew.wire import Answered, AnyRequest, Calls, Frames, Gauges
from mxseal.directory.state import ProfileState, together
from mxseal.events.bus import Bus
from mxseal.events.types import Event, WorkerDied
from mxseal.relay.orders import LaneState, Order, Selection
from mxseal.relay.ports import Place
from mxseal.storage.board import Board
from mxseal.storage.ports import Queued, StorageRefused
from mxseal.storage.quarantine import Kept

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
"""Seconds between a worker's death and its successor's start; doubled while they die young."""
_YOUNG = 60.0
STOP_SECONDS = 40.0
"""After so long a worker that was told to stop is killed: its own bounds are shorter."""


class WorkerGone(Exception):
    """The worker died before it answered."""


class _Place:
    """One worker's place in the crew, whoever holds it."""

    def __init__(self, number: int, *, listening: bool) -> None:
        self.number = number
        self.listening = listening
        """False: it only empties a share of the queue that the configuration no longer has."""
        self.hired: Hired | None = None
        self.frames: Frames | None = None
        self.calls: Calls | None = None
        self.passing: socket.socket | None = None
        self.started_at = 0.0
        self.pause = FIRST_PAUSE
        self.life: asyncio.Task[None] | None = None


class InForce(msgspec.Struct):
    """What a worker that is started needs to know."""

    toml: str
    sockets: Mapping[Place, socket.socket]


class Crew:
    """All workers. `in_force` gives the document that counts, for those that are started later."""

    def __init__(self, workers: int, shares: Sequence[int], hire: Hire, clock: Clock, bus: Bus) -> None:
        """`shares` are the queue's shares that are there: each has a worker until it is empty."""
        self.workers = workers
        self._places = [
            _Place(number, listening=number < workers)
            for number in range(max(workers, max(shares, default=-1) + 1))
        ]
        self._hire = hire
        self._clock = clock
        self._bus = bus
        self.board = Board.make(len(self._places) + 1)
        self.row = self.board.row(len(self._places))
        """The leading process's own."""
        self.suspended = False
        self.recording: tuple[CaptureOrder, ...] = ()
        """What is armed."""
        self.bell: Callable[[], None] = lambda: None
        """Called when a worker wrote to the logs."""
        self.heard: Callable[[Event], None] = lambda _event: None
        """Called with what the workers tell; they have logged it already."""
        self._in_force: Callable[[], InForce] | None = None
        self._stopping = False
        self._decoder = wire.event_decoder()

    # --- life -----------------------------------------------------------------------------------------------

    async def start(self, in_force: Callable[[], InForce]) -> list[Problem]:
        """Start all workers with the document in force; what keeps them from serving it."""
        self._in_force = in_force
        await asyncio.gather(*(self._man(place) for place in self._places))
        state = in_force()
        problems = await self.prepare(state.toml, state.sockets)
        if not problems:
            await self.adopt()
            for place in self._places:
                self._watch(place)
        return problems

    async def _man(self, place: _Place) -> None:
        """Put a worker into a place."""
        leading, theirs = socket.socketpair()
        passing, taking = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        leading.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=leading, limit=wire.READ_AHEAD)
        place.frames = frames = Frames(reader, writer, wire.Answered | wire.Told | wire.Written)
        place.passing = passing
        place.calls = calls = Calls(frames.send)
        place.started_at = self._clock.monotonic()
        place.hired = self._hire(place.number, len(self._places), self.board, Ends(theirs, taking))
        place.life = asyncio.get_running_loop().create_task(self._hear(place, frames, calls))

    async def _hear(self, place: _Place, frames: Frames, calls: Calls) -> None:
        """Take what the worker says until it is gone."""
        while (frame := await frames.receive()) is not None:
            if isinstance(frame, Answered):
                calls.answered(frame)
            elif isinstance(frame, wire.Told):
                self.heard(self._decoder.decode(frame.event))
            else:
                self.bell()
        calls.give_up(WorkerGone(f"worker {place.number}"))
        frames.close()

    def _watch(self, place: _Place) -> None:
        task = asyncio.get_running_loop().create_task(self._replace(place))
        task.add_done_callback(_raise_outside)

    async def _replace(self, place: _Place) -> None:
        """When the worker dies, start another in its place."""
        while True:
            assert place.hired is not None
            assert place.life is not None
            status = await place.hired.ended()
            await place.life
            if self._stopping:
                return
            self._tell_died(place, status)
            self.board.row(place.number).clear((wire.MESSAGES, wire.BYTES))
            young = self._clock.monotonic() - place.started_at < _YOUNG
            place.pause = min(place.pause * 2, LONGEST_PAUSE) if young else FIRST_PAUSE
            await self._pause(place.pause)
            if self._stopping:
                return
            await self._again(place)

    async def _pause(self, seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()
        self._clock.call_later(seconds, lambda: over.set_result(None))
        await over

    async def _again(self, place: _Place) -> None:
        """A new worker with the document in force; one that dies at once is replaced again."""
        assert self._in_force is not None
        await self._man(place)
        state = self._in_force()
        try:
            problems = await self._prepare(place, state.toml, state.sockets, fresh=False)
            if not problems:
                await self._adopt(place)
                await self._ask(place, wire.Record(self.recording))
        except WorkerGone:
            return
        for problem in problems:
            self._tell_died(place, 0, str(problem))

    def _tell_died(self, place: _Place, status: int, problem: str | None = None) -> None:
        assert place.hired is not None
        self._bus.publish(
            WorkerDied(
                at=self._clock.now(),
                worker=place.number,
                pid=place.hired.pid,
                status=status,
                problem=problem,
            )
        )

    async def stop(self, patience: float = 0.0) -> None:
        """Let all finish what is in flight, within their bounds; whoever takes longer is killed.

        `patience`: seconds for which clients that have no message at hand are waited for.
        """
        self._stopping = True
        manned = [place for place in self._places if place.hired is not None]
        await asyncio.gather(*(self._dismiss(place, patience) for place in manned))

    async def _dismiss(self, place: _Place, patience: float) -> None:
        assert place.hired is not None
        assert place.life is not None
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._ask(place, wire.Stop(patience))
                await place.hired.ended()
        except TimeoutError:
            place.hired.kill()
        except WorkerGone:
            pass
        await place.life
        if place.passing is not None:
            place.passing.close()

    # --- documents ------------------------------------------------------------------------------------------

    async def prepare(
        self, toml: str, sockets: Mapping[Place, socket.socket], *, fresh: bool = False
    ) -> list[Problem]:
        """Let every worker build what the document needs. With a problem nothing is prepared anywhere."""
        results = await asyncio.gather(
            *(self._prepare(place, toml, sockets, fresh=fresh) for place in self._places),
            return_exceptions=True,
        )
        problems: list[Problem] = []
        for result in results:
            if isinstance(result, WorkerGone):
                continue  # its successor begins with the document that is in force then
            if isinstance(result, BaseException):
                raise result
            problems += [problem for problem in result if problem not in problems]
        if problems:
            await self.discard()
        return problems

    async def _prepare(
        self, place: _Place, toml: str, sockets: Mapping[Place, socket.socket], *, fresh: bool
    ) -> list[Problem]:
        places = tuple(sockets) if place.listening else ()
        assert place.passing is not None
        for each in places:
            socket.send_fds(place.passing, [b"."], [sockets[each].fileno()])
        request = wire.Prepare(toml, places, listening=place.listening, fresh=fresh)
        problems: list[Problem] = await self._ask(place, request)
        return problems

    async def adopt(self) -> None:
        """Put in force, everywhere, what was prepared."""
        await asyncio.gather(*(self._adopt(place) for place in self._places), return_exceptions=True)

    async def _adopt(self, place: _Place) -> None:
        if self.suspended:
            await self._ask(place, wire.Suspend())
        await self._ask(place, wire.Adopt())

    async def discard(self) -> None:
        """Forget what was prepared."""
        await self._all(wire.Discard())

    def forget(self) -> None:
        """`discard`, without waiting for it."""
        for place in self._places:
            if place.calls is not None:
                place.calls.ask(wire.Discard())

    @property
    def running(self) -> bool:
        return self._in_force is not None

    @property
    def whole(self) -> bool:
        """Whether all workers that should take mail run."""
        return all(place.life and not place.life.done() for place in self._places if place.listening)

    def processes(self) -> dict[str, int]:
        """Process ids of the workers that run, by 'worker-NUMBER'."""
        return {
            f"worker-{place.number}": place.hired.pid
            for place in self._places
            if place.hired is not None and place.life is not None and not place.life.done()
        }

    async def reopen_logs(self) -> None:
        """Return when every worker writes to the newest files."""
        await self._all(wire.ReopenLogs())

    # --- the queue ------------------------------------------------------------------------------------------

    async def reread_lists(self) -> None:
        """The lists of revoked certificates changed."""
        await self._all(wire.ReadLists())

    async def expect(self, address: str, port: int) -> None:
        """The next connection from there is the gateway's own look at a listener."""
        await self._all(wire.Expect(address, port))

    async def record(self, orders: Sequence[CaptureOrder], stopped: Sequence[str] = ()) -> None:
        """From now on all workers record connections for these orders."""
        self.recording = tuple(orders)
        await self._all(wire.Record(self.recording, tuple(stopped)))

    async def gauges(self) -> Gauges:
        """What all hold now."""
        total = Gauges()
        for each in await self._all(wire.Gauge()):
            total = total.plus(each)
        return total

    async def browse(self, after: int, limit: int) -> list[Queued]:
        """Messages with a MID beyond `after`, in order, from all shares."""
        pages: list[list[Queued]] = await self._all(wire.Browse(after, limit))
        found = sorted((queued for page in pages for queued in page), key=lambda each: each.envelope.mid)
        return found[:limit]

    async def first(self) -> Queued | None:
        """The message that has waited the longest; None when nothing waits."""
        pages: list[list[Queued]] = await self._all(wire.Browse(-1, 1))
        found = [queued for page in pages for queued in page]
        return min(found, key=lambda each: each.envelope.queued_at, default=None)

    async def load(self, mid: int) -> Queued | None:
        """One message; None when it is not in the queue."""
        found = [each for each in await self._all(wire.Load(mid)) if each is not None]
        return found[0] if found else None

    async def carry(self, order: Order, selection: Selection) -> int:
        """Carry out an order; gives the number of recipients. StorageRefused when a disk refuses."""
        return sum(await self._all(wire.Carry(order, selection)))

    async def lanes(self) -> list[LaneState]:
        """How deliveries go; a target that several workers deliver to is there several times."""
        return [lane for lanes in await self._all(wire.Lanes()) for lane in lanes]

    async def directories(self) -> list[ProfileState]:
        """How it goes with directories, all workers together."""
        return together(each for states in await self._all(wire.Directories()) for each in states)

    async def clear_directories(self, names: tuple[str, ...]) -> int:
        """Throw away the answers that are kept; gives their number."""
        return sum(await self._all(wire.ClearDirectories(names)))

    async def suspend(self) -> None:
        self.suspended = True
        await self._all(wire.Suspend())

    async def resume(self) -> None:
        self.suspended = False
        await self._all(wire.Resume())

    async def waiting(self) -> AsyncIterator[Queued]:
        """The whole queue, page by page; mail goes on between the pages."""
        after = -1
        while page := await self.browse(after, 500):
            for queued in page:
                yield queued
            after = page[-1].envelope.mid

    async def quarantine(self) -> AsyncIterator[Kept]:
        """All messages in quarantine by MID, page by page."""
        after = -1
        while True:
            pages: list[list[Kept]] = await self._all(wire.BrowseKept(after, 200))
            found = sorted((kept for page in pages for kept in page), key=lambda each: each.mid)[:200]
            for kept in found:
                yield kept
            if not found:
                return
            after = found[-1].mid

    async def kept(self, mid: int) -> Kept | None:
        """One message in quarantine; None when it is not there."""
        return next((each for each in await self._all(wire.FindKept(mid)) if each is not None), None)

    async def kept_header(self, mid: int) -> bytes | None:
        """Its header."""
        return next((each for each in await self._all(wire.ShowKept(mid)) if each is not None), None)

    async def release(self, mid: int, user: str) -> bool:
        """From the quarantine into the queue."""
        return any(await self._all(wire.ReleaseKept(mid, user)))

    async def delete_kept(self, mid: int, user: str) -> bool:
        """Delete a message in quarantine."""
        return any(await self._all(wire.DeleteKept(mid, user)))

    # --- asking ---------------------------------------------------------------------------------------------

    async def _all(self, request: AnyRequest) -> list[Any]:
        """The answers of all that live. StorageRefused when one could not, after all have answered."""
        results = await asyncio.gather(
            *(self._ask(place, request) for place in self._places), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerGone):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

    async def _ask(self, place: _Place, request: AnyRequest) -> Any:
        if place.calls is None or place.life is None or place.life.done():
            raise WorkerGone(f"worker {place.number}")
        answer = await place.calls.ask(request)
        if answer.fault is not None:
            if answer.fault.kind:
                raise StorageRefused(answer.fault.kind, answer.fault.text)
            raise RuntimeError(f"worker {place.number}: {answer.fault.text}")
        expected = wire.RESULTS.get(type(request), None)
        return msgspec.msgpack.decode(answer.result, type=expected) if expected is not None else None


def _raise_outside(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "watching a worker failed", "exception": error})
