"""Revisions and candidates: what is in force, what each administrator is changing, and commit between them.

A commit checks, builds all that the document needs, stores by compare-and-set, and only then is put in force
by the caller. Whatever fails before the store leaves everything as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from mxseal.config.check import Problem, check
from mxseal.config.diff import Change, diff, overlap, replay
from mxseal.config.model import (
    Certificate,
    Destination,
    Document,
    Interface,
    Listener,
    MailFlowPolicy,
    SenderGroup,
)
from mxseal.config.toml import parse, render
from mxseal.storage.ports import Candidate, Documents, Revision, StorageRefused


class Built(Protocol):
    """What a document needs, made ready and not in force: contexts, ports."""

    def discard(self) -> None:
        """Give it up: close ports that were opened. The commit did not happen."""
        ...


class BuildFailed(Exception):
    """The document can't be put in force: a port is taken, a key does not fit. Nothing was changed."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class BrokenHistory(Exception):
    """The store has no document, or one that this version can't read. A fault of ours."""


B = TypeVar("B", bound=Built)


class Numbered(msgspec.Struct, frozen=True):
    """A document and the number of its revision."""

    number: int
    document: Document


class Commit(msgspec.Struct, frozen=True):
    """A wish to commit: whose candidate, who says so, why, and when (seconds since the epoch)."""

    owner: str
    user: str
    comment: str
    at: float


class Committed(msgspec.Struct, Generic[B], frozen=True):
    """Stored; the caller now puts `built` in force."""

    revision: Revision
    document: Document
    changes: tuple[Change, ...]
    built: B


class Conflict(msgspec.Struct, frozen=True):
    """Somebody committed since the candidate began. Nothing was stored; the candidate is as it was."""

    based_on: int
    since: tuple[Revision, ...]
    """The revisions that came under it, oldest first."""
    theirs: tuple[Change, ...]
    ours: tuple[Change, ...]
    overlap: tuple[tuple[Change, Change], ...]
    """(ours, theirs) that touch the same; empty: `rebase` can replay ours on the newest revision."""


class Rejected(msgspec.Struct, frozen=True):
    """The candidate can't be committed: everything that is wrong with it."""

    problems: tuple[Problem, ...]


class NothingToCommit(msgspec.Struct, frozen=True):
    """There are no changes."""


Prefer = Literal["neither", "ours", "theirs"]


