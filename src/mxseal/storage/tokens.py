"""Tokens by which programs use the API: who they stand for, what they may do, and until when.

A token's text is not stored: only the SHA-256 of its secret part, which has 256 bits of chance in it and
can't be guessed from that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import msgspec

from mxseal.storage.writer import refused

TABLES = """
CREATE TABLE tokens(
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, user TEXT NOT NULL, role TEXT NOT NULL,
    digest BLOB NOT NULL, made REAL NOT NULL, made_by TEXT NOT NULL, expires REAL, used REAL,
    used_from TEXT NOT NULL DEFAULT '');
"""
"""What version 4 of the state has more than version 3."""
_COLUMNS = "id, name, user, role, digest, made, made_by, expires, used, used_from"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a token. Times in seconds since the epoch."""

    id: str
    """The part of its text that is no secret."""
    name: str
    user: str
    """The user that it belongs to; "" for one of the gateway's owner, who has no user here."""
    role: str
    digest: bytes
    made: float
    made_by: str
    expires: float | None
    """None: never."""
    used: float | None = None
    """When it was last used, to within a minute."""
    used_from: str = ""


class Tokens:
    """The tokens of a home. Each change is durable when it returns; StorageRefused where the disk refuses."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except apsw.Error as error:
            raise refused(error) from error

    def get(self, token: str) -> Token | None:
        """By its id."""
        return next(iter(self._select("WHERE id=?", (token,))), None)

    def named(self, name: str) -> Token | None:
        return next(iter(self._select("WHERE name=?", (name,))), None)

    def all(self) -> list[Token]:
        """All of them, by name."""
        return self._select("ORDER BY name", ())

    def _select(self, which: str, values: tuple[str, ...]) -> list[Token]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM tokens {which}", values)  # noqa: S608
        return [
            Token(
                id=r[0], name=r[1], user=r[2], role=r[3], digest=bytes(r[4]), made=r[5], made_by=r[6],
                expires=r[7], used=r[8], used_from=r[9],
            )
            for r in rows
        ]  # fmt: skip

    def put(self, token: Token) -> None:
        """Store a new token, whose id and name nobody has."""
        with self._changing():
            self._db.execute(
                f"INSERT INTO tokens({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
                msgspec.structs.astuple(token),
            )

    def delete(self, token: str) -> None:
        with self._changing():
            self._db.execute("DELETE FROM tokens WHERE id=?", (token,))

    def used(self, token: str, at: float, remote: str) -> None:
        with self._changing():
            self._db.execute("UPDATE tokens SET used=?, used_from=? WHERE id=?", (at, remote, token))
