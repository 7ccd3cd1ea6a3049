"""A damaged queue: what is whole goes on, what is not is set aside, and somebody is told of it."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from mxseal.storage.ports import Outcome, QueueDamage, StorageRefused
from tests.storage.queues import Found, Promised, crashed, open_spool

PAGE = 16 * 1024
SEED = 20260214


def overwrite(path: Path, at: int, count: int, chance: random.Random) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(chance.randbytes(count))


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Promised, Path, Promised]:
    """A queue whose database has everything, and one that is all in its log."""
    place = tmp_path_factory.mktemp("queues")
    copied = crashed(place / "copied", checkpoint=True)
    logged = crashed(place / "logged")
    return place / "copied", copied, place / "logged", logged


@pytest.fixture
def copied(made: tuple[Path, Promised, Path, Promised], tmp_path: Path) -> tuple[Path, Promised]:
    shutil.copytree(made[0], tmp_path / "spool")
    return tmp_path / "spool", made[1]


@pytest.fixture
def logged(made: tuple[Path, Promised, Path, Promised], tmp_path: Path) -> tuple[Path, Promised]:
    shutil.copytree(made[2], tmp_path / "spool")
    return tmp_path / "spool", made[3]


def test_a_queue_as_a_crash_leaves_it_is_whole_and_nobody_is_alarmed(
    copied: tuple[Path, Promised], made: tuple[Path, Promised, Path, Promised], tmp_path: Path
) -> None:
    shutil.copytree(made[2], tmp_path / "other")
    for folder, promised in (copied, (tmp_path / "other", made[3])):
        found = Found(folder)
        assert found.kept == promised
        assert found.alerts == []
        assert list(folder.glob("damaged-*")) == []


@pytest.mark.parametrize("count", [PAGE, 64], ids=["a page", "64 bytes"])
def test_random_bytes_anywhere_in_the_database_cost_only_what_they_hit(
    made: tuple[Path, Promised, Path, Promised], tmp_path: Path, count: int
) -> None:
    origin, promised = made[0], made[1]
    chance = random.Random(SEED)
    for page in range((origin / "queue.db").stat().st_size // PAGE):
        folder = tmp_path / str(page)
        shutil.copytree(origin, folder)
        offset = 0 if count == PAGE else chance.choice((0, chance.randrange(PAGE - count)))
        overwrite(folder / "queue.db", page * PAGE + offset, count, chance)
        found = Found(folder)
        found.nothing_is_dropped(promised)
        if (page, count) != (2, PAGE):  # the only page with recipients: no address is left anywhere
            assert len(found.kept) >= len(promised) - 16, (
                f"page {page} cost {set(promised) - set(found.kept)}"
            )


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_database_that_was_cut_loses_only_what_lay_behind_the_cut(
    copied: tuple[Path, Promised], part: float
) -> None:
    folder, promised = copied
    size = (folder / "queue.db").stat().st_size
    cut(folder / "queue.db", int(size * part))
    found = Found(folder)
    assert len(found.alerts) >= 1
    assert all(promised[mid][0] == content for mid, (content, _) in found.kept.items())
    in_files = {mid for mid, (content, _) in promised.items() if len(content) > 65536}
    kept = {int(path.stem) for path in folder.glob("damaged-*/*") if path.stem.isdecimal()} | set(found.kept)
    kept |= {int(path.name) for path in folder.glob("damaged-*/*") if path.name.isdecimal()}
    assert in_files <= kept, "large content is never thrown away with a lost envelope"
    if part == 0.9:
        assert len(found.kept) > len(promised) // 2


def test_a_database_that_is_gone_or_empty_beside_its_log_is_read_from_the_log(
    made: tuple[Path, Promised, Path, Promised], tmp_path: Path
) -> None:
    def empty(path: Path) -> None:
        cut(path, 0)

    damages: list[Callable[[Path], None]] = [empty, Path.unlink]
    for number, damage in enumerate(damages):
        folder = tmp_path / str(number)
        shutil.copytree(made[2], folder)
        damage(folder / "queue.db")
        found = Found(folder)
        found.nothing_is_dropped(made[3])
        assert len(found.kept) == len(made[3])
        (alert,) = found.alerts
        assert alert.saved == len(made[3])
        assert (Path(alert.folder) / "queue.db-wal").exists()


def test_random_bytes_anywhere_in_the_log_cost_only_what_they_hit(
    made: tuple[Path, Promised, Path, Promised], tmp_path: Path
) -> None:
    origin, promised = made[2], made[3]
    size = (origin / "queue.db-wal").stat().st_size
    chance = random.Random(SEED)
    places = [0, 16, 32, *(chance.randrange(size - 32) for _ in range(7)), size - 200]
    for number, place in enumerate(places):
        folder = tmp_path / str(number)
        shutil.copytree(origin, folder)
        overwrite(folder / "queue.db-wal", place, 32, chance)
        found = Found(folder)
        assert found.alerts, f"nobody was told of the damage at {place}"
        assert all(promised[mid][0] == content for mid, (content, _) in found.kept.items())
        lost = set(promised) - set(found.kept) - set(found.aside)
        assert len(lost) <= 3, f"damage at {place} cost {lost}"


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_a_log_that_was_cut_is_noticed_and_what_is_in_it_goes_on(
    logged: tuple[Path, Promised], part: float
) -> None:
    folder, promised = logged
    cut(folder / "queue.db-wal", int((folder / "queue.db-wal").stat().st_size * part))
    found = Found(folder)
    assert "committed pages" in found.alerts[0].problem
    assert all(promised[mid] == kept for mid, kept in found.kept.items() if mid not in found.aside)
    if part == 0.99:
        assert len(found.kept) >= len(promised) - 3


def test_without_its_index_a_log_that_is_damaged_in_the_middle_is_still_noticed(
    logged: tuple[Path, Promised],
) -> None:
    folder, _ = logged
    (folder / "queue.db-shm").unlink()
    overwrite(folder / "queue.db-wal", (folder / "queue.db-wal").stat().st_size // 2, 32, random.Random(SEED))
    (alert,) = Found(folder).alerts[:1]
    assert "whole pages follow" in alert.problem


def test_garbage_behind_the_end_of_a_log_is_what_a_crash_may_leave(logged: tuple[Path, Promised]) -> None:
    folder, promised = logged
    with (folder / "queue.db-wal").open("ab") as file:
        file.write(random.Random(SEED).randbytes(50_000))
    found = Found(folder)
    assert found.kept == promised
    assert found.alerts == []


def test_messages_that_were_delivered_do_not_come_back_from_free_pages(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    promised = crashed(folder, checkpoint=True)

    async def deliver() -> None:
        spool = open_spool(folder)
        for mid in list(promised)[:30]:
            recipients = range(len(promised[mid][1]))
            await spool.settle([Outcome(mid=mid, rid=rid, done=True) for rid in recipients])
            del promised[mid]
        spool.close()

    asyncio.run(deliver())
    database = (folder / "queue.db").read_bytes()
    for number, page in enumerate((0, 1, 2, 3)):
        again = tmp_path / str(number)
        shutil.copytree(folder, again)
        (again / "queue.db").write_bytes(database)
        overwrite(again / "queue.db", page * PAGE, PAGE, random.Random(SEED))
        found = Found(again)
        found.nothing_is_dropped(promised)


@pytest.mark.parametrize("left", [None, 1000, 0])
def test_content_that_is_missing_or_cut_is_set_aside_with_its_envelope(
    copied: tuple[Path, Promised], left: int | None
) -> None:
    folder, promised = copied
    victim = next(mid for mid, (content, _) in promised.items() if len(content) > 65536)
    path = folder / "bodies" / str(victim)
    path.unlink() if left is None else cut(path, left)
    found = Found(folder)
    found.nothing_is_dropped(promised)
    assert set(promised) - set(found.kept) == {victim}
    told = found.aside[victim]
    assert told["sender"] == f"a{victim}@example.org"
    assert told["content"] == (None if left is None else f"{victim}.eml")
    (alert,) = found.alerts
    assert (alert.aside, alert.file) == ((victim,), f"message {victim}")


@pytest.mark.parametrize("large", [True, False])
async def test_content_that_has_changed_is_noticed_before_the_last_of_it_is_sent(
    tmp_path: Path, large: bool
) -> None:
    folder = tmp_path / "spool"
    promised = await asyncio.to_thread(crashed, folder, 10, checkpoint=True)
    victim = next(mid for mid, (content, _) in promised.items() if (len(content) > 65536) == large)
    content = promised[victim][0]
    for path in (folder / "queue.db", *(folder / "bodies").iterdir()):
        path.write_bytes(path.read_bytes().replace(content[-20:], b"x" * 20))
    spool, alerts, sent = open_spool(folder), list[QueueDamage](), b""
    spool.tell(alerts.append)
    with pytest.raises(StorageRefused, match="damaged"):
        async for piece in spool.content(victim):
            sent += piece
    assert len(sent) < len(content)
    assert await spool.load(victim) is None
    assert spool.count()[0] == 9
    assert [alert.aside for alert in alerts] == [(victim,)]
    (kept,) = folder.glob(f"damaged-*/{victim}.eml")
    assert len(kept.read_bytes()) == len(content)
    spool.close()


async def test_a_recipient_whose_address_has_changed_gets_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    promised = await asyncio.to_thread(crashed, folder, 10, checkpoint=True)
    path = folder / "queue.db"
    path.write_bytes(path.read_bytes().replace(b"user5-0@example.com", b"user5-0@exampel.com"))
    spool, alerts = open_spool(folder), list[QueueDamage]()
    spool.tell(alerts.append)
    due = await spool.due(1e12, 1000)
    assert {queued.envelope.mid for queued in due} == set(promised) - {5}
    assert [alert.aside for alert in alerts] == [(5,)]
    spool.close()


async def test_damage_that_comes_while_the_queue_is_in_use_is_mended_and_the_queue_goes_on(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "spool"
    promised = await asyncio.to_thread(crashed, folder, 40, checkpoint=True)
    spool, alerts = open_spool(folder), list[QueueDamage]()
    spool.tell(alerts.append)
    path = folder / "queue.db"
    roots = {
        str(row[0]): int(row[1])
        for row in spool._connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE type='table'")
    }
    overwrite(path, (roots["messages"] - 1) * PAGE, PAGE, random.Random(SEED))
    with pytest.raises(StorageRefused):
        await spool.due(1e12, 1000)
    assert (refusal := spool.refusal()) is not None
    assert "salvaged" in str(refusal)
    assert spool._repair is not None
    await spool._repair
    due = await spool.due(1e12, 1000)
    assert {queued.envelope.mid for queued in due} == set(promised)
    assert alerts[0].saved == len(promised) == spool.count()[0]
    assert spool.refusal() is None
    assert await spool.settle([Outcome(mid=3, rid=0, done=True)]) == [3]
    spool.close()


def test_a_salvage_that_was_cut_short_is_done_again(copied: tuple[Path, Promised]) -> None:
    folder, promised = copied
    # As far as it gets without the last step: the new file is complete, the old one half moved away.
    Found(folder)
    (folder / "queue.db").rename(folder / "queue.db.salvaged")
    (folder / "queue.db").write_bytes(b"the damaged one")
    found = Found(folder)
    assert found.kept == promised


def test_a_database_without_its_tables_is_damaged_and_not_new(copied: tuple[Path, Promised]) -> None:
    folder, promised = copied
    raw = apsw.Connection(str(folder / "queue.db"))
    raw.execute("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name='messages'")
    raw.close()
    found = Found(folder)
    assert "messages" in found.alerts[0].problem
    found.nothing_is_dropped(promised)
    assert len(found.kept) == len(promised)
