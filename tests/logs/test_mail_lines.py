"""The mail log's text: the reference's lines, character by character, from events."""

from __future__ import annotations

import calendar
import re
import time
from typing import Any

import pytest

from mxseal.config.model import Logs
from mxseal.events import EVENT_TYPES, Event
from mxseal.events import types as facts
from mxseal.sinks.maillog import SILENT, TABLE, Renderer, one_line
from mxseal.tls.diagnosis import diagnose_stage, diagnose_without_tls
from mxseal.tls.facts import Diagnosis, Observation, TlsFacts, TlsFault

UTC = Logs(time="utc")
AT = 1_771_096_828.5


def at(clock: str) -> float:
    """Seconds since the epoch of a moment on 14 February 2026."""
    return float(calendar.timegm(time.strptime(f"2026-02-14 {clock}", "%Y-%m-%d %H:%M:%S")))


def success(protocol: str, cipher: str) -> TlsFacts:
    return TlsFacts(protocol=protocol, cipher=cipher, bits=256)


def lines(event: Event, logs: Logs = UTC) -> list[str]:
    return Renderer(logs).render(event).decode().splitlines()


def texts(event: Event) -> list[str]:
    """The event's lines without stamp and level."""
    return [line.split(" Info: ", 1)[1] for line in lines(event)]


