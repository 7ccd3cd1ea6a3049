"""What TLS with each peer was like: a record for later questions, shared by all workers.

It is a record, not a promise: what the last seconds before a crash brought is missing. Strangers choose
domains and connect from where they like, so that each direction has a bounded number of rows of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import apsw
import msgspec

from mxseal.storage.schema import DAMAGED, Schema, lacking, make, migrate
from mxseal.storage.writer import connect
from mxseal.tls.policy import LEVELS, Level

# The order is that of all such choices: typing keeps the first of two that it calls equal.
Direction = Literal["in", "out"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
Outcome = Literal["tls", "clear", "failed"]
"""failed: TLS was tried or needed, and it came to nothing."""
Names = Literal["matched", "differs", "open", ""]
"""open: it depends on the reverse name, which nobody asked for. "": there was no certificate to read."""
JUDGED: tuple[Level, ...] = LEVELS[1:]
"""The levels with a verdict; `off` lets everything pass."""
MOST = 50_000
"""Peers in each direction."""
KEPT_SECONDS = 366 * 86_400.0

_TALLIES = ("tls", "clear", "failed", "broken", "messages_tls", "messages_clear")
_VERDICTS = tuple(f"{verdict}_{n.replace('-', '_')}" for n in JUDGED for verdict in ("passed", "refused"))
_KEY = ("direction", "domain", "host")
_COUNTED = (*_TALLIES, *_VERDICTS)
_COLUMNS = (*_KEY, "first", "last", *_COUNTED, "facts_at", "facts")

# The names are those above: nothing of a stranger's gets into the text of a statement.
SCHEMA = Schema(
    first=f"""
        CREATE TABLE peer(
            direction TEXT NOT NULL, domain TEXT NOT NULL, host TEXT NOT NULL,
            first REAL NOT NULL, last REAL NOT NULL,
            {", ".join(f"{name} INTEGER NOT NULL" for name in _COUNTED)},
            facts_at REAL NOT NULL, facts TEXT,
            PRIMARY KEY(direction, domain, host)
        ) WITHOUT ROWID;
        CREATE INDEX peer_age ON peer(direction, last);
    """,
    migrations=(),
    tables=frozenset({"peer"}),
)
_PUT = f"""
    INSERT INTO peer({", ".join(_COLUMNS)}) VALUES({", ".join("?" * len(_COLUMNS))})
    ON CONFLICT DO UPDATE SET
        first=min(first, excluded.first), last=max(last, excluded.last),
        {", ".join(f"{name}={name}+excluded.{name}" for name in _COUNTED)},
        facts=CASE WHEN excluded.facts_at >= facts_at THEN excluded.facts ELSE facts END,
        facts_at=max(facts_at, excluded.facts_at)
"""
_READ = f"SELECT {', '.join(_COLUMNS)} FROM peer"  # noqa: S608
_OLDEST = (
    "DELETE FROM peer WHERE direction=? AND (domain, host) IN "
    "(SELECT domain, host FROM peer WHERE direction=? ORDER BY last LIMIT ?)"
)


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the last connection was like that told anything about TLS."""

    outcome: Outcome
    level: str = ""
    """The level in force then; "" where it is not known."""
    protocol: str = ""
    cipher: str = ""
    group: str = ""
    trusted: bool | None = None
    """Whether the chain led to an authority that is believed; None: there was none to judge."""
    chain_error: str = ""
    """OpenSSL's first reason why not."""
    names: Names = ""
    """By the rules of preferred-verify and required-verify."""
    names_hosted: Names = ""
    """By the rules of required-verify-hosted."""
    name: str = ""
    """The certificate's name that matched, else the one nearest to what was expected."""
    expected: str = ""
    """What it matched, or is nearest to."""
    subject: str = ""
    issuer: str = ""
    sha256: str = ""
    spki_sha256: str = ""
    expires: float | None = None
    """Seconds since the epoch."""
    sent: int = 0
    """Certificates in the chain as it was sent, at most ten."""
    passes: tuple[str, ...] = ()
    """The levels under which mail would have gone over this connection."""
    undecided: tuple[str, ...] = ()
    cause: str = ""
    """The diagnosis' identifier; "" without any."""
    reason: str = ""
    """The diagnosis in one sentence."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """A peer's row, or what is to be added to it. Times are seconds since the epoch."""

    direction: Direction
    domain: str
    """out: of the recipient; in: of the client's verified name, or its address."""
    host: str
    """out: the name of the next hop; in: ""."""
    first: float
    last: float
    tls: int = 0
    """Connections over TLS that the policy took."""
    clear: int = 0
    """Connections that carried mail, or began to, without TLS."""
    failed: int = 0
    """Connections on which TLS failed or was refused."""
    broken: int = 0
    """Connections that were not made or ended before anything was known about TLS."""
    messages_tls: int = 0
    messages_clear: int = 0
    passed: dict[str, int] = {}
    """By level: connections over which mail would have gone."""
    refused: dict[str, int] = {}
    facts_at: float = 0.0
    facts: Facts | None = None

    @property
    def connections(self) -> int:
        return self.tls + self.clear + self.failed + self.broken

    def passes(self, level: str) -> bool | None:
        """The verdict of a level on the last connection; None: it is not known."""
        if self.facts is None or level in self.facts.undecided:
            return None
        return level in self.facts.passes


