"""A process that forks workers: they start at once, and share the memory of all that is loaded.

It is forked off before the program opens or starts anything, so that what it passes on is code and nothing
else. It has no loop and no threads; it waits for orders. When it is gone, workers are started as programs.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Never

import msgspec

from mxseal.crew import indexing
from mxseal.crew.process import Orders, call_process, die_with, main
from mxseal.tls import tickets

_ANSWER = struct.Struct("!q")
_LARGEST = 64 << 10
_STANDARD_ERROR = 2
_PATIENCE = 10.0
"""Seconds: a fork takes milliseconds."""


class Hire(msgspec.Struct, frozen=True, tag=True):
    """Fork a worker; its three descriptors come with the message. The answer is its process id."""

    orders: Orders


class HireIndexer(msgspec.Struct, frozen=True, tag=True):
    """Fork the indexer of message tracking; its line to the leading process comes with the message."""

    orders: indexing.Orders


class Wait(msgspec.Struct, frozen=True, tag=True):
    """The exit status of a worker that has ended; negative: the signal that ended it."""

    pid: int


class NurseryGone(Exception):
    """It was killed."""


class Nursery:
    """The leading process's side."""

    def __init__(self) -> None:
        """Forks. Call it before anything is opened, and while there is one thread."""
        leader = os.getpid()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        gc.freeze()  # a later collection would write to pages that all share
        self.pid = os.fork()
        if self.pid == 0:
            self._line.close()
            _tend(theirs, leader)
        theirs.close()
        self._line.settimeout(_PATIENCE)

    def hire(self, orders: Orders, descriptors: tuple[int, int, int]) -> int:
        """Process id of a new worker that got these descriptors. NurseryGone."""
        return self._ask(Hire(orders), descriptors)

    def hire_indexer(self, orders: indexing.Orders, line: int) -> int:
        """Process id of an indexer that got this end of a line. NurseryGone."""
        return self._ask(HireIndexer(orders), (line,))

    def status(self, pid: int) -> int:
        """The exit status of a worker that has ended. NurseryGone."""
        return self._ask(Wait(pid), ())

    def _ask(self, wish: Hire | HireIndexer | Wait, descriptors: tuple[int, ...]) -> int:
        try:
            socket.send_fds(self._line, [msgspec.json.encode(wish)], list(descriptors))
            answer = self._line.recv(_ANSWER.size)
        except OSError:
            answer = b""
        if len(answer) != _ANSWER.size:
            raise NurseryGone
        number: int = _ANSWER.unpack(answer)[0]
        return number

    def close(self) -> None:
        """Let it end, and wait for that; its workers have ended."""
        self._line.close()
        with contextlib.suppress(ChildProcessError):  # closed before
            os.waitpid(self.pid, 0)


def _tend(line: socket.socket, leader: int) -> Never:
    """Take orders until the leading process is gone."""
    die_with(leader)
    call_process("mxseal-nursery")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    _close_all_but(line.fileno())
    tickets.lay_in()
    decoder = msgspec.json.Decoder(Hire | HireIndexer | Wait)
    while True:
        data, descriptors, _, _ = socket.recv_fds(line, _LARGEST, 3)
        if not data:
            os._exit(0)
        wish = decoder.decode(data)
        if isinstance(wish, Wait):
            line.send(_ANSWER.pack(_status(wish.pid)))
            continue
        pid = os.fork()
        if pid == 0:
            line.close()
            _become(_duty(wish, descriptors))
        for descriptor in descriptors:
            os.close(descriptor)
        line.send(_ANSWER.pack(pid))


def _close_all_but(kept: int) -> None:
    """What this process inherited is for the leading process: a port that is closed there must be closed."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor > _STANDARD_ERROR and descriptor != kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _duty(wish: Hire | HireIndexer, descriptors: list[int]) -> Callable[[], int]:
    leader = os.getppid()
    if isinstance(wish, HireIndexer):
        indexer = msgspec.structs.replace(wish.orders, leader=leader, line=descriptors[0])
        return lambda: indexing.main(indexer)
    frames, passing, board = descriptors
    orders = msgspec.structs.replace(wish.orders, leader=leader, frames=frames, passing=passing, board=board)
    return lambda: main(orders)


def _become(duty: Callable[[], int]) -> Never:
    status = 1
    try:
        status = duty()
    except BaseException:  # noqa: BLE001 - nothing of this process may go on as another
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _status(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return 1
