"""Group commit: many small writes share one transaction and one fsync.

Statements run on the event loop's thread, where they cost microseconds; only COMMIT, which waits for the
disk, runs in a thread of its own. While one batch is being committed the next one gathers. This keeps the
handing over of the interpreter lock to two per batch, however many messages are in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import apsw

from mxseal.storage.ports import StorageRefused

T = TypeVar("T")
_LOG_BYTES = 8 << 20
"""To this size SQLite's log is cut back once it has been written into the database."""
_MOST_TURNS = 16
"""So many turns of the loop a batch waits for more at most: some milliseconds."""
Operation = Callable[[apsw.Cursor], T]


def connect(path: Path, *, read_only: bool = False, page_size: int = 4096) -> apsw.Connection:
    """A connection in WAL mode whose COMMIT returns only when the data is on stable storage.

    `page_size` holds for a file that is made by this call.
    """
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=64)
    connection.set_busy_timeout(5000)
    if not read_only:
        connection.execute(f"PRAGMA page_size={page_size}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA journal_size_limit={_LOG_BYTES}")
        connection.execute(f"PRAGMA wal_autocheckpoint={_LOG_BYTES // page_size}")
    return connection


def refused(error: Exception) -> StorageRefused:
    """The port's word for what SQLite or the system said."""
    full = isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in {28, 122})
    return StorageRefused("full" if full else "sick", f"{type(error).__name__}: {error}")


class GroupWriter:
    """One connection that writes, in batches. Use from the event loop's thread only."""

    def __init__(self, connection: apsw.Connection, report: Callable[[StorageRefused | None], None]) -> None:
        """`report` hears of the first batch that failed, and with None of the first that works again."""
        self._connection = connection
        self._cursor = connection.cursor()
        self._report = report
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._running = False
        self._scheduled = False
        self._failed = False

    def submit(self, operation: Operation[T]) -> asyncio.Future[T]:
        """A future that is done when the operation is durable; StorageRefused when nothing of it was kept."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._waiting.append((operation, future))
        if not self._running and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._gather, 0, 0)
        return future

    def _gather(self, seen: int, turns: int) -> None:
        """Begin once a turn of the loop has brought nothing more: who is served in the same moment shares the
        fsync, and who is alone waits for one empty turn."""
        if len(self._waiting) > seen and turns < _MOST_TURNS:
            asyncio.get_running_loop().call_soon(self._gather, len(self._waiting), turns + 1)
            return
        self._turn()

    def _turn(self) -> None:
        self._scheduled = False
        if self._running or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._running = True
        results: list[Any] = []
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            results.extend(operation(self._cursor) for operation, _ in batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            self._end(batch, [], error)
            return
        job = asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
        job.add_done_callback(lambda done: self._end(batch, results, done.result()))

    def _commit(self) -> apsw.Error | None:
        try:
            self._cursor.execute("COMMIT")
        except apsw.Error as error:
            return error
        return None

    def _end(
        self,
        batch: list[tuple[Operation[Any], asyncio.Future[Any]]],
        results: list[Any],
        error: Exception | None,
    ) -> None:
        self._running = False
        if error is not None:
            try:
                if not self._connection.get_autocommit():
                    self._cursor.execute("ROLLBACK")
            except apsw.Error:
                pass  # SQLite has rolled back by itself; BEGIN of the next batch will say if it has not
            refusal = refused(error)
            if not self._failed:
                self._failed = True
                self._report(refusal)
            for _, future in batch:
                if not future.done():
                    future.set_exception(refusal)
        else:
            if self._failed:
                self._failed = False
                self._report(None)
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():
                    future.set_result(result)
        if self._waiting and not self._scheduled:
            self._scheduled = True
            self._gather(0, 0)

    @property
    def busy(self) -> bool:
        """Whether a batch is being committed or gathered."""
        return self._running or bool(self._waiting)

    async def drain(self) -> None:
        """Return when all that was submitted before is settled."""
        while self._running or self._waiting:
            try:
                await self.submit(lambda _cursor: None)
            except StorageRefused:
                return

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._connection.close()
