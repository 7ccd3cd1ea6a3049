"""Working at the levels of a cluster: `clustermode` chooses one, `clusterset` puts settings from one to
another, `certconfig rollout` shows what has arrived where (reference §8.2)."""

from __future__ import annotations

from typing import Annotated, Literal

from mxseal.certs.facts import fingerprint
from mxseal.certs.profiles import parse
from mxseal.cluster import change as changes_of
from mxseal.cluster.engine import EngineAway
from mxseal.cluster.history import ClusterHistory
from mxseal.cluster.levels import Cluster, Level, Refused, origins, overridden, view
from mxseal.commands.certificates import certificate_names as certificates
from mxseal.commands.clusterconfig import groups, machines, member
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Result, Table
from mxseal.commands.times import when

GROUPS = {"clusterset": "Settings of the cluster's levels: where they are, and from one to another"}


def _names(ctx: Context) -> list[str]:
    return [*groups(ctx), *machines(ctx)]


def _levels(ctx: Context) -> list[str]:
    history = ctx.services.cluster.history
    return [] if history is None else [level.words for level in history.agreed.levels()]


def _settings(ctx: Context) -> list[str]:
    history = ctx.services.cluster.history
    return [] if history is None else changes_of.known_settings(history.pending(ctx.owner))


@command("clustermode", role=("operator", "certificate-officer"), summary="Choose the level that you edit")
def clustermode(
    ctx: Context,
    kind: Annotated[Literal["cluster", "group", "machine"] | None, Argument("Kind of level")] = None,
    name: Annotated[str | None, Argument("Name of the group or machine", complete=_names)] = None,
) -> Result:
    """What you look at and change is then what is at this level, of any machine; the prompt shows it. Without
    words: where you are.
    """
    _, membership, history = member(ctx)
    if kind is not None:
        wanted = name or (membership.machine if kind == "machine" else "")
        if kind == "cluster":
            wanted = history.agreed.name
        try:
            history.choose(ctx.owner, Level(kind, wanted))
        except Refused as refused:
            raise CommandFailed(str(refused)) from None
    level = history.level(ctx.owner)
    return Done(f"You work at {level}.", {"kind": level.kind, "name": level.name})


def _level(history: ClusterHistory, words: str) -> Level:
    """'cluster', 'group G', 'machine M'. Raises CommandFailed."""
    kind, _, name = words.strip().partition(" ")
    if kind == "cluster":
        return history.agreed.top
    if kind in {"group", "machine"} and name:
        level = Level("group" if kind == "group" else "machine", name.strip())
        try:
            history.agreed.at(level)
        except Refused as refused:
            raise CommandFailed(str(refused)) from None
        return level
    raise CommandFailed(f'{words!r} is no level: write cluster, "group NAME" or "machine NAME"')


_From = Annotated[
    str | None, Option('Level, such as "machine mx1.example.com"', complete=_levels, flag="--from")
]
_To = Annotated[str, Option('Level, such as cluster or "group Main_Group"', complete=_levels)]
_At = Annotated[str | None, Option("Level; else the one that you work at", complete=_levels)]
_Setting = Annotated[str, Argument("As 'clusterset list' names it", complete=_settings)]
_Changers: Role = "administrator"


@command("clusterset", "list", role="read-only", summary="Where each setting comes from")
def listed(ctx: Context, *, at: _At = None) -> Result:
    """For the level that you work at, with your uncommitted changes. What no level has is as by default."""
    _, _, history = member(ctx)
    cluster = history.pending(ctx.owner)
    level = _level(history, at) if at else history.level(ctx.owner)
    found = origins(cluster, level)
    rows = tuple(
        (name, str(found[name]) if name in found else "default", _below(cluster, level, name))
        for name in changes_of.known_settings(cluster)
    )
    columns = (Column("Setting"), Column("Comes from", "origin"), Column("Its own at", "overridden"))
    return Table(columns, rows, title=f"As {level} sees it")


def _below(cluster: Cluster, level: Level, setting: str) -> str:
    return ", ".join(each.words for each in overridden(cluster, level, setting) if setting != "machine")


