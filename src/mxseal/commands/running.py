"""One command from its words to its audit record: find, authorise, ask for what is missing, run, deliver."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from mxseal.commands.context import CommandFailed, Context, allowed
from mxseal.commands.parameters import (
    FILE_LIMIT,
    SECRET_LIMIT,
    FileBytes,
    FileText,
    OutputFile,
    Parameter,
    Secret,
)
from mxseal.commands.registry import Command, Found, Registry, UsageFault, verbs
from mxseal.commands.results import Done, File, Parts, Problems, Result, Text, failed
from mxseal.commands.values import ValuesRefused, resolve, words_of
from mxseal.commands.words import redact
from mxseal.config.problem import Problem

OK, FAILED, USAGE, INTERNAL, NOT_ALLOWED, CANCELLED = 0, 1, 2, 70, 77, 130
"""Exit statuses; 70 and 77 as in sysexits(3), 130 as after Ctrl-C."""

Outcome = Literal["ok", "failed", "usage", "refused", "cancelled", "internal"]
_Outcome = tuple[Outcome, str, int]
"""How it ended, the sentence, and the exit status."""
Deliver = Callable[[Result], Awaitable[None]]
log = logging.getLogger(__name__)


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who ran what, and how it ended. `words` are without secrets."""

    at: float
    user: str
    role: str
    face: str
    remote: str
    owner: str
    words: tuple[str, ...]
    outcome: Outcome
    message: str


Audit = Callable[[AuditRecord], None]


class Ended(msgspec.Struct, frozen=True):
    """How a command ended. `message` is empty unless it failed; `words` are fit for a history file."""

    status: int
    outcome: Outcome
    message: str
    words: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    """What is wrong with single values of a call."""


_STATUS: dict[Outcome, int] = {
    "ok": OK, "failed": FAILED, "usage": USAGE, "refused": NOT_ALLOWED, "cancelled": CANCELLED,
    "internal": INTERNAL,
}  # fmt: skip


class Runner:
    """Runs the commands of a registry and reports each to `audit`."""

    def __init__(self, commands: Registry, audit: Audit) -> None:
        self.commands = commands
        self._audit = audit

    async def run(self, words: Sequence[str], context: Context, deliver: Deliver) -> Ended:
        """Run the command that `words` say. Its result goes to `deliver`; failures come back as a sentence.

        Cancelling the task cancels the command; it is reported before the cancellation goes on.
        """
        line = _Line(list(words))
        return await self._reported(line, context, lambda: self._run(line, context, deliver))

    async def _reported(
        self,
        line: _Line,
        context: Context,
        work: Callable[[], Awaitable[_Outcome]],
        problems: Sequence[Problem] = (),
    ) -> Ended:
        started = context.services.now()
        ended = Ended(CANCELLED, "cancelled", "cancelled", ())
        try:
            outcome, message, status = await self._outcome(line, work)
            ended = Ended(status, outcome, message, (), tuple(problems))
        finally:
            flags = line.command.secret_flags if line.command else self.commands.secret_flags
            ended = msgspec.structs.replace(ended, words=tuple(redact(line.words, flags)))
            self._audit(_record(started, context, ended))
        return ended

    async def call(
        self, words: Sequence[str], values: Mapping[str, Any], context: Context, deliver: Deliver
    ) -> Ended:
        """Run the command that `words` name with parameters that are values, not words (see `values`).

        Everything else is as with `run`. Nobody is asked anything, whatever the client could answer; help
        words mean nothing. Problems of single values are in the outcome, each with its parameter's name.
        """
        line = _Line(list(words))
        problems: list[Problem] = []

        async def work() -> _Outcome:
            try:
                return await self._call(line, values, context, deliver)
            except ValuesRefused as refused:
                problems.extend(refused.problems)
                return "usage", str(refused), USAGE

        return await self._reported(line, context, work, problems)

    async def _call(
        self, line: _Line, values: Mapping[str, Any], context: Context, deliver: Deliver
    ) -> _Outcome:
        found = self.commands.find(line.words)
        if isinstance(found.node, click.Group) or found.rest:
            raise UsageFault(_incomplete(found))
        line.command = entry = found.node.entry
        line.words = words_of(entry, values)
        _authorise(entry, context)
        return await _run_with(entry, context, resolve(entry, values, context), deliver)

    async def _outcome(self, line: _Line, work: Callable[[], Awaitable[_Outcome]]) -> _Outcome:
        try:
            return await work()
        except UsageFault as fault:
            return "usage", str(fault), USAGE
        except CommandFailed as failure:
            outcome: Outcome = "refused" if failure.status == NOT_ALLOWED else "failed"
            return outcome, str(failure), failure.status
        except asyncio.CancelledError:
            raise
        except (ConnectionError, EOFError):
            return "cancelled", "the caller went away", CANCELLED
        except Exception as error:
            log.exception("the command %s failed", " ".join(redact(line.words, self.commands.secret_flags)))
            return "internal", f"this is a fault of the gateway, told in its system log: {error!r}", INTERNAL

    async def _run(self, line: _Line, context: Context, deliver: Deliver) -> _Outcome:
        wanted = _help_words(line.words)
        if wanted is not None:
            await deliver(Text(self.commands.help(self._known(wanted), context.width)))
            return "ok", "", OK
        found = await self._menu(line, context)
        if found is None:
            return "ok", "", OK
        if isinstance(found.node, click.Group):
            raise UsageFault(_incomplete(found))
        line.command = entry = found.node.entry
        _authorise(entry, context)
        parsed, given = self.commands.parse(found, context)
        values = await _Dialogue(entry, context, parsed).complete(given)
        return await _run_with(entry, context, values, deliver)

    def _known(self, words: list[str]) -> list[str]:
        """The part of the words that leads to a command or group."""
        return list(self.commands.find(words).path)

    async def _menu(self, line: _Line, context: Context) -> Found | None:
        """What the words lead to; where they stop at a group, somebody at a terminal chooses (§6.1)."""
        found = self.commands.find(line.words)
        while (
            isinstance(found.node, click.Group)
            and not found.rest
            and found.path
            and context.client.interactive
        ):
            listed = "".join(f"- {word.upper()} - {summary}\n" for word, summary in verbs(found.node))
            choice = await context.client.ask(f"Choose the operation you want to perform:\n{listed}", "")
            if not choice.strip():
                return None
            line.words = [*found.path, *choice.split()]
            found = self.commands.find(line.words)
        return found


