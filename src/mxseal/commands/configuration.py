"""Commands on the configuration: candidate, commit, revisions, the document as text (reference §6.1)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Annotated, Literal

from mxseal.certs.live import unusable
from mxseal.cluster.engine import EngineAway
from mxseal.cluster.keys import Distrust
from mxseal.cluster.levels import Refused
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, FileText, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, File, Problems, Result, Table, Text
from mxseal.commands.times import moment, when
from mxseal.config.check import Problem, advice, check
from mxseal.config.diff import Change, diff
from mxseal.config.history import Built, Commit, Committed, Conflict, NothingToCommit, Rejected
from mxseal.config.model import Document
from mxseal.config.toml import examine, render
from mxseal.storage.ports import Revision, StorageRefused

Changers: tuple[Role, ...] = ("operator", "certificate-officer")
"""Roles that may change part of the configuration, and so commit what they changed."""
_COMMENT = "Please enter some comments describing your changes:"
_SURE = "Are you sure you want to clear all changes since the last commit?"


def change(ctx: Context, document: Document, message: str) -> Done:
    """Make `document` the caller's candidate and say so: the result of all commands that change something."""
    try:
        count = len(ctx.services.history.change(ctx.owner, document))
    except Refused as refused:
        raise CommandFailed(f"Nothing was changed. {refused}") from None
    rest = "Nothing is left to commit." if not count else "It takes effect with 'commit'."
    return Done(f"{message} {rest}", {"uncommitted_changes": count})


# --- commit -----------------------------------------------------------------------------------------------


@command("commit", role=Changers, summary="Put your changes in force")
async def commit(
    ctx: Context,
    comment: Annotated[str | None, Argument("What was changed and why, in quotes; it is logged")] = None,
) -> Result:
    """The changes are checked and all that they need is built before anything is stored. If that fails, or if
    somebody else committed since your changes began, nothing is changed and you are told what is in the way.
    Connections that are open keep the configuration that they began with.
    """
    if comment is None:
        comment = await ctx.client.ask(_COMMENT, "") if ctx.client.interactive else ""
    task = asyncio.create_task(_commit(ctx, comment))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])  # a commit that has begun is never left half done
        raise


async def _commit(ctx: Context, comment: str) -> Result:
    services = ctx.services
    async with services.changing:
        wish = Commit(ctx.owner, ctx.user, comment, services.now())
        try:
            outcome = await services.history.commit(wish, services.build)
        except StorageRefused as refused:
            raise CommandFailed(f"Nothing was committed: the store refuses it ({refused})") from None
        except (EngineAway, Distrust) as away:
            raise CommandFailed(
                "Nothing was committed, and your changes are kept: a cluster's machines commit together, "
                f"through its engine. {away}"
            ) from None
        if isinstance(outcome, NothingToCommit):
            return Done("There are no changes to commit.", {"revision": services.history.current().number})
        if isinstance(outcome, Rejected):
            return Problems("Nothing was committed", outcome.problems)
        if isinstance(outcome, Conflict):
            return _conflict("Nothing was committed", outcome)
        notes = await services.put_in_force(outcome.built, outcome.revision, outcome.document)
        return _committed(outcome, notes)


def _committed(outcome: Committed[Built], notes: Iterable[str]) -> Done:
    revision = outcome.revision
    hints = [f"Note: {problem}" for problem in advice(outcome.document)]
    lines = [f"Changes committed: {moment(revision.at)} (revision {revision.number})", *notes, *hints]
    facts = {"revision": revision.number, "changes": len(outcome.changes), "notes": [*notes, *hints]}
    return Done("\n".join(lines), facts)


def _conflict(message: str, conflict: Conflict) -> Problems:
    """What came under the changes, and what both touched."""
    came = "; ".join(_revision(revision) for revision in conflict.since)
    if conflict.overlap:
        remedy = (
            "'rebasechanges --overlap ours' keeps your values, '--overlap theirs' those in force; or "
            "'clearchanges' and begin again"
        )
    else:
        remedy = "Nothing of yours is touched: 'rebasechanges' puts your changes on top, then commit again"
    touched = {theirs.path for _, theirs in conflict.overlap}
    problems = tuple(
        Problem(
            entry.path,
            f"{_told(entry)} (you changed this too)" if entry.path in touched else _told(entry),
        )
        for entry in conflict.theirs
    )
    return Problems(f"{message}: since revision {conflict.based_on} came {came}. {remedy}", problems)


def _told(entry: Change) -> str:
    if entry.kind == "added":
        return f"was added ({entry.new_text})"
    if entry.kind == "removed":
        return "was removed"
    return f"was {entry.kind} from {entry.old_text} to {entry.new_text}"


def _revision(revision: Revision) -> str:
    comment = f' "{revision.comment}"' if revision.comment else ""
    return f"revision {revision.number} by {revision.user}{comment}, {moment(revision.at)}"


