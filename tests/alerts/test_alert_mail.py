"""Alerts by mail against real servers: the own way, its lines in the mail log, attempts by the clock."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable
from typing import Any

from lab.ca import Issued
from lab.hostile import Hostile
from lab.knot import Knot
from lab.postfix import Postfix
from lab.postfix import Settings as PostfixSettings
from lab.script import Behaviour
from lab.sink import Sink
from mxseal.alerts.outbox import WAITS
from mxseal.clock import SystemClock
from mxseal.config.model import Dns
from mxseal.events.types import AlertFailed, AlertMailGivenUp, AlertMailRefused, AlertSent
from mxseal.relay.resolver import DnsFault, DnsResolver, Host
from tests.alerts.desk import ADMIN, Desk
from tests.conftest import Starter

TO_ADMIN = {"recipients": [{"address": ADMIN}]}
SUBJECT = (
    "Warning <System> esa.example.com: TLS connection to partner.example was required but could not be "
    "established: STARTTLS unexpected response"
)


def desk_to(*hosts: tuple[str, int], alerts: dict[str, Any] | None = None, **document: Any) -> Desk:
    """A desk whose administrator's exchangers are these, tried in order."""
    desk = Desk(alerts=alerts or TO_ADMIN, **document)
    desk.names.known["example.com"] = tuple(
        Host(f"mx{n}.example.com", port, (address,)) for n, (address, port) in enumerate(hosts)
    )
    return desk


async def test_an_alert_reaches_a_mail_server_over_tls_with_the_reference_s_lines(sink: Sink) -> None:
    async with desk_to(sink.address) as desk:
        await desk.fail()
        await desk.told.until(AlertSent)
        assert desk.lines()[1:] == [
            (
                f"Info: Internal SMTP system attempting to send a message to {ADMIN} with subject "
                f"'{SUBJECT}' (attempt #0)."
            ),
            f"Info: Internal SMTP system successfully sent a message to {ADMIN} with subject '{SUBJECT}'.",
            f'Info: A System/Warning alert was sent to {ADMIN} with subject "{SUBJECT}".',
        ]
    (message,) = sink.messages()
    assert (message.sender, message.recipients) == ("alert@esa.example.com", (ADMIN,))
    assert sink.taken[0].tls is not None
    parsed = email.message_from_bytes(message.content, policy=email.policy.default)
    assert parsed["From"] == "alert@esa.example.com"
    assert parsed["To"] == ADMIN
    assert parsed["Subject"] == SUBJECT
    assert parsed["Auto-Submitted"] == "auto-generated"
    assert parsed["Message-ID"].endswith("@esa.example.com>")
    assert "Domain:           partner.example" in parsed.get_content()


async def test_postfix_takes_an_alert(
    postfix: Callable[[PostfixSettings], Postfix],
) -> None:
    server = postfix(PostfixSettings(domains=("example.com",)))
    async with desk_to(server.address) as desk:
        await desk.fail()
        await desk.told.until(AlertSent)
        assert desk.told.of(AlertFailed) == []
    (message,) = server.wait()
    assert SUBJECT[:60].encode() in message.content.replace(b"\r\n ", b" ").replace(b"\n ", b" ")


async def test_a_server_whose_tls_fails_gets_the_alert_in_clear_text(
    hostile: Callable[..., Hostile], issue: Callable[..., Issued]
) -> None:
    server = hostile(Behaviour(handshake="garbage"), certificate=issue("mx.example.com"))
    async with desk_to(server.address) as desk:
        await desk.fail()
        await desk.told.until(AlertSent)
        told = [line for line in desk.lines() if "plain text" in line]
    assert len(told) == 1
    assert told[0].startswith("Warning: TLS connection failed because of (")
    assert told[0].endswith(f"Alert message is sent in plain text to {ADMIN}")
    assert server.taken[0].tls is None


async def test_a_host_that_refuses_the_connection_is_passed_over(sink: Sink, running: Starter) -> None:
    gone = running(Sink)
    gone.stop()
    async with desk_to(gone.address, sink.address) as desk:
        await desk.fail()
        await desk.told.until(AlertSent)
        told = [line for line in desk.lines() if line.startswith("Warning: Internal")]
    assert told == [
        (
            f"Warning: Internal SMTP Error: Failed to send message to host 127.0.0.1:{gone.port} for "
            f"recipient {ADMIN}: network error: [Errno 61] Connection refused."
        )
    ]


async def test_a_recipient_that_is_refused_for_good_is_given_up_at_once(
    hostile: Callable[..., Hostile],
) -> None:
    server = hostile(Behaviour(replies={"RCPT": "553 #5.1.8 Domain of sender address does not exist"}))
    async with desk_to(server.address) as desk:
        await desk.fail()
        await desk.told.until(AlertFailed)
        assert desk.lines()[2:] == [
            (
                f"Warning: Internal SMTP Error: Failed to send message to host 127.0.0.1:{server.port} for "
                f'recipient {ADMIN}: Unexpected SMTP response "553", expecting code starting with "2", '
                "response was ['#5.1.8 Domain of sender address does not exist']."
            ),
            (
                f"Critical: Internal SMTP giving up on message to {ADMIN} with subject '{SUBJECT}': "
                "Unrecoverable error."
            ),
            (
                f"Critical: Error while sending alert: Unable to send System/Warning alert to {ADMIN} with "
                f'subject "{SUBJECT}".'
            ),
        ]