def _authorise(entry: Command, context: Context) -> None:
    """Raises CommandFailed when the caller may not run it."""
    if not allowed(context.role, entry.roles):
        needed = " or ".join(sorted({"administrator", *entry.roles}))
        sentence = f"'{' '.join(entry.words)}' needs the role {needed}; yours is {context.role}"
        raise CommandFailed(sentence, NOT_ALLOWED)


async def _run_with(entry: Command, context: Context, values: dict[str, Any], deliver: Deliver) -> _Outcome:
    """Run it with values for all its parameters, and deliver what it gives."""
    result = await _call(entry, context, values)
    await _hand_over(result, context, deliver)
    if failed(result):
        return "failed", _first_message(result), FAILED
    return "ok", "", OK


class _Line:
    """The words of one run, which a menu makes longer, and the command that they turned out to be."""

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.command: Command | None = None


def _help_words(words: list[str]) -> list[str] | None:
    """The words that help is asked about with --help or '?', or None."""
    plain = words[: words.index("--")] if "--" in words else words
    if not words:
        return []
    if words[-1] == "?":
        return words[:-1]
    return words[: plain.index("--help")] if "--help" in plain else None


def _incomplete(found: Found) -> str:
    path = " ".join(found.path)
    if found.rest or not isinstance(found.node, click.Group):
        return f"'{found.rest[0]}' can't stand here. 'help {path}' lists what can."
    listed = ", ".join(word for word, _ in verbs(found.node))
    return f"'{path}' needs one more word: {listed}. 'help {path}' says what they do."


