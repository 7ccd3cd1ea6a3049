"""A worker: receives, keeps a share of the queue, delivers. It does what the leading process asks, and tells
it what it has to know.

Everything about a message happens in one worker, so that its story is in order in the logs.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from OpenSSL import SSL

from mxseal.alerts.kinds import Sieve
from mxseal.analysis.values import Analyser
from mxseal.certs.keys import KeyStore
from mxseal.certs.live import ContextsRefused, Live, build
from mxseal.certs.ours import listener_offer
from mxseal.certs.revoked import Revoked
from mxseal.clock import Clock, Timer
from mxseal.config import toml
from mxseal.config.check import Problem
from mxseal.config.model import Document
from mxseal.crew import wire
from mxseal.crew.wire import Answered, AnyRequest, Asked, Fault, Frames, Gauges
from mxseal.directory.directories import Book
from mxseal.events.bus import Bus
from mxseal.events.types import Event, PeerRecordTrouble, QueueDamaged, StorageRecovered, StorageTrouble
from mxseal.relay.directory import directories, directory_client
from mxseal.relay.intake import Intake, Reception, receptions
from mxseal.relay.lanes import Lane
from mxseal.relay.listener import Listeners
from mxseal.relay.orders import LaneState, carry_out
from mxseal.relay.outbound import Outbound
from mxseal.relay.ports import Place
from mxseal.relay.quarantine import Keeping
from mxseal.relay.queue import Queue
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import DnsResolver
from mxseal.relay.scanning import analysers, analysis_clients
from mxseal.relay.screening import Screening
from mxseal.relay.screens import screen
from mxseal.scanning.analysers import Bench
from mxseal.sinks.counts import Counts
from mxseal.sinks.files import Surroundings
from mxseal.sinks.jsonlog import encodable
from mxseal.sinks.logs import LogSinks
from mxseal.sinks.metrics import Metrics
from mxseal.sinks.peers import PeerRecord
from mxseal.storage.board import Row
from mxseal.storage.home import Home, Limits
from mxseal.storage.numbers import COUNTERS, Numbers
from mxseal.storage.ports import QueueDamage, StorageRefused
from mxseal.storage.spool import SqliteSpool

INBOUND_SECONDS = 10.0
OUTBOUND_SECONDS = 20.0
_TELL_SECONDS = 1.0


class _Prepared(msgspec.Struct):
    """All that a document needs, ready and not in force."""

    document: Document
    live: Live
    receptions: list[Reception]
    resolver: DnsResolver
    book: Book
    bench: Bench
    sockets: dict[Place, socket.socket]
    listening: bool

    def discard(self) -> None:
        for sock in self.sockets.values():
            sock.close()


class Post(msgspec.Struct, frozen=True):
    """What a worker is given at its start."""

    home: Home
    clock: Clock
    number: int
    """From 0; the share of the queue is `spool/<number>`."""
    workers: int
    row: Row
    frames: Frames
    passing: socket.socket
    """Where listening sockets come from."""


class Worker:
    """One share of the gateway. `serve` runs it until it is told to stop or the leading process is gone."""

    def __init__(self, post: Post, document: Document) -> None:
        """`document` is what was in force when the worker was started; ports open with the first `Adopt`."""
        self.clock = post.clock
        self._post = post
        home = post.home
        self._state = home.open_state()
        self._keys = KeyStore(self._state.secrets)
        self.numbers = Numbers(home.state_file, post.row.board)
        self.bus = Bus()
        loop = asyncio.get_running_loop()
        around = Surroundings(home.root, self.clock, loop.call_soon, self._written, keeper=False)
        self.logs = LogSinks(around, "", document)
        self.logs.open()
        self.peers = PeerRecord(home.peers_file, self.clock, self._record_trouble)
        for sink in (*self.logs.sinks, Counts(post.row), Metrics(post.row), self.peers, _Teller(post.frames)):
            self.bus.add(sink)
        folder = home.share(post.number)
        self.spool = SqliteSpool(folder, self.clock, self._limits(document), self._storage_trouble)
        self.spool.tell(self._queue_damaged)
        self.numbers.begin_beyond("mid", self.spool.highest())
        self.live: Live | None = None
        self.resolver = DnsResolver(document.dns, self.clock)
        self.revoked = Revoked(home, self.clock)
        mark = f"worker{post.number}"
        self.recorder = Recorder(self.bus, self.clock, home.open_captures(), mark)
        self.directories = directories(
            self.clock, self.bus.publish, lambda: self.resolver, self.revoked.outbound, self._state.secrets
        )
        self.directories.overheard_by(self.recorder.directory)
        self.analysers = analysers(
            self.clock, self.bus.publish, lambda: self.resolver, self.revoked.outbound, self._state.secrets
        )
        self.analysers.overheard_by(self.recorder.analysis)
        self.outbound = Outbound(
            self.bus,
            self.clock,
            self.numbers.allocate,
            lambda: self.resolver,
            self._delivery_context,
            revoking=self.revoked.outbound,
        )
        self.outbound.recorded_by(self.recorder)
        self.queue = Queue(
            self.spool,
            self.bus,
            self.clock,
            self.numbers.allocate,
            work=self.outbound.work,
            row=post.row,
        )
        self.keeping = Keeping(self.queue, post.workers)
        self.screening = Screening(self.queue, kept=self.keeping.tend)
        self.servers_of: Callable[[Document], Mapping[str, Analyser]] = self._servers
        intake = Intake(self.queue, lambda: self.resolver, self.revoked.inbound, self.recorder)
        self.listeners = Listeners(intake, post.row)
        self._prepared: _Prepared | None = None
        self._running = False
        self._listening = True
        self._telling: Timer | None = None
        self._stopped = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- the line to the leading process --------------------------------------------------------------------

    async def serve(self) -> bool:
        """Answer requests until `Stop`; False: the leading process went away without it."""
        frames = self._post.frames
        reading = asyncio.ensure_future(self._read(frames))
        stopped = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([reading, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (reading, stopped):
            task.cancel()
        return self._stopped.is_set()

    async def _read(self, frames: Frames) -> None:
        while (asked := await frames.receive()) is not None:
            task = asyncio.get_running_loop().create_task(self._answer(frames, asked))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, frames: Frames, asked: Asked) -> None:
        try:
            result = wire.raw(await self.carry_out(asked.request))
        except StorageRefused as refused:
            frames.send(Answered(asked.number, fault=Fault(refused.kind, str(refused))))
        except Exception as error:  # the leader must hear of it, and the loop's handler tells it in full
            frames.send(Answered(asked.number, fault=Fault("", f"{type(error).__name__}: {error}")))
            raise
        else:
            frames.send(Answered(asked.number, result))
        if isinstance(asked.request, wire.Stop):
            self._stopped.set()

    async def carry_out(self, request: AnyRequest) -> Any:
        """Do what is asked; gives what `wire.RESULTS` says."""
        done = _DOES[type(request)](self, request)
        return await done if isinstance(done, Awaitable) else done

    def _written(self) -> None:
        row = self._post.row
        if row.board.total(wire.FOLLOWERS):
            self._post.frames.send(wire.Written())

    # --- documents ------------------------------------------------------------------------------------------

    def prepare(self, request: wire.Prepare) -> list[Problem]:
        self.discard()
        sockets = _taken(self._post.passing, request.places)
        document = toml.parse(request.toml)
        if isinstance(document, list):
            return document
        try:
            previous = None if request.fresh else self.live
            now = self.clock.now()
            live = build(document, self._keys, previous, now)
        except ContextsRefused as refused:
            for sock in sockets.values():
                sock.close()
            return [Problem(p.path, p.text.rstrip("."), p.remedy) for p in refused.problems]
        book = self.directories.prepare(document, directory_client(document, live.directory, now))
        bench = self.analysers.prepare(document, analysis_clients(document, live.analysis, now))
        served = receptions(
            document, live.server_context, lambda each: listener_offer(document, each, now), book.question
        )
        found = served if request.listening else []
        resolver = DnsResolver(document.dns, self.clock)
        self._prepared = _Prepared(document, live, found, resolver, book, bench, sockets, request.listening)
        return []

    async def adopt(self) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        document = prepared.document
        await self.revoked.configure(document)
        self.live = prepared.live
        self._listening = prepared.listening
        self.resolver = prepared.resolver
        self.spool.limits = self._limits(document)
        self.logs.configure(document)
        self.directories.adopt(prepared.book)
        self.analysers.adopt(prepared.bench)
        self.screening.configure(screen(document, self.servers_of(document)))
        self.keeping.configure(document)
        self.queue.configure(document, prepared.book.question)
        await self.listeners.put_in_force(prepared.receptions, prepared.sockets)
        if not self._running:
            self._running = True
            self.numbers.reserve(*COUNTERS)
            self._tell_count()
            self.queue.start()

    def _servers(self, _document: Document) -> Mapping[str, Analyser]:
        """The analysis servers of the document in force, by name."""
        return self.analysers.bench.analysers

    def discard(self) -> None:
        if self._prepared is not None:
            self._prepared.discard()
            self._prepared = None

    def _delivery_context(self, post_quantum: bool) -> SSL.Context:
        assert self.live is not None, "deliveries begin with the first document"
        delivery = self.live.delivery
        return delivery.context if post_quantum else delivery.classic

    # --- the queue ------------------------------------------------------------------------------------------

    async def carry(self, request: wire.Carry) -> int:
        return await carry_out(self.queue, request.order, request.selection)

    def gauges(self) -> Gauges:
        messages, size = self.spool.count()
        return Gauges(
            messages, size, self.queue.at_work(), self.listeners.connections(), self.queue.connections()
        )

    def _limits(self, document: Document) -> Limits:
        queue = document.queue
        return Limits(queue.max_messages, queue.max_bytes, queue.min_free_bytes, self._together)

    def _together(self, messages: int, size: int) -> tuple[int, int]:
        """What all shares of the queue hold; tells the others what this one holds."""
        row = self._post.row
        row.put(wire.MESSAGES, messages)
        row.put(wire.BYTES, size)
        return row.board.total(wire.MESSAGES), row.board.total(wire.BYTES)

    def _tell_count(self) -> None:
        """The share shrinks without being asked whether it has room: the others must hear of it too."""
        self._together(*self.spool.count())
        self.spool.give_room()
        self._telling = self.clock.call_later(_TELL_SECONDS, self._tell_count)

    # --- the end --------------------------------------------------------------------------------------------

    async def stop(self, patience: float = 0.0) -> None:
        """Finish what is in flight, within bounds; the queue keeps the rest."""
        if self._telling is not None:
            self._telling.cancel()
        await self.listeners.stop(INBOUND_SECONDS, patience)
        self.keeping.stop()
        await self.queue.stop(OUTBOUND_SECONDS)
        self.directories.stop()
        self.analysers.stop()
        await self.recorder.stop()
        await self.peers.close()
        self.logs.close()
        empty = self.spool.count()[0] == 0
        self.spool.close()
        if empty and not self._listening:
            self._post.home.drop_share(self._post.number)
        self.numbers.close()
        self._state.close()
        self.discard()

    def _queue_damaged(self, damage: QueueDamage) -> None:
        self.bus.publish(
            QueueDamaged(
                at=self.clock.now(),
                file=damage.file,
                problem=damage.problem,
                saved=damage.saved,
                aside=damage.aside,
                folder=damage.folder,
            )
        )

    def _record_trouble(self, error: str) -> None:
        self.bus.publish(PeerRecordTrouble(at=self.clock.now(), error=error))

    def _storage_trouble(self, trouble: StorageRefused | None) -> None:
        now = self.clock.now()
        if trouble is None:
            self.bus.publish(StorageRecovered(at=now, what="queue"))
        else:
            self.bus.publish(StorageTrouble(at=now, what="queue", error=str(trouble)))


_DOES: dict[type[Any], Callable[[Worker, Any], Any]] = {
    wire.Prepare: lambda worker, request: worker.prepare(request),
    wire.Adopt: lambda worker, _: worker.adopt(),
    wire.Discard: lambda worker, _: worker.discard(),
    wire.Suspend: lambda worker, _: worker.queue.suspend(),
    wire.Resume: lambda worker, _: worker.queue.resume(),
    wire.ReopenLogs: lambda worker, _: worker.logs.reopen(),
    wire.ReadLists: lambda worker, _: worker.revoked.reread(),
    wire.Expect: lambda worker, request: worker.listeners.expect(request.address, request.port),
    wire.Record: lambda worker, request: worker.recorder.arm(request.orders, request.stopped),
    wire.Gauge: lambda worker, _: worker.gauges(),
    wire.Browse: lambda worker, request: worker.spool.browse(request.after, request.limit),
    wire.Load: lambda worker, request: worker.spool.load(request.mid),
    wire.Carry: lambda worker, request: worker.carry(request),
    wire.Lanes: lambda worker, _: [_lane(lane) for lane in worker.queue.lanes.values()],
    wire.Directories: lambda worker, _: worker.directories.states(),
    wire.ClearDirectories: lambda worker, request: worker.directories.clear(request.names),
    wire.BrowseKept: lambda worker, request: worker.spool.shelf.browse(request.after, request.limit),
    wire.FindKept: lambda worker, request: worker.spool.shelf.find(request.mid),
    wire.ShowKept: lambda worker, request: worker.keeping.header(request.mid),
    wire.ReleaseKept: lambda worker, request: worker.keeping.release(request.mid, request.user),
    wire.DeleteKept: lambda worker, request: worker.keeping.delete(request.mid, request.user),
    wire.Stop: lambda worker, request: worker.stop(request.patience),
}


class _Teller:
    """A sink that hands on the events which the leading process needs for alerts."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._sieve = Sieve()

    def handle(self, event: Event) -> None:
        if self._sieve.passes(event):
            try:
                packed = wire.raw(event)
            except UnicodeEncodeError:  # bytes of a stranger that were no UTF-8
                packed = wire.raw(encodable(msgspec.to_builtins(event)))
            self._frames.send(wire.Told(packed))

    def ready(self) -> bool:
        return True


def _taken(passing: socket.socket, places: tuple[Place, ...]) -> dict[Place, socket.socket]:
    """The sockets that were sent for these places; they lie ready, as they were sent before the request."""
    sockets: dict[Place, socket.socket] = {}
    for place in places:
        _, descriptors, _, _ = socket.recv_fds(passing, 1, 1)
        sockets[place] = sock = socket.socket(fileno=descriptors[0])
        sock.setblocking(False)
    return sockets


def _lane(lane: Lane) -> LaneState:
    return LaneState(
        target=lane.target,
        connected=lane.connected,
        up=lane.up,
        last_error=lane.last_error,
        last_activity=lane.last_activity,
        delivered=lane.delivered,
        soft_failures=lane.soft_failures,
        hard_failures=lane.hard_failures,
    )
