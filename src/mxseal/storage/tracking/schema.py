"""What the tracking database looks like: what is there once, and the tables of each segment.

Messages lie in segments, sets of tables `s<N>_…` with some hundred thousand messages each, in the order in
which they were queued. New rows so go into small indexes that fit into memory, the oldest messages go by
dropping their tables, and a search ends with the newest segments that fill its page. A segment refers to
nothing outside of it.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import apsw

from mxseal.storage.schema import Schema, lacking, migrate, rename
from mxseal.storage.writer import connect

NAME = "tracking.db"
PAGE = 8192

SCHEMA = Schema(
    first="""
        CREATE TABLE position(
            one INTEGER PRIMARY KEY CHECK(one = 1), stamp TEXT NOT NULL, offset INTEGER NOT NULL,
            at REAL NOT NULL, lines INTEGER NOT NULL, unreadable INTEGER NOT NULL, orphans INTEGER NOT NULL
        );
        CREATE TABLE gap(
            id INTEGER PRIMARY KEY, at REAL NOT NULL, from_stamp TEXT NOT NULL, from_offset INTEGER NOT NULL,
            to_stamp TEXT NOT NULL
        );
        CREATE TABLE segment(
            number INTEGER PRIMARY KEY, first REAL NOT NULL, last REAL NOT NULL, newest REAL NOT NULL,
            rows INTEGER NOT NULL
        );
        CREATE TABLE pending(
            kind TEXT NOT NULL, number INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(kind, number)
        ) WITHOUT ROWID;
        CREATE TABLE refusal(
            id INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, icid INTEGER, mid INTEGER,
            ip TEXT NOT NULL, host TEXT NOT NULL, listener TEXT NOT NULL, sender TEXT COLLATE NOCASE,
            recipient TEXT COLLATE NOCASE, sender_group TEXT NOT NULL, policy TEXT NOT NULL,
            level TEXT NOT NULL, reason TEXT NOT NULL, cause TEXT NOT NULL, body BLOB
        );
        CREATE INDEX refusal_icid ON refusal(icid);
        CREATE INDEX refusal_mid ON refusal(mid) WHERE mid IS NOT NULL;
        CREATE INDEX refusal_ip ON refusal(ip);
        CREATE INDEX refusal_sender ON refusal(sender) WHERE sender IS NOT NULL;
        CREATE INDEX refusal_recipient ON refusal(recipient) WHERE recipient IS NOT NULL;
        CREATE TABLE traffic(
            span TEXT NOT NULL, at INTEGER NOT NULL, side TEXT NOT NULL, what TEXT NOT NULL,
            word TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(span, at, side, what, word)
        ) WITHOUT ROWID;
        CREATE TABLE partner(
            day INTEGER NOT NULL, side TEXT NOT NULL, domain TEXT NOT NULL,
            required_ok INTEGER NOT NULL, required_failed INTEGER NOT NULL,
            preferred_ok INTEGER NOT NULL, preferred_failed INTEGER NOT NULL,
            clear INTEGER NOT NULL, verified INTEGER NOT NULL,
            messages_tls INTEGER NOT NULL, messages_clear INTEGER NOT NULL,
            failed_at REAL NOT NULL, cause TEXT NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY(day, side, domain)
        ) WITHOUT ROWID;
        CREATE INDEX partner_domain ON partner(domain, day);
    """,
    migrations=(),
    tables=frozenset({"position", "gap", "segment", "pending", "refusal", "traffic", "partner"}),
)

DELIVERED, BOUNCED, DELAYED, DELETED, REFUSED = 1, 2, 4, 8, 16
TLS_FAILED, IN_CLEAR, DOUBLE, POSSIBLE, NOTICE = 32, 64, 128, 256, 512
AMP, MALICIOUS, HELD, QUARANTINED, RELEASED = 1024, 2048, 4096, 8192, 16384
RARE = (
    BOUNCED, DELAYED, DELETED, REFUSED, TLS_FAILED, DOUBLE, POSSIBLE, NOTICE, MALICIOUS, HELD, QUARANTINED,
    RELEASED,
)  # fmt: skip
"""Bits of a message's events that few messages have: each has an index of the messages with it."""

