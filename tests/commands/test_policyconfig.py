"""`policyconfig`: mail flow policies, sender groups and domains that mail is taken for; on the candidate."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.commands import configuration, hostaccess, policyconfig, sendergroups
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.config.model import MailFlowPolicy, PolicyLimits, RecipientAccess, SenderGroup
from mxseal.tls.receiving import LEVELS, WORDS
from tests.commands.desk import Desk

COMMANDS = Registry((policyconfig, sendergroups, hostaccess, configuration))
POLICY = ("policyconfig", "policy")
GROUP = ("policyconfig", "group")
DOMAINS = ("policyconfig", "domains")


def desk(role: Role = "operator", **given: Any) -> Desk:
    made = Desk(COMMANDS, role, **given)
    access = RecipientAccess(domains=("example.com", ".example.com"))
    made.services.edit(made.context.owner, recipient_access=access)
    return made


def policy(made: Desk, name: str) -> MailFlowPolicy:
    return made.document.policy(name)


def group(made: Desk, name: str) -> SenderGroup:
    return next(each for each in made.document.sender_groups if each.name == name)


def order(made: Desk) -> list[str]:
    return [each.name for each in made.document.sender_groups]


# --- policies ---------------------------------------------------------------------------------------------


async def test_a_policy_is_made_with_all_it_can_say_and_given_to_hosts_by_a_group() -> None:
    made = desk()
    await made.ok(*POLICY, "new", "TLSONLY", "--action", "accept", "--tls", "required", "--tls-sender",
                  "board@Bank.example", "--tls-sender", ".bank.example", "--messages", "20",
                  "--recipients", "50", "--size", "20M")  # fmt: skip
    assert policy(made, "TLSONLY") == MailFlowPolicy(
        name="TLSONLY", action="accept", tls="required", tls_senders=("board@bank.example", ".bank.example"),
        limits=PolicyLimits(messages_per_connection=20, recipients_per_message=50, message_size=20 << 20),
    )  # fmt: skip
    assert "Nobody has it yet" in made.text
    await made.ok(
        *GROUP, "new", "BANK", "--policy", "tlsonly", "--member", "198.51.100.0/24", "--before", "1"
    )
    rows = await made.ok("hostaccess")
    assert (rows[0]["sender_group"], rows[0]["tls"]) == ("BANK", "Required")
    await made.ok("commit", "bank")
    assert made.services.history.current().document.sender_groups[0].policy == "TLSONLY"


@pytest.mark.parametrize(("number", "level"), list(enumerate(LEVELS, 1)))
async def test_the_five_levels_are_given_by_name_number_or_the_references_words(
    number: int, level: str
) -> None:
    made = desk()
    for word in (level, level.upper(), str(number), WORDS[level]):  # type: ignore[index]
        await made.ok(*POLICY, "edit", "BLOCKED", "--tls", word)
        assert policy(made, "BLOCKED").tls == level


async def test_a_level_that_is_for_deliveries_alone_is_refused() -> None:
    told = await desk().refused(*POLICY, "new", "X", "--tls", "required-verify-hosted")
    assert (
        "There is no TLS level 'required-verify-hosted' for receiving. Did you mean required-verify?" in told
    )
    assert "There are: off, preferred" in await desk().refused(*POLICY, "new", "X", "--tls", "6")


async def test_all_that_is_wrong_with_a_policy_is_told_at_once() -> None:
    told = await desk().refused(
        *POLICY, "new", "a/b", "--tls-sender", "x@no domain", "--messages", "0", "--size", "big"
    )
    for piece in ("can't be a name", "is not a domain name", "0 is out of range", '"big" is not a whole'):
        assert piece in told


async def test_edit_changes_what_is_named_and_takes_own_values_away() -> None:
    made = desk()
    await made.ok(*POLICY, "edit", "accepted", "--tls-sender", "all", "--messages", "5", "--size", "1M")
    assert policy(made, "ACCEPTED").tls_senders == ("all",)
    await made.ok(*POLICY, "edit", "ACCEPTED", "--tls-sender", "none", "--messages", "default")
    assert policy(made, "ACCEPTED") == MailFlowPolicy(
        name="ACCEPTED", tls="preferred", limits=PolicyLimits(message_size=1 << 20)
    )
    assert "Say what changes" in await made.refused(*POLICY, "edit", "ACCEPTED")
    assert "Did you mean ACCEPTED?" in await made.refused(*POLICY, "edit", "ACEPTED", "--tls", "1")
    assert "a policy called RELAYED already" in await made.refused(*POLICY, "new", "RELAYED")


async def test_edit_asks_for_the_level_at_a_terminal() -> None:
    made = desk(answers=["", "5", "", "", "", ""])
    await made.ok(*POLICY, "edit", "ACCEPTED")
    assert policy(made, "ACCEPTED").tls == "required-verify"
    assert made.client.questions[1].endswith("5. Required - Verify [2]")


async def test_the_list_shows_who_has_a_policy() -> None:
    made = desk()
    rows = await made.ok(*POLICY, "list")
    assert [(row["name"], row["action"], row["default"]) for row in rows] == [
        ("ACCEPTED", "accept", True), ("RELAYED", "relay", False), ("BLOCKED", "reject", False),
    ]  # fmt: skip
    assert "sender group RELAYLIST" in made.text
    assert "hosts that no group matches" in made.text


async def test_a_policy_in_use_is_not_deleted() -> None:
    made = desk()
    assert "RELAYED is the policy of sender group RELAYLIST" in await made.refused(
        *POLICY, "delete", "RELAYED"
    )
    assert "hosts that no group matches" in await made.refused(*POLICY, "delete", "ACCEPTED")
    await made.ok(*GROUP, "delete", "RELAYLIST")
    await made.ok(*POLICY, "delete", "relayed")
    assert [each.name for each in made.document.mail_flow_policies] == ["ACCEPTED", "BLOCKED"]


async def test_the_default_policy_is_chosen_and_an_open_relay_told() -> None:
    made = desk()
    await made.ok(*POLICY, "default", "blocked")
    assert made.document.default_policy == "BLOCKED"
    listener = made.document.listeners[0].model_copy(update={"address": "0.0.0.0"})
    made.services.edit(made.context.owner, listeners=(listener,))
    told = await made.ok(*POLICY, "default", "RELAYED")
    assert "an open relay" in told["refused"][0]


# --- groups -----------------------------------------------------------------------------------------------


async def test_a_group_is_made_with_all_it_can_say() -> None:
    made = desk()
    told = await made.ok(
        *GROUP, "new", "BANK", "--policy", "ACCEPTED", "--member", "192.0.2.1", "--member", ".Bank.example",
        "--certificate", "SHA256:" + "AB" * 32, "--listener", "incomingmail",
    )  # fmt: skip
    assert told["number"] == 3
    assert group(made, "BANK") == SenderGroup(
        name="BANK", policy="ACCEPTED", members=("192.0.2.1", ".bank.example"),
        certificates=("sha256:" + "ab" * 32,), listeners=("IncomingMail",),
    )  # fmt: skip
    rows = await made.ok(*GROUP, "list")
    assert [(row["number"], row["name"]) for row in rows] == [(1, "RELAYLIST"), (2, "BLOCKLIST"), (3, "BANK")]
    assert "Hosts that no group matches have the policy ACCEPTED." in made.text


async def test_members_are_added_and_removed_one_by_one_in_any_spelling() -> None:
    made = desk()
    await made.ok(
        *GROUP, "edit", "relaylist", "--add", "192.0.2.1", "--add", "2001:DB8::1", "--add", "192.0.2.1"
    )
    assert group(made, "RELAYLIST").members == ("192.0.2.1", "2001:db8::1")
    await made.ok(*GROUP, "edit", "RELAYLIST", "--remove", "2001:db8:0::1", "--add", "mail.example.com")
    assert group(made, "RELAYLIST").members == ("192.0.2.1", "mail.example.com")
    assert "192.0.2.9: not a member of RELAYLIST" in await made.refused(
        *GROUP, "edit", "RELAYLIST", "--remove", "192.0.2.9"
    )
    assert "leave out --add" in await made.refused(*GROUP, "edit", "RELAYLIST", "--member", "a", "--add", "b")


async def test_edit_replaces_lists_and_empties_them() -> None:
    made = desk()
    await made.ok(*GROUP, "edit", "BLOCKLIST", "--member", "192.0.2.1", "--listener", "IncomingMail",
                  "--certificate", "mx.example.net", "--policy", "accepted")  # fmt: skip
    assert group(made, "BLOCKLIST") == SenderGroup(
        name="BLOCKLIST", policy="ACCEPTED", members=("192.0.2.1",), listeners=("IncomingMail",),
        certificates=("mx.example.net",),
    )  # fmt: skip
    await made.ok(
        *GROUP, "edit", "BLOCKLIST", "--member", "none", "--listener", "all", "--certificate", "none"
    )
    assert group(made, "BLOCKLIST") == SenderGroup(name="BLOCKLIST", policy="ACCEPTED")
    assert "Say what changes" in await made.refused(*GROUP, "edit", "BLOCKLIST")


async def test_all_that_is_wrong_with_a_group_is_told_at_once() -> None:
    told = await desk().refused(
        *GROUP, "new", "a/b", "--policy", "ACCEPTED", "--member", "192.0.2.300", "--certificate", "sha256:1"
    )
    for piece in ("can't be a name", "'192.0.2.300' is not an IP address", "is not a SHA-256 value"):
        assert piece in told
    told = await desk().refused(*GROUP, "edit", "BLOCKLIST", "--add", "1.2.3.4.5", "--remove", "10.0.0.1/8")
    for piece in ("'1.2.3.4.5' is not an IP", "write 10.0.0.0/8"):
        assert piece in told
    assert "a sender group called BLOCKLIST already" in await desk().refused(
        *GROUP, "new", "BLOCKLIST", "--policy", "ACCEPTED"
    )


async def test_what_commit_will_refuse_is_told_with_the_change() -> None:
    made = desk()
    told = await made.ok(*GROUP, "new", "X", "--policy", "NOSUCH", "--listener", "nowhere")
    assert "no mail flow policy called 'NOSUCH'" in told["refused"][0]
    assert "no listener called 'nowhere'" in told["refused"][1]
    told = await made.ok(*GROUP, "edit", "RELAYLIST", "--add", "ALL")
    assert "an open relay" in told["refused"][0]


async def test_groups_are_moved_to_a_place_and_deleted() -> None:
    made = desk()
    await made.ok(*GROUP, "new", "BANK", "--policy", "ACCEPTED", "--before", "2")
    assert order(made) == ["RELAYLIST", "BANK", "BLOCKLIST"]
    await made.ok(*GROUP, "move", "blocklist", "1")
    assert "BLOCKLIST is now number 1: BLOCKLIST, RELAYLIST, BANK." in made.text
    told = await made.ok(*GROUP, "move", "BLOCKLIST", "99")
    assert (order(made), told["number"]) == (["RELAYLIST", "BANK", "BLOCKLIST"], 3)
    await made.ok(*GROUP, "delete", "bank")
    assert order(made) == ["RELAYLIST", "BLOCKLIST"]
    assert "Did you mean RELAYLIST?" in await made.refused(*GROUP, "delete", "RELAYLST")


async def test_new_asks_for_name_policy_and_members_at_a_terminal() -> None:
    made = desk(answers=["BANK", "ACCEPTED", "192.0.2.1 .bank.example", "", "", ""])
    await made.ok(*GROUP, "new")
    assert group(made, "BANK").members == ("192.0.2.1", ".bank.example")


# --- domains ----------------------------------------------------------------------------------------------


async def test_domains_are_listed_added_and_deleted() -> None:
    made = desk()
    assert await made.ok(*DOMAINS, "list") == [{"domain": "example.com"}, {"domain": ".example.com"}]
    await made.ok(*DOMAINS, "add", "Example.ORG", "example.com", "example.org")
    assert "Mail is now taken for example.org." in made.text
    await made.ok(*DOMAINS, "delete", ".example.com", "EXAMPLE.com")
    assert made.document.recipient_access.domains == ("example.org",)


async def test_domains_that_are_wrong_missing_or_there_already_change_nothing() -> None:
    made = desk()
    told = await made.refused(*DOMAINS, "add", "no domain", "x..y")
    assert "'no domain' is not" in told
    assert "'x..y' is not" in told
    assert "Mail is taken for example.com already" in await made.refused(*DOMAINS, "add", "example.com")
    assert "Did you mean example.com?" in await made.refused(*DOMAINS, "delete", "exampel.com")


async def test_the_last_domain_may_go_and_what_that_means_is_told() -> None:
    made = desk()
    told = await made.ok(*DOMAINS, "delete", "example.com", ".example.com")
    assert "accepts no mail from strangers" in told["notes"][0]
    await made.ok(*DOMAINS, "list")
    assert "mail is taken only from hosts whose policy relays" in made.text


# --- all --------------------------------------------------------------------------------------------------


async def test_who_may_only_read_changes_nothing() -> None:
    made = desk("read-only")
    for kind in (POLICY, GROUP, DOMAINS):
        await made.ok(*kind, "list")
    for words in ((*POLICY, "delete", "BLOCKED"), (*GROUP, "delete", "X"), (*DOMAINS, "add", "x.example")):
        assert "needs the role" in await made.refused(*words)


async def test_completion_knows_policies_groups_levels_listeners_and_domains() -> None:
    made = desk()

    def offered(*words: str) -> list[str]:
        return [each.value for each in COMMANDS.complete(list(words[:-1]), words[-1], made.context)]

    assert offered(*POLICY, "edit", "b") == ["BLOCKED"]
    assert offered(*POLICY, "new", "X", "--tls", "pre") == ["preferred", "preferred-verify"]
    assert offered(*GROUP, "move", "") == ["RELAYLIST", "BLOCKLIST"]
    assert offered(*GROUP, "new", "X", "--listener", "") == ["IncomingMail", "all"]
    assert offered(*GROUP, "new", "X", "--policy", "acc") == ["ACCEPTED"]
    assert offered(*DOMAINS, "delete", "ex") == ["example.com"]
