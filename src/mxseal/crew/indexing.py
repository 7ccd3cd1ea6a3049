"""The process that keeps message tracking: it reads the event log with what the machine has left over.

It is told to stop by the end of its line to the leading process, on which it says what is wrong. It may be
killed at any time: its place in the log is kept with its rows.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import apsw
import msgspec

from mxseal.crew.process import call_process, die_with
from mxseal.sinks.tracking.indexer import DiskShort, Indexer, Limits

LOOK_SECONDS = 0.4
"""Between two looks at a log in which there was nothing new."""
RETRY_SECONDS = 10.0
TIDY_SECONDS = 60.0
_NICE = 19


class Orders(msgspec.Struct, frozen=True):
    """What the process is started with: the only word of its command line, as JSON."""

    home: str
    limits: Limits
    leader: int = 0
    line: int = -1
    """A descriptor."""

    @property
    def words(self) -> list[str]:
        return [sys.executable, "-m", "mxseal.crew.indexing", msgspec.json.encode(self).decode()]


def main(orders: Orders) -> int:
    """Index until the line ends."""
    os.umask(0o077)
    os.nice(_NICE)
    die_with(orders.leader)
    call_process("mxseal-tracking")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _Work(orders).go_on()
    return 0


class Stopped(Exception):
    """The leading process wants no more, or is gone."""


class _Work:
    def __init__(self, orders: Orders) -> None:
        self._line = socket.socket(fileno=orders.line)
        self._indexer = Indexer(Path(orders.home), orders.limits, self._say, time.time)
        self._trouble = ""
        self._tidy_at = time.monotonic() + LOOK_SECONDS

    def go_on(self) -> None:
        """Until the line ends."""
        try:
            while True:
                self._wait(self._once())
        except Stopped:
            self._indexer.close()

    def _once(self) -> float:
        """Do some work; seconds until the next."""
        try:
            worked = self._indexer.step()
            if time.monotonic() >= self._tidy_at:
                more = self._indexer.tidy()
                self._tidy_at = time.monotonic() + (LOOK_SECONDS if more else TIDY_SECONDS)
        except (DiskShort, apsw.Error, OSError) as error:
            self._tell_trouble(error)
            return RETRY_SECONDS
        if self._trouble:
            self._trouble = ""
            self._say("")
        return 0.0 if worked else LOOK_SECONDS

    def _tell_trouble(self, error: Exception) -> None:
        text = (
            str(error)
            if isinstance(error, DiskShort)
            else (
                f"Message tracking can't go on: {type(error).__name__}: {error}. It is tried again; mail is "
                "not concerned, and what has happened meanwhile is then read from the log."
            )
        )
        if text != self._trouble:
            self._trouble = text
            self._say(text)

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        if poll.poll(seconds * 1000):
            raise Stopped

    def _say(self, text: str) -> None:
        """A line of JSON; empty: what was wrong is over."""
        try:
            self._line.sendall(msgspec.json.encode(text) + b"\n")
        except OSError:
            raise Stopped from None


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=Orders)))
