"""TLS levels by sender or recipient, which outrank the destination's (reference §3.6)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from pydantic import ValidationError

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.ldapgroups import group_names, known_group
from mxseal.commands.levels import LABELS, MENU, check_level, level_words, read_level
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Result
from mxseal.commands.staging import stage
from mxseal.config.model import Document, TlsOverride

GROUPS = {"destconfig override": "TLS levels by sender or recipient, which outrank the destination's"}


def override_text(override: TlsOverride) -> str:
    """'sender board@example.com: required-verify'."""
    return f"{_subject(override)}: {override.tls}"


def _subject(override: TlsOverride) -> str:
    names = {
        "sender": override.sender,
        "recipient": override.recipient,
        "sender group": override.sender_group,
        "recipient group": override.recipient_group,
    }
    return next(f"{label} {name}" for label, name in names.items() if name is not None)


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """People that a directory knows."""

    sender_group: Annotated[
        str | None, Option("A directory group of the sender", metavar="NAME", complete=group_names)
    ] = None
    recipient_group: Annotated[
        str | None, Option("The same for a recipient", metavar="NAME", complete=group_names)
    ] = None
    unavailable: Annotated[
        Literal["defer", "member", "no-member"],
        Option("Where no server says who is in the group: the message waits, or they are taken for one"),
    ] = "defer"


@command("destconfig", "override", "list", role="read-only", summary="List the overrides in their order")
def override_list(ctx: Context) -> Result:
    """With your uncommitted changes. The first that concerns a message counts for it."""
    numbered = list(enumerate(candidate(ctx).tls_overrides, 1))
    rows = tuple(
        (
            number,
            _shown(each.sender, each.sender_group),
            _shown(each.recipient, each.recipient_group),
            each.tls,
        )
        for number, each in numbered
    )
    facts = tuple({"number": number, **each.model_dump(mode="json")} for number, each in numbered)
    columns = (Column("Number"), Column("Sender"), Column("Recipient"), Column("TLS"))
    empty = "There is no override. 'destconfig override add' makes one."
    return Listing(columns, rows, empty=empty, facts=facts)


def _shown(pattern: str | None, group: str | None) -> str | None:
    return f"group {group}" if group is not None else pattern


@command("destconfig", "override", "add", role="operator", summary="Add an override")
def override_add(
    ctx: Context,
    tls: Annotated[
        str, Argument("TLS level", metavar="LEVEL", complete=level_words, ask=MENU, check=check_level)
    ],
    *,
    sender: Annotated[
        str | None, Option("user@example.com, example.com, .example.com or all", metavar="PATTERN")
    ] = None,
    recipient: Annotated[str | None, Option("The same for a recipient", metavar="PATTERN")] = None,
    groups: Groups,
    before: Annotated[int | None, Option("Put it before the one of this number", least=1)] = None,
) -> Result:
    """For a sender or a recipient, or the members of a directory group as one of both. It stands behind the
    others unless --before says otherwise; 'help destconfig new' explains the levels."""
    document = candidate(ctx)
    subject = {"sender": sender, "recipient": recipient}
    for key in ("sender_group", "recipient_group"):
        name = getattr(groups, key)
        subject[key] = known_group(document, name).name if name is not None else None
    if sum(each is not None for each in subject.values()) != 1:
        raise CommandFailed(
            "Say for whom: --sender or --recipient, one of both; or a directory group: --sender-group or "
            "--recipient-group",
            2,
        )
    level = read_level(tls)
    if level is None:
        raise CommandFailed(f"An override needs a level of its own: {', '.join(LABELS)}", 2)
    try:
        override = TlsOverride.model_validate(subject | {"tls": level, "unavailable": groups.unavailable})
    except ValidationError as error:
        raise CommandFailed(f"{error.errors()[0]['ctx']['error']}", 2) from None
    entries = list(document.tls_overrides)
    same = [at for at, each in enumerate(entries, 1) if _subject(each) == _subject(override)]
    if same:
        remedy = f"'destconfig override delete {same[0]}' removes it"
        raise CommandFailed(
            f"There is an override for {_subject(override)} already, number {same[0]}. {remedy}"
        )
    entries.insert(len(entries) if before is None else min(before - 1, len(entries)), override)
    number = entries.index(override) + 1
    message = f"Override {number}, {override_text(override)}, was added."
    facts = {"number": number, **override.model_dump()}
    return stage(ctx, _with(document, entries), message, facts, *_covered(entries, number))


def _with(document: Document, entries: list[TlsOverride]) -> Document:
    return document.model_copy(update={"tls_overrides": tuple(entries)})


def _covered(entries: list[TlsOverride], number: int) -> list[str]:
    """A note where an earlier override for everybody leaves nothing to this one."""
    for at, each in enumerate(entries[: number - 1], 1):
        if "all" in (each.sender, each.recipient):
            return [f"Note: override {at} is for everybody and comes first, so this one is never used."]
    return []


def _numbers(ctx: Context) -> list[str]:
    return [str(number) for number in range(1, len(candidate(ctx).tls_overrides) + 1)]


@command("destconfig", "override", "delete", role="operator", summary="Remove an override")
def override_delete(
    ctx: Context,
    number: Annotated[
        int, Argument("Its number in the list", complete=_numbers, least=1, ask="Which number:")
    ],
) -> Result:
    document = candidate(ctx)
    entries = list(document.tls_overrides)
    if number > len(entries):
        raise CommandFailed(
            f"There is no override {number}. 'destconfig override list' shows those there are"
        )
    gone = entries.pop(number - 1)
    message = f"Override {number}, {override_text(gone)}, was removed."
    return stage(ctx, _with(document, entries), message, {"number": number})
