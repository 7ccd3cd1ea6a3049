"""How a worker comes to be: as a process of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from mxseal.crew import indexing
from mxseal.crew.nursery import Nursery, NurseryGone
from mxseal.crew.process import Orders
from mxseal.storage.board import Board


class Ends(msgspec.Struct, frozen=True):
    """A worker's ends of the two pairs of sockets."""

    frames: socket.socket
    passing: socket.socket

    def close(self) -> None:
        self.frames.close()
        self.passing.close()


class Hired(Protocol):
    """A worker that runs."""

    pid: int

    async def ended(self) -> int:
        """Its exit status, once it has ended; negative: the signal that ended it."""
        ...

    def kill(self) -> None: ...


class Hire(Protocol):
    """Starts worker `number` of `workers`."""

    def __call__(self, number: int, workers: int, board: Board, ends: Ends) -> Hired: ...


class Processes:
    """Workers as processes: forked by the nursery; as programs when there is none any more."""

    def __init__(self, home: Path, nursery: Nursery | None = None) -> None:
        self._home = home
        self._nursery = nursery

    def __call__(self, number: int, workers: int, board: Board, ends: Ends) -> Hired:
        descriptors = (ends.frames.fileno(), ends.passing.fileno(), board.descriptor)
        orders = Orders(
            home=str(self._home),
            number=number,
            workers=workers,
            leader=os.getpid(),
            frames=descriptors[0],
            passing=descriptors[1],
            board=descriptors[2],
            seed=board.seed,
        )
        try:
            return self._forked(orders, descriptors)
        except NurseryGone:
            child = subprocess.Popen(  # noqa: S603 - this program itself
                orders.words, stdin=subprocess.DEVNULL, pass_fds=descriptors
            )
            return _Process(child.pid, child.wait)
        finally:
            ends.close()

    def _forked(self, orders: Orders, descriptors: tuple[int, int, int]) -> Hired:
        if self._nursery is None:
            raise NurseryGone
        nursery, pid = self._nursery, self._nursery.hire(orders, descriptors)
        return _Process(pid, lambda: nursery.status(pid))


class HireIndexer(Protocol):
    """Starts the indexer of message tracking with one end of a line."""

    def __call__(self, orders: indexing.Orders, line: socket.socket) -> Hired: ...


class IndexerProcesses:
    """The indexer as a process: forked by the nursery; as a program when there is none any more."""

    def __init__(self, nursery: Nursery | None = None) -> None:
        self._nursery = nursery

    def __call__(self, orders: indexing.Orders, line: socket.socket) -> Hired:
        try:
            return self._forked(orders, line)
        except NurseryGone:
            words = msgspec.structs.replace(orders, leader=os.getpid(), line=line.fileno()).words
            child = subprocess.Popen(  # noqa: S603 - this program itself
                words, stdin=subprocess.DEVNULL, pass_fds=(line.fileno(),)
            )
            return _Process(child.pid, child.wait)
        finally:
            line.close()

    def _forked(self, orders: indexing.Orders, line: socket.socket) -> Hired:
        if self._nursery is None:
            raise NurseryGone
        nursery, pid = self._nursery, self._nursery.hire_indexer(orders, line.fileno())
        return _Process(pid, lambda: nursery.status(pid))


class _Process:
    """A process whose end is seen through its descriptor (pidfd_open(2)): no thread, no signal handler."""

    def __init__(self, pid: int, status: Callable[[], int]) -> None:
        self.pid = pid
        self._status = status
        self._descriptor = os.pidfd_open(pid)
        self._end = asyncio.get_running_loop().create_task(self._watch())

    async def ended(self) -> int:
        return await asyncio.shield(self._end)

    async def _watch(self) -> int:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        try:
            return self._status()
        except NurseryGone:
            return -signal.SIGKILL  # the kernel ended it with the nursery

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