@command("rebasechanges", role=Changers, summary="Put your changes on top of what others committed")
def rebasechanges(
    ctx: Context,
    *,
    overlap: Annotated[
        Literal["ours", "theirs"] | None, Option("Whose value stands where both changed the same")
    ] = None,
) -> Result:
    """For the case that commit found newer revisions under your changes. Look at them with showchanges and
    commit afterwards.
    """
    result = ctx.services.history.rebase(ctx.owner, overlap or "neither")
    if isinstance(result, Conflict):
        return _conflict("Your changes are as they were", result)
    if isinstance(result, Rejected):
        return Problems(
            "Your changes do not fit on the newest revision and are as they were", result.problems
        )
    number = ctx.services.history.current().number
    return Done(
        f"Your changes ({len(result)}) now stand on revision {number}. They take effect with 'commit'.",
        {"revision": number, "uncommitted_changes": len(result)},
    )


# --- the candidate ----------------------------------------------------------------------------------------


def revision_numbers(ctx: Context) -> list[str]:
    return [str(revision.number) for revision in ctx.services.history.revisions()]


@command("showchanges", role="read-only", summary="Show your uncommitted changes")
def showchanges(
    ctx: Context,
    *,
    revision: Annotated[
        int | None, Option("What this revision changed instead", complete=revision_numbers, least=1)
    ] = None,
) -> Result:
    history = ctx.services.history
    if revision is not None:
        return _changed_by(ctx, revision)
    conflict = history.conflict(ctx.owner)
    note = ""
    if conflict is not None:
        came = "; ".join(_revision(revision) for revision in conflict.since)
        note = f"Since you began there came {came}. 'rebasechanges' puts your changes on top."
    return _changes_table(history.changes(ctx.owner), note)


def _changed_by(ctx: Context, number: int) -> Result:
    """What a revision changed against the one before it."""
    after = ctx.services.history.revision(number)
    if after is None:
        raise CommandFailed(f"There is no revision {number}. 'rollbackconfig' lists those that are kept")
    before = ctx.services.history.revision(number - 1)
    if before is None:
        raise CommandFailed(f"What came before revision {number} is not kept")
    return _changes_table(diff(before.document, after.document))


def _changes_table(changes: Iterable[Change], note: str = "") -> Table:
    columns = (Column("Setting", "path"), Column("Change", "kind"), Column("Old"), Column("New"))
    rows = tuple((entry.path, entry.kind, entry.old_text, entry.new_text) for entry in changes)
    return Table(columns, rows, empty="There are no uncommitted changes.", note=note)


@command("clearchanges", role=Changers, summary="Forget your uncommitted changes")
async def clearchanges(
    ctx: Context,
    *,
    yes: Annotated[bool, Option("Do not ask", short="-y")] = False,
    only: Annotated[str | None, Option("Only this setting, as showchanges names it")] = None,
) -> Result:
    if only is not None:
        return _clear_one(ctx, only)
    if ctx.client.interactive and not yes and ctx.services.history.changes(ctx.owner):
        answer = await ctx.client.ask(_SURE, "Y")
        if answer.strip().lower() not in {"y", "yes"}:
            return Done("Nothing was cleared.", {"cleared": 0})
    cleared = ctx.services.history.clear(ctx.owner)
    if not cleared:
        return Done("There are no uncommitted changes.", {"cleared": 0})
    return Done(f"Changes cleared: {moment(ctx.services.now())}", {"cleared": len(cleared)})


def _clear_one(ctx: Context, path: str) -> Result:
    """Forget one change, or those of one thing, and keep the others."""
    history = ctx.services.history
    changes = history.changes(ctx.owner)
    kept = [entry for entry in changes if entry.path != path and not entry.path.startswith(f"{path}.")]
    if len(kept) == len(changes):
        raise CommandFailed(f"{path} is not among your uncommitted changes. 'showchanges' lists them")
    if history.conflict(ctx.owner) is not None:
        raise CommandFailed(
            "Others committed since your changes began: 'rebasechanges' puts yours on top first"
        )
    remaining = history.keep(ctx.owner, kept)
    if isinstance(remaining, Rejected):
        return Problems(f"{path} can't be forgotten alone", remaining.problems)
    left = len(remaining)
    return Done(
        f"Your change of {path} is forgotten.",
        {"cleared": len(changes) - len(kept), "uncommitted_changes": left},
    )


# --- revisions --------------------------------------------------------------------------------------------

_Discard = Annotated[bool, Option("Give up your uncommitted changes for it")]


def _refuse_to_overwrite(ctx: Context, discard: bool) -> None:
    pending = len(ctx.services.history.changes(ctx.owner))
    if pending and not discard:
        raise CommandFailed(
            f"You have {pending} uncommitted change{'' if pending == 1 else 's'} that would be lost. Commit "
            "or clear them first, or add --discard"
        )


