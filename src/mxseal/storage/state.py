"""The embedded state of a home: numbered documents, candidates, sealed secrets, users and counters.

All of it is small and changes rarely, so calls block; each one is durable when it returns.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from mxseal.storage.ports import Candidate, Revision, StorageRefused
from mxseal.storage.sealing import Seal
from mxseal.storage.writer import connect, refused

_SCHEMA = """
CREATE TABLE IF NOT EXISTS revisions(
    number INTEGER PRIMARY KEY, toml TEXT NOT NULL, user TEXT NOT NULL, comment TEXT NOT NULL,
    at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS candidates(owner TEXT PRIMARY KEY, based_on INTEGER NOT NULL, toml TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS secrets(name TEXT PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS users(name TEXT PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, reserved INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_BLOCK = 1000
"""Numbers reserved at a time: what a crash may skip, and how rarely a counter waits for the disk."""


class State:
    """`state.db` of a home. Implements the ports Documents and, through `secrets`, Secrets."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self._db = connect(path)
        self._db.execute(_SCHEMA)
        self.secrets = SealedSecrets(self._db, seal)
        self._next: dict[str, int] = {}
        self._reserved: dict[str, int] = {}

    def close(self) -> None:
        """Give back the numbers that were reserved and not used, and close."""
        with self._db:
            for name, following in self._next.items():
                self._db.execute("UPDATE counters SET reserved=? WHERE name=?", (following, name))
        self._db.close()

    # --- documents ----------------------------------------------------------------------------------------

    _COLUMNS = "number, toml, user, comment, at"

    def _revision(self, where: str, values: tuple[object, ...] = ()) -> list[Revision]:
        rows = self._db.execute(f"SELECT {self._COLUMNS} FROM revisions {where}", values)  # noqa: S608
        return [Revision(number=r[0], toml=r[1], user=r[2], comment=r[3], at=r[4]) for r in rows]

    def latest(self) -> Revision | None:
        return next(iter(self._revision("ORDER BY number DESC LIMIT 1")), None)

    def get(self, number: int) -> Revision | None:
        return next(iter(self._revision("WHERE number=?", (number,))), None)

    def history(self, limit: int = 50) -> list[Revision]:
        return self._revision("ORDER BY number DESC LIMIT ?", (limit,))

    def put(self, expected: int, toml: str, user: str, comment: str, at: float) -> Revision:
        with self._db:
            newest = self._db.execute("SELECT coalesce(max(number), 0) FROM revisions").get
            if newest != expected:
                raise StorageRefused("conflict", f"revision {newest} was committed in the meantime")
            self._db.execute(
                "INSERT INTO revisions VALUES (?,?,?,?,?)", (expected + 1, toml, user, comment, at)
            )
        return Revision(number=expected + 1, toml=toml, user=user, comment=comment, at=at)

    def candidate(self, owner: str) -> Candidate | None:
        for row in self._db.execute("SELECT owner, based_on, toml FROM candidates WHERE owner=?", (owner,)):
            return Candidate(owner=row[0], based_on=row[1], toml=row[2])
        return None

    def save_candidate(self, candidate: Candidate) -> None:
        self._db.execute(
            "INSERT INTO candidates VALUES (?,?,?) "
            "ON CONFLICT(owner) DO UPDATE SET based_on=excluded.based_on, toml=excluded.toml",
            (candidate.owner, candidate.based_on, candidate.toml),
        )

    def drop_candidate(self, owner: str) -> None:
        self._db.execute("DELETE FROM candidates WHERE owner=?", (owner,))

    # --- users, counters and single facts -----------------------------------------------------------------

    def put_user(self, name: str, password_hash: str, role: str) -> None:
        """Store an administrator; `password_hash` is Argon2's encoded form, never the password."""
        self._db.execute(
            "INSERT INTO users VALUES (?,?,?) "
            "ON CONFLICT(name) DO UPDATE SET password=excluded.password, role=excluded.role",
            (name, password_hash, role),
        )

    def user(self, name: str) -> tuple[str, str] | None:
        """(password hash, role) of an administrator."""
        row = self._db.execute("SELECT password, role FROM users WHERE name=?", (name,)).fetchone()
        return (str(row[0]), str(row[1])) if row else None

    def fact(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return str(row[0]) if row else None

    def put_fact(self, name: str, value: str) -> None:
        self._db.execute(
            "INSERT INTO facts VALUES (?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value",
            (name, value),
        )

    def allocate(self, counter: str) -> int:
        """The next number of a counter: only grows, never given twice, also after kill -9.

        StorageRefused when the disk takes no reservation and the last one is used up. The next block is
        reserved at half of the one before, so that a full disk has time to be cleared.
        """
        following = self._next.get(counter)
        left = 0 if following is None else self._reserved[counter] - following
        if following is None or left == 0 or left == _BLOCK // 2:
            try:
                following = self._reserve(counter, following)
            except apsw.Error as error:
                if following is None or left == 0:
                    raise refused(error) from error
        self._next[counter] = following + 1
        return following

    def reserve(self, counter: str) -> None:
        """Have numbers in hand before the first is needed: a disk may be full by then."""
        if counter not in self._next:
            try:
                self._next[counter] = self._reserve(counter, None)
            except apsw.Error:
                pass  # `allocate` tries again, and tells it

    def _reserve(self, counter: str, following: int | None) -> int:
        with self._db:
            stored = self._db.execute("SELECT reserved FROM counters WHERE name=?", (counter,)).get
            start = following if following is not None else (stored if isinstance(stored, int) else 1)
            self._db.execute(
                "INSERT INTO counters VALUES (?,?) "
                "ON CONFLICT(name) DO UPDATE SET reserved=excluded.reserved",
                (counter, start + _BLOCK),
            )
        self._reserved[counter] = start + _BLOCK
        return start


class SealedSecrets:
    """The port Secrets: values sealed under the home's key file."""

    def __init__(self, db: apsw.Connection, seal: Seal) -> None:
        self._db = db
        self._seal = seal

    def get(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT sealed FROM secrets WHERE name=?", (name,)).fetchone()
        return self._seal.open(name, bytes(row[0])) if row else None

    def put(self, name: str, value: bytes) -> None:
        self._db.execute(
            "INSERT INTO secrets VALUES (?,?) ON CONFLICT(name) DO UPDATE SET sealed=excluded.sealed",
            (name, self._seal.seal(name, value)),
        )

    def delete(self, name: str) -> None:
        self._db.execute("DELETE FROM secrets WHERE name=?", (name,))

    def names(self) -> list[str]:
        return [str(row[0]) for row in self._db.execute("SELECT name FROM secrets ORDER BY name")]
