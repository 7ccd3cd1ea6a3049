"""The record of TLS by peer as a sink: what events come to, its bounds, when it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mxseal.clock import ManualClock
from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.sinks.peerfacts import sender_domain
from mxseal.sinks.peers import MOST_CONNECTIONS, WRITE_SECONDS, PeerNotes, PeerRecord
from mxseal.storage.peers import Peer, PeersFile
from mxseal.tls.diagnosis import diagnose_unavailable
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.identity import NameVerdict
from mxseal.tls.verification import Link, Verification

AT = 1_771_096_828.0
TLS13 = TlsFacts(protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256, group="X25519MLKEM768")
LEAF = Link(
    subject="CN=mx.provider.example",
    issuer="CN=R11",
    sha256="ab" * 32,
    spki_sha256="cd" * 32,
    not_before=AT - 1e6,
    not_after=AT + 1e6,
)
DIFFERS = NameVerdict(matched=False, name="mx.provider.example", expected="bank.example")
MATCHES = NameVerdict(matched=True, name="mx.bank.example", expected="mx.bank.example", against="mx-host")
OPEN = NameVerdict(matched=False, undecided=True)
PEER: dict[str, Any] = {"domain": "Bank.Example", "host": "mx.bank.example"}
CLEAR = diagnose_unavailable("no-starttls", "mx.bank.example", reply="", offered=())


def found(**more: Any) -> Verification:
    known: dict[str, Any] = {"trusted": True, "chain": (LEAF,), "verify": DIFFERS, "hosted": MATCHES}
    return Verification(**(known | more)).completed()


def secured(dcid: int = 1, **more: Any) -> Event:
    known: dict[str, Any] = {"facts": TLS13, "level": "preferred", "verification": found()}
    return facts.OutboundTlsSucceeded(at=AT, dcid=dcid, **(known | PEER | more))


def insecure(reason: str = "handshake", **more: Any) -> Event:
    known: dict[str, Any] = {"at": AT, "dcid": 1, "required": True, "reason": reason, "level": "required"}
    return facts.OutboundTlsFailed(**(known | PEER | more))


def in_clear(level: str = "preferred", **more: Any) -> Event:
    return facts.DeliveryInClear(at=AT, dcid=1, level=level, level_from="default", **(PEER | more))


def broke(dcid: int = 1) -> Event:
    where: dict[str, Any] = {"remote_ip": "192.0.2.1", "port": 25, "local_ip": "unknown"}
    return facts.DeliveryFailed(at=AT, dcid=dcid, details="timeout", reason="timeout", **where, **PEER)


def delivered(dcid: int = 1) -> Event:
    return facts.RecipientsDelivered(at=AT, dcid=dcid, mid=1, rids=(0,), response="ok")


def came(icid: int = 1, name: str | None = "Out4.Mail.Sender.example", verified: bool = True) -> Event:
    where: dict[str, Any] = {"listener": "IncomingMail", "local_ip": "192.0.2.1", "remote_port": 1}
    return facts.ConnectionOpened(
        at=AT, icid=icid, remote_ip="198.51.100.7", reverse_dns=name, verified=verified, **where
    )


def judged(level: str) -> Event:
    who: dict[str, Any] = {"verdict": "ACCEPT", "sender_group": None, "match": "ALL", "policy": "P"}
    return facts.ConnectionJudged(at=AT, icid=1, level=level, **who)


STARTED = facts.MessageStarted(at=AT, mid=1, icid=1, sender="a@sender.example")
QUEUED = facts.MessageQueued(at=AT, mid=1, icid=1)
LEFT = facts.ConnectionClosed(at=AT, icid=1)


def noted(*events: Event) -> Peer:
    notes = PeerNotes()
    for event in events:
        notes.note(event)
    (peer,) = notes.take()
    return peer


def levels(peer: Peer) -> tuple[list[str], list[str]]:
    """Those that let the last connection pass, and those of which it is not known."""
    assert peer.facts is not None
    return [n for n in peer.passed if n in peer.facts.passes], list(peer.facts.undecided)


# --- deliveries -------------------------------------------------------------------------------------------


def test_a_handshake_gives_facts_and_a_verdict_for_each_level() -> None:
    peer = noted(secured(), delivered(), delivered(), facts.DeliveryClosed(at=AT, dcid=1))
    assert (peer.direction, peer.domain, peer.host) == ("out", "bank.example", "mx.bank.example")
    assert (peer.tls, peer.messages_tls, peer.messages_clear) == (1, 2, 0)
    told = peer.facts
    assert told is not None
    assert (told.protocol, told.cipher, told.group) == ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519MLKEM768")
    assert (told.trusted, told.names, told.names_hosted) == (True, "differs", "matched")
    assert (told.name, told.issuer, told.sha256, told.expires) == (
        "mx.bank.example",
        "CN=R11",
        "ab" * 32,
        AT + 1e6,
    )
    passing = ["preferred", "required", "preferred-verify", "required-verify-hosted"]
    assert levels(peer) == (passing, [])
    assert peer.passed == dict.fromkeys(passing, 1) | {"required-verify": 0}
    assert peer.refused["required-verify"] == 1


def test_a_level_that_depends_on_a_name_nobody_asked_for_counts_neither_way() -> None:
    peer = noted(secured(verification=found(verify=OPEN)))
    assert levels(peer)[1] == ["required-verify"]
    assert (peer.passed["required-verify"], peer.refused["required-verify"]) == (0, 0)
    assert peer.facts is not None
    assert peer.facts.names == "open"


def test_the_nearest_name_is_told_where_none_matches() -> None:
    peer = noted(secured(verification=found(hosted=DIFFERS)))
    assert peer.facts is not None
    assert (peer.facts.name, peer.facts.expected) == ("mx.provider.example", "bank.example")


LESS = ["preferred", "preferred-verify"]
CASES: dict[str, tuple[Event, str, list[str], list[str]]] = {
    "no STARTTLS, in clear": (in_clear(diagnosis=CLEAR), "clear", LESS, []),
    "no STARTTLS, required": (insecure("unavailable", condition="no-starttls"), "failed", LESS, []),
    "STARTTLS refused": (insecure("unexpected-response", condition="starttls-refused"), "failed", LESS, []),
    "HELO only": (insecure("unavailable", condition="no-esmtp"), "failed", LESS, []),
    "handshake": (insecure(fault=TlsFault(kind="peer-gone")), "failed", [], []),
    "certificate refused": (
        insecure("verification", facts=TLS13, verification=found(trusted=False, chain_error="expired")),
        "failed",
        ["preferred", "required", "preferred-verify"],
        [],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_goes_wrong_is_counted_with_the_levels_that_would_let_it_pass(name: str) -> None:
    event, counted, passing, undecided = CASES[name]
    peer = noted(event)
    assert getattr(peer, counted) == 1
    assert peer.facts is not None
    assert peer.facts.outcome == counted
    assert peer.connections == 1
    assert levels(peer) == (passing, undecided)
    assert {level for level, count in peer.refused.items() if count} == set(peer.passed) - set(passing)


def test_where_the_level_is_off_nobody_knows_what_the_others_would_have_done() -> None:
    peer = noted(in_clear("off"), delivered())
    assert (peer.clear, peer.messages_clear) == (1, 1)
    assert levels(peer) == ([], list(peer.passed))
    assert not any(peer.refused.values())


def test_a_connection_that_is_not_made_says_nothing_about_tls() -> None:
    peer = noted(secured(1), broke(2))
    assert (peer.tls, peer.broken) == (1, 1)
    assert peer.facts is not None
    assert peer.facts.outcome == "tls"


def test_a_connection_that_breaks_after_its_handshake_is_counted_once() -> None:
    peer = noted(secured(), broke())
    assert (peer.connections, peer.tls) == (1, 1)


# --- who sends --------------------------------------------------------------------------------------------


def test_senders_are_put_together_by_the_domain_of_their_verified_name() -> None:
    success = facts.InboundTlsSucceeded(at=AT, icid=1, facts=TLS13)
    peer = noted(came(), judged("preferred"), success, STARTED, QUEUED, LEFT)
    assert (peer.direction, peer.domain, peer.host) == ("in", "sender.example", "")
    assert (peer.tls, peer.clear, peer.messages_tls) == (1, 0, 1)
    assert peer.facts is not None
    assert (peer.facts.level, peer.facts.group) == ("preferred", "X25519MLKEM768")
    passing = ["preferred", "required"]
    assert levels(peer) == (passing, ["preferred-verify", "required-verify", "required-verify-hosted"])


@pytest.mark.parametrize(("name", "verified"), [(None, False), ("liar.example", False)])
def test_a_sender_without_a_verified_name_goes_by_its_address(name: str | None, verified: bool) -> None:
    assert noted(came(name=name, verified=verified), STARTED, QUEUED, LEFT).domain == "198.51.100.7"


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("example.com.", "example.com"),
        ("out.mail.example.co.uk", "example.co.uk"),
        ("mx.example.nl", "example.nl"),
        ("localhost", "localhost"),
    ],
)
def test_the_domain_of_a_host_is_what_looks_registered(name: str, domain: str) -> None:
    assert sender_domain(name) == domain


def test_mail_that_comes_in_clear_is_counted_when_its_connection_ends() -> None:
    peer = noted(came(), STARTED, QUEUED, LEFT)
    assert (peer.clear, peer.tls, peer.messages_clear) == (1, 0, 1)
    assert levels(peer) == (LESS, ["required-verify-hosted"])
    assert (peer.refused["required"], peer.refused["required-verify"]) == (1, 1)


def test_who_is_asked_for_tls_and_leaves_is_counted_in_clear() -> None:
    assert noted(came(), facts.InboundTlsMissing(at=AT, icid=1), LEFT).clear == 1


@pytest.mark.parametrize("said", [[], [facts.InboundTlsSucceeded(at=AT, icid=1, facts=TLS13)]])
def test_who_begins_no_mail_is_not_recorded(said: list[Event]) -> None:
    notes = PeerNotes()
    for event in (came(), *said, LEFT):
        notes.note(event)
    assert notes.take() == []


def test_who_is_asked_for_tls_and_then_begins_it_is_counted_over_tls() -> None:
    success = facts.InboundTlsSucceeded(at=AT, icid=1, facts=TLS13)
    peer = noted(came(), facts.InboundTlsMissing(at=AT, icid=1), success, STARTED, QUEUED, LEFT)
    assert (peer.tls, peer.clear, peer.messages_tls) == (1, 0, 1)


def test_a_second_message_on_a_connection_does_not_make_it_two() -> None:
    success = facts.InboundTlsSucceeded(at=AT, icid=1, facts=TLS13)
    peer = noted(came(), success, STARTED, QUEUED, STARTED, QUEUED, LEFT)
    assert (peer.tls, peer.messages_tls) == (1, 2)


def test_a_client_that_was_verified_would_pass_every_level_of_a_listener() -> None:
    shown = TlsFacts(
        **{n: getattr(TLS13, n) for n in ("protocol", "cipher", "bits")}, peer_sha256="ab", verified=True
    )
    peer = noted(
        came(), judged("required-verify"), facts.InboundTlsSucceeded(at=AT, icid=1, facts=shown), STARTED
    )
    assert levels(peer)[0] == ["preferred", "required", "preferred-verify", "required-verify"]
    assert peer.facts is not None
    assert (peer.facts.sha256, peer.facts.trusted) == ("ab", True)


def test_a_client_that_is_turned_away_for_its_certificate_would_pass_where_none_is_asked_for() -> None:
    fault = TlsFault(kind="local-error", verify_error="certificate has expired", peer_certificates=(b"x",))
    peer = noted(came(), judged("required-verify"), facts.InboundTlsFailed(at=AT, icid=1, fault=fault))
    assert peer.failed == 1
    assert levels(peer)[0] == ["preferred", "required"]


def test_a_handshake_that_fails_is_no_mail_in_clear_and_a_later_break_no_failed_handshake() -> None:
    fault = TlsFault(kind="peer-gone")
    failed = noted(came(), facts.InboundTlsFailed(at=AT, icid=1, fault=fault), LEFT)
    assert (failed.failed, failed.clear, levels(failed)[0]) == (1, 0, [])
    later = facts.InboundTlsFailed(at=AT, icid=1, fault=TlsFault(kind="reset", during="transfer"))
    success = facts.InboundTlsSucceeded(at=AT, icid=1, facts=TLS13)
    assert noted(came(), success, STARTED, later, LEFT).failed == 0


# --- bounds and writing -----------------------------------------------------------------------------------


def test_domains_that_strangers_make_up_are_noted_up_to_a_bound() -> None:
    notes = PeerNotes(most=10)
    for number in range(50):
        notes.note(secured(number, domain=f"d{number}.example"))
    notes.note(secured(100, domain="d3.example"))
    found = {peer.domain: peer.tls for peer in notes.take()}
    assert len(found) == 10
    assert found["d3.example"] == 2


def test_connections_whose_end_never_comes_are_remembered_up_to_a_bound() -> None:
    notes = PeerNotes()
    for number in range(MOST_CONNECTIONS + 50):
        notes.note(came(number))
        notes.note(secured(number))
    assert len(notes._coming) == len(notes._going) == MOST_CONNECTIONS


def test_text_of_strangers_is_cut_and_made_storable(tmp_path: Path) -> None:
    peer = noted(secured(domain="b\udcffnk." + "x" * 5000, host="\udc80"))
    file = PeersFile(tmp_path / "peers.db")
    file.prepare()
    file.write([peer], AT)
    (stored,) = file.read()
    assert len(stored.domain) == 255
    assert stored.host == "?"


class Writing:
    """A record with a clock in hand."""

    def __init__(self, path: Path) -> None:
        self.clock = ManualClock(AT)
        self.troubles: list[str] = []
        self.file = PeersFile(path)
        self.record = PeerRecord(path, self.clock, self.troubles.append)

    async def written(self) -> int:
        if self.record._writing is not None:
            await self.record._writing
        return len(self.file.read())


async def test_notes_are_written_every_few_seconds_and_not_before(tmp_path: Path) -> None:
    here = Writing(tmp_path / "peers.db")
    here.file.prepare()
    here.record.handle(secured())
    here.clock.advance(WRITE_SECONDS - 0.1)
    assert await here.written() == 0
    here.record.handle(secured(2, domain="other.example"))
    here.clock.advance(0.1)
    assert await here.written() == 2
    await here.record.close()


async def test_what_was_noted_last_is_written_at_the_end(tmp_path: Path) -> None:
    here = Writing(tmp_path / "peers.db")
    here.file.prepare()
    here.record.handle(secured())
    await here.record.close()
    assert await here.written() == 1
    here.record.handle(secured())  # too late, and no fault


async def test_a_disk_that_refuses_is_told_once_and_so_is_its_recovery(tmp_path: Path) -> None:
    here = Writing(tmp_path / "peers.db")
    for _ in range(3):
        here.record.handle(secured())
        await here.record.flush()
    assert len(here.troubles) == 1
    assert "is missing" in here.troubles[0]
    here.file.prepare()
    here.record.handle(secured())
    await here.record.flush()
    assert here.troubles[1:] == [""]
    assert await here.written() == 1
    await here.record.close()
