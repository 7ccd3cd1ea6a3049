"""Reading the event log from a place that is remembered: whole lines, file after file, none left out unseen.

A place is a file's stamp and an offset. Stamps only grow and are never given twice, so that they name a file
also after it was saved, copied or moved with its home.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mxseal.logs.retained import Retained, open_retained, retained

NEWLINE = b"\n"
CHUNK = 2 << 20
LONGEST = 16 << 20
"""A line longer than this is none of ours: it is passed over."""


class Position(msgspec.Struct, frozen=True):
    """How far the log was read. Without a stamp: not begun."""

    stamp: str = ""
    offset: int = 0


class Gap(msgspec.Struct, frozen=True):
    """Lines that were deleted before they were read: from a place to the beginning of a file, or to an offset
    of the same file."""

    begin: Position
    end: Position


class Chunk(msgspec.Struct, frozen=True):
    """Whole lines, and the place behind them."""

    lines: bytes
    after: Position
    gap: Gap | None = None
    """What is missing in front of the lines."""


class LogReader:
    """Reads on from a position. Blocking. OSError where the disk refuses."""

    def __init__(self, folder: Path, position: Position) -> None:
        self._folder = folder
        self._at = position
        self._descriptor: int | None = None
        self._seen: set[str] = set()
        """Stamps of files that are to be read."""
        self._gap: Gap | None = None

    def read(self) -> Chunk | None:
        """The next lines, about two megabytes at most; None: all was read."""
        if self._descriptor is None and not self._reopen():
            return None
        while True:
            if lines := self._lines():
                return self._chunk(lines)
            files = retained(self._folder)
            self._seen |= {entry.stamp for entry in files if entry.stamp > self._at.stamp}
            newer = [entry for entry in files if entry.stamp > self._at.stamp]
            if not newer or any(entry.current and entry.stamp == self._at.stamp for entry in files):
                return None
            # The file was finished, and then given its name as a saved one: what is there now is all.
            if rest := self._lines() or self._torn():
                return self._chunk(rest)
            if not self._move(newer):
                return None

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def unread(self) -> int:
        """Bytes that are still to be read."""
        return unread(self._folder, self._at)

    def _chunk(self, lines: bytes) -> Chunk:
        gap, self._gap = self._gap, None
        return Chunk(lines, self._at, gap)

    def _reopen(self) -> bool:
        """Open the file of the position, or the oldest one behind it."""
        files = retained(self._folder)
        for entry in files:
            if entry.stamp == self._at.stamp and (descriptor := open_retained(entry)) is not None:
                self._descriptor = descriptor
                self._find_line()
                return True
        newer = [entry for entry in files if entry.stamp > self._at.stamp]
        if self._at.stamp and newer:
            self._tell_gap(Position(newer[0].stamp))
        return self._move(newer)

    def _find_line(self) -> None:
        """Begin at a line's beginning, also where the file is not what it was: a power cut may have taken its
        end, which had been read."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        offset = min(self._at.offset, size)
        if offset > 0 and os.pread(self._descriptor, 1, offset - 1) != NEWLINE:
            found = os.pread(self._descriptor, LONGEST, offset).find(NEWLINE)
            offset = size if found < 0 else offset + found + 1
        self._at = Position(self._at.stamp, offset)

    def _move(self, newer: list[Retained]) -> bool:
        """Go to the oldest of `newer` that can be opened."""
        for entry in newer:
            descriptor = open_retained(entry)
            if descriptor is None:
                continue  # deleted in this moment
            if missed := {stamp for stamp in self._seen if self._at.stamp < stamp < entry.stamp}:
                self._tell_gap(Position(entry.stamp), Position(min(missed)))
            self._seen = {stamp for stamp in self._seen if stamp > entry.stamp}
            self.close()
            self._descriptor, self._at = descriptor, Position(entry.stamp)
            return True
        return False

    def _tell_gap(self, end: Position, begin: Position | None = None) -> None:
        self._gap = Gap(self._gap.begin if self._gap else begin or self._at, end)

    def _lines(self) -> bytes:
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        if size < self._at.offset:  # somebody emptied the file
            self._tell_gap(Position(self._at.stamp, 0))
            self._at = Position(self._at.stamp)
        length = CHUNK
        while True:
            block = os.pread(self._descriptor, length, self._at.offset)
            end = block.rfind(NEWLINE) + 1
            if end or len(block) < length:
                self._at = Position(self._at.stamp, self._at.offset + end)
                return block[:end]
            if length >= LONGEST:
                self._at = Position(self._at.stamp, self._at.offset + len(block))
                return NEWLINE
            length *= 2

    def _torn(self) -> bytes:
        """The end of a file that lacks its newline and will never get it."""
        assert self._descriptor is not None
        rest = os.pread(self._descriptor, LONGEST, self._at.offset)
        self._at = Position(self._at.stamp, self._at.offset + len(rest))
        return rest + NEWLINE if rest else b""


def unread(folder: Path, at: Position) -> int:
    """Bytes of the log behind a position."""
    total = 0
    for entry in retained(folder):
        if entry.stamp >= at.stamp:
            try:
                size = entry.path.stat().st_size
            except FileNotFoundError:
                continue
            total += size - at.offset if entry.stamp == at.stamp else size
    return max(0, total)
