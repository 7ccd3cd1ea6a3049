"""Analysis servers by themselves: real servers, the events collected, the clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from lab.appliance import KEY
from lab.ca import Authority, Issued
from mxseal.analysis.samples import item
from mxseal.analysis.values import AnalysisFault, Item, Pending, Verdict
from mxseal.clock import Clock, SystemClock
from mxseal.config.model import Document
from mxseal.directory.opening import Client
from mxseal.events.event import Event
from mxseal.scanning.analysers import Analysers, AnyAnalyser
from mxseal.scanning.opening import Around
from mxseal.tls.contexts import CertificateFiles, ClientTls, client_context
from mxseal.tls.diagnosis import OurSettings

E = TypeVar("E", bound=Event)


class Bench:
    """What a test does with analysis servers."""

    def __init__(self, made: Analysers, told: list[Event]) -> None:
        self.made = made
        self.told = told

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    @property
    def analyser(self) -> AnyAnalyser:
        found = self.made.analyser("Lab")
        assert found is not None
        return found

    async def judge(self, content: Item | bytes) -> Verdict | Pending | AnalysisFault:
        wanted = content if isinstance(content, Item) else item("a.bin", "application/octet-stream", content)
        async with asyncio.timeout(30):
            return await self.analyser.judge(wanted)

    async def verdict(self, content: Item | bytes) -> Verdict:
        found = await self.judge(content)
        assert isinstance(found, Verdict), found
        return found

    async def fault(self, content: Item | bytes = b"a file") -> AnalysisFault:
        """Why there is no answer; there must be none."""
        found = await self.judge(content)
        assert isinstance(found, AnalysisFault), found
        return found


def scanner(port: int, **values: Any) -> dict[str, Any]:
    """`[[analysis_servers]]` called Lab, a scanner."""
    return {"name": "Lab", "kind": "icap", "host": "127.0.0.1", "port": port} | values


def appliance(port: int, **values: Any) -> dict[str, Any]:
    """The same, an appliance."""
    plain = {"name": "Lab", "kind": "threatgrid", "host": "127.0.0.1", "port": port, "api_key": "x"}
    return plain | values


@asynccontextmanager
async def bench(
    authority: Authority,
    server: dict[str, Any],
    *,
    shown: tuple[Issued, Path] | None = None,
    clock: Clock | None = None,
    key: str | None = KEY,
) -> AsyncIterator[Bench]:
    """`shown`: the client certificate, with a folder for its files."""
    told: list[Event] = []
    files = None
    if shown is not None:
        files = CertificateFiles(chain_path=str(shown[0].write(shown[1]).chain), key=shown[0].key)
    context = client_context(
        ClientTls(system=False, authorities=(authority.pem.decode(),), certificate=files, post_quantum=False)
    )
    client = Client(
        context=context,
        certificate="gateway" if shown is not None else None,
        trust=("custom list",),
        ours=OurSettings(certificate="gateway"),
    )

    async def resolve(host: str) -> tuple[str, ...] | str:
        return ("127.0.0.1",) if host != "nowhere.lab.test" else "no such name"

    around = Around(clock=clock or SystemClock(), publish=told.append, resolve=resolve, revoking=lambda: None)
    made = Analysers(around, lambda _server: key)
    document = Document.model_validate({"analysis_servers": [server]})
    clients = {"Lab": client} if document.analysis_servers[0].security == "tls" else {}
    made.adopt(made.prepare(document, clients))
    try:
        yield Bench(made, told)
    finally:
        made.stop()
        for _ in range(5):  # until what was begun has hung up
            await asyncio.sleep(0)
