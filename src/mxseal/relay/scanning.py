"""Analysis servers as this program asks them: with its resolver, its store of secrets, its contexts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mxseal.certs.live import Delivering
from mxseal.certs.ours import client_offer
from mxseal.clock import Clock
from mxseal.config.model import AnalysisServer, Document
from mxseal.directory.opening import Client
from mxseal.events.event import Event
from mxseal.relay.resolver import DnsFault, Resolver
from mxseal.relay.verification import Revoking, trusted_lists
from mxseal.scanning.analysers import Analysers
from mxseal.scanning.opening import Around
from mxseal.storage.ports import Secrets
from mxseal.storage.sealing import SealBroken

PINNED = "authority of the server"


def key_name(name: str) -> str:
    """What a server's API key is called in the sealed store."""
    return f"analysis:{name}"


def analysers(
    clock: Clock,
    publish: Callable[[Event], None],
    resolver: Callable[[], Resolver],
    revoking: Callable[[], Revoking | None],
    secrets: Secrets,
) -> Analysers:
    """For one process."""

    async def resolve(host: str) -> tuple[str, ...] | str:
        found = await resolver().host(host, 0)
        return found.text if isinstance(found, DnsFault) else found.addresses

    def key(server: AnalysisServer) -> str | None:
        if server.api_key is None:
            return None
        try:
            sealed = secrets.get(key_name(server.api_key))
        except SealBroken:
            return None  # a lost key keeps one server away, not the mail: each question says so
        return None if sealed is None else sealed.decode()

    return Analysers(Around(clock=clock, publish=publish, resolve=resolve, revoking=revoking), key)


def analysis_clients(document: Document, contexts: Mapping[str, Delivering], now: float) -> dict[str, Client]:
    """What the gateway is to each analysis server that speaks TLS."""
    listed = trusted_lists(document.trust)
    return {
        server.name: Client(
            context=contexts[server.name].context,
            certificate=server.certificate,
            trust=(PINNED,) if server.authority is not None else listed,
            ours=client_offer(document, server.certificate, now),
        )
        for server in document.analysis_servers
        if server.name in contexts
    }
