"""`destconfig`: entries, the default, global settings, files, overrides; all on the candidate."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.commands import certificates, configuration, destconfig, destination_overrides
from mxseal.commands.context import Role
from mxseal.commands.levels import LABELS, MEANINGS
from mxseal.commands.registry import Registry
from mxseal.config.model import Authority, Destination
from mxseal.tls.policy import LEVELS
from tests.commands.desk import Desk

COMMANDS = Registry((destconfig, destination_overrides, certificates, configuration))
PIN = "c9" * 32


def desk(role: Role = "operator", **given: Any) -> Desk:
    made = Desk(COMMANDS, role, **given)
    authority = Authority(name="Bank Root", certificate="-----BEGIN CERTIFICATE-----\n…")
    trust = made.document.trust.model_copy(update={"authorities": (authority,)})
    made.services.edit(made.context.owner, trust=trust)
    return made


def entry(made: Desk, domain: str) -> Destination:
    return next(each for each in made.document.destinations if each.domain == domain)


# --- entries ----------------------------------------------------------------------------------------------


async def test_an_entry_is_made_with_all_it_can_say_and_shown_with_where_the_level_comes_from() -> None:
    made = desk()
    await made.ok(
        "destconfig", "new", "Bank.Example", "--tls", "required-verify", "--concurrency", "5", "--messages",
        "20", "--alert", "on", "--trust-anchor", "bank root", "--pin", PIN.upper(),
    )  # fmt: skip
    assert "bank.example was added. It takes effect with 'commit'." in made.text
    assert entry(made, "bank.example") == Destination(
        domain="bank.example", tls="required-verify", concurrency=5, messages_per_connection=20, alert=True,
        trust_anchors=("Bank Root",), pins=(PIN,),
    )  # fmt: skip
    await made.ok("destconfig", "new", ".open.example")
    rows = await made.ok("destconfig", "list")
    assert [(row["domain"], row["tls"], row["tls_from"], row["alert_from"]) for row in rows] == [
        ("default", "preferred", "entry", "setup"),
        ("bank.example", "required-verify", "entry", "entry"),
        (".open.example", "preferred", "default", "setup"),
    ]
    assert [row["concurrency"] for row in rows] == [500, 5, 500]
    assert "bank.example required-verify entry 5 20 on Bank Root 1" in made.text


@pytest.mark.parametrize(("number", "level"), list(enumerate(LEVELS, 1)))
async def test_levels_are_given_by_name_number_or_the_references_words(number: int, level: str) -> None:
    for word in (level, level.upper(), str(number), LABELS[level]):  # type: ignore[index]
        made = desk()
        await made.ok("destconfig", "new", "a.example", "--tls", word)
        assert entry(made, "a.example").tls == level


async def test_an_unknown_level_names_the_one_that_was_meant() -> None:
    told = await desk().refused("destconfig", "new", "a.example", "--tls", "required-verfy")
    assert "Did you mean required-verify?" in told
    assert "There are: default, off, preferred," in await desk().refused(
        "destconfig", "default", "--tls", "9"
    )


@pytest.mark.parametrize("words", [("new",), ("edit",), ("default",), ("override", "add")])
async def test_help_explains_each_level_in_a_line_or_says_where_that_is(words: tuple[str, ...]) -> None:
    made = desk()
    await made.run("destconfig", *words, "--help")
    if words == ("new",):
        for level, meaning in MEANINGS.items():
            assert f"{level}: {meaning}" in made.text
    else:
        assert "'help destconfig new' explains the levels" in made.text


async def test_what_is_wrong_with_a_new_entry_is_told_at_once() -> None:
    made = desk()
    told = await made.refused(
        "destconfig", "new", "bad domain", "--concurrency", "0", "--messages", "99999", "--pin", "abc"
    )
    for piece in (
        "is not a domain name",
        "0 is out of range",
        "99999 is out of range",
        "not a SHA-256 value",
    ):
        assert piece in told
    assert "no custom authority called Bang Root. Did you mean Bank Root?" in await made.refused(
        "destconfig", "new", "a.example", "--trust-anchor", "Bang Root"
    )
    assert "takes a number or 'default'" in await made.refused(
        "destconfig", "new", "a.example", "--messages", "many"
    )
    await made.ok("destconfig", "new", "a.example")
    assert "There is an entry for a.example already" in await made.refused("destconfig", "new", "A.example")


async def test_edit_changes_what_is_named_and_takes_own_values_away() -> None:
    made = desk()
    await made.ok("destconfig", "new", "a.example", "--tls", "3", "--concurrency", "5", "--alert", "off",
                  "--trust-anchor", "Bank Root", "--pin", PIN)  # fmt: skip
    await made.ok("destconfig", "edit", "A.EXAMPLE", "--tls", "required-verify-hosted")
    assert entry(made, "a.example").tls == "required-verify-hosted"
    assert entry(made, "a.example").pins == (PIN,)
    await made.ok("destconfig", "edit", "a.example", "--tls", "default", "--concurrency", "default",
                  "--alert", "default", "--trust-anchor", "none", "--pin", "none")  # fmt: skip
    assert entry(made, "a.example") == Destination(domain="a.example")
    assert "Say what changes" in await made.refused("destconfig", "edit", "a.example")
    assert "Did you mean a.example?" in await made.refused("destconfig", "edit", "b.example", "--tls", "1")


async def test_edit_asks_at_a_terminal_with_the_present_values() -> None:
    made = desk(answers=["6", "", "7", "", "", ""])
    made.services.edit(
        made.context.owner,
        destinations=(Destination(domain="default"), Destination(domain="a.example", tls="required")),
    )
    await made.ok("destconfig", "edit", "a.example")
    assert entry(made, "a.example") == Destination(
        domain="a.example", tls="required-verify-hosted", messages_per_connection=7
    )
    assert made.client.questions[0].endswith("6. Required - Verify Hosted Domains [3]")


async def test_new_asks_for_domain_and_level_at_a_terminal() -> None:
    made = desk(answers=["a.example", "3", "", "", "", "", ""])
    await made.ok("destconfig", "new")
    assert entry(made, "a.example").tls == "required"
    assert made.client.questions[0].startswith("Enter the domain you wish to configure.")


async def test_delete_says_which_entry_counts_afterwards_and_spares_the_default() -> None:
    made = desk()
    await made.ok("destconfig", "new", ".bank.example", "--tls", "required")
    await made.ok("destconfig", "new", "mail.bank.example", "--tls", "off")
    await made.ok("destconfig", "delete", "mail.bank.example")
    assert "Its mail now leaves as the entry .bank.example says: TLS required." in made.text
    assert "can't be deleted" in await made.refused("destconfig", "delete", "default")


async def test_the_default_entry_is_shown_and_changed() -> None:
    made = desk()
    shown = await made.ok("destconfig", "default")
    assert shown["entry"] == "default"
    await made.ok("destconfig", "default", "--tls", "required", "--messages", "10")
    assert entry(made, "default") == Destination(domain="default", tls="required", messages_per_connection=10)
    made.services.edit(made.context.owner, destinations=())
    await made.ok("destconfig", "default")
    assert "There is no default entry" in made.text
    await made.ok("destconfig", "default", "--tls", "required")
    assert made.document.destinations == (Destination(domain="default", tls="required"),)


async def test_detail_shows_what_counts_for_any_domain() -> None:
    made = desk()
    await made.ok("destconfig", "new", ".bank.example", "--tls", "required")
    await made.ok("destconfig", "override", "add", "off", "--sender", "test@example.com")
    made.services.edit(made.context.owner, smtp_routes={"x.bank.example": ("relay.example:2525",)})
    shown = await made.ok("destconfig", "detail", "x.bank.example")
    assert shown["entry"] == ".bank.example"
    assert shown["tls"].startswith("required (from: entry)")
    assert shown["route"] == ["relay.example:2525"]
    assert shown["overrides"] == ["sender test@example.com: off"]


async def test_what_commit_will_refuse_is_told_with_the_change() -> None:
    made = desk()
    trust = made.document.trust.model_copy(update={"system": False})
    made.services.edit(made.context.owner, trust=trust)
    told = await made.ok("destconfig", "new", "a.example", "--tls", "5")
    assert "Warning: commit will refuse this: destinations." in made.text
    assert "no list of authorities is enabled" in told["refused"][0]


async def test_roles_that_may_only_read_change_nothing() -> None:
    made = desk("read-only")
    await made.ok("destconfig", "list")
    assert "needs the role" in await made.refused("destconfig", "new", "a.example")


async def test_completion_knows_levels_domains_and_authorities() -> None:
    made = desk()
    await made.ok("destconfig", "new", "a.example")

    def offered(*words: str) -> list[str]:
        return [each.value for each in COMMANDS.complete(list(words[:-1]), words[-1], made.context)]

    assert offered("destconfig", "new", "b.example", "--tls", "required-") == [
        "required-verify", "required-verify-hosted",
    ]  # fmt: skip
    assert offered("destconfig", "edit", "") == ["default", "a.example"]
    assert offered("destconfig", "delete", "") == ["a.example"]
    assert offered("destconfig", "edit", "a.example", "--trust-anchor", "b") == ["Bank Root"]


# --- global settings --------------------------------------------------------------------------------------


async def test_setup_switches_the_alert_for_all_destinations() -> None:
    made = desk()
    await made.ok("destconfig", "setup", "--alert", "on")
    assert made.document.delivery.alert_on_tls_failure
    assert "Alert when required TLS fails: on." in made.text
    assert "nobody gets the alerts" in made.text
    await made.ok("destconfig", "setup", "--alert", "off")
    assert not made.document.delivery.alert_on_tls_failure


async def test_setup_asks_as_the_reference_does() -> None:
    made = desk(answers=["1", "y"])
    await made.ok("destconfig", "setup")
    first, second = made.client.questions
    assert first.startswith('The "Demo" certificate is currently configured. You may use "Demo", but this')
    assert "Please choose the certificate to apply:\n1. Demo\n2. none [1]" in first
    assert second == "Do you want to send an alert when a required TLS connection fails? [N]"
    assert made.document.delivery.alert_on_tls_failure
    assert made.document.delivery.certificate == "Demo"


async def test_setup_shows_no_certificate_when_none_is_chosen() -> None:
    made = desk("certificate-officer", answers=["2", "N"])
    await made.ok("destconfig", "setup")
    assert made.document.delivery.certificate is None


async def test_an_operator_sets_the_alert_and_not_the_certificate() -> None:
    made = desk()
    told = await made.refused("destconfig", "setup", "--certificate", "none", "--alert", "on")
    assert "Only a certificate-officer" in told
    assert "Say what changes" in await made.refused("destconfig", "setup")


# --- files ------------------------------------------------------------------------------------------------

FULL: tuple[Destination, ...] = (
    Destination(domain="default", tls="preferred", concurrency=100),
    Destination(
        domain="bank.example", tls="required-verify", trust_anchors=("Bank Root",), pins=(PIN, "ab" * 32)
    ),
    Destination(domain=".quiet.example", alert=False, messages_per_connection=1),
)


@pytest.mark.parametrize("name", ["controls.toml", "controls.csv", "controls"])
async def test_what_was_exported_is_imported_as_it_was(name: str) -> None:
    made = desk()
    made.services.edit(made.context.owner, destinations=FULL)
    await made.ok("destconfig", "export", name)
    made.services.edit(made.context.owner, destinations=(FULL[0], Destination(domain="gone.example")))
    told = await made.ok("destconfig", "import", name)
    assert made.document.destinations == FULL
    assert told["added"] == ["bank.example", ".quiet.example"]
    assert told["removed"] == ["gone.example"]


async def test_the_default_entry_stays_where_a_file_has_none_and_merge_keeps_the_others_too() -> None:
    made = desk(files={"x.csv": b"domain,tls\nnew.example,3\n"})
    made.services.edit(made.context.owner, destinations=FULL)
    await made.ok("destconfig", "import", "x.csv", "--merge")
    assert made.document.destinations == (*FULL, Destination(domain="new.example", tls="required"))
    await made.ok("destconfig", "import", "x.csv")
    assert made.document.destinations == (FULL[0], Destination(domain="new.example", tls="required"))


async def test_the_format_is_found_by_content_where_the_name_says_nothing() -> None:
    made = desk(files={"-": b"\xef\xbb\xbfdomain,tls\r\n# a comment\r\n\r\na.example,require_verify\r\n"})
    await made.ok("destconfig", "import", "-")
    assert entry(made, "a.example").tls == "required-verify"


CSV_WRONG = b"""\
domain,tls,concurrency,alert,trust_anchors,colour
a.example,required,5,on,,
b example,required,0,,,
a.example,strict,many,perhaps,,
c.example,off,,,Nobody; Bank Root,
d.example,off,,,,,
"""
NO_LEVEL = (
    "\"strict\" is not one of 'off', 'preferred', 'required', 'preferred-verify', 'required-verify' or "
    "'required-verify-hosted'"
)
TOML_WRONG = b"""\
# partners
[[destinations]]
domain = "a.example"
tls = "strict"

