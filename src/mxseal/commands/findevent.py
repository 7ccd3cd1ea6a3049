"""`findevent`: find messages, and what was refused, in message tracking (reference §6.2, §9)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands import tracking_export
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.explanation import Explanation
from mxseal.commands.parameters import Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, File, Parts, Result
from mxseal.commands.times import moment
from mxseal.commands.tracked import FullTable, asked, peer, plain, tls_out_words, tls_words
from mxseal.commands.trackmessage import told
from mxseal.commands.when import HOW, moment_of
from mxseal.storage.tracking.refused import RefusedPage
from mxseal.storage.tracking.values import (
    Found,
    Happened,
    Page,
    Query,
    RefusalKind,
    Refused,
    Side,
    TlsState,
    TlsWanted,
)
from mxseal.tls.observed import one_line

_WAYS = {
    "1": ("from_", "Envelope sender"),
    "2": ("to", "Envelope recipient"),
    "3": ("subject", "Words of the subject"),
    "4": ("message_id", "Message-ID header"),
    "5": ("mid", "MID"),
}
_PAGE = 50
RefusalWanted = Literal["any", "connection", "tls", "tls-required", "recipient", "message"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What a message must be like; all that is given must hold."""

    from_: Annotated[
        str, Option("Envelope sender: user@domain, domain, .domain for its sub-domains, user@, abc*, <>")
    ] = ""
    to: Annotated[str, Option("Envelope recipient, written in the same ways")] = ""
    subject: Annotated[str, Option("Words of the subject, in any order; a word may end in *")] = ""
    message_id: Annotated[str, Option("Message-ID header")] = ""
    mid: Annotated[int | None, Option("Number of the message", least=1)] = None
    icid: Annotated[int | None, Option("Number of the connection that it came over", least=1)] = None
    dcid: Annotated[int | None, Option("Number of a connection that it went over", least=1)] = None
    host: Annotated[
        str, Option("Host that it came from or went to: name, address, .domain, or with * at an end")
    ] = ""
    since: Annotated[str, Option(f"Queued at or behind this time: {HOW}")] = ""
    until: Annotated[str, Option("Queued before this time, written in the same ways")] = ""
    event: Annotated[tuple[Happened, ...], Option("What happened to it; may be given more than once")] = ()
    direction: Annotated[
        Literal["inbound", "outbound"] | None, Option("Taken for own domains, or relayed for own hosts")
    ] = None
    tls: Annotated[
        tuple[TlsState, ...],
        Option("What TLS of one of its connections was like, may be given again"),
    ] = ()
    side: Annotated[Side | None, Option("With the TLS options: the connection it came in or went out")] = None
    protocol: Annotated[str, Option("TLS version, such as TLSv1.3")] = ""
    cipher: Annotated[str, Option("Cipher suite")] = ""
    group: Annotated[str, Option("Key exchange group")] = ""
    level: Annotated[str, Option("TLS level in force, such as required-verify")] = ""
    cause: Annotated[str, Option("Cause of a diagnosis, such as no-shared-cipher")] = ""
    refused: Annotated[
        tuple[RefusalWanted, ...],
        Option("Look for what was refused instead of messages that were taken"),
    ] = ()


class Paging(msgspec.Struct, frozen=True, kw_only=True):
    """How much, and where to."""

    limit: Annotated[int, Option("How many to show, or to write to a file", least=1, most=20_000)] = _PAGE
    after: Annotated[str, Option("Go on behind an earlier page: its 'next'")] = ""
    export: Annotated[OutputFile | None, Option("Write all fields to this file; it must not exist yet")] = (
        None
    )
    format: Annotated[
        Literal["csv", "json"] | None, Option("With --export: by the file's name when left out")
    ] = None


