"""Commands on the logs: `grep` and `tail` as the reference has them (§6.2), and the list of logs."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mxseal.commands.context import Client, CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import UsageFault, command
from mxseal.commands.results import Column, Result, Stream, Table
from mxseal.logs.follow import tail as follow
from mxseal.logs.pattern import PatternError
from mxseal.logs.retained import Subscription, UnknownLog, retained, subscriptions
from mxseal.logs.search import Query
from mxseal.logs.search import grep as search

MOST_CONTEXT = 1000
PAGE = 24
"""Lines of a screenful, as terminals have had them since the VT52."""
MORE = "-Press Any Key For More-"
STOP = "Press Ctrl-C to stop.\n"


def names(ctx: Context) -> list[str]:
    """Names of the logs that there are."""
    return [entry.name for entry in subscriptions(ctx.services.logs_home)]


def _size(entry: Subscription) -> tuple[int, int]:
    """(files, bytes) of a log."""
    sizes = [size for file in retained(entry.folder) if (size := _bytes(file.path)) is not None]
    return len(sizes), sum(sizes)


def _bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # its time was over in this moment
        return None


def _lines(chunk: str) -> dict[str, Any]:
    return {"note": STOP.strip()} if chunk is STOP else {"lines": chunk.splitlines()}


async def _text(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Bytes of a log as text, whatever a stranger's bytes were."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    async for chunk in chunks:
        if text := decode(chunk):
            yield text


@command("logs", role="read-only", summary="List the logs that grep and tail read")
def logs(ctx: Context) -> Result:
    """Each is one or several files in the folder 'logs' of the home, the newest ending in '.current'."""
    found = subscriptions(ctx.services.logs_home)
    return Table(
        (Column("Log Name"), Column("Log Type"), Column("Files"), Column("Bytes")),
        tuple((entry.name, entry.kind, *_size(entry)) for entry in found),
    )


async def _pages(texts: AsyncIterator[str], client: Client) -> AsyncIterator[str]:
    """The same text; before each further screenful somebody has to ask for it."""
    room = PAGE
    async for text in texts:
        lines = text.splitlines(keepends=True)
        while lines:
            if not room:
                await client.ask(MORE, "")
                room = PAGE
            page, lines = lines[:room], lines[room:]
            room -= len(page)
            yield "".join(page)


async def _or_nothing(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same text; without any the command ends with status 1 and no word, as grep does."""
    found = False
    async for text in texts:
        found = True
        yield text
    if not found:
        raise CommandFailed("", 1)


async def _announced(texts: AsyncIterator[str]) -> AsyncIterator[str]:
    yield STOP
    async for text in texts:
        yield text


def _numbered(found: Sequence[Subscription]) -> str:
    rows = [
        ("Log Name", "Log Type", "Retrieval", "Interval"),
        *((entry.name, entry.kind, entry.retrieval, entry.interval) for entry in found),
    ]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, wide)).rstrip() for row in rows)
    return "".join(f"{f'{n}.' if n else '':>4} {line}\n" for n, line in enumerate(lines))


async def _which(ctx: Context, purpose: str) -> str:
    """The log that somebody at a terminal chooses by its number or name. Raises CommandFailed."""
    found = subscriptions(ctx.services.logs_home)
    if not found:
        raise CommandFailed("There are no logs yet")
    question = f"{_numbered(found)}Enter the number of the log you wish to {purpose}."
    known = [entry.name for entry in found]
    told = ""
    while answer := (await ctx.client.ask(f"{told}{question}", "")).strip():
        if answer in known:
            return answer
        if answer.isdecimal() and 0 < int(answer[:9]) <= len(known):
            return known[int(answer) - 1]
        what = "number " if answer.isdecimal() else ""
        told = f"There is no log {what}{answer}: write one of 1 to {len(known)}, or its name.\n"
    raise CommandFailed("No log was chosen", 2)


async def _yes(ctx: Context, question: str, default: str) -> bool:
    return (await ctx.client.ask(question, default)).strip().lower() in {"y", "yes"}


