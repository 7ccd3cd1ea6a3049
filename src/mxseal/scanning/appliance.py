"""An appliance that runs files, asked by the Threat Grid API v2 (`analysis.values.Analyser`)."""

from __future__ import annotations

from mxseal.analysis import threatgrid
from mxseal.analysis.http import HttpExchange, Request, Response
from mxseal.analysis.threatgrid import Access, Refusal, Sample
from mxseal.analysis.values import AnalysisFault, Item, Pending, Verdict
from mxseal.scanning.server import Server

_NO_KEY = "the API key is not known: set it with 'ampconfig edit --api-key'"


class Appliance:
    """One account at one appliance."""

    def __init__(self, server: Server) -> None:
        self.server = server
        spec = server.spec
        host = f"[{spec.host}]" if ":" in spec.host else spec.host
        self._access = Access(
            host=host if spec.at == 443 else f"{host}:{spec.at}",
            key=server.key or "",
            key_as=spec.key_as,
            private=spec.private,
            vm=spec.vm,
            playbook=spec.playbook,
        )

    async def judge(self, item: Item) -> Verdict | Pending | AnalysisFault:
        """Look it up; what is unknown is submitted."""
        response = await self._ask(threatgrid.look_up(self._access, item.sha256))
        if isinstance(response, AnalysisFault):
            return response
        known = threatgrid.found(response, item.sha256)
        if known is None:
            self.server.judged(None)
            return await self._submit(item)
        return await self._settled(known, item.sha256)

    async def poll(self, pending: Pending) -> Verdict | Pending | AnalysisFault:
        """Ask how far it is."""
        if not threatgrid.identifier(pending.reference):
            return AnalysisFault("protocol", "this is no name of a sample", self.server.spec.name)
        response = await self._ask(threatgrid.state(self._access, pending.reference))
        if isinstance(response, AnalysisFault):
            return response
        return await self._settled(threatgrid.progress(response, pending.reference), pending.sha256)

    async def whoami(self) -> str | AnalysisFault:
        """The account that the key belongs to."""
        response = await self._ask(threatgrid.whoami(self._access))
        if isinstance(response, AnalysisFault):
            return response
        login = threatgrid.login(response)
        return self._refused(login) if isinstance(login, Refusal) else login

    async def _submit(self, item: Item) -> Pending | AnalysisFault:
        response = await self._ask(threatgrid.submit(self._access, item))
        if isinstance(response, AnalysisFault):
            return response
        sample = threatgrid.submitted(response)
        if isinstance(sample, Refusal):
            return self._refused(sample)
        self.server.judged(None)
        return Pending(self.server.spec.name, sample.reference, item.sha256)

    async def _settled(self, sample: Sample | Refusal, sha256: str) -> Verdict | Pending | AnalysisFault:
        """What the state of a sample means."""
        if isinstance(sample, Refusal):
            return self._refused(sample)
        name = self.server.spec.name
        if sample.state == "waiting":
            self.server.judged(None)
            return Pending(name, sample.reference, sha256)
        if sample.state == "failed":
            # Not given again: each message with it would cost the appliance a run that fails.
            self.server.judged(None)
            return Verdict("unknown", None, "", name, sample.reference)
        response = await self._ask(threatgrid.threat(self._access, sample.reference))
        if isinstance(response, AnalysisFault):
            return response
        score = threatgrid.score(response)
        if isinstance(score, Refusal):
            return self._refused(score)
        self.server.judged(None)
        malicious = score >= self.server.spec.malicious_from
        return Verdict("malicious" if malicious else "clean", score, "", name, sample.reference)

    async def _ask(self, request: Request) -> Response | AnalysisFault:
        if not self.server.key:
            return AnalysisFault("refused", _NO_KEY, self.server.spec.name)
        got = await self.server.ask(lambda: HttpExchange(request))
        return got if isinstance(got, AnalysisFault) else got.response

    def _refused(self, refusal: Refusal) -> AnalysisFault:
        fault = AnalysisFault(refusal.kind, refusal.text, self.server.spec.name)
        self.server.judged(fault, refusal.after)
        return fault