[[destinations]]
domain = "b.example"
trust_anchors = [
  "Nobody",
]
concurrency = 0
colour = "red"

[[destinations]]
domain = "a.example"

[[destinations]]
tls = "off"

[delivery]
post_quantum = false
"""


async def test_all_mistakes_of_a_csv_file_are_told_with_their_lines() -> None:
    made = desk(files={"x.csv": CSV_WRONG})
    await made.refused("destconfig", "import", "x.csv")
    assert [(each["path"], each["text"].partition(".")[0]) for each in made.json["problems"]] == [
        ("line 1", "there is no column 'colour'"),
        ("line 3", "'b example' is not a domain name, write one such as mx"),
        ("line 3", "0 is out of range"),
        ("line 4", "There is no TLS level 'strict'"),
        ("line 4", "concurrency: 'many' is not a whole number"),
        ("line 4", "alert: 'perhaps' is neither on nor off"),
        ("line 4", "a"),  # a.example stands on line 2 already
        ("line 5", "there is no custom authority called 'Nobody'"),
        ("line 6", "7 fields, and the first line names 6"),
    ]


async def test_all_mistakes_of_a_toml_file_are_told_with_their_lines() -> None:
    made = desk(files={"x.toml": TOML_WRONG})
    await made.refused("destconfig", "import", "x.toml")
    assert [(each["path"], each["text"]) for each in made.json["problems"]] == [
        ("line 4", NO_LEVEL),
        ("line 11", "0 is out of range"),
        ("line 12", "unknown key"),
        ("line 17", "this key is missing"),
        ("line 20", "delivery is not part of such a file"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.toml", b'[[destinations]]\ndomain = "a', "line 2: this is not TOML"),
        ("x.toml", b"destinations = 7\n", "line 1: destinations is no list of tables"),
        ("x.csv", b"", "line 1: the file is empty"),
        ("x.csv", b'domain\n"a.example', "this is not CSV"),
        ("x.csv", b"tls\nrequired\n", "the column domain is missing"),
        ("x.csv", b"domain,tls\n", "has no entry"),
    ],
)
async def test_files_that_cant_be_read_are_refused(name: str, content: bytes, told: str) -> None:
    assert told in await desk(files={name: content}).refused("destconfig", "import", name)


async def test_the_same_domain_twice_in_a_file_is_told_on_the_second_line() -> None:
    made = desk(
        files={"x.toml": b'[[destinations]]\ndomain="a.example"\n[[destinations]]\ndomain = "A.example"\n'}
    )
    told = await made.refused("destconfig", "import", "x.toml")
    assert "line 4: a.example stands on line 1 already" in told


# --- overrides --------------------------------------------------------------------------------------------


async def test_overrides_are_added_in_order_listed_and_removed_by_number() -> None:
    made = desk()
    await made.ok("destconfig", "override", "add", "5", "--sender", "board@Example.com")
    await made.ok("destconfig", "override", "add", "required", "--recipient", ".bank.example")
    await made.ok("destconfig", "override", "add", "off", "--sender", "test.example", "--before", "1")
    rows = await made.ok("destconfig", "override", "list")
    assert [(row["number"], row["sender"], row["recipient"], row["tls"]) for row in rows] == [
        (1, "test.example", None, "off"),
        (2, "board@example.com", None, "required-verify"),
        (3, None, ".bank.example", "required"),
    ]
    await made.ok("destconfig", "override", "delete", "2")
    assert [each.tls for each in made.document.tls_overrides] == ["off", "required"]
    assert "There is no override 3" in await made.refused("destconfig", "override", "delete", "3")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("required",), "--sender or --recipient"),
        (("required", "--sender", "a.example", "--recipient", "b.example"), "one of both"),
        (("default", "--sender", "a.example"), "needs a level of its own"),
        (("required", "--sender", "not an address@"), "is not a domain name"),
        (("off", "--sender", "known.example"), "There is an override for sender known.example already"),
    ],
)
async def test_overrides_that_make_no_sense_are_refused(words: tuple[str, ...], told: str) -> None:
    made = desk()
    await made.ok("destconfig", "override", "add", "required", "--sender", "known.example")
    assert told in await made.refused("destconfig", "override", "add", *words)


async def test_an_override_behind_one_for_everybody_is_noted() -> None:
    made = desk()
    await made.ok("destconfig", "override", "add", "required", "--sender", "all")
    await made.ok("destconfig", "override", "add", "off", "--sender", "a.example")
    assert "override 1 is for everybody and comes first" in made.text


def test_every_level_has_a_meaning_and_a_label() -> None:
    assert tuple(MEANINGS) == tuple(LABELS) == LEVELS
