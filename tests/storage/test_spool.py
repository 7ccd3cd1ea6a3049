"""The spool: what it has taken survives, what it refuses leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mxseal.clock import ManualClock
from mxseal.storage.ports import Envelope, Outcome, Recipient, StorageRefused
from mxseal.storage.spool import Limits, SqliteSpool

SMALL = b"Subject: small\r\n\r\nhello\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 8192


def open_spool(folder: Path, clock: ManualClock | None = None, **limits: int) -> SqliteSpool:
    values = {"max_messages": 100, "max_bytes": 1 << 30, "min_free_bytes": 0, **limits}
    messages, size, free = values.values()
    return SqliteSpool(folder, clock or ManualClock(), Limits(messages, size, free))


async def store(
    spool: SqliteSpool, mid: int, content: bytes = SMALL, due: float = 0.0, rcpts: int = 1
) -> None:
    incoming = spool.begin()
    for start in range(0, len(content), 4096):
        incoming.write(content[start : start + 4096])
    recipients = [Recipient(rid=i, address=f"u{i}@example.com", next_attempt=due) for i in range(rcpts)]
    await incoming.commit(
        Envelope(mid=mid, sender="a@example.org", size=len(content), queued_at=1.0), recipients
    )


async def content(spool: SqliteSpool, mid: int) -> bytes:
    return b"".join([piece async for piece in spool.content(mid)])


@pytest.mark.parametrize("body", [SMALL, LARGE, b"", b"x" * 65536, b"x" * 65537])
async def test_a_message_is_there_after_reopening_byte_for_byte(tmp_path: Path, body: bytes) -> None:
    spool = open_spool(tmp_path / "spool")
    await store(spool, 7, body, rcpts=2)
    spool.close()
    again = open_spool(tmp_path / "spool")
    (queued,) = await again.due(10.0, 10)
    assert queued.envelope.mid == 7
    assert [r.address for r in queued.recipients] == ["u0@example.com", "u1@example.com"]
    assert await content(again, 7) == body
    assert again.count() == (1, len(body))
    again.close()


async def test_due_gives_the_longest_due_first_and_none_of_the_future(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    for mid, due in ((1, 30.0), (2, 10.0), (3, 20.0), (4, 99.0)):
        await store(spool, mid, due=due)
    assert [q.envelope.mid for q in await spool.due(30.0, 10)] == [2, 3, 1]
    assert [q.envelope.mid for q in await spool.due(30.0, 1)] == [2]
    assert await spool.next_due(30.0) == 99.0
    spool.close()


async def test_a_message_is_finished_when_its_last_recipient_is_done(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    await store(spool, 1, LARGE, rcpts=2)
    assert await spool.settle([Outcome(mid=1, rid=0, done=True)]) == []
    later = Outcome(mid=1, rid=1, done=False, attempts=1, next_attempt=50.0, last_error="451 no", warned=True)
    assert await spool.settle([later]) == []
    queued = await spool.load(1)
    assert queued is not None
    assert queued.recipients == (
        Recipient(
            rid=1, address="u1@example.com", attempts=1, next_attempt=50.0, last_error="451 no", warned=True
        ),
    )
    assert await spool.settle([Outcome(mid=1, rid=1, done=True)]) == [1]
    assert await spool.load(1) is None
    assert spool.count() == (0, 0)
    assert list((tmp_path / "spool/bodies").iterdir()) == []
    spool.close()


async def test_aborted_content_leaves_nothing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool")
    incoming = spool.begin()
    incoming.write(LARGE)
    incoming.abort()
    assert list((tmp_path / "spool/incoming").iterdir()) == []
    assert spool.count() == (0, 0)
    spool.close()


async def test_files_without_a_message_are_removed_at_the_start_and_foreign_files_are_not(
    tmp_path: Path,
) -> None:
    spool = open_spool(tmp_path / "spool")
    await store(spool, 1, LARGE)
    spool.close()
    (tmp_path / "spool/bodies/999").write_bytes(b"left over")
    (tmp_path / "spool/bodies/README").write_bytes(b"not ours")
    (tmp_path / "spool/incoming/3.part").write_bytes(b"half")
    again = open_spool(tmp_path / "spool")
    assert sorted(p.name for p in (tmp_path / "spool/bodies").iterdir()) == ["1", "README"]
    assert list((tmp_path / "spool/incoming").iterdir()) == []
    again.close()


async def test_a_full_queue_refuses_and_takes_again_when_there_is_room(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_messages=1)
    assert spool.refusal() is None
    await store(spool, 1)
    refusal = spool.refusal()
    assert refusal is not None
    assert refusal.kind == "full"
    await spool.settle([Outcome(mid=1, rid=0, done=True)])
    assert spool.refusal() is None
    spool.close()


async def test_too_little_room_on_the_disk_refuses_and_is_looked_at_again(tmp_path: Path) -> None:
    clock = ManualClock()
    spool = open_spool(tmp_path / "spool", clock, min_free_bytes=1 << 60)
    refusal = spool.refusal()
    assert refusal is not None
    assert refusal.kind == "full"
    spool.limits = Limits(100, 1 << 30, 0)
    clock.advance(1.0)
    assert spool.refusal() is None
    spool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
@pytest.mark.parametrize("body", [SMALL * 2000, LARGE], ids=["in the database", "in a file"])
async def test_a_full_disk_refuses_keeps_what_it_has_and_recovers(tmp_path: Path, body: bytes) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], check=True)
    heard: list[str | None] = []
    other = mount / "something-else"
    other.write_bytes(b"x" * (1 << 20))
    try:
        spool = SqliteSpool(
            mount / "spool",
            ManualClock(),
            Limits(10_000, 1 << 30, 0),
            lambda trouble: heard.append(trouble.kind if trouble else None),
        )
        stored = 0
        with pytest.raises(StorageRefused) as refused:
            for mid in range(1, 1000):
                await store(spool, mid, body)
                stored = mid
        assert refused.value.kind == "full"
        assert stored > 3
        assert await content(spool, stored) == body
        other.unlink()
        await store(spool, 5000, SMALL)
        assert await content(spool, 5000) == SMALL
        assert (
            len(await spool.settle([Outcome(mid=m, rid=0, done=True) for m in range(1, stored + 1)]))
            == stored
        )
        assert spool.count() == (1, len(SMALL))
        if body is not LARGE:
            assert heard == ["full", None]
        spool.close()
    finally:
        subprocess.run(["umount", "--lazy", mount], check=True)


async def test_many_messages_share_one_commit(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool", max_messages=10_000)
    commits = 0
    plain = spool._writer._commit

    def counted() -> object:
        nonlocal commits
        commits += 1
        return plain()

    spool._writer._commit = counted  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(store(spool, mid) for mid in range(1, 201)))
    assert spool.count()[0] == 200
    assert commits <= 3
    spool.close()


_WRITER = """
import asyncio, sys
from pathlib import Path
from mxseal.clock import SystemClock
from mxseal.storage.ports import Envelope, Recipient
from mxseal.storage.spool import Limits, SqliteSpool

