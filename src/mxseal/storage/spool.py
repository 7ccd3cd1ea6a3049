"""The embedded queue: SQLite for envelopes and small content, a file each for large content.

A message is there when its row is committed. Large content is written, fsynced and renamed before that, and
unlinked after the row is gone; files without a row are left over from a crash and removed at the start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import apsw

from mxseal.clock import Clock
from mxseal.storage.ports import INLINE_BYTES, Envelope, Outcome, Queued, Recipient, StorageRefused
from mxseal.storage.writer import GroupWriter, connect, refused

_SCHEMA = """
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
_PAGE_BYTES = 16 * 1024
"""Several small messages share a page, and the log is written page by page: a third of the system calls."""
_LOOK_AGAIN_BYTES = 16 << 20
_PIECE_BYTES = 256 * 1024
_MESSAGE = "m.mid, m.sender, m.size, m.queued_at, m.smtputf8, m.eightbit, m.icid, m.dsn_for"
_RECIPIENT = "r.rid, r.address, r.attempts, r.next_attempt, r.last_error, r.warned"


class Limits:
    """Bounds of the spool; replaced as a whole when the configuration changes."""

    def __init__(self, max_messages: int, max_bytes: int, min_free_bytes: int) -> None:
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes


class SqliteSpool:
    """The port Spool on one folder. Use from the event loop's thread only."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        limits: Limits,
        report: Callable[[StorageRefused | None], None] = lambda _trouble: None,
    ) -> None:
        """`report` hears when the disk refuses (a StorageRefused) and when it recovers (None)."""
        self.limits = limits
        self._clock = clock
        self._folder = folder
        self._bodies = folder / "bodies"
        self._incoming = folder / "incoming"
        for each in (folder, self._bodies, self._incoming):
            each.mkdir(mode=0o700, exist_ok=True)
        connection = connect(folder / "queue.db", page_size=_PAGE_BYTES)
        connection.execute(_SCHEMA)
        self._writer = GroupWriter(connection, self._heard)
        self._reader = connect(folder / "queue.db", read_only=True)
        self._told = report
        self._trouble: StorageRefused | None = None
        self._free_checked = float("-inf")
        self._no_room: StorageRefused | None = None
        self._sequence = 0
        self._taken = 0
        self._clear_leftovers()
        row = self._reader.execute("SELECT count(*), coalesce(sum(size), 0) FROM messages").fetchone()
        self._messages, self._bytes = (int(row[0]), int(row[1])) if row else (0, 0)

    def _clear_leftovers(self) -> None:
        for part in self._incoming.iterdir():
            part.unlink()
        for body in self._bodies.iterdir():
            if not body.name.isdecimal():
                continue  # not ours: an operator's file is not removed
            known = self._reader.execute("SELECT 1 FROM messages WHERE mid=?", (int(body.name),)).fetchone()
            if known is None:
                body.unlink()

    def _heard(self, trouble: StorageRefused | None) -> None:
        self._trouble = trouble
        self._told(trouble)

    # --- taking messages ----------------------------------------------------------------------------------

    def begin(self) -> SqliteIncoming:
        return SqliteIncoming(self)

    def refusal(self) -> StorageRefused | None:
        if self._messages >= self.limits.max_messages or self._bytes >= self.limits.max_bytes:
            return StorageRefused("full", f"the queue holds {self._messages} messages, {self._bytes} bytes")
        now = self._clock.monotonic()
        # Each second or 16 MB: a look for each message would be waste.
        if now - self._free_checked >= 1.0 or self._taken >= _LOOK_AGAIN_BYTES:
            self._free_checked, self._taken = now, 0
            free = shutil.disk_usage(self._folder).free + self._reusable()
            if free < self.limits.min_free_bytes:
                self._no_room = StorageRefused("full", f"{free} bytes are free on the disk of {self._folder}")
            else:
                self._no_room = None
        return self._no_room

    def _reusable(self) -> int:
        """Bytes that messages left behind in the database and its log: SQLite keeps both and fills them."""
        free = self._reader.execute("PRAGMA freelist_count").get
        log = self._folder / "queue.db-wal"
        written = log.stat().st_size if log.exists() else 0
        return written + (free * _PAGE_BYTES if isinstance(free, int) else 0)

    def count_taken(self, size: int) -> None:
        """Note content that is on its way to the disk."""
        self._taken += size

    def part_path(self) -> Path:
        self._sequence += 1
        return self._incoming / f"{self._sequence}.part"

    async def store(
        self, envelope: Envelope, recipients: Sequence[Recipient], inline: bytes | None, part: Path | None
    ) -> None:
        """Make a message durable; `part` is its content in a file, else `inline` is."""
        if part is not None:
            await asyncio.to_thread(self._keep_body, part, self._bodies / str(envelope.mid))

        def insert(cursor: apsw.Cursor) -> None:
            e = envelope
            cursor.execute(
                "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?)",
                (e.mid, e.sender, e.size, e.queued_at, e.smtputf8, e.eightbit, e.icid, e.dsn_for, inline),
            )
            for r in recipients:
                cursor.execute(
                    "INSERT INTO recipients VALUES (?,?,?,?,?,?,?)",
                    (e.mid, r.rid, r.address, r.attempts, r.next_attempt, r.last_error, r.warned),
                )

        try:
            await self._writer.submit(insert)
        except StorageRefused:
            if part is not None:
                (self._bodies / str(envelope.mid)).unlink(missing_ok=True)
            raise
        self._messages += 1
        self._bytes += envelope.size

    @staticmethod
    def _keep_body(part: Path, body: Path) -> None:
        try:
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.rename(body)
            folder = os.open(body.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)  # the rename itself must survive
            finally:
                os.close(folder)
        except OSError as error:
            body.unlink(missing_ok=True)
            raise refused(error) from error

    # --- the queue ----------------------------------------------------------------------------------------

    async def settle(self, outcomes: Sequence[Outcome]) -> list[int]:
        finished, gone = await self._writer.submit(lambda cursor: self._settle(cursor, outcomes))
        self._messages -= len(finished)
        self._bytes -= gone
        for mid in finished:
            try:
                (self._bodies / str(mid)).unlink(missing_ok=True)
            except OSError as error:  # the next start removes it
                self._heard(refused(error))
        return finished

    @staticmethod
    def _settle(cursor: apsw.Cursor, outcomes: Sequence[Outcome]) -> tuple[list[int], int]:
        touched: set[int] = set()
        for o in outcomes:
            if o.done:
                cursor.execute("DELETE FROM recipients WHERE mid=? AND rid=?", (o.mid, o.rid))
                touched.add(o.mid)
            else:
                cursor.execute(
                    "UPDATE recipients SET attempts=?, next_attempt=?, last_error=?, warned=? "
                    "WHERE mid=? AND rid=?",
                    (o.attempts, o.next_attempt, o.last_error, o.warned, o.mid, o.rid),
                )
        finished: list[int] = []
        gone = 0
        for mid in touched:
            if cursor.execute("SELECT 1 FROM recipients WHERE mid=? LIMIT 1", (mid,)).fetchone() is None:
                for (size,) in cursor.execute("DELETE FROM messages WHERE mid=? RETURNING size", (mid,)):
                    finished.append(mid)
                    gone += int(size)
        return finished, gone

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return list(self._reader.execute(query, values))
        except apsw.Error as error:
            raise refused(error) from error

    async def due(self, now: float, limit: int) -> list[Queued]:
        rows = self._read(
            f"SELECT {_MESSAGE}, {_RECIPIENT} FROM "  # noqa: S608
            "(SELECT * FROM recipients WHERE next_attempt<=? ORDER BY next_attempt LIMIT ?) r "
            "JOIN messages m ON m.mid=r.mid",
            (now, limit),
        )
        return _gather(rows)

    async def next_due(self, after: float) -> float | None:
        """When the first recipient that waits beyond `after` falls due."""
        rows = self._read(
            "SELECT next_attempt FROM recipients WHERE next_attempt>? ORDER BY next_attempt LIMIT 1", (after,)
        )
        return float(rows[0][0]) if rows else None

    async def load(self, mid: int) -> Queued | None:
        rows = self._read(
            f"SELECT {_MESSAGE}, {_RECIPIENT} FROM messages m JOIN recipients r ON r.mid=m.mid "  # noqa: S608
            "WHERE m.mid=? ORDER BY r.rid",
            (mid,),
        )
        return next(iter(_gather(rows)), None)

    async def browse(self, after: int, limit: int) -> list[Queued]:
        """Messages with a MID beyond `after`, in order: for listings, page by page."""
        rows = self._read(
            f"SELECT {_MESSAGE}, {_RECIPIENT} FROM "  # noqa: S608
            "(SELECT * FROM messages WHERE mid>? ORDER BY mid LIMIT ?) m JOIN recipients r ON r.mid=m.mid "
            "ORDER BY m.mid, r.rid",
            (after, limit),
        )
        return _gather(rows)

    def inline(self, mid: int) -> bytes | None:
        """Content that lives in the database, None when it is in a file (or gone)."""
        rows = self._read("SELECT body FROM messages WHERE mid=?", (mid,))
        return bytes(rows[0][0]) if rows and rows[0][0] is not None else None

    async def content(self, mid: int) -> AsyncIterator[bytes]:
        body = self.inline(mid)
        if body is not None:
            yield body
            return
        try:
            file = (self._bodies / str(mid)).open("rb", buffering=0)
        except OSError as error:
            raise refused(error) from error
        with file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece

    async def flush(self) -> None:
        await self._writer.drain()

    def count(self) -> tuple[int, int]:
        return self._messages, self._bytes

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


def _gather(rows: Iterable[tuple[Any, ...]]) -> list[Queued]:
    """Rows of a join, one per recipient, as messages with their recipients; the rows' order is kept."""
    envelopes: dict[int, tuple[Envelope, list[Recipient]]] = {}
    for mid, sender, size, queued_at, smtputf8, eightbit, icid, dsn_for, *r in rows:
        entry = envelopes.get(mid)
        if entry is None:
            envelope = Envelope(
                mid=mid,
                sender=sender,
                size=size,
                queued_at=queued_at,
                smtputf8=bool(smtputf8),
                eightbit=bool(eightbit),
                icid=icid,
                dsn_for=dsn_for,
            )
            entry = envelopes[mid] = (envelope, [])
        entry[1].append(
            Recipient(
                rid=r[0],
                address=r[1],
                attempts=r[2],
                next_attempt=r[3],
                last_error=r[4],
                warned=bool(r[5]),
            )
        )
    return [Queued(envelope=envelope, recipients=tuple(found)) for envelope, found in envelopes.values()]


