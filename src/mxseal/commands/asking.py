"""What the words of a command left open, asked one by one: the dialogue of every command (reference §6.1).

Nothing is done before the last answer, so that Ctrl-C leaves nothing half done.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import click

from mxseal.commands.context import Client, CommandFailed, Context
from mxseal.commands.parameters import (
    FILE_LIMIT,
    SECRET_LIMIT,
    FileBytes,
    FileText,
    OutputFile,
    Parameter,
    Secret,
)
from mxseal.commands.questions import HELP, BadAnswer, Question, meaning, question, yes
from mxseal.commands.registry import Command, UsageFault
from mxseal.commands.words import HIDDEN, LITERAL_SECRET

PASTED = "what was pasted"
_PLAIN = (str, int, float)
Given = Mapping[str, Any]
"""Parameters by name, as they were typed."""


class Left(Exception):
    """An empty line at the first question of an operation that was chosen in a menu: back to it."""


class Asker:
    """Values for all parameters of one run: from its words, the caller's files, answers, defaults.

    A dialogue is held where a needed parameter is missing, where the command was `chosen` in a menu, and
    where a command that changes something was not told what to change. `before`: answers of an attempt that
    failed, the defaults of this one.
    """

    def __init__(
        self,
        entry: Command,
        context: Context,
        parsed: click.Context,
        *,
        chosen: bool = False,
        before: Given | None = None,
    ) -> None:
        self._entry = entry
        self._context = context
        self._client = context.client
        self._parsed = parsed
        self._chosen = chosen
        self._before = before or {}
        self._present: Given | None = None
        self.answers: dict[str, Any] = {}
        """What was answered, for another attempt; without files and passphrases."""
        self.asked = 0

    async def complete(self, given: Given) -> dict[str, Any]:
        """Raises UsageFault when something is missing and nobody can be asked; CommandFailed; Left."""
        parameters = self._entry.parameters
        missing = [entry for entry in parameters if entry.needed and not has(given.get(entry.name))]
        if missing and not self._client.interactive:
            raise UsageFault(self._missing(missing))
        talk = self._client.interactive and bool(missing or self._chosen or self._idle(given))
        values: dict[str, Any] = {}
        for entry in self._in_order():
            value = given.get(entry.name)
            if has(value):
                values[entry.name] = await self._resolved(entry, value)
            elif talk and self._is_asked(entry):
                values[entry.name] = await self._asked(entry, values)
            else:
                values[entry.name] = entry.default
        return values

    def unchanged(self, values: Given) -> bool:
        """Whether a dialogue about changes ended without one."""
        present = self._present
        if present is None or not self.asked or self._entry.makes:
            return False
        return not any(
            has(values[entry.name]) and not _same(values[entry.name], present.get(entry.name, entry.default))
            for entry in self._entry.parameters
            if entry.name in present or not entry.needed
        )

    def _idle(self, given: Given) -> bool:
        """Whether the words name something and do not say what shall change."""
        known = {name: value for name, value in given.items() if has(value)}
        if self._entry.makes:
            return False
        return self._entry.present is not None and not any(name in known for name in self._look(known))

    def _look(self, known: Given) -> Given:
        """The present values, once what names the thing is known. Raises CommandFailed."""
        if self._present is None and self._entry.present is not None:
            with contextlib.suppress(KeyError):
                self._present = self._entry.present(self._context, known)
        return self._present or {}

    def _missing(self, missing: list[Parameter]) -> str:
        names = ", ".join(entry.name.upper() if entry.positional else entry.flags[-1] for entry in missing)
        return f"Missing: {names}. 'help {' '.join(self._entry.words)}' shows how it is used."

    def _in_order(self) -> list[Parameter]:
        order = self._entry.order
        place = {name: at for at, name in enumerate(order)}
        return sorted(self._entry.parameters, key=lambda entry: place.get(entry.name, len(order)))

    def _is_asked(self, entry: Parameter) -> bool:
        if entry.needed or entry.marker.ask:
            return True
        plain = entry.kind in _PLAIN or get_origin(entry.kind) is Literal
        return plain and not entry.marker.quiet and self._entry.configures

    # --- one question -------------------------------------------------------------------------------------

    async def _asked(self, entry: Parameter, values: dict[str, Any]) -> Any:
        self.asked += 1
        if entry.kind is Secret:
            text = entry.marker.ask or f"{entry.marker.help}:"
            return Secret(await self._client.secret(text, entry.marker.repeat))
        if entry.kind is FileText and entry.marker.ask.startswith("Paste"):
            return FileText(PASTED, await self._client.paste(entry.marker.ask))
        if entry.kind in (FileText, FileBytes) and not self._context.files:
            return await self._pasted(entry)
        present = self._look(values).get(entry.name)
        default = self._before.get(entry.name, entry.default if present is None else present)
        asked = question(entry, self._context, default)
        told = ""
        while True:
            self._context.offer(asked.choices)
            answer = await self._client.ask(f"{told}\n{asked.text}" if told else asked.text, asked.default)
            if answer.strip().lower() in HELP:
                told = asked.explanation
                continue
            if self._chosen and self.asked == 1 and entry.needed and not answer.strip():
                raise Left
            try:
                return await self._taken(asked, values, present, answer)
            except BadAnswer as refusal:
                told = str(refusal)
            except CommandFailed as failure:
                told = f"{str(failure).rstrip('.?')}."

    async def _taken(self, asked: Question, values: dict[str, Any], present: Any, answer: str) -> Any:
        """The value of an answer, good as far as can be seen now. Raises BadAnswer, CommandFailed."""
        entry = asked.entry
        if not answer.strip() and not entry.needed:
            return entry.default
        value = meaning(asked, answer, self._parsed)
        if entry.marker.check is not None:
            entry.marker.check(self._context, value)
        self._look({**values, entry.name: value})
        self.answers[entry.name] = value
        if present is not None and not entry.needed and _same(value, present):
            return entry.default
        return await self._resolved(entry, value)

    async def _pasted(self, entry: Parameter) -> Any:
        """Over SSH no file can be reached."""
        what = "as PEM, or anything else as base64" if entry.kind is FileBytes else "as text"
        text = await self._client.paste(f"Paste the content of the file, {what}:")
        made = FileText(PASTED, text) if entry.kind is FileText else FileBytes(PASTED, _binary(text))
        return [made] if entry.several else made

    # --- values -------------------------------------------------------------------------------------------

    async def _resolved(self, entry: Parameter, value: Any) -> Any:
        if entry.several:
            return [await self._one(entry, part) for part in value]
        return await self._one(entry, value)

    async def _one(self, entry: Parameter, value: Any) -> Any:
        if entry.kind is FileBytes:
            return FileBytes(value, await self._client.read(value, FILE_LIMIT))
        if entry.kind is FileText:
            return FileText(value, _decoded(value, await self._client.read(value, FILE_LIMIT)))
        if entry.kind is OutputFile:
            return OutputFile(value)
        return Secret(await self._secret(value)) if entry.kind is Secret else _choice(entry, value)

    async def _secret(self, source: str) -> str:
        how, _, rest = source.partition(":")
        if how == "pass":
            return rest
        if how == "env":
            return await self._client.environment(rest)
        path = "-" if how == "stdin" else rest
        lines = _decoded(path, await self._client.read(path, SECRET_LIMIT)).splitlines()
        return lines[0] if lines else ""


async def agreed(client: Client, text: str) -> bool:
    """A question that an empty line answers with yes."""
    told = ""
    while True:
        try:
            return yes(await client.ask(f"{told}{text}", "Y"))
        except BadAnswer as refusal:
            told = f"{refusal}\n"


def has(value: Any) -> bool:
    """Whether a parameter was given."""
    return value not in (None, (), [])


def spelled(entry: Command, values: Given) -> list[str]:
    """The words that do the same without questions, secrets hidden: what is written down about a run."""
    positional: list[str] = []
    options: list[str] = []
    for each in entry.parameters:
        value = values[each.name]
        if not has(value) or (not each.needed and value == each.default):
            continue
        words = [_word(part) for part in (value if each.several else [value])]
        if each.positional:
            positional += words
        elif each.kind is bool:
            options.append(each.flags[0 if value else -1])
        else:
            options += [word for part in words for word in (each.flags[-1], part)]
    return [*entry.words, *positional, *options]


def _word(value: Any) -> str:
    if isinstance(value, Secret):
        return LITERAL_SECRET + HIDDEN
    if isinstance(value, FileText | FileBytes | OutputFile):
        return "-" if value.path == PASTED else value.path
    return str(value)


def _same(value: Any, present: Any) -> bool:
    if isinstance(value, list | tuple):
        return [str(part) for part in value] == [str(part) for part in present or ()]
    if isinstance(value, float) and isinstance(present, int | float):
        return value == present
    return str(value).lower() == str(present).lower()


def _choice(entry: Parameter, value: Any) -> Any:
    """A choice with the type that its Literal gives it."""
    if get_origin(entry.kind) is not Literal:
        return value
    return next(choice for choice in get_args(entry.kind) if str(choice).lower() == str(value).lower())


def _decoded(path: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CommandFailed(f"{path} is not a text file (UTF-8)") from None


def _binary(text: str) -> bytes:
    """What base64 says; text that is no base64 as it is."""
    try:
        return base64.b64decode("".join(text.split()), validate=True) or text.encode()
    except (binascii.Error, ValueError):
        return text.encode()
