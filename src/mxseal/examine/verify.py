"""`tlsverify`: a TLS connection under the rules "Verify" (§3.4), told in the reference's lines (§6.3)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from mxseal.clock import Clock
from mxseal.examine.certificates import Shown, judge_shown
from mxseal.examine.stages import Trust, explained, plain
from mxseal.examine.talk import Diary, Manners, Place, Talk
from mxseal.relay.channel import Broken
from mxseal.relay.resolver import DnsFault, Resolver
from mxseal.smtp.client import STARTTLS, Capabilities, hello
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.identity import CertificateNames, Expected, by_hosted, by_verify, names_of
from mxseal.tls.reasons import STARTTLS_UNAVAILABLE, STARTTLS_UNEXPECTED, outbound_reason, verify_reason


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; `why` is a sentence or two for who has to act, empty when it went well."""

    verified: bool
    host: str = ""
    address: str = ""
    protocol: str = ""
    cipher: str = ""
    matched: str = ""
    why: str = ""


class _Failed(Exception):
    """This server can't be verified: the reference's words for it, and ours."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(reason)
        self.why = why


class Verifying:
    """One run. `run` gives the lines, then the outcome."""

    def __init__(self, domain: str, manners: Manners, trust: Trust, resolver: Resolver, clock: Clock) -> None:
        self._domain = domain
        self._manners = manners
        self._trust = trust
        self._resolver = resolver
        self._clock = clock
        self._why = ""

    async def run(self, found: Sequence[Place]) -> AsyncIterator[str | Outcome]:
        """The places in turn, each address in turn, until one is verified: as a delivery would."""
        for place in found:
            if not place.addresses:
                self._why = place.problem
            for address in place.addresses:
                async for line in self._one(place, address):
                    yield line
                    if isinstance(line, Outcome):
                        return
        yield f"Failed to connect to [{self._domain}]."
        yield "TLS verification completed."
        yield Outcome(verified=False, why=self._why)

    async def _one(self, place: Place, address: str) -> AsyncIterator[str | Outcome]:
        """Ends with an Outcome only when all is well."""
        talk = Talk(self._manners, self._clock, Diary(self._clock))
        talk.line.until = self._clock.monotonic() + self._manners.whole_seconds
        yield f"Connecting to {address} on port {place.port}."
        try:
            await talk.connect(address, place.port)
            yield f"Connected to {address} from interface {talk.line.local_ip}."
            yield "Checking TLS connection."
            facts = await self._handshake(talk, place)
            yield f"TLS connection established: protocol {facts.protocol}, cipher {facts.cipher}."
            yield "Verifying peer certificate."
            for common in _names(facts).common[-1:]:
                yield f"Verifying certificate common name {common}."
            matched = await self._matched(facts, place, address)
            yield f"TLS certificate match {matched}"
            self._check_chain(facts, place)
            yield "TLS certificate verified."
            yield f"TLS connection to {address} succeeded."
            yield ""
            yield f"TLS successfully connected to {place.host}."
            yield "TLS verification completed."
            yield Outcome(
                verified=True, host=place.host, address=address, protocol=facts.protocol,
                cipher=facts.cipher, matched=matched,
            )  # fmt: skip
        except Broken as broken:
            self._why = f"{place.host} [{address}]: {plain(broken)}."
            yield f"Connection to {address} failed: {broken.details}."
        except _Failed as failed:
            self._why = failed.why
            reason = str(failed)
            if reason.startswith("verify error: "):
                yield f"Certificate verification failed: {reason.removeprefix('verify error: ')}."
                reason = "verify error"
            yield f"TLS connection to {address} failed: {reason}."
            yield "TLS was required but could not be successfully negotiated."
        finally:
            await talk.leave()

    async def _handshake(self, talk: Talk, place: Place) -> TlsFacts:
        """Raises _Failed, Broken."""
        greeting = await talk.reply()
        if greeting.code != 220:
            raise _Failed(
                f"{greeting.code} {greeting.text}"[:200],
                f"{place.host} does not want to talk with this gateway.",
            )
        reply = await talk.say(hello(self._manners.hello))
        if reply.code != 250 or not Capabilities.parse(reply).starttls:
            raise _Failed(
                STARTTLS_UNAVAILABLE,
                f"{place.host} does not offer STARTTLS: TLS has to be switched on there, or the SMTP "
                "inspection of a firewall before it switched off.",
            )
        reply = await talk.say(STARTTLS)
        if reply.code != 220:
            raise _Failed(
                STARTTLS_UNEXPECTED,
                f"{place.host} offers STARTTLS and answers {reply.code} {reply.text}"[:300],
            )
        limit = self._manners.handshake_seconds
        facts = await talk.start_tls(self._trust.context, place.host, limit)
        if isinstance(facts, TlsFault):
            raise _Failed(outbound_reason(facts), " ".join(explained(facts, place.host)))
        return facts

    async def _matched(self, facts: TlsFacts, place: Place, address: str) -> str:
        """The name of the certificate that the rules accept. Raises _Failed."""
        names = _names(facts)
        machine = await self._resolver.client_name(address)
        expected = Expected(email_domain=self._domain, reverse_name=machine.name or "")
        verdict = by_verify(names, expected)
        if verdict.matched:
            return verdict.name
        wanted = " or ".join(filter(None, (self._domain, machine.name)))
        hint = ""
        hosted = by_hosted(names, await self._hosts(expected))
        if hosted.matched:
            hint = (
                f" It carries {hosted.expected}, a mail exchanger of the domain: the level "
                "required-verify-hosted accepts that, required-verify does not."
            )
        raise _Failed(
            "verify error: hostname mismatch",
            f"The certificate of {place.host} should carry {wanted}; its names are: "
            f"{', '.join(names.shown()[:5]) or 'none'}.{hint}",
        )

    async def _hosts(self, expected: Expected) -> Expected:
        """With the domain's exchangers, for the other set of rules."""
        records = await self._resolver.exchangers(self._domain)
        hosts = () if isinstance(records, DnsFault) else tuple(record.host for record in records)
        return msgspec.structs.replace(expected, mx_hosts=hosts)

    def _check_chain(self, facts: TlsFacts, place: Place) -> None:
        """Raises _Failed."""
        if facts.verified:
            return
        reason = facts.verify_error or "no certificate from server"
        shown = Shown(certificates=facts.peer_certificates, verify_error=reason)
        found = judge_shown(shown, place.host, self._clock.now(), self._trust.roots)
        told = [problem.sentence() for problem in found.problems if problem.code != "name-mismatch"]
        raise _Failed(verify_reason(reason), " ".join(told[:3]))


def _names(facts: TlsFacts) -> CertificateNames:
    return names_of(facts.peer_certificates[0]) if facts.peer_certificates else CertificateNames()
