"""The embedded queue: SQLite for envelopes and small content, a file each for large content.

A message is there when its row is committed. Large content is written, fsynced and renamed before that, and
unlinked after the row is gone; files without a row are left over from a crash and removed at the start.
Damage is looked for when the queue is opened (`queuefile`), and noticed while it is used: a message that is
not whole is set aside, a file that SQLite can't read is salvaged, and meanwhile mail is put off.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mxseal.clock import Clock
from mxseal.storage.aside import Aside
from mxseal.storage.ports import (
    INLINE_BYTES,
    Amendment,
    Envelope,
    Outcome,
    Queued,
    QueueDamage,
    Recipient,
    StorageRefused,
)
from mxseal.storage.quarantine import NEVER, SqliteShelf
from mxseal.storage.queuefile import PAGE_BYTES, Opened, leave_log, open_queue, set_aside
from mxseal.storage.rows import (
    MESSAGE,
    RECIPIENT,
    gathered,
    groups_text,
    head_sum,
    message_row,
    message_sum,
    recipient_row,
    recipient_sum,
)
from mxseal.storage.schema import DAMAGED
from mxseal.storage.writer import GroupWriter, refused

T = TypeVar("T")

_INSERT_MESSAGE = "INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_INSERT_RECIPIENT = "INSERT INTO recipients VALUES (?,?,?,?,?,?,?,?,?,?)"
_LOOK_AGAIN_BYTES, _WORTH_BYTES, _PIECE_BYTES = 16 << 20, 1 << 20, 256 * 1024
_REPAIR_AGAIN = 60.0


class Limits:
    """Bounds of the spool; replaced as a whole when the configuration changes."""

    def __init__(
        self,
        max_messages: int,
        max_bytes: int,
        min_free_bytes: int,
        together: Callable[[int, int], tuple[int, int]] = lambda messages, size: (messages, size),
    ) -> None:
        """`together` gives (messages, bytes) of all shares of the queue, and is told those of this one."""
        self.max_messages = max_messages
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self.together = together


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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._told = report
        self._trouble: StorageRefused | None = None
        self._free_checked = float("-inf")
        self._no_room: StorageRefused | None = None
        self._sequence = 0
        self._taken = 0
        self._alert: Callable[[QueueDamage], None] | None = None
        self._untold: list[QueueDamage] = []
        self._repair: asyncio.Task[None] | None = None
        self._closed = False
        self.shelf = SqliteShelf(self._read, self._write, self._moved, self._unlink)
        self._install(self._open(None))

    def _open(self, broken: str | None) -> Opened:
        for each in (self._bodies, self._incoming):
            each.mkdir(mode=0o700, exist_ok=True)
        opened = open_queue(self._folder, self._bodies, self._clock.now(), broken)
        if broken is None:
            for part in self._incoming.iterdir():
                part.unlink()
        return opened

    def _install(self, opened: Opened) -> None:
        self._connection = opened.writer
        self._writer = GroupWriter(opened.writer, self._heard)
        self._reader = opened.reader
        self._messages, self._bytes = opened.messages, opened.bytes
        self.shelf.holds(*opened.kept)
        for damage in opened.damage:
            self._tell(damage)

    def tell(self, alert: Callable[[QueueDamage], None]) -> None:
        """From now on `alert` hears of damage; first of what was found when the queue was opened."""
        self._alert = alert
        untold, self._untold = self._untold, []
        for damage in untold:
            alert(damage)

    def _tell(self, damage: QueueDamage) -> None:
        if self._alert is None:
            self._untold.append(damage)
        else:
            self._alert(damage)

    def _heard(self, trouble: StorageRefused | None) -> None:
        self._trouble = trouble
        self._told(trouble)

    # --- taking messages ----------------------------------------------------------------------------------

    def begin(self) -> SqliteIncoming:
        return SqliteIncoming(self)

    def refusal(self) -> StorageRefused | None:
        messages, size = self.limits.together(self._messages, self._bytes)
        if messages >= self.limits.max_messages or size >= self.limits.max_bytes:
            return StorageRefused("full", f"the queue holds {messages} messages, {size} bytes")
        if self._repair is not None:
            return _repairing()
        now = self._clock.monotonic()
        # Each second or 16 MB: a look for each message would be waste.
        if now - self._free_checked >= 1.0 or self._taken >= _LOOK_AGAIN_BYTES:
            self._free_checked, self._taken = now, 0
            try:
                free = shutil.disk_usage(self._folder).free + self._reusable()
            except (OSError, apsw.Error) as error:
                return refused(error)
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
        return written + (free * PAGE_BYTES if isinstance(free, int) else 0)

    def give_room(self) -> None:
        """Where the disk is short, give back to it what messages left behind in the database: the other
        shares of the queue can't use it. Blocks for as long as writing what still waits takes."""
        try:
            if shutil.disk_usage(self._folder).free >= self.limits.min_free_bytes or self._writer.busy:
                return
            left_behind = self._reusable()
            if left_behind < _WORTH_BYTES or self._bytes * 8 > left_behind:
                return
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (OSError, apsw.Error):
            return  # it is tried again; what is wrong is told when a message is stored
        self._free_checked = float("-inf")

    def count_taken(self, size: int) -> None:
        """Note content that is on its way to the disk."""
        self._taken += size

    def part_path(self) -> Path:
        self._sequence += 1
        return self._incoming / f"{self._sequence}.part"

    async def store(
        self, envelope: Envelope, recipients: Sequence[Recipient], content: bytes | Path, crc: int
    ) -> None:
        """Make a message durable; `content` is a file when it is large, `crc` its CRC-32."""
        part = content if isinstance(content, Path) else None
        inline = content if isinstance(content, bytes) else None
        if part is not None:
            await asyncio.to_thread(self._keep_body, part, self._bodies / str(envelope.mid))

        def insert(cursor: apsw.Cursor) -> None:
            cursor.execute(_INSERT_MESSAGE, message_row(envelope, inline, crc))
            for recipient in recipients:
                cursor.execute(_INSERT_RECIPIENT, recipient_row(envelope.mid, recipient))

        try:
            await self._write(insert)
        except StorageRefused:
            if part is not None:
                _remove(self._bodies / str(envelope.mid))
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
            _remove(body)
            raise refused(error) from error

    # --- the queue ----------------------------------------------------------------------------------------

    async def settle(self, outcomes: Sequence[Outcome]) -> list[int]:
        finished, gone = await self._write(lambda cursor: self._settle(cursor, outcomes))
        self._messages -= len(finished)
        self._bytes -= gone
        for mid in finished:
            self._unlink(mid)
        return finished

    def _unlink(self, mid: int) -> None:
        try:
            (self._bodies / str(mid)).unlink(missing_ok=True)
        except OSError as error:  # the next start removes it
            self._heard(refused(error))

    def _moved(self, messages: int, size: int) -> None:
        self._messages += messages
        self._bytes += size

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
        if self._repair is not None:
            raise _repairing()
        try:
            return list(self._reader.execute(query, values))
        except apsw.Error as error:
            if isinstance(error, DAMAGED):
                self._broken(error)
            raise refused(error) from error

    async def _write(self, operation: Callable[[apsw.Cursor], T]) -> T:
        if self._repair is not None:
            raise _repairing()

        def watched(cursor: apsw.Cursor) -> T:
            try:
                return operation(cursor)
            except DAMAGED as error:
                self._broken(error)
                raise

        return await self._writer.submit(watched)

    # --- damage -------------------------------------------------------------------------------------------

    def _broken(self, error: Exception) -> None:
        """SQLite can't read its file: salvage what is in it, and go on with that."""
        if self._repair is None and not self._closed:
            self._repair = asyncio.get_running_loop().create_task(self._salvage(str(error)))

    async def _salvage(self, problem: str) -> None:
        await self._writer.drain()  # nothing new comes in meanwhile
        leave_log(self._connection)
        self._shut()
        while not self._closed:
            try:
                opened = await asyncio.to_thread(self._open, problem)
            except (OSError, apsw.Error) as error:
                self._heard(refused(error))
                await self._pause(_REPAIR_AGAIN)
                continue
            self._install(opened)
            self._repair = None
            if self._trouble is not None:
                self._heard(None)
            return

    async def _pause(self, seconds: float) -> None:
        over = asyncio.Event()
        self._clock.call_later(seconds, over.set)
        await over.wait()

    async def _set_aside(self, mid: int, problem: str) -> None:
        """Take a message that is not whole out of the queue, with what is left of it."""
        if self._repair is not None:
            raise _repairing()
        aside = Aside(self._folder, self._clock.now())
        damage: list[QueueDamage] = []

        def move(cursor: apsw.Cursor) -> tuple[int, int]:
            row = cursor.execute("SELECT size FROM messages WHERE mid=?", (mid,)).fetchone()
            known = cursor.execute("SELECT 1 FROM recipients WHERE mid=?", (mid,)).fetchone()
            if row is None and known is None:
                return 0, 0  # somebody was quicker
            damage.extend(set_aside(cursor.connection, aside, self._bodies, {mid: problem}))
            return (1, int(row[0])) if row else (0, 0)

        messages, size = await self._write(move)
        self._messages -= messages
        self._bytes -= size
        for each in damage:
            self._tell(each)

    async def _whole(self, rows: Iterable[tuple[Any, ...]]) -> list[Queued]:
        """Rows as messages, less those that have a recipient that is not what was written."""
        found, wrong = gathered(rows)
        for mid in wrong:
            await self._set_aside(mid, "the address of one of its recipients has changed")
        return found

    # --- what waits ---------------------------------------------------------------------------------------

    async def due(self, now: float, limit: int) -> list[Queued]:
        rows = self._read(
            f"SELECT {MESSAGE}, {RECIPIENT} FROM "  # noqa: S608
            "(SELECT * FROM recipients WHERE next_attempt<=? ORDER BY next_attempt LIMIT ?) r "
            "JOIN messages m ON m.mid=r.mid",
            (now, limit),
        )
        return await self._whole(rows)

    async def next_due(self, after: float) -> float | None:
        """When the first recipient that waits beyond `after` falls due."""
        rows = self._read(
            "SELECT next_attempt FROM recipients WHERE next_attempt>? AND next_attempt<? "
            "ORDER BY next_attempt LIMIT 1",
            (after, NEVER),
        )
        return float(rows[0][0]) if rows else None

    async def recall(self, beyond: float, latest: float) -> None:
        where = "next_attempt>? AND next_attempt<?"
        if self._read(f"SELECT 1 FROM recipients WHERE {where} LIMIT 1", (beyond, NEVER)):  # noqa: S608
            spread = (latest - self._clock.now()) / 10_000

            earlier = "UPDATE recipients SET next_attempt=? - abs(random() % 1000) * ?"
            values = (latest, spread, beyond, NEVER)
            await self._write(lambda cursor: cursor.execute(f"{earlier} WHERE {where}", values))

    async def load(self, mid: int) -> Queued | None:
        rows = self._read(
            f"SELECT {MESSAGE}, {RECIPIENT} FROM messages m JOIN recipients r ON r.mid=m.mid "  # noqa: S608
            "WHERE m.mid=? AND m.quarantined IS NULL ORDER BY r.rid",
            (mid,),
        )
        return next(iter(await self._whole(rows)), None)

    async def set_level(self, mid: int, level: str | None) -> bool:
        def update(cursor: apsw.Cursor) -> bool:
            cursor.execute("UPDATE messages SET tls_level=? WHERE mid=?", (level, mid))
            return cursor.connection.changes() > 0

        return await self._write(update)

    async def amend(self, amendment: Amendment) -> None:
        await self._write(lambda cursor: _amend(cursor, amendment))

    async def browse(self, after: int, limit: int) -> list[Queued]:
        """Messages with a MID beyond `after`, in order: for listings, page by page."""
        rows = self._read(
            f"SELECT {MESSAGE}, {RECIPIENT} FROM "  # noqa: S608
            "(SELECT * FROM messages WHERE mid>? AND quarantined IS NULL ORDER BY mid LIMIT ?) m "
            "JOIN recipients r ON r.mid=m.mid ORDER BY m.mid, r.rid",
            (after, limit),
        )
        return await self._whole(rows)

    async def content(self, mid: int) -> AsyncIterator[bytes]:
        """The content in pieces; the last one comes once all of it is seen to be what was written.

        StorageRefused, and the message is set aside, when it is not: whoever sends it must break off.
        """
        columns = "sender, size, body, crc, masked, head, skip, head_crc"
        rows = self._read(f"SELECT {columns} FROM messages WHERE mid=?", (mid,))  # noqa: S608
        if not rows:
            raise StorageRefused("sick", f"message {mid} is not in the queue")
        sender, size, body, expected, masked, head, skip, changed = rows[0]
        if changed is not None and changed != head_sum(mid, masked, head, skip):
            await self._set_aside(mid, "the header that a directory gave it has changed")
            raise StorageRefused("sick", f"message {mid} is damaged: its header has changed")
        last, total, read = bytes(head or b""), 0, 0
        try:
            async for piece in self._pieces(mid, body):
                kept = piece[max(0, (skip or 0) - read) :]
                total, read = zlib.crc32(piece, total), read + len(piece)
                if kept:
                    if last:
                        yield last
                    last = kept
        except FileNotFoundError:
            pass
        except OSError as error:
            raise refused(error) from error
        if read != size or expected not in (None, message_sum(mid, sender, size, total)):
            problem = (
                f"of {size} bytes of content {read} are left" if read != size else "its content has changed"
            )
            await self._set_aside(mid, problem)
            raise StorageRefused("sick", f"message {mid} is damaged: {problem}")
        yield last

    async def _pieces(self, mid: int, body: bytes | None) -> AsyncIterator[bytes]:
        if body is not None:
            yield bytes(body)
            return
        with (self._bodies / str(mid)).open("rb", buffering=0) as file:
            while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
                yield piece

    def highest(self) -> int:
        """The highest MID in the queue, 0 when it is empty."""
        rows = self._read("SELECT coalesce(max(mid), 0) FROM messages", ())
        return int(rows[0][0])

    async def flush(self) -> None:
        await self._writer.drain()

    def count(self) -> tuple[int, int]:
        return self._messages, self._bytes

    def close(self) -> None:
        self._closed = True
        if self._repair is None:
            self._shut()

    def _shut(self) -> None:
        self._reader.close()
        self._writer.close()


