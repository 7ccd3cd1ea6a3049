"""Groups of a directory in policies: TLS of deliveries and of what comes in; and header fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.sink import Sink
from lab.slapd import Slapd, group_name
from mxseal.events.directory import LdapMessageRequeued, LdapRecipientActed
from mxseal.events.types import InboundTlsMissing, MessageStarted, RecipientsDelivered
from tests.directory.estate import asking, profile, said
from tests.relay.harness import Running, greeted, keeping, route, running

GROUP = {"name": "LDAP.ldapgroup", "kind": "group", "profile": "LDAP", "filter": "(mail={a})", "nested": True}
STAFF = {"name": "staff", "query": "LDAP.ldapgroup", "group": group_name("Staff")}
MASQUERADE = {
    "name": "LDAP.masquerade",
    "kind": "masquerade",
    "profile": "LDAP",
    "filter": "(mail={a})",
    "address_attribute": "mailRoutingAddress",
}


def document(authority: Authority, port: int, ldap: int, **further: Any) -> dict[str, Any]:
    """Without an accept query. anna is of the staff, through a group in a group; udo is not."""
    made = asking(authority, port, profile(ldap))
    made["listeners"][0] |= {"ldap_accept": None}
    made["ldap_queries"] += [GROUP, MASQUERADE]
    return made | {"ldap_groups": [STAFF]} | further


async def levels(relay: Running, mid: int) -> list[tuple[str, str]]:
    """(level, its origin) of each recipient."""
    queued = await relay.gateway.spool.load(mid)
    assert queued is not None
    found = [relay.gateway.queue.target_of(queued, each) for each in queued.recipients]
    return [(target.tls, target.level_from) for target in found]


async def test_members_of_a_group_get_mail_at_the_level_of_the_group(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    overrides = [
        {"recipient": "udo@example.com", "tls": "off"},
        {"recipient_group": "staff", "tls": "required"},
        {"sender_group": "staff", "tls": "required-verify"},
    ]
    made = document(authority, port, slapd.tls_port, tls_overrides=overrides)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        names = ["anna@example.com", "udo@example.com", "bert@example.com"]
        assert (await client.message(*names)).startswith("250 ")
        await relay.quiet()
        assert await levels(relay, 1) == [
            ("required", "recipient group staff"),
            ("off", "recipient override udo@example.com"),
            ("preferred", "default"),
        ]
        line = "LDAP: Group query LDAP.ldapgroup MID 1 RID 0 address anna@example.com is in staff"
        assert said(relay.lines(), line)
        assert (await client.message("bert@example.com", sender="anna@example.com")).startswith("250 ")
        await relay.quiet()
        assert await levels(relay, 2) == [("required-verify", "sender group staff")]


async def test_a_bounce_for_a_member_of_a_group_has_the_level_of_the_group(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(
        authority, port, slapd.tls_port, tls_overrides=[{"recipient_group": "staff", "tls": "required"}]
    )
    use = {"query": "LDAP.ldapaccept", "at": "work-queue"}
    made["listeners"][0] |= {"ldap_accept": use}
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.message("nobody@example.com", sender="anna@example.com")
        await relay.quiet()
        assert await levels(relay, 2) == [("required", "recipient group staff")]


@pytest.mark.parametrize(
    ("unavailable", "level"), [("defer", ""), ("member", "required"), ("no-member", "preferred")]
)
async def test_without_the_directory_the_message_waits_or_its_people_are_taken_for_members_or_not(
    unavailable: str, level: str, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    override = {"recipient_group": "staff", "tls": "required", "unavailable": unavailable}
    made = document(authority, port, free_port(), tls_overrides=[override])
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        assert (await client.message("anna@example.com")).startswith("250 ")
        await relay.quiet()
        queued = await relay.gateway.spool.load(1)
        assert queued is not None
        if level:
            assert queued.envelope.asks is None
            assert (await levels(relay, 1))[0][0] == level
        else:
            assert queued.envelope.asks is not None
            assert len(relay.told.of(LdapMessageRequeued)) == 1


def over_tls(made: dict[str, Any], **groups: Any) -> dict[str, Any]:
    made["mail_flow_policies"][0] |= groups
    return made


async def test_members_of_a_group_send_and_get_mail_over_tls_only(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = over_tls(
        document(authority, port, slapd.tls_port),
        tls_sender_groups=["staff"],
        tls_recipient_groups=["staff"],
    )
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test")
        refused = await client.say("MAIL FROM:<anna@example.com>")
        assert refused == "530 #5.7.0 This sender must issue a STARTTLS command first"
        assert not relay.told.of(MessageStarted)
        assert (await client.say("MAIL FROM:<udo@example.com>")).startswith("250 ")
        refused = await client.say("RCPT TO:<anna@example.com>")
        assert refused == "530 #5.7.0 Mail for this recipient is taken over TLS only"
        assert (await client.say("RCPT TO:<udo@example.com>")).startswith("250 ")
        assert len(relay.told.of(InboundTlsMissing)) == 1
        assert said(relay.lines(), "To: <anna@example.com> Rejected by TLS")
        await client.secure()
        assert (await client.message("anna@example.com", sender="anna@example.com")).startswith("250 ")
        await client.say("RSET")
        assert (await client.say("MAIL FROM:<>")).startswith("250 ")


@pytest.mark.parametrize(
    ("unavailable", "codes"), [("defer", "451"), ("member", "530"), ("no-member", "250")]
)
async def test_without_the_directory_clients_without_tls_come_again_or_need_tls_or_do_not(
    unavailable: str, codes: str, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    groups = {"tls_sender_groups": ["staff"], "tls_recipient_groups": ["staff"]}
    made = over_tls(document(authority, port, free_port()), **groups, tls_groups_unavailable=unavailable)
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test")
        assert (await client.say("MAIL FROM:<anna@example.com>")).startswith(codes)
        await client.say("RSET", "MAIL FROM:<>")
        assert (await client.say("RCPT TO:<anna@example.com>")).startswith(codes)
        if codes == "451":
            assert said(
                relay.lines(), "Warning: LDAP: ICID 1 address anna@example.com group staff has no answer"
            )


async def test_a_client_that_leaves_while_its_sender_is_looked_up_leaves_nothing(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = over_tls(document(authority, port, slapd.tls_port), tls_sender_groups=["staff"])
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay:
        for _ in range(5):
            async with greeted(port) as client:
                client.send(b"EHLO client.lab.test\r\nMAIL FROM:<udo@example.com>\r\n")
                client.reset()
        async with greeted(port) as client:
            assert (await client.message("bert@example.com")).startswith("250 ")
        assert relay.gateway.spool.count()[0] == 1


CONTENT = (
    b"From: Udo <udo@example.com>\r\nTo: udo@example.com, x@elsewhere.test\r\nCc: udo@example.com\r\n"
    b"Subject: udo@example.com\r\n\r\nudo@example.com\r\n"
)


@pytest.mark.parametrize("size", [0, 100_000])
async def test_addresses_in_the_chosen_header_fields_become_what_the_directory_says(
    size: int, slapd: Slapd, authority: Authority, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd.tls_port) | route(sink.port)
    made["listeners"][0] |= {"ldap_masquerade": {"query": "LDAP.masquerade", "headers": ["from", "to"]}}
    made["mail_flow_policies"][0]["action"] = "relay"
    content = CONTENT + (b"0123456789" * 7 + b"\r\n") * (size // 72)
    async with running(tmp_path / "home", port, made) as relay, greeted(port) as client:
        for sender in ("udo@example.com", "bert@example.com"):
            await client.message("to@elsewhere.test", sender=sender, content=content)
        await relay.told.until(RecipientsDelivered, 2)
        await relay.quiet()
        acts = [(act.mid, act.header, act.to) for act in relay.told.of(LdapRecipientActed)]
        assert sorted(acts) == [
            (1, "", "u@inside.test"),
            (1, "From", "u@inside.test"),
            (1, "To", "u@inside.test"),
            (2, "From", "u@inside.test"),
            (2, "To", "u@inside.test"),
        ]
        assert said(relay.lines(), "MID 1 From: address udo@example.com to u@inside.test")
    expected = content.replace(b"<udo@example.com>", b"<u@inside.test>").replace(
        b"To: udo@example.com", b"To: u@inside.test"
    )
    for message, sender in zip(sink.messages(), ("u@inside.test", "bert@example.com"), strict=True):
        assert message.sender == sender
        assert message.content.partition(b"From: ")[2] == expected.partition(b"From: ")[2]


async def test_a_rewritten_header_is_on_the_spool_with_its_size_and_survives_a_restart(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    made = document(authority, port, slapd.tls_port)
    made["listeners"][0] |= {"ldap_masquerade": {"query": "LDAP.masquerade", "headers": ["cc"]}}
    made["mail_flow_policies"][0]["action"] = "relay"
    async with running(tmp_path / "home", port, made, prepare=keeping) as relay, greeted(port) as client:
        await client.message("to@elsewhere.test", sender="udo@example.com", content=CONTENT)
        await relay.quiet()
        before = await relay.content(1)
    async with running(tmp_path / "home", port, prepare=keeping) as relay:
        queued = await relay.gateway.spool.load(1)
        assert queued is not None
        assert queued.envelope.sender == "u@inside.test"
        assert await relay.content(1) == before
        assert queued.envelope.size == len(before)
        assert b"\r\nCc: u@inside.test\r\n" in before
