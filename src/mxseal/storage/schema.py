"""Versions of the files in a home: how an older one is brought up to date and a newer one is refused.

A database tells its version in `PRAGMA user_version`. Version 0 is the schema that files had before they told
one; each migration leads to the next version, in one transaction with the number, so that after kill -9 a
file has one version or the next.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import apsw
import msgspec

from mxseal.storage.pages import stored_version
from mxseal.storage.writer import connect

DAMAGED = (apsw.CorruptError, apsw.NotADBError)
"""SQLite's words for a file whose content makes no sense."""
_HIGHEST = 10_000
"""A number above this was never written by any program of ours: the file is damaged, not newer."""


class HomeRefused(Exception):
    """The home can't be used as it is, and was not changed; the text is a sentence with the remedy."""


class Schema(msgspec.Struct, frozen=True):
    """What one kind of database looks like, and looked like."""

    first: str
    """SQL that makes version 0."""
    migrations: tuple[str, ...]
    """SQL that leads from version i to i + 1."""
    tables: frozenset[str]
    """What every version has: a file without them is damaged."""

    @property
    def version(self) -> int:
        return len(self.migrations)


def check_version(path: Path, known: int) -> None:
    """HomeRefused when the file was written by a newer program. Only reads, also where a log is left
    behind."""
    found = stored_version(path)
    if found is not None and known < found < _HIGHEST:
        raise newer(path, found, known)


def newer(path: Path, found: int, known: int) -> HomeRefused:
    return HomeRefused(
        f"{path} has version {found}, and this program knows versions up to {known}: a newer MXSeal has used "
        "this home. Nothing was changed. Start the newer program again, or restore the backup that was made "
        "before the upgrade."
    )


def make(path: Path, schema: Schema, page_size: int = 4096) -> None:
    """Make a database. It has its name only once it is complete: an empty file of that name is a damaged
    one."""
    draft = path.with_name(f"{path.name}.new")
    for each in (draft, *(draft.with_name(f"{draft.name}{end}") for end in ("-wal", "-shm", "-journal"))):
        each.unlink(missing_ok=True)
    connection = connect(draft, page_size=page_size)
    try:
        with connection:
            connection.execute(schema.first)
        migrate(connection, schema)
    finally:
        connection.close()
    rename(draft, path)


def migrate(
    connection: apsw.Connection, schema: Schema, before: Callable[[int], object] = lambda _version: None
) -> None:
    """Bring an open database up to date. `before` is called with each version that it has on the way."""
    while (version := _version(connection)) < schema.version:
        before(version)
        with connection:
            connection.execute(schema.migrations[version]).fetchall()
            connection.execute(f"PRAGMA user_version={version + 1}")


def lacking(connection: apsw.Connection, schema: Schema) -> str | None:
    """What stands against taking an open database for one of this kind: tables that it must have and
    lacks."""
    found = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    missing = sorted(schema.tables - found)
    if missing:
        return f"it has no table {missing[0]}"
    version = _version(connection)
    return f"its version number {version} makes no sense" if not 0 <= version <= schema.version else None


def _version(connection: apsw.Connection) -> int:
    found = connection.execute("PRAGMA user_version").get
    return found if isinstance(found, int) else 0


def sync_folder(folder: Path) -> None:
    """Make names in a folder survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(path: Path, to: Path) -> None:
    """Rename, durably."""
    path.rename(to)
    sync_folder(to.parent)
    if path.parent != to.parent:
        sync_folder(path.parent)
