"""Listening sockets that pass from one program to the next, so that no connection is refused in between.

The form is systemd's (sd_listen_fds(3)): descriptors from 3 on, their number in LISTEN_FDS. A socket unit
hands them over at the start; a gateway that is told to restart hands them to the program that succeeds it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable

_FIRST = 3
"""SD_LISTEN_FDS_START."""


def inherited_sockets() -> list[socket.socket]:
    """What was handed over to this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    found: list[socket.socket] = []
    for descriptor in range(_FIRST, _FIRST + count):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        found.append(sock)
    return found


def succeed(sockets: Iterable[socket.socket]) -> None:
    """Become the program that is installed now, with the same words and the same process id. Does not return.

    OSError when the program can't be started.
    """
    # Above all that is open first: the final places may be taken by one of them.
    high = [os.dup(sock.fileno()) for sock in sockets]
    most = max([_FIRST + len(high), *high]) + 1
    moved = []
    for descriptor in high:
        os.dup2(descriptor, most, inheritable=False)
        moved.append(most)
        most += 1
    for place, descriptor in enumerate(moved, _FIRST):
        os.dup2(descriptor, place, inheritable=True)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(moved))}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program itself
