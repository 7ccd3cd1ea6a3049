"""`explain`: why a connection was encrypted, verified or not, or failed; read from the JSON log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal, Union

import msgspec

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.explanation import Explanation, Kind, Message, explain_connection, explain_message
from mxseal.commands.explanation_text import Writer, moment
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Data, Result
from mxseal.events import EVENT_TYPES, Event
from mxseal.language import Language, translations
from mxseal.logs.retained import UnknownLog
from mxseal.logs.search import Query, grep

_JSON_LOG, _MAIL_LOG = "json_logs", "mail_logs"
_MOST_CONNECTIONS = 20
_MOST_EVENTS = 20_000
"""Of one number: a connection that carried thousands of messages has them."""
_MOST_LINES = 60
_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Union[EVENT_TYPES])  # noqa: UP007
Number = Literal["icid", "dcid", "mid"]


@command("explain", role="read-only", summary="Explain a connection's or message's TLS: explain dcid 12")
async def explain(
    ctx: Context,
    what: Annotated[
        Number, Argument("Which number it is: of a connection that came in, that went out, a message")
    ],
    number: Annotated[int, Argument("The number, as the mail log has it", metavar="NUMBER", least=1)],
    *,
    lang: Annotated[Language, Option("The language of the explanation")] = "en",
) -> Result:
    """What happened, why, who has to act and what to do, with the decision as it was then: the level and who
    said so, the authorities that were trusted, what both sides offered and showed. It is read from the JSON
    log, as long as that is kept. A message's number explains all its connections.

    Example: explain dcid 12 --lang nl
    """
    writer = Writer(translations(lang, "explain").gettext, translations(lang, "diagnosis").gettext, ctx.width)
    reader = _Reader(ctx)
    if what == "mid":
        return await _message(reader, writer, number)
    told = explain_connection(what, number, await reader.events_of(what, number))
    lines = await reader.lines(what, (number,))
    return Data(writer.connection(told, lines), _plain(told, writer, lines))


async def _message(reader: _Reader, writer: Writer, number: int) -> Result:
    told = explain_message(number, await reader.events_of("mid", number))
    wanted: list[tuple[Kind, int]] = [("icid", told.icid)] if told.icid else []
    dcids = told.dcids[-(_MOST_CONNECTIONS - len(wanted)) :]
    wanted += [("dcid", dcid) for dcid in dcids]
    found = await reader.connections(wanted)
    lines = await reader.lines("mid", (number,))
    texts = [writer.message(told, lines, len(told.dcids) - len(dcids))]
    texts += [writer.connection(each, ()) for each in found]
    value = {**_message_value(told, lines), "connections": [_plain(each, writer, ()) for each in found]}
    return Data("\n".join(texts), value)


def _message_value(told: Message, lines: Sequence[str]) -> dict[str, Any]:
    return {**msgspec.to_builtins(told), "mail_log": list(lines)}


def _plain(told: Explanation, writer: Writer, lines: Sequence[str]) -> dict[str, Any]:
    """For programs: the values as they are, and the sentences in the language that was asked for."""
    value: dict[str, Any] = msgspec.to_builtins(told)
    if told.diagnosis is not None:
        value["diagnosis"] = {**value["diagnosis"], **writer.sentences(told.diagnosis)}
    if lines:
        value["mail_log"] = list(lines)
    return value


class _Reader:
    """Finds events and lines by number, with the search of `grep`."""

    def __init__(self, ctx: Context) -> None:
        self._home = ctx.services.logs_home

    async def events_of(self, what: Number, number: int) -> list[Event]:
        """All with this number, in order. Raises CommandFailed when there are none."""
        found = await self._decoded(rf'"{what}":{number}[,}}]')
        if not found:
            raise CommandFailed(await self._why_not(what, number))
        return found

    async def connections(self, wanted: Sequence[tuple[Kind, int]]) -> list[Explanation]:
        """One scan for all of them; those that the log no longer has are left out."""
        if not wanted:
            return []
        numbers = "|".join(f'"{kind}":{number}' for kind, number in wanted)
        events = await self._decoded(rf"({numbers})[,}}]")
        by_number: dict[tuple[Kind, int], list[Event]] = {key: [] for key in wanted}
        for event in events:
            for key in ((kind, getattr(event, kind, 0)) for kind in ("icid", "dcid")):
                if key in by_number:
                    by_number[key].append(event)
        return [explain_connection(*key, found) for key, found in by_number.items() if found]

    async def lines(self, what: Number, numbers: Sequence[int]) -> list[str]:
        """What the mail log has under a number; the last ones where there are many."""
        pattern = rf"{what.upper()}:? ({'|'.join(map(str, numbers))})( |$)"
        try:
            text = b"".join([chunk async for chunk in self._search(_MAIL_LOG, pattern)])
        except UnknownLog:
            return []
        return text.decode("utf-8", "replace").splitlines()[-_MOST_LINES:]

    async def _decoded(self, pattern: str) -> list[Event]:
        """Lines of the JSON log as events; those of another release that can't be read are left out."""
        found: list[Event] = []
        try:
            async for chunk in self._search(_JSON_LOG, pattern):
                for line in chunk.splitlines():
                    try:
                        found.append(_DECODER.decode(line))
                    except (msgspec.ValidationError, msgspec.DecodeError):
                        continue
        except UnknownLog:
            raise CommandFailed(_NO_LOG) from None
        return found

    def _search(self, log: str, pattern: str, limit: int = _MOST_EVENTS) -> AsyncIterator[bytes]:
        return grep(self._home, log, Query(pattern=pattern, limit=limit))

    async def _why_not(self, what: Number, number: int) -> str:
        """Whether the log with that number is gone, or the number was never there."""
        name = what.upper()
        first = [chunk async for chunk in self._search(_JSON_LOG, rf'"{what}":[1-9]', 1)]
        match = re.search(rb'"at":([0-9.]+).*"%s":([0-9]+)' % what.encode(), first[0]) if first else None
        if match is None:
            return f"The JSON log holds no {name} at all: {_HOW_LONG}"
        begins, oldest = moment(float(match[1])), int(match[2])
        if number < oldest:
            return (
                f"The log of {name} {number} is no longer kept: what there is begins with {name} {oldest} at "
                f"{begins}. {_HOW_LONG}"
            )
        return (
            f"The JSON log, which goes back to {begins}, has no {name} {number}: it was never given out, or "
            f"the log was off at that time. 'grep \"{name} {number} \" mail_logs' shows what else there is"
        )


_HOW_LONG = "[logs] keep_days and keep_files say for how long logs are kept"
_NO_LOG = (
    "There is no JSON log to read this from: it is switched off. Set json_log = true in [logs]; what has "
    "happened before can't be explained, only searched for in mail_logs"
)
