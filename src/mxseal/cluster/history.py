"""The configuration on a machine of a cluster: revisions, one candidate for all levels, commits.

Two numbers count. What is agreed is the newest revision that this machine has read; candidates begin with it.
What is in force here may be older for a moment, or for as long as the machine can't do what was agreed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import msgspec

from mxseal.cluster import change as changes_of
from mxseal.cluster import membership as members
from mxseal.cluster import record as records
from mxseal.cluster.levels import Cluster, Level, view
from mxseal.cluster.record import Author, Record
from mxseal.config.check import Problem, check
from mxseal.config.diff import Change, overlap
from mxseal.config.history import (
    BrokenHistory,
    BuildFailed,
    Built,
    Commit,
    Committed,
    Conflict,
    History,
    NothingToCommit,
    Numbered,
    Prefer,
    Rejected,
)
from mxseal.config.model import Document
from mxseal.config.toml import render
from mxseal.storage.ports import Candidate, Revision
from mxseal.storage.state import State

B = TypeVar("B", bound=Built)
Publish = Callable[[Cluster, Author], Awaitable[Record | None]]
"""Write a cluster's next revision to the engine; None: somebody else was first. Raises EngineAway."""


class ClusterHistory(History):
    """What commands and the gateway know as the history, while the machine is a member."""

    def __init__(self, state: State, machine: str, publish: Publish) -> None:
        """Begins with the revision that was in force here last."""
        super().__init__(state)
        self._state = state
        self._kept = state.cluster
        self._machine = machine
        self._publish = publish
        self._levels: dict[str, Level] = {}
        self._clusters: dict[int, Cluster] = {}
        latest = self._kept.latest()
        if latest is None:
            raise BrokenHistory("the cluster's configuration is not stored in this home")
        self._agreed = records.content(records.decode(latest))
        active = int(state.fact(members.ACTIVE) or 0)
        self._active = self._numbered(active) or self._numbered(self._agreed.number)

    # --- what is agreed, and what is in force --------------------------------------------------------------

    @property
    def agreed(self) -> Cluster:
        """The newest revision that was read."""
        return self._agreed

    @property
    def in_force(self) -> int:
        """The number of the revision that this machine does."""
        return self.current().number

    def take(self, cluster: Cluster, record: Record) -> None:
        """A newer revision was read from the engine, or written to it."""
        self._kept.put(cluster.number, record.encode())
        self._agreed = cluster

    def activated(self, cluster: Cluster) -> None:
        """It is in force here, also after a restart."""
        self._active = Numbered(cluster.number, view(cluster, Level("machine", self._machine)))
        self._state.put_fact(members.ACTIVE, str(cluster.number))

    def current(self) -> Numbered:
        if self._active is None:
            raise BrokenHistory("no revision of the cluster's configuration is in force here")
        return self._active

    def revision(self, number: int) -> Numbered | None:
        return self._numbered(number)

    def revisions(self, limit: int = 50) -> list[Revision]:
        return [_revision(records.decode(raw)) for raw in self._kept.history(limit)]

    def cluster_at(self, number: int) -> Cluster | None:
        """The cluster as of a revision; None when that is not kept here."""
        if number == self._agreed.number:
            return self._agreed
        raw = self._kept.get(number)
        return None if raw is None else records.content(records.decode(raw))

    def _numbered(self, number: int) -> Numbered | None:
        cluster = self.cluster_at(number)
        if cluster is None or self._machine not in cluster.machines:
            return None
        return Numbered(number, view(cluster, Level("machine", self._machine)))

    # --- levels --------------------------------------------------------------------------------------------

    def level(self, owner: str) -> Level:
        """The level that somebody edits: the cluster, until they choose another."""
        level = self._levels.get(owner, self._agreed.top)
        return level if level in self._agreed.levels() else self._agreed.top

    def choose(self, owner: str, level: Level) -> None:
        """Raises Refused when there is no such level."""
        self._agreed.at(level)
        if len(self._levels) > 1000:
            self._levels.pop(next(iter(self._levels)))
        self._levels[owner] = level

    # --- candidates ----------------------------------------------------------------------------------------

    def pending(self, owner: str) -> Cluster:
        """The cluster with somebody's uncommitted changes."""
        candidate = self._documents.candidate(owner)
        return self._agreed if candidate is None else _decoded(candidate)

    def candidate(self, owner: str) -> Document:
        return view(self.pending(owner), self.level(owner))

    def change(self, owner: str, document: Document) -> list[Change]:
        return self.change_cluster(owner, changes_of.edit(self.pending(owner), self.level(owner), document))

    def change_cluster(self, owner: str, cluster: Cluster) -> list[Change]:
        """Make a cluster the owner's candidate; gives all of the owner's uncommitted changes."""
        candidate = self._documents.candidate(owner)
        base = self._agreed if candidate is None else self._base_cluster(candidate)
        changes = changes_of.differences(base, cluster)
        if changes:
            text = msgspec.json.encode(cluster).decode()
            self._documents.save_candidate(Candidate(owner=owner, based_on=base.number, toml=text))
        else:
            self._documents.drop_candidate(owner)
        return changes

    def replace(self, owner: str, document: Document) -> list[Change]:
        cluster = changes_of.edit(self._agreed, self.level(owner), document)
        self._documents.drop_candidate(owner)
        return self.change_cluster(owner, cluster)

    def rollback(self, owner: str, number: int) -> list[Change] | None:
        """All settings as they were, on the machines and groups that there are now."""
        old = self.cluster_at(number)
        if old is None:
            return None
        cluster = changes_of.settings_of(old, self._agreed)
        self._documents.drop_candidate(owner)
        return self.change_cluster(owner, cluster)

    def changes(self, owner: str) -> list[Change]:
        candidate = self._documents.candidate(owner)
        if candidate is None:
            return []
        return changes_of.differences(self._base_cluster(candidate), _decoded(candidate))

    def keep(self, owner: str, changes: Sequence[Change]) -> list[Change] | Rejected:
        cluster = changes_of.replayed(self._agreed, changes)
        return Rejected(tuple(cluster)) if isinstance(cluster, list) else self.change_cluster(owner, cluster)

    def conflict(self, owner: str) -> Conflict | None:
        return self._conflict(owner, self._agreed)

    def _conflict(self, owner: str, newest: Cluster) -> Conflict | None:
        candidate = self._documents.candidate(owner)
        if candidate is None or candidate.based_on == newest.number:
            return None
        base = self._base_cluster(candidate)
        ours = changes_of.differences(base, _decoded(candidate))
        theirs = changes_of.differences(base, newest)
        since = [each for each in self.revisions(newest.number - base.number) if each.number > base.number]
        return Conflict(
            base.number, tuple(reversed(since)), tuple(theirs), tuple(ours), tuple(overlap(ours, theirs))
        )

    def rebase(self, owner: str, prefer: Prefer = "neither") -> list[Change] | Conflict | Rejected:
        conflict = self.conflict(owner)
        if conflict is None:
            return self.changes(owner)
        if conflict.overlap and prefer == "neither":
            return conflict
        ours = conflict.ours
        if prefer == "theirs":
            given_up = [mine for mine, _ in conflict.overlap]
            ours = tuple(each for each in ours if each not in given_up)
        result = changes_of.replayed(self._agreed, ours)
        if isinstance(result, list):
            return Rejected(tuple(result))
        self._documents.drop_candidate(owner)
        return self.change_cluster(owner, result)

    def _base_cluster(self, candidate: Candidate) -> Cluster:
        base = self.cluster_at(candidate.based_on)
        if base is None:
            raise BrokenHistory(
                f"revision {candidate.based_on}, which {candidate.owner} changes, is not kept any more"
            )
        return base

    # --- commit --------------------------------------------------------------------------------------------

    async def commit(
        self, wish: Commit, build: Callable[[Document], Awaitable[B]]
    ) -> Committed[B] | Conflict | Rejected | NothingToCommit:
        """Check what it means for every machine, build what it means for this one, write it to the engine.
        Raises EngineAway, and StorageRefused when the disk refuses; nothing is changed then."""
        if self._documents.candidate(wish.owner) is None:
            return NothingToCommit()
        pending = self.pending(wish.owner)
        if not changes_of.differences(self._agreed, pending):  # also after an answer that was lost
            self._documents.drop_candidate(wish.owner)
            return NothingToCommit()
        if (conflict := self.conflict(wish.owner)) is not None:
            return conflict
        if problems := problems_of(pending):
            return Rejected(tuple(problems))
        changes = self.changes(wish.owner)
        document = view(pending, Level("machine", self._machine))
        try:
            built = await build(document)
        except BuildFailed as failed:
            return Rejected(tuple(failed.problems))
        try:
            wanted = msgspec.structs.replace(pending, number=self._agreed.number + 1)
            record = await self._publish(wanted, Author(self._machine, wish.user, wish.comment, wish.at))
            if record is not None:
                self.take(wanted, record)
        except BaseException:
            built.discard()
            raise
        if record is None:
            built.discard()
            return self.conflict(wish.owner) or NothingToCommit()
        self.activated(wanted)
        self._documents.drop_candidate(wish.owner)
        return Committed(_revision(record), document, tuple(changes), built)