def _sound(path: Path) -> bool:
    try:
        connection = connect(path)
    except DAMAGED:
        return False
    try:
        if lacking(connection, SCHEMA) is not None:
            return False
        migrate(connection, SCHEMA)
    except DAMAGED:
        return False
    finally:
        connection.close()
    return True


class PeersFile:
    """The file, as a worker writes it and the commands read it. Calls block: they belong into a thread.

    apsw.Error where SQLite or the disk refuses.
    """

    def __init__(self, path: Path, most: int = MOST) -> None:
        self.path = path
        self._most = most
        self._connection: apsw.Connection | None = None

    def prepare(self) -> None:
        """Make the file, or bring it up to date: for the leading process, before workers start. A damaged one
        is set aside as `peers.db.damaged`, in the place of an earlier one."""
        path = self.path
        try:
            if path.exists():
                if _sound(path):
                    return
                path.replace(path.with_name(f"{path.name}.damaged"))
            for end in ("-wal", "-shm"):
                path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
            make(path, SCHEMA)
        except (apsw.Error, OSError):
            return  # mail can do without it; the first write that fails tells why

    def write(self, found: Sequence[Peer], now: float) -> None:
        """Add what was found in one transaction; the oldest rows go where there are too many."""
        connection = self._writing()
        connection.execute("BEGIN IMMEDIATE")  # with all other workers: each adds, none overwrites
        try:
            connection.executemany(_PUT, map(_values, found))
            for direction in DIRECTIONS:
                self._forget(connection, direction, now)
            connection.execute("COMMIT")
        except BaseException:
            if not connection.get_autocommit():
                connection.execute("ROLLBACK")
            raise

    def _forget(self, connection: apsw.Connection, direction: Direction, now: float) -> None:
        old = now - KEPT_SECONDS
        connection.execute("DELETE FROM peer WHERE direction=? AND last<?", (direction, old))
        count = connection.execute("SELECT count(*) FROM peer WHERE direction=?", (direction,)).get
        if isinstance(count, int) and count > self._most:
            # A few more than needed, so that not each write has to look for the oldest.
            surplus = count - self._most + self._most // 100
            connection.execute(_OLDEST, (direction, direction, surplus))

    def _writing(self) -> apsw.Connection:
        if self._connection is None:
            # connect() would make a file without tables where somebody removed it.
            if not self.path.exists():
                raise apsw.CantOpenError(f"{self.path} is missing: start the gateway again to have it made")
            self._connection = connect(self.path)
            # Consistent after a power cut all the same; only its last transactions may be missing.
            self._connection.execute("PRAGMA synchronous=NORMAL")
        return self._connection

    def read(self, name: str = "", direction: Direction | None = None) -> list[Peer]:
        """All peers, or those with this domain or host; outgoing ones first, then by domain and host."""
        if not self.path.exists():
            return []
        where, words = [], []
        if name:
            where.append("(domain=? OR host=?)")
            words += [name, name]
        if direction is not None:
            where.append("direction=?")
            words.append(direction)
        order = " ORDER BY direction DESC, domain, host"
        with _reading(self.path) as connection:
            rows = connection.execute(
                _READ + (" WHERE " + " AND ".join(where) if where else "") + order, words
            )
            return [_peer(row) for row in rows]

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection]:
    connection = connect(path, read_only=True)
    try:
        yield connection
    finally:
        connection.close()


def _values(peer: Peer) -> tuple[Any, ...]:
    verdicts = (count.get(level, 0) for level in JUDGED for count in (peer.passed, peer.refused))
    return (
        peer.direction, peer.domain, peer.host, peer.first, peer.last,
        *(getattr(peer, name) for name in _TALLIES), *verdicts,
        peer.facts_at, msgspec.json.encode(peer.facts).decode() if peer.facts is not None else None,
    )  # fmt: skip


def _peer(row: Sequence[Any]) -> Peer:
    plain = dict(zip(_COLUMNS, row, strict=True))
    verdicts = [plain.pop(name) for name in _VERDICTS]
    facts = plain.pop("facts")
    return Peer(
        **plain,
        passed=dict(zip(JUDGED, verdicts[::2], strict=True)),
        refused=dict(zip(JUDGED, verdicts[1::2], strict=True)),
        facts=msgspec.json.decode(facts, type=Facts) if facts is not None else None,
    )
