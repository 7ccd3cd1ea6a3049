"""All analysis servers of the document in force, in one process."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping

import msgspec

from mxseal.config.model import AnalysisServer, Document
from mxseal.directory.opening import Client
from mxseal.scanning.appliance import Appliance
from mxseal.scanning.opening import Around, Overhear
from mxseal.scanning.scanner import Scanner
from mxseal.scanning.server import Server, ServerState

AnyAnalyser = Appliance | Scanner


class Bench(msgspec.Struct, frozen=True):
    """The servers that a document has: ready, and nobody is asked yet."""

    analysers: Mapping[str, AnyAnalyser] = {}


class Analysers:
    """The servers in use. Those that a new document does not change keep their connections and their rest."""

    def __init__(self, around: Around, key: Callable[[AnalysisServer], str | None]) -> None:
        """`key` gives a server's API key, from the sealed store."""
        self._around = around
        self._key = key
        self.bench = Bench()
        self._retired: weakref.WeakSet[Server] = weakref.WeakSet()

    def overheard_by(self, overhear: Overhear) -> None:
        """Connections of which administrators want a recording get one."""
        self._around.overhear = overhear

    def analyser(self, name: str) -> AnyAnalyser | None:
        """The server of this name in the document in force."""
        return self.bench.analysers.get(name)

    def prepare(self, document: Document, clients: Mapping[str, Client]) -> Bench:
        """What the document needs. `clients`: what the gateway is to each server that speaks TLS."""
        return Bench(
            {spec.name: self._analyser(spec, clients.get(spec.name)) for spec in document.analysis_servers}
        )

    def _analyser(self, spec: AnalysisServer, client: Client | None) -> AnyAnalyser:
        assert client is not None or spec.security == "none", "a document with TLS has contexts for it"
        key = self._key(spec) if spec.kind == "threatgrid" else None
        known = self.bench.analysers.get(spec.name)
        if known is not None:
            server = known.server
            if (server.spec, server.client, server.key) == (spec, client, key):
                return known
        server = Server(self._around, client, spec, key)
        return Scanner(server) if spec.kind == "icap" else Appliance(server)

    def adopt(self, bench: Bench) -> None:
        """Put it in force; servers that are not in it any more finish what was begun, and hang up."""
        old, self.bench = self.bench, bench
        kept = {id(each.server) for each in bench.analysers.values()}
        for each in old.analysers.values():
            if id(each.server) not in kept:
                each.server.retire()
                self._retired.add(each.server)

    def states(self) -> list[ServerState]:
        return [each.server.state() for each in self.bench.analysers.values()]

    def stop(self) -> None:
        """Hang up."""
        for server in (*(each.server for each in self.bench.analysers.values()), *self._retired):
            server.stop()
