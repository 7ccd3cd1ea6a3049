"""The quarantine: messages are in it or in the queue, once, whatever happens to the process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from mxseal.clock import ManualClock
from mxseal.storage.ports import Envelope, Outcome, Recipient
from mxseal.storage.quarantine import Kept
from mxseal.storage.spool import Limits, SqliteSpool

BIG = b"x" * 200_000


def spool_of(folder: Path) -> SqliteSpool:
    return SqliteSpool(folder, ManualClock(), Limits(100_000, 1 << 30, 0))


def run(folder: Path, steps: Callable[[SqliteSpool], Awaitable[None]]) -> None:
    """Open the queue, do something, and leave it as a process does that is killed."""

    async def main() -> None:
        spool = spool_of(folder)
        try:
            await steps(spool)
        finally:
            spool.close()

    asyncio.run(main())


async def put(spool: SqliteSpool, mid: int, content: bytes = b"content", recipients: int = 2) -> None:
    incoming = spool.begin()
    incoming.write(content)
    found = [Recipient(rid=i, address=f"r{i}@lab.test", next_attempt=100.0) for i in range(recipients)]
    envelope = Envelope(mid=mid, sender="s@lab.test", size=len(content), queued_at=100.0, screening="")
    await incoming.commit(envelope, found)


async def content(spool: SqliteSpool, mid: int) -> bytes:
    return b"".join([piece async for piece in spool.content(mid)])


def test_what_is_known_of_a_message_survives_a_restart(tmp_path: Path) -> None:
    async def first(spool: SqliteSpool) -> None:
        await put(spool, 1)
        assert await spool.shelf.note(1, "state", "X-Mark: a\r\n", 250.0)
        assert not await spool.shelf.note(2, "state", "", None)

    async def second(spool: SqliteSpool) -> None:
        assert await spool.due(249.0, 10) == []
        (queued,) = await spool.due(250.0, 10)
        assert (queued.envelope.screening, queued.envelope.prefix) == ("state", "X-Mark: a\r\n")
        await spool.shelf.note(1, None, "", None)
        (queued,) = await spool.due(250.0, 10)
        assert queued.envelope.screening is None

    run(tmp_path, first)
    run(tmp_path, second)


def test_a_message_in_quarantine_is_nowhere_in_the_queue(tmp_path: Path) -> None:
    async def first(spool: SqliteSpool) -> None:
        await put(spool, 1)
        await put(spool, 2, BIG)
        assert await spool.shelf.put(2, 500.0, "why", "X-Mark: m\r\n")
        assert not await spool.shelf.put(2, 600.0, "again", "")
        await look(spool)

    async def look(spool: SqliteSpool) -> None:
        assert spool.count() == (1, 7)
        assert spool.shelf.count() == (1, len(BIG))
        assert [q.envelope.mid for q in await spool.due(1e12, 10)] == [1]
        assert [q.envelope.mid for q in await spool.browse(-1, 10)] == [1]
        assert await spool.load(2) is None
        assert await spool.next_due(100.0) is None
        await spool.recall(200.0, 150.0)
        assert await spool.next_due(100.0) is None
        assert await spool.shelf.browse(-1, 10) == [
            Kept(mid=2, sender="s@lab.test", recipients=("r0@lab.test", "r1@lab.test"), recipient_count=2,
                 size=len(BIG), arrived=100.0, since=500.0, about="why")
        ]  # fmt: skip
        assert (await spool.shelf.find(2)) is not None
        assert (await spool.shelf.find(1)) is None
        assert [kept.mid for kept in await spool.shelf.oldest(501.0, 10)] == [2]
        assert await spool.shelf.oldest(500.0, 10) == []
        assert await content(spool, 2) == BIG

    run(tmp_path, first)
    run(tmp_path, look)


def test_a_released_message_is_due_once_and_young(tmp_path: Path) -> None:
    async def first(spool: SqliteSpool) -> None:
        await put(spool, 1, BIG)
        await spool.settle([Outcome(mid=1, rid=0, done=True)])
        await spool.shelf.put(1, 500.0, "why", "X-Mark: m\r\n")
        assert await spool.shelf.release(1, 900.0)
        assert not await spool.shelf.release(1, 900.0)

    async def second(spool: SqliteSpool) -> None:
        (queued,) = await spool.due(900.0, 10)
        assert [r.rid for r in queued.recipients] == [1]
        assert (queued.envelope.screening, queued.envelope.queued_at) == (None, 900.0)
        assert queued.envelope.prefix == "X-Mark: m\r\n"
        assert spool.count() == (1, len(BIG))
        assert spool.shelf.count() == (0, 0)
        assert await content(spool, 1) == BIG

    run(tmp_path, first)
    run(tmp_path, second)


def test_what_is_deleted_from_quarantine_leaves_nothing(tmp_path: Path) -> None:
    async def first(spool: SqliteSpool) -> None:
        await put(spool, 1, BIG)
        await put(spool, 2, BIG)
        await spool.shelf.put(1, 500.0, "why", "")
        assert await spool.shelf.drop([1, 2, 3]) == {1: (0, 1)}
        assert spool.count() == (1, len(BIG))
        assert spool.shelf.count() == (0, 0)

    async def second(spool: SqliteSpool) -> None:
        assert [q.envelope.mid for q in await spool.browse(-1, 10)] == [2]
        assert [each.name for each in (tmp_path / "bodies").iterdir()] == ["2"]

    run(tmp_path, first)
    run(tmp_path, second)


def test_a_salvaged_queue_keeps_its_quarantine(tmp_path: Path) -> None:
    async def first(spool: SqliteSpool) -> None:
        await put(spool, 1)
        await put(spool, 2, BIG)
        await spool.shelf.note(1, "state", "X-Mark: a\r\n", None)
        await spool.shelf.put(2, 500.0, "why", "")

    async def second(spool: SqliteSpool) -> None:
        assert spool.count() == (1, 7)
        (kept,) = await spool.shelf.browse(-1, 10)
        assert (kept.mid, kept.since, kept.about) == (2, 500.0, "why")
        (queued,) = await spool.due(100.0, 10)
        assert (queued.envelope.screening, queued.envelope.prefix) == ("state", "X-Mark: a\r\n")

    run(tmp_path, first)
    database = tmp_path / "queue.db"
    with database.open("r+b") as file:  # the list of tables is gone: everything is read from the pages
        file.seek(100)
        file.write(bytes(300))
    run(tmp_path, second)
