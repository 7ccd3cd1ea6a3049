"""Delivery under each of the six levels to next hops that go wrong in each way: reference §3.3, cell by cell.

All cells share one gateway's deliveries: each next hop takes one message for each level, and what became of
them is asked afterwards. A cell's domain is `level.hop.test`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.ca import Authority, Issued, Validity
from lab.hostile import BEHAVIOURS, Hostile
from lab.script import Behaviour
from mxseal.events.types import (
    DeliveryOpened,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
    RecipientBounced,
    RecipientDelayed,
    RecipientsDelivered,
)
from mxseal.relay.verification import Revoking
from mxseal.tls.anchors import Revocations, store_of
from mxseal.tls.policy import LEVELS, REQUIRING, Level
from tests.relay.delivering import LOOPBACK, Delivering, believing, delivering
from tests.tls.certificates import certificate, leaf_alone, revocation_list

CLEAR, CRYPT, LATER = "delivered in clear", "delivered encrypted", "waits"
LESS = (CLEAR, CLEAR, LATER, CLEAR, LATER, LATER)
"""No TLS is to be had."""
DOWN = (CLEAR, LATER, LATER, LATER, LATER, LATER)
"""The handshake fails behind the 220, or the connection ends on STARTTLS."""
BAD = (CLEAR, CRYPT, CRYPT, CRYPT, LATER, LATER)
"""The certificate is not good enough."""
GOOD = (CLEAR, CRYPT, CRYPT, CRYPT, CRYPT, CRYPT)
NEVER = (LATER,) * 6
"""There is no session at all."""

BEHAVING: dict[str, tuple[str, ...]] = {
    # hop                          off, preferred, required, preferred-v, required-v, required-v-hosted
    "helo-only": LESS,
    "no-starttls": LESS,
    "starttls-masked": LESS,
    "starttls-454": LESS,
    "starttls-501": LESS,
    "starttls-502": LESS,
    "starttls-554": LESS,
    "starttls-421": (CLEAR, LATER, LATER, LATER, LATER, LATER),
    "starttls-garbage": DOWN,
    "starttls-closes": DOWN,
    "starttls-resets": DOWN,
    "starttls-stalls": DOWN,
    "tls-closes-at-once": DOWN,
    "tls-closes": DOWN,
    "tls-resets": DOWN,
    "tls-garbage": DOWN,
    "tls-cleartext": DOWN,
    "tls-alert": DOWN,
    "tls-alert-protocol-version": DOWN,
    "tls-alert-internal-error": DOWN,
    "tls-alert-unrecognized-name": DOWN,
    "tls-demands-certificate": DOWN,
    "tls-stalls": DOWN,
    "tls-1.0-only": DOWN,
    "tls-1.1-only": DOWN,
    "tls-no-shared-cipher": DOWN,
    "ehlo-closes-in-tls": DOWN,
    "ehlo-refused-in-tls": DOWN,
    "tls-1.2-only": GOOD,
    "tls-1.3-only": GOOD,
    "chokes-on-size": GOOD,
    "chokes-on-post-quantum": GOOD,
    "starttls-injects": GOOD,
    "no-pipelining": GOOD,
    "helo-refused": NEVER,
    "ehlo-421": NEVER,
    "banner-554": NEVER,
    "banner-closes": NEVER,
    "banner-garbage": NEVER,
}
"""Each with a certificate that every level takes."""
SHOWING: dict[str, tuple[str, ...]] = {
    "self-signed": BAD,
    "expired": BAD,
    "not-yet-valid": BAD,
    "unknown-authority": BAD,
    "intermediate-missing": BAD,
    "client-only": BAD,
    "other-name": BAD,
    "name-one-label-too-deep": BAD,
    "no-name": BAD,
    "revoked": BAD,
    "name-in-cn-only": GOOD,
    "name-in-cn-beside-san": (CLEAR, CRYPT, CRYPT, CRYPT, CRYPT, LATER),
}
"""Certificates, with a server that behaves. In the last one the SAN has another name, and Verify looks at the
common name too."""
ERRORS = {
    "self-signed": "self-signed certificate",
    "expired": "certificate has expired",
    "not-yet-valid": "certificate is not yet valid",
    "unknown-authority": "unable to get local issuer certificate",
    "intermediate-missing": "unable to get local issuer certificate",
    "client-only": "unsuitable certificate purpose",
    "other-name": "hostname mismatch",
    "name-one-label-too-deep": "hostname mismatch",
    "no-name": "hostname mismatch",
    "revoked": "certificate revoked",
    "name-in-cn-beside-san": "hostname mismatch",
}
TABLE = {**BEHAVING, **SHOWING}
CELLS = [(hop, level, row[at]) for hop, row in TABLE.items() for at, level in enumerate(LEVELS)]


def domain_of(hop: str, level: str) -> str:
    return f"{level}.{hop.replace('.', '-')}.test"


class Estate:
    """All hops, and what their messages came to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        self.between = self.authority.intermediate()
        self.withdrawn = [self._good("revoked")]
        self.hops: dict[str, Hostile] = {}
        self.mids: dict[tuple[str, str], int] = {}
        self.became: dict[tuple[str, str], str] = {}
        self.here: Delivering

    def start(self, stack: ExitStack) -> None:
        for hop in BEHAVING:
            self.hops[hop] = stack.enter_context(Hostile(hop, certificate=self._good(hop)))
        for hop in SHOWING:
            self.hops[hop] = stack.enter_context(Hostile(Behaviour(), certificate=self._shown(hop)))

    def _good(self, hop: str) -> Issued:
        name = f"*.{hop.replace('.', '-')}.test"
        return certificate(self.between, common="server", names=[name])

    def _shown(self, fault: str) -> Issued:
        """A certificate with one fault."""
        name = f"*.{fault}.test"
        match fault:
            case "self-signed":
                return certificate(None, names=[name])
            case "expired":
                return certificate(self.between, names=[name], validity=Validity(expired=True))
            case "not-yet-valid":
                return certificate(self.between, names=[name], validity=Validity(future=True))
            case "unknown-authority":
                return certificate(Authority("Somebody Else"), names=[name])
            case "intermediate-missing":
                return leaf_alone(certificate(self.between, names=[name], issuer_at="http://ca.test/i.crt"))
            case "client-only":
                return certificate(self.between, names=[name], usages=["client"])
            case "other-name":
                return certificate(self.between, names=["*.elsewhere.test"])
            case "name-one-label-too-deep":
                return certificate(self.between, names=["*.test"])
            case "no-name":
                return certificate(self.between, common="", names=None)
            case "name-in-cn-only":
                return certificate(self.between, common=name, names=None)
            case "name-in-cn-beside-san":
                return certificate(self.between, common=name, names=["elsewhere.test"])
        return self.withdrawn[0]

    def revoking(self) -> Revoking:
        lists = [
            revocation_list(self.between, self.withdrawn[0].certificate),
            revocation_list(self.authority),
        ]
        return Revocations(store_of([self.authority.pem.decode()]), lists)

    async def run(self) -> None:
        document = {
            "trust": believing(self.authority),
            "smtp_routes": {
                f".{hop.replace('.', '-')}.test": [f"{LOOPBACK}:{at.port}"] for hop, at in self.hops.items()
            },
            "destinations": [
                {"domain": domain_of(hop, level), "tls": level, "alert": True}
                for hop in self.hops
                for level in LEVELS
            ],
            "delivery": {"command_time": 1.5, "handshake_time": 1.5, "connect_time": 1.5},
        }
        async with delivering(self.folder, document, revoking=self.revoking()) as here:
            self.here = here
            for hop in self.hops:
                for level in LEVELS:
                    self.mids[hop, level] = await here.submit(f"to@{domain_of(hop, level)}")
            await here.quiet()
            self._note()

    def _note(self) -> None:
        told = self.here.told
        delivered = {event.mid for event in told.of(RecipientsDelivered)}
        waiting = {event.mid for event in told.of(RecipientDelayed)}
        assert not told.of(RecipientBounced)
        encrypted = {
            recipient: taken.tls is not None
            for hop in self.hops.values()
            for taken in hop.taken
            for recipient in taken.recipients
        }
        for (hop, level), mid in self.mids.items():
            if mid in delivered:
                self.became[hop, level] = CRYPT if encrypted[f"to@{domain_of(hop, level)}"] else CLEAR
            elif mid in waiting:
                self.became[hop, level] = LATER


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = Estate(Path(folder) / "spool")
        found.start(stack)
        asyncio.run(found.run())
        yield found


