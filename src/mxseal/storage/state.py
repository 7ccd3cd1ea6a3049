"""The embedded state of a home: numbered documents, candidates, sealed secrets, users and counters.

All of it is small and changes rarely, so calls block; each one is durable when it returns.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from mxseal.storage import bindings, cluster, tokens
from mxseal.storage.pages import log_path, lost_in_log
from mxseal.storage.ports import Candidate, Revision, StorageRefused
from mxseal.storage.schema import DAMAGED, HomeRefused, Schema, check_version, lacking, make, migrate
from mxseal.storage.sealing import Seal
from mxseal.storage.users import TABLES, User, Users
from mxseal.storage.web import TABLES as WEB_TABLES
from mxseal.storage.web import WebStore
from mxseal.storage.writer import connect, refused

_VERSION_0 = """
CREATE TABLE IF NOT EXISTS revisions(
    number INTEGER PRIMARY KEY, toml TEXT NOT NULL, user TEXT NOT NULL, comment TEXT NOT NULL,
    at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS candidates(owner TEXT PRIMARY KEY, based_on INTEGER NOT NULL, toml TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS secrets(name TEXT PRIMARY KEY, sealed BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS users(name TEXT PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters(name TEXT PRIMARY KEY, reserved INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS facts(name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
SCHEMA = Schema(
    _VERSION_0,
    ("", TABLES, WEB_TABLES, tokens.TABLES, bindings.TABLES, cluster.TABLES),
    frozenset({"revisions", "candidates", "secrets", "users", "counters", "facts"}),
)


def _open(path: Path) -> apsw.Connection:
    check_version(path, SCHEMA.version)
    if not path.exists() and not log_path(path).exists():
        make(path, SCHEMA)
    problem = lost_in_log(path)
    if not path.exists() or not path.stat().st_size:
        problem = "it is empty or missing"
    if problem is not None:
        raise _damaged(path, problem)
    connection = None
    try:
        connection = connect(path)
        problem = lacking(connection, SCHEMA) or _unsound(connection)
        if problem is None:
            migrate(connection, SCHEMA)
            return connection
    except DAMAGED as error:
        problem = str(error)
    if connection is not None:
        # Closing would write what is in its log into the file, and delete the log.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.close()
    raise _damaged(path, problem)


def _unsound(connection: apsw.Connection) -> str | None:
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return None if said == ["ok"] else "; ".join(said[:3])


def _damaged(path: Path, problem: str) -> HomeRefused:
    return HomeRefused(
        f"{path} is damaged: {problem}. It was left as it is. Move state.db, state.db-wal and state.db-shm "
        "away, restore state.db from the last backup of this home, and start again: the queue is not touched "
        "by this. Without a backup, make a new home with 'mxseal init', load what 'mxseal saveconfig' wrote, "
        "and move the folder spool into it."
    )


class State:
    """`state.db` of a home. Implements the ports Documents and, through `secrets`, Secrets."""

    def __init__(self, path: Path, seal: Seal) -> None:
        """Opens the file, or makes it. HomeRefused when it is damaged or a newer program wrote it: then it
        stays as it is."""
        self._db = _open(path)
        self.secrets = SealedSecrets(self._db, seal)
        self.users = Users(self._db)
        self.web = WebStore(self._db, seal)
        self.tokens = tokens.Tokens(self._db)
        self.cluster = cluster.ClusterRevisions(self._db)

    def close(self) -> None:
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

    def candidate_owners(self) -> list[str]:
        """Everybody who has uncommitted changes."""
        return [str(row[0]) for row in self._db.execute("SELECT owner FROM candidates ORDER BY owner")]

    def drop_candidate(self, owner: str) -> None:
        self._db.execute("DELETE FROM candidates WHERE owner=?", (owner,))

    # --- counters and single facts ------------------------------------------------------------------------

    def put_user(self, name: str, password_hash: str, role: str) -> None:
        """Store an administrator; `password_hash` is Argon2's encoded form, never the password."""
        self.users.put(User(name=name, role=role, password=password_hash))

    def fact(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
        return str(row[0]) if row else None

    def put_fact(self, name: str, value: str) -> None:
        """Durable when it returns. StorageRefused when the disk does not take it."""
        try:
            self._db.execute(
                "INSERT INTO facts VALUES (?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value",
                (name, value),
            )
        except apsw.Error as error:
            raise refused(error) from error


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