def _changed(ctx: Context, history: ClusterHistory, cluster: Cluster, message: str) -> Done:
    count = len(history.change_cluster(ctx.owner, cluster))
    rest = "Nothing is left to commit." if not count else "It takes effect with 'commit'."
    return Done(f"{message} {rest}", {"uncommitted_changes": count})


@command("clusterset", "new", role=_Changers, summary="Give a level an empty setting of its own")
def new(ctx: Context, setting: _Setting, *, at: _At = None) -> Result:
    """It is as by default there, and inherits no more."""
    _, _, history = member(ctx)
    level = _level(history, at) if at else history.level(ctx.owner)
    try:
        cluster = changes_of.begin(history.pending(ctx.owner), level, setting)
    except Refused as refused:
        raise CommandFailed(str(refused)) from None
    return _changed(ctx, history, cluster, f"{level} now has an empty setting {setting!r} of its own.")


@command("clusterset", "copy", role=_Changers, summary="Copy a setting from one level to another")
def copy(ctx: Context, setting: _Setting, *, to: _To, from_: _From = None) -> Result:
    """What holds at the first, also by inheritance, becomes the second one's own."""
    return _carried(ctx, setting, from_, to, moved=False)


@command("clusterset", "move", role=_Changers, summary="Move a setting from one level to another")
def move(ctx: Context, setting: _Setting, *, to: _To, from_: _From = None) -> Result:
    """The first level must have it itself, and inherits it afterwards."""
    return _carried(ctx, setting, from_, to, moved=True)


def _carried(ctx: Context, setting: str, from_: str | None, to: str, *, moved: bool) -> Done:
    _, _, history = member(ctx)
    source = _level(history, from_) if from_ else history.level(ctx.owner)
    target = _level(history, to)
    carry = changes_of.move if moved else changes_of.copy
    try:
        cluster = carry(history.pending(ctx.owner), setting, source, target)
    except Refused as refused:
        raise CommandFailed(str(refused)) from None
    return _changed(ctx, history, cluster, f"{target} now has the setting {setting!r} of {source}.")


@command("clusterset", "clear", role=_Changers, summary="Take a level's own setting away")
def clear(ctx: Context, setting: _Setting, *, at: _At = None) -> Result:
    """It inherits again."""
    _, _, history = member(ctx)
    level = _level(history, at) if at else history.level(ctx.owner)
    try:
        cluster = changes_of.clear(history.pending(ctx.owner), level, setting)
    except Refused as refused:
        raise CommandFailed(str(refused)) from None
    return _changed(ctx, history, cluster, f"{level} has no setting {setting!r} of its own any more.")


# --- what has arrived --------------------------------------------------------------------------------------


@command(
    "certconfig", "rollout", role="read-only", summary="On which machines a certificate is really served"
)
async def rollout(
    ctx: Context, name: Annotated[str, Argument("Name of the certificate", complete=certificates)]
) -> Result:
    """Each machine connects to its own listeners and interfaces as a stranger would, and tells which
    fingerprint it saw."""
    desk, _, history = member(ctx)
    cluster = history.agreed
    try:
        reports = await desk.reports()
    except EngineAway as away:
        raise CommandFailed(f"What other machines serve is not known now. {away}") from None
    rows = []
    there = arrived = 0
    for machine in cluster.machines:
        profile = view(cluster, Level("machine", machine)).certificate(name)
        bundle = parse(profile) if profile is not None else []
        if isinstance(bundle, list):
            continue
        wanted = fingerprint(bundle.leaf)
        report = reports.get(machine)
        seen = [] if report is None else report.served.get(name, [])
        there += 1
        right = bool(seen) and all(_same(each, wanted) for each in seen)
        arrived += right
        state = "served" if right else "another one is served" if any(seen) else "not seen"
        rows.append(
            (machine, report.number if report else "", state, ", ".join(filter(None, seen)),
             when(report.at) if report else "")
        )  # fmt: skip
    if not there:
        raise CommandFailed(f"No machine of the cluster has a certificate {name!r}")
    columns = (
        Column("Machine"), Column("Revision"), Column("State"), Column("Fingerprint seen", "fingerprint"),
        Column("Told"),
    )  # fmt: skip
    return Table(columns, tuple(rows), title=f"{name}: served by {arrived} of {there} machines")


def _same(one: str, other: str) -> bool:
    return one.replace(":", "").lower() == other.replace(":", "").lower()