class SqliteIncoming:
    """The port Incoming: in memory while small, then in a file."""

    def __init__(self, spool: SqliteSpool) -> None:
        self._spool = spool
        self._pieces = bytearray()
        self._file: int | None = None
        self._part: Path | None = None
        self.size = 0
        self.body: bytes | None = None
        """The whole content after `commit`, when it was small enough to stay in memory."""

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._spool.count_taken(len(data))
        if self._file is None:
            self._pieces += data
            if self.size > INLINE_BYTES:
                self._to_file()
        else:
            self._write_file(data)

    def _to_file(self) -> None:
        self._part = self._spool.part_path()
        try:
            self._file = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise refused(error) from error
        self._write_file(bytes(self._pieces))
        self._pieces.clear()

    def _write_file(self, data: bytes) -> None:
        assert self._file is not None
        if (refusal := self._spool.refusal()) is not None:  # many large messages at once could fill the disk
            raise refusal
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise refused(error) from error

    async def commit(self, envelope: Envelope, recipients: Sequence[Recipient]) -> None:
        inline = bytes(self._pieces) if self._file is None else None
        self._close_file()
        try:
            await self._spool.store(envelope, recipients, inline, self._part)
        except StorageRefused:
            self.abort()
            raise
        self.body = inline

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def abort(self) -> None:
        self._close_file()
        self._pieces.clear()
        if self._part is not None:
            self._part.unlink(missing_ok=True)