def failures(estate: Estate, hop: str, level: str) -> list[OutboundTlsFailed]:
    domain = domain_of(hop, level)
    return [event for event in estate.here.told.of(OutboundTlsFailed) if event.domain == domain]


def successes(estate: Estate, hop: str, level: str) -> list[OutboundTlsSucceeded]:
    domain = domain_of(hop, level)
    return [event for event in estate.here.told.of(OutboundTlsSucceeded) if event.domain == domain]


@pytest.mark.parametrize(("hop", "level", "expected"), CELLS)
def test_each_level_meets_each_next_hop_as_the_table_says(
    hop: str, level: str, expected: str, estate: Estate
) -> None:
    assert estate.became[hop, level] == expected


@pytest.mark.parametrize("hop", TABLE)
def test_no_envelope_goes_to_a_server_before_the_level_is_content_with_it(hop: str, estate: Estate) -> None:
    said = "\n".join(line for session in estate.hops[hop].sessions for line in session.commands)
    for level in LEVELS:
        assert (f"to@{domain_of(hop, level)}" in said) == (estate.became[hop, level] != LATER)


@pytest.mark.parametrize(("hop", "error"), ERRORS.items())
def test_a_refused_certificate_is_told_with_openssls_words_and_a_diagnosis(
    hop: str, error: str, estate: Estate
) -> None:
    (failed,) = failures(estate, hop, "required-verify-hosted")
    assert failed.reason == "verification"
    assert failed.verify_error == error
    assert failed.required
    assert failed.alert
    assert failed.level_from == f"destination {domain_of(hop, 'required-verify-hosted')}"
    assert failed.facts is not None
    assert failed.verification is not None
    assert failed.diagnosis is not None
    assert failed.diagnosis.remedy


