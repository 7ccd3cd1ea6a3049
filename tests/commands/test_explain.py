"""`explain`: what the JSON log tells of a number, in words, at any later time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mxseal.commands import explain
from mxseal.commands.registry import Registry
from mxseal.commands.results import Data, Result
from mxseal.commands.running import Ended, Runner
from mxseal.config.model import Logs
from mxseal.events import Event
from mxseal.events import types as facts
from mxseal.logs.retained import file_path, logs_folder
from mxseal.sinks.jsonlog import encode
from mxseal.sinks.maillog import Renderer
from mxseal.tls.diagnosis import OurSettings, diagnose_inbound, diagnose_stage, diagnose_unavailable
from mxseal.tls.facts import (
    ChainFault,
    ChainFinding,
    ClientOffer,
    Diagnosis,
    StageTimes,
    TlsFacts,
    TlsFault,
)
from mxseal.tls.identity import NameVerdict
from mxseal.tls.unverified import diagnose_verification, remark_chain
from mxseal.tls.verification import ClientCheck, Link, Verification
from tests.commands.gateway import FakeClient, FakeServices, context

AT = 1_771_096_828.0
STAMP = "20260214T192028"
TIMES = StageTimes(connect=0.012, banner=0.02, ehlo=0.03, starttls=0.04, handshake=0.055)
TLS13 = TlsFacts(
    protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256, group="X25519MLKEM768", verified=True
)
NO = NameVerdict(matched=False, name="mx.provider.example", expected="bank.example")
YES = NameVerdict(matched=True, name="mx.bank.example", expected="mx.bank.example", against="mx-host")
LEAF = Link(
    subject="CN=mx.provider.example",
    issuer="CN=R11",
    sha256="ab" * 32,
    spki_sha256="cd" * 32,
    not_before=AT - 1e6,
    not_after=AT + 1e6,
)
FOUND = Verification(
    trusted=True,
    trust=("system list",),
    chain=(LEAF,),
    names=("mx.provider.example",),
    verify=NO,
    hosted=NO,
    would_deliver=("preferred", "required"),
)
OPENED = facts.DeliveryOpened(
    at=AT,
    dcid=12,
    domain="bank.example",
    host="mx.bank.example",
    local_ip="192.0.2.1",
    remote_ip="198.51.100.7",
    port=25,
)
CLOSED = facts.DeliveryClosed(at=AT + 2, dcid=12)


def _secured(level: str, found: Verification, **more: Any) -> facts.OutboundTlsSucceeded:
    return facts.OutboundTlsSucceeded(
        at=AT + 1,
        dcid=12,
        domain="bank.example",
        host="mx.bank.example",
        facts=TLS13,
        level=level,
        level_from="destination bank.example",
        verification=found,
        times=TIMES,
        **more,
    )


def _refused(level: Any = "required-verify") -> facts.OutboundTlsFailed:
    return facts.OutboundTlsFailed(
        at=AT + 1,
        dcid=12,
        domain="bank.example",
        host="mx.bank.example",
        required=True,
        reason="verification",
        verify_error="hostname mismatch",
        level=level,
        level_from="destination bank.example",
        facts=TLS13,
        verification=FOUND,
        diagnosis=diagnose_verification(FOUND, level, "mx.bank.example"),
        times=TIMES,
    )


def _came(icid: int = 7, level: str = "required") -> list[Event]:
    opened = facts.ConnectionOpened(
        at=AT,
        icid=icid,
        listener="IncomingMail",
        local_ip="192.0.2.1",
        remote_ip="203.0.113.5",
        remote_port=4711,
        reverse_dns="out.example.net",
        verified=True,
    )
    judged = facts.ConnectionJudged(
        at=AT,
        icid=icid,
        verdict="ACCEPT",
        sender_group="PARTNERS",
        match="203.0.113.0/24",
        policy="STRICT",
        level=level,
    )
    return [opened, judged]


class Desk:
    """Somebody who asks, and a home with the logs of these events."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.value: dict[str, Any] = {}
        self.text = ""

    def logged(self, events: Sequence[Event], *, stamp: str = STAMP, json: bool = True) -> Desk:
        renderer = Renderer(Logs(time="utc"))
        for name, file, lines in (
            ("mail_logs", "mail", b"".join(map(renderer.render, events))),
            ("json_logs", "json", b"".join(map(encode, events))),
        ):
            if json or name == "mail_logs":
                folder = logs_folder(self.home) / name
                folder.mkdir(parents=True, exist_ok=True)
                file_path(folder, file, stamp, "s").write_bytes(lines)
        return self

    async def ask(self, *words: str) -> Ended:
        services = FakeServices()
        services.logs_home = self.home  # type: ignore[attr-defined]
        commands = Registry((explain,))
        caller = msgspec.structs.replace(context(services, FakeClient(), commands, "read-only"), width=200)
        return await Runner(commands, lambda _record: None).run(["explain", *words], caller, self._take)

    async def _take(self, result: Result) -> None:
        assert isinstance(result, Data)
        self.text, self.value = result.text, result.to_json()

    def says(self, label: str) -> str:
        """What stands behind a label."""
        found = [line for line in self.text.splitlines() if line.strip().startswith(f"{label}:")]
        return found[0].split(":", 1)[1].strip() if found else ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