async def test_a_server_that_is_busy_is_tried_again_by_the_clock_until_it_takes_the_alert(
    hostile: Callable[..., Hostile],
) -> None:
    server = hostile(Behaviour(replies={"RCPT": "451 4.7.1 later"}, connections=2))
    async with desk_to(server.address) as desk:
        await desk.fail()
        for attempt, wait in enumerate(WAITS[:2], 1):
            await desk.told.until(AlertMailRefused, attempt)
            await desk.settle()
            await desk.pass_time(wait)
        await desk.told.until(AlertSent)
        assert [line[-13:] for line in desk.lines() if "attempt #" in line] == [
            f"(attempt #{n})." for n in range(3)
        ]
    assert len(server.messages()) == 1


async def test_a_server_that_stays_busy_is_given_up_after_the_last_attempt(
    hostile: Callable[..., Hostile],
) -> None:
    server = hostile(Behaviour(replies={"MAIL": "421 4.3.2 not now"}))
    async with desk_to(server.address) as desk:
        await desk.fail()
        for attempt, wait in enumerate(WAITS, 1):
            await desk.told.until(AlertMailRefused, attempt)
            await desk.settle()
            await desk.pass_time(wait)
        (given_up,) = await desk.told.until(AlertMailGivenUp)
        assert given_up.reason == "Too many attempts"
        assert len(desk.told.of(AlertMailRefused)) == len(WAITS) + 1


async def test_an_smtp_route_leads_alerts_too(sink: Sink) -> None:
    async with desk_to(smtp_routes={"example.com": [f"127.0.0.1:{sink.port}"]}) as desk:
        await desk.fail()
        await desk.told.until(AlertSent)
        assert desk.names.asked == []
    assert len(sink.messages()) == 1


async def test_a_domain_whose_exchanger_is_this_gateway_is_told_with_the_remedy() -> None:
    desk = Desk(alerts=TO_ADMIN)
    desk.names.known["example.com"] = (Host("esa.example.com", 25, ("127.0.0.1",)),)
    async with desk:
        await desk.fail()
        (refused,) = await desk.told.until(AlertMailRefused)
    assert "give example.com a route" in refused.reason


async def test_addresses_are_remembered_for_half_an_hour_and_longer_when_dns_is_down(sink: Sink) -> None:
    async with desk_to(sink.address, alerts=TO_ADMIN | {"first_wait": 0}) as desk:
        for sent, wait in enumerate((1700.0, 200.0, 0.0), 1):
            await desk.fail()
            await desk.told.until(AlertSent, sent)
            await desk.pass_time(wait)
        assert desk.names.asked == ["example.com"] * 2
        desk.names.known["example.com"] = DnsFault(False, "4.4.3", "time-out")
        await desk.pass_time(1801)
        await desk.fail()
        await desk.told.until(AlertSent, 4)
    assert len(sink.messages()) == 4


async def test_exchangers_are_found_by_plain_dns(sink: Sink, knot: Callable[..., Knot]) -> None:
    zone = knot({"example.com": "@ MX 10 mx\nmx A 127.0.0.1"})
    desk = Desk(alerts=TO_ADMIN)
    resolver = DnsResolver(Dns(servers=("{}:{}".format(*zone.address),), allow_local=True), SystemClock())
    hosts = await resolver.hosts("example.com", sink.port)
    assert not isinstance(hosts, DnsFault)
    desk.names.known["example.com"] = hosts
    async with desk:
        await desk.fail()
        await desk.told.until(AlertSent)
    assert len(sink.messages()) == 1


async def test_each_gets_the_classes_and_severities_of_the_subscription(sink: Sink) -> None:
    recipients = [
        {"address": "all@example.com"},
        {"address": "system@example.com", "classes": ["system"], "severities": ["warning", "critical"]},
        {"address": "storage@example.com", "classes": ["storage"]},
        {"address": "critical@example.com", "severities": ["critical"]},
    ]
    async with desk_to(sink.address, alerts={"recipients": recipients}) as desk:
        await desk.fail()
        sent = await desk.told.until(AlertSent, 2)
        assert {event.to for event in sent} == {"all@example.com", "system@example.com"}
    assert len(sink.wait(2)) == 2


async def test_a_stop_gives_up_what_is_on_its_way_and_says_so(hostile: Callable[..., Hostile]) -> None:
    server = hostile(Behaviour(replies={"RCPT": "451 4.7.1 later"}))
    async with desk_to(server.address) as desk:
        await desk.fail()
        await desk.told.until(AlertMailRefused)
        await desk.settle()
    (failed,) = desk.told.of(AlertFailed)
    assert failed.reason == "the gateway stops"


async def test_addresses_beyond_ascii_and_a_from_address_of_ones_own_are_taken(sink: Sink) -> None:
    alerts = {"recipients": [{"address": "prüfer@exämple.com"}], "from_address": "noc@example.net"}
    desk = Desk(alerts=alerts)
    desk.names.known["xn--exmple-cua.com"] = (Host("mx", sink.port, ("127.0.0.1",)),)
    async with desk:
        await desk.fail()
        await desk.told.until(AlertSent)
    (message,) = sink.messages()
    assert message.sender == "noc@example.net"
    assert message.recipients == ("prüfer@xn--exmple-cua.com",)
