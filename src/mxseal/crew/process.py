"""A worker as a process of its own: forked by the nursery, or `python -m mxseal.crew.process`."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import sys
import warnings
from pathlib import Path

import msgspec
import uvloop
from cryptography.utils import CryptographyDeprecationWarning

from mxseal.clock import SystemClock
from mxseal.cluster.history import document_in_force
from mxseal.crew import wire
from mxseal.crew.wire import Frames
from mxseal.crew.worker import Post, Worker
from mxseal.relay.descriptors import raise_limit
from mxseal.storage.board import Board
from mxseal.storage.home import Home

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class Orders(msgspec.Struct, frozen=True):
    """What the process is started with: the only word of its command line, as JSON."""

    home: str
    number: int
    workers: int
    leader: int
    """Process id of the leading process."""
    frames: int
    passing: int
    board: int
    """Descriptors."""
    seed: bytes

    @property
    def words(self) -> list[str]:
        return [sys.executable, "-m", "mxseal.crew.process", msgspec.json.encode(self).decode()]


def main(orders: Orders) -> int:
    """Serve until told to stop."""
    os.umask(0o077)
    raise_limit()
    # A peer's odd certificate is told in the log, where it belongs, not on standard error.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    die_with(orders.leader)
    call_process(f"mxseal-worker-{orders.number}")
    return uvloop.run(_serve(orders))


def call_process(name: str) -> None:
    """What ps(1) and top(1) call this process; 15 bytes count."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def die_with(leader: int) -> None:
    """When the leading process is killed, this one is too, at once: its successor needs the ports and the
    shares of the queue. What was promised is on disk."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != leader:  # it was gone before the line above
        sys.exit(1)


async def _serve(orders: Orders) -> int:
    control = socket.socket(fileno=orders.frames)
    control.setblocking(False)
    passing = socket.socket(fileno=orders.passing)
    reader, writer = await asyncio.open_connection(sock=control, limit=wire.READ_AHEAD)
    frames = Frames(reader, writer, wire.Asked)
    board = Board(orders.board, orders.workers + 1, orders.seed)
    home = Home(Path(orders.home))
    home.lock_share(orders.number)
    state = home.open_state()
    document = document_in_force(state)
    state.close()
    clock = SystemClock()
    row = board.row(orders.number)
    worker = Worker(Post(home, clock, orders.number, orders.workers, row, frames, passing), document)
    # SIGTERM goes to the leading process, which tells the workers; a terminal's Ctrl-C reaches all of them.
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: None)
    told = await worker.serve()
    await frames.drain()
    return 0 if told else 1


if __name__ == "__main__":
    sys.exit(main(msgspec.json.decode(sys.argv[1], type=Orders)))