class _Dialogue:
    """Fills in what the words left open: asks, reads the caller's files, takes defaults."""

    def __init__(self, entry: Command, context: Context, parsed: click.Context) -> None:
        self._entry = entry
        self._context = context
        self._client = context.client
        self._parsed = parsed

    async def complete(self, given: dict[str, Any]) -> dict[str, Any]:
        """Values for all parameters. Raises UsageFault when one is missing and nobody can be asked."""
        missing = [
            entry for entry in self._entry.parameters if entry.needed and not _has(given.get(entry.name))
        ]
        if missing and not self._client.interactive:
            raise UsageFault(self._missing(missing))
        values: dict[str, Any] = {}
        for entry in self._entry.parameters:
            value = given.get(entry.name)
            if _has(value):
                values[entry.name] = await self._resolved(entry, value)
            elif entry.needed or (missing and entry.marker.ask):
                values[entry.name] = await self._asked(entry)
            else:
                values[entry.name] = entry.default
        return values

    def _missing(self, missing: list[Parameter]) -> str:
        names = ", ".join(entry.name.upper() if entry.positional else entry.flags[-1] for entry in missing)
        return f"Missing: {names}. 'help {' '.join(self._entry.words)}' shows how it is used."

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

    async def _asked(self, entry: Parameter) -> Any:
        question = entry.marker.ask or f"{entry.marker.help[:1].upper()}{entry.marker.help[1:]}:"
        if entry.kind is Secret:
            return Secret(await self._client.secret(question, entry.marker.repeat))
        if entry.kind is FileText and not entry.several:
            return FileText("what was pasted", await self._client.paste(question))
        default = _shown(entry)
        if get_origin(entry.kind) is Literal:
            question += f" ({', '.join(str(choice) for choice in get_args(entry.kind))})"
        while True:
            answer = await self._client.ask(question, default)
            if not answer and not entry.needed:
                return entry.default
            try:
                return await self._resolved(entry, self._typed(entry, answer))
            except click.BadParameter as error:
                question = f"{error.format_message()}\n{entry.marker.ask}"

    def _typed(self, entry: Parameter, answer: str) -> Any:
        if entry.several:
            parts = answer.replace(",", " ").split()
            return [entry.parser.type.convert(part, entry.parser, self._parsed) for part in parts]
        if entry.kind is bool:
            return answer.strip().lower() in {"y", "yes", "true"}
        if not answer:
            raise click.BadParameter("an answer is needed", self._parsed, entry.parser)
        return entry.parser.type.convert(answer, entry.parser, self._parsed)


def _shown(entry: Parameter) -> str:
    """The default as somebody would type it."""
    if entry.needed or entry.default is None:
        return ""
    return " ".join(map(str, entry.default)) if entry.several else str(entry.default)


def _has(value: Any) -> bool:
    return value is not None and value != ()


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


async def _call(entry: Command, context: Context, values: dict[str, Any]) -> Result:
    positional = [values[parameter.name] for parameter in entry.parameters if parameter.positional]
    options = [parameter for parameter in entry.parameters if not parameter.positional]
    keywords = {p.name: values[p.name] for p in options if p.group is None}
    for name, kind in {p.group for p in options if p.group is not None}:
        keywords[name] = kind(**{p.name: values[p.name] for p in options if p.group == (name, kind)})
    result = entry.function(context, *positional, **keywords)
    if inspect.isawaitable(result):
        result = await result
    assert isinstance(result, msgspec.Struct), f"{entry.words} gave no result"
    return result  # type: ignore[return-value]


async def _hand_over(result: Result, context: Context, deliver: Deliver) -> None:
    """Write the files of a result on the caller's side, then show what is to be shown."""
    if isinstance(result, Parts):
        shown: list[Result] = []
        for part in result.parts:
            if isinstance(part, File):
                written = await _written(part, context)
                if written is None:
                    continue
                part = written
            shown.append(part)
        await deliver(Parts(tuple(shown)))
        return
    told = await _written(result, context) if isinstance(result, File) else result
    if told is not None:
        await deliver(told)


async def _written(file: File, context: Context) -> Done | None:
    message = await context.client.write(file.path, file.content, file.private)
    if message == "":
        return None
    return Done(message or file.message, {"file": file.path, "bytes": len(file.content)})


def _first_message(result: Result) -> str:
    parts = result.parts if isinstance(result, Parts) else (result,)
    return next((part.message for part in parts if isinstance(part, Problems)), "")


def _record(at: float, context: Context, ended: Ended) -> AuditRecord:
    return AuditRecord(
        at=at, user=context.user, role=context.role, face=context.face, remote=context.remote,
        owner=context.owner, words=ended.words, outcome=ended.outcome,
        # a usage message quotes words, and one may be a passphrase in a wrong place
        message="" if ended.outcome == "usage" else ended.message,
    )  # fmt: skip
