"""Directories as this program asks them: with its resolver, its store of secrets, its contexts."""

from __future__ import annotations

from collections.abc import Callable

from mxseal.certs.live import Delivering
from mxseal.certs.ours import directory_offer
from mxseal.clock import Clock
from mxseal.config.model import Document, LdapProfile
from mxseal.directory.directories import Directories
from mxseal.directory.opening import Around, Client
from mxseal.events.event import Event
from mxseal.relay.resolver import DnsFault, Resolver
from mxseal.relay.verification import Revoking
from mxseal.storage.ports import Secrets
from mxseal.storage.sealing import SealBroken


def secret_name(name: str) -> str:
    """What a profile's password is called in the sealed store."""
    return f"ldap:{name}"


def directories(
    clock: Clock,
    publish: Callable[[Event], None],
    resolver: Callable[[], Resolver],
    revoking: Callable[[], Revoking | None],
    secrets: Secrets,
) -> Directories:
    """For one process."""

    async def resolve(host: str) -> tuple[str, ...] | str:
        found = await resolver().host(host, 0)
        return found.text if isinstance(found, DnsFault) else found.addresses

    def password(profile: LdapProfile) -> str | None:
        if profile.password is None:
            return None
        try:
            sealed = secrets.get(secret_name(profile.password))
        except SealBroken:
            return None  # a lost password keeps one directory away, not the mail: each login says so
        return None if sealed is None else sealed.decode()

    around = Around(clock=clock, publish=publish, resolve=resolve, revoking=revoking)
    return Directories(around, password)


def directory_client(document: Document, contexts: Delivering | None, now: float) -> Client | None:
    """What the gateway is to directory servers; None where the document has no TLS for them."""
    if contexts is None:
        return None
    trust = document.trust
    return Client(
        context=contexts.context,
        certificate=document.ldap.certificate,
        trust=(*(("system list",) if trust.system else ()), *(("custom list",) if trust.custom else ())),
        ours=directory_offer(document, now),
    )
