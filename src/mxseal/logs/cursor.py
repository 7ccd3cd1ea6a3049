"""A place in a log that is kept: where reading goes on after a restart, and what is lost when a file goes."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from mxseal.logs.follow import CHUNK, NEWLINE, Follower
from mxseal.logs.retained import Retained, retained

_FILE = ".sent"
"""Beside the log's files, whose names it is not like."""


class Place(msgspec.Struct, frozen=True):
    """Between two lines of a log."""

    stamp: str
    """Of the file."""
    offset: int


class Cursor(Follower):
    """Reads a log from a place on. Blocking, as `Follower`; one thread at a time."""

    def __init__(self, folder: Path, place: Place | None = None) -> None:
        """`place` None: the end of what there is now."""
        super().__init__(folder, 0)
        self.gap = False
        """A file that was to be read next is gone, and nobody said so with `skip`."""
        if place is not None:
            self._wanted = None
            self.go(place)
        else:
            self._begin(0)
            self._wanted = None

    @property
    def place(self) -> Place:
        """Behind the last line that `step` gave."""
        return Place(self._stamp, self._offset)

    def go(self, place: Place) -> None:
        """Go back, or on, to a place; where its file is gone, to the first line behind it, with a `gap`."""
        self.close()
        self._stamp, self._offset = place.stamp, place.offset
        entry = next((each for each in retained(self._folder) if each.stamp == place.stamp), None)
        if entry is not None:
            self._move_to(entry)
            self._offset = place.offset
        self.gap = self._descriptor is None and bool(place.stamp)

    def skip(self, entry: Retained) -> int:
        """The file is about to be deleted: how many lines of it were not read. Goes behind it."""
        if entry.stamp < self._stamp:
            return 0
        offset = self._offset if entry.stamp == self._stamp else 0
        lost = _lines_behind(entry.path, offset)
        newer = [each for each in retained(self._folder) if each.stamp > entry.stamp]
        if newer:
            self._move_to(newer[0])
        return lost

    def waiting(self) -> int:
        """Bytes that are not read yet."""
        sizes = [(each.stamp, _size(each.path)) for each in retained(self._folder)]
        whole = sum(size for stamp, size in sizes if stamp > self._stamp)
        return whole + sum(max(0, size - self._offset) for stamp, size in sizes if stamp == self._stamp)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it got its name as a saved one, or its time was over
        return 0


def _lines_behind(path: Path, offset: int) -> int:
    lines = 0
    with path.open("rb") as file:
        file.seek(offset)
        while block := file.read(CHUNK):
            lines += block.count(NEWLINE)
    return lines


# --- on disk ----------------------------------------------------------------------------------------------


def kept_place(folder: Path) -> Place | None:
    """Where reading goes on; None: nobody has said."""
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Place)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def keep_place(folder: Path, place: Place) -> None:
    """Durable when it returns. OSError where the disk refuses; then the one before is still there."""
    draft = folder / f"{_FILE}.new"
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(place))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / _FILE)


def forget_place(folder: Path) -> None:
    (folder / _FILE).unlink(missing_ok=True)
