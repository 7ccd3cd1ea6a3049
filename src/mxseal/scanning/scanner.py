"""A scanner that is asked by ICAP (`analysis.values.Analyser`)."""

from __future__ import annotations

from mxseal.analysis.icap import Place, Refused, Service, finding, options, scan, service_of
from mxseal.analysis.values import AnalysisFault, Item, Pending, Verdict
from mxseal.scanning.connection import Connection
from mxseal.scanning.server import Server


class Scanner:
    """One service of one ICAP server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        spec = server.spec
        self._place = Place(spec.host, spec.at, spec.service)
        self.service: Service | None = None
        """What the service says of itself, once it was asked."""
        server.greeting = self._greet

    async def _greet(self, connection: Connection) -> AnalysisFault | None:
        """Each connection begins with OPTIONS: what the service wants may have changed."""
        exchange = options(self._place)
        fault = await connection.ask(exchange, self.server.spec.answer_time)
        if fault is not None:
            return fault
        service = service_of(exchange.answer)
        if isinstance(service, Refused):
            return self._fault(service)
        self.service = service
        return connection.fault

    async def judge(self, item: Item) -> Verdict | AnalysisFault:
        """Have it scanned."""
        got = await self.server.ask(lambda: scan(self._place, self._wanted, item))
        if isinstance(got, AnalysisFault):
            return got
        found = finding(got)
        if isinstance(found, Refused):
            fault = self._fault(found)
            self.server.judged(fault)
            return fault
        self.server.judged(None)
        return Verdict(
            disposition=found.disposition,
            score=None,
            threat=found.threat,
            server=self.server.spec.name,
            reference="",
        )

    async def poll(self, pending: Pending) -> Verdict | AnalysisFault:
        """A scanner answers at once and keeps nothing: there is nothing to come back for."""
        return AnalysisFault("protocol", "a scanner keeps no files", pending.server)

    async def whoami(self) -> str | AnalysisFault:
        """What the service calls itself."""
        got = await self.server.ask(lambda: options(self._place))
        if isinstance(got, AnalysisFault):
            return got
        service = service_of(got.answer)
        return self._fault(service) if isinstance(service, Refused) else service.name

    @property
    def _wanted(self) -> Service:
        return self.service or Service("RESPMOD", None, "", "")

    def _fault(self, refused: Refused) -> AnalysisFault:
        return AnalysisFault("busy" if refused.busy else "refused", refused.text, self.server.spec.name)
