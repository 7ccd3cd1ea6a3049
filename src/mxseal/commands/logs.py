"""Commands on the logs: `grep` and `tail` as the reference has them (§6.2), and the list of logs."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Result, Stream, Table
from mxseal.logs.follow import tail as follow
from mxseal.logs.pattern import PatternError
from mxseal.logs.retained import Subscription, UnknownLog, retained, subscriptions
from mxseal.logs.search import Query
from mxseal.logs.search import grep as search

MOST_CONTEXT = 1000


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
    return {"lines": chunk.splitlines()}


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


@command("grep", role="read-only", summary="Search a log: grep [options] REGEX LOG")
def grep(
    ctx: Context,
    words: Annotated[
        list[str], Argument("Regular expression, then the log", metavar="REGEX LOG", complete=names)
    ],
    *,
    regex: Annotated[
        str | None, Option("The regular expression, where it begins with '-'", short="-e")
    ] = None,
    i: Annotated[bool, Option("Ignore case", short="-i")] = False,
    v: Annotated[bool, Option("Lines that do not match", short="-v")] = False,
    t: Annotated[bool, Option("Search the last lines, then go on with new ones", short="-t")] = False,
    context: Annotated[
        int, Option("Lines of context around each match", short="-C", least=0, most=MOST_CONTEXT)
    ] = 0,
) -> Result:
    """All retained files are searched, the oldest first. The expression is as in Python, without
    back-references and look-around, so that no expression can hang the gateway. Ctrl-C ends it.

    Example: grep "ICID.*TLS failed" mail_logs
    """
    if len(words) != (1 if regex is not None else 2):
        raise CommandFailed('Write the expression, then the log: grep "ICID.*TLS failed" mail_logs', 2)
    pattern = regex if regex is not None else words[0]
    query = Query(pattern=pattern, ignore_case=i, invert=v, context=context)
    try:
        chunks = search(ctx.services.logs_home, words[-1], query, wait=ctx.services.log_wait() if t else None)
    except (PatternError, UnknownLog) as fault:
        raise CommandFailed(str(fault), 2) from None
    return Stream(_text(chunks), _lines)


@command("tail", role="read-only", summary="Show the end of a log, and each new line as it is written")
def tail(
    ctx: Context,
    log: Annotated[str, Argument("The log", complete=names, ask="Name of the log you wish to tail:")],
    *,
    lines: Annotated[int, Option("Begin with so many lines", short="-n", least=0, most=100_000)] = 10,
) -> Result:
    """Press Ctrl-C to stop."""
    try:
        chunks = follow(ctx.services.logs_home, log, wait=ctx.services.log_wait(), lines=lines)
    except UnknownLog as fault:
        raise CommandFailed(str(fault), 2) from None
    return Stream(_text(chunks), _lines)
