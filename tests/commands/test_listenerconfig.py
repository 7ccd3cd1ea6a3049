"""`listenerconfig`: listeners, their certificates and limits; all on the candidate."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.commands import certificate_new, certificate_use, certificates, configuration, listenerconfig
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.config.model import Listener, ListenerLimits
from tests.commands.certificate_desk import CertificateServices
from tests.commands.desk import Desk

COMMANDS = Registry((listenerconfig, certificates, certificate_new, certificate_use, configuration))


def desk(role: Role = "operator", **given: Any) -> Desk:
    return Desk(COMMANDS, role, services=given.pop("services", None) or CertificateServices(), **given)


def listener(made: Desk, name: str) -> Listener:
    return next(each for each in made.document.listeners if each.name == name)


async def test_a_listener_is_made_with_all_that_it_can_be_and_put_in_force_by_commit() -> None:
    made = desk()
    told = await made.ok(
        "listenerconfig", "new", "Submission", "--address", "127.0.0.2", "--port", "4650",
        "--type", "private", "--hostname", "Out.Example.COM", "--implicit-tls", "on",
        "--bare-newlines", "clean", "--reverse-dns", "off",
    )  # fmt: skip
    assert "Submission was added: 127.0.0.2 port 4650, certificate Demo. It takes effect" in made.text
    assert told["hostname"] == "out.example.com"
    assert listener(made, "Submission") == Listener(
        name="Submission", address="127.0.0.2", port=4650, type="private", hostname="out.example.com",
        implicit_tls=True, bare_newlines="clean", reverse_dns=False,
    )  # fmt: skip


async def test_list_and_detail_show_the_candidate() -> None:
    made = desk()
    await made.ok("listenerconfig", "new", "Second", "--port", "2526", "--implicit-tls", "on")
    group = made.document.sender_groups[0].model_copy(update={"listeners": ("Second",)})
    made.services.edit(made.context.owner, sender_groups=(group,))
    rows = await made.ok("listenerconfig", "list")
    assert [(row["name"], row["port"], row["implicit_tls"]) for row in rows] == [
        ("IncomingMail", 2525, False),
        ("Second", 2526, True),
    ]
    assert "Second public 127.0.0.1 2526 at once Demo" in made.text
    told = await made.ok("listenerconfig", "detail", "second")
    assert told["sender_groups"] == [group.name]
    assert told["limits"]["message_size"] == 50 << 20
    assert "Hostname: mx.example.com" in made.text
    assert "Message size: 52428800" in made.text


async def test_all_that_is_wrong_with_a_listener_is_told_at_once() -> None:
    told = await desk().refused(
        "listenerconfig", "new", "bad/name", "--address", "here", "--port", "99999", "--hostname", "no name"
    )
    for piece in ("can't be a name", "'here' is not an IP address", "99999 is out of range", "'no name' is"):
        assert piece in told
    assert "IncomingMail is as it was" in await desk().refused(
        "listenerconfig", "edit", "IncomingMail", "--port", "0"
    )


async def test_a_port_that_another_listener_has_is_told_with_the_change() -> None:
    made = desk()
    told = await made.ok("listenerconfig", "new", "Second", "--port", "2525")
    assert "is already taken by listener 'IncomingMail'" in told["refused"][0]


async def test_names_are_used_once_and_guessed_when_mistyped() -> None:
    made = desk()
    await made.ok("listenerconfig", "new", "Second", "--port", "2526")
    assert "a listener called INCOMINGMAIL already" in await made.refused(
        "listenerconfig", "new", "INCOMINGMAIL"
    )
    assert "a listener called second already" in await made.refused(
        "listenerconfig", "edit", "IncomingMail", "--rename", "second"
    )
    assert "Did you mean IncomingMail?" in await made.refused("listenerconfig", "detail", "incomingmai")
    assert "There are: IncomingMail, Second" in await made.refused("listenerconfig", "delete", "xyz")


async def test_edit_changes_what_is_named_and_takes_the_own_hostname_away() -> None:
    made = desk()
    await made.ok("listenerconfig", "edit", "incomingmail", "--hostname", "a.example", "--port", "2600")
    before = listener(made, "IncomingMail")
    assert (before.hostname, before.port) == ("a.example", 2600)
    await made.ok("listenerconfig", "edit", "IncomingMail", "--hostname", "default", "--reverse-dns", "off")
    assert listener(made, "IncomingMail") == before.model_copy(
        update={"hostname": None, "reverse_dns": False}
    )
    assert "Say what changes" in await made.refused("listenerconfig", "edit", "IncomingMail")


async def test_sender_groups_follow_a_new_name() -> None:
    made = desk()
    group = made.document.sender_groups[0].model_copy(update={"listeners": ("IncomingMail",)})
    made.services.edit(made.context.owner, sender_groups=(group,))
    told = await made.ok("listenerconfig", "edit", "IncomingMail", "--rename", "Public")
    assert told["refused"] == []
    assert [each.name for each in made.document.listeners] == ["Public"]
    assert made.document.sender_groups[0].listeners == ("Public",)


async def test_edit_asks_at_a_terminal_with_the_present_values() -> None:
    made = desk(answers=["", "2600", "priv", *[""] * 6])
    await made.ok("listenerconfig", "edit", "IncomingMail")
    assert (listener(made, "IncomingMail").port, listener(made, "IncomingMail").type) == (2600, "private")
    assert made.client.questions[0].endswith("[127.0.0.1]")


async def test_the_last_listener_can_not_be_deleted() -> None:
    made = desk()
    assert "IncomingMail is the only listener" in await made.refused(
        "listenerconfig", "delete", "IncomingMail"
    )
    await made.ok("listenerconfig", "new", "Second", "--port", "2526")
    await made.ok("listenerconfig", "delete", "IncomingMail")
    assert [each.name for each in made.document.listeners] == ["Second"]


async def test_deleting_what_a_sender_group_is_for_is_told_and_widens_no_group() -> None:
    made = desk()
    await made.ok("listenerconfig", "new", "Second", "--port", "2526")
    group = made.document.sender_groups[0].model_copy(update={"listeners": ("Second",)})
    made.services.edit(made.context.owner, sender_groups=(group,))
    told = await made.ok("listenerconfig", "delete", "Second")
    assert "there is no listener called 'Second'" in told["refused"][0]
    assert made.document.sender_groups[0].listeners == ("Second",)


# --- certificates -----------------------------------------------------------------------------------------


async def with_certificate(role: Role = "administrator") -> Desk:
    services = CertificateServices()
    officer = desk("administrator", services=services)
    await officer.ok("certconfig", "new", "own", "--common-name", "mx.example.com", "--key", "ecdsa-p256")
    return desk(role, services=services)


async def test_a_certificate_is_chosen_as_certconfig_assign_does() -> None:
    made = await with_certificate()
    await made.ok("listenerconfig", "new", "Second", "--port", "2526", "--certificate", "OWN")
    assert listener(made, "Second").certificate == "own"
    assert "Warning: own is self-signed until the authority's answer has come" in made.text
    await made.ok("listenerconfig", "edit", "IncomingMail", "--certificate", "own")
    assert listener(made, "IncomingMail").certificate == "own"
    assert "Warning: own is self-signed" in made.text
    assert "no certificate called nobody" in await made.refused(
        "listenerconfig", "new", "Third", "--certificate", "nobody"
    )


async def test_second_and_further_certificates_are_put_on_and_taken_off() -> None:
    made = await with_certificate("certificate-officer")
    told = await made.ok("listenerconfig", "certificate", "incomingmail", "own", "--sni")
    assert told["service"] == "listener:IncomingMail"
    assert listener(made, "IncomingMail").sni_certificates == ("own",)
    await made.ok("listenerconfig", "certificate", "IncomingMail", "own", "--sni", "--remove")
    assert listener(made, "IncomingMail").sni_certificates == ()


async def test_an_operator_makes_listeners_and_chooses_no_certificate() -> None:
    made = await with_certificate("operator")
    for words in (("new", "Second"), ("edit", "IncomingMail")):
        told = await made.refused("listenerconfig", *words, "--certificate", "own")
        assert "Only a certificate-officer" in told
    assert "needs the role" in await made.refused("listenerconfig", "certificate", "IncomingMail", "own")


async def test_who_may_only_read_changes_nothing() -> None:
    made = desk("read-only")
    await made.ok("listenerconfig", "list")
    assert "needs the role" in await made.refused("listenerconfig", "delete", "IncomingMail")


# --- limits -----------------------------------------------------------------------------------------------


async def test_limits_are_set_with_units_and_brought_back() -> None:
    made = desk()
    await made.ok("listenerconfig", "limits", "IncomingMail", "--message-size", "20M", "--idle-time", "0.5",
                  "--hops", "30")  # fmt: skip
    assert listener(made, "IncomingMail").limits == ListenerLimits(
        message_size=20 << 20, idle_time=0.5, hops=30
    )
    assert "Limits of IncomingMail: message size 20971520, idle time 0.5, hops 30." in made.text
    await made.ok("listenerconfig", "limits", "IncomingMail", "--message-size", "default")
    assert listener(made, "IncomingMail").limits == ListenerLimits(idle_time=0.5, hops=30)


async def test_every_limit_of_the_document_has_its_option() -> None:
    made = desk()
    for key in ListenerLimits.model_fields:
        await made.ok("listenerconfig", "limits", "IncomingMail", f"--{key.replace('_', '-')}", "default")


@pytest.mark.parametrize("text", ["many", "1.5M", "-3", "9" * 400, "1e400", "nan", "", "M", "²"])
async def test_what_is_no_limit_is_refused(text: str) -> None:
    told = await desk().refused("listenerconfig", "limits", "IncomingMail", "--connections", text)
    assert "The limits of IncomingMail are as they were" in told


async def test_all_wrong_limits_are_told_at_once_and_rules_between_them_with_the_change() -> None:
    made = desk()
    told = await made.refused(
        "listenerconfig", "limits", "IncomingMail", "--hops", "0", "--message-size", "1"
    )
    assert "listeners.IncomingMail.limits.hops: 0 is out of range" in told
    assert "listeners.IncomingMail.limits.message_size: 1 is out of range" in told
    answer = await made.ok("listenerconfig", "limits", "IncomingMail", "--connections", "10")
    assert "50 is more than connections allows (10)" in answer["refused"][0]
    assert "Say which limits change" in await made.refused("listenerconfig", "limits", "IncomingMail")


async def test_completion_knows_listeners_and_certificates() -> None:
    made = desk()

    def offered(*words: str) -> list[str]:
        return [each.value for each in COMMANDS.complete(list(words[:-1]), words[-1], made.context)]

    assert offered("listenerconfig", "detail", "") == ["IncomingMail"]
    assert offered("listenerconfig", "new", "x", "--certificate", "d") == ["Demo"]
    assert offered("listenerconfig", "edit", "IncomingMail", "--type", "") == ["public", "private"]