THE_DOCUMENT = [
    (
        facts.InboundTlsFailed(at=at("19:20:28"), icid=111396123, fault=TlsFault(kind="peer-gone")),
        "Sat Feb 14 19:20:28 2026 Info: ICID 111396123 TLS failed: [Errno 0] Error",
    ),
    (
        facts.InboundTlsFailed(
            at=at("19:20:28"),
            icid=111396456,
            fault=TlsFault(kind="local-error", library="SSL routines", reason="no shared cipher"),
        ),
        (
            "Sat Feb 14 19:20:28 2026 Info: ICID 111396456 TLS failed: "
            "('SSL routines:tls_early_post_process_client_hello:no shared cipher')"
        ),
    ),
    (
        facts.InboundTlsSucceeded(
            at=at("19:14:38"), icid=111395123, facts=success("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")
        ),
        (
            "Sat Feb 14 19:14:38 2026 Info: ICID 111395123 TLS success protocol TLSv1.2 cipher "
            "ECDHE-RSA-AES256-GCM-SHA384"
        ),
    ),
    (
        facts.InboundTlsSucceeded(
            at=at("19:14:41"), icid=111395456, facts=success("TLSv1.3", "TLS_AES_256_GCM_SHA384")
        ),
        (
            "Sat Feb 14 19:14:41 2026 Info: ICID 111395456 TLS success protocol TLSv1.3 cipher "
            "TLS_AES_256_GCM_SHA384"
        ),
    ),
    (
        facts.OutboundTlsSucceeded(
            at=at("19:12:56"),
            dcid=21966123,
            domain="the.cpq.host",
            host="the.cpq.host",
            facts=success("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384"),
        ),
        (
            "Sat Feb 14 19:12:56 2026 Info: DCID 21966123 TLS success protocol TLSv1.2 cipher "
            "ECDHE-RSA-AES256-GCM-SHA384 the.cpq.host"
        ),
    ),
    (
        facts.OutboundTlsSucceeded(
            at=at("19:13:00"),
            dcid=21966456,
            domain="example.com",
            host="mx.example.com",
            facts=success("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
        ),
        (
            "Sat Feb 14 19:13:00 2026 Info: DCID 21966456 TLS success protocol TLSv1.3 cipher "
            "TLS_AES_256_GCM_SHA384"
        ),
    ),
    (
        facts.OutboundTlsFailed(
            at=at("19:58:43"),
            dcid=21967123,
            domain="example.com",
            host="mx.example.com",
            required=True,
            reason="unavailable",
            condition="no-esmtp",
        ),
        (
            "Sat Feb 14 19:58:43 2026 Info: DCID 21967123 TLS failed: TLS required, STARTTLS unavailable, "
            "destination is TLS disabled"
        ),
    ),
    (
        facts.OutboundTlsFailed(
            at=at("20:18:43"),
            dcid=21967124,
            domain="example.com",
            host="mx.example.com",
            required=True,
            reason="verification",
            verify_error="self-signed certificate",
        ),
        ("Sat Feb 14 20:18:43 2026 Info: DCID 21967124 TLS failed: verify error: self signed certificate"),
    ),
    (
        facts.OutboundTlsFailed(
            at=at("20:58:44"),
            dcid=21967456,
            domain="example.com",
            host="mx.example.com",
            required=True,
            reason="unavailable",
            condition="no-starttls",
        ),
        (
            "Sat Feb 14 20:58:44 2026 Info: DCID 21967456 TLS failed: TLS required, STARTTLS unavailable, "
            "destination is TLS disabled"
        ),
    ),
]


@pytest.mark.parametrize(("event", "line"), THE_DOCUMENT)
def test_the_documents_own_tls_lines_come_out_character_by_character(event: Event, line: str) -> None:
    assert lines(event) == [line]


_DIAGNOSIS = Diagnosis(
    cause="only-dhe", side="theirs", words={"who": "client"}, seen=(Observation("client-no-name"),)
)
_DIAGNOSED = (
    "TLS diagnosis: The client offers only Diffie-Hellman over large numbers (DHE), which this gateway does "
    "not serve. It asked for no name. The sender should enable ECDHE suites."
)
_DELAYED: dict[str, Any] = {
    "at": AT,
    "dcid": 8414309,
    "mid": 19410908,
    "rid": 0,
    "sender": "a@x.example",
    "recipient": "b@y.example",
}
_RESET = TlsFault(kind="reset")

GOLDEN: list[tuple[Event, list[str]]] = [
    (
        facts.ConnectionOpened(
            at=AT,
            icid=824108,
            listener="Data 1",
            local_ip="23.90.98.53",
            remote_ip="136.143.188.59",
            remote_port=40000,
            reverse_dns="sender4-of-o59.zoho.com",
            verified=True,
        ),
        [
            (
                "New SMTP ICID 824108 interface Data 1 (23.90.98.53) address 136.143.188.59 "
                "reverse dns host sender4-of-o59.zoho.com verified yes"
            )
        ],
    ),
    (
        facts.ConnectionOpened(
            at=AT,
            icid=3160,
            listener="Data Port",
            local_ip="10.10.1.12",
            remote_ip="10.10.1.5",
            remote_port=40000,
            reverse_dns=None,
            verified=False,
        ),
        [
            (
                "New SMTP ICID 3160 interface Data Port (10.10.1.12) address 10.10.1.5 "
                "reverse dns host unknown verified no"
            )
        ],
    ),
    (
        facts.ConnectionJudged(
            at=AT, icid=3160, verdict="ACCEPT", sender_group=None, match="ALL", policy="ACCEPTED"
        ),
        ["ICID 3160 ACCEPT SG None match ALL SBRS not enabled country not enabled"],
    ),
    (
        facts.ConnectionJudged(
            at=AT,
            icid=0,
            verdict="TCPREFUSE",
            sender_group="BLACKLIST",
            match="192.0.2.0/24",
            policy="BLOCKED",
        ),
        ["ICID 0 TCPREFUSE SG BLACKLIST match 192.0.2.0/24 SBRS not enabled country not enabled"],
    ),
    (
        facts.RejectDelayed(at=AT, icid=824107, remote_ip="10.8.236.135"),
        ["ICID 824107 Delayed HAT REJECT continuing session for recipient logging (10.8.236.135)"],
    ),
    (
        facts.ConnectionRefused(at=AT, icid=5, reason="Too many connections from your host"),
        ["ICID 5 Connection refused: Too many connections from your host"],
    ),
    (
        facts.InboundTlsFailed(at=AT, icid=9, fault=_RESET, diagnosis=_DIAGNOSIS),
        [
            "ICID 9 TLS failed: [Errno 54] Connection reset by peer",
            f"ICID 9 {_DIAGNOSED}",
        ],
    ),
    (
        facts.DeliveryFailed(
            at=AT,
            dcid=5,
            domain="x.example",
            host="mx.x.example",
            remote_ip="192.0.2.9",
            port=25,
            local_ip="192.0.2.1",
            details="timeout",
            reason="connection timed out",
            diagnosis=diagnose_stage("banner", None, "mx.x.example", reason="timeout"),
        ),
        [
            (
                "Connection Error: DCID 5 domain: x.example IP: 192.0.2.9 port: 25 details: timeout "
                "interface: 192.0.2.1 reason: connection timed out"
            ),
            (
                "DCID 5 Connection diagnosis: The server mx.x.example took the connection and sent no "
                "greeting in time. The server is overloaded, or looks this gateway's address up in slow "
                "blocklists: have its administrator look there, and check our reverse DNS."
            ),
        ],
    ),
    (
        facts.InboundTlsMissing(at=AT, icid=8),
        [
            "ICID 8 TLS was required but remote host did not initiate it",
            f"ICID 8 TLS diagnosis: {diagnose_without_tls().sentence()}",
        ],
    ),
    (
        facts.ReceivingFailed(at=AT, icid=9033, mid=None, reason="Message loop"),
        ["ICID 9033 Receiving Failed: Message loop"],
    ),
    (facts.ConnectionLost(at=AT, icid=824107), ["ICID 824107 lost"]),
    (facts.ConnectionClosed(at=AT, icid=824107), ["ICID 824107 close"]),
    (
        facts.MessageStarted(at=AT, mid=14, icid=14, sender="user@domainsample1.com"),
        ["Start MID 14 ICID 14", "MID 14 ICID 14 From: <user@domainsample1.com>"],
    ),
    (
        facts.RecipientAccepted(at=AT, mid=14, icid=14, rid=0, recipient="user@domainsample2.com"),
        ["MID 14 ICID 14 RID 0 To: <user@domainsample2.com>"],
    ),
    (
        facts.RecipientRejected(at=AT, mid=2, icid=7, recipient="ggarner@example.com", by="RAT"),
        ["MID 2 ICID 7 To: <ggarner@example.com> Rejected by RAT"],
    ),
    (
        facts.MessageReceived(
            at=AT,
            mid=14,
            icid=14,
            size=280,
            sender="user@domainsample1.com",
            message_id="20230906131316.23631.70662@esa008.example",
            subject="Testing",
            direction="inbound",
        ),
        [
            "MID 14 Message-ID '20230906131316.23631.70662@esa008.example'",
            'MID 14 Subject "Testing"',
            "MID 14 ready 280 bytes from <user@domainsample1.com>",
            "MID 14 matched all recipients for per-recipient policy DEFAULT in the inbound table",
        ],
    ),
    (
        facts.MessageReceived(
            at=AT, mid=15, icid=14, size=90, sender="", message_id=None, subject=None, direction="outbound"
        ),
        [
            "MID 15 ready 90 bytes from <>",
            "MID 15 matched all recipients for per-recipient policy DEFAULT in the outbound table",
        ],
    ),
    (facts.MessageQueued(at=AT, mid=14, icid=14), ["MID 14 queued for delivery"]),
    (
        facts.MessageAborted(at=AT, mid=14, icid=3, reason="Receiving aborted by sender"),
        ["Message aborted MID 14 Receiving aborted by sender", "Message finished MID 14 done"],
    ),
    (
        facts.DsnGenerated(at=AT, mid=20, about=14, kind="bounce", recipient="a@example.com"),
        [
            "Start MID 20 ICID 0",
            "MID 20 was generated for bounce of MID 14",
            "MID 20 ICID 0 From: <>",
            "MID 20 ICID 0 RID 0 To: <a@example.com>",
        ],
    ),
    (
        facts.DsnGenerated(at=AT, mid=20, about=14, kind="delay", recipient="a@example.com"),
        [
            "Start MID 20 ICID 0",
            "MID 20 was generated based on MID 14 by delay warning",
            "MID 20 ICID 0 From: <>",
            "MID 20 ICID 0 RID 0 To: <a@example.com>",
        ],
    ),
    (
        facts.DeliveryOpened(
            at=AT, dcid=30, domain="d", host="h", local_ip="10.13.102.10", remote_ip="10.13.101.31", port=25
        ),
        ["New SMTP DCID 30 interface 10.13.102.10 address 10.13.101.31 port 25"],
    ),
    (
        facts.OutboundTlsSucceeded(
            at=AT, dcid=30, domain="d", host="h", facts=success("TLSv1.2", "ECDHE-RSA-AES256-SHA384")
        ),
        ["DCID 30 TLS success protocol TLSv1.2 cipher ECDHE-RSA-AES256-SHA384"],
    ),
    (
        facts.OutboundTlsFailed(
            at=AT,
            dcid=4,
            domain="d",
            host="h",
            required=False,
            reason="unexpected-response",
            diagnosis=_DIAGNOSIS,
        ),
        [
            "DCID 4 TLS failed: STARTTLS unexpected response",
            f"DCID 4 {_DIAGNOSED}",
        ],
    ),
    (
        facts.OutboundTlsFailed(
            at=AT,
            dcid=4,
            domain="d",
            host="h",
            required=True,
            reason="handshake",
            fault=TlsFault(kind="peer-gone"),
        ),
        ["DCID 4 TLS failed: [Errno 0] Error"],
    ),
    (
        facts.OutboundTlsFailed(at=AT, dcid=4, domain="d", host="h", required=False, reason="unavailable"),
        [],
    ),
    (
        facts.DeliveryStarted(at=AT, dcid=30, mid=14, rids=(0,)),
        ["Delivery start DCID 30 MID 14 to RID [0]"],
    ),
    (
        facts.RecipientsDelivered(
            at=AT, dcid=30, mid=14, rids=(0, 1), response="2.0.0 OK  1687954632 x - gsmtp"
        ),
        [
            "Message done DCID 30 MID 14 to RID [0, 1]",
            "MID 14 RID [0, 1] Response '2.0.0 OK  1687954632 x - gsmtp'",
        ],
    ),
    (
        facts.RecipientDelayed(
            **_DELAYED,
            status="4.3.2",
            reason="Not accepting messages at this time",
            code="421",
            lines=("4.3.2 try again later",),
            next_attempt=AT + 60,
        ),
        [
            (
                "Delayed: DCID 8414309 MID 19410908 From: <a@x.example> To: <b@y.example> RID 0 - 4.3.2 - "
                "Not accepting messages at this time ('421', ['4.3.2 try again later'])"
            )
        ],
    ),
    (
        facts.RecipientBounced(
            **_DELAYED,
            status="5.4.7",
            reason="Delivery expired (message too old)",
            code="000",
            lines=("timeout",),
        ),
        [
            (
                "Bounced: DCID 8414309 MID 19410908 From: <a@x.example> To: <b@y.example> RID 0 - 5.4.7 - "
                "Delivery expired (message too old) ('000', ['timeout'])"
            )
        ],
    ),
    (
        facts.DoubleBounced(
            at=AT,
            mid=12222130,
            rid=0,
            status="5.1.0",
            reason="Unknown address error",
            code="501",
            lines=("5.5.4 Invalid Address",),
        ),
        ["Double bounce: MID 12222130 to 0 - 5.1.0 - Unknown address error 501-'5.5.4 Invalid Address'"],
    ),
    (
        facts.PossibleDelivery(at=AT, dcid=4641294, mid=8956463, rids=(0,)),
        ["Possible Delivery: DCID: 4641294 MID 8956463 to [0]"],
    ),
    (facts.RecipientsDeleted(at=AT, mid=3, rids=(0,)), ["Deleted: MID 3 to [0]"]),
    (facts.MessageFinished(at=AT, mid=68119155), ["Message finished MID 68119155 done"]),
    (
        facts.DeliveryFailed(
            at=AT,
            dcid=63,
            domain="domainsample2.com",
            host="mx",
            remote_ip="10.13.101.31",
            port=25,
            local_ip="10.10.192.50",
            details="[Errno 0] Error",
            reason="network error",
        ),
        [
            (
                "Connection Error: DCID 63 domain: domainsample2.com IP: 10.13.101.31 port: 25 "
                "details: [Errno 0] Error interface: 10.10.192.50 reason: network error"
            )
        ],
    ),
    (facts.DeliveryClosed(at=AT, dcid=2386069), ["DCID 2386069 close"]),
    (
        facts.GatewayStarted(at=AT, version="0.1.0", revision=7, pid=42),
        ["MXSeal 0.1.0 started, PID 42, configuration 7"],
    ),
    (facts.GatewayStopped(at=AT, pid=42), ["MXSeal stopped, PID 42"]),
    (
        facts.ConfigurationCommitted(at=AT, revision=8, user="admin", comment="Added a route"),
        ["User admin commit changes: Added a route (configuration 8)"],
    ),
    (
        facts.CertificateServed(
            at=AT, listener="IncomingMail", certificate="mx", sha256="AB:CD", expected=True
        ),
        ["Listener IncomingMail serves the certificate mx, SHA-256 AB:CD"],
    ),
]


@pytest.mark.parametrize(("event", "expected"), GOLDEN, ids=lambda value: type(value).__name__)
def test_an_event_is_told_in_the_reference_s_words(event: Event, expected: list[str]) -> None:
    assert texts(event) == expected


def test_trouble_of_the_gateway_itself_has_a_level_that_stands_out() -> None:
    trouble = facts.StorageTrouble(at=AT, what="spool", error="No space left on device")
    wrong = facts.CertificateServed(at=AT, listener="L", certificate="mx", sha256="AB", expected=False)
    assert lines(trouble) == [
        (
            "Sat Feb 14 19:20:28 2026 Critical: Storage trouble: spool: No space left on device. "
            "Mail is answered with 4xx until it recovers."
        )
    ]
    assert " Warning: Listener L serves" in lines(wrong)[0]
    refused = lines(facts.ReloadRefused(at=AT, problem="delivery.ca_file: it is gone"))
    assert refused[0].endswith(
        "Warning: Reload refused, what is in use stays in use: delivery.ca_file: it is gone"
    )
    assert " Warning: Storage recovered: spool." in lines(facts.StorageRecovered(at=AT, what="spool"))[0]


def test_every_kind_of_event_has_its_row_or_is_silent_on_purpose() -> None:
    assert set(TABLE) | SILENT == set(EVENT_TYPES)
    assert not set(TABLE) & SILENT


def test_a_day_below_ten_is_padded_with_a_space() -> None:
    event = facts.ConnectionLost(at=float(calendar.timegm((2023, 9, 6, 13, 13, 16))), icid=1)
    assert lines(event) == ["Wed Sep  6 13:13:16 2023 Info: ICID 1 lost"]


def test_times_are_local_unless_utc_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ-5:30")
    time.tzset()
    try:
        event = facts.ConnectionLost(at=at("19:20:28"), icid=1)
        renderer = Renderer(Logs())
        assert renderer.render(event) == b"Sun Feb 15 00:50:28 2026 Info: ICID 1 lost\n"
        assert b"Time offset from UTC: 19800 seconds\n" in renderer.head("0.1.0", "S", event.at)
        renderer.configure(UTC)
        assert renderer.render(event) == b"Sat Feb 14 19:20:28 2026 Info: ICID 1 lost\n"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_log_hides_what_is_less_important_than_its_level() -> None:
    info, critical = facts.ConnectionLost(at=AT, icid=1), facts.StorageTrouble(at=AT, what="w", error="e")
    for level, shown in (("Critical", 0), ("Warning", 0), ("Info", 1), ("Trace", 1)):
        logs = Logs.model_validate({"level": level})
        assert len(lines(info, logs)) == shown
        assert len(lines(critical, logs)) == 1


def test_subjects_are_left_out_when_they_are_not_to_be_logged() -> None:
    event = facts.MessageReceived(
        at=AT, mid=1, icid=1, size=1, sender="", message_id="<a>", subject="secret", direction="inbound"
    )
    assert not any("secret" in line for line in lines(event, Logs(headers=False)))


def test_a_forged_line_in_a_subject_stays_inside_its_quotes() -> None:
    forged = "x\r\nSat Feb 14 19:20:28 2026 Info: ICID 1 TLS success protocol TLSv1.3"
    event = facts.MessageReceived(
        at=AT, mid=1, icid=1, size=1, sender="", message_id=None, subject=forged, direction="inbound"
    )
    assert lines(event)[0].endswith(
        r'MID 1 Subject "x\r\nSat Feb 14 19:20:28 2026 Info: ICID 1 TLS success protocol TLSv1.3"'
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\u202eb", r"a\u202eb"),
        ("a\u2028b", r"a\u2028b"),
        ("\udce9", r"\xe9"),
        ("\ud800", r"\ud800"),
        ("Grüße\u00a0aus 北京", "Grüße\u00a0aus 北京"),
    ],
)
def test_what_could_mislead_a_reader_is_escaped_and_the_rest_is_left(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("level", "log", "told"),
    [
        ("preferred", "Info", False),
        ("preferred", "Debug", True),
        ("required", "Debug", True),
        ("preferred-verify", "Info", True),
        ("preferred-verify", "Debug", True),
    ],
)
def test_what_is_encrypted_and_not_verified_is_told_where_the_level_verifies_or_the_log_is_at_debug(
    level: str, log: Any, told: bool
) -> None:
    tls = success("TLSv1.3", "TLS_AES_256_GCM_SHA384")
    event = facts.OutboundTlsSucceeded(
        at=AT, dcid=4, domain="x", host="y", facts=tls, level=level, diagnosis=_DIAGNOSIS
    )
    lines = Renderer(Logs(time="utc", level=log)).render(event).decode().splitlines()
    assert "DCID 4 TLS success protocol TLSv1.3" in lines[0]
    assert [line.split(": ", 1)[1] for line in lines[1:]] == ([f"DCID 4 {_DIAGNOSED}"] if told else [])


@pytest.mark.parametrize(
    "search", ["ICID.*TLS failed", "DCID.*TLS failed", "TLS was required", "Connection Error"]
)
def test_a_search_of_years_finds_the_references_line_and_not_the_diagnosis(search: str) -> None:
    found = [line for _, lines in GOLDEN for line in lines if re.search(search, line)]
    assert found
    assert not [line for line in found if "diagnosis" in line]