@command("findevent", role="read-only", summary="Find messages: findevent --to example.org --tls failed")
async def findevent(ctx: Context, *, options: Options, paging: Paging) -> Result:
    """The newest are shown first. A message can be found about a second after it was queued, for as long as
    [tracking] keeps it. 'trackmessage MID' tells the whole story of one. Without options you are asked what
    to look for, at a terminal.

    Example: findevent --to example.org --event delayed --since 2d
    """
    if options == Options() and paging == Paging() and ctx.client.interactive:
        return await _dialogue(ctx)
    query = _query(options, ctx.services.now())
    try:
        if options.refused:
            return await _refused(ctx, query, _kinds(options), paging)
        return await _messages(ctx, query, paging)
    except ValueError:
        raise CommandFailed(
            f"{paging.after!r} is not where a page ended: give the 'next' of the page before", 2
        ) from None


def _kinds(options: Options) -> tuple[RefusalKind, ...]:
    return () if "any" in options.refused else tuple(kind for kind in options.refused if kind != "any")


def _query(options: Options, now: float) -> Query:
    try:
        since = moment_of(options.since, now) if options.since else None
        until = moment_of(options.until, now) if options.until else None
    except ValueError as error:
        raise CommandFailed(str(error), 2) from None
    return Query(
        sender=options.from_,
        recipient=options.to,
        subject=options.subject,
        message_id=options.message_id,
        mid=options.mid,
        icid=options.icid,
        dcid=options.dcid,
        host=options.host,
        since=since,
        until=until,
        happened=tuple(options.event),
        outgoing=None if options.direction is None else options.direction == "outbound",
        tls=TlsWanted(
            states=tuple(options.tls),
            side=options.side,
            protocol=options.protocol,
            cipher=options.cipher,
            group=options.group,
            level=options.level,
            cause=options.cause,
        ),
    )


# --- messages ---------------------------------------------------------------------------------------------


async def _messages(ctx: Context, query: Query, paging: Paging) -> Result:
    file = ctx.services.tracking.file
    if paging.export is not None:
        rows: list[Found] = []
        after: str | None = paging.after or None
        while len(rows) < paging.limit:
            wanted = min(1000, paging.limit - len(rows))
            page = await asked(lambda: file.search(query, wanted, after))  # noqa: B023 - awaited at once
            rows += page.messages
            if (after := page.following) is None:
                break
        return _file(paging.export, paging.format, tracking_export.messages(rows), after)
    page = await asked(lambda: file.search(query, paging.limit, paging.after or None))
    return _table(page)


def _table(page: Page) -> FullTable:
    value = {
        "messages": plain(page.messages),
        "next": page.following,
        "complete": page.complete,
        "back_to": page.back_to,
    }
    note = ""
    if page.following is not None:
        note = f"More: the same with --after {page.following}"
        if not page.complete:
            back = moment(page.back_to or 0)
            note = f"So far back to {back}, and it goes on: the same with --after {page.following}"
    return FullTable(_COLUMNS, tuple(map(_row, page.messages)), "", "No message matches.", note, value)


_COLUMNS = (
    Column("MID"),
    Column("Queued"),
    Column("From", cut=40),
    Column("To", cut=40),
    Column("Subject", cut=40),
    Column("State"),
    Column("TLS in"),
    Column("TLS out"),
)


def _row(found: Found) -> tuple[str | int | None, ...]:
    more = found.recipient_count - 1
    to = found.recipients[0] if found.recipients else "-"
    return (
        found.mid,
        moment(found.at),
        one_line(found.sender) or "<>",
        one_line(to) + (f" and {more} more" if more > 0 else ""),
        one_line(found.subject or ""),
        found.state,
        tls_words(found.tls_in),
        tls_out_words(found),
    )


def _file(output: OutputFile, form: str | None, rows: tracking_export.Rows, following: str | None) -> Result:
    kind = form or ("json" if output.path.lower().endswith(".json") else "csv")
    content = rows.as_json() if kind == "json" else rows.as_csv()
    more = f" There are more: go on with --after {following}." if following else ""
    return File(output.path, content, f"{len(rows.values)} rows are in {output.path}.{more}", private=True)