class _Search(msgspec.Struct, frozen=True, kw_only=True):
    """What `grep` is to do, from its words or from its questions."""

    log: str
    query: Query
    follow: bool
    pages: bool


async def _asked(ctx: Context, context: int) -> _Search:
    """The questions of reference §6.2, where another default holds for the case than in the command form."""
    name = await _which(ctx, "grep")
    pattern = await ctx.client.ask("Enter the regular expression to grep.", "")
    ignore = await _yes(ctx, "Do you want this search to be case insensitive?", "Y")
    invert = await _yes(ctx, "Do you want to search for non-matching lines?", "N")
    following = await _yes(ctx, "Do you want to tail the logs?", "N")
    pages = await _yes(ctx, "Do you want to paginate the output?", "N")
    query = Query(pattern=pattern, ignore_case=ignore, invert=invert, context=context)
    return _Search(log=name, query=query, follow=following, pages=pages)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `grep`, with the letters of reference §6.2."""

    regex: Annotated[str | None, Option("The regular expression, where it begins with '-'", short="-e")] = (
        None
    )
    i: Annotated[bool, Option("Ignore case", short="-i")] = False
    v: Annotated[bool, Option("Lines that do not match", short="-v")] = False
    t: Annotated[bool, Option("Search the last lines, then go on with new ones", short="-t")] = False
    p: Annotated[bool, Option("Stop after each screenful, at a terminal", short="-p")] = False
    context: Annotated[
        int, Option("Lines of context around each match", short="-C -c", least=0, most=MOST_CONTEXT)
    ] = 0


@command("grep", role="read-only", summary="Search a log: grep [options] REGEX LOG", streams=True)
async def grep(
    ctx: Context,
    words: Annotated[
        list[str], Argument("Regular expression, then the log", metavar="REGEX LOG", complete=names)
    ] = [],  # noqa: B006
    *,
    options: Options,
) -> Result:
    """All retained files are searched, the oldest first. The expression is as in Python, without
    back-references and look-around, so that no expression can hang the gateway. Ctrl-C ends it.
    Status 1: nothing was found. Without REGEX and LOG you are asked for all of it, at a terminal.

    Example: grep "ICID.*TLS failed" mail_logs
    """
    regex = options.regex
    if not words and regex is None and ctx.client.interactive:
        return _found(ctx, await _asked(ctx, options.context))
    if len(words) != (1 if regex is not None else 2):
        raise UsageFault('Write the expression, then the log: grep "ICID.*TLS failed" mail_logs')
    pattern = regex if regex is not None else words[0]
    query = Query(pattern=pattern, ignore_case=options.i, invert=options.v, context=options.context)
    return _found(ctx, _Search(log=words[-1], query=query, follow=options.t, pages=options.p))


def _found(ctx: Context, wanted: _Search) -> Result:
    wait = ctx.services.log_wait() if wanted.follow else None
    try:
        texts = _or_nothing(_text(search(ctx.services.logs_home, wanted.log, wanted.query, wait=wait)))
    except (PatternError, UnknownLog) as fault:
        raise CommandFailed(str(fault), 2) from None
    paged = wanted.pages and ctx.client.interactive
    return Stream(_pages(texts, ctx.client) if paged else texts, _lines)


@command(
    "tail",
    role="read-only",
    summary="Show the end of a log, and each new line as it is written",
    streams=True,
)
async def tail(
    ctx: Context,
    log: Annotated[str, Argument("The log; without it you are asked", complete=names)] = "",
    *,
    lines: Annotated[int, Option("Begin with so many lines", short="-n", least=0, most=100_000)] = 10,
) -> Result:
    """Press Ctrl-C to stop."""
    if not log and not ctx.client.interactive:
        raise UsageFault("Missing: LOG. 'help tail' shows how it is used.")
    name = log or await _which(ctx, "tail")
    try:
        texts = _text(follow(ctx.services.logs_home, name, wait=ctx.services.log_wait(), lines=lines))
    except UnknownLog as fault:
        raise CommandFailed(str(fault), 2) from None
    return Stream(_announced(texts) if ctx.client.interactive else texts, _lines)