def document_in_force(state: State) -> Document:
    """What this machine does, alone or as a member, for a process that has nothing else to do with it."""
    membership = members.load(state.secrets)
    number = state.fact(members.ACTIVE)
    raw = state.cluster.get(int(number)) if membership is not None and number else None
    if membership is None or raw is None:
        return History(state).current().document
    return view(records.content(records.decode(raw)), Level("machine", membership.machine))


def problems_of(cluster: Cluster) -> list[Problem]:
    """What is wrong with what machines would do, each problem once; the machine is named where it is not that
    of all."""
    by_problem: dict[Problem, list[str]] = {}
    for machine in cluster.machines:
        for problem in check(view(cluster, Level("machine", machine))):
            by_problem.setdefault(problem, []).append(machine)
    return [
        problem
        if len(machines) == len(cluster.machines)
        else msgspec.structs.replace(problem, text=f"{problem.text} (on {', '.join(machines)})")
        for problem, machines in by_problem.items()
    ]


def _decoded(candidate: Candidate) -> Cluster:
    return msgspec.json.decode(candidate.toml, type=Cluster)


def _revision(record: Record) -> Revision:
    """As commands list it. A revision of a cluster has no text of its own: each machine sees another."""
    return Revision(
        number=record.number,
        toml="",
        user=f"{record.user} on {record.by}",
        comment=record.comment,
        at=record.at,
    )


def flattened(cluster: Cluster, machine: str) -> str:
    """TOML with which a machine goes on by itself."""
    return render(view(cluster, Level("machine", machine)))
