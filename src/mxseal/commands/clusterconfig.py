"""Several machines under one configuration: `clusterconfig` (reference §8). All of it is in force at once.

docs/cluster.md says what stands behind it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec

from mxseal.cluster import change as changes_of
from mxseal.cluster import joining, levels
from mxseal.cluster.desk import Desk, NoMember, Report
from mxseal.cluster.engine import EngineAway
from mxseal.cluster.history import ClusterHistory
from mxseal.cluster.joining import Way
from mxseal.cluster.keys import Distrust, Identity, fingerprint
from mxseal.cluster.levels import FIRST_GROUP, Cluster, Level, Refused
from mxseal.cluster.membership import Membership, read_token
from mxseal.cluster.record import Author
from mxseal.cluster.settings import certificate_of
from mxseal.commands.certificates import certificate_names as certificates
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, FileText, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Cell, Column, Done, Field, Problems, Record, Result, Table
from mxseal.commands.times import when
from mxseal.config.history import BuildFailed

GROUPS = {"clusterconfig": "Several machines under one configuration"}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_GROUP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,31}")
_SERVER = re.compile(r"tls://[A-Za-z0-9.:\[\]-]{1,255}:\d{1,5}")
_ALONE = "This machine is in no cluster: 'clusterconfig create' begins one, 'clusterconfig join' enters one"
_STALE = 180.0
"""Seconds without a word from a machine, after which that is told."""

_Server = Annotated[list[str], Option("A server of the engine, tls://HOST:PORT; several for each of them")]
_Certificate = Annotated[
    str, Option("The certificate by which the engine knows this machine", complete=certificates)
]
_Authority = Annotated[FileText, Option("PEM file of the authority that the engine's certificates are from")]


def member(ctx: Context) -> tuple[Desk, Membership, ClusterHistory]:
    """Raises CommandFailed on a machine that is in no cluster."""
    desk = ctx.services.cluster
    try:
        membership, history = desk.member
    except NoMember:
        raise CommandFailed(_ALONE) from None
    return desk, membership, history


def machines(ctx: Context) -> list[str]:
    history = ctx.services.cluster.history
    return [] if history is None else list(history.agreed.machines)


def groups(ctx: Context) -> list[str]:
    history = ctx.services.cluster.history
    return [] if history is None else list(history.agreed.groups)


async def told(work: Awaitable[Cluster]) -> Cluster:
    """What was done, or why not, as a sentence. Raises CommandFailed."""
    try:
        return await work
    except (Refused, Distrust) as refused:
        raise CommandFailed(f"Nothing was changed. {refused}") from None
    except EngineAway as away:
        raise CommandFailed(f"Nothing was changed: the cluster's engine is needed for it. {away}") from None


def _way(servers: list[str], certificate: str, authority: FileText) -> Way:
    for server in servers:
        if not _SERVER.fullmatch(server):
            raise CommandFailed(f"{server} is no server of an engine: write tls://HOST:PORT")
    if not servers:
        raise CommandFailed("Name at least one server of the engine: --server tls://HOST:PORT")
    if "-----BEGIN CERTIFICATE-----" not in authority.text:
        raise CommandFailed(f"{authority.path} holds no certificate in PEM")
    return Way(servers=tuple(servers), authority=authority.text, certificate=certificate)


def _stranger(ctx: Context, certificate: str, discard: bool) -> None:
    """Raises CommandFailed on a member, for a certificate that is not there, and for changes that would be
    lost."""
    services = ctx.services
    if services.cluster.membership is not None:
        name = services.cluster.membership.cluster
        raise CommandFailed(
            f"This machine is in the cluster {name}: 'clusterconfig removemachine' takes it out"
        )
    if services.history.current().document.certificate(certificate) is None:
        raise CommandFailed(f"There is no certificate {certificate!r} in force: import one, and commit")
    owners = services.cluster.around.state.candidate_owners()
    if owners and not discard:
        raise CommandFailed(
            f"There are uncommitted changes ({', '.join(owners)}) that would be lost: commit or clear them "
            "first, or add --discard"
        )


_Discard = Annotated[bool, Option("Give up everybody's uncommitted changes")]


@command(
    "clusterconfig", "create", role="administrator", summary="Make a cluster of this machine", reads=False
)
async def create(
    ctx: Context,
    name: Annotated[str, Argument("Name of the new cluster: letters, digits, '-', '_'")],
    *,
    server: _Server,
    certificate: _Certificate,
    authority: _Authority,
    discard: _Discard = False,
) -> Result:
    """Its settings become those of the cluster; hostname, interfaces, workers and the certificate for the
    engine stay its own. Further machines come with a token ('clusterconfig token').
    """
    if not _NAME.fullmatch(name):
        raise CommandFailed(f"{name!r} is no name of a cluster: letters, digits, '-' and '_', at most 32")
    _stranger(ctx, certificate, discard)
    desk = ctx.services.cluster
    cluster = await told(joining.create(desk, name, _way(server, certificate, authority), ctx.user))
    mine = _fingerprint(desk)
    return Done(
        f"Cluster {name} was created, with revision {cluster.number}. It is in force at once.\n"
        f"Fingerprint of this machine: {mine}",
        {"cluster": name, "revision": cluster.number, "fingerprint": mine},
    )


def _fingerprint(desk: Desk) -> str:
    membership, _ = desk.member
    return Identity(membership.identity).fingerprint


@command("clusterconfig", "token", role="administrator", summary="A token with which one machine can join",
         reads=False)  # fmt: skip
async def token(
    ctx: Context, *, group: Annotated[str, Option("Group that it comes to", complete=groups)] = FIRST_GROUP
) -> Result:
    """It holds for an hour and once. Who has it can join, and then has the keys of the cluster's
    certificates: hand it over as you would a password.
    """
    desk, membership, _ = member(ctx)
    try:
        made = await joining.invite(desk, group)
    except (Refused, Distrust, EngineAway) as refused:
        raise CommandFailed(f"There is no token. {refused}") from None
    fields = (
        Field("Token", made.encode()),
        Field("Cluster", membership.cluster),
        Field("Group", group),
        Field("Fingerprint of this machine", made.fingerprint, "fingerprint"),
    )
    return Record(fields)


@command("clusterconfig", "join", role="administrator", summary="Enter a cluster with a token")
async def join(
    ctx: Context,
    *,
    token: Annotated[Secret, Option("Of 'clusterconfig token' on a member", ask="Paste the token:")],
    server: _Server,
    certificate: _Certificate,
    authority: _Authority,
    keep: Annotated[
        list[str] | None, Option("A setting that stays this machine's own, such as listeners")
    ] = None,
    discard: _Discard = False,
) -> Result:
    """All settings of this machine are replaced by those of the cluster, but hostname, interfaces, workers,
    the certificate for the engine, and what --keep names. Nothing is changed if this machine can't do what
    the cluster says, because a port is taken for instance.
    """
    _stranger(ctx, certificate, discard)
    desk = ctx.services.cluster
    invitation = read_token(token.text)
    if invitation is not None and ctx.client.interactive:
        await _compared(ctx, invitation.inviter, invitation.fingerprint)
    way = _way(server, certificate, authority)
    try:
        cluster = await told(joining.enter(desk, token.text, way, tuple(keep or ()), ctx.user))
    except BuildFailed as failed:
        return Problems(
            "This machine did not join: it can't do what the cluster says. '--keep SETTING' keeps its own",
            tuple(failed.problems),
        )
    mine, machine = _fingerprint(desk), desk.member[0].machine
    group = cluster.machine(machine).group
    return Done(
        f"This machine joined the group {group} of the cluster {cluster.name}. It is in force at once.\n"
        f"Fingerprint of this machine: {mine}\n'clusterconfig list' on another shows the same.",
        {"cluster": cluster.name, "group": group, "revision": cluster.number, "fingerprint": mine},
    )


async def _compared(ctx: Context, inviter: str, shown: str) -> None:
    answer = await ctx.client.ask(
        f"The token was made on {inviter}, whose fingerprint is {shown}.\nIs that what it shows there?", "Y"
    )
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandFailed("This machine did not join: get a new token on a machine that you know")


@command("clusterconfig", "list", role="read-only", summary="The machines of the cluster, by group")
def listed(ctx: Context) -> Result:
    _, membership, history = member(ctx)
    cluster = history.agreed
    rows: list[tuple[Cell, ...]] = []
    for group in cluster.groups:
        inside = {name: each for name, each in cluster.machines.items() if each.group == group}
        rows += [
            (
                group,
                name,
                fingerprint(each.signing, each.sealing),
                when(each.joined),
                name == membership.machine,
            )
            for name, each in inside.items()
        ]
        if not inside:
            rows.append((group, "", "", "", False))
    columns = (
        Column("Group"), Column("Machine"), Column("Fingerprint"), Column("Joined"),
        Column("This machine", "own"),
    )  # fmt: skip
    return Table(columns, tuple(rows), title=f"Cluster {cluster.name}, revision {cluster.number}")


@command("clusterconfig", "connstatus", role="read-only", summary="How the machines of the cluster do")
async def connstatus(ctx: Context) -> Result:
    """What each machine told last, through the engine: which revision is in force there, what is wrong."""
    desk, membership, history = member(ctx)
    problem = ""
    reports: dict[str, Report] = {}
    try:
        reports = await desk.reports()
    except EngineAway as away:
        problem = str(away)
    now = ctx.services.now()
    rows = []
    for name in history.agreed.machines:
        own = name == membership.machine
        report = reports.get(name)
        number = history.in_force if own else report.number if report else None
        state = desk.problem if own else report.problem if report else "it has told nothing"
        if report is not None and not own and now - report.at > _STALE:
            state = f"silent since {when(report.at).text}{f'; {state}' if state else ''}"
        rows.append((name, "" if number is None else number, state or "ok"))
    link = desk.link
    note = f"Connected to the engine's server {link.server}." if link and link.server else ""
    if problem or not note:
        note = (
            f"Not connected to the engine: {problem or 'see above'}. Mail goes on; nothing can be committed."
        )
    columns = (Column("Machine"), Column("Revision in force", "revision"), Column("State"))
    title = f"Cluster {membership.cluster}, revision {history.agreed.number}"
    return Table(columns, tuple(rows), title=title, note=note)


# --- groups ------------------------------------------------------------------------------------------------


async def _amend(ctx: Context, change: Callable[[Cluster], Cluster], comment: str) -> Cluster:
    desk, membership, _ = member(ctx)
    author = Author(membership.machine, ctx.user, comment, ctx.services.now())
    return await told(desk.amend(change, author))


def _group_name(name: str) -> str:
    if not _GROUP_NAME.fullmatch(name):
        raise CommandFailed(
            f"{name!r} is no name of a group: letters, digits, ' ', '.', '-', '_', at most 32"
        )
    return name


_Group = Annotated[str, Argument("Name of the group", complete=groups)]
_NewGroup = Annotated[str, Argument("Its new name")]
_Machine = Annotated[str, Argument("Name of the machine", complete=machines)]
_IN_FORCE = "It is in force at once."


@command("clusterconfig", "addgroup", role="administrator", summary="Make a group")
async def addgroup(ctx: Context, name: _NewGroup) -> Result:
    _group_name(name)
    await _amend(ctx, lambda cluster: levels.add_group(cluster, name), f"group {name} added")
    return Done(f"The group {name} was added. {_IN_FORCE}", {"group": name})


@command("clusterconfig", "renamegroup", role="administrator", summary="Give a group another name")
async def renamegroup(ctx: Context, name: _Group, new: _NewGroup) -> Result:
    _group_name(new)
    await _amend(ctx, lambda cluster: levels.rename_group(cluster, name, new), f"group {name} renamed")
    return Done(f"The group {name} is now called {new}. {_IN_FORCE}", {"group": new})


@command("clusterconfig", "deletegroup", role="administrator", summary="Remove a group that has no machines")
async def deletegroup(ctx: Context, name: _Group) -> Result:
    """Its settings go with it."""
    await _amend(ctx, lambda cluster: levels.delete_group(cluster, name), f"group {name} deleted")
    return Done(f"The group {name} was deleted. {_IN_FORCE}", {"group": name})


@command("clusterconfig", "setgroup", role="administrator", summary="Move a machine into another group")
async def setgroup(ctx: Context, machine: _Machine, group: _Group) -> Result:
    """It then inherits the settings of that group."""
    change = f"{machine} moved to group {group}"
    await _amend(ctx, lambda cluster: levels.move_machine(cluster, machine, group), change)
    return Done(f"{machine} is now in the group {group}. {_IN_FORCE}", {"machine": machine, "group": group})


# --- leaving -----------------------------------------------------------------------------------------------


@command("clusterconfig", "removemachine", role="administrator", summary="Take a machine out of the cluster")
async def removemachine(
    ctx: Context,
    machine: _Machine,
    *,
    up: Annotated[bool, Option("Move the certificates that only it has up to its group first")] = False,
    yes: Annotated[bool, Option("Do not ask", short="-y")] = False,
) -> Result:
    """It goes on as before, by itself: what it inherits becomes its own. The cluster loses what the machine
    has at its own level, its certificates among it. The other machines get a new key; the removed one still
    has the keys of certificates that it used: renew those if it is not to be trusted any more.
    """
    desk, membership, history = member(ctx)
    try:
        gone = levels.lost(history.agreed, machine)
    except Refused as refused:
        raise CommandFailed(str(refused)) from None
    own = f"certificate {membership.certificate}" if machine == membership.machine else ""
    lost = [name for name in gone if name != own and not (up and certificate_of(name) is not None)]
    warning = f"The cluster loses the settings of {machine}: {', '.join(lost)}. " if lost else ""
    if not yes:
        await _sure(ctx, machine, warning)
    if up:
        certificates_of = [name for name in gone if certificate_of(name) is not None and name != own]
        await _amend(
            ctx, lambda cluster: _moved_up(cluster, machine, certificates_of), f"{machine}: moved up"
        )
    cluster = await told(joining.remove(desk, machine, ctx.user))
    return Done(
        f"{machine} was removed from the cluster {cluster.name}. {warning}{_IN_FORCE}",
        {"machine": machine, "lost": lost},
    )


def _moved_up(cluster: Cluster, machine: str, names: list[str]) -> Cluster:
    here, group = Level("machine", machine), Level("group", cluster.machine(machine).group)
    for name in names:
        if name in cluster.at(group):
            raise Refused(f"The group {group.name} has a {name} itself: rename one of them first")
        cluster = changes_of.copy(cluster, name, here, group)
    return cluster


async def _sure(ctx: Context, machine: str, warning: str) -> None:
    if not ctx.client.interactive:
        raise CommandFailed(f"Nothing was changed. {warning}Add --yes to remove {machine}")
    answer = await ctx.client.ask(f"{warning}Remove {machine}, at once? Are you sure?", "N")
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandFailed("Nothing was changed")


@command("clusterconfig", "disconnect", role="administrator", summary="Detach this machine for a while")
async def disconnect(ctx: Context) -> Result:
    """It stays a member and keeps the configuration that it has, but hears no news and can't commit."""
    desk, membership, _ = member(ctx)
    desk.keep(_replace(membership, connected=False))
    await desk.stop()
    return Done(f"This machine is detached from the cluster {membership.cluster}.", {"connected": False})


@command("clusterconfig", "reconnect", role="administrator", summary="Attach this machine again")
def reconnect(ctx: Context) -> Result:
    desk, membership, _ = member(ctx)
    if membership.connected:
        return Done("This machine was not detached.", {"connected": True})
    desk.keep(_replace(membership, connected=True))
    desk.start()
    return Done(
        f"This machine takes part in the cluster {membership.cluster} again once it reaches the engine.",
        {"connected": True},
    )


def _replace(membership: Membership, *, connected: bool) -> Membership:
    return msgspec.structs.replace(membership, connected=connected)
