"""The ports that mail comes in on, as a worker serves them.

A connection that is open keeps its socket, its document and its certificate, whatever is committed meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping

from mxseal.relay.inbound import Inbound
from mxseal.relay.intake import Gate, Intake, Reception
from mxseal.relay.ports import BACKLOG, Place
from mxseal.storage.board import Row


class _Port:
    """A listening socket and the reception that its next connection gets."""

    def __init__(self, reception: Reception, gate: Gate) -> None:
        self.reception = reception
        self.gate = gate
        self.server: asyncio.Server | None = None


class Listeners:
    """All listening sockets of the gateway."""

    def __init__(self, intake: Intake, row: Row) -> None:
        self._intake = intake
        self._row = row
        self._ports: dict[Place, _Port] = {}
        self._closed_gates: list[Gate] = []

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
            port = self._ports[place] = _Port(reception, Gate(self._row, f"{place[0]} {place[1]}"))
            port.server = await asyncio.get_running_loop().create_server(
                _factory(self._intake, port), sock=sockets[place], backlog=BACKLOG
            )
        for place in set(self._ports) - wanted:
            port = self._ports.pop(place)
            if port.server is not None:
                port.server.close()
            self._closed_gates = [gate for gate in self._closed_gates if gate.connections]
            self._closed_gates.append(port.gate)

    def expect(self, address: str, port: int) -> None:
        """See `Intake.expect`."""
        self._intake.expect(address, port)

    def connections(self) -> int:
        """Open incoming connections."""
        return sum(len(gate.connections) for gate in self._gates())

    def _gates(self) -> list[Gate]:
        return [port.gate for port in self._ports.values()] + self._closed_gates

    async def stop(self, within: float, patience: float = 0.0) -> None:
        """Close the ports, let messages at hand end for at most `within` seconds, then hang up.

        Clients without a message are told 421 when they say something, or after `patience` seconds.
        """
        for port in self._ports.values():
            if port.server is not None:
                port.server.close()
        gates = self._gates()
        for gate in gates:
            gate.leaving = True
        hurry = self._intake.clock.call_later(patience, self._hurry) if patience else None
        if hurry is None:
            self._hurry()
        over = asyncio.Event()
        timer = self._intake.clock.call_later(within, over.set)
        for gate in gates:
            gate.when_empty = lambda: None if self.connections() else over.set()
        if self.connections():
            await over.wait()
        timer.cancel()
        if hurry is not None:
            hurry.cancel()
        for gate in gates:
            for connection in list(gate.connections):
                connection.abort()

    def _hurry(self) -> None:
        for gate in self._gates():
            gate.hasty = True
            for connection in list(gate.connections):
                connection.leave()


def _factory(intake: Intake, port: _Port) -> Callable[[], asyncio.Protocol]:
    recorder = intake.recorder

    def accepted() -> asyncio.Protocol:
        connection = Inbound(intake, port.gate, port.reception)
        if recorder is not None and recorder.armed:
            return recorder.incoming(connection, port.reception.listener, intake.is_own)
        return connection

    return accepted
