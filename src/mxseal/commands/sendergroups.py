"""Sender groups: which hosts and certificates get which mail flow policy, in order (reference §3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.hostaccess import listener_names
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.policyconfig import policy_names
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Problems, Result
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Document, SenderGroup
from mxseal.config.toml import from_plain

GROUPS = {"policyconfig group": "Sender groups: which hosts get which policy, in order"}
_NONE = "none"
_ALL = "all"


# --- values -----------------------------------------------------------------------------------------------


def group_names(ctx: Context) -> list[str]:
    return [group.name for group in candidate(ctx).sender_groups]


def _listener_words(ctx: Context) -> list[str]:
    return [*listener_names(ctx), _ALL]


Policy = Annotated[
    str, Option("Their mail flow policy", complete=policy_names, metavar="NAME", ask="Mail flow policy:")
]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a group is for; empty: as it is."""

    member: Annotated[
        tuple[str, ...],
        Option(
            "Address, network, host name, '.domain' or ALL; several may be named; 'none'",
            metavar="MEMBER",
            ask="Hosts, with spaces between them:",
        ),
    ] = ()
    certificate: Annotated[
        tuple[str, ...],
        Option(
            "A client certificate that belongs to it: 'sha256:' and 64 digits, or a DNS name in it; 'none'",
            metavar="IDENTITY",
        ),
    ] = ()
    listener: Annotated[
        tuple[str, ...],
        Option(
            "Only on this listener; several may be named; 'all'", complete=_listener_words, metavar="NAME"
        ),
    ] = ()

    @property
    def empty(self) -> bool:
        return not (self.member or self.certificate or self.listener)