def _amend(cursor: apsw.Cursor, amendment: Amendment) -> None:
    mid, sender, head = amendment.mid, amendment.sender, amendment.head
    masked = (sender, head.data if head else None, head.skip if head else None)
    total = head_sum(mid, *masked) if sender is not None or head is not None else None
    cursor.execute(
        "UPDATE messages SET asks=NULL, masked=?, head=?, skip=?, head_crc=? WHERE mid=?",
        (*masked, total, mid),
    )
    for r in amendment.recipients:
        cursor.execute(
            "UPDATE recipients SET address=?, crc=?, route=?, groups=? WHERE mid=? AND rid=?",
            (
                r.address,
                recipient_sum(mid, r.rid, r.address),
                r.route or None,
                groups_text(r.groups),
                mid,
                r.rid,
            ),
        )


def _remove(path: Path) -> None:
    """Remove a file that no row names. Where the disk refuses, the next start does it."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass


def _repairing() -> StorageRefused:
    return StorageRefused("sick", "the queue is damaged and is being salvaged")


class SqliteIncoming:
    """The port Incoming: in memory while small, then in a file."""

    def __init__(self, spool: SqliteSpool) -> None:
        self._spool = spool
        self._pieces = bytearray()
        self._file: int | None = None
        self._part: Path | None = None
        self._crc = 0
        self.size = 0
        self.body: bytes | None = None
        """The whole content after `commit`, when it was small enough to stay in memory."""

    def write(self, data: bytes) -> None:
        self.size += len(data)
        self._crc = zlib.crc32(data, self._crc)
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
        inline = bytes(self._pieces) if self._part is None else None
        self._close_file()
        content = self._part if self._part is not None else inline or b""
        try:
            await self._spool.store(envelope, recipients, content, self._crc)
        except StorageRefused:
            self.abort()
            raise
        self.body = inline

    def _close_file(self) -> None:
        if self._file is not None:
            descriptor, self._file = self._file, None
            try:
                os.close(descriptor)
            except OSError:
                pass  # it is closed all the same; what could not be written is found by the fsync

    def abort(self) -> None:
        self._close_file()
        self._pieces.clear()
        if self._part is not None:
            _remove(self._part)