# --- deliveries -------------------------------------------------------------------------------------------


async def test_a_refused_certificate_is_explained_with_all_that_decided(desk: Desk) -> None:
    desk.logged([OPENED, _refused(), CLOSED])
    assert (await desk.ask("dcid", "12")).status == 0
    assert desk.text.startswith("DCID 12: delivery to bank.example, 2026-02-14 19:20:28 UTC\n")
    assert desk.says("Outcome") == "TLS failed: no mail went over this connection."
    assert "is for other names: the nearest is mx.provider.example" in desk.says("Why")
    assert desk.says("Who has to act") == "the other side"
    assert desk.says("Cause") == "name-mismatch"
    assert desk.says("Level") == "required-verify"
    assert desk.says("Level from") == "destination bank.example"
    assert desk.says("Trusted") == "system list"
    assert desk.says("Host") == "mx.bank.example [198.51.100.7] 25"
    assert desk.says("Seconds") == "connect 0.012, banner 0.02, EHLO 0.03, STARTTLS 0.04, handshake 0.055"
    assert desk.says("Chain").startswith("CN=mx.provider.example, issued by CN=R11, 2026-02-03 to 2026-02-26")
    assert desk.says("Chain").endswith(f"SHA-256 {'ab' * 32}")
    assert desk.says("Levels that it meets") == "preferred, required"
    assert "DCID 12 TLS failed: verify error: hostname mismatch" in desk.text
    assert "DCID 12 close" in desk.text


async def test_an_explanation_is_told_in_dutch_with_the_same_words_for_what_is_typed(desk: Desk) -> None:
    desk.logged([OPENED, _refused(), CLOSED])
    await desk.ask("dcid", "12", "--lang", "nl")
    assert desk.text.startswith("DCID 12: bezorging aan bank.example, ")
    assert desk.says("Uitkomst") == "TLS is mislukt: over deze verbinding ging geen mail."
    assert desk.says("Waarom").startswith(
        "Het certificaat van de server mx.bank.example is voor andere namen"
    )
    assert desk.says("Wie aan zet is") == "de andere kant"
    assert desk.says("Oorzaak") == "name-mismatch"
    assert desk.says("Niveau") == "required-verify"


async def test_programs_get_the_values_and_the_sentences(desk: Desk) -> None:
    desk.logged([OPENED, _refused(), CLOSED])
    await desk.ask("dcid", "12", "--lang", "nl")
    value = desk.value
    assert (value["kind"], value["number"], value["outcome"]) == ("dcid", 12, "tls-failed")
    assert value["decision"]["level_from"] == "destination bank.example"
    assert value["diagnosis"]["cause"] == "name-mismatch"
    assert value["diagnosis"]["summary"].startswith("Het certificaat van")
    assert value["times"]["handshake"] == 0.055
    assert value["mail_log"][-1].endswith("DCID 12 close")


async def test_a_verified_delivery_is_explained_too(desk: Desk) -> None:
    found = msgspec.structs.replace(FOUND, verify=YES, hosted=YES)
    desk.logged([OPENED, _secured("required-verify", found), CLOSED])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "Encrypted and verified."
    assert desk.says("Protocol") == "TLSv1.3"
    assert desk.says("Cipher") == "TLS_AES_256_GCM_SHA384"
    assert desk.says("Key exchange") == "X25519MLKEM768"
    assert desk.says("Name matched") == "mx.bank.example (mx.bank.example)"
    assert not desk.says("Why")


async def test_an_odd_chain_that_was_verified_is_remarked_upon(desk: Desk) -> None:
    found = msgspec.structs.replace(FOUND, verify=YES, hosted=YES)
    odd = ChainFinding(certificates=(LEAF, LEAF), path=(0,), faults=(ChainFault(kind="duplicate", at=1),))
    remark = remark_chain("server", "mx.bank.example", odd)
    desk.logged([OPENED, _secured("required-verify", found, remark=remark), CLOSED])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "Encrypted and verified."
    assert "sends the certificate CN=mx.provider.example twice" in desk.says("Remark")


