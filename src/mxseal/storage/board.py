"""Numbers that the processes of one gateway share: a piece of memory with a row for each of them.

Each process writes its own row only, so that nothing is locked; everybody reads all rows. A row outlives its
process: what it counted stays counted, what it held is cleared before the next one takes the row. Only the
counters that all of them draw numbers from are locked, each for itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

CELLS: Final = 2048
"""Plain numbers in a row."""
_SLOTS = 1 << 16
"""Counts by key in each of two tables. Two keys share both of their slots once in four thousand million."""
_CELL_BYTES, _SLOT_BYTES = 8, 4
COUNTERS: Final = 8
_COUNTER_BYTES = COUNTERS * 2 * 8
_ROW_BYTES = CELLS * _CELL_BYTES + 2 * _SLOTS * _SLOT_BYTES


class Board:
    """The shared memory. Pages that nobody touched take no memory."""

    def __init__(self, descriptor: int, rows: int, seed: bytes) -> None:
        """`descriptor` is kept open; `seed` (16 bytes) is what keys are hashed with.

        The last row is the leading process's, the others are those of the workers."""
        self.descriptor = descriptor
        self.movers = max(1, rows - 1)
        self.seed = seed
        self._memory = mmap.mmap(descriptor, rows * _ROW_BYTES + _COUNTER_BYTES)
        whole = memoryview(self._memory)
        self._cells: list[memoryview] = []
        self._slots: list[memoryview] = []
        for start in range(0, rows * _ROW_BYTES, _ROW_BYTES):
            border = start + CELLS * _CELL_BYTES
            self._cells.append(whole[start:border].cast("q"))
            self._slots.append(whole[border : start + _ROW_BYTES].cast("i"))
        self.counters = whole[rows * _ROW_BYTES :].cast("q")
        """(next number, end of what is reserved) of each counter, one behind the other."""

    @classmethod
    def make(cls, rows: int) -> Board:
        """An empty board for so many processes."""
        descriptor = os.memfd_create("mxseal-board", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, rows * _ROW_BYTES + _COUNTER_BYTES)
        return cls(descriptor, rows, os.urandom(16))

    def close(self) -> None:
        os.close(self.descriptor)

    @contextmanager
    def locked(self, counter: int) -> Iterator[None]:
        """Nobody else touches the counter within the block. The lock of a process that dies is free again."""
        fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, counter)
        try:
            yield
        finally:
            fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, counter)

    def total(self, cell: int) -> int:
        """The sum of a cell over all rows."""
        return sum(cells[cell] for cells in self._cells)

    def inside(self, slots: tuple[int, int]) -> int:
        """How many all rows count under the key that these slots are of; never too few."""
        first, second = slots
        one = two = 0
        for row in self._slots:
            one += row[first]
            two += row[second]
        return min(one, two)

    def slots(self, key: str) -> tuple[int, int]:
        """Where a key is counted. Its hash is keyed: a stranger can't choose keys that meet."""
        digest = hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=4, key=self.seed).digest()
        return int.from_bytes(digest[:2]), _SLOTS + int.from_bytes(digest[2:])

    def row(self, index: int) -> Row:
        return Row(self, self._cells[index], self._slots[index])


class Row:
    """One process's part of the board."""

    def __init__(self, board: Board, cells: memoryview, slots: memoryview) -> None:
        self.board = board
        self._cells = cells
        self._slots = slots

    def add(self, cell: int, number: int = 1) -> None:
        self._cells[cell] += number

    def put(self, cell: int, number: int) -> None:
        self._cells[cell] = number

    def elsewhere(self, cell: int) -> int:
        """The sum of a cell over the other rows."""
        return self.board.total(cell) - self._cells[cell]

    def enter(self, key: str) -> int:
        """Count one more under `key`; gives how many there are in all processes, this one included."""
        slots = self.board.slots(key)
        for slot in slots:
            self._slots[slot] += 1
        return self.board.inside(slots)

    def leave(self, key: str) -> None:
        """Take back what `enter` counted."""
        for slot in self.board.slots(key):
            self._slots[slot] -= 1

    def inside(self, key: str) -> int:
        """How many are counted under `key` in all processes."""
        return self.board.inside(self.board.slots(key))

    def clear(self, cells: Sequence[int]) -> None:
        """Forget what a process held that is gone: these cells, and all that is counted by key."""
        for cell in cells:
            self._cells[cell] = 0
        self._slots[:] = memoryview(bytes(2 * _SLOTS * _SLOT_BYTES)).cast("i")
