"""`smtproutes`: single routes, all of them, files; all on the candidate."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.commands import configuration, smtproutes
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from tests.commands.desk import Desk

COMMANDS = Registry((smtproutes, configuration))
ROUTES = {
    "example.com": ("mail.example.com:25", "192.0.2.7"),
    ".example.com": ("[2001:db8::1]:2525",),
    "all": ("relay.example.net",),
}


def desk(role: Role = "operator", **given: Any) -> Desk:
    made = Desk(COMMANDS, role, **given)
    made.services.edit(made.context.owner, smtp_routes=ROUTES)
    return made


async def test_a_route_is_made_changed_and_put_in_force_by_commit() -> None:
    made = desk()
    told = await made.ok("smtproutes", "new", "Bank.Example", "mx1.bank.example:2525", "192.0.2.1")
    assert told["domain"] == "bank.example"
    assert "The route for bank.example was added. It takes effect with 'commit'." in made.text
    assert made.document.smtp_routes["bank.example"] == ("mx1.bank.example:2525", "192.0.2.1")
    await made.ok("smtproutes", "edit", "BANK.example", "mx2.bank.example")
    await made.ok("commit", "routes")
    assert made.services.history.current().document.smtp_routes == {
        **ROUTES, "bank.example": ("mx2.bank.example",),
    }  # fmt: skip


async def test_the_list_says_where_all_other_mail_goes() -> None:
    made = desk()
    rows = await made.ok("smtproutes", "list")
    assert rows == [{"domain": domain, "hosts": list(hosts)} for domain, hosts in ROUTES.items()]
    assert "example.com mail.example.com:25, 192.0.2.7" in made.text
    assert "takes the route of 'all'" in made.text
    await made.ok("smtproutes", "delete", "all")
    await made.ok("smtproutes", "list")
    assert "Mail to other domains goes to the domain's mail exchangers (MX)." in made.text


async def test_what_is_wrong_with_a_route_is_told_at_once() -> None:
    told = await desk().refused("smtproutes", "new", "bad domain", "ok.example", "two words", "host:99999")
    for piece in ("'bad domain' is not a domain name", "'two words' is not", "the port must be 1 to 65535"):
        assert piece in told
    told = await desk().refused("smtproutes", "edit", "example.com", "a b", "host:0")
    assert "The route for example.com is as it was" in told
    assert "'a b' is not a domain name" in told
    assert "'host:0': the port must be" in told


async def test_a_domain_has_one_route_and_a_missing_one_is_guessed() -> None:
    made = desk()
    assert "There is a route for example.com already" in await made.refused(
        "smtproutes", "new", "EXAMPLE.com", "mx.example"
    )
    assert "Did you mean example.com?" in await made.refused("smtproutes", "delete", "exampel.com")
    assert "There is no route for nobody.test" in await made.refused("smtproutes", "edit", "nobody.test", "a")
    assert "not a domain name" in await made.refused("smtproutes", "delete", "no domain")


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ("example.com", "Its mail now goes to relay.example.net port 25, as another route says."),
        ("all", "Mail without a route of its own now goes to the mail exchangers (MX) of its domain."),
    ],
)
async def test_delete_says_how_the_mail_leaves_afterwards(domain: str, told: str) -> None:
    made = desk()
    await made.ok("smtproutes", "delete", domain)
    assert told in made.text
    assert domain not in made.document.smtp_routes


async def test_a_deleted_route_with_no_other_leaves_the_mail_exchangers() -> None:
    made = desk()
    await made.ok("smtproutes", "delete", "all")
    await made.ok("smtproutes", "delete", "example.com")
    assert "Its mail now goes to the domain's mail exchangers (MX)." in made.text


async def test_clear_removes_all_routes_once() -> None:
    made = desk()
    told = await made.ok("smtproutes", "clear")
    assert told["deleted"] == 3
    assert made.document.smtp_routes == {}
    assert "There is no route" in await made.refused("smtproutes", "clear")


async def test_a_route_back_to_the_gateway_is_told_with_the_change() -> None:
    made = desk()
    listener = made.document.listeners[0]
    told = await made.ok("smtproutes", "new", "loop.example", f"{listener.address}:{listener.port}")
    assert "mail would go round in circles" in told["refused"][0]
    assert "Warning: commit will refuse this" in made.text


async def test_what_was_exported_is_imported_as_it_was() -> None:
    made = desk()
    await made.ok("smtproutes", "export", "routes.txt")
    made.services.edit(made.context.owner, smtp_routes={"gone.example": ("a",), "all": ("b",)})
    told = await made.ok("smtproutes", "import", "routes.txt")
    assert made.document.smtp_routes == ROUTES
    assert (told["added"], told["changed"]) == (["example.com", ".example.com"], ["all"])
    assert told["removed"] == ["gone.example"]


async def test_merge_keeps_the_routes_that_the_file_does_not_have() -> None:
    made = desk(files={"r": b"# ours\n\nnew.example a.example, b.example:26\nall c.example\n"})
    await made.ok("smtproutes", "import", "r", "--merge")
    assert made.document.smtp_routes == {
        **ROUTES, "all": ("c.example",), "new.example": ("a.example", "b.example:26"),
    }  # fmt: skip


async def test_all_mistakes_of_a_file_are_told_with_their_lines_and_nothing_is_taken() -> None:
    made = desk(files={"r": b"a.example x\nb.example\n-bad- x y:0\nA.example z\n", "empty": b"# none\n"})
    await made.refused("smtproutes", "import", "r")
    assert [(each["path"], each["text"].partition(",")[0]) for each in made.json["problems"]] == [
        ("line 2", "the route for b.example has no next hop"),
        ("line 3", "'-bad-' is not a domain name"),
        ("line 3", "'y:0': the port must be 1 to 65535"),
        ("line 4", "a.example stands on line 1 already"),
    ]
    assert "has no route" in await made.refused("smtproutes", "import", "empty")


async def test_new_asks_for_domain_and_hosts_at_a_terminal() -> None:
    made = desk(answers=["new.example", "a.example b.example:26"])
    await made.ok("smtproutes", "new")
    assert made.document.smtp_routes["new.example"] == ("a.example", "b.example:26")


async def test_who_may_only_read_changes_nothing() -> None:
    made = desk("read-only")
    await made.ok("smtproutes", "list")
    assert "needs the role" in await made.refused("smtproutes", "clear")


async def test_completion_knows_the_domains_of_routes() -> None:
    made = desk()
    offered = COMMANDS.complete(["smtproutes", "edit"], "ex", made.context)
    assert [each.value for each in offered] == ["example.com"]
