"""What the web face keeps: sessions, second factors, and what users chose for themselves.

Rows of `state.db`, beside the users: a rollback of the configuration must not bring a session back. Session
ids, recovery codes and challenges are stored as hashes; the secret of a second factor is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

from mxseal.storage.bindings import Bindings
from mxseal.storage.sealing import Seal
from mxseal.storage.writer import refused

TABLES = """
CREATE TABLE web_sessions(
    id BLOB PRIMARY KEY, user TEXT NOT NULL, stamp BLOB NOT NULL, csrf TEXT NOT NULL, stage TEXT NOT NULL,
    method TEXT NOT NULL, remote TEXT NOT NULL, agent TEXT NOT NULL, began REAL NOT NULL, seen REAL NOT NULL,
    login INTEGER) WITHOUT ROWID;
CREATE TABLE web_settings(user TEXT PRIMARY KEY, language TEXT NOT NULL);
CREATE TABLE totp(user TEXT PRIMARY KEY, sealed BLOB NOT NULL, step INTEGER NOT NULL, added REAL NOT NULL);
CREATE TABLE recovery_codes(user TEXT NOT NULL, hash BLOB NOT NULL, PRIMARY KEY(user, hash)) WITHOUT ROWID;
CREATE TABLE passkeys(
    credential BLOB PRIMARY KEY, user TEXT NOT NULL, host TEXT NOT NULL, key BLOB NOT NULL,
    count INTEGER NOT NULL, name TEXT NOT NULL, added REAL NOT NULL, used REAL) WITHOUT ROWID;
"""
"""What version 3 of the state has more than version 2."""
_OF_USERS = ("web_sessions", "web_settings", "totp", "recovery_codes", "passkeys", "user_certificates")


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that is logged in, or on its way. Times in seconds since the epoch."""

    id: bytes
    """SHA-256 of what the browser's cookie holds."""
    user: str
    stamp: bytes
    """Digest of the user's password and role at login: when they change, the session is over."""
    csrf: str
    stage: str
    """factor: the password was right and the second factor is awaited; enrol: one must be set up first;
    in: logged in."""
    method: str
    remote: str
    agent: str
    began: float
    seen: float
    login: int | None
    """Its number among the logins."""


class Totp(msgspec.Struct, frozen=True, kw_only=True):
    """A user's authenticator app (RFC 6238). `step` is the last time step whose code was used."""

    user: str
    secret: bytes
    step: int
    added: float


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A user's WebAuthn credential: `key` is its public key (COSE), `host` the name that it is bound to."""

    credential: bytes
    user: str
    host: str
    key: bytes
    count: int
    name: str
    added: float
    used: float | None


def forget_user(db: apsw.Connection, name: str) -> None:
    """Remove all rows of a user. For `Users.delete`, within its transaction."""
    for table in _OF_USERS:
        db.execute(f"DELETE FROM {table} WHERE user=?", (name,))  # noqa: S608