_RevisionNumber = Argument("Number of a revision", metavar="[REVISION]", complete=revision_numbers, least=1)


@command("rollbackconfig", role="administrator", summary="List the revisions, or go back to one")
def rollbackconfig(
    ctx: Context, revision: Annotated[int | None, _RevisionNumber] = None, *, discard: _Discard = False
) -> Result:
    """Without a number the revisions are listed. With one, that revision becomes your candidate: look at it
    with showchanges, put it in force with commit.
    """
    history = ctx.services.history
    if revision is None:
        columns = (Column("Revision"), Column("Date"), Column("User"), Column("Comment"))
        rows = tuple((r.number, when(r.at), r.user, r.comment) for r in history.revisions())
        return Table(columns, rows)
    if history.revision(revision) is None:
        raise CommandFailed(f"There is no revision {revision}. 'rollbackconfig' lists those that are kept")
    _refuse_to_overwrite(ctx, discard)
    changes = history.rollback(ctx.owner, revision) or []
    if not changes:
        return Done(f"Revision {revision} is what is in force.", {"uncommitted_changes": 0})
    return Done(
        f"Revision {revision} is now your candidate, {len(changes)} changes against what is in force. "
        "It takes effect with 'commit'.",
        {"uncommitted_changes": len(changes)},
    )


# --- the document as text ---------------------------------------------------------------------------------


def _chosen(ctx: Context, candidate: bool, revision: int | None) -> Document:
    history = ctx.services.history
    if candidate:
        return history.candidate(ctx.owner)
    if revision is None:
        return history.current().document
    found = history.revision(revision)
    if found is None:
        raise CommandFailed(f"There is no revision {revision}. 'rollbackconfig' lists those that are kept")
    return found.document


_Candidate = Annotated[bool, Option("With your uncommitted changes")]
_OfRevision = Annotated[int | None, Option("Of this revision", complete=revision_numbers, least=1)]


@command("showconfig", role="read-only", summary="Show the configuration as TOML")
def showconfig(ctx: Context, *, candidate: _Candidate = False, revision: _OfRevision = None) -> Result:
    """What is as by default is left out. Keys and passwords are not part of the document."""
    return Text(render(_chosen(ctx, candidate, revision)))


@command("saveconfig", role="read-only", summary="Save the configuration to a file, or print it")
def saveconfig(
    ctx: Context,
    file: Annotated[OutputFile | None, Argument("File to write; it must not exist yet")] = None,
    *,
    candidate: _Candidate = False,
    revision: _OfRevision = None,
) -> Result:
    """One TOML document, which loadconfig reads. Keys and passwords are not in it."""
    text = render(_chosen(ctx, candidate, revision))
    if file is None:
        return Text(text)
    return File(file.path, text.encode(), f"The configuration was saved to {file.path}.")


def _with_certificates(document: Document, known: Document) -> Document:
    """The document with those certificates of `known` that it does not have."""
    names = {entry.name for entry in document.certificates}
    kept = tuple(entry for entry in known.certificates if entry.name not in names)
    return document.model_copy(update={"certificates": (*document.certificates, *kept)})


def _unusable_certificates(document: Document, known: Document) -> list[Problem]:
    """What is wrong with the certificates that are not in `known` already. Whether their keys are here is
    seen by commit: a key may be imported in between."""
    return [
        Problem(problem.path, problem.text.rstrip("."), problem.remedy)
        for profile in document.certificates
        if profile not in known.certificates
        for problem in unusable(profile)
    ]


@command("loadconfig", role="administrator", summary="Read the whole configuration from a file")
def loadconfig(
    ctx: Context, file: Annotated[FileText, Argument("TOML document, '-' for standard input")],
    *, discard: _Discard = False,
) -> Result:  # fmt: skip
    """It becomes your candidate: look at it with showchanges, put it in force with commit. A document with
    mistakes is not taken; all of them are shown. Certificates that it does not contain are kept, so that it
    can be written by hand; 'certconfig delete' removes one.
    """
    known = ctx.services.history.candidate(ctx.owner)
    document = examine(
        file.text,
        lambda loaded: _with_certificates(loaded, known),
        lambda loaded: [*check(loaded), *_unusable_certificates(loaded, known)],
    )
    if isinstance(document, list):
        return Problems(f"{file.path} was not loaded", tuple(document))
    _refuse_to_overwrite(ctx, discard)
    try:
        count = len(ctx.services.history.replace(ctx.owner, document))
    except Refused as refused:
        raise CommandFailed(f"Nothing was changed. {refused}") from None
    if not count:
        return Done(f"{file.path} is what is in force already.", {"uncommitted_changes": 0})
    return Done(
        f"{file.path} is now your candidate, {count} change{'' if count == 1 else 's'} against what is in "
        "force. It takes effect with 'commit'.",
        {"uncommitted_changes": count},
    )
