"""The lines about a long queue. It is written straight into the spool: hours of load in seconds."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from pathlib import Path

from bench.machine import confined
from bench.peers import DOMAINS, Mail, say
from bench.results import Reading, Row
from bench.servers import Ours
from bench.session import Session, running
from lab.place import folder_for
from mxseal.clock import SystemClock
from mxseal.storage.board import Board
from mxseal.storage.home import Home, Limits
from mxseal.storage.numbers import Numbers
from mxseal.storage.ports import Envelope, Recipient
from mxseal.storage.spool import SqliteSpool

SIZE = 2048
_BATCH = 2000
_FAR = 6 * 3600.0
"""Seconds until messages that wait are tried again: later than any run ends."""
_LINE = b"What was said is written here in lines as long as people write them, so far.\r\n"


@dataclass(frozen=True)
class Filled:
    """A home with messages on its spool, and the port that its document names."""

    home: Path
    port: int


def filled(session: Session, home: Path, messages: int, *, due: bool) -> Filled:
    """A new home with `messages` waiting: due at once, or none of them within hours."""
    ours = Ours(replace(session.task(session.widest), home=home))
    with running(ours):
        pass
    if messages:
        asyncio.run(_fill(Home(home), messages, 0.0 if due else time.time() + _FAR))
    return Filled(home, ours.port)


async def _fill(home: Home, messages: int, next_attempt: float) -> None:
    clock = SystemClock()
    board = Board.make(1)
    numbers = Numbers(home.state_file, board)
    spool = SqliteSpool(home.share(0), clock, Limits(messages * 2, 1 << 50, 0))
    try:
        for start in range(0, messages, _BATCH):
            batch = range(start, min(start + _BATCH, messages))
            await asyncio.gather(
                *(_put(spool, numbers.allocate("mid"), number, clock.now(), next_attempt) for number in batch)
            )
    finally:
        spool.close()
        numbers.give_back()
        numbers.close()
        board.close()


async def _put(spool: SqliteSpool, mid: int, number: int, now: float, next_attempt: float) -> None:
    head = f"From: <sender@example.net>\r\nMessage-ID: <waiting.{number}@example.net>\r\n\r\n".encode()
    incoming = spool.begin()
    incoming.write(head + (_LINE * (SIZE // len(_LINE) + 1))[: SIZE - len(head) - 2] + b"\r\n")
    envelope = Envelope(mid=mid, sender="sender@example.net", size=SIZE, queued_at=now)
    # Not to d0, where the measured mail goes: others wait, in the same queue.
    address = f"user{number % 1000}@d{1 + number % (DOMAINS - 1)}.example.test"
    attempts = 0 if next_attempt <= now else 1
    recipient = Recipient(rid=0, address=address, attempts=attempts, next_attempt=next_attempt)
    await incoming.commit(envelope, [recipient])


def queue(session: Session) -> list[Row]:
    """Accepting and delivering with a long queue, beside an empty one."""
    rows = []
    count = session.extent.backlog
    mail = Mail(seconds=session.extent.deliver_seconds)
    with folder_for("bench-queue") as folder:
        say(f"filling a queue with {count:,} messages that wait")
        long = filled(session, folder / "long", count, due=False)
        empty = filled(session, folder / "empty", 0, due=False)
        for layout in session.layouts:
            say(f"accepting and delivering beside {count:,} waiting messages, server on {layout.name}")
            task = session.task(layout)
            session.sink.place(layout)
            tasks = [replace(task, home=each.home, port=each.port) for each in (long, empty)]
            with running(Ours(tasks[0])) as ours, running(Ours(tasks[1])) as other:
                found = session.alternate((ours, other), mail, task)
            rows.append(
                Row(
                    key="queue",
                    title=f"accept and deliver beside {count:,} waiting",
                    layout=layout.name,
                    unit="msg/s",
                    ours=found[0],
                    rival=found[1],
                    versus="MXSeal, empty queue",
                    goal=0.8,
                )
            )
    return rows


def start(session: Session) -> list[Row]:
    """From the start of the process to the first delivery, all of a long queue being due."""
    rows = []
    count = session.extent.backlog
    with folder_for("bench-start") as folder:
        say(f"filling a queue with {count:,} messages that are due")
        made = filled(session, folder / "home", count, due=True)
        for layout in session.layouts:
            say(f"start with {count:,} messages due, server on {layout.name}")
            task = replace(session.task(layout), home=made.home, port=made.port)
            session.sink.place(layout)
            readings = [_first_delivery(session, Ours(task)) for _ in range(session.extent.turns)]
            rows.append(
                Row(
                    key="start",
                    title=f"start with {count:,} due: first delivery",
                    layout=layout.name,
                    unit="s",
                    ours=readings,
                    better="less",
                    goal=5.0,
                    goal_of="ours",
                    digits=2,
                )
            )
    return rows


def _first_delivery(session: Session, ours: Ours) -> Reading:
    sink = session.sink
    sink.forget_first()
    before = sink.counts().messages
    begun = time.monotonic()
    try:
        with confined(ours.task.layout.server):
            ours.start()
        seconds = sink.wait(before + 1).first - begun
        # What was delivered until now may come again after this: nothing is measured by it.
        ours.kill9()
    finally:
        ours.end()
    return Reading(value=seconds)