def _changed(document: Document, plain: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The keys of a group with what the options change. A value that is named twice counts once."""
    values = dict(plain)
    if settings.member:
        values["members"] = _list(settings.member, _NONE)
    if settings.certificate:
        values["certificates"] = _list(settings.certificate, _NONE)
    if settings.listener:
        spelled = {entry.name.lower(): entry.name for entry in document.listeners}
        values["listeners"] = [spelled.get(each.lower(), each) for each in _list(settings.listener, _ALL)]
    return values


def _list(words: Sequence[str], nothing: str) -> list[str]:
    return [] if [word.lower() for word in words] == [nothing] else list(dict.fromkeys(words))


def _made(plain: dict[str, Any]) -> SenderGroup | list[Problem]:
    """The group that these values make, each member once, or all that is wrong with them."""
    found = from_plain({"sender_groups": [plain]})
    if isinstance(found, list):
        return found
    group = found.sender_groups[0]
    return group.model_copy(update={"members": tuple(dict.fromkeys(group.members))})


def _policy(document: Document, name: str) -> str:
    """As the policy is written; one that is not there stays, for the warning about the commit."""
    known = {policy.name.lower(): policy.name for policy in document.mail_flow_policies}
    return known.get(name.lower(), name)


def _known(document: Document, name: str) -> SenderGroup:
    """The group, upper or lower case. Raises CommandFailed with the names that there are."""
    known = {group.name.lower(): group for group in document.sender_groups}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    names = ", ".join(group.name for group in document.sender_groups) or _NONE
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {names}."
    raise CommandFailed(f"There is no sender group called {name}. {hint}")


def _with(document: Document, groups: Sequence[SenderGroup]) -> Document:
    return document.model_copy(update={"sender_groups": tuple(groups)})


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a group, as it would be typed."""
    group = _known(candidate(ctx), given["name"])
    return {"policy": group.policy, **_typed(group)}


def _present_new(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a group about which nothing was said: for nobody, behind the others."""
    document = candidate(ctx)
    nobody = SenderGroup(name="NEW", policy=document.default_policy)
    return {**_typed(nobody), "before": len(document.sender_groups) + 1}


def _typed(group: SenderGroup) -> dict[str, Any]:
    return {
        "member": list(group.members) or [_NONE],
        "certificate": list(group.certificates) or [_NONE],
        "listener": list(group.listeners) or [_ALL],
    }


def _present_place(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    document = candidate(ctx)
    return {"number": facts_of(document, _known(document, given["name"]))["number"]}


def facts_of(document: Document, group: SenderGroup) -> dict[str, Any]:
    """All that a group says, and its place, for programs."""
    names = [each.name for each in document.sender_groups]
    return {"number": names.index(group.name) + 1, **group.model_dump(mode="json")}


# --- commands ---------------------------------------------------------------------------------------------


@command("policyconfig", "group", "list", role="read-only", summary="List the sender groups in their order")
def group_list(ctx: Context) -> Result:
    """With your uncommitted changes. The first group that matches decides. 'hostaccess' shows access and TLS
    level beside them."""
    document = candidate(ctx)
    columns = (
        Column("Number"),
        Column("Group", cut=24),
        Column("Policy", cut=24),
        Column("Members", cut=40),
        Column("Certificates", cut=24),
        Column("Listeners", cut=24),
    )
    rows = tuple(
        (
            at,
            group.name,
            group.policy,
            ", ".join(group.members) or None,
            ", ".join(group.certificates) or None,
            ", ".join(group.listeners) or None,
        )
        for at, group in enumerate(document.sender_groups, 1)
    )
    return Listing(
        columns,
        rows,
        title="Sender groups",
        empty=f"There is no group: all hosts have the policy {document.default_policy}.",
        note=f"Hosts that no group matches have the policy {document.default_policy}." if rows else "",
        facts=tuple(facts_of(document, group) for group in document.sender_groups),
    )


@command("policyconfig", "group", "new", role="operator", summary="Add a sender group", present=_present_new)
def group_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Enter a name for this sender group:")],
    *,
    policy: Policy,
    settings: Settings,
    before: Annotated[int | None, Option("Put it before the one of this number", least=1)] = None,
) -> Result:
    """It stands behind the others unless --before says otherwise; the first that matches a host decides.

    Host names and domains are compared with the client's name in DNS, and only when that name's addresses
    lead back to the client."""
    document = candidate(ctx)
    plain = {"name": name.strip(), "policy": _policy(document, policy)}
    made = _made(_changed(document, plain, settings))
    if isinstance(made, list):
        return Problems(f"No sender group {name} was made", tuple(made))
    if any(group.name.lower() == made.name.lower() for group in document.sender_groups):
        raise CommandFailed(
            f"There is a sender group called {made.name} already. 'policyconfig group edit {made.name}' "
            "changes it"
        )
    groups = list(document.sender_groups)
    groups.insert(len(groups) if before is None else before - 1, made)
    document = _with(document, groups)
    facts = facts_of(document, made)
    return stage(ctx, document, f"Sender group {made.name} was added as number {facts['number']}.", facts)


GroupName = Annotated[str, Argument("Name of the group", complete=group_names, ask="Which sender group:")]


@command("policyconfig", "group", "edit", role="operator", summary="Change a sender group", present=_present)
def group_edit(
    ctx: Context,
    name: GroupName,
    *,
    policy: Annotated[
        str | None, Option("Their mail flow policy", complete=policy_names, metavar="NAME")
    ] = None,
    settings: Settings,
    add: Annotated[
        list[str], Option("A further member; several may be named", metavar="MEMBER", quiet=True)
    ] = [],  # noqa: B006 - never changed
    remove: Annotated[
        list[str], Option("A member that goes; several may be named", metavar="MEMBER", quiet=True)
    ] = [],  # noqa: B006
) -> Result:
    """What is left out stays. --member names all members anew, --add and --remove single ones; so do
    --certificate and --listener with theirs."""
    document = candidate(ctx)
    group = _known(document, name)
    if policy is None and settings.empty and not add and not remove:
        raise CommandFailed("Say what changes; 'help policyconfig group edit' shows the options", 2)
    if settings.member and (add or remove):
        raise CommandFailed("--member names all members: leave out --add and --remove", 2)
    plain = _changed(document, group.model_dump(exclude_defaults=True), settings)
    if policy is not None:
        plain["policy"] = _policy(document, policy)
    gone = _made({"name": group.name, "policy": group.policy, "members": list(remove)})
    made = _made({**plain, "members": [*plain.get("members", ()), *add]})
    wrong = [problem for found in (made, gone) if isinstance(found, list) for problem in found]
    if isinstance(made, list) or isinstance(gone, list):
        return Problems(f"Sender group {group.name} is as it was", tuple(wrong))
    missing = [member for member in gone.members if member not in made.members]
    if missing:
        raise CommandFailed(f"{', '.join(missing)}: not a member of {group.name}. Nothing was changed")
    left = tuple(member for member in made.members if member not in gone.members)
    made = made.model_copy(update={"members": left})
    groups = [made if each.name == group.name else each for each in document.sender_groups]
    document = _with(document, groups)
    return stage(ctx, document, f"Sender group {made.name} was changed.", facts_of(document, made))


@command("policyconfig", "group", "delete", role="operator", summary="Remove a sender group")
def group_delete(ctx: Context, name: GroupName) -> Result:
    """Its hosts then have the policy of the next group that matches them, in the end the default one."""
    document = candidate(ctx)
    group = _known(document, name)
    left = [each for each in document.sender_groups if each.name != group.name]
    return stage(ctx, _with(document, left), f"Sender group {group.name} was deleted.", {"name": group.name})


@command(
    "policyconfig",
    "group",
    "move",
    role="operator",
    summary="Give a sender group another place",
    present=_present_place,
)
def group_move(
    ctx: Context,
    name: GroupName,
    number: Annotated[int, Argument("Its new place; 1 comes first", least=1, ask="Which place:")],
) -> Result:
    """The first group that matches a host decides, so those with few members stand before those with many."""
    document = candidate(ctx)
    group = _known(document, name)
    groups = [each for each in document.sender_groups if each.name != group.name]
    groups.insert(number - 1, group)
    document = _with(document, groups)
    facts = facts_of(document, group)
    order = ", ".join(each.name for each in groups)
    message = f"Sender group {group.name} is now number {facts['number']}: {order}."
    return stage(ctx, document, message, facts)
