"""Directories by themselves: profiles and queries, real servers, the events collected, the clock in hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from lab.ca import Authority, Issued
from mxseal.clock import Clock, SystemClock
from mxseal.config.model import Document
from mxseal.directory.directories import Directories
from mxseal.directory.opening import Around, Client
from mxseal.directory.questions import Match, Question
from mxseal.events.event import Event
from mxseal.ldap.filters import Values
from mxseal.ldap.values import Fault
from mxseal.tls.contexts import CertificateFiles, ClientTls, client_context
from mxseal.tls.diagnosis import OurSettings
from tests.directory.estate import FILTER

LOG = [{"name": "ldap_debug", "kind": "ldap"}]
E = TypeVar("E", bound=Event)


class Circle:
    """What a test does with directories."""

    def __init__(self, made: Directories, told: list[Event]) -> None:
        self.made = made
        self.told = told

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.told if isinstance(event, kind)]

    def question(self, name: str = "LDAP.ldapaccept") -> Question:
        found = self.made.book.question(name)
        assert found is not None
        return found

    async def ask(self, address: str, name: str = "LDAP.ldapaccept", **values: str) -> Match | Fault:
        async with asyncio.timeout(30):
            return await self.question(name).ask(Values(address=address, **values))

    async def fault(self, address: str = "anna@example.com") -> Fault:
        """Why there is no answer; there must be none."""
        found = await self.ask(address)
        assert isinstance(found, Fault), found
        return found


@asynccontextmanager
async def circle(
    authority: Authority,
    *profiles: dict[str, Any],
    queries: list[dict[str, Any]] | None = None,
    chains: list[dict[str, Any]] | None = None,
    shown: tuple[Issued, Path] | None = None,
    clock: Clock | None = None,
    password: str | None = None,
) -> AsyncIterator[Circle]:
    """`shown`: the client certificate, with a folder for its files."""
    told: list[Event] = []
    query = {"name": "LDAP.ldapaccept", "kind": "accept", "profile": "LDAP", "filter": FILTER}
    plain: dict[str, Any] = {
        "ldap_profiles": profiles,
        "ldap_queries": queries or [query],
        "log_subscriptions": LOG,
    }
    plain["ldap_chains"] = chains or []
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
    made = Directories(around, lambda _profile: password)
    made.adopt(made.prepare(Document.model_validate(plain), client))
    try:
        yield Circle(made, told)
    finally:
        made.stop()
        for _ in range(5):  # until what was begun has hung up
            await asyncio.sleep(0)
