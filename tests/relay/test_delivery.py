"""Deliveries: every answer of a next hop has its outcome, and nothing is delivered twice or lost."""

from __future__ import annotations

import email
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import cast

import pytest

from lab.hostile import Hostile
from lab.knot import Knot
from lab.place import free_port
from lab.script import Behaviour
from mxseal.clock import ManualClock
from mxseal.events.types import (
    DeliveryClosed,
    DeliveryFailed,
    DeliveryOpened,
    DeliveryStarted,
    DoubleBounced,
    DsnGenerated,
    MessageFinished,
    OutboundTlsSucceeded,
    PossibleDelivery,
    RecipientBounced,
    RecipientDelayed,
    RecipientsDeleted,
    RecipientsDelivered,
)
from mxseal.relay.orders import Selection, delete, deliver_now
from tests.relay.harness import CONTENT, route, running

START = Callable[..., Hostile]


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("mail-451", "4.3.0"),
        ("rcpt-450", "4.2.1"),
        ("data-451", "4.3.0"),
        ("end-452", "4.3.1"),
        ("banner-421", "4.3.2"),
        ("banner-554", "4.3.2"),
        ("banner-closes", "4.4.2"),
        ("banner-garbage", "4.4.2"),
        ("banner-endless", "4.4.2"),
        ("ehlo-garbage", "4.4.2"),
        ("ehlo-mixed-codes", "4.4.2"),
        ("ehlo-closes-in-tls", "4.4.2"),
        ("mail-closes", "4.4.2"),
        ("rcpt-resets", "4.4.2"),
    ],
)
async def test_a_temporary_refusal_keeps_the_message_for_later(
    behaviour: str, status: str, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(behaviour)
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        mid = await relay.submit("to@example.com")
        (delayed,) = await relay.told.until(RecipientDelayed)
        assert delayed.status == status
        await relay.quiet()
        queued = await relay.gateway.spool.load(mid)
        assert queued is not None
        assert 50 <= queued.recipients[0].next_attempt - relay.gateway.clock.now() <= 70


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ("mail-550", "5.7.1"),
        ("rcpt-550", "5.1.1"),
        ("data-554", "5.5.1"),
        ("end-554", "5.6.0"),
        ("small", "5.3.4"),
    ],
)
async def test_a_permanent_refusal_bounces_to_the_sender(
    behaviour: str, status: str, hostile: START, tmp_path: Path
) -> None:
    hop = hostile(behaviour)
    content = CONTENT + b"x" * 70 * 20 + b"\r\n"
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        mid = await relay.submit("to@example.com", content=content)
        (bounced,) = await relay.told.until(RecipientBounced)
        assert (bounced.status, bounced.mid) == (status, mid)
        hop.behaviour = Behaviour()
        (dsn,) = await relay.told.until(DsnGenerated)
        assert dsn.about == mid
        finished = await relay.told.until(MessageFinished, 1)
        assert finished[0].mid in {mid, dsn.mid}


async def test_the_bounce_is_a_delivery_status_notification_with_the_original(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile(Behaviour(replies={"RCPT:gone@example.com": "550 5.1.1 no such user"}))
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        mid = await relay.submit("gone@example.com", "there@example.com")
        await relay.told.until(MessageFinished, 2)
        ordinary, notice = sorted(hop.taken, key=lambda taken: taken.sender == "")
        assert ordinary.recipients == ("there@example.com",)
        assert ordinary.content == CONTENT
        assert (notice.sender, notice.recipients) == ("", ("from@lab.test",))
        report = email.message_from_bytes(notice.content)
        assert report.get_content_type() == "multipart/report"
        text, status, original = cast("list[Message]", report.get_payload())
        assert "no such user" in cast("bytes", text.get_payload(decode=True)).decode()
        fields = [dict(part.items()) for part in cast("list[Message]", status.get_payload())]
        assert fields[1]["Final-Recipient"] == "rfc822; gone@example.com"
        assert (fields[1]["Action"], fields[1]["Status"]) == ("failed", "5.1.1")
        assert original.get_content_type() == "message/rfc822"
        assert [event.rids for event in relay.told.of(RecipientsDelivered) if event.mid == mid] == [(1,)]


async def test_no_notification_is_sent_about_a_notification(hostile: START, tmp_path: Path) -> None:
    hop = hostile("rcpt-550")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        mid = await relay.submit("gone@example.com", sender="")
        (double,) = await relay.told.until(DoubleBounced)
        await relay.told.until(MessageFinished)
        assert double.mid == mid
        assert not relay.told.of(DsnGenerated)


async def test_a_lost_answer_is_told_and_the_message_is_tried_again(hostile: START, tmp_path: Path) -> None:
    hop = hostile("end-closes")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit("to@example.com")
        (possible,) = await relay.told.until(PossibleDelivery)
        await relay.told.until(RecipientDelayed)
        assert possible.rids == (0,)


async def test_a_host_that_is_down_delays_all_that_waits_for_it_and_the_next_host_takes_over(
    hostile: START, tmp_path: Path
) -> None:
    closed, hop = free_port(), hostile("trickles")
    async with running(tmp_path / "home", free_port(), route(closed)) as relay:
        for _ in range(5):
            await relay.submit("to@example.com")
        delayed = await relay.told.until(RecipientDelayed, 5)
        assert all("[Errno 61] Connection refused" in event.lines[0] for event in delayed)
        assert relay.told.of(DeliveryFailed)[0].reason == "network error"
    async with running(tmp_path / "home2", free_port(), route(closed, hop.port)) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished)


