"""Cluster, groups and machines as one value, and what a machine inherits: the lowest level that has a setting
wins as a whole (docs/cluster.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from mxseal.cluster.settings import MACHINE, Settings, clusterable, join, split
from mxseal.config.model import Document

FIRST_GROUP = "Main_Group"
Kind = Literal["cluster", "group", "machine"]


class Refused(Exception):
    """This can't be done to the cluster; the text is a sentence with the remedy."""


class Level(msgspec.Struct, frozen=True):
    """Where a setting lives. The cluster's name says nothing: there is one."""

    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind.capitalize()} {self.name}"

    @property
    def words(self) -> str:
        """As one types it behind `clustermode`."""
        return "cluster" if self.kind == "cluster" else f"{self.kind} {self.name}"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A machine: its group, its own settings, and the public halves by which it is known."""

    group: str
    settings: Settings
    signing: bytes = b""
    """Ed25519: what it commits is signed with it."""
    sealing: bytes = b""
    """X25519: what is meant for it alone is sealed to it."""
    wrapped: bytes = b""
    """The cluster's key, sealed to this machine."""
    joined: float = 0.0
    """Seconds since the epoch."""


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """All that members agree on, with the number of its revision."""

    name: str
    id: str = ""
    """By chance: another cluster of the same name is another one."""
    number: int = 1
    settings: Settings
    groups: dict[str, Settings]
    machines: dict[str, Member]
    generation: int = 1
    """Of the cluster's key: another one each time that a machine is removed."""

    @property
    def top(self) -> Level:
        return Level("cluster", self.name)

    def machine(self, name: str) -> Member:
        """Raises Refused."""
        try:
            return self.machines[name]
        except KeyError:
            there = ", ".join(self.machines)
            raise Refused(f"The cluster has no machine {name!r}. Its machines are: {there}") from None

    def group(self, name: str) -> Settings:
        """Raises Refused."""
        try:
            return self.groups[name]
        except KeyError:
            raise Refused(
                f"The cluster has no group {name!r}. Its groups are: {', '.join(self.groups)}"
            ) from None

    def at(self, level: Level) -> Settings:
        """The settings that a level has itself. Raises Refused."""
        if level.kind == "cluster":
            return self.settings
        return self.group(level.name) if level.kind == "group" else self.machine(level.name).settings

    def above(self, level: Level) -> tuple[Level, ...]:
        """The levels that one inherits from, the nearest first. Raises Refused."""
        if level.kind == "cluster":
            return ()
        if level.kind == "group":
            self.group(level.name)
            return (self.top,)
        return (Level("group", self.machine(level.name).group), self.top)

    def levels(self) -> Iterator[Level]:
        """All of them, from the top."""
        yield self.top
        yield from (Level("group", name) for name in self.groups)
        yield from (Level("machine", name) for name in self.machines)

    def below(self, level: Level) -> Iterator[Level]:
        """The levels that inherit from one."""
        return (each for each in self.levels() if level in self.above(each))


def new_cluster(name: str, machine: str, member: Member, document: Document) -> Cluster:
    """A cluster of one machine, whose settings become the cluster's."""
    settings = split(document)
    own = {name: value for name, value in settings.items() if not clusterable(name)}
    shared = {name: value for name, value in settings.items() if clusterable(name)}
    return Cluster(
        name=name,
        settings=shared,
        groups={FIRST_GROUP: {}},
        machines={machine: msgspec.structs.replace(member, group=FIRST_GROUP, settings=own)},
    )


# --- inheritance -------------------------------------------------------------------------------------------


def origins(cluster: Cluster, level: Level) -> dict[str, Level]:
    """Where each setting that a level sees comes from. What is nowhere is as by default. Raises Refused."""
    found: dict[str, Level] = {}
    for each in (*reversed(cluster.above(level)), level):
        found.update(dict.fromkeys(cluster.at(each), each))
    return found


def origin(cluster: Cluster, level: Level, setting: str) -> Level | None:
    """The level whose value of a setting holds at `level`; None: it is as by default."""
    return origins(cluster, level).get(setting)


