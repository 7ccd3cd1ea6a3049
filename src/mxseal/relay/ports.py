"""The listening sockets: opened before a commit, kept or closed at it.

The leading process holds them, so that no connection is refused while a worker is replaced. The workers
accept.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping

from mxseal.config.check import Problem
from mxseal.config.model import Listener

Place = tuple[str, int]
"""(address, port)"""
BACKLOG = 1024


class Ports:
    """All listening sockets of the gateway."""

    def __init__(self, inherited: Iterable[socket.socket] = ()) -> None:
        """`inherited` sockets listen already; they are used for the listeners that have their address."""
        self._sockets: dict[Place, socket.socket] = {}
        self._listeners: dict[Place, str] = {}
        self._inherited = {_place_of(sock): sock for sock in inherited}

    @property
    def sockets(self) -> Mapping[Place, socket.socket]:
        return self._sockets

    def open(self, listeners: Iterable[Listener]) -> tuple[dict[Place, socket.socket], list[Problem]]:
        """Sockets for the places that are not open yet, and what can't be opened."""
        sockets: dict[Place, socket.socket] = {}
        problems: list[Problem] = []
        for listener in listeners:
            place = (listener.address, listener.port)
            if place in self._sockets or place in sockets:
                continue
            try:
                sockets[place] = self._inherited.pop(place) if place in self._inherited else _bind(place)
            except OSError as error:
                own = [each for each in self._sockets if each[1] == listener.port]
                if error.errno == errno.EADDRINUSE and own:
                    problems.append(_overlap(listener, self._listeners[own[0]], own[0]))
                    continue
                problems.append(
                    Problem(
                        f"listeners.{listener.name}.port",
                        f"{listener.address} port {listener.port} can't be opened: {error.strerror}.",
                        _remedy(error, listener.port),
                    )
                )
        return sockets, problems

    def put_in_force(self, listeners: Iterable[Listener], sockets: Mapping[Place, socket.socket]) -> None:
        """Keep what the listeners need, with the new sockets; close the rest."""
        self._sockets.update(sockets)
        self._listeners = {(each.address, each.port): each.name for each in listeners}
        for place in set(self._sockets) - set(self._listeners):
            self._sockets.pop(place).close()
        self.give_up_inherited()

    def give_up_inherited(self) -> None:
        """Close the sockets that were handed over and that no listener wants."""
        while self._inherited:
            self._inherited.popitem()[1].close()

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()


def _place_of(sock: socket.socket) -> Place:
    name = sock.getsockname()
    return str(name[0]), int(name[1])


def _overlap(listener: Listener, own: str, place: Place) -> Problem:
    """A new address overlaps one that is open: the system does not give out both, not even for a moment."""
    return Problem(
        f"listeners.{listener.name}.address",
        f"{listener.address} port {listener.port} overlaps {place[0]} port {place[1]}, which is open now",
        f"Remove listener {own} in a first commit and add this one in a second.",
    )


def _bind(place: Place) -> socket.socket:
    address = place[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(place)
        sock.listen(BACKLOG)  # now, so that a port that another process listens on is found before the commit
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _remedy(error: OSError, port: int) -> str:
    if isinstance(error, PermissionError):
        return f"Port {port} needs a right: give the service CAP_NET_BIND_SERVICE, or use one above 1023."
    if error.errno == errno.EADDRINUSE:
        return "Another process has it: find it with 'ss -ltnp', or choose another port."
    if error.errno == errno.EADDRNOTAVAIL:
        return "This machine does not have that address: see 'ip address'."
    return "Choose another address or port."
