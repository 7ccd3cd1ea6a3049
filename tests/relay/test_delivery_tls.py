"""Delivery under each TLS level to next hops that go wrong in each way: reference §3.3, cell by cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.ca import Authority, Issued
from lab.hostile import Hostile, bad_certificates
from lab.place import free_port
from mxseal.events.types import (
    DeliveryOpened,
    MessageFinished,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
    RecipientDelayed,
    RecipientsDelivered,
)
from tests.relay.harness import route, running

START = Callable[..., Hostile]

CLEAR, ENCRYPTED, LATER = "deliver in clear", "deliver encrypted", "not delivered, tried later"
CELLS = [
    # next hop              off     preferred  required
    ("helo-only", CLEAR, CLEAR, LATER),
    ("no-starttls", CLEAR, CLEAR, LATER),
    ("starttls-454", CLEAR, CLEAR, LATER),
    ("starttls-501", CLEAR, CLEAR, LATER),
    ("tls-garbage", CLEAR, LATER, LATER),
    ("tls-cleartext", CLEAR, LATER, LATER),
    ("tls-closes", CLEAR, LATER, LATER),
    ("tls-resets", CLEAR, LATER, LATER),
    ("tls-alert", CLEAR, LATER, LATER),
    ("tls-no-shared-cipher", CLEAR, LATER, LATER),
    ("tls-1.0-only", CLEAR, LATER, LATER),
    ("tls-1.2-only", CLEAR, ENCRYPTED, ENCRYPTED),
]
LEVELS = ("off", "preferred", "required")


@pytest.mark.parametrize(
    ("behaviour", "level", "expected"),
    [(row[0], level, row[1 + i]) for row in CELLS for i, level in enumerate(LEVELS)],
)
async def test_each_level_meets_each_next_hop_as_the_table_says(
    behaviour: str, level: str, expected: str, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(behaviour)
    async with running(tmp_path / "home", free_port(), route(hop.port, tls=level)) as relay:
        await relay.submit("to@example.com")
        if expected == LATER:
            (delayed,) = await relay.told.until(RecipientDelayed)
            assert delayed.code == "000"
            assert relay.told.of(OutboundTlsFailed)
            assert hop.taken == ()
            assert not relay.told.of(MessageFinished)
        else:
            await relay.told.until(MessageFinished)
            assert len(hop.taken) == 1
            secured = bool(relay.told.of(OutboundTlsSucceeded))
            assert secured is (expected == ENCRYPTED)
            assert (hop.sessions[-1].tls is not None) is secured


@pytest.mark.parametrize("level", ["preferred", "required"])
@pytest.mark.parametrize("fault", ["self-signed", "expired", "other-name", "unknown-authority"])
async def test_without_verification_a_bad_certificate_still_encrypts(
    fault: str, level: str, hostile: START, authority: Authority, tmp_path: Path
) -> None:
    hop = hostile("tls-1.2-only", bad_certificates(authority, "hop.lab.test")[fault])
    async with running(tmp_path / "home", free_port(), route(hop.port, tls=level)) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished)
        (secured,) = relay.told.of(OutboundTlsSucceeded)
        assert secured.facts.verified is False
        assert secured.facts.verify_error


@pytest.mark.parametrize(
    ("behaviour", "condition", "line"),
    [
        ("helo-only", "no-esmtp", "TLS required, STARTTLS unavailable, destination is TLS disabled"),
        ("no-starttls", "no-starttls", "TLS required, STARTTLS unavailable, destination is TLS disabled"),
        ("starttls-454", "starttls-refused", "STARTTLS unexpected response"),
    ],
)
async def test_the_three_conditions_under_which_required_tls_cannot_be_used_are_told_apart(
    behaviour: str, condition: str, line: str, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(behaviour)
    async with running(tmp_path / "home", free_port(), route(hop.port, tls="required")) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(RecipientDelayed)
        (failed,) = relay.told.of(OutboundTlsFailed)
        assert failed.condition == condition
        assert failed.diagnosis is not None
        assert failed.diagnosis.remedy
        lines = relay.lines()
        at = lines.index(f"Info: DCID {failed.dcid} TLS failed: {line}")
        assert lines[at + 1] == f"Info: DCID {failed.dcid} TLS diagnosis: {failed.diagnosis.sentence()}"
        assert lines[at + 2] == f"Info: DCID {failed.dcid} close"


@pytest.mark.parametrize("behaviour", ["chokes-on-size", "chokes-on-post-quantum"])
async def test_a_peer_that_chokes_on_the_post_quantum_group_is_tried_again_without_it(
    behaviour: str, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(behaviour)
    async with running(tmp_path / "home", free_port(), route(hop.port, tls="required")) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished)
        assert len(relay.told.of(DeliveryOpened)) == 2
        (secured,) = relay.told.of(OutboundTlsSucceeded)
        assert secured.facts.group == "x25519"
        await relay.submit("again@example.com")
        await relay.told.until(MessageFinished, 2)
        # It is remembered: the second message meets no refusal.
        assert len(relay.told.of(OutboundTlsFailed)) == 1


async def test_the_next_host_is_tried_when_the_first_cannot_do_the_tls_that_is_required(
    hostile: START, tmp_path: Path
) -> None:
    bad, good = hostile("no-starttls"), hostile("tls-1.2-only")
    async with running(tmp_path / "home", free_port(), route(bad.port, good.port, tls="required")) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(RecipientsDelivered)
        assert bad.taken == ()
        assert len(good.taken) == 1


async def test_a_second_connection_resumes_the_session(
    hostile: START, issue: Callable[..., Issued], tmp_path: Path
) -> None:
    hop = hostile("trickles", issue("hop.lab.test"))
    async with running(tmp_path / "home", free_port(), route(hop.port, tls="required")) as relay:
        for count in (1, 2):
            await relay.submit("to@example.com")
            await relay.told.until(MessageFinished, count)
            from mxseal.events.types import DeliveryClosed

            await relay.told.until(DeliveryClosed, count)
        assert [event.facts.resumed for event in relay.told.of(OutboundTlsSucceeded)] == [False, True]


async def test_replies_that_were_sent_before_the_handshake_are_not_believed(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("starttls-injects")
    async with running(tmp_path / "home", free_port(), route(hop.port, tls="required")) as relay:
        await relay.submit("to@example.com", content=b"Subject: x\r\n\r\nlonger than the injected SIZE 1\r\n")
        await relay.told.until(MessageFinished)
        assert len(hop.taken) == 1