async def test_an_encrypted_delivery_tells_why_it_is_not_verified(desk: Desk) -> None:
    bad = msgspec.structs.replace(FOUND, trusted=False, chain_error="self-signed certificate")
    diagnosis = diagnose_verification(bad, "preferred", "mx.bank.example")
    desk.logged([OPENED, _secured("preferred", bad, diagnosis=diagnosis), CLOSED])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "Encrypted, not verified."
    assert desk.says("Cause") == "certificate-self-signed"


async def test_a_delivery_in_clear_tells_why_there_was_no_tls(desk: Desk) -> None:
    clear = facts.DeliveryInClear(
        at=AT,
        dcid=12,
        domain="bank.example",
        host="mx.bank.example",
        level="preferred",
        level_from="default",
        diagnosis=diagnose_unavailable("no-starttls", "mx.bank.example"),
        times=TIMES,
    )
    desk.logged([OPENED, clear, CLOSED])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "In clear: TLS was not used."
    assert desk.says("Level") == "preferred"
    assert desk.says("Cause") == "no-starttls"
    assert "diagnosis" not in desk.text


async def test_a_delivery_in_clear_says_so(desk: Desk) -> None:
    desk.logged([OPENED, facts.DeliveryStarted(at=AT, dcid=12, mid=3, rids=(0,)), CLOSED])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "In clear: TLS was not used."
    assert desk.says("Messages") == "MID 3"


async def test_a_host_that_could_not_be_reached_is_explained(desk: Desk) -> None:
    failed = facts.DeliveryFailed(
        at=AT,
        dcid=12,
        domain="bank.example",
        host="mx.bank.example",
        remote_ip="198.51.100.7",
        port=25,
        local_ip="unknown",
        details="timeout",
        reason="connection timed out",
        diagnosis=diagnose_stage("connect", None, "mx.bank.example", reason="timeout", times=TIMES),
        times=TIMES,
    )
    desk.logged([failed])
    await desk.ask("dcid", "12")
    assert desk.says("Outcome") == "The connection failed before TLS."
    assert desk.says("Cause") == "connect-timeout"
    assert "Connection diagnosis: The server mx.bank.example did not answer" in desk.text


# --- receiving --------------------------------------------------------------------------------------------


async def test_a_failed_client_is_explained_with_its_offer_and_the_policy_that_met_it(desk: Desk) -> None:
    offer = ClientOffer(versions=("TLSv1",), ciphers=("TLS_RSA_WITH_AES_128_CBC_SHA",), cipher_count=1)
    fault = TlsFault(kind="local-error", reason="unsupported protocol", offer=offer)
    diagnosis = diagnose_inbound(fault, OurSettings())
    desk.logged([*_came(), facts.InboundTlsFailed(at=AT, icid=7, fault=fault, diagnosis=diagnosis)])
    await desk.ask("icid", "7")
    assert desk.text.startswith("ICID 7: out.example.net [203.0.113.5] at the listener IncomingMail, ")
    assert desk.says("Cause") == "client-too-old"
    assert desk.says("OpenSSL's reason") == "unsupported protocol"
    assert "The client offered TLSv1 with 1 cipher suites" in desk.says("What was seen")
    assert desk.says("Level") == "required"
    assert desk.says("Level from") == "STRICT"
    assert desk.says("Sender group") == "PARTNERS"
    assert desk.says("Matched by") == "203.0.113.0/24"


@pytest.mark.parametrize(
    ("level", "cause"), [("required", "starttls-not-used"), ("preferred", "sender-without-tls")]
)
async def test_a_client_without_tls_where_it_is_required_is_explained(
    desk: Desk, level: str, cause: str
) -> None:
    desk.logged([*_came(level=level), facts.InboundTlsMissing(at=AT, icid=7)])
    await desk.ask("ICID", "7")
    assert desk.says("Outcome") == "Refused: TLS is required here and was not used."
    assert desk.says("Cause") == cause


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (msgspec.structs.replace(TLS13, verified=False), "Encrypted; nobody asked for a certificate."),
        (msgspec.structs.replace(TLS13, peer_subject="CN=a"), "Encrypted and verified."),
        (
            msgspec.structs.replace(TLS13, verified=False, peer_subject="CN=a", verify_error="x"),
            "Encrypted, not verified.",
        ),
    ],
)
async def test_a_client_over_tls_is_told_with_what_its_certificate_was_worth(
    desk: Desk, found: TlsFacts, outcome: str
) -> None:
    desk.logged([*_came(), facts.InboundTlsSucceeded(at=AT, icid=7, facts=found)])
    await desk.ask("icid", "7")
    assert desk.says("Outcome") == outcome


