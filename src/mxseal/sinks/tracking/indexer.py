"""The indexer: reads the event log and keeps the tracking database, step by step. Blocking.

The place up to which the log was read is written in the transaction of the rows. So a process that is killed
goes on where its last transaction ended, and nothing is missing or there twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import apsw
import msgspec

from mxseal.events.types import Event
from mxseal.sinks.tracking.index import WANTED, Index
from mxseal.sinks.tracking.reader import Chunk, Gap, LogReader, Position
from mxseal.storage.schema import DAMAGED
from mxseal.storage.tracking.schema import NAME, drop_segment, open_for_writing, used_bytes

SEGMENT_ROWS = 250_000
_ROW_BYTES = 600
"""What a message takes, about: for segments that are small beside a small limit."""
_REFUSAL_BYTES = 1500
"""What a refusal takes at most, about: all of them have an eighth of the room."""
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(reduce(or_, WANTED))
_NAMES = {kind.__name__.encode() for kind in WANTED}
_BEGIN = b'{"event":"'
_VACUUM_PAGES = 2000
_GAPS_KEPT = 100
_DAY = 86_400.0


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be kept. Days, bytes, rows."""

    keep_days: int = 90
    max_bytes: int = 8 << 30
    refusals: int = 200_000
    min_free_bytes: int = 512 << 20
    """With less of the disk free nothing is written: the queue needs it."""


class DiskShort(Exception):
    """There is too little room to go on; the text is a sentence."""


class _Overtaken(Exception):
    """Somebody else has read what was just read."""