async def test_retries_back_off_and_end_with_expiry(hostile: START, tmp_path: Path) -> None:
    clock, hop = ManualClock(), hostile("rcpt-450")
    controls = route(hop.port, expiry=600.0, first_retry=60.0, longest_retry=240.0)
    async with running(tmp_path / "home", free_port(), controls, clock) as relay:
        start = clock.now()
        await relay.submit("to@example.com")
        times = []
        for count in range(1, 6):
            delayed = (await relay.told.until(RecipientDelayed, count))[-1]
            await relay.quiet()
            times.append(delayed.next_attempt - start)
            if relay.told.of(RecipientBounced) or delayed.next_attempt >= start + 600:
                break
            clock.advance(delayed.next_attempt - clock.now() + 0.01)
        assert times == sorted(times)
        assert 54 <= times[0] <= 66
        assert times[-1] <= 600.001
        clock.advance(700)
        (bounced,) = await relay.told.until(RecipientBounced)
        assert bounced.status == "5.4.7"
        assert "mailbox busy" in bounced.lines[0]


async def test_a_late_message_is_warned_about_once(hostile: START, tmp_path: Path) -> None:
    clock = ManualClock()
    hop = hostile(Behaviour(replies={"RCPT:to@example.com": "450 4.2.1 busy"}))
    controls = route(hop.port, delay_warning=100.0)
    async with running(tmp_path / "home", free_port(), controls, clock) as relay:
        await relay.submit("to@example.com")
        for count in range(1, 5):
            await relay.told.until(RecipientDelayed, count)
            await relay.quiet()
            clock.advance(4000)
        await relay.told.until(RecipientDelayed, 5)
        assert [event.kind for event in relay.told.of(DsnGenerated)] == ["delay"]


async def test_connections_are_used_again_up_to_the_limit(hostile: START, tmp_path: Path) -> None:
    hop = hostile("tls-1.2-only")
    controls = route(hop.port)
    controls["destinations"][0] |= {"messages_per_connection": 3, "concurrency": 1}
    async with running(tmp_path / "home", free_port(), controls) as relay:
        for _ in range(7):
            await relay.submit("to@example.com")
        await relay.told.until(MessageFinished, 7)
        await relay.told.until(DeliveryClosed, 3)
        per_connection: dict[int, int] = {}
        for event in relay.told.of(DeliveryStarted):
            per_connection[event.dcid] = per_connection.get(event.dcid, 0) + 1
        assert sorted(per_connection.values()) == [1, 3, 3]
        assert len(relay.told.of(OutboundTlsSucceeded)) == 3


async def test_an_idle_connection_that_the_peer_closed_costs_no_attempt(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile(Behaviour(drop={"MAIL": "close"}, connections=0))
    controls = route(hop.port, idle_time=30.0)
    async with running(tmp_path / "home", free_port(), controls) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished)
        for talking in list(hop._talking.values()):
            talking.close()
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished, 2)
        assert not relay.told.of(RecipientDelayed)


