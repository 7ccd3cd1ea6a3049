"""What all lines of the benchmark share: next hop, certificate, how long and how to measure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from bench.machine import Layout, foreign_seconds, layouts
from bench.peers import Mail, Sink, send
from bench.results import Reading
from bench.servers import Ours, Rival, Server, Task, server_cpu
from lab import Trouble
from lab.ca import Issued

S = TypeVar("S", bound=Server)


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How long and how large."""

    turns: int = 3
    seconds: float = 4.0
    """Of one run of the lines that accept only."""
    deliver_seconds: float = 3.0
    """Of sending, in the lines that deliver."""
    warm_up: float = 1.0
    backlog: int = 200_000
    idle: int = 2000
    large: int = 25 * 1000 * 1000
    large_messages: int = 6
    log_lines: int = 1_000_000
    tracked: int = 1_000_000
    """Messages in the database that is searched."""


QUICK = Extent(
    turns=1,
    seconds=1.0,
    deliver_seconds=1.0,
    warm_up=0.3,
    backlog=20_000,
    idle=200,
    large_messages=2,
    log_lines=200_000,
    tracked=100_000,
)
FULL = Extent()


class Session:
    """One run of the benchmark."""

    def __init__(self, extent: Extent, certificate: Issued, sink: Sink, *, plain_rival: bool = False) -> None:
        self.extent = extent
        self.certificate = certificate
        self.sink = sink
        self.plain_rival = plain_rival
        self.layouts = layouts()
        self.protocol = ""
        """TLS version, cipher suite, group and type of key, the same for all servers."""

    @property
    def widest(self) -> Layout:
        """The layout that gives the server most."""
        return self.layouts[-1]

    def task(self, layout: Layout, *, deliver: bool = True) -> Task:
        """The plain task; `dataclasses.replace` makes others of it."""
        return Task(
            layout=layout,
            sink=self.sink,
            certificate=self.certificate,
            deliver=deliver,
            plain_rival=self.plain_rival,
        )

    @contextlib.contextmanager
    def pair(self, task: Task) -> Iterator[tuple[Server, Server]]:
        """Ours and Postfix, both started for the task; the one that is not measured is idle."""
        with self.alone(task) as ours, running(Rival(task)) as rival:
            if not task.deliver:
                self.agree((ours, rival))
            yield ours, rival

    @contextlib.contextmanager
    def alone(self, task: Task) -> Iterator[Ours]:
        """Ours, started for the task, and the next hop on the task's cores."""
        self.sink.place(task.layout)
        with running(Ours(task)) as ours:
            yield ours

    def measure(self, server: Server, mail: Mail, task: Task) -> Reading:
        """One run: messages in a second, accepted, or accepted and delivered when the task is to deliver."""
        sink, before = self.sink, self.sink.counts()
        begun = _Clocks(server, sink)
        sent = send(server.port, mail, task.layout)
        end = sent.ended
        if task.deliver:
            end = sink.wait(before.messages + sent.messages * mail.domains).last
        used = begun.until(_Clocks(server, sink))
        seconds = end - sent.started
        return Reading(
            value=sent.messages / seconds,
            messages=sent.messages,
            seconds=seconds,
            server_share=used.server / seconds,
            load_share=sent.cpu_seconds / sent.seconds,
            sink_share=used.sink / seconds,
            foreign_share=max(0.0, used.foreign / used.time),
            cpu_per_message=used.server / sent.messages,
            latency_ms=sent.latency_ms,
            protocol=sent.protocol,
            handshakes=sent.handshakes,
            resumed=sent.resumed,
        )

    def agree(self, servers: Sequence[Server]) -> None:
        """Ask each with OpenSSL's client what it agrees to, and insist that it is the same for all."""
        for server in servers:
            sent = send(server.port, Mail(connections=1, per_connection=1, messages=1), self.widest)
            if sent.protocol != (self.protocol or sent.protocol):
                raise Trouble(f"{server.name} agrees to {sent.protocol}, the other to {self.protocol}")
            self.protocol = sent.protocol

    def warm(self, servers: Sequence[Server], mail: Mail, task: Task) -> None:
        """A short run of each that does not count: processes are started, caches filled."""
        for server in servers:
            self.measure(server, replace(mail, seconds=self.extent.warm_up), task)

    def alternate(
        self, servers: Sequence[Server], mail: Mail, task: Task, turns: int | None = None
    ) -> list[list[Reading]]:
        """Readings of each server, taken in turn: what the machine does meanwhile meets all alike."""
        self.warm(servers, mail, task)
        found: list[list[Reading]] = [[] for _ in servers]
        for _ in range(turns or self.extent.turns):
            for readings, server in zip(found, servers, strict=True):
                readings.append(self.measure(server, mail, task))
        return found


@contextlib.contextmanager
def running(server: S) -> Iterator[S]:
    """The server, started; ended in any case."""
    try:
        yield server.start()
    finally:
        server.end()


@dataclass(frozen=True)
class _Used:
    time: float
    server: float
    sink: float
    foreign: float


class _Clocks:
    """Processor time of everybody, at one moment."""

    def __init__(self, server: Server, sink: Sink) -> None:
        self.time = time.monotonic()
        self.server = server_cpu(server)
        self.sink = sink.cpu_seconds()
        self.foreign = foreign_seconds()

    def until(self, later: _Clocks) -> _Used:
        return _Used(
            later.time - self.time,
            later.server - self.server,
            later.sink - self.sink,
            later.foreign - self.foreign,
        )


def direct(session: Session) -> dict[str, float]:
    """What load generator and next hop do with no server between them, a core each: messages in a second."""
    layout = session.layouts[0]
    session.sink.place(replace(layout, sink=layout.server))
    seconds = session.extent.seconds / 2
    cases = {
        "connections reused": Mail(seconds=seconds),
        "connections reused, pipelined": Mail(seconds=seconds, pipeline=True),
        "a full handshake each": Mail(seconds=seconds, per_connection=1, light=True),
        "a resumed handshake each": Mail(seconds=seconds, per_connection=1, resume=True, light=True),
        "25 MB": Mail(messages=4, size=session.extent.large, connections=1, per_connection=4),
    }
    return {name: send(session.sink.port, mail, layout).rate for name, mail in cases.items()}
