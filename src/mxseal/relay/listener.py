"""The ports that mail comes in on: opened before a commit, swapped at it, closed after it.

A connection that is open keeps its socket, its document and its certificate, whatever is committed meanwhile.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterable, Mapping

from mxseal.config.check import Problem
from mxseal.config.model import Listener
from mxseal.relay.inbound import Inbound
from mxseal.relay.intake import Gate, Intake, Reception

Place = tuple[str, int]
"""(address, port)"""
_BACKLOG = 1024


class _Port:
    """A listening socket and the reception that its next connection gets."""

    def __init__(self, reception: Reception, gate: Gate) -> None:
        self.reception = reception
        self.gate = gate
        self.server: asyncio.Server | None = None


class Listeners:
    """All listening sockets of the gateway."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._ports: dict[Place, _Port] = {}
        self._closed_gates: list[Gate] = []

    def open(self, listeners: Iterable[Listener]) -> tuple[dict[Place, socket.socket], list[Problem]]:
        """Sockets, bound, for the places that are not open yet, and what can't be opened."""
        sockets: dict[Place, socket.socket] = {}
        problems: list[Problem] = []
        for listener in listeners:
            place = (listener.address, listener.port)
            if place in self._ports or place in sockets:
                continue
            try:
                sockets[place] = _bind(place)
            except OSError as error:
                own = [reception for (_, port), reception in self._receptions() if port == listener.port]
                if error.errno == errno.EADDRINUSE and own:
                    problems.append(_overlap(listener, own[0].listener))
                    continue
                problems.append(
                    Problem(
                        f"listeners.{listener.name}.port",
                        f"{listener.address} port {listener.port} can't be opened: {error.strerror}.",
                        _remedy(error, listener.port),
                    )
                )
        return sockets, problems

    async def put_in_force(
        self, receptions: Iterable[Reception], sockets: Mapping[Place, socket.socket]
    ) -> None:
        """Serve the new document from the next connection on; close the ports that it no longer has."""
        wanted: set[Place] = set()
        for reception in receptions:
            place = (reception.listener.address, reception.listener.port)
            wanted.add(place)
            port = self._ports.get(place)
            if port is not None:
                port.reception = reception
                continue
            port = self._ports[place] = _Port(reception, Gate())
            port.server = await asyncio.get_running_loop().create_server(
                _factory(self._intake, port), sock=sockets[place], backlog=_BACKLOG
            )
        for place in set(self._ports) - wanted:
            port = self._ports.pop(place)
            if port.server is not None:
                port.server.close()
            self._closed_gates = [gate for gate in self._closed_gates if gate.connections]
            self._closed_gates.append(port.gate)

    def _receptions(self) -> list[tuple[Place, Reception]]:
        return [(place, port.reception) for place, port in self._ports.items()]

    def connections(self) -> int:
        """Open incoming connections."""
        return sum(len(gate.connections) for gate in self._gates())

    def _gates(self) -> list[Gate]:
        return [port.gate for port in self._ports.values()] + self._closed_gates

    async def stop(self, within: float) -> None:
        """Close the ports, let messages at hand end for at most `within` seconds, then hang up."""
        for port in self._ports.values():
            if port.server is not None:
                port.server.close()
        gates = self._gates()
        for gate in gates:
            gate.leaving = True
            for connection in list(gate.connections):
                connection.leave()
        over = asyncio.Event()
        timer = self._intake.clock.call_later(within, over.set)
        for gate in gates:
            gate.when_empty = lambda: None if self.connections() else over.set()
        if self.connections():
            await over.wait()
        timer.cancel()
        for gate in gates:
            for connection in list(gate.connections):
                connection.abort()


def _factory(intake: Intake, port: _Port) -> Callable[[], Inbound]:
    return lambda: Inbound(intake, port.gate, port.reception)


def _overlap(listener: Listener, own: Listener) -> Problem:
    """A new address overlaps one that is open: the system does not give out both, not even for a moment."""
    return Problem(
        f"listeners.{listener.name}.address",
        f"{listener.address} port {listener.port} overlaps {own.address} port {own.port}, which is open now",
        f"Remove listener {own.name} in a first commit and add this one in a second.",
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
        sock.listen(
            _BACKLOG
        )  # now, so that a port that another process listens on is found before the commit
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