_SEGMENT = """
    CREATE TABLE {s}message(
        id INTEGER PRIMARY KEY, mid INTEGER NOT NULL, icid INTEGER NOT NULL, at REAL NOT NULL,
        started REAL NOT NULL, last REAL NOT NULL, finished REAL, bits INTEGER NOT NULL,
        sender INTEGER NOT NULL, sender_domain INTEGER NOT NULL, size INTEGER NOT NULL,
        outgoing INTEGER NOT NULL, about INTEGER NOT NULL,
        recipients INTEGER NOT NULL, delivered INTEGER NOT NULL, bounced INTEGER NOT NULL,
        deleted INTEGER NOT NULL, refused INTEGER NOT NULL, steps INTEGER NOT NULL,
        place INTEGER NOT NULL, tls INTEGER NOT NULL, header_sum INTEGER NOT NULL,
        header TEXT, subject TEXT, identity TEXT
    );
    CREATE UNIQUE INDEX {s}message_mid ON {s}message(mid);
    CREATE INDEX {s}message_icid ON {s}message(icid);
    CREATE INDEX {s}message_sender ON {s}message(sender);
    CREATE INDEX {s}message_sender_domain ON {s}message(sender_domain);
    CREATE INDEX {s}message_header ON {s}message(header_sum) WHERE header_sum <> 0;
    CREATE INDEX {s}message_waiting ON {s}message(id) WHERE finished IS NULL;
    {rare}
    CREATE TABLE {s}recipient(
        message INTEGER NOT NULL, rid INTEGER NOT NULL, address INTEGER NOT NULL, domain INTEGER NOT NULL,
        state INTEGER NOT NULL, at REAL NOT NULL, next REAL, PRIMARY KEY(message, rid)
    ) WITHOUT ROWID;
    CREATE INDEX {s}recipient_address ON {s}recipient(address, message);
    CREATE INDEX {s}recipient_domain ON {s}recipient(domain, message);
    CREATE TABLE {s}step(
        message INTEGER NOT NULL, step INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
        dcid INTEGER NOT NULL, rids TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY(message, step)
    ) WITHOUT ROWID;
    CREATE INDEX {s}step_dcid ON {s}step(dcid, message) WHERE dcid > 0;
    CREATE TABLE {s}connection(
        kind TEXT NOT NULL, number INTEGER NOT NULL, at REAL NOT NULL, place INTEGER NOT NULL,
        port INTEGER NOT NULL, local_ip TEXT NOT NULL, about TEXT NOT NULL, tls INTEGER NOT NULL,
        fact INTEGER NOT NULL, times TEXT NOT NULL, trouble TEXT NOT NULL, PRIMARY KEY(kind, number)
    ) WITHOUT ROWID;
    CREATE TABLE {s}address(
        id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE COLLATE NOCASE, domain INTEGER NOT NULL
    );
    CREATE TABLE {s}domain(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE);
    CREATE TABLE {s}place(
        id INTEGER PRIMARY KEY, host TEXT NOT NULL COLLATE NOCASE, ip TEXT NOT NULL, UNIQUE(ip, host)
    );
    CREATE INDEX {s}place_host ON {s}place(host);
    CREATE TABLE {s}at_place(
        place INTEGER NOT NULL, message INTEGER NOT NULL, PRIMARY KEY(place, message)
    ) WITHOUT ROWID;
    CREATE TABLE {s}tls(
        id INTEGER PRIMARY KEY, side TEXT NOT NULL, state TEXT NOT NULL, protocol TEXT NOT NULL,
        cipher TEXT NOT NULL, grp TEXT NOT NULL, level TEXT NOT NULL, cause TEXT NOT NULL,
        UNIQUE(side, state, protocol, cipher, grp, level, cause)
    );
    CREATE TABLE {s}with_tls(
        tls INTEGER NOT NULL, message INTEGER NOT NULL, PRIMARY KEY(tls, message)
    ) WITHOUT ROWID;
    CREATE TABLE {s}fact(id INTEGER PRIMARY KEY, sum BLOB NOT NULL UNIQUE, body BLOB NOT NULL);
    CREATE VIRTUAL TABLE {s}subject USING fts5(
        words, content='', columnsize=0, detail=none, tokenize="unicode61 remove_diacritics 2"
    );
"""
TABLES = (
    "message", "recipient", "step", "connection", "address", "domain", "place", "at_place", "tls",
    "with_tls", "fact", "subject",
)  # fmt: skip


def prefix(segment: int) -> str:
    """What the names of a segment's tables begin with."""
    return f"s{int(segment)}_"


def header_sum(message_id: str) -> int:
    """What a Message-ID is found by; never 0. Case counts for no letter of ASCII, as with NOCASE."""
    return zlib.crc32(message_id.strip("<> ").encode("utf-8", "replace").lower()) or 1


def make_segment(connection: apsw.Connection, number: int) -> None:
    name = prefix(number)
    rare = "".join(
        f"CREATE INDEX {name}message_{bit} ON {name}message(id) WHERE bits & {bit};" for bit in RARE
    )
    connection.execute(_SEGMENT.format(s=name, rare=rare)).fetchall()


def drop_segment(connection: apsw.Connection, number: int) -> None:
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {prefix(number)}{table}")
    connection.execute("DELETE FROM segment WHERE number=?", (number,))


def open_for_writing(path: Path) -> apsw.Connection:
    """The database, made where there is none. apsw.Error, OSError.

    Commits are not waited for: after a power cut the last ones may be missing, and with them goes the
    position, so that their events are read again.
    """
    if not path.exists():
        _make(path)
    connection = connect(path, page_size=PAGE)
    try:
        if lack := lacking(connection, SCHEMA):
            raise apsw.CorruptError(lack)
        migrate(connection, SCHEMA)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA cache_size=-65536")
    except BaseException:
        connection.close()
        raise
    return connection


def _make(path: Path) -> None:
    """An empty database. It has its name only once it is complete."""
    draft = path.with_name(f"{path.name}.new")
    for each in (path, draft):
        for end in ("-wal", "-shm", "-journal"):
            each.with_name(f"{each.name}{end}").unlink(missing_ok=True)
    draft.unlink(missing_ok=True)
    connection = apsw.Connection(str(draft))
    try:
        # Before anything else is in the file: so that it can give back what dropped segments leave.
        connection.execute(f"PRAGMA page_size={PAGE}; PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        with connection:
            connection.execute(SCHEMA.first).fetchall()
            connection.execute("INSERT INTO position VALUES(1, '', 0, 0, 0, 0, 0)")
    finally:
        connection.close()
    rename(draft, path)


def used_bytes(connection: apsw.Connection) -> tuple[int, int]:
    """(bytes in use, bytes of the file)."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(connection.execute(f"PRAGMA {name}").get) for name in names)
    return (pages - free) * size, pages * size
