"""What a finished handshake with a next hop is worth: chain, names, pins and revocation, put together.

OpenSSL has held the chain against the lists of the context and kept its verdict in the session, also where
the session is resumed. What is left are questions of the destination, and of DNS.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from mxseal.certs.sent import read_sent
from mxseal.clock import Clock
from mxseal.config.model import Trust
from mxseal.relay.resolver import DnsFault, Resolver
from mxseal.tls.anchors import Anchors
from mxseal.tls.facts import ChainFinding, TlsFacts
from mxseal.tls.identity import Expected, by_hosted, by_verify, names_of
from mxseal.tls.policy import RULES
from mxseal.tls.verification import Revocation, Verification, links, plain

if TYPE_CHECKING:
    from mxseal.relay.opening import Way

_REMEMBERED = 2000
_ASKED_AT_ONCE = 20
_ANCHORS_KEPT = 256
_ISSUER_MISSING = {
    "unable to get local issuer certificate",
    "unable to verify the first certificate",
    "unable to get issuer certificate",
}


class Revoking(Protocol):
    """The lists of revoked certificates in force."""

    def check(self, chain: tuple[bytes, ...]) -> Revocation: ...


def no_lists() -> Revoking | None:
    """The check for revoked certificates is off."""
    return None


def trusted_lists(trust: Trust) -> tuple[str, ...]:
    """The lists of authorities that are on, as events and explanations name them."""
    return (*(["system list"] if trust.system else []), *(["custom list"] if trust.custom else []))


class ReverseNames:
    """PTR names of next hops. Where no level needs them they are looked up behind the deliveries, for the
    shadow of the next connection: a slow name server must not hold up mail that does not depend on it."""

    def __init__(self, resolver: Callable[[], Resolver]) -> None:
        self._resolver = resolver
        self._known: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[str]] = {}

    def known(self, address: str) -> str | None:
        """ "" when there is none, None when nobody asked yet: then somebody does, for the next time."""
        found = self._known.get(address)
        if found is None and address not in self._asking and len(self._asking) < _ASKED_AT_ONCE:
            task = self._asking[address] = asyncio.get_running_loop().create_task(self.ask(address))
            task.add_done_callback(lambda _task: self._asking.pop(address, None))
        return found

    async def ask(self, address: str) -> str:
        name = (await self._resolver().client_name(address)).name or ""
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[address] = name
        return name


class Verifier:
    """One for all deliveries; what it keeps is bounded."""

    def __init__(
        self,
        clock: Clock,
        resolver: Callable[[], Resolver],
        revoking: Callable[[], Revoking | None] = no_lists,
    ) -> None:
        self._clock = clock
        self._resolver = resolver
        self._revoking = revoking
        self._reverse = ReverseNames(resolver)
        self._anchors: dict[tuple[tuple[str, str], ...], Anchors] = {}

    async def verify(self, way: Way, facts: TlsFacts, trust: Trust) -> Verification:
        """Everything that can be found out about the server's certificate, for every level."""
        found = self._chain(way, facts, trust)
        names = names_of(facts.peer_certificates[0]) if facts.peer_certificates else names_of(b"")
        target = way.target
        expected = Expected(
            email_domain=target.email_domain or way.domain,
            reverse_name=self._reverse.known(way.address),
            mx_hosts=(way.host.name, *(host for host in way.exchangers if host != way.host.name))
            if not target.hosts
            else (),
            route_host=way.host.name if target.hosts else "",
        )
        verify = by_verify(names, expected)
        if verify.undecided and RULES.get(target.tls) == "verify":
            expected = msgspec.structs.replace(expected, reverse_name=await self._reverse.ask(way.address))
            verify = by_verify(names, expected)
        hosted = by_hosted(names, expected)
        if not hosted.matched and target.hosts and RULES.get(target.tls) == "hosted":
            # Behind a route nobody has asked for the exchangers, which come before the route's host.
            records = await self._resolver().exchangers(expected.email_domain)
            if not isinstance(records, DnsFault):
                hosts = tuple(record.host for record in records)
                hosted = by_hosted(names, msgspec.structs.replace(expected, mx_hosts=hosts))
        return msgspec.structs.replace(found, names=names.shown(), verify=verify, hosted=hosted).completed()

    def _chain(self, way: Way, facts: TlsFacts, trust: Trust) -> Verification:
        """The findings without the names."""
        target, chain = way.target, facts.peer_certificates
        shown = links(chain)
        error = plain(facts.verify_error) if not facts.verified else None
        lists = trusted_lists(trust)
        if target.trust_anchors:
            lists = tuple(f"authority {name}" for name, _ in target.trust_anchors)
            error = self._anchored(target.trust_anchors).error(chain) if chain else None
            error = plain(error)
        if error is None and shown and not shown[0].not_before <= self._clock.now() <= shown[0].not_after:
            # A session may be resumed for days after the certificate that it was begun with has expired.
            early = self._clock.now() < shown[0].not_before
            error = "certificate is not yet valid" if early else "certificate has expired"
        trusted = bool(chain) and error is None
        sent = read_sent(chain, self._clock.now()) if error in _ISSUER_MISSING else ChainFinding()
        nothing = by_hosted(names_of(b""), Expected(email_domain=""))
        return Verification(
            trusted=trusted,
            chain_error=error,
            trust=lists,
            chain=shown,
            revocation=self._revocation(chain) if trusted else "not-checked",
            pinned=bool(shown) and shown[0].spki_sha256 in target.pins if target.pins else None,
            verify=nothing,
            hosted=nothing,
            missing_issuer=sent.issuer,
            issuer_urls=(sent.issuer_at,) if sent.issuer_at else (),
        )

    def _revocation(self, chain: tuple[bytes, ...]) -> Revocation:
        revoking = self._revoking()
        if revoking is None:
            return "not-checked"
        # Leftovers that the server sends besides, revoked or not, say nothing about its certificate.
        path = read_sent(chain, self._clock.now()).path
        return revoking.check(tuple(chain[at] for at in path))

    def _anchored(self, anchors: tuple[tuple[str, str], ...]) -> Anchors:
        found = self._anchors.get(anchors)
        if found is None:
            if len(self._anchors) >= _ANCHORS_KEPT:  # documents come and go
                self._anchors.clear()
            found = self._anchors[anchors] = Anchors([pem for _, pem in anchors])
        return found
