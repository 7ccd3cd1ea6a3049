"""Whose certificate a next hop shows, and what it has to show: names, anchors, pins, sessions, levels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority, Issued
from lab.hostile import Hostile
from lab.script import Behaviour
from mxseal.clock import ManualClock
from mxseal.config.model import Document, Trust
from mxseal.events.types import (
    DeliveryClosed,
    DeliveryOpened,
    MessageFinished,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
    RecipientBounced,
    RecipientDelayed,
)
from mxseal.relay.opening import Way
from mxseal.relay.orders import Selection, carry_out
from mxseal.relay.resolver import ClientName, Host
from mxseal.relay.routing import Target
from mxseal.relay.verification import Verifier
from mxseal.tls.anchors import Revocations, store_of
from mxseal.tls.facts import TlsFacts
from mxseal.tls.verification import Verification, link_of
from tests.relay.delivering import LOOPBACK, Delivering, Names, believing, delivering
from tests.tls.certificates import certificate, leaf_alone, pem_of

START = Callable[..., Hostile]
POLITE = Behaviour()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def to_mx(authority: Authority, level: str, **entry: Any) -> dict[str, Any]:
    """bank.test by its MX records, at a level."""
    return {
        "trust": believing(authority),
        "destinations": [{"domain": "bank.test", "tls": level, **entry}],
    }


def by_route(authority: Authority, host: str, level: str, **more: Any) -> dict[str, Any]:
    return {
        "trust": believing(authority),
        "smtp_routes": {"all": [host]},
        "destinations": [{"domain": "default", "tls": level}],
        **more,
    }


async def delivered(here: Delivering, count: int = 1) -> Verification:
    """The verification of the last connection, once `count` messages are through."""
    await here.told.until(MessageFinished, count)
    assert not here.told.of(RecipientBounced)
    found = here.told.of(OutboundTlsSucceeded)[-1].verification
    assert found is not None
    return found


async def refused(here: Delivering) -> OutboundTlsFailed:
    (failed,) = await here.told.until(OutboundTlsFailed)
    (delayed,) = await here.told.until(RecipientDelayed)
    assert delayed.code == "000"
    assert delayed.status == "4.7.5"
    assert not here.told.of(MessageFinished)
    return failed


# --- names ------------------------------------------------------------------------------------------------


async def test_hosted_verify_takes_the_name_of_any_exchanger_and_verify_does_not(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["mx2.provider.test"]))
    names = Names({"bank.test": [("mx1.provider.test", hop.port), ("mx2.provider.test", hop.port)]})
    async with delivering(tmp_path / "1", to_mx(authority, "required-verify-hosted"), names) as here:
        await here.submit("to@bank.test")
        found = await delivered(here)
        assert (found.hosted.against, found.hosted.expected) == ("mx-host", "mx2.provider.test")
        assert not found.verify.matched
    async with delivering(tmp_path / "2", to_mx(authority, "required-verify"), names) as here:
        await here.submit("to@bank.test")
        (first, second) = await here.told.until(OutboundTlsFailed, 2)
        assert {first.host, second.host} == {"mx1.provider.test", "mx2.provider.test"}
        assert first.verify_error == "hostname mismatch"
        assert first.verification is not None
        assert first.verification.verify.name == "mx2.provider.test"
        assert first.verification.would_deliver[-1] == "required-verify-hosted"


async def test_verify_takes_a_common_name_that_is_the_reverse_name_of_the_address(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, common="out7.provider.test", names=None))
    names = Names({"bank.test": [("mx.bank.test", hop.port)]}, {LOOPBACK: "out7.provider.test"})
    async with delivering(tmp_path, to_mx(authority, "required-verify"), names) as here:
        await here.submit("to@bank.test")
        found = await delivered(here)
        assert (found.verify.against, found.verify.expected) == ("reverse-name", "out7.provider.test")


async def test_where_no_level_needs_it_the_reverse_name_is_asked_behind_the_delivery(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, common="out7.provider.test", names=None))
    names = Names({"bank.test": [("mx.bank.test", hop.port)]}, {LOOPBACK: "out7.provider.test"})
    async with delivering(tmp_path, to_mx(authority, "preferred"), names) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).undecided == ("required-verify",)
        await here.told.until(DeliveryClosed)
        await here.submit("to@bank.test")
        assert "required-verify" in (await delivered(here, 2)).would_deliver
        assert names.asked.count(LOOPBACK) == 1


class Silent(Names):
    """A name server that never answers what an address is called."""

    async def client_name(self, address: str) -> ClientName:
        self.asked.append(address)
        await asyncio.Event().wait()
        raise AssertionError(address)


@pytest.mark.parametrize("level", ["preferred", "required", "required-verify-hosted"])
async def test_a_name_server_that_is_silent_holds_up_no_mail_that_does_not_depend_on_it(
    level: str, authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, common="mx.bank.test", names=None))
    names = Silent({"bank.test": [("mx.bank.test", hop.port)]})
    async with delivering(tmp_path, to_mx(authority, level), names) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).undecided == ("required-verify",)


async def test_hosted_verify_takes_the_host_that_the_route_names(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["relay.inside.test"]))
    document = by_route(authority, f"relay.inside.test:{hop.port}", "required-verify-hosted")
    async with delivering(tmp_path, document) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).hosted.against == "route-host"


async def test_behind_a_route_the_exchangers_count_too(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["mx.bank.test"]))
    document = by_route(authority, f"relay.inside.test:{hop.port}", "required-verify-hosted")
    async with delivering(tmp_path, document, Names({"bank.test": [("mx.bank.test", 25)]})) as here:
        await here.submit("to@bank.test")
        found = await delivered(here)
        assert (found.hosted.against, found.hosted.expected) == ("mx-host", "mx.bank.test")


async def test_an_international_domain_is_compared_in_a_labels(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["xn--bcher-kva.test"]))
    async with delivering(tmp_path, by_route(authority, f"{LOOPBACK}:{hop.port}", "required-verify")) as here:
        await here.submit("to@bücher.test", smtputf8=True)
        found = await delivered(here)
        assert found.verify.expected == "xn--bcher-kva.test"


async def test_domains_behind_one_route_share_a_connection_unless_names_are_compared(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["one.test", "two.test"]))
    for level, connections in (("required", 1), ("required-verify", 2), ("required-verify-hosted", 2)):
        async with delivering(tmp_path / level, by_route(authority, f"{LOOPBACK}:{hop.port}", level)) as here:
            await here.submit("to@one.test", "to@two.test")
            await here.told.until(MessageFinished)
            assert len(here.told.of(DeliveryOpened)) == connections


# --- hosts ------------------------------------------------------------------------------------------------


async def test_the_next_exchanger_is_tried_when_the_first_cannot_be_verified(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    bad = hostile(POLITE, certificate(None, names=["bank.test"]))
    good = hostile(POLITE, certificate(authority, names=["bank.test"]))
    names = Names({"bank.test": [("mx1.test", bad.port), ("mx2.test", good.port)]})
    async with delivering(tmp_path, to_mx(authority, "required-verify"), names) as here:
        await here.submit("to@bank.test")
        await delivered(here)
        (failed,) = here.told.of(OutboundTlsFailed)
        assert (failed.host, failed.verify_error) == ("mx1.test", "self-signed certificate")
        assert (bad.taken, len(good.taken)) == ((), 1)
        assert not here.told.of(RecipientDelayed)


# --- anchors, pins, lists ---------------------------------------------------------------------------------


async def test_a_destination_with_anchors_believes_no_other_authority(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    partner = Authority("Partner Root")
    entries = [{"name": "partner", "certificate": partner.pem.decode()}, *believing(authority)["authorities"]]
    document = to_mx(authority, "required-verify", trust_anchors=["partner"])
    document["trust"]["authorities"] = entries
    for issuer, good in ((partner, True), (authority, False)):
        hop = hostile(POLITE, certificate(issuer, names=["bank.test"]))
        names = Names({"bank.test": [("mx.bank.test", hop.port)]})
        async with delivering(tmp_path / str(good), document, names) as here:
            await here.submit("to@bank.test")
            if good:
                found = await delivered(here)
            else:
                failed = await refused(here)
                assert failed.verify_error == "unable to get local issuer certificate"
                assert failed.verification is not None
                found = failed.verification
            assert found.trust == ("authority partner",)


async def test_an_anchor_counts_although_the_lists_are_off(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["bank.test"]))
    document = to_mx(authority, "required-verify", trust_anchors=["lab"])
    document["trust"]["custom"] = False
    async with delivering(tmp_path, document, Names({"bank.test": [("mx.bank.test", hop.port)]})) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).trusted


@pytest.mark.parametrize("listed", [True, False])
async def test_a_pinned_key_is_demanded_beside_chain_and_name(
    listed: bool, authority: Authority, hostile: START, tmp_path: Path
) -> None:
    issued = certificate(authority, names=["bank.test"])
    pin = link_of(_der(issued)).spki_sha256 if listed else "00" * 32
    hop = hostile(POLITE, issued)
    names = Names({"bank.test": [("mx.bank.test", hop.port)]})
    document = to_mx(authority, "required-verify", pins=["11" * 32, pin])
    async with delivering(tmp_path, document, names) as here:
        await here.submit("to@bank.test")
        if listed:
            assert (await delivered(here)).pinned is True
        else:
            failed = await refused(here)
            assert failed.verify_error == "public key not among the pins"
            assert failed.diagnosis is not None
            assert failed.diagnosis.cause == "certificate-not-pinned"


async def test_only_enabled_lists_are_believed(authority: Authority, hostile: START, tmp_path: Path) -> None:
    hop = hostile(POLITE, certificate(authority, names=["bank.test"]))
    names = Names({"bank.test": [("mx.bank.test", hop.port)]})
    document = to_mx(authority, "required-verify")
    document["trust"] |= {"system": True, "custom": False}
    async with delivering(tmp_path / "off", document, names) as here:
        await here.submit("to@bank.test")
        failed = await refused(here)
        assert failed.verification is not None
        assert failed.verification.trust == ("system list",)
    document["trust"]["custom"] = True
    async with delivering(tmp_path / "on", document, names) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).trust == ("system list", "custom list")


async def test_a_certificate_without_a_list_of_revoked_ones_is_taken_and_that_is_told(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["bank.test"]))
    names = Names({"bank.test": [("mx.bank.test", hop.port)]})
    nothing = Revocations(store_of([authority.pem.decode()]), [])
    document = to_mx(authority, "required-verify")
    async with delivering(tmp_path, document, names, revoking=nothing) as here:
        await here.submit("to@bank.test")
        assert (await delivered(here)).revocation == "no-list"


# --- sessions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hop_of", ["tls-1.2-only", "tls-1.3-only"])
@pytest.mark.parametrize("fault", ["self-signed", "alone", "name", "none"])
async def test_a_resumed_session_has_the_verdict_of_the_handshake_that_began_it(
    fault: str, hop_of: str, authority: Authority, hostile: START, tmp_path: Path
) -> None:
    issued = {
        "self-signed": certificate(None, names=["bank.test"]),
        "alone": leaf_alone(certificate(authority.intermediate(), names=["bank.test"])),
        "name": certificate(authority, names=["else.test"]),
        "none": certificate(authority, names=["bank.test"]),
    }[fault]
    hop = hostile(hop_of, issued)
    names = Names({"bank.test": [("mx.bank.test", hop.port)]})
    async with delivering(tmp_path, to_mx(authority, "preferred-verify"), names) as here:
        for count in (1, 2):
            await here.submit("to@bank.test")
            await here.told.until(DeliveryClosed, count)
        first, second = here.told.of(OutboundTlsSucceeded)
        assert (first.facts.resumed, second.facts.resumed) == (False, True)
        assert second.verification == first.verification
        assert second.verification is not None
        assert ("required-verify" in second.verification.would_deliver) == (fault == "none")


async def test_a_strict_level_does_not_get_through_on_a_lax_levels_session(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(None, names=["bank.test"]))
    document = by_route(authority, f"{LOOPBACK}:{hop.port}", "preferred")
    document["tls_overrides"] = [{"sender": "strict@lab.test", "tls": "required-verify"}]
    async with delivering(tmp_path, document) as here:
        await here.submit("to@bank.test")
        await here.told.until(DeliveryClosed)
        await here.submit("to@bank.test", sender="strict@lab.test")
        (failed,) = await here.told.until(OutboundTlsFailed)
        assert failed.facts is not None
        assert failed.facts.resumed
        assert failed.verify_error == "self-signed certificate"


@pytest.mark.parametrize(
    ("days", "error"), [(0, None), (40, "certificate has expired"), (-5, "certificate is not yet valid")]
)
async def test_a_session_outlives_no_certificate(days: int, error: str | None, authority: Authority) -> None:
    issued = certificate(authority, names=["bank.test"])
    clock = ManualClock(time.time() + days * 86_400)
    verifier = Verifier(clock, Names)
    facts = TlsFacts(
        protocol="TLSv1.3",
        cipher="",
        bits=256,
        resumed=True,
        verified=True,
        peer_certificates=(_der(issued),),
    )
    target = Target("bank.test", (), "required-verify", 1, 1, email_domain="bank.test")
    way = Way(target, "bank.test", Host("mx.bank.test", 25, (LOOPBACK,)), LOOPBACK)
    found = await verifier.verify(way, facts, Trust())
    assert (found.trusted, found.chain_error) == (error is None, error)


async def test_an_authority_that_is_taken_away_is_not_believed_by_an_old_session(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["bank.test"]))
    document = by_route(authority, f"{LOOPBACK}:{hop.port}", "required-verify")
    async with delivering(tmp_path, document) as here:
        await here.submit("to@bank.test")
        await here.told.until(DeliveryClosed)
        other = {**document, "trust": believing(Authority("Other")), "delivery": {"certificate": None}}
        here.commit(Document.model_validate(other))
        await here.submit("to@bank.test")
        failed = await refused_later(here)
        assert failed.facts is not None
        assert not failed.facts.resumed


async def refused_later(here: Delivering) -> OutboundTlsFailed:
    (failed,) = await here.told.until(OutboundTlsFailed)
    return failed


# --- levels of messages -----------------------------------------------------------------------------------


async def test_a_waiting_message_goes_at_the_level_that_an_administrator_gives_it(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(POLITE, certificate(None, names=["bank.test"]))
    document = by_route(authority, f"{LOOPBACK}:{hop.port}", "required-verify")
    async with delivering(tmp_path, document) as here:
        mid = await here.submit("to@bank.test")
        await refused(here)
        await here.quiet()
        assert await carry_out(here.queue, "level", Selection(mids=(mid,), level="required")) == 1
    # The gateway is started again: the level is on the spool, with the message.
    async with delivering(tmp_path, document) as here:
        queued = await here.spool.load(mid)
        assert queued is not None
        assert queued.envelope.tls_level == "required"
        await carry_out(here.queue, "deliver", Selection(mids=(mid,)))
        await delivered(here)
        (event,) = here.told.of(OutboundTlsSucceeded)
        assert (event.level, event.level_from) == ("required", "message")
        assert hop.taken[0].tls is not None


async def test_a_level_can_be_taken_away_again_and_none_is_given_to_what_is_not_there(
    authority: Authority, hostile: START, tmp_path: Path
) -> None:
    hop = hostile("rcpt-450", certificate(authority, names=["bank.test"]))
    async with delivering(tmp_path, by_route(authority, f"{LOOPBACK}:{hop.port}", "required")) as here:
        mid = await here.submit("to@bank.test")
        await here.told.until(RecipientDelayed)
        await here.quiet()
        for level in ("off", None):
            assert await carry_out(here.queue, "level", Selection(mids=(mid,), level=level)) == 1
            queued = await here.spool.load(mid)
            assert queued is not None
            assert queued.envelope.tls_level == level
        assert await carry_out(here.queue, "level", Selection(mids=(mid + 1,), level="off")) == 0


@pytest.mark.parametrize(
    ("sender", "recipient", "level", "origin"),
    [
        ("board@lab.test", "to@bank.test", "required", "sender override board@lab.test"),
        ("any@lab.test", "to@press.test", "off", "recipient override press.test"),
        ("any@lab.test", "to@bank.test", "preferred", "destination bank.test"),
        ("any@lab.test", "to@other.test", "required", "default"),
    ],
)
async def test_each_delivery_tells_who_set_its_level(
    *,
    sender: str,
    recipient: str,
    level: str,
    origin: str,
    authority: Authority,
    hostile: START,
    tmp_path: Path,
) -> None:
    hop = hostile(POLITE, certificate(authority, names=["bank.test"]))
    document = by_route(authority, f"{LOOPBACK}:{hop.port}", "required")
    document["destinations"].append({"domain": "bank.test", "tls": "preferred"})
    document["tls_overrides"] = [
        {"sender": "board@lab.test", "tls": "required"},
        {"recipient": "press.test", "tls": "off"},
    ]
    async with delivering(tmp_path, document) as here:
        await here.submit(recipient, sender=sender)
        await here.told.until(MessageFinished)
        (lane,) = here.queue.lanes
        assert (lane.tls, lane.level_from) == (level, origin)
        found = [(event.level, event.level_from) for event in here.told.of(OutboundTlsSucceeded)]
        assert found == ([] if level == "off" else [(level, origin)])


def _der(issued: Issued) -> bytes:
    from ssl import PEM_cert_to_DER_cert

    return PEM_cert_to_DER_cert(pem_of(issued))
