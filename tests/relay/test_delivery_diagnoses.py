"""What is told of next hops that go wrong: the cause of each, from real sockets, and `explain` about it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lab.hostile import Hostile
from lab.script import Behaviour
from mxseal.commands.explanation import explain_connection
from mxseal.commands.explanation_text import Writer
from mxseal.events.types import (
    DeliveryFailed,
    DeliveryInClear,
    OutboundTlsFailed,
    OutboundTlsSucceeded,
    RecipientsDelivered,
)
from mxseal.language import LANGUAGES, translations
from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import Diagnosis
from tests.relay.delivering import LOOPBACK, believing, delivering
from tests.relay.test_delivery_levels import BEHAVING, SHOWING, Estate

LEVEL = "required-verify"
CAUSE_OF = {
    # hop -> cause
    "banner-554": "banner-refused",
    "banner-closes": "banner-closed",
    "banner-garbage": "not-smtp",
    "banner-silent": "banner-timeout",
    "ehlo-421": "ehlo-refused",
    "helo-refused": "ehlo-refused",
    "helo-only": "no-esmtp",
    "no-starttls": "no-starttls",
    "starttls-masked": "starttls-masked",
    "starttls-454": "starttls-not-now",
    "starttls-502": "starttls-refused",
    "starttls-closes": "starttls-closed",
    "starttls-resets": "starttls-closed",
    "starttls-stalls": "starttls-timeout",
    "starttls-garbage": "not-smtp",
    "tls-closes-at-once": "server-gone-silent",
    "tls-resets": "reset",
    "tls-cleartext": "clear-text-answer",
    "tls-stalls": "timeout-silent",
    "tls-alert-protocol-version": "version-refused",
    "tls-alert-internal-error": "peer-internal-error",
    "tls-alert-unrecognized-name": "name-refused",
    "tls-demands-certificate": "handshake-failure",
    "tls-1.0-only": "version-refused",
    "tls-no-shared-cipher": "handshake-failure",
    "ehlo-closes-in-tls": "peer-closed-later",
    "self-signed": "certificate-self-signed",
    "expired": "certificate-expired",
    "not-yet-valid": "certificate-not-yet-valid",
    "unknown-authority": "intermediate-missing",
    "intermediate-missing": "intermediate-missing",
    "client-only": "wrong-usage",
    "other-name": "name-mismatch",
    "no-name": "certificate-without-names",
    "revoked": "certificate-revoked",
}


class Diagnosed(Estate):
    """The same next hops under one level, and what is told of each."""

    def start(self, stack: ExitStack) -> None:
        for hop in CAUSE_OF:
            if hop in SHOWING:
                self.hops[hop] = stack.enter_context(Hostile(Behaviour(), certificate=self._shown(hop)))
            else:
                self.hops[hop] = stack.enter_context(Hostile(hop, certificate=self._good(hop)))

    async def run(self) -> None:
        document = {
            "trust": believing(self.authority),
            "smtp_routes": {f".{hop}.test": [f"{LOOPBACK}:{at.port}"] for hop, at in self._by_name()},
            "destinations": [{"domain": f".{hop}.test", "tls": LEVEL} for hop, _ in self._by_name()],
            "delivery": {"command_time": 1.5, "handshake_time": 1.5, "connect_time": 1.5},
        }
        async with delivering(self.folder, document, revoking=self.revoking()) as here:
            self.here = here
            for hop, _ in self._by_name():
                await here.submit(f"to@a.{hop}.test")
            await here.quiet()

    def _by_name(self) -> list[tuple[str, Hostile]]:
        return [(hop.replace(".", "-"), at) for hop, at in self.hops.items()]

    def last(self, hop: str) -> OutboundTlsFailed | DeliveryFailed:
        """The last failure at a next hop."""
        domain = f"a.{hop.replace('.', '-')}.test"
        told = [
            event
            for event in self.here.told.events
            if isinstance(event, OutboundTlsFailed | DeliveryFailed) and event.domain == domain
        ]
        return told[-1]

    def diagnosis(self, hop: str) -> Diagnosis:
        found = self.last(hop).diagnosis
        assert found is not None
        return found


@pytest.fixture(scope="module")
def estate() -> Iterator[Diagnosed]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = Diagnosed(Path(folder) / "spool")
        found.start(stack)
        asyncio.run(found.run())
        yield found


@pytest.mark.parametrize("hop", CAUSE_OF)
def test_each_next_hop_that_goes_wrong_has_its_cause(estate: Diagnosed, hop: str) -> None:
    diagnosis = estate.diagnosis(hop)
    assert diagnosis.cause == CAUSE_OF[hop]
    assert diagnosis.side == CAUSES[diagnosis.cause].side
    for language in LANGUAGES:
        sentence = diagnosis.sentence(translations(language, "diagnosis").gettext)
        assert not set("{}") & set(sentence)
        assert "nothing known" not in sentence


def test_the_hops_that_are_looked_at_are_those_of_the_outcome_tables() -> None:
    assert CAUSE_OF.keys() - BEHAVING.keys() - SHOWING.keys() == {"banner-silent"}


@pytest.mark.parametrize("hop", CAUSE_OF)
def test_the_time_of_each_stage_is_told_up_to_the_one_that_failed(estate: Diagnosed, hop: str) -> None:
    times = estate.last(hop).times
    assert times is not None
    assert times.connect is not None
    reached = CAUSE_OF[hop]
    assert (times.handshake is None) == reached.startswith(("banner", "not-smtp", "ehlo", "no-", "starttls"))
    assert (times.starttls is None) == (
        reached.startswith(("banner", "ehlo", "no-", "starttls-masked")) or hop == "banner-garbage"
    )


@pytest.mark.parametrize("hop", CAUSE_OF)
def test_each_can_be_explained_from_its_events(estate: Diagnosed, hop: str) -> None:
    failed = estate.last(hop)
    events = [event for event in estate.here.told.events if getattr(event, "dcid", 0) == failed.dcid]
    told = explain_connection("dcid", failed.dcid, events)
    writer = Writer(str, str, 120)
    text = writer.connection(told, ())
    assert CAUSE_OF[hop] in text
    assert f"[{LOOPBACK}]" in text
    assert not [event for event in events if isinstance(event, OutboundTlsSucceeded)] or (
        hop == "ehlo-closes-in-tls"
    )


@pytest.mark.parametrize(
    ("hop", "level", "cause"),
    [
        ("no-starttls", "preferred", "no-starttls"),
        ("starttls-masked", "preferred-verify", "starttls-masked"),
        ("starttls-454", "preferred", "starttls-not-now"),
        ("helo-only", "preferred", "no-esmtp"),
        ("tls-1.3-only", "off", None),
    ],
)
async def test_mail_that_goes_on_in_clear_is_told_with_the_level_and_why(
    hop: str, level: str, cause: str | None, tmp_path: Path
) -> None:
    with Hostile(hop) as at:
        document = {
            "smtp_routes": {"a.test": [f"{LOOPBACK}:{at.port}"]},
            "destinations": [{"domain": "a.test", "tls": level}],
        }
        async with delivering(tmp_path, document) as here:
            await here.submit("to@a.test")
            await here.told.until(RecipientsDelivered)
            (clear,) = here.told.of(DeliveryInClear)
    assert (clear.level, clear.level_from) == (level, "destination a.test")
    assert (clear.diagnosis.cause if clear.diagnosis is not None else None) == cause
    assert clear.times is not None
    assert clear.times.connect is not None


def test_what_a_server_answered_is_evidence(estate: Diagnosed) -> None:
    assert "It answered: 454 " in estate.diagnosis("starttls-454").evidence
    assert "It answered: 554 " in estate.diagnosis("banner-554").evidence


def test_what_was_shown_is_evidence_with_its_fingerprint(estate: Diagnosed) -> None:
    failed = estate.last("expired")
    assert isinstance(failed, OutboundTlsFailed)
    assert failed.verification is not None
    leaf = failed.verification.chain[0].sha256
    assert f"SHA-256 {leaf}" in estate.diagnosis("expired").evidence


def test_where_a_missing_intermediate_can_be_had_is_evidence(estate: Diagnosed) -> None:
    assert "can be had at http://ca.test/i.crt." in estate.diagnosis("intermediate-missing").evidence
    assert "Trusted here: custom list." in estate.diagnosis("intermediate-missing").evidence
