"""Pending changes: the difference before it is in force, commit, giving up, and earlier revisions."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
from starlette.responses import Response

from mxseal.commands.results import Table
from mxseal.faces.web.calling import Answer
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

KINDS = {
    "listeners": N_("Listener"),
    "interfaces": N_("Interface"),
    "sender_groups": N_("Sender group"),
    "mail_flow_policies": N_("Mail flow policy"),
    "destinations": N_("Destination control"),
    "certificates": N_("Certificate"),
    "smtp_routes": N_("SMTP route"),
    "log_subscriptions": N_("Log"),
}
"""Objects that have a name: the second part of their path."""


class Line(msgspec.Struct, frozen=True):
    """One setting: its name within its object, old and new value; path for giving it up."""

    path: str
    name: str
    kind: str
    old: str
    new: str


class Group(msgspec.Struct, frozen=True):
    """The changes of one object: what it is (English), its name, its path."""

    what: str
    name: str
    path: str
    lines: tuple[Line, ...]


@page(
    "/changes",
    title=N_("Pending changes"),
    place="system",
    runs=("showchanges", "rollbackconfig"),
    summary=N_("What you changed and did not commit yet; earlier revisions."),
)
async def changes(visit: Visit) -> Response:
    return await _changes(visit)


async def _changes(visit: Visit, refused: Answer | None = None) -> Response:
    found = await visit.ask("showchanges")
    return visit.show(
        "changes/changes.html", 422 if refused else 200, groups=grouped(found.table), note=found.table.note,
        refused=refused, comment=visit.field("comment"),
        revisions=(await visit.ask("rollbackconfig")).table if visit.may("rollbackconfig") else None,
    )  # fmt: skip


@page("/changes/{revision}", title=N_("Revision"), place="system", runs=("showchanges", "rollbackconfig"))
async def revision(visit: Visit) -> Response:
    number = visit.number("revision")
    found = await visit.ask("showchanges", revision=number)
    return visit.show("changes/revision.html", number=number, groups=grouped(found.table))


def parts_of(path: str) -> list[str]:
    """The keys of a path as `showchanges` writes it: TOML's dotted keys."""
    try:
        tree: Any = tomllib.loads(f"{path} = 0")
    except tomllib.TOMLDecodeError:
        return [path]
    parts = []
    while isinstance(tree, dict):
        (key, tree), *_ = tree.items()
        parts.append(key)
    return parts


def grouped(table: Table) -> list[Group]:
    """By object, in the order in which they come."""
    found: dict[tuple[str, ...], list[Line]] = {}
    for row in table.rows:
        path, kind, old, new = (str(value) for value in row)
        parts = parts_of(path)
        depth = min(2 if parts[0] in KINDS else 1, len(parts))
        rest = ".".join(parts[depth:])
        found.setdefault(tuple(parts[:depth]), []).append(Line(path, rest, kind, old, new))
    return [
        Group(KINDS.get(key[0], key[0]), key[1] if len(key) > 1 else "", _common(lines), tuple(lines))
        for key, lines in found.items()
    ]


def _common(lines: list[Line]) -> str:
    """The path of the object, for giving up all of its changes."""
    first = lines[0]
    return first.path if not first.name else first.path[: -len(first.name) - 1]


@action("/changes/commit", title=N_("Pending changes"), place="system", runs=("commit",))
async def commit(visit: Visit) -> Response:
    answer = await visit.run("commit", comment=visit.field("comment")[:1000])
    return visit.go("/changes", answer) if answer.ok else await _changes(visit, answer)


@action("/changes/rebase", title=N_("Pending changes"), place="system", runs=("rebasechanges",))
async def rebase(visit: Visit) -> Response:
    overlap = visit.field("overlap")
    answer = await visit.run("rebasechanges", overlap=overlap if overlap in {"ours", "theirs"} else None)
    return visit.go("/changes", answer) if answer.ok else await _changes(visit, answer)


@action("/changes/discard", title=N_("Pending changes"), place="system", runs=("clearchanges",))
async def discard(visit: Visit) -> Response:
    only = visit.field("only")
    if not only and visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Give up all of your changes?")),
            text=visit.say(N_("What is in force stays as it is. The changes can't be brought back.")),
            verb=visit.say(N_("Give up the changes")),
            action="/changes/discard",
            back="/changes",
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go("/changes", await visit.run("clearchanges", yes=True, only=only or None))


@action("/changes/rollback", title=N_("Pending changes"), place="system", runs=("rollbackconfig",))
async def rollback(visit: Visit) -> Response:
    number = visit.field("revision")
    if not number.isdecimal():
        return visit.go("/changes")
    sure = visit.field("sure") == "yes"
    answer = await visit.run("rollbackconfig", revision=int(number[:12]), discard=sure)
    if answer.ok or sure or not visit.site.pending(visit):
        return visit.go("/changes", answer)
    ask = Confirmation(
        question=visit.say(N_("Give up your changes for revision {number}?"), number=number),
        text=visit.say(N_("You have changes that are not committed. They are lost when you go back.")),
        verb=visit.say(N_("Go back to the revision")),
        action="/changes/rollback",
        back="/changes",
        fields=(("revision", number),),
    )
    return visit.show("confirm.html", ask=ask)
