"""Folders and loopback ports that belong to one peer, safe beside other runs on the same machine."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import Unavailable

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that
# no client socket can take a port between the moment it is handed out and the moment the server binds it.
PORTS = range(20_000, 32_000)

_BLOCK = 20
"""Ports claimed together: a descriptor for each single one would come to thousands in a long run."""

_blocks: list[int] = []
"""Descriptors whose locks hold this process's blocks, for its life."""
_left: list[int] = []
"""Ports of its blocks that were not looked at yet."""


def _claim() -> None:
    """Take one more block. Raises Unavailable."""
    folder = Path(tempfile.gettempdir()) / f"mxseal-lab-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    starts = PORTS[::_BLOCK]
    for start in random.sample(starts, len(starts)):
        descriptor = os.open(folder / str(start), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        _blocks.append(descriptor)
        _left.extend(random.sample(range(start, start + _BLOCK), _BLOCK))
        return
    raise Unavailable(
        f"No loopback port from {PORTS.start} to {PORTS.stop - 1} is free: end what holds them."
    )


def _free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def free_port() -> int:
    """A loopback port (TCP and UDP) that no other process of the laboratory is given while this one lives.

    Raises Unavailable when none of the range is free.
    """
    while True:
        while _left:
            if _free(port := _left.pop()):
                return port
        _claim()


def free_ports(count: int) -> tuple[int, ...]:
    """`count` different ports as of `free_port`."""
    return tuple(free_port() for _ in range(count))


def open_to_all(path: Path) -> bool:
    """Whether every user can pass through `path` and all folders above it."""
    return all(entry.stat().st_mode & stat.S_IXOTH for entry in (path, *path.parents) if entry.exists())


def new_folder(name: str) -> Path:
    """A new folder that any user can pass through (but not list) below the system's temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"mxseal-{name}-"))
    folder.chmod(0o711)
    if not open_to_all(folder):
        folder.rmdir()
        raise Unavailable(
            f"Servers that give up root can't pass through {folder.parent}: set TMPDIR to a folder that any "
            "user can pass through, such as /tmp."
        )
    return folder


@contextmanager
def folder_for(name: str) -> Iterator[Path]:
    """`new_folder` that is removed at the end."""
    folder = new_folder(name)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