async def main():
    spool = SqliteSpool(Path(sys.argv[1]), SystemClock(), Limits(10**6, 1 << 40, 0))
    async def one(mid):
        incoming = spool.begin()
        incoming.write(b"x" * (100 if mid % 3 else 100_000))
        size = incoming.size
        await incoming.commit(Envelope(mid=mid, sender="", size=size, queued_at=0.0),
                              [Recipient(rid=0, address="a@b")])
        sys.stdout.write(f"{mid}\\n"); sys.stdout.flush()
    for base in range(1, 100000, 20):
        await asyncio.gather(*(one(base + i) for i in range(20)))
asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 25, 90])
async def test_what_was_promised_survives_kill_9(tmp_path: Path, after: int) -> None:
    folder = tmp_path / "spool"
    command = [sys.executable, "-c", _WRITER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        promised = [int(process.stdout.readline()) for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        promised += [int(line) for line in process.stdout.read().split("\n") if line]
    spool = open_spool(folder)
    kept = {q.envelope.mid: q for q in await spool.browse(0, 100_000)}
    assert set(promised) <= set(kept)
    for mid, queued in kept.items():
        assert len(await content(spool, mid)) == queued.envelope.size
    spool.close()


async def test_recipients_that_wait_longer_than_anybody_can_have_set_are_called_back(tmp_path: Path) -> None:
    clock = ManualClock()
    spool, now = open_spool(tmp_path / "spool", clock), clock.now()
    await store(spool, 1, due=now + 30.0)
    for mid in range(2, 30):
        await store(spool, mid, due=now + 31_536_000.0)
    await spool.recall(now + 100.0, now + 50.0)
    assert await spool.next_due(now) == now + 30.0
    waiting = {r.next_attempt for q in await spool.browse(1, 100) for r in q.recipients}
    assert now + 45.0 <= min(waiting) < max(waiting) <= now + 50.0
    spool.close()
