"""A log on disk that never loses a line: written once per turn of the event loop, rotated, retained.

Several processes write to one file, each whole lines in one call (O_APPEND keeps them whole). One of them,
the keeper, begins, rotates and expires files. A failed write keeps its bytes for the next attempt; only a
line that a full disk cut is said again, whole, on a line of its own: others may have written behind the
cut. While the disk refuses, `ready` is False and the gateway takes no new mail, so that what is kept here
stays bounded.
"""

from __future__ import annotations

import calendar
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from mxseal.clock import Clock
from mxseal.config.model import Logs
from mxseal.logs.retained import Retained, file_path, logs_folder, retained

Schedule = Callable[[Callable[[], None]], object]
"""Runs a call at the end of this turn of the event loop: `loop.call_soon`."""

KEPT_BYTES = 4 << 20
"""Above so many bytes that are not written the log is not ready."""
DAY = 86_400.0


class Framing(Protocol):
    """What a file begins and ends with: whole lines, or nothing."""

    def head(self, at: float) -> bytes: ...

    def foot(self, at: float) -> bytes: ...


class Surroundings(msgspec.Struct, frozen=True):
    """What a log needs of the program around it."""

    home: Path
    clock: Clock
    schedule: Schedule
    written: Callable[[], None] | None = None
    """Called after lines were written, to wake those who follow the log."""
    keeper: bool = True
    """Whether this process begins and rotates files; the others write to the newest one."""
    turned: Callable[[LogFile], None] | None = None
    """Called when a new file was begun: makes the other writers follow, then calls `finish`. None: there are
    no others."""
    expiring: Callable[[str, Retained], None] | None = None
    """Told of a subscription's saved file just before it is deleted."""


