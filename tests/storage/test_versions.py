"""Homes of other versions: an older one is brought up to date, wherever it is cut; a newer one is refused."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from mxseal.clock import ManualClock
from mxseal.storage import queuefile, state
from mxseal.storage.board import Board
from mxseal.storage.home import Home, HomeRefused
from mxseal.storage.layout import LAYOUT
from mxseal.storage.numbers import Numbers
from mxseal.storage.schema import Schema, make, migrate
from mxseal.storage.spool import Limits, SqliteSpool
from mxseal.storage.writer import connect

SMALL = b"Subject: small\r\n\r\nhello\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 8192
FIRST_QUEUE = """
CREATE TABLE messages(
    mid INTEGER PRIMARY KEY, sender TEXT NOT NULL, size INTEGER NOT NULL, queued_at REAL NOT NULL,
    smtputf8 INTEGER NOT NULL, eightbit INTEGER NOT NULL, icid INTEGER, dsn_for INTEGER,
    body BLOB);
CREATE TABLE recipients(
    mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_attempt REAL NOT NULL, last_error TEXT NOT NULL, warned INTEGER NOT NULL,
    PRIMARY KEY(mid, rid)) WITHOUT ROWID;
CREATE INDEX recipients_due ON recipients(next_attempt);
"""
FIRST_STATE = """
CREATE TABLE revisions(
    number INTEGER PRIMARY KEY, toml TEXT NOT NULL, user TEXT NOT NULL, comment TEXT NOT NULL,
    at REAL NOT NULL);