class WebStore:
    """The tables of the web face. Each change is durable when it returns; StorageRefused where the disk
    refuses."""

    def __init__(self, db: apsw.Connection, seal: Seal) -> None:
        self._db = db
        self._seal = seal
        self.certificates = Bindings(db)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._db:
                yield
        except apsw.Error as error:
            raise refused(error) from error

    def _change(self, sql: str, values: Sequence[Any]) -> int:
        """Gives how many rows were touched."""
        with self._changing():
            self._db.execute(sql, values)
            return self._db.changes()

    # --- sessions -----------------------------------------------------------------------------------------

    _SESSION = "id, user, stamp, csrf, stage, method, remote, agent, began, seen, login"

    def _sessions(self, which: str, values: Sequence[Any]) -> list[Session]:
        rows = self._db.execute(f"SELECT {self._SESSION} FROM web_sessions {which}", values)  # noqa: S608
        return [
            Session(
                id=bytes(r[0]), user=r[1], stamp=bytes(r[2]), csrf=r[3], stage=r[4], method=r[5], remote=r[6],
                agent=r[7], began=r[8], seen=r[9], login=r[10],
            )
            for r in rows
        ]  # fmt: skip

    def session(self, key: bytes) -> Session | None:
        return next(iter(self._sessions("WHERE id=?", (key,))), None)

    def sessions(self, user: str | None = None) -> list[Session]:
        """Of one user, or of all; the one used last comes first."""
        if user is None:
            return self._sessions("ORDER BY seen DESC, id", ())
        return self._sessions("WHERE user=? ORDER BY seen DESC, id", (user,))

    def put_session(self, session: Session) -> None:
        self._change(
            f"INSERT OR REPLACE INTO web_sessions({self._SESSION}) VALUES (?,?,?,?,?,?,?,?,?,?,?)",  # noqa: S608
            msgspec.structs.astuple(session),
        )

    def seen(self, key: bytes, at: float) -> None:
        self._change("UPDATE web_sessions SET seen=? WHERE id=?", (at, key))

    def end_session(self, key: bytes) -> bool:
        return self._change("DELETE FROM web_sessions WHERE id=?", (key,)) > 0

    # --- settings -----------------------------------------------------------------------------------------

    def language(self, user: str) -> str | None:
        row = self._db.execute("SELECT language FROM web_settings WHERE user=?", (user,)).fetchone()
        return str(row[0]) if row else None

    def put_language(self, user: str, language: str | None) -> None:
        """None: as the browser asks."""
        if language is None:
            self._change("DELETE FROM web_settings WHERE user=?", (user,))
            return
        self._change("INSERT OR REPLACE INTO web_settings(user, language) VALUES (?,?)", (user, language))

    # --- second factors -----------------------------------------------------------------------------------

    def totp(self, user: str) -> Totp | None:
        row = self._db.execute("SELECT sealed, step, added FROM totp WHERE user=?", (user,)).fetchone()
        if row is None:
            return None
        secret = self._seal.open(f"totp:{user}", bytes(row[0]))
        return Totp(user=user, secret=secret, step=int(row[1]), added=float(row[2]))

    def put_totp(self, totp: Totp) -> None:
        sealed = self._seal.seal(f"totp:{totp.user}", totp.secret)
        self._change(
            "INSERT OR REPLACE INTO totp(user, sealed, step, added) VALUES (?,?,?,?)",
            (totp.user, sealed, totp.step, totp.added),
        )

    def use_step(self, user: str, step: int) -> bool:
        """Mark a code's time step as used; False when it, or a later one, was used already."""
        return self._change("UPDATE totp SET step=? WHERE user=? AND step<?", (step, user, step)) > 0

    def delete_totp(self, user: str) -> bool:
        return self._change("DELETE FROM totp WHERE user=?", (user,)) > 0

    def put_recovery(self, user: str, hashes: Sequence[bytes]) -> None:
        """These codes, instead of those that there were."""
        with self._changing():
            self._db.execute("DELETE FROM recovery_codes WHERE user=?", (user,))
            self._db.executemany(
                "INSERT INTO recovery_codes(user, hash) VALUES (?,?)", [(user, each) for each in hashes]
            )

    def use_recovery(self, user: str, digest: bytes) -> bool:
        """True once for each code."""
        return self._change("DELETE FROM recovery_codes WHERE user=? AND hash=?", (user, digest)) > 0

    def recovery_left(self, user: str) -> int:
        found = self._db.execute("SELECT count(*) FROM recovery_codes WHERE user=?", (user,)).get
        assert isinstance(found, int)
        return found

    _PASSKEY = "credential, user, host, key, count, name, added, used"

    def passkeys(self, user: str) -> list[Passkey]:
        """In the order in which they were added."""
        rows = self._db.execute(
            f"SELECT {self._PASSKEY} FROM passkeys WHERE user=? ORDER BY added, credential",  # noqa: S608
            (user,),
        )
        return [
            Passkey(
                credential=bytes(r[0]), user=r[1], host=r[2], key=bytes(r[3]), count=r[4], name=r[5],
                added=r[6], used=r[7],
            )
            for r in rows
        ]  # fmt: skip

    def put_passkey(self, passkey: Passkey) -> bool:
        """False when somebody has this credential already: nobody may take another's over."""
        sql = f"INSERT OR IGNORE INTO passkeys({self._PASSKEY}) VALUES (?,?,?,?,?,?,?,?)"  # noqa: S608
        return self._change(sql, msgspec.structs.astuple(passkey)) > 0

    def use_passkey(self, credential: bytes, count: int, at: float) -> None:
        self._change("UPDATE passkeys SET count=?, used=? WHERE credential=?", (count, at, credential))

    def delete_passkey(self, user: str, credential: bytes) -> bool:
        return self._change("DELETE FROM passkeys WHERE user=? AND credential=?", (user, credential)) > 0

    def delete_factors(self, user: str) -> None:
        """All second factors of a user, and the codes for when they are lost."""
        with self._changing():
            for table in ("totp", "recovery_codes", "passkeys"):
                self._db.execute(f"DELETE FROM {table} WHERE user=?", (user,))  # noqa: S608

    def has_factor(self, user: str) -> bool:
        found = self._db.execute(
            "SELECT EXISTS(SELECT 1 FROM totp WHERE user=?) OR EXISTS(SELECT 1 FROM passkeys WHERE user=?)",
            (user, user),
        ).get
        return bool(found)
