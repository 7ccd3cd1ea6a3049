"""The lines of the table that are about traffic: accepting, delivering, large messages, idle connections."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Self

from bench.machine import Layout
from bench.peers import Mail, held, say
from bench.results import Reading, Row
from bench.servers import Server, Task, server_memory
from bench.session import Session

LARGE_AT_ONCE = 8
_SAMPLE = 0.01


@dataclass(frozen=True, kw_only=True)
class Case:
    """A line that counts messages in a second."""

    key: str
    title: str
    mail: Mail
    goal: float
    deliver: bool = False


CASES = (
    Case(
        key="accept",
        title="accept, TLS, 50 × 4 KiB on a connection",
        mail=Mail(),
        goal=4.0,
    ),
    Case(
        key="pipelined",
        title="the same, client uses PIPELINING",
        mail=Mail(pipeline=True),
        goal=4.0,
    ),
    Case(
        key="handshake",
        title="accept, full handshake (P-256) and one message",
        mail=Mail(per_connection=1, light=True),
        goal=2.0,
    ),
    Case(
        key="resumption",
        title="the same with resumption",
        mail=Mail(per_connection=1, resume=True, light=True),
        goal=2.5,
    ),
    Case(
        key="deliver",
        title="accept and deliver, TLS both sides, 4 KiB",
        mail=Mail(),
        goal=2.5,
        deliver=True,
    ),
    Case(
        key="recipients",
        title="the same, 20 recipients in 10 domains",
        mail=Mail(recipients=20, domains=10),
        goal=2.0,
        deliver=True,
    ),
)


def traffic(session: Session, case: Case) -> list[Row]:
    """One row for each layout."""
    rows = []
    extent = session.extent
    mail = replace(case.mail, seconds=extent.deliver_seconds if case.deliver else extent.seconds)
    for layout in session.layouts:
        say(f"{case.title}, server on {layout.name}")
        task = session.task(layout, deliver=case.deliver)
        with session.pair(task) as servers:
            ours, rival = session.alternate(servers, mail, task)
        rows.append(
            Row(
                key=case.key,
                title=case.title,
                layout=layout.name,
                unit="msg/s",
                ours=ours,
                rival=rival,
                goal=case.goal,
            )
        )
    return rows


# --- large messages ---------------------------------------------------------------------------------------


def large(session: Session) -> list[Row]:
    """Time until a 25 MB message is accepted and delivered, and the memory that it takes."""
    rows = []
    extent = session.extent
    several = Mail(
        connections=1,
        per_connection=extent.large_messages,
        messages=extent.large_messages,
        size=extent.large,
    )
    for layout in session.layouts:
        say(f"messages of {extent.large / 1e6:.0f} MB, server on {layout.name}")
        task = session.task(layout)
        with session.pair(task) as servers:
            found = session.alternate(servers, several, task)
            times = [[replace(r, value=r.seconds / r.messages) for r in readings] for readings in found]
            rows.append(_large_row("large", "25 MB over TLS, accepted and delivered", layout, times))
            if layout is session.widest:
                memory = [[_large_memory(session, server, task)] for server in servers]
                rows.append(_memory_row(layout, memory))
    return rows


def _large_row(key: str, title: str, layout: Layout, found: list[list[Reading]]) -> Row:
    return Row(
        key=key,
        title=title,
        layout=layout.name,
        unit="s each",
        ours=found[0],
        rival=found[1],
        better="less",
        goal=1.0,
        digits=2,
    )


def _memory_row(layout: Layout, found: list[list[Reading]]) -> Row:
    row = _large_row("large-memory", f"25 MB, memory per message ({LARGE_AT_ONCE} at once)", layout, found)
    return replace(row, unit="MB", goal_of="ours")


def _large_memory(session: Session, server: Server, task: Task) -> Reading:
    """PSS at its highest while LARGE_AT_ONCE messages come in, above what it was before, for each of them."""
    extent = session.extent
    mail = Mail(connections=LARGE_AT_ONCE, per_connection=1, messages=LARGE_AT_ONCE, size=extent.large)
    before = server_memory(server)
    with _Peak(server) as peak:
        reading = session.measure(server, mail, task)
    return replace(reading, value=max(0.0, peak.most - before) / LARGE_AT_ONCE / 1e6)


class _Peak:
    """The highest memory of a server while inside."""

    def __init__(self, server: Server) -> None:
        self.most = 0.0
        self._server = server
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE):
            self.most = max(self.most, float(server_memory(self._server)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


# --- idle connections -------------------------------------------------------------------------------------


def idle(session: Session) -> list[Row]:
    """Memory of all processes while many TLS connections are open and say nothing."""
    layout, count = session.widest, session.extent.idle
    say(f"{count} idle TLS connections")
    task = replace(session.task(layout, deliver=False), idle=count)
    found: list[list[Reading]] = [[], []]
    with session.pair(task) as servers:
        for _ in range(session.extent.turns):
            for readings, server in zip(found, servers, strict=True):
                with held(server.port, count, layout):
                    readings.append(Reading(value=server_memory(server) / 1e6))
    return [
        Row(
            key="idle",
            title=f"memory, {count:,} idle TLS connections",
            layout=layout.name,
            unit="MB",
            ours=found[0],
            rival=found[1],
            better="less",
            goal=1 / 20,
            digits=1,
        )
    ]