CREATE TABLE candidates(owner TEXT PRIMARY KEY, based_on INTEGER NOT NULL, toml TEXT NOT NULL);
CREATE TABLE secrets(name TEXT PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE users(name TEXT PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL);
CREATE TABLE counters(name TEXT PRIMARY KEY, reserved INTEGER NOT NULL);
CREATE TABLE facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@pytest.fixture
def first(tmp_path: Path) -> Home:
    """A home as the first program with a queue left it: nothing in it tells a version."""
    home = Home(tmp_path / "home")
    for folder in (home.root, home.spool, home.spool / "bodies", home.spool / "incoming"):
        folder.mkdir(mode=0o700)
    home.key_file.write_bytes(bytes(32))
    home.key_file.chmod(0o600)
    queue = apsw.Connection(str(home.spool / "queue.db"))
    queue.execute(f"PRAGMA page_size=16384; PRAGMA journal_mode=WAL; {FIRST_QUEUE}").fetchall()
    queue.execute("INSERT INTO messages VALUES (7,'a@sender.test',?,1.0,0,0,3,NULL,?)", (len(SMALL), SMALL))
    queue.execute("INSERT INTO messages VALUES (8,'',?,2.0,0,1,NULL,7,NULL)", (len(LARGE),))
    queue.execute("INSERT INTO recipients VALUES (7,0,'b@example.test',2,5.0,'451 later',1)")
    queue.execute("INSERT INTO recipients VALUES (8,0,'c@example.test',0,6.0,'',0)")
    queue.close()
    (home.spool / "bodies" / "8").write_bytes(LARGE)
    db = apsw.Connection(str(home.state_file))
    db.execute(f"PRAGMA journal_mode=WAL; {FIRST_STATE}").fetchall()
    db.execute("INSERT INTO revisions VALUES (1,'hostname = ''mx''','init','first',1.0)")
    db.execute("INSERT INTO counters VALUES ('mid',1001)")
    db.close()
    return home


def is_served(home: Home) -> None:
    """What the first program had taken is in the queue and in the state."""
    asyncio.run(_is_served(home))


async def _is_served(home: Home) -> None:
    spool = SqliteSpool(home.spool / "0", ManualClock(), Limits(100, 1 << 30, 0))
    spool.tell(lambda damage: pytest.fail(str(damage)))
    small, large = await spool.browse(0, 10)
    assert (small.envelope.mid, small.envelope.sender, small.recipients[0].attempts) == (
        7,
        "a@sender.test",
        2,
    )
    assert (large.envelope.mid, large.envelope.dsn_for) == (8, 7)
    assert b"".join([piece async for piece in spool.content(8)]) == LARGE
    assert b"".join([piece async for piece in spool.content(7)]).startswith(b"Subject: small")
    assert spool.highest() == 8
    spool.close()
    opened = home.open_state()
    revision = opened.latest()
    assert revision is not None
    assert revision.number == 1
    opened.close()
    assert Numbers(home.state_file, Board.make(1)).allocate("mid") >= 1001


def version(path: Path) -> object:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("PRAGMA user_version").get
    finally:
        connection.close()


def test_a_home_of_the_first_version_is_brought_up_to_date(first: Home) -> None:
    (done,) = first.upgrade()
    assert "spool/0" in done
    is_served(first)
    assert version(first.spool / "0/queue.db") == queuefile.SCHEMA.version
    assert version(first.state_file) == state.SCHEMA.version
    assert first.upgrade() == []
    is_served(first)


def test_a_new_home_has_the_latest_version_from_the_beginning(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.open_state().close()
    asyncio.run(_make_spool(home))
    assert (home.root / "layout").read_text() == f"{LAYOUT}\n"
    assert home.upgrade() == []
    assert version(home.state_file) == state.SCHEMA.version
    assert version(home.spool / "0/queue.db") == queuefile.SCHEMA.version


async def _make_spool(home: Home) -> None:
    SqliteSpool(home.spool / "0", ManualClock(), Limits(100, 1 << 30, 0)).close()


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that is killed before its n-th change of a folder; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def watch(event: str, _: tuple[object, ...]) -> None:
            nonlocal count
            if event in {"os.mkdir", "os.rename"}:
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_a_move_to_the_new_layout_that_is_killed_anywhere_is_finished_by_the_next_start(first: Home) -> None:
    step = 1
    while killed_at(step, first.upgrade):
        # The next attempt goes one step further, from where this one stopped.
        step += 1
        assert step < 20
    assert step > 2
    first.upgrade()
    is_served(first)


def test_a_move_that_is_killed_at_its_every_first_step_still_ends(first: Home) -> None:
    for step in (2, 2, 1, 2, 3):
        killed_at(step, first.upgrade)
    first.upgrade()
    is_served(first)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_migration_that_is_killed_leaves_the_version_before_it(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    old = Schema("CREATE TABLE one(a)", ("CREATE TABLE two(a)",), frozenset({"one"}))
    new = Schema(
        old.first, (*old.migrations, "CREATE TABLE three(a); INSERT INTO three VALUES (die())"), old.tables
    )
    make(path, old)

    def upgrade() -> None:
        connection = connect(path)
        connection.create_scalar_function("die", _die, 0)
        migrate(connection, new)

    assert killed_at(1_000, upgrade)
    assert version(path) == 1
    connection = connect(path)
    connection.create_scalar_function("die", lambda *_: 5, 0)
    seen: list[int] = []
    migrate(connection, new, seen.append)
    assert seen == [1]
    assert connection.execute("SELECT a FROM three").get == 5
    connection.close()
    assert version(path) == 2


def fingerprint(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def raised(path: Path, *, in_log: bool = False) -> None:
    """Give a database the version of a program that is yet to come."""
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA journal_mode=WAL" if in_log else "PRAGMA journal_mode=DELETE")
    connection.execute("PRAGMA user_version=9")
    connection.close()


@pytest.mark.parametrize("place", ["layout", "state.db", "spool/queue.db", "spool/3/queue.db", "in the log"])
def test_a_newer_home_is_refused_in_a_sentence_before_anything_is_touched(first: Home, place: str) -> None:
    if place == "layout":
        (first.root / "layout").write_text("9\n")
    else:
        path = first.state_file if place == "in the log" else first.root / place
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            make(path, queuefile.SCHEMA)
        raised(path, in_log=place == "in the log")
    before = fingerprint(first.root)
    with pytest.raises(HomeRefused) as refused:
        first.upgrade()
    said = str(refused.value)
    assert "version 9, and this program knows versions up to" in said
    assert "Start the newer program again" in said
    assert fingerprint(first.root) == before


@pytest.mark.parametrize("place", ["state.db", "spool/queue.db"])
def test_each_database_refuses_a_newer_version_by_itself_too(first: Home, place: str) -> None:
    raised(first.root / place)
    before = fingerprint(first.root)
    with pytest.raises(HomeRefused, match="version 9"):
        if place == "state.db":
            first.open_state()
        else:
            queuefile.open_queue(first.spool, first.spool / "bodies", 0.0)
    assert fingerprint(first.root) == before


def test_a_layout_that_is_no_number_is_refused(first: Home) -> None:
    (first.root / "layout").write_text("one\n")
    with pytest.raises(HomeRefused, match="instead of a number"):
        first.upgrade()


def test_a_damaged_state_is_refused_and_left_as_it_is(first: Home) -> None:
    first.open_state().close()
    whole = first.state_file.read_bytes()
    for damaged in (
        b"",
        b"garbage" * 1000,
        whole[: len(whole) // 2],
        whole[:4096] + b"\xff" * 4096 + whole[8192:],
    ):
        first.state_file.write_bytes(damaged)
        with pytest.raises(HomeRefused, match=r"is damaged: .* restore state.db from the last backup"):
            first.open_state()
        assert first.state_file.read_bytes() == damaged


def test_a_state_whose_log_lost_its_end_is_refused(first: Home) -> None:
    opened = first.open_state()
    for number in range(1, 20):
        opened.put(number, f"a = {number}", "anna", "", 1.0)
    log = first.root / "state.db-wal"
    copies = {path.name: path.read_bytes() for path in first.root.glob("state.db*")}
    opened.close()
    for name, data in copies.items():
        (first.root / name).write_bytes(data)
    log.write_bytes(copies[log.name][:-5000])
    with pytest.raises(HomeRefused, match="committed pages in its log"):
        first.open_state()
    log.write_bytes(copies[log.name])
    latest = first.open_state().latest()
    assert latest is not None
    assert latest.number == 20


def test_a_home_that_cannot_be_written_is_refused_in_a_sentence(tmp_path: Path) -> None:
    root = tmp_path / "home"
    root.mkdir()
    (root / "lock").mkdir()
    with pytest.raises(HomeRefused, match="can't be written"):
        Home(root).lock()


def test_a_share_in_which_something_was_set_aside_is_not_removed(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    for number in (0, 1):
        home.share(number).mkdir(parents=True, exist_ok=True)
    kept = home.share(0) / "damaged-20260214T192028Z"
    kept.mkdir()
    home.drop_share(0)
    home.drop_share(1)
    assert kept.exists()
    assert home.shares() == [0]