async def test_recipients_of_one_message_for_one_way_share_a_transaction(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("tls-1.2-only")
    recipients = [f"u{i}@d{i % 10}.example" for i in range(20)]
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit(*recipients)
        await relay.told.until(MessageFinished)
        assert len(relay.told.of(DeliveryOpened)) == 1
        assert hop.taken[0].recipients == tuple(recipients)


async def test_an_address_that_needs_smtputf8_bounces_where_it_is_not_offered(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("no-smtputf8")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit("jörg@example.com", smtputf8=True)
        (bounced,) = await relay.told.until(RecipientBounced)
        assert bounced.status == "5.6.7"


@pytest.mark.parametrize("size", [100, 70_000, 3_000_000])
async def test_content_arrives_byte_for_byte_whatever_its_size(
    size: int, hostile: START, tmp_path: Path
) -> None:
    hop = hostile("tls-1.2-only")
    line = b"." + b"0123456789" * 7 + b"\r\n"
    content = b"Subject: big\r\n\r\n" + (line * (size // len(line) + 1))
    async with running(tmp_path / "home", free_port(), route(hop.port, tls="required")) as relay:
        await relay.submit("to@example.com", content=content)
        await relay.told.until(MessageFinished)
        assert hop.taken[0].content == content


async def test_suspended_deliveries_wait_and_go_on_when_resumed(hostile: START, tmp_path: Path) -> None:
    hop = hostile("tls-1.2-only")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        relay.gateway.queue.suspend()
        await relay.submit("to@example.com")
        assert relay.gateway.queue.at_work() == 0
        relay.gateway.queue.resume()
        await relay.told.until(MessageFinished)


async def test_waiting_recipients_can_be_tried_now_or_deleted(hostile: START, tmp_path: Path) -> None:
    hop = hostile("rcpt-450")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        first = await relay.submit("to@example.com", "to@example.org")
        await relay.told.until(RecipientDelayed, 2)
        await relay.told.until(DeliveryClosed)  # a connection keeps the behaviour that it began with
        hop.behaviour = Behaviour()
        assert await deliver_now(relay.gateway.queue, Selection(which="example.com")) == 1
        delivered = await relay.told.until(RecipientsDelivered)
        assert delivered[0].rids == (0,)
        await relay.quiet()
        assert await delete(relay.gateway.queue, Selection(mids=(first,))) == 1
        assert relay.told.of(RecipientsDeleted)[0].rids == (1,)
        assert relay.gateway.spool.count() == (0, 0)


async def test_what_waits_is_delivered_after_a_restart(hostile: START, tmp_path: Path) -> None:
    hop = hostile("tls-1.2-only")
    controls = route(hop.port)
    async with running(tmp_path / "home", free_port(), controls) as relay:
        relay.gateway.queue.suspend()
        for _ in range(3):
            await relay.submit("to@example.com")
    async with running(tmp_path / "home", free_port(), controls) as relay:
        await relay.told.until(MessageFinished, 3)
        assert len(hop.taken) == 3


async def test_a_silent_next_hop_costs_its_time_out_and_no_more(hostile: START, tmp_path: Path) -> None:
    clock, hop = ManualClock(), hostile("banner-silent")
    async with running(tmp_path / "home", free_port(), route(hop.port), clock) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(DeliveryOpened)
        clock.advance(5.0)
        (failed,) = await relay.told.until(DeliveryFailed)
        assert (failed.details, failed.reason) == ("timeout", "connection timed out")


async def test_mail_for_a_domain_whose_exchanger_is_this_gateway_does_not_go_in_circles(
    knot: Callable[..., Knot], tmp_path: Path
) -> None:
    names = knot({"lab.test": "@ MX 10 mx\n@ MX 20 backup\nmx A 127.0.0.1\nbackup A 127.0.0.1\n"})
    controls = {"dns": {"servers": [f"127.0.0.1:{names.port}"], "allow_local": True}}
    async with running(tmp_path / "home", free_port(), controls) as relay:
        await relay.submit("to@lab.test", sender="")
        (bounced,) = await relay.told.until(DoubleBounced)
        assert bounced.status == "5.4.6"
        assert "this gateway itself" in bounced.lines[0]
        assert not relay.told.of(DeliveryOpened)