class LogFile:
    """The files of one subscription, the newest of which is written to."""

    def __init__(
        self, subscription: str, filename: str, framing: Framing, logs: Logs, around: Surroundings
    ) -> None:
        self.folder = logs_folder(around.home) / subscription
        self._subscription = subscription
        self._filename = filename
        self._framing = framing
        self._logs = logs
        self._around = around
        self._descriptor: int | None = None
        self._path = self.folder
        self._size = 0
        self._head = 0
        """Bytes of the file that are no lines: a file of nothing else need not be rotated."""
        self._begun = 0.0
        self._old: tuple[int, Path] | None = None
        """The file before, while others may still write to it."""
        self._out = b""
        """What is being written to the open file, from `_done` on."""
        self._done = 0
        self._lines: list[bytes] = []
        """Lines behind `_out`, perhaps for the next file."""
        self._held = 0
        self._turning = False
        """A new file is due."""
        self._scheduled = False
        self.error: OSError | None = None
        """Why the last attempt failed; None when it did not."""

    def open(self) -> None:
        """Go on with the newest file, or begin one. OSError: a gateway without its log does not start."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._attach()
        self._expire()
        self.flush()
        if self.error is not None:
            raise self.error

    def write(self, lines: bytes) -> None:
        """Take one or more whole lines, each with its newline."""
        self._lines.append(lines)
        self._held += len(lines)
        if not self._scheduled:
            self._scheduled = True
            self._around.schedule(self.flush)

    def flush(self) -> None:
        """Write what is held. Keeps what the disk refuses and sets `error`."""
        self._scheduled = False
        before = self._held
        try:
            self._work()
        except OSError as error:
            self.error = error
        else:
            self.error = None
        if self._held != before and self._around.written is not None:
            self._around.written()

    retry = flush

    def ready(self) -> bool:
        """False while the last attempt failed or too much is held."""
        return self.error is None and self._held <= KEPT_BYTES

    def rotate(self) -> None:
        """Save the file and begin another, whatever its size."""
        self._turning = self._around.keeper
        self.flush()

    def finish(self) -> None:
        """After a rotation, when nobody writes to the file before any more: give it its last lines."""
        if self._old is None:
            return
        descriptor, path = self._old
        self._old = None
        try:
            if foot := self._framing.foot(self._around.clock.now()):
                os.write(descriptor, foot)
            path.rename(path.with_suffix(".s"))
        except OSError as error:
            self.error = error  # without its last line it is complete; `_attach` renames it later
        os.close(descriptor)
        self._expire()

    def look(self) -> None:
        """See what others have written, and rotate if it is time."""
        if self._descriptor is not None:
            self._size = os.fstat(self._descriptor).st_size
        self.flush()

    def reopen(self) -> None:
        """Open the newest file by its name again: a program outside may have moved it away."""
        self.flush()
        if self.error is None and self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            self.open()

    def configure(self, logs: Logs, filename: str | None = None) -> None:
        """Take new bounds, which hold from the next line on, and another name for files to come."""
        self._logs = logs
        self._filename = filename or self._filename
        self._expire()

    def close(self) -> None:
        """Write what is held and close; the file stays current and is continued at the next start."""
        self.flush()
        self.finish()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _work(self) -> None:
        while True:
            self._drain()
            if self._lines:
                self._put(b"".join(self._lines))
                self._lines.clear()
            elif self._old is None and (self._turning or self._full):
                self._turn()
            else:
                return

    @property
    def _full(self) -> bool:
        return self._around.keeper and (self._size >= self._logs.rotate_bytes or self._aged)

    @property
    def _aged(self) -> bool:
        """Whether it is time for a new file, though this one is not full."""
        after = self._logs.rotate_seconds
        return bool(after) and self._size > self._head and self._around.clock.now() - self._begun >= after

    def _put(self, data: bytes) -> None:
        """Let `data`, which is counted as held, be the next to be written."""
        self._out, self._done = data, 0

    def _drain(self) -> None:
        if self._done == len(self._out):
            return
        if self._descriptor is None:
            self._attach()
        assert self._descriptor is not None
        while self._done < len(self._out):
            written = os.write(self._descriptor, memoryview(self._out)[self._done :])
            self._done += written
            self._size += written
            self._held -= written
            if self._done < len(self._out):
                self._say_again()

    def _say_again(self) -> None:
        """A full disk took a part: the line that was cut comes again."""
        begin = self._out.rfind(b"\n", 0, self._done) + 1
        if begin == self._done:
            return
        self._held += 1 + self._done - begin
        self._put(b"\n" + self._out[begin:])

    def _attach(self) -> None:
        """Open the newest current file, or begin one; what waits in `_out` goes behind what this needs."""
        waiting = self._out[self._done :]
        current = [entry for entry in retained(self.folder) if entry.current]
        if self._around.keeper:
            for older in current[:-1]:
                older.path.rename(older.path.with_suffix(".s"))
        head = self._continue(current[-1]) if current else self._begin()
        self._held += len(head)
        self._put(head + waiting)

    def _turn(self) -> None:
        old = self._descriptor
        path = self._path
        head = self._begin()
        self._held += len(head)
        self._put(head)
        self._turning = False
        if old is None:
            return
        self._old = (old, path)
        if self._around.turned is None:
            self.finish()
        else:
            self._around.turned(self)

    def _begin(self) -> bytes:
        """Make a new file; gives what it begins with."""
        now = self._around.clock.now()
        path = file_path(self.folder, self._filename, self._next_stamp(now), "current")
        self._descriptor = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._path, self._size, self._begun = path, 0, now
        head = self._framing.head(now)
        self._head = len(head)
        return head

    def _next_stamp(self, now: float) -> str:
        """The time of `now`; later than all stamps that there are, though a clock may have been set back."""
        moment = time.gmtime if self._logs.time == "utc" else time.localtime
        taken = {entry.stamp for entry in retained(self.folder)}
        stamp = time.strftime("%Y%m%dT%H%M%S", moment(now))
        newest = max(taken, default="")
        if stamp > newest:
            return stamp
        # Only the order counts: a second behind the newest, reckoned without a zone so that it can't go back.
        after = calendar.timegm(time.strptime(newest, "%Y%m%dT%H%M%S")) + 1
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime(after))

    def _continue(self, entry: Retained) -> bytes:
        """Open a file that is there; gives what it lacks."""
        self._descriptor = os.open(entry.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._path = entry.path
        self._size = os.fstat(self._descriptor).st_size
        self._begun, self._head = self._moment_of(entry.stamp), 0
        if not self._around.keeper:
            return b""  # a line that seems cut may be one that another writer is writing
        if self._size == 0:
            return self._framing.head(self._around.clock.now())
        # A crash may have cut the last line: end it, so that the next one stands on its own.
        return b"" if os.pread(self._descriptor, 1, self._size - 1) == b"\n" else b"\n"

    def _moment_of(self, stamp: str) -> float:
        """When a file was begun, by its name."""
        parts = time.strptime(stamp, "%Y%m%dT%H%M%S")
        return float(calendar.timegm(parts)) if self._logs.time == "utc" else time.mktime(parts)

    def _expire(self) -> None:
        """Delete the oldest saved files: those too many, and those last written too long ago."""
        if not self._around.keeper:
            return
        entries = retained(self.folder)
        oldest = self._around.clock.now() - self._logs.keep_days * DAY
        surplus = len(entries) - self._logs.keep_files
        for index, entry in enumerate(entries):
            if entry.current:
                continue
            try:
                if index < surplus or entry.path.stat().st_mtime < oldest:
                    if self._around.expiring is not None:
                        self._around.expiring(self._subscription, entry)
                    entry.path.unlink()
            except OSError:
                # A file that stays costs space, not a line of the log; it is tried again at the next
                # rotation.
                continue