def view(cluster: Cluster, level: Level) -> Document:
    """The document as a level sees it: for a machine, what it does. Raises Refused where values make none."""
    document = join({name: cluster.at(where)[name] for name, where in origins(cluster, level).items()})
    if isinstance(document, Document):
        return document
    raise Refused(f"The settings that {level} sees are none: {'; '.join(map(str, document))}")


def overridden(cluster: Cluster, level: Level, setting: str) -> list[Level]:
    """The levels below that have a setting themselves, so that a change at `level` does not reach them."""
    return [each for each in cluster.below(level) if setting in cluster.at(each)]


# --- machines and groups -----------------------------------------------------------------------------------


def with_settings(cluster: Cluster, level: Level, settings: Settings) -> Cluster:
    """The cluster with other settings at one level. Raises Refused."""
    cluster.at(level)
    if level.kind == "cluster":
        return msgspec.structs.replace(cluster, settings=settings)
    if level.kind == "group":
        return msgspec.structs.replace(cluster, groups={**cluster.groups, level.name: settings})
    member = msgspec.structs.replace(cluster.machine(level.name), settings=settings)
    return msgspec.structs.replace(cluster, machines={**cluster.machines, level.name: member})


def add_group(cluster: Cluster, name: str) -> Cluster:
    """Raises Refused."""
    if name in cluster.groups:
        raise Refused(f"There is a group {name!r} already: choose another name")
    return msgspec.structs.replace(cluster, groups={**cluster.groups, name: {}})


def rename_group(cluster: Cluster, old: str, new: str) -> Cluster:
    """Raises Refused."""
    cluster.group(old)
    if new in cluster.groups:
        raise Refused(f"There is a group {new!r} already: choose another name")
    groups = {new if name == old else name: settings for name, settings in cluster.groups.items()}
    machines = {
        name: msgspec.structs.replace(member, group=new) if member.group == old else member
        for name, member in cluster.machines.items()
    }
    return msgspec.structs.replace(cluster, groups=groups, machines=machines)


def delete_group(cluster: Cluster, name: str) -> Cluster:
    """Its settings go with it. Raises Refused."""
    cluster.group(name)
    inside = [machine for machine, member in cluster.machines.items() if member.group == name]
    if inside:
        raise Refused(
            f"Group {name} has machines ({', '.join(inside)}): move them to another with 'clusterconfig "
            "setgroup' first"
        )
    if len(cluster.groups) == 1:
        raise Refused(f"Group {name} is the last one, and each machine is in a group: add another first")
    groups = {each: settings for each, settings in cluster.groups.items() if each != name}
    return msgspec.structs.replace(cluster, groups=groups)


def move_machine(cluster: Cluster, machine: str, group: str) -> Cluster:
    """Into another group, whose settings it then inherits. Raises Refused."""
    cluster.group(group)
    member = msgspec.structs.replace(cluster.machine(machine), group=group)
    return msgspec.structs.replace(cluster, machines={**cluster.machines, machine: member})


def add_machine(
    cluster: Cluster, name: str, member: Member, document: Document, keep: tuple[str, ...] = ()
) -> Cluster:
    """A machine more. Of its document remains what only machines have, and the settings in `keep`, at its own
    level. Raises Refused."""
    cluster.group(member.group)
    if name in cluster.machines:
        raise Refused(f"There is a machine {name!r} already: choose another name, or remove that one first")
    settings = split(document)
    own = {each: settings[each] for each in settings if not clusterable(each)}
    own |= {each: settings.get(each, {}) for each in keep}
    member = msgspec.structs.replace(member, settings=own)
    return msgspec.structs.replace(cluster, machines={**cluster.machines, name: member})


def remove_machine(cluster: Cluster, name: str) -> tuple[Cluster, Document]:
    """The cluster without a machine, and the document with which that goes on as before, by itself. What the
    machine had at its own level is in that document and nowhere else. Raises Refused."""
    document = view(cluster, Level("machine", name))
    machines = {each: member for each, member in cluster.machines.items() if each != name}
    return msgspec.structs.replace(cluster, machines=machines), document


def lost(cluster: Cluster, name: str) -> list[str]:
    """The settings that the cluster loses with a machine: those at its own level."""
    return [each for each in cluster.machine(name).settings if each != MACHINE]