CLIENT_LEAF = msgspec.structs.replace(LEAF, subject="CN=relay.partner.example")


async def test_a_client_that_was_asked_is_told_with_the_lists_that_its_certificate_was_held_against(
    desk: Desk,
) -> None:
    check = ClientCheck(trust=("system list", "custom list"), revocation="no-list", chain=(CLIENT_LEAF,))
    found = msgspec.structs.replace(TLS13, peer_subject="CN=relay.partner.example")
    desk.logged([*_came(), facts.InboundTlsSucceeded(at=AT, icid=7, facts=found, check=check)])
    await desk.ask("icid", "7")
    assert desk.says("Trusted") == "system list, custom list"
    assert desk.says("Revocation") == "no list: not each certificate of the chain has a list in date"
    assert desk.says("Chain").startswith("CN=relay.partner.example, issued by CN=R11, ")
    assert list(desk.value["decision"]["trust"]) == ["system list", "custom list"]
    assert desk.value["check"]["revocation"] == "no-list"
    await desk.ask("icid", "7", "--lang", "nl")
    assert "geen lijst" in desk.text


async def test_a_client_that_was_turned_away_is_told_with_them_too(desk: Desk) -> None:
    check = ClientCheck(trust=("custom list",), revocation="revoked", chain=(CLIENT_LEAF,))
    fault = TlsFault(
        kind="local-error", reason="certificate verify failed", verify_error="certificate revoked"
    )
    desk.logged([*_came(), facts.InboundTlsFailed(at=AT, icid=7, fault=fault, check=check)])
    await desk.ask("icid", "7")
    assert (desk.says("Trusted"), desk.says("Revocation")) == ("custom list", "revoked")


async def test_a_client_that_showed_nothing_though_it_was_asked_is_told_so(desk: Desk) -> None:
    found = msgspec.structs.replace(TLS13, verified=False)
    check = ClientCheck(trust=("system list",))
    desk.logged([*_came(), facts.InboundTlsSucceeded(at=AT, icid=7, facts=found, check=check)])
    await desk.ask("icid", "7")
    assert desk.says("Outcome") == "Encrypted; the client was asked for a certificate and showed none."


async def test_a_client_that_is_taken_without_being_verified_is_told_why_it_is_not(desk: Desk) -> None:
    found = msgspec.structs.replace(TLS13, verified=False, peer_subject="CN=a", verify_error="x")
    why = Diagnosis(cause="authority-unknown", side="theirs", words={"who": "client"})
    event = facts.InboundTlsSucceeded(
        at=AT, icid=7, facts=found, check=ClientCheck(), diagnosis=why, times=TIMES
    )
    desk.logged([*_came(), event])
    await desk.ask("icid", "7")
    assert desk.says("Cause") == "authority-unknown"
    assert desk.says("Seconds").endswith("handshake 0.055")


# --- messages ---------------------------------------------------------------------------------------------


def _story(dcids: Sequence[int]) -> list[Event]:
    """A message that came over TLS and was tried over these connections, delivered by the last."""
    events: list[Event] = [
        *_came(),
        facts.InboundTlsSucceeded(at=AT, icid=7, facts=TLS13),
        facts.MessageStarted(at=AT, mid=3, icid=7, sender="a@example.net"),
        facts.RecipientAccepted(at=AT, mid=3, icid=7, rid=0, recipient="b@bank.example"),
        facts.MessageQueued(at=AT, mid=3, icid=7),
    ]
    for dcid in dcids:
        events.append(msgspec.structs.replace(OPENED, dcid=dcid))
        if dcid != dcids[-1]:
            failed = facts.OutboundTlsFailed(
                at=AT,
                dcid=dcid,
                domain="bank.example",
                host="mx.bank.example",
                required=True,
                reason="unavailable",
                condition="no-starttls",
                diagnosis=diagnose_unavailable("no-starttls", "mx.bank.example"),
                level="required",
            )
            delayed = facts.RecipientDelayed(
                at=AT, dcid=dcid, mid=3, rid=0, sender="a@example.net", recipient="b@bank.example",
                status="4.7.4", reason="x", code="000", lines=(), next_attempt=AT,
            )  # fmt: skip
            events += [failed, delayed]
    last = dcids[-1]
    return [
        *events,
        facts.DeliveryStarted(at=AT, dcid=last, mid=3, rids=(0,)),
        facts.RecipientsDelivered(at=AT, dcid=last, mid=3, rids=(0,), response="ok"),
        facts.MessageFinished(at=AT, mid=3),
        # others, which must not be taken for it
        facts.MessageStarted(at=AT, mid=33, icid=77, sender="other@example.net"),
        msgspec.structs.replace(OPENED, dcid=130),
    ]


