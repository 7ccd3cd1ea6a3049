"""`quarantine`: messages that the analysis of files keeps back, looked at, released, deleted."""

from __future__ import annotations

from typing import Annotated, Any

from mxseal.analysis.state import read_report
from mxseal.commands.certificates import Listing, Sheet, iso
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, Result, Text
from mxseal.storage.ports import StorageRefused
from mxseal.storage.quarantine import Kept

GROUPS = {"quarantine": "Messages that the analysis of files keeps back"}
_DAY = 86_400.0

Mid = Annotated[int, Argument("MID, as 'list' shows it", metavar="MID", least=1)]
Mids = Annotated[list[str], Argument("MIDs, as 'list' shows them", metavar="MID…")]


@command("quarantine", "list", role="read-only", summary="List the messages in quarantine")
async def quarantine_list(
    ctx: Context,
    match: Annotated[str, Argument("Part of a sender, recipient or file name")] = "",
    *,
    limit: Annotated[int, Option("List at most this many", least=1, most=10_000)] = 100,
) -> Result:
    """The oldest message comes first. Messages are deleted after keep_days of [quarantine]."""
    facts: list[dict[str, Any]] = []
    wanted, left_out, size = match.lower(), 0, 0
    try:
        async for kept in ctx.services.mail.quarantine():
            size += kept.size
            fact = _facts(ctx, kept)
            told = " ".join((kept.sender, *kept.recipients, fact["file"])).lower()
            if wanted not in told:
                continue
            if len(facts) >= limit:
                left_out += 1
                continue
            facts.append(fact)
    except StorageRefused as refused:
        raise CommandFailed(f"The quarantine can't be read: {refused}") from None
    columns = (
        Column("MID"), Column("Since"), Column("From", cut=40), Column("To", cut=40), Column("File", cut=40),
        Column("Verdict"), Column("Malware", cut=40), Column("Bytes"),
    )  # fmt: skip
    rows = tuple(
        (
            each["mid"], each["since"], f"<{each['sender']}>", _recipients(each), each["file"],
            each["verdict"], each["threat"], each["bytes"],
        )
        for each in facts
    )  # fmt: skip
    note = f"{left_out} more; --limit shows more of them." if left_out else f"{size} bytes in all."
    empty = "No message in quarantine matches." if match else "There is no message in quarantine."
    return Listing(columns, rows, title="Quarantine", empty=empty, note=note, facts=tuple(facts))


def _recipients(fact: dict[str, Any]) -> str:
    more = fact["recipient_count"] - 1
    return f"{next(iter(fact['recipients']), '')}{f' and {more} more' if more > 0 else ''}"


def _facts(ctx: Context, kept: Kept) -> dict[str, Any]:
    why = read_report(kept.about)
    days = ctx.services.history.current().document.quarantine.keep_days
    return {
        "mid": kept.mid,
        "since": iso(kept.since),
        "until": iso(kept.since + days * _DAY),
        "arrived": iso(kept.arrived),
        "sender": kept.sender,
        "recipients": list(kept.recipients),
        "recipient_count": kept.recipient_count,
        "bytes": kept.size,
        "verdict": why.word,
        "file": why.name,
        "sha256": why.sha256,
        "score": why.score,
        "threat": why.threat,
        "server": why.server,
        "reason": why.reason,
        "late": why.late,
    }


@command("quarantine", "show", role="read-only", summary="Show a message in quarantine")
async def quarantine_show(ctx: Context, mid: Mid) -> Result:
    """Envelope, the file that decided, what was found, and when it is deleted."""
    facts = _facts(ctx, await _found(ctx, mid))
    labels = {
        "mid": "MID", "sender": "From", "recipients": "To", "bytes": "Bytes", "arrived": "Arrived",
        "since": "In quarantine since", "until": "Is deleted", "verdict": "Verdict", "file": "File",
        "sha256": "SHA-256", "threat": "Malware", "score": "Score", "server": "Server", "reason": "Reason",
    }  # fmt: skip
    more = facts["recipient_count"] - len(facts["recipients"])
    shown = facts | {
        "sender": f"<{facts['sender']}>",
        "recipients": ", ".join(facts["recipients"]) + (f" and {more} more" if more else ""),
    }
    fields = tuple(
        Field(label, shown[key], key) for key, label in labels.items() if shown[key] not in (None, "")
    )
    return Sheet(fields, facts=facts)


async def _found(ctx: Context, mid: int) -> Kept:
    try:
        kept = await ctx.services.mail.kept(mid)
    except StorageRefused as refused:
        raise CommandFailed(f"The quarantine can't be read: {refused}") from None
    if kept is None:
        raise CommandFailed(f"Message {mid} is not in quarantine. 'quarantine list' shows what is")
    return kept


@command("quarantine", "headers", role="operator", summary="Show the header of a message in quarantine")
async def quarantine_headers(ctx: Context, mid: Mid) -> Result:
    """As it came in. The content is shown by no command."""
    await _found(ctx, mid)
    try:
        raw = await ctx.services.mail.kept_header(mid)
    except StorageRefused as refused:
        raise CommandFailed(f"The message can't be read: {refused}") from None
    if raw is None:
        raise CommandFailed(f"Message {mid} is not in quarantine any more")
    lines = raw.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    return Text("\n".join(map(_printable, lines)).rstrip("\n"))


def _printable(line: str) -> str:
    """A stranger's line as a terminal may show it."""
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in line)


@command("quarantine", "release", role="operator", summary="Deliver messages that are in quarantine")
async def quarantine_release(ctx: Context, mids: Mids) -> Result:
    """They are delivered as they are, to all their recipients, and not analysed again."""
    done, missing = await _each(ctx, mids, release=True)
    if not done:
        raise CommandFailed(f"{_these(missing)} not in quarantine. 'quarantine list' shows what is")
    note = f" {_these(missing)} not in quarantine." if missing else ""
    return Done(f"Released: MID {', '.join(map(str, done))}.{note}", {"released": done, "missing": missing})


@command("quarantine", "delete", role="operator", summary="Delete messages that are in quarantine")
async def quarantine_delete(ctx: Context, mids: Mids) -> Result:
    """For good. Neither sender nor recipients are told."""
    done, missing = await _each(ctx, mids, release=False)
    if not done:
        raise CommandFailed(f"{_these(missing)} not in quarantine. 'quarantine list' shows what is")
    note = f" {_these(missing)} not in quarantine." if missing else ""
    return Done(f"Deleted: MID {', '.join(map(str, done))}.{note}", {"deleted": done, "missing": missing})


def _these(mids: list[int]) -> str:
    return f"MID {', '.join(map(str, mids))} {'is' if len(mids) == 1 else 'are'}"


async def _each(ctx: Context, words: list[str], *, release: bool) -> tuple[list[int], list[int]]:
    """(those that it was done with, those that are not there)."""
    mail = ctx.services.mail
    act = mail.release if release else mail.delete_kept
    done: list[int] = []
    missing: list[int] = []
    for mid in dict.fromkeys(map(_mid, words)):
        try:
            there = await act(mid, ctx.user)
        except StorageRefused as refused:
            raise CommandFailed(f"The disk refuses, message {mid} stays in quarantine: {refused}") from None
        (done if there else missing).append(mid)
    return done, missing


def _mid(word: str) -> int:
    digits = word.strip().upper().removeprefix("MID").strip()
    if not digits.isdecimal() or len(digits) > 18:
        raise CommandFailed(f"{word!r} is no MID: write its number", 2)
    return int(digits)
