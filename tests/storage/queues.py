"""Queues as a crash leaves them, what was promised in them, and what became of it."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path

from mxseal.clock import ManualClock
from mxseal.storage.ports import Envelope, QueueDamage, Recipient
from mxseal.storage.spool import Limits, SqliteSpool

Promised = dict[int, tuple[bytes, tuple[str, ...]]]
"""MID to content and recipients."""
SIZES = (30, 3_000, 15_000, 40_000, 150_000)
"""In a page with others, with overflow pages, in a file."""


def open_spool(folder: Path) -> SqliteSpool:
    return SqliteSpool(folder, ManualClock(), Limits(100_000, 1 << 30, 0))


def crashed(folder: Path, count: int = 40, *, checkpoint: bool = False) -> Promised:
    """A queue of `count` messages as kill -9 leaves it: with its log, unless that was just copied into it."""
    return asyncio.run(_crashed(folder, count, checkpoint=checkpoint))


async def _crashed(folder: Path, count: int, *, checkpoint: bool) -> Promised:
    work = folder.with_name(f"{folder.name}-made")
    spool = open_spool(work)
    promised: Promised = {}
    chance = random.Random(count)
    for mid in range(1, count + 1):
        content = (
            f"Subject: {mid}\r\n\r\n".encode() + chance.randbytes(SIZES[mid % len(SIZES)]).hex().encode()
        )
        recipients = tuple(f"user{mid}-{rid}@example.com" for rid in range(1 + mid % 3))
        await put(spool, mid, content, recipients)
        promised[mid] = (content, recipients)
    if checkpoint:
        spool._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(work, folder)
    spool.close()
    shutil.rmtree(work)
    return promised


async def put(spool: SqliteSpool, mid: int, content: bytes, recipients: tuple[str, ...]) -> None:
    incoming = spool.begin()
    for at in range(0, len(content), 50_000):
        incoming.write(content[at : at + 50_000])
    envelope = Envelope(mid=mid, sender=f"a{mid}@example.org", size=len(content), queued_at=float(mid))
    await incoming.commit(envelope, [Recipient(rid=i, address=each) for i, each in enumerate(recipients)])


class Found:
    """What a start finds in a queue: messages that go on, whole; what was set aside; the alerts."""

    def __init__(self, folder: Path) -> None:
        self.alerts: list[QueueDamage] = []
        self.kept: Promised = {}
        asyncio.run(self._look(folder))
        self.aside: dict[int, dict[str, object]] = {}
        for path in folder.glob("damaged-*/*.json"):
            told = json.loads(path.read_text())
            self.aside[told["mid"]] = told

    async def _look(self, folder: Path) -> None:
        spool = open_spool(folder)
        spool.tell(self.alerts.append)
        for queued in await spool.browse(0, 100_000):
            mid = queued.envelope.mid
            try:
                content = b"".join([piece async for piece in spool.content(mid)])
            except Exception:  # noqa: BLE001 - it was set aside, or the test fails
                continue
            self.kept[mid] = (content, tuple(r.address for r in queued.recipients))
        assert spool.count()[0] == len(self.kept)
        spool.close()

    def nothing_is_dropped(self, promised: Promised) -> None:
        """Each message goes on as it was, or was set aside with an alert that names it."""
        told = {mid for alert in self.alerts for mid in alert.aside}
        for mid, (content, recipients) in promised.items():
            if mid not in self.kept:
                assert mid in self.aside, f"message {mid} is gone without a word"
                assert mid in told, f"nobody was told of message {mid}"
                continue
            assert self.kept[mid][0] == content, f"message {mid} has changed"
            assert set(self.kept[mid][1]) <= set(recipients), f"message {mid} has other recipients"
            assert self.kept[mid][1] == recipients or mid in told, f"message {mid} lost a recipient"
        assert set(self.kept) <= set(promised)
