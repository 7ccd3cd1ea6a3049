"""`trackmessage`: the whole story of one message, from message tracking (reference §9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.explanation import Decision, Explanation, Outcome, Place
from mxseal.commands.explanation_text import Writer
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Data, Result
from mxseal.commands.tracked import asked, plain
from mxseal.commands.tracking_text import page, summary
from mxseal.language import Language, translations
from mxseal.logs.retained import UnknownLog
from mxseal.logs.search import Query, grep
from mxseal.storage.tracking.values import Connection, Story
from mxseal.tls.facts import StageTimes

_MOST_EXPLAINED = 20
"""Connections that are told in words; all are in the JSON."""
_MOST_LINES = 200
_OUTCOMES: dict[str, Outcome] = {
    "verified": "verified",
    "encrypted": "encrypted",
    "unverified": "unverified",
    "clear": "clear",
    "failed": "tls-failed",
}


@command("trackmessage", role="read-only", summary="Tell the whole story of a message: trackmessage 322")
async def trackmessage(
    ctx: Context,
    mid: Annotated[int, Argument("The message's number, its MID", metavar="MID", least=1)],
    *,
    lang: Annotated[Language, Option("The language of the explanations")] = "en",
    log: Annotated[bool, Option("With the lines that mail_logs has about it")] = False,
) -> Result:
    """In order: how it came, who took it and who did not, each attempt, and what has become of it; then both
    kinds of connections with their TLS, who said how secure they had to be, and why something failed. It is
    read from message tracking, which keeps it longer than the logs.

    Example: trackmessage 322
    """
    return await told(ctx, mid, lang=lang, log=log)


async def told(ctx: Context, mid: int, *, lang: Language, log: bool) -> Data:
    """The story as a result. Raises CommandFailed when there is none."""
    story = await asked(lambda: ctx.services.tracking.file.story(mid))
    if story is None:
        raise CommandFailed(
            f"MID {mid} is not in message tracking: it was never queued, is older than what is kept, or came "
            f"within the last seconds. 'findevent --refused any --mid {mid}' looks among what was refused"
        )
    writer = Writer(translations(lang, "explain").gettext, translations(lang, "diagnosis").gettext, ctx.width)
    explained = [(each, explanation(each, story)) for each in story.connections]
    lines = await _lines(ctx, mid) if log else []
    text = page(story, writer, [told for _, told in explained[:_MOST_EXPLAINED]], lines)
    return Data(text, _value(story, writer, explained, lines))


def explanation(found: Connection, story: Story) -> Explanation:
    """A connection explained, from what tracking keeps of it."""
    steps = [step for step in story.steps if step.dcid == found.number]
    own: dict[str, Any] = {
        "number": found.number,
        "at": found.at,
        "place": Place(
            domain=found.domain if found.kind == "dcid" else "",
            host=found.host,
            remote_ip=found.ip,
            port=found.port,
            local_ip=found.local_ip,
            listener=found.listener,
        ),
        "times": msgspec.convert(found.times, StageTimes) if found.times else None,
        "mids": (story.message.mid,) if found.kind == "icid" or steps else (),
    }
    if found.fact:
        return msgspec.structs.replace(msgspec.json.decode(found.fact, type=Explanation), **own)
    state = found.tls.state if found.tls is not None else ""
    decision = Decision(
        level=found.level,
        level_from=found.level_from or found.policy,
        sender_group=found.sender_group,
        match=found.match,
    )
    return Explanation(kind=found.kind, outcome=_OUTCOMES.get(state, "failed"), decision=decision, **own)


async def _lines(ctx: Context, mid: int) -> list[str]:
    """What the mail log still has."""
    query = Query(pattern=rf"MID {mid}( |$)", limit=10_000)
    try:
        text = b"".join([chunk async for chunk in grep(ctx.services.logs_home, "mail_logs", query)])
    except UnknownLog:
        return []
    return text.decode("utf-8", "replace").splitlines()[-_MOST_LINES:]


def _value(
    story: Story, writer: Writer, explained: Sequence[tuple[Connection, Explanation]], lines: Sequence[str]
) -> dict[str, Any]:
    """For programs: all values, and the sentences in the language that was asked for."""
    value: dict[str, Any] = plain(story)
    value["connections"] = [_connection(found, told, writer) for found, told in explained]
    value["summary"] = [plain(line) for line in summary(story)]
    if lines:
        value["mail_log"] = list(lines)
    return value


def _connection(found: Connection, told: Explanation, writer: Writer) -> dict[str, Any]:
    value: dict[str, Any] = plain(found)
    del value["fact"]
    value["outcome"] = told.outcome
    value["explanation"] = plain(told)
    if told.diagnosis is not None:
        value["explanation"]["diagnosis"] |= writer.sentences(told.diagnosis)
    if told.remark is not None:
        value["explanation"]["remark"] |= writer.sentences(told.remark)
    return value