class Indexer:
    """One home's. `step` does some work; everything else waits for the next one."""

    def __init__(
        self, home: Path, limits: Limits, tell: Callable[[str], None], now: Callable[[], float]
    ) -> None:
        """`tell` hears of damage and gaps, in sentences. Opens nothing yet."""
        self._path = home / NAME
        self._folder = home / "logs" / "json_logs"
        self._limits = limits
        self._tell = tell
        self._now = now
        self._connection: apsw.Connection | None = None
        self._index: Index | None = None
        self._reader: LogReader | None = None
        self._place = Position()
        self._lines = self._unreadable = self._orphans = 0

    def step(self) -> bool:
        """Read and write once; whether anything was there. DiskShort, apsw.Error, OSError: nothing of the
        step was kept, and the next one begins anew. A damaged database is set aside."""
        try:
            if self._connection is None:
                self._open()
            assert self._reader is not None
            self._look_for_room()
            chunk = self._reader.read()
            if chunk is None:
                return False
            self._write(chunk)
        except _Overtaken:
            self.close()
        except DAMAGED as damage:
            self.close()
            self._set_aside(damage)
            return True
        except BaseException:
            self.close()  # what is in memory is ahead of what is written
            raise
        return True

    def close(self) -> None:
        """Forget everything that is not written."""
        if self._reader is not None:
            self._reader.close()
        if self._connection is not None:
            self._connection.close()
        self._reader = self._index = self._connection = None

    def _open(self) -> None:
        self._connection = connection = open_for_writing(self._path)
        rows = max(1000, min(SEGMENT_ROWS, self._limits.max_bytes // 8 // _ROW_BYTES))
        refusals = min(self._limits.refusals, self._limits.max_bytes // 8 // _REFUSAL_BYTES)
        self._index = Index(connection, segment_rows=rows, refusals=refusals)
        select = "SELECT stamp, offset, lines, unreadable, orphans FROM position"
        stamp, offset, *counts = next(iter(connection.execute(select)))
        self._lines, self._unreadable, self._orphans = counts
        self._place = Position(str(stamp), int(offset))
        self._reader = LogReader(self._folder, self._place)

    def _look_for_room(self) -> None:
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < self._limits.min_free_bytes:
            raise DiskShort(
                "Message tracking waits: less than "
                f"{self._limits.min_free_bytes >> 20} MB of the disk of {self._path.parent} are free, and "
                "the queue needs them. Free some space: what has happened meanwhile is then read from the "
                "log."
            )

    def _write(self, chunk: Chunk) -> None:
        assert self._connection is not None
        assert self._index is not None
        connection, index = self._connection, self._index
        connection.execute("BEGIN IMMEDIATE")
        try:
            if next(iter(connection.execute("SELECT stamp, offset FROM position"))) != (
                self._place.stamp,
                self._place.offset,
            ):
                raise _Overtaken  # a predecessor that was dying has written once more
            self._take(index, chunk.lines)
            index.flush(self._many)
            self._orphans += index.orphans
            index.orphans = 0
            if chunk.gap is not None:
                self._keep_gap(chunk.gap)
            connection.execute(
                "UPDATE position SET stamp=?, offset=?, at=?, lines=?, unreadable=?, orphans=?",
                (chunk.after.stamp, chunk.after.offset, index.newest, self._lines, self._unreadable,
                 self._orphans),
            )  # fmt: skip
            connection.execute("COMMIT")
        except BaseException:
            if not connection.get_autocommit():
                connection.execute("ROLLBACK")
            raise
        self._place = chunk.after
        if chunk.gap is not None:
            self._tell(
                "Lines of the event log were deleted before message tracking had read them: from "
                f"{chunk.gap.begin.stamp} on, up to {chunk.gap.end.stamp}. Messages of that time may be "
                "missing or incomplete. Keep more of the log: keep_files and rotate_bytes in [logs]."
            )

    def _take(self, index: Index, lines: bytes) -> None:
        for line in lines.splitlines():
            if not line.startswith(_BEGIN):
                self._unreadable += bool(line)
                continue
            if line[10 : line.find(b'"', 10)] not in _NAMES:
                continue
            try:
                event = _DECODER.decode(line)
            except msgspec.DecodeError:  # cut by a crash, or of another release
                self._unreadable += 1
                continue
            self._lines += 1
            index.take(event)

    def _many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        assert self._connection is not None
        if rows:
            self._connection.executemany(statement, rows)

    def _keep_gap(self, gap: Gap) -> None:
        assert self._connection is not None
        self._connection.execute(
            "INSERT INTO gap(at, from_stamp, from_offset, to_stamp) VALUES(?, ?, ?, ?)",
            (self._now(), gap.begin.stamp, gap.begin.offset, gap.end.stamp),
        )
        self._connection.execute("DELETE FROM gap WHERE id <= (SELECT max(id) FROM gap) - ?", (_GAPS_KEPT,))

    # --- what is too old, or too much -----------------------------------------------------------------------

    def tidy(self) -> bool:
        """Delete a little of what is over its time or limit; whether there is more to do. apsw.Error."""
        if self._connection is None or self._index is None:
            return False
        try:
            return self._tidied(self._connection, self._index)
        except DAMAGED as damage:
            self.close()
            self._set_aside(damage)
            return False

    def _tidied(self, connection: apsw.Connection, index: Index) -> bool:
        now = self._now()
        used, size = used_bytes(connection)
        numbers = index.segments.numbers
        oldest = numbers[0] if len(numbers) > 1 else 0
        before = now - self._limits.keep_days * _DAY
        if oldest and (used > self._limits.max_bytes or index.segments.age(oldest) < before):
            with connection:
                drop_segment(connection, oldest)
            index.segments.dropped(oldest)
            return True
        with connection:
            more = index.refusals.forget(before)
            index.counters.forget(now)
        if size > self._limits.max_bytes and size - used > size // 20:
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
            return True
        return more

    def _set_aside(self, damage: Exception) -> None:
        """Begin a new database; the damaged one takes the place of an earlier one."""
        aside = self._path.with_name(f"{NAME}.damaged")
        for end in ("-wal", "-shm"):
            self._path.with_name(f"{NAME}{end}").unlink(missing_ok=True)
        if self._path.exists():
            self._path.replace(aside)
        self._tell(
            f"The database of message tracking was damaged ({damage}). It lies in {aside} now; a new one is "
            "made from the event logs that there still are. Mail is not concerned."
        )
