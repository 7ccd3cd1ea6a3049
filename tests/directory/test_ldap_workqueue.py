"""The work queue: messages that were acknowledged, and wait for what a directory says of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lab.ca import Authority
from lab.place import free_port
from lab.sink import Sink
from lab.slapd import Slapd
from mxseal.clock import ManualClock, SystemClock
from mxseal.events.directory import LdapMessageRequeued, LdapRecipientActed
from mxseal.events.types import DsnGenerated, MessageFinished, RecipientBounced, RecipientsDelivered
from mxseal.relay.orders import Selection, carry_out
from mxseal.storage.ports import Envelope, Queued, Recipient
from tests.directory.estate import asking, profile, said
from tests.relay.harness import CONTENT, Running, greeted, keeping, route, running


def document(authority: Authority, port: int, away: int, sink: Sink | None = None) -> dict[str, Any]:
    """Recipients are looked up in the work queue; nothing answers at the port `away`."""
    made = asking(authority, port, profile(away), at="work-queue")
    made["ldap_queries"].append(
        {"name": "LDAP.routing", "kind": "routing", "profile": "LDAP", "filter": "(mail={a})"}
    )
    return made | (route(sink.port) if sink is not None else {})


async def now(relay: Running) -> None:
    """As the command delivernow."""
    await carry_out(relay.gateway.queue, "deliver", Selection())


async def test_a_message_waits_until_the_directory_is_back_and_is_then_asked_about(
    slapd: Slapd, authority: Authority, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, free_port(), sink)
    async with running(tmp_path / "home", port, made) as relay, greeted(port) as client:
        names = ["anna@example.com", "nobody@example.com"]
        assert (await client.message(*names)).startswith("250 ok:  Message 1 accepted")
        (waits,) = await relay.told.until(LdapMessageRequeued)
        await relay.quiet()
        assert not relay.told.of(LdapRecipientActed)
        queued = await relay.gateway.spool.load(1)
        assert queued is not None
        assert [each.address for each in queued.recipients] == names
        assert {each.attempts for each in queued.recipients} == {0}
        assert {each.next_attempt for each in queued.recipients} == {waits.next_attempt}
        assert "the directory does not answer" in queued.recipients[0].last_error
        await relay.commit(ldap_profiles=[profile(slapd.tls_port)])
        await now(relay)
        delivered = await relay.told.until(RecipientsDelivered, 2)
        assert {event.mid for event in delivered} == {1, 2}
        assert [(act.action, act.address) for act in relay.told.of(LdapRecipientActed)] == [
            ("bounce", "nobody@example.com")
        ]
    assert sorted(each.recipients for each in sink.messages()) == [("anna@example.com",), ("from@lab.test",)]


async def test_what_waits_for_a_directory_waits_on_behind_a_restart_and_goes_nowhere_unasked(
    slapd: Slapd, authority: Authority, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, free_port(), sink)
    async with running(tmp_path / "home", port, made) as relay, greeted(port) as client:
        await client.message("nobody@example.com", "bert@example.com")
        await relay.told.until(LdapMessageRequeued)
    async with running(tmp_path / "home", port) as relay:
        await now(relay)
        await relay.told.until(LdapMessageRequeued)
        assert not sink.messages()
        await relay.commit(ldap_profiles=[profile(slapd.tls_port)])
        await now(relay)
        await relay.told.until(RecipientsDelivered, 2)
    assert sorted(each.recipients for each in sink.messages()) == [("bert@example.com",), ("from@lab.test",)]


async def test_a_message_is_asked_about_as_a_whole_although_a_part_of_it_is_due(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd.tls_port)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay:
        spool, at = relay.gateway.spool, SystemClock().now()
        incoming = spool.begin()
        incoming.write(CONTENT)
        asks = "received IncomingMail"
        envelope = Envelope(mid=7, sender="from@lab.test", size=len(CONTENT), queued_at=at, asks=asks)
        due = Recipient(rid=0, address="anna@example.com", next_attempt=at)
        later = Recipient(rid=1, address="nobody@example.com", next_attempt=at + 500)
        await incoming.commit(envelope, (due, later))
        queued = Queued(envelope=envelope, recipients=(due,))
        found = await relay.gateway.queue.workqueue.sort(queued, fresh=False)
        assert found is not None
        assert [each.address for each in found[0].recipients] == ["anna@example.com"]
        left = await spool.load(7)
        assert left is not None
        assert left.envelope.asks is None
        assert [each.address for each in left.recipients] == ["anna@example.com"]


async def test_a_message_for_which_no_directory_answers_goes_back_when_it_is_as_old_as_mail_may_be(
    authority: Authority, tmp_path: Path
) -> None:
    port, clock = free_port(), ManualClock(SystemClock().now())
    made = document(authority, port, free_port()) | {"delivery": {"expiry": 3600.0, "delay_warning": 600.0}}
    async with running(tmp_path / "home", port, made, clock) as relay:
        await relay.submit("anna@example.com", asks="received IncomingMail")
        async with asyncio.timeout(30):
            count = 0
            while not relay.told.of(RecipientBounced):
                await asyncio.sleep(0)
                if len(relay.told.of(LdapMessageRequeued)) > count and not relay.gateway.queue.at_work():
                    waits = relay.told.of(LdapMessageRequeued)[count]
                    count += 1
                    assert 1.0 <= waits.next_attempt - clock.now() <= 720.0
                    clock.advance(waits.next_attempt - clock.now() + 0.001)
            await relay.quiet()
        (bounced,) = relay.told.of(RecipientBounced)
        assert bounced.status == "5.4.7"
        assert "the directory does not answer" in bounced.lines[0]
        assert [event.kind for event in relay.told.of(DsnGenerated)] == ["delay", "bounce"]
        assert 1 in [event.mid for event in relay.told.of(MessageFinished)]
        assert await relay.gateway.spool.load(1) is None


async def test_who_asks_no_more_gets_what_waited(authority: Authority, sink: Sink, tmp_path: Path) -> None:
    port = free_port()
    made = document(authority, port, free_port(), sink)
    async with running(tmp_path / "home", port, made) as relay, greeted(port) as client:
        await client.message("anna@example.com")
        await relay.told.until(LdapMessageRequeued)
        (listener,) = made["listeners"]
        await relay.quiet()
        await relay.commit(listeners=[listener | {"ldap_accept": None}])
        await now(relay)
        await relay.told.until(RecipientsDelivered)
    assert said([str(each.recipients) for each in sink.messages()], "anna@example.com")


async def test_a_known_answer_is_taken_before_the_acknowledgement(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd.tls_port)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.message("anna@example.com")
        await relay.quiet()
        relay.gateway.queue.workqueue.configure(relay.gateway.queue.document, lambda _name: None)
        await client.message("anna@example.com")
        queued = await relay.gateway.spool.load(2)
        assert queued is not None
        assert queued.envelope.asks is None