# --- what was refused -------------------------------------------------------------------------------------


async def _refused(ctx: Context, query: Query, kinds: tuple[RefusalKind, ...], paging: Paging) -> Result:
    file = ctx.services.tracking.file
    page: RefusedPage = await asked(lambda: file.refused(query, kinds, paging.limit, paging.after or None))
    if paging.export is not None:
        return _file(paging.export, paging.format, tracking_export.refused(page.refused), page.following)
    told = [{**plain(each), "explanation": None} for each in page.refused]
    if query.icid is not None:
        for each in told:
            fact = await asked(lambda: file.refused_fact(each["id"]))  # noqa: B023 - awaited at once
            each["explanation"] = _explained(fact) if fact else None
    value = {"refused": told, "next": page.following, "complete": True}
    note = f"More: the same with --after {page.following}" if page.following else ""
    rows = tuple(map(_refused_row, page.refused))
    return FullTable(_REFUSED, rows, "", "Nothing that was refused matches.", note, value)


def _explained(fact: bytes) -> dict[str, Any]:
    """Why a handshake failed, in words too."""
    found = msgspec.json.decode(fact, type=Explanation)
    value: dict[str, Any] = plain(found)
    if found.diagnosis is not None:
        said = found.diagnosis
        value["diagnosis"] |= {"summary": said.summary, "evidence": said.evidence, "remedy": said.remedy}
    return value


_REFUSED = (
    Column("At"),
    Column("What"),
    Column("ICID"),
    Column("Host", cut=40),
    Column("From", cut=40),
    Column("To", cut=40),
    Column("Reason", cut=60),
)


def _refused_row(found: Refused) -> tuple[str | int | None, ...]:
    sender = None if found.sender is None else one_line(found.sender) or "<>"
    return (
        moment(found.at),
        found.kind,
        found.icid,
        one_line(peer(found.remote_host, found.remote_ip)),
        sender,
        one_line(found.recipient) if found.recipient else None,
        one_line(found.reason),
    )


# --- questions --------------------------------------------------------------------------------------------


async def _dialogue(ctx: Context) -> Result:
    """What to look for, then which of those that were found."""
    listed = "".join(f"{number}. {label}\n" for number, (_, label) in _WAYS.items())
    answer = (await ctx.client.ask(f"{listed}Search by which of these?", "1")).strip()
    if answer not in _WAYS:
        raise CommandFailed(f"{answer!r} is none of them: write a number from 1 to {len(_WAYS)}", 2)
    name, label = _WAYS[answer]
    wanted = (await ctx.client.ask(f"{label} to look for:", "")).strip()
    if not wanted:
        raise CommandFailed("Nothing was asked for", 2)
    if name == "mid":
        return await told(ctx, _number(wanted), lang="en", log=True)
    values: dict[str, Any] = {name: wanted}
    query = _query(Options(**values), ctx.services.now())
    page = await asked(lambda: ctx.services.tracking.file.search(query, _PAGE))
    table = _table(page)
    if not page.messages:
        return table
    chosen = await _choice(ctx, page)
    return table if chosen is None else Parts((table, await told(ctx, chosen, lang="en", log=True)))


async def _choice(ctx: Context, page: Page) -> int | None:
    lines = (
        f"MID {found.mid}  {moment(found.at)}  {one_line(found.sender) or '<>'} to "
        f"{', '.join(map(one_line, found.recipients[:2]))}  {one_line(found.subject or '')[:60]}\n"
        for found in page.messages
    )
    answer = await ctx.client.ask(f"{''.join(lines)}Which MID do you want to see? Empty: none.", "")
    return _number(answer) if answer.strip() else None


def _number(text: str) -> int:
    digits = text.strip().upper().removeprefix("MID").strip()
    if not digits.isdecimal() or len(digits) > 18:
        raise CommandFailed(f"{text.strip()!r} is no MID: write its number", 2)
    return int(digits)
