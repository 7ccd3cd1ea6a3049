"""What the analysis of files leaves on the spool: what is known of a message so far, and the quarantine.

A message in quarantine stays where it is, in the same row and file, with a mark, and is never due: it enters,
is released and is deleted in one transaction each, so that whatever happens it is in one place, once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import apsw
import msgspec

T = TypeVar("T")
NEVER = 9e99
"""`next_attempt` of recipients in quarantine: beyond every clock."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A message in quarantine."""

    mid: int
    sender: str
    recipients: tuple[str, ...]
    """The first ones."""
    recipient_count: int
    size: int
    arrived: float
    since: float
    """When it came into quarantine."""
    about: str
    """Why: what the caller gave to `put`."""


class Shelf(Protocol):
    """The quarantine of one share of the queue. StorageRefused where the disk refuses."""

    async def note(self, mid: int, state: str | None, prefix: str, due: float | None) -> bool:
        """Keep what is known of a message, None: its analysis is over, and what is put before its content;
        with `due` its recipients wait until then. Gives whether there is the message."""
        ...

    async def put(self, mid: int, at: float, about: str, prefix: str) -> bool:
        """Into quarantine, with all recipients that it has left; False: there is no such message."""
        ...

    async def release(self, mid: int, at: float) -> bool:
        """Back into the queue, due at once, as if it had come now; False: it is not in quarantine."""
        ...

    async def drop(self, mids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Delete; gives those that were there, with the RIDs that they had left."""
        ...

    async def browse(self, after: int, limit: int) -> list[Kept]:
        """By MID, beyond `after`."""
        ...

    async def find(self, mid: int) -> Kept | None: ...

    async def oldest(self, before: float, limit: int) -> list[Kept]:
        """Those that came in before a moment, oldest first."""
        ...

    def count(self) -> tuple[int, int]:
        """(messages, bytes)."""
        ...


_KEPT = (
    "SELECT mid, coalesce(masked, sender), size, queued_at, quarantined, coalesce(screening, '') "
    "FROM messages WHERE "
)
_SHOWN = 20


class SqliteShelf:
    """The port Shelf, on the spool's database."""

    def __init__(
        self,
        read: Callable[[str, tuple[object, ...]], list[tuple[Any, ...]]],
        write: Callable[[Callable[[apsw.Cursor], Any]], Awaitable[Any]],
        moved: Callable[[int, int], None],
        unlink: Callable[[int], None],
    ) -> None:
        """`moved` hears by how many (messages, bytes) the queue changed, `unlink` removes the content file of
        a message that is gone."""
        self._read = read
        self._write = write
        self._moved = moved
        self._unlink = unlink
        self._messages = self._bytes = 0

    def holds(self, messages: int, size: int) -> None:
        """What is in quarantine of a queue that was just opened."""
        self._messages, self._bytes = messages, size

    async def note(self, mid: int, state: str | None, prefix: str, due: float | None) -> bool:
        """See Shelf."""

        def update(cursor: apsw.Cursor) -> bool:
            cursor.execute("UPDATE messages SET screening=?, prefix=? WHERE mid=?", (state, prefix, mid))
            there = cursor.connection.changes() > 0
            if due is not None:
                cursor.execute("UPDATE recipients SET next_attempt=? WHERE mid=?", (due, mid))
            return there

        return bool(await self._write(update))

    async def put(self, mid: int, at: float, about: str, prefix: str) -> bool:
        """See Shelf."""

        def move(cursor: apsw.Cursor) -> int | None:
            size = cursor.execute(
                "UPDATE messages SET quarantined=?, screening=?, prefix=? "
                "WHERE mid=? AND quarantined IS NULL RETURNING size",
                (at, about, prefix, mid),
            ).get
            if size is not None:
                cursor.execute("UPDATE recipients SET next_attempt=? WHERE mid=?", (NEVER, mid))
            return None if size is None else int(size)

        size = await self._write(move)
        if size is None:
            return False
        self._shift(1, size)
        return True

    async def release(self, mid: int, at: float) -> bool:
        """See Shelf."""

        def move(cursor: apsw.Cursor) -> int | None:
            # Its time in the queue begins now: after days in quarantine the first delay would be its last.
            size = cursor.execute(
                "UPDATE messages SET quarantined=NULL, screening=NULL, queued_at=? "
                "WHERE mid=? AND quarantined IS NOT NULL RETURNING size",
                (at, mid),
            ).get
            if size is not None:
                cursor.execute("UPDATE recipients SET next_attempt=? WHERE mid=?", (at, mid))
            return None if size is None else int(size)

        size = await self._write(move)
        if size is None:
            return False
        self._shift(-1, -size)
        return True

    def _shift(self, messages: int, size: int) -> None:
        self._messages += messages
        self._bytes += size
        self._moved(-messages, -size)

    async def drop(self, mids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """See Shelf."""

        def delete(cursor: apsw.Cursor) -> dict[int, tuple[int, tuple[int, ...]]]:
            gone: dict[int, tuple[int, tuple[int, ...]]] = {}
            for mid in mids:
                size = cursor.execute(
                    "DELETE FROM messages WHERE mid=? AND quarantined IS NOT NULL RETURNING size", (mid,)
                ).get
                if size is not None:
                    rows = cursor.execute("DELETE FROM recipients WHERE mid=? RETURNING rid", (mid,))
                    gone[mid] = int(size), tuple(sorted(int(row[0]) for row in rows))
            return gone

        gone: dict[int, tuple[int, tuple[int, ...]]] = await self._write(delete)
        self._messages -= len(gone)
        self._bytes -= sum(size for size, _ in gone.values())
        for mid in gone:
            self._unlink(mid)
        return {mid: rids for mid, (_, rids) in gone.items()}

    async def browse(self, after: int, limit: int) -> list[Kept]:
        """See Shelf."""
        where = "quarantined IS NOT NULL AND mid>? ORDER BY mid LIMIT ?"
        return self._found(self._read(_KEPT + where, (after, limit)))

    async def find(self, mid: int) -> Kept | None:
        """One of them; None: it is not in quarantine."""
        found = self._found(self._read(_KEPT + "mid=? AND quarantined IS NOT NULL", (mid,)))
        return found[0] if found else None

    async def oldest(self, before: float, limit: int) -> list[Kept]:
        """See Shelf."""
        where = "quarantined<? ORDER BY quarantined LIMIT ?"
        return self._found(self._read(_KEPT + where, (before, limit)))

    def _found(self, rows: Sequence[tuple[Any, ...]]) -> list[Kept]:
        return [self._kept(row) for row in rows]

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        mid, sender, size, arrived, since, about = row
        told = self._read(
            "SELECT address, (SELECT count(*) FROM recipients WHERE mid=?) FROM recipients WHERE mid=? "
            "ORDER BY rid LIMIT ?",
            (mid, mid, _SHOWN),
        )
        return Kept(
            mid=mid,
            sender=sender,
            recipients=tuple(str(each[0]) for each in told),
            recipient_count=int(told[0][1]) if told else 0,
            size=size,
            arrived=arrived,
            since=since,
            about=about,
        )

    def count(self) -> tuple[int, int]:
        """(messages, bytes)."""
        return self._messages, self._bytes
