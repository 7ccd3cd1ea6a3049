"""The tracking database as commands read it. Calls block: they belong into a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from mxseal.logs.retained import retained
from mxseal.storage.schema import DAMAGED
from mxseal.storage.tracking import reading
from mxseal.storage.tracking import totals as counted
from mxseal.storage.tracking.refused import RefusedPage, fact_of, search_refused
from mxseal.storage.tracking.schema import NAME, used_bytes
from mxseal.storage.tracking.search import search
from mxseal.storage.tracking.values import Page, Query, RefusalKind, Story
from mxseal.storage.writer import connect

SECONDS = 1.0
"""For one page: then it ends where it is, and the next one goes on."""


class TrackingMissing(Exception):
    """There is no tracking database that could be read; the text is a sentence."""


class Gap(msgspec.Struct, frozen=True):
    """Lines of the log that were deleted unread."""

    at: float
    """When that was found."""
    from_stamp: str
    from_offset: int
    to_stamp: str


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What there is, and how far the indexer is behind. Bytes, seconds since the epoch."""

    messages: int
    refusals: int
    oldest: float | None
    """When the oldest message was queued."""
    newest: float | None
    """Time of the newest event that was read."""
    bytes_used: int
    bytes_on_disk: int
    segments: int
    unread_bytes: int
    """Of the event log."""
    lines: int
    unreadable: int
    orphans: int
    """Events about messages of which nothing else is known."""
    gaps: tuple[Gap, ...]


class TrackingFile:
    """One connection, for one caller at a time, opened when it is first needed."""

    def __init__(self, home: Path) -> None:
        self.path = home / NAME
        self._log = home / "logs" / "json_logs"
        self._lock = threading.Lock()
        self._connection: apsw.Connection | None = None
        self._inode = 0

    def search(self, query: Query, limit: int, after: str | None = None, seconds: float = SECONDS) -> Page:
        """One page of messages. TrackingMissing; ValueError: `after` is none of ours."""
        end = time.monotonic() + seconds
        with self._reading() as connection:
            return search(connection, query, limit, after, lambda: time.monotonic() < end)

    def refused(
        self, query: Query, kinds: tuple[RefusalKind, ...], limit: int, after: str | None = None
    ) -> RefusedPage:
        with self._reading() as connection:
            return search_refused(connection, query, kinds, limit, after)

    def refused_fact(self, number: int) -> bytes:
        with self._reading() as connection:
            return fact_of(connection, number)

    def story(self, mid: int) -> Story | None:
        with self._reading() as connection:
            return reading.story(connection, mid)

    def partners(
        self, since: float, side: str | None, domain: str | None, *, failing: bool = False
    ) -> list[counted.Partner]:
        with self._reading() as connection:
            return counted.partners(connection, since, side=side, domain=domain, failing=failing)

    def partner_days(self, since: float, domain: str, side: str | None) -> list[counted.PartnerDay]:
        with self._reading() as connection:
            return counted.partner_days(connection, since, domain, side)

    def totals(self, since: float, until: float) -> dict[str, dict[str, dict[str, int]]]:
        with self._reading() as connection:
            return counted.totals(connection, since, until)

    def traffic(
        self, span: counted.Span, since: float, until: float, what: tuple[str, ...] = ()
    ) -> list[counted.Count]:
        with self._reading() as connection:
            return counted.traffic(connection, span, since, until, what)

    def status(self) -> Status:
        with self._reading() as connection:
            return self._status(connection)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        with self._lock:
            try:
                connection = self._opened()
                with connection:  # one state of the database for all that is asked
                    yield connection
            except (
                *DAMAGED,
                apsw.SQLError,
                apsw.CantOpenError,
                apsw.IOError,
                apsw.BusyError,
                OSError,
            ) as error:
                self._close()
                raise TrackingMissing(
                    f"Message tracking can't be read now ({type(error).__name__}: {error}). Mail is not "
                    "concerned. The indexer sets a damaged file aside and makes it anew from the logs when "
                    "it meets the damage; to have that at once, stop the gateway, remove tracking.db from "
                    "its home and start it"
                ) from None

    def _opened(self) -> apsw.Connection:
        try:
            inode = self.path.stat().st_ino
        except FileNotFoundError:
            self._close()
            raise TrackingMissing(
                "Nothing is tracked yet: trackingconfig show tells whether message tracking is on"
            ) from None
        if self._connection is None or inode != self._inode:  # made anew meanwhile
            self._close()
            self._connection, self._inode = connect(self.path, read_only=True), inode
            self._connection.execute("PRAGMA cache_size=-32768")
        return self._connection

    def _status(self, connection: apsw.Connection) -> Status:
        def one(select: str) -> Any:
            return connection.execute(select).get

        place = connection.execute("SELECT stamp, offset, at, lines, unreadable, orphans FROM position").get
        stamp, offset, at, lines, unreadable, orphans = place
        used, _ = used_bytes(connection)
        gaps = connection.execute(
            "SELECT at, from_stamp, from_offset, to_stamp FROM gap ORDER BY id DESC LIMIT 20"
        )
        return Status(
            messages=int(one("SELECT coalesce(sum(rows), 0) FROM segment")),
            refusals=int(one("SELECT count(*) FROM refusal")),
            oldest=one("SELECT min(first) FROM segment"),
            newest=at or None,
            bytes_used=used,
            bytes_on_disk=sum(_size(self.path.with_name(f"{NAME}{end}")) for end in ("", "-wal", "-shm")),
            segments=int(one("SELECT count(*) FROM segment")),
            unread_bytes=_unread(self._log, str(stamp), int(offset)),
            lines=lines,
            unreadable=unreadable,
            orphans=orphans,
            gaps=tuple(Gap(*row) for row in gaps),
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _unread(folder: Path, stamp: str, offset: int) -> int:
    """Bytes of the log behind a place."""
    files = [(entry.stamp, _size(entry.path)) for entry in retained(folder) if entry.stamp >= stamp]
    return sum(max(0, size - offset) if name == stamp else size for name, size in files)
