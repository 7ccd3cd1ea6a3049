"""What directories change of a message at its end: unknown recipients, routes, the sender."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.sink import Sink
from lab.slapd import Slapd
from mxseal.events.directory import LdapMessageDeferred, LdapMessageRequeued, LdapRecipientActed
from mxseal.events.types import MessageFinished, MessageQueued, RecipientBounced, RecipientsDelivered
from tests.directory.estate import asking, profile, said
from tests.relay.harness import greeted, keeping, route, running


def document(authority: Authority, port: int, slapd: Slapd, **uses: Any) -> dict[str, Any]:
    """Asks at the end of each message."""
    made = asking(authority, port, profile(slapd.tls_port), at="work-queue")
    made["ldap_queries"] += [
        {"name": "LDAP.routing", "kind": "routing", "profile": "LDAP", "filter": "(mail={a})"},
        {
            "name": "LDAP.masquerade",
            "kind": "masquerade",
            "profile": "LDAP",
            "filter": "(mail={a})",
            "address_attribute": "mailRoutingAddress",
        },
    ]
    made["listeners"][0] |= uses
    return made


@pytest.mark.parametrize("no_match", ["bounce", "drop"])
async def test_unknown_recipients_are_bounced_or_dropped_once_the_message_was_taken(
    no_match: str, slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    accept = {"query": "LDAP.ldapaccept", "at": "work-queue", "no_match": no_match}
    made = document(authority, port, slapd, ldap_accept=accept)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        names = ["anna@example.com", "nobody@example.com", "bert@example.com", "noone@example.com"]
        assert (await client.message(*names)).startswith("250 ok:  Message 1 accepted")
        await relay.quiet()
        acted = relay.told.of(LdapRecipientActed)
        assert [(act.action, act.rid, act.address) for act in acted] == [
            (no_match, 1, "nobody@example.com"),
            (no_match, 3, "noone@example.com"),
        ]
        bounced = [event.rid for event in relay.told.of(RecipientBounced)]
        assert bounced == ([1, 3] if no_match == "bounce" else [])
        left = await relay.gateway.spool.load(1)
        assert left is not None
        assert [each.address for each in left.recipients] == ["anna@example.com", "bert@example.com"]
        notice = await relay.gateway.spool.load(2)
        assert (notice is not None) == (no_match == "bounce")
        if notice is not None:
            content = await relay.content(2)
            assert content.count(b"Final-Recipient: ") == 2
            assert b"Status: 5.1.0" in content
            assert [each.address for each in notice.recipients] == ["from@lab.test"]
        line = f"LDAP: {no_match.capitalize()} query LDAP.ldapaccept MID 1 RID 1 address nobody@example.com"
        assert said(relay.lines(), line)


async def test_a_message_to_nobody_who_is_known_is_gone_when_it_was_bounced(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        assert (await client.message("nobody@example.com")).startswith("250 ")
        await relay.quiet()
        assert await relay.gateway.spool.load(1) is None
        assert [event.mid for event in relay.told.of(MessageFinished)] == [1]
        assert relay.gateway.spool.count()[0] == 1


async def test_mail_goes_to_the_host_and_address_that_the_directory_names(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd, ldap_accept=None, ldap_routing={"query": "LDAP.routing"})
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        assert (await client.message("udo@example.com", "bert@example.com")).startswith("250 ")
        await relay.quiet()
        queued = await relay.gateway.spool.load(1)
        assert queued is not None
        assert [each.address for each in queued.recipients] == ["u@inside.test", "bert@example.com"]
        (act,) = relay.told.of(LdapRecipientActed)
        assert (act.action, act.to) == ("reroute", "u@inside.test")


async def test_a_route_of_a_recipient_survives_on_the_spool_and_is_taken(
    slapd: Slapd, authority: Authority, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd, ldap_accept=None, ldap_routing={"query": "LDAP.routing"})
    made |= route(sink.port)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.message("udo@example.com")
        await relay.quiet()
        queued = await relay.gateway.spool.load(1)
        assert queued is not None
        assert queued.recipients[0].route == "127.0.0.1:25"
        target = relay.gateway.queue.target_of(queued, queued.recipients[0])
        assert target.hosts == (("127.0.0.1", 25),)
        queued.recipients[0].route = f"127.0.0.1:{sink.port}"
        relay.gateway.queue.suspended = False
        relay.gateway.queue.add(queued)
        (done,) = await relay.told.until(RecipientsDelivered)
        assert done.mid == 1
        assert said(relay.lines(), "address udo@example.com to [('u@inside.test', '127.0.0.1')]")
    assert sink.messages()[0].recipients == ("u@inside.test",)


async def test_the_envelope_sender_of_mail_from_inside_becomes_what_the_directory_says(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd, ldap_masquerade={"query": "LDAP.masquerade"})
    made["mail_flow_policies"][0]["action"] = "relay"
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        for sender, became in (
            ("udo@example.com", "u@inside.test"),
            ("other@example.com", "other@example.com"),
        ):
            assert (await client.message("to@elsewhere.test", sender=sender)).startswith("250 ")
            await relay.quiet()
            mid = len(relay.told.of(MessageQueued))
            queued = await relay.gateway.spool.load(mid)
            assert queued is not None
            assert queued.envelope.sender == became
        line = "LDAP: Masquerade query LDAP.masquerade MID 1 address udo@example.com to u@inside.test"
        assert said(relay.lines(), line)


@pytest.mark.parametrize(
    ("at", "unavailable"), list(product(["conversation", "work-queue"], ["defer", "accept"]))
)
async def test_without_a_directory_a_message_stays_with_the_client_or_in_the_queue_or_goes_on(
    at: str, unavailable: str, slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    kept = (at, unavailable) != ("conversation", "defer")
    reply = "250 ok:  Message " if kept else "451 #4.4.3 "
    routing = {"query": "LDAP.routing", "at": at, "unavailable": unavailable}
    made = document(authority, port, slapd, ldap_accept=None, ldap_routing=routing)
    made["ldap_profiles"] = [profile(free_port())]
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        for count in (1, 2):
            assert (await client.message("anna@example.com", "nobody@example.com")).startswith(reply)
            await relay.quiet()
            waits = kept and unavailable == "defer"
            assert len(relay.told.of(LdapMessageDeferred)) == count * (not kept)
            assert len(relay.told.of(LdapMessageRequeued)) == count * waits
            assert relay.gateway.spool.count()[0] == count * kept
            queued = await relay.gateway.spool.load(count)
            assert (queued.envelope.asks if queued else None) == ("received IncomingMail" if waits else None)
        assert not relay.told.of(LdapRecipientActed)
        if waits:
            assert said(relay.lines(), "Warning: LDAP: unable to process, MID 1 requeued: ", "refused")
            assert said(relay.lines(), "Warning: LDAP: unable to process, MID 2 requeued: ", "no server of")
