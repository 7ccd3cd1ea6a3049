"""Who may administer the gateway, with which password and keys, and who logged in when."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import msgspec

from mxseal.storage.web import forget_user
from mxseal.storage.writer import refused

KEPT_LOGINS = 1000
TABLES = """
ALTER TABLE users ADD COLUMN full_name TEXT NOT NULL DEFAULT '';
CREATE TABLE user_keys(
    user TEXT NOT NULL, fingerprint TEXT NOT NULL, kind TEXT NOT NULL, blob BLOB NOT NULL,
    comment TEXT NOT NULL, added REAL NOT NULL, PRIMARY KEY(user, fingerprint));
CREATE TABLE logins(
    number INTEGER PRIMARY KEY, user TEXT NOT NULL, role TEXT NOT NULL, face TEXT NOT NULL,
    remote TEXT NOT NULL, method TEXT NOT NULL, began REAL NOT NULL, ended REAL, ending TEXT NOT NULL);
"""
"""What version 2 of the state has more than version 1."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An administrator in the wide sense. `password` is Argon2's encoded form, "" for keys only."""

    name: str
    role: str
    password: str = ""
    full_name: str = ""


class UserKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that a user may log in with: its type, and its value as SSH sends it (RFC 4253 §6.6)."""

    fingerprint: str
    """SHA256:…, as ssh-keygen -l shows it."""
    kind: str
    blob: bytes
    comment: str
    added: float


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One login. `ended` is None while it lasts; `ending` says why when it was not the user who ended it."""

    number: int
    user: str
    role: str
    face: str
    remote: str
    method: str
    began: float
    ended: float | None
    ending: str


class Users:
    """The users of a home. Each change is durable when it returns; StorageRefused where the disk refuses."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except apsw.Error as error:
            raise refused(error) from error

    # --- users --------------------------------------------------------------------------------------------

    def get(self, name: str) -> User | None:
        return next((user for user in self._select("WHERE name=?", (name,))), None)

    def all(self) -> list[User]:
        """All of them, by name."""
        return self._select("ORDER BY name", ())

    def _select(self, which: str, values: tuple[str, ...]) -> list[User]:
        rows = self._db.execute(f"SELECT name, role, password, full_name FROM users {which}", values)  # noqa: S608
        return [User(name=r[0], role=r[1], password=r[2], full_name=r[3]) for r in rows]

    def put(self, user: User) -> None:
        """Store a new user, or the new values of one."""
        with self._changing():
            self._db.execute(
                "INSERT INTO users(name, password, role, full_name) VALUES (?,?,?,?) ON CONFLICT(name) DO "
                "UPDATE SET password=excluded.password, role=excluded.role, full_name=excluded.full_name",
                (user.name, user.password, user.role, user.full_name),
            )

    def delete(self, name: str) -> None:
        """Remove a user with keys, tokens, second factors, sessions and uncommitted changes: whoever gets the
        name next gets none of it."""
        with self._changing():
            forget_user(self._db, name)
            self._db.execute("DELETE FROM user_keys WHERE user=?", (name,))
            self._db.execute(
                "DELETE FROM candidates WHERE owner='user:'||? OR owner IN "
                "(SELECT 'token:'||id FROM tokens WHERE user=?)",
                (name, name),
            )
            self._db.execute("DELETE FROM tokens WHERE user=?", (name,))
            self._db.execute("DELETE FROM users WHERE name=?", (name,))

    # --- public keys --------------------------------------------------------------------------------------

    def keys(self, name: str) -> list[UserKey]:
        """In the order in which they were added."""
        rows = self._db.execute(
            "SELECT fingerprint, kind, blob, comment, added FROM user_keys WHERE user=? ORDER BY added, "
            "fingerprint",
            (name,),
        )
        return [
            UserKey(fingerprint=r[0], kind=r[1], blob=bytes(r[2]), comment=r[3], added=r[4]) for r in rows
        ]

    def has_key(self, name: str, blob: bytes) -> bool:
        found = self._db.execute("SELECT 1 FROM user_keys WHERE user=? AND blob=?", (name, blob))
        return found.fetchone() is not None

    def put_key(self, name: str, key: UserKey) -> None:
        with self._changing():
            self._db.execute(
                "INSERT OR REPLACE INTO user_keys(user, fingerprint, kind, blob, comment, added) "
                "VALUES (?,?,?,?,?,?)",
                (name, key.fingerprint, key.kind, key.blob, key.comment, key.added),
            )

    def delete_key(self, name: str, fingerprint: str) -> None:
        with self._changing():
            self._db.execute("DELETE FROM user_keys WHERE user=? AND fingerprint=?", (name, fingerprint))

    # --- logins -------------------------------------------------------------------------------------------

    def began(self, user: User, face: str, remote: str, method: str, at: float) -> int:
        """Note a login; gives its number. The oldest beyond KEPT_LOGINS are forgotten."""
        with self._changing():
            number = self._db.execute(
                "INSERT INTO logins(user, role, face, remote, method, began, ending) VALUES (?,?,?,?,?,?,'') "
                "RETURNING number",
                (user.name, user.role, face, remote, method, at),
            ).get
            assert isinstance(number, int)
            self._db.execute("DELETE FROM logins WHERE number<=?", (number - KEPT_LOGINS,))
        return number

    def ended(self, number: int, at: float, ending: str = "") -> None:
        with self._changing():
            self._db.execute("UPDATE logins SET ended=?, ending=? WHERE number=?", (at, ending, number))

    def all_ended(self, at: float) -> None:
        """At the start of a gateway: whoever was logged in is not any more, whatever ended the last one. A
        browser's session goes on."""
        with self._changing():
            self._db.execute(
                "UPDATE logins SET ended=?, ending='gone' WHERE ended IS NULL AND face<>'web'", (at,)
            )

    def logins(self, limit: int) -> list[Login]:
        """The last ones, the newest first."""
        rows = self._db.execute(
            "SELECT number, user, role, face, remote, method, began, ended, ending FROM logins "
            "ORDER BY number DESC LIMIT ?",
            (limit,),
        )
        return [
            Login(
                number=r[0], user=r[1], role=r[2], face=r[3], remote=r[4], method=r[5], began=r[6],
                ended=r[7], ending=r[8],
            )
            for r in rows
        ]  # fmt: skip

    def came_from(self, name: str, remote: str) -> bool:
        """Whether this user has logged in from this address before."""
        found = self._db.execute("SELECT 1 FROM logins WHERE user=? AND remote=?", (name, remote))
        return found.fetchone() is not None