class History:
    """The configuration's revisions over a store, and each owner's candidate."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._read: dict[int, Document] = {}

    def current(self) -> Numbered:
        """The newest revision. Raises BrokenHistory when there is none."""
        revision = self._documents.latest()
        if revision is None:
            raise BrokenHistory("this home has no configuration: run 'mxseal init' first")
        return Numbered(revision.number, self._document(revision))

    def begin(self, document: Document, user: str, at: float) -> Revision:
        """Store the first revision of a fresh home. Raises StorageRefused('conflict') when there is one."""
        return self._documents.put(0, render(document), user, "first configuration", at)

    def revision(self, number: int) -> Numbered | None:
        revision = self._documents.get(number)
        return None if revision is None else Numbered(number, self._document(revision))

    def revisions(self, limit: int = 50) -> list[Revision]:
        """Newest first."""
        return self._documents.history(limit)

    # --- candidates ---------------------------------------------------------------------------------------

    def candidate(self, owner: str) -> Document:
        """What the owner is working on: the document with uncommitted changes, or the one in force."""
        pending = self._documents.candidate(owner)
        return self.current().document if pending is None else self._pending(pending)

    def change(self, owner: str, document: Document) -> list[Change]:
        """Make `document` the owner's candidate; gives all of its uncommitted changes."""
        pending = self._documents.candidate(owner)
        base = self.current() if pending is None else self._base(pending)
        changes = diff(base.document, document)
        if changes:
            candidate = Candidate(owner=owner, based_on=base.number, toml=render(document))
            self._documents.save_candidate(candidate)
        else:
            self._documents.drop_candidate(owner)
        return changes

    def replace(self, owner: str, document: Document) -> list[Change]:
        """The same, giving up the changes that there were: the new ones begin with the newest revision."""
        self._documents.drop_candidate(owner)
        return self.change(owner, document)

    def rollback(self, owner: str, number: int) -> list[Change] | None:
        """Make an old revision the candidate; None when there is no such revision."""
        old = self.revision(number)
        return None if old is None else self.replace(owner, old.document)

    def changes(self, owner: str) -> list[Change]:
        """The owner's uncommitted changes, against the revision that they began with."""
        pending = self._documents.candidate(owner)
        return [] if pending is None else diff(self._base(pending).document, self._pending(pending))

    def clear(self, owner: str) -> list[Change]:
        """Forget the owner's uncommitted changes; gives what was forgotten."""
        changes = self.changes(owner)
        self._documents.drop_candidate(owner)
        return changes

    def keep(self, owner: str, changes: Sequence[Change]) -> list[Change] | Rejected:
        """Forget all but these of the owner's changes, which begin with the newest revision."""
        document = replay(self.current().document, changes)
        return Rejected(tuple(document)) if isinstance(document, list) else self.change(owner, document)

    def conflict(self, owner: str) -> Conflict | None:
        """What was committed since the owner's candidate began, or None."""
        pending = self._documents.candidate(owner)
        if pending is None:
            return None
        base, newest = self._base(pending), self.current()
        if base.number == newest.number:
            return None
        ours = diff(base.document, self._pending(pending))
        theirs = diff(base.document, newest.document)
        since = [entry for entry in self.revisions(newest.number - base.number) if entry.number > base.number]
        return Conflict(
            base.number, tuple(reversed(since)), tuple(theirs), tuple(ours), tuple(overlap(ours, theirs))
        )

    # --- commit -------------------------------------------------------------------------------------------

    async def commit(
        self, wish: Commit, build: Callable[[Document], Awaitable[B]]
    ) -> Committed[B] | Conflict | Rejected | NothingToCommit:
        """Check, build, store. `build` gives what the document needs or raises BuildFailed.

        Raises StorageRefused when the disk refuses; nothing is changed then.
        """
        pending = self._documents.candidate(wish.owner)
        if pending is None:
            return NothingToCommit()
        document = self._pending(pending)
        if document == self.current().document:  # also after a crash between store and drop
            self._documents.drop_candidate(wish.owner)
            return NothingToCommit()
        if (conflict := self.conflict(wish.owner)) is not None:
            return conflict
        if problems := check(document):
            return Rejected(tuple(problems))
        changes = self.changes(wish.owner)
        try:
            built = await build(document)
        except BuildFailed as failed:
            return Rejected(tuple(failed.problems))
        try:
            revision = self._store(pending, wish)
        except BaseException:
            built.discard()
            raise
        if revision is None:
            built.discard()
            return self.conflict(wish.owner) or NothingToCommit()
        self._documents.drop_candidate(wish.owner)
        return Committed(revision, document, tuple(changes), built)

    def rebase(self, owner: str, prefer: Prefer = "neither") -> list[Change] | Conflict | Rejected:
        """Replay the owner's changes on the newest revision; gives the candidate's changes against it.

        Where both touched the same: a Conflict, unless `prefer` says whose value stands.
        """
        conflict = self.conflict(owner)
        if conflict is None:
            return self.changes(owner)
        if conflict.overlap and prefer == "neither":
            return conflict
        ours = conflict.ours
        if prefer == "theirs":
            given_up = [mine for mine, _ in conflict.overlap]
            ours = tuple(change for change in ours if change not in given_up)
        result = replay(self.current().document, ours)
        if isinstance(result, list):
            return Rejected(tuple(result))
        return self.replace(owner, result)

    def _store(self, pending: Candidate, wish: Commit) -> Revision | None:
        """None when someone else was first."""
        try:
            return self._documents.put(pending.based_on, pending.toml, wish.user, wish.comment, wish.at)
        except StorageRefused as refused:
            if refused.kind != "conflict":
                raise
            return None

    # --- reading ------------------------------------------------------------------------------------------

    def _document(self, revision: Revision) -> Document:
        known = self._read.get(revision.number)
        if known is None:
            known = self._parsed(revision.toml, f"revision {revision.number}")
            self._read[revision.number] = known
            while len(self._read) > 8:
                self._read.pop(next(iter(self._read)))
        return known

    def _base(self, pending: Candidate) -> Numbered:
        base = self.revision(pending.based_on)
        if base is None:
            raise BrokenHistory(f"revision {pending.based_on}, which {pending.owner} changes, is not stored")
        return base

    def _pending(self, pending: Candidate) -> Document:
        return self._parsed(pending.toml, f"the uncommitted changes of {pending.owner}")

    def _parsed(self, toml: str, what: str) -> Document:
        document = parse(toml)
        if isinstance(document, list):
            raise BrokenHistory(f"{what} can't be read: {'; '.join(str(problem) for problem in document)}")
        return document


def initial(
    hostname: str, *, smtp_port: int = 2525, https_port: int | None = None, demo: Certificate | None = None
) -> Document:
    """The first document of a fresh home. It relays for nobody and accepts mail for no domain yet.

    `demo` is the installation's own demonstration certificate; listener, interface and delivery use it.
    `https_port` None: there is no interface.
    """
    interfaces = () if https_port is None else (Interface(name="Management", https_port=https_port),)
    return Document(
        hostname=hostname,
        listeners=(Listener(name="IncomingMail", address="127.0.0.1", port=smtp_port),),
        interfaces=interfaces,
        sender_groups=(
            SenderGroup(name="RELAYLIST", policy="RELAYED"),
            SenderGroup(name="BLOCKLIST", policy="BLOCKED"),
        ),
        mail_flow_policies=(
            MailFlowPolicy(name="ACCEPTED", action="accept", tls="preferred"),
            MailFlowPolicy(name="RELAYED", action="relay", tls="preferred"),
            MailFlowPolicy(name="BLOCKED", action="reject"),
        ),
        destinations=(Destination(domain="default", tls="preferred"),),
        certificates=(demo,) if demo is not None else (),
    )
