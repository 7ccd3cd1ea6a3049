"""ICID, MID and DCID: numbers that only grow and are never given twice, drawn by all processes from one row.

The next number is on the board, in memory; how far the numbers may go is in `state.db`, in blocks, so that
no number comes again after a crash.
"""

from __future__ import annotations

from pathlib import Path

import apsw

from mxseal.storage.board import Board
from mxseal.storage.writer import connect, refused

COUNTERS = ("icid", "mid", "dcid")
_BLOCK = 1000
"""Numbers reserved at a time: what a crash may skip, and how rarely a counter waits for the disk."""


class Numbers:
    """The counters of a home, as one of its processes draws from them."""

    def __init__(self, path: Path, board: Board) -> None:
        """`path` is the home's `state.db`."""
        self._db = connect(path)
        self._board = board

    def allocate(self, counter: str) -> int:
        """The next number of a counter. StorageRefused when the disk refuses and none is in hand.

        The next block is reserved when half of the last one is used: a full disk has time to be cleared.
        """
        index = COUNTERS.index(counter)
        held = self._board.counters
        with self._board.locked(index):
            number, end = held[2 * index], held[2 * index + 1]
            if number == end or end - number == _BLOCK // 2:
                try:
                    number, end = self._reserve(counter, number, end)
                except apsw.Error as error:
                    if number == end:
                        raise refused(error) from error
            held[2 * index], held[2 * index + 1] = number + 1, end
        return number

    def begin_beyond(self, counter: str, number: int) -> None:
        """Numbers up to this one are in use: a state that was restored from a backup knows less than the
        queue. Call it before any process draws."""
        self._db.execute(
            "INSERT INTO counters VALUES (?,?) "
            "ON CONFLICT(name) DO UPDATE SET reserved=max(reserved, excluded.reserved)",
            (counter, number + 1),
        )

    def reserve(self, *counters: str) -> None:
        """Have numbers in hand before the first is needed: a disk may be full by then."""
        held = self._board.counters
        for counter in counters:
            index = COUNTERS.index(counter)
            with self._board.locked(index):
                number, end = held[2 * index], held[2 * index + 1]
                if number == end:
                    try:
                        held[2 * index], held[2 * index + 1] = self._reserve(counter, number, end)
                    except apsw.Error:
                        pass  # `allocate` tries again, and tells it

    def _reserve(self, counter: str, number: int, end: int) -> tuple[int, int]:
        """(next number, end) with one more block."""
        self._db.execute("BEGIN IMMEDIATE")  # another process may be reserving for another counter
        try:
            stored = self._db.execute("SELECT reserved FROM counters WHERE name=?", (counter,)).get
            start = stored if isinstance(stored, int) else 1
            self._db.execute(
                "INSERT INTO counters VALUES (?,?) "
                "ON CONFLICT(name) DO UPDATE SET reserved=excluded.reserved",
                (counter, start + _BLOCK),
            )
            self._db.execute("COMMIT")
        except apsw.Error:
            if not self._db.get_autocommit():
                self._db.execute("ROLLBACK")
            raise
        # What follows on is one block with what is held; after a restored state it is not.
        return (number if start == end and number < end else start), start + _BLOCK

    def give_back(self) -> None:
        """What was reserved and not used: no process may draw any more."""
        held = self._board.counters
        try:
            for index, counter in enumerate(COUNTERS):
                self._db.execute(
                    "UPDATE counters SET reserved=? WHERE name=? AND reserved=?",
                    (held[2 * index], counter, held[2 * index + 1]),
                )
        except apsw.Error:
            pass  # numbers are skipped then, which is allowed

    def close(self) -> None:
        self._db.close()
