"""The queue's database: its schema, how it is opened, and what is looked at before it is trusted.

What SQLite can't read, or reads and can't be true, is salvaged into a new file (`salvage`); single messages
that are not whole are set aside. Both are told to the caller, who must tell an operator.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import apsw
import msgspec

from mxseal.storage.aside import Aside
from mxseal.storage.pages import log_path, lost_in_log
from mxseal.storage.ports import QueueDamage
from mxseal.storage.rows import facts_of
from mxseal.storage.salvage import SALVAGED, salvage
from mxseal.storage.schema import DAMAGED, Schema, check_version, lacking, make, migrate, rename
from mxseal.storage.writer import connect

NAME = "queue.db"
PAGE_BYTES = 16 * 1024
"""Several small messages share a page, and the log is written page by page: a third of the system calls."""
_VERSION_0 = """
CREATE TABLE IF NOT EXISTS messages(
    mid INTEGER PRIMARY KEY, sender TEXT NOT NULL, size INTEGER NOT NULL, queued_at REAL NOT NULL,
    smtputf8 INTEGER NOT NULL, eightbit INTEGER NOT NULL, icid INTEGER, dsn_for INTEGER,
    body BLOB);
CREATE TABLE IF NOT EXISTS recipients(
    mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL, attempts INTEGER NOT NULL,
    next_attempt REAL NOT NULL, last_error TEXT NOT NULL, warned INTEGER NOT NULL,
    PRIMARY KEY(mid, rid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recipients_due ON recipients(next_attempt);
"""
_TO_1 = """
ALTER TABLE messages ADD COLUMN crc INTEGER;
ALTER TABLE recipients ADD COLUMN crc INTEGER;
CREATE INDEX in_files ON messages(size) WHERE body IS NULL;
"""
"""`crc`: see `rows`; NULL in rows of version 0. `in_files`: the start compares sizes without reading all
rows."""
_TO_2 = "ALTER TABLE messages ADD COLUMN tls_level TEXT;"
_TO_3 = "ALTER TABLE recipients ADD COLUMN route TEXT;"
_TO_4 = """
ALTER TABLE messages ADD COLUMN asks TEXT;
ALTER TABLE messages ADD COLUMN masked TEXT;
ALTER TABLE messages ADD COLUMN head BLOB;
ALTER TABLE messages ADD COLUMN skip INTEGER;
ALTER TABLE messages ADD COLUMN head_crc INTEGER;
ALTER TABLE recipients ADD COLUMN groups TEXT;
"""
"""`masked` and `head` are the sender and the header that a directory put in the place of those that came,
which stay: the content need not be written anew."""
_TO_5 = """
ALTER TABLE messages ADD COLUMN screening TEXT;
ALTER TABLE messages ADD COLUMN prefix TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN quarantined REAL;
CREATE INDEX in_quarantine ON messages(quarantined) WHERE quarantined IS NOT NULL;
"""
"""`screening`: what is known of a message's files; NULL: nothing has to be. See `quarantine`."""
SCHEMA = Schema(_VERSION_0, (_TO_1, _TO_2, _TO_3, _TO_4, _TO_5), frozenset({"messages", "recipients"}))


class Opened(msgspec.Struct):
    """A queue that is ready for use."""

    writer: apsw.Connection
    reader: apsw.Connection
    messages: int
    bytes: int
    kept: tuple[int, int]
    """(messages, bytes) in quarantine, which are not among the others."""
    damage: list[QueueDamage]
    """What was found and set aside on the way."""


def open_queue(folder: Path, bodies: Path, at: float, broken: str | None = None) -> Opened:
    """Open a spool folder's queue, making it if there is none. `at` names what is set aside.

    `broken`: damage that was found while the queue was in use; it is salvaged then, whatever it looks like.
    HomeRefused when a newer program has written it; nothing is touched then.
    """
    path, damage = folder / NAME, list[QueueDamage]()
    if (folder / SALVAGED).exists():  # the last start was cut short right before its end
        _replace(folder, at)
    check_version(path, SCHEMA.version)
    problem = broken or _problem_of_files(folder, bodies)
    if problem is None and not path.exists():
        make(path, SCHEMA, PAGE_BYTES)
    if problem is None:
        try:
            return _opened(folder, bodies, at, damage)
        except DAMAGED as error:
            problem = str(error)
    damage.append(_salvaged(folder, bodies, at, problem))
    return _opened(folder, bodies, at, damage)


def _problem_of_files(folder: Path, bodies: Path) -> str | None:
    """What can be told without SQLite, which would quietly begin anew."""
    path = folder / NAME
    if not path.exists():
        used = log_path(path).exists() or (bodies.is_dir() and any(bodies.iterdir()))
        return "it is missing" if used else None
    if not path.stat().st_size:
        return "it is empty"
    return lost_in_log(path)


def _salvaged(folder: Path, bodies: Path, at: float, problem: str) -> QueueDamage:
    aside = Aside(folder, at)
    saved = salvage(folder / NAME, bodies, aside, SCHEMA, PAGE_BYTES)
    for name in _files():
        aside.take(folder / name)
    aside.sync()
    rename(folder / SALVAGED, folder / NAME)
    return QueueDamage(
        file=str(folder / NAME), problem=problem, saved=saved, aside=tuple(aside.mids), folder=aside.told
    )


def _replace(folder: Path, at: float) -> None:
    aside = Aside(folder, at)
    for name in _files():
        aside.take(folder / name)
    aside.sync()
    rename(folder / SALVAGED, folder / NAME)


def _files() -> Iterable[str]:
    return NAME, f"{NAME}-wal", f"{NAME}-shm"


def leave_log(connection: apsw.Connection) -> None:
    """Keep a damaged database's log when the connection closes: SQLite would copy and delete it."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)


def _opened(folder: Path, bodies: Path, at: float, damage: list[QueueDamage]) -> Opened:
    writer = connect(folder / NAME, page_size=PAGE_BYTES)
    try:
        if (missing := lacking(writer, SCHEMA)) is not None:
            raise apsw.CorruptError(missing)
        migrate(writer, SCHEMA)
        said = [str(row[0]) for row in writer.execute("PRAGMA integrity_check(recipients)")]
        if said != ["ok"]:
            raise apsw.CorruptError("; ".join(said[:3]))
        damage += _set_aside(writer, folder, bodies, at)
        kept = _count(writer, "WHERE quarantined IS NOT NULL")
        count, size = _count(writer)
    except DAMAGED:
        leave_log(writer)
        writer.close()
        raise
    except BaseException:
        writer.close()
        raise
    return Opened(
        writer, connect(folder / NAME, read_only=True), count - kept[0], size - kept[1], kept, damage
    )


def _count(connection: apsw.Connection, where: str = "") -> tuple[int, int]:
    row = connection.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM messages {where}").fetchone()  # noqa: S608
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _set_aside(connection: apsw.Connection, folder: Path, bodies: Path, at: float) -> list[QueueDamage]:
    """Set aside the messages that can be seen not to be whole, and remove content that belongs to none."""
    found = {int(each.name): each.stat().st_size for each in bodies.iterdir() if each.name.isdecimal()}
    wrong: dict[int, str] = {}
    for mid, size in connection.execute("SELECT mid, size FROM messages WHERE body IS NULL"):
        there = found.pop(mid, None)
        if there is None:
            wrong[mid] = f"its content file {bodies / str(mid)} is missing"
        elif there != size:
            wrong[mid] = f"its content file has {there} bytes instead of {size}"
    wrong |= _incomplete(connection)
    damage = set_aside(connection, Aside(folder, at), bodies, wrong)
    for mid in found:  # left over from a crash before the promise, or behind the delivery
        (bodies / str(mid)).unlink()
    return damage


def _incomplete(connection: apsw.Connection) -> dict[int, str]:
    """Messages without recipients, recipients without a message: no transaction of ours leaves either."""
    counts = connection.execute(
        "SELECT (SELECT count(*) FROM messages), (SELECT count(DISTINCT mid) FROM recipients)"
    ).fetchone()
    wrong = {}
    for (mid,) in connection.execute(
        "SELECT DISTINCT mid FROM recipients WHERE mid NOT IN (SELECT mid FROM messages)"
    ):
        wrong[int(mid)] = "its envelope and content are lost"
    if wrong or (counts and counts[0] != counts[1]):
        for (mid,) in connection.execute(
            "SELECT mid FROM messages WHERE mid NOT IN (SELECT mid FROM recipients)"
        ):
            wrong[int(mid)] = "its recipients are lost"
    return wrong


def set_aside(
    connection: apsw.Connection, aside: Aside, bodies: Path, wrong: dict[int, str]
) -> list[QueueDamage]:
    """Move messages out of the queue; `wrong` says what is the matter with each. First written, then
    deleted."""
    for mid, problem in wrong.items():
        row = connection.execute("SELECT * FROM messages WHERE mid=?", (mid,)).fetchone()
        recipients = connection.execute("SELECT * FROM recipients WHERE mid=?", (mid,)).fetchall()
        facts = facts_of(row, recipients, problem)
        content = bytes(row[8]) if row and row[8] is not None else bodies / str(mid)
        aside.message(mid, facts, content)
    aside.sync()
    if wrong:
        with connection:
            for mid in wrong:
                connection.execute("DELETE FROM recipients WHERE mid=?", (mid,))
                connection.execute("DELETE FROM messages WHERE mid=?", (mid,))
    return [
        QueueDamage(file=f"message {mid}", problem=problem, saved=0, aside=(mid,), folder=aside.told)
        for mid, problem in wrong.items()
    ]
