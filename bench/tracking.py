"""What message tracking takes off the throughput, and how long a question takes among a million messages.

The same gateway twice, with `[tracking]` on and off, in one run: accepting and delivering over TLS with one
core for all its processes, the indexer's too. Between two turns the indexer may catch up.
"""

from __future__ import annotations

import tomllib

import tomli_w

from bench.build import RESULTS
from bench.peers import Mail, Plain, say
from bench.results import Reading, Row
from bench.servers import Ours, Task
from bench.session import Session, running
from bench.tracked import ask, fill
from lab.process import until
from mxseal.storage.tracking.file import TrackingFile, TrackingMissing
from mxseal.storage.tracking.schema import NAME

GOAL = 0.9
PAGE_MS = 100.0
"""What the slowest page may take."""
_FIRST = 100_000
"""Messages that are indexed; the others are copies."""
_CATCH_UP = 600.0


class _Ours(Ours):
    """MXSeal with message tracking or without."""

    def __init__(self, task: Task, *, tracked: bool) -> None:
        super().__init__(task)
        self.name = "with" if tracked else "without"
        document: Plain = tomllib.loads(self._document or "")
        document["tracking"] = {"enabled": tracked}
        document["logs"] = {"keep_files": 1000}
        self._document = tomli_w.dumps(document)


def tracking(session: Session) -> list[Row]:
    """Throughput with and without, and the time of answers."""
    say("accepting and delivering with message tracking and without")
    return [_throughput(session), *_answers(session)]


def _throughput(session: Session) -> Row:
    layout = session.layouts[0]
    task = session.task(layout)
    session.sink.place(layout)
    mail = Mail(seconds=session.extent.deliver_seconds)
    found: list[list[Reading]] = [[], []]
    with running(_Ours(task, tracked=True)) as tracked, running(_Ours(task, tracked=False)) as plain:
        session.warm((tracked, plain), mail, task)
        _caught_up(tracked)
        for _ in range(3 * session.extent.turns):
            found[0].append(session.measure(tracked, mail, task))
            _caught_up(tracked)
            found[1].append(session.measure(plain, mail, task))
    return Row(
        key="tracking",
        title="accept and deliver with message tracking",
        layout=layout.name,
        unit="msg/s",
        ours=found[0],
        rival=found[1],
        versus="without",
        goal=GOAL,
    )


def _caught_up(server: Ours) -> None:
    """Wait until the indexer has read all."""
    file = TrackingFile(server.home)

    def read() -> bool:
        try:
            return file.status().unread_bytes == 0
        except TrackingMissing:
            return False

    until(read, server.output, _CATCH_UP)
    file.close()


def _answers(session: Session) -> list[Row]:
    count = session.extent.tracked
    home = RESULTS / "homes" / f"tracked-{count}"
    if not (home / NAME).exists():
        say(f"making a tracking database of {count:,} messages")
        fill(home, count, min(count, _FIRST))
    turns = [ask(home) for _ in range(max(2, session.extent.turns))]
    for asked in zip(*turns, strict=True):
        say(f"{asked[0].title}: {min(each.first for each in asked) * 1000:.1f} ms, {asked[0].found} found")
    slowest = [max(max(each.first, each.far or 0.0) for each in answers) * 1000 for answers in turns]
    typical = [sorted(each.first for each in answers)[len(answers) // 2] * 1000 for answers in turns]
    return [
        Row(
            key=key,
            title=f"findevent, {count:,} messages, {title}",
            layout="all cores",
            unit="ms",
            ours=[Reading(value=value) for value in values],
            better="less",
            goal=PAGE_MS,
            goal_of="ours",
            digits=1,
        )
        for key, title, values in (
            ("tracking-slowest", "slowest page", slowest),
            ("tracking-typical", "a page in the middle", typical),
        )
    ]