@pytest.mark.parametrize(("hop", "error"), ERRORS.items())
def test_the_shadow_tells_what_the_stricter_levels_would_have_done(
    hop: str, error: str, estate: Estate
) -> None:
    (succeeded,) = successes(estate, hop, "preferred")
    found = succeeded.verification
    assert found is not None
    assert succeeded.level == "preferred"
    strict = [level for at, level in enumerate(LEVELS) if TABLE[hop][at] != LATER]
    assert list(found.would_deliver) == strict
    verdict = found.judge("required-verify-hosted")
    assert verdict.event is not None
    assert found.error(verdict.event) == error


def test_missing_intermediates_are_named_with_the_place_where_they_can_be_had(estate: Estate) -> None:
    (failed,) = failures(estate, "intermediate-missing", "required-verify")
    assert failed.verification is not None
    assert "MXSeal Lab Intermediate" in failed.verification.missing_issuer
    assert failed.verification.issuer_urls == ("http://ca.test/i.crt",)
    assert failed.diagnosis is not None
    assert "http://ca.test/i.crt" in failed.diagnosis.sentence()


@pytest.mark.parametrize("level", LEVELS)
def test_only_levels_that_require_tls_ask_for_an_alert(level: Level, estate: Estate) -> None:
    asked = {event.alert for event in estate.here.told.of(OutboundTlsFailed) if event.level == level}
    assert asked <= {level in REQUIRING}


def test_a_handshake_that_fails_is_not_repeated_in_clear(estate: Estate) -> None:
    for hop, row in BEHAVING.items():
        if row is DOWN:
            assert not [taken for taken in estate.hops[hop].taken if "to@off." not in taken.recipients[0]]


def test_each_cell_met_a_next_hop(estate: Estate) -> None:
    opened = {event.domain for event in estate.here.told.of(DeliveryOpened)}
    assert opened == {domain_of(hop, level) for hop in TABLE for level in LEVELS}
    assert len(BEHAVIOURS) + len(SHOWING) >= 35