async def test_a_message_is_explained_with_all_its_connections(desk: Desk) -> None:
    desk.logged(_story([12, 13]))
    assert (await desk.ask("mid", "3")).status == 0
    assert desk.text.startswith("MID 3: from <a@example.net> to b@bank.example, ")
    assert desk.says("Outcome") == "Recipients delivered: 1, bounced: 0."
    kinds = [(each["kind"], each["number"], each["outcome"]) for each in desk.value["connections"]]
    assert kinds == [("icid", 7, "verified"), ("dcid", 12, "tls-failed"), ("dcid", 13, "clear")]
    assert "other@example.net" not in desk.text


async def test_a_message_that_waits_says_so(desk: Desk) -> None:
    desk.logged(_story([12, 13])[:6])
    await desk.ask("mid", "3")
    assert desk.says("Outcome").endswith("It is still in the queue.")


async def test_of_a_message_with_many_attempts_the_last_connections_are_explained(desk: Desk) -> None:
    desk.logged(_story(range(100, 150)))
    await desk.ask("mid", "3")
    assert len(desk.value["connections"]) == 20
    assert desk.value["connections"][-1]["number"] == 149
    assert desk.says("Connection") == "Of 51 connections the last 20 are told."


# --- what is not there ------------------------------------------------------------------------------------


async def test_a_number_whose_log_is_gone_is_said_to_be_gone(desk: Desk) -> None:
    desk.logged([msgspec.structs.replace(OPENED, dcid=900)])
    ended = await desk.ask("dcid", "12")
    assert ended.status == 1
    assert "The log of DCID 12 is no longer kept: what there is begins with DCID 900" in ended.message
    assert "2026-02-14 19:20:28 UTC" in ended.message


async def test_a_number_that_never_was_is_said_to_be_unknown(desk: Desk) -> None:
    desk.logged([OPENED])
    ended = await desk.ask("dcid", "4711")
    assert "has no DCID 4711: it was never given out, or the log was off" in ended.message


async def test_a_log_without_any_such_number_says_so(desk: Desk) -> None:
    desk.logged([OPENED])
    assert "holds no ICID at all" in (await desk.ask("icid", "1")).message


async def test_a_gateway_without_the_json_log_says_what_to_switch_on(desk: Desk) -> None:
    desk.logged([OPENED], json=False)
    ended = await desk.ask("dcid", "12")
    assert ended.status == 1
    assert "Set json_log = true in [logs]" in ended.message


async def test_a_number_is_no_part_of_another_one(desk: Desk) -> None:
    others = [msgspec.structs.replace(OPENED, dcid=number) for number in (1, 2, 112, 120, 121)]
    desk.logged(others)
    assert (await desk.ask("dcid", "12")).status == 1


async def test_lines_that_can_not_be_read_are_passed_over(desk: Desk) -> None:
    desk.logged([OPENED, _refused(), CLOSED])
    folder = logs_folder(desk.home) / "json_logs"
    broken = (
        b'{"event":"OfALaterRelease","at":1.0,"dcid":12}\n{"event":"DeliveryOpened","dcid":12}\n{"dcid":12,'
    )
    file_path(folder, "json", "20260215T000000", "current").write_bytes(broken)
    assert (await desk.ask("dcid", "12")).status == 0
    assert desk.says("Cause") == "name-mismatch"


async def test_events_in_several_files_are_one_story(desk: Desk) -> None:
    desk.logged([OPENED]).logged([_refused(), CLOSED], stamp="20260215T000000")
    await desk.ask("dcid", "12")
    assert desk.says("Host") == "mx.bank.example [198.51.100.7] 25"
    assert desk.says("Cause") == "name-mismatch"


@pytest.mark.parametrize(
    "words", [("dcid", "0"), ("rid", "1"), ("dcid", "x"), ("dcid",), ("dcid", "1", "--lang", "fr")]
)
async def test_what_is_no_number_of_the_log_is_refused(desk: Desk, words: tuple[str, ...]) -> None:
    desk.logged([OPENED])
    assert (await desk.ask(*words)).status == 2


async def test_what_strangers_wrote_is_put_in_and_not_interpreted(desk: Desk) -> None:
    odd = msgspec.structs.replace(OPENED, host="{number}", domain="{moment}")
    desk.logged([odd])
    assert (await desk.ask("dcid", "12")).status == 0
    assert "{number} [198.51.100.7]" in desk.text
    assert desk.text.startswith("DCID 12: delivery to {moment}, ")
