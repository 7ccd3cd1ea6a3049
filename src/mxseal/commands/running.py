"""One command from its words to its audit record: find, authorise, ask for what is missing, run, deliver."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import click
import msgspec

from mxseal.commands.asking import Asker, Given, Left, agreed, spelled
from mxseal.commands.clusterlevel import misplaced, question, refusal, switch
from mxseal.commands.context import CommandFailed, Context, allowed
from mxseal.commands.dialogue import Dialogue
from mxseal.commands.menus import SUBJECT, Menu
from mxseal.commands.registry import Command, Found, Parser, Registry, UsageFault, verbs
from mxseal.commands.results import Done, File, Parts, Problems, Result, Text, failed
from mxseal.commands.values import ValuesRefused, resolve, words_of
from mxseal.commands.words import redact
from mxseal.config.problem import Problem

OK, FAILED, USAGE, INTERNAL, NOT_ALLOWED, CANCELLED = 0, 1, 2, 70, 77, 130
"""Exit statuses; 70 and 77 as in sysexits(3), 130 as after Ctrl-C."""

_FEW = 2
"""Answers behind which a failed dialogue can be gone through again."""
_AGAIN = "Do you want to change your answers and try again?"
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
        if not isinstance(found.node, Parser) or found.rest:
            raise UsageFault(_incomplete(found))
        line.command = entry = found.node.entry
        line.words = words_of(entry, values)
        _authorise(entry, context)
        return await _finish(await _call(entry, context, resolve(entry, values, context)), context, deliver)

    async def operate(self, words: list[str], context: Context, deliver: Deliver, *, chosen: bool) -> bool:
        """One operation of a menu, reported by itself; its failure is told here. `chosen`: nothing stood
        behind it, so that everything is asked. Whether it changed something."""
        context = _now(context)
        told = False

        async def tell(result: Result) -> None:
            nonlocal told
            told = failed(result)
            await deliver(result)

        line = _Line(words, chosen=chosen)
        ended = await self._reported(line, context, lambda: self._run(line, context, tell))
        if ended.outcome == "cancelled" and not line.left:
            raise EOFError  # the caller's side ended it, and the menu with it
        if ended.message and not told:
            await deliver(Problems(ended.message))
        return ended.status == OK and line.changed

    async def state(self, words: list[str], context: Context) -> Result:
        """What a command that needs no answer shows; nothing is reported."""
        found = self.commands.find(words)
        assert isinstance(found.node, Parser), f"{words} is no command"
        _parsed, given = self.commands.parse(found, context)
        values = {entry.name: given.get(entry.name, entry.default) for entry in found.node.entry.parameters}
        return await _call(found.node.entry, context, values)

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
            done = tuple(redact(line.done, flags)) if line.done else ended.words
            self._audit(_record(started, context, msgspec.structs.replace(ended, words=done)))
        return ended

    async def _outcome(self, line: _Line, work: Callable[[], Awaitable[_Outcome]]) -> _Outcome:
        try:
            return await work()
        except Left:
            line.left = True
            return "cancelled", "", CANCELLED
        except UsageFault as fault:
            return "usage", str(fault), USAGE
        except CommandFailed as failure:
            outcome: Outcome = "refused" if failure.status == NOT_ALLOWED else "failed"
            return outcome if str(failure) else "ok", str(failure), failure.status
        except asyncio.CancelledError:
            raise
        except EOFError:
            return "cancelled", "the input has ended", CANCELLED
        except ConnectionError:
            return "cancelled", "the caller went away", CANCELLED
        except Exception as error:
            log.exception("the command %s failed", " ".join(redact(line.words, self.commands.secret_flags)))
            return "internal", f"this is a fault of the gateway, told in its system log: {error!r}", INTERNAL

    async def _run(self, line: _Line, context: Context, deliver: Deliver) -> _Outcome:
        wanted = _help_words(line.words)
        if wanted is not None:
            await deliver(Text(self.commands.help(self._known(wanted), context.width)))
            return "ok", "", OK
        words = self.commands.expand(line.words)
        if await self._menu(words, line, context, deliver):
            return "ok", "", OK
        found = self.commands.find(words)
        if not isinstance(found.node, Parser):
            raise UsageFault(_incomplete(found))
        line.command = entry = found.node.entry
        _authorise(entry, context)
        await _place(entry, context)
        result = await self._result(line, found, context, deliver)
        if result is None:
            return "failed", "", FAILED
        return await _finish(result, context, deliver)

    async def _result(self, line: _Line, found: Found, context: Context, deliver: Deliver) -> Result | None:
        """Of the command with all its parameters. A dialogue that fails may be gone through again, with its
        answers as defaults; None when it ends with a failure that was told."""
        assert line.command is not None
        entry = line.command
        line.changed = entry.configures
        parsed, given = self.commands.parse(found, context)
        before: Given = {}
        while True:
            asker = Asker(entry, context, parsed, chosen=line.chosen, before=before)
            values = await asker.complete(given)
            if not asker.asked:
                return await _call(entry, context, values)
            line.done = spelled(entry, values)
            context = _now(context)
            _authorise(entry, context)
            if asker.unchanged(values):
                line.changed = False
                return Done("Nothing was changed.")
            try:
                result = await _call(entry, context, values)
            except CommandFailed as failure:
                if failure.status == NOT_ALLOWED or asker.asked < _FEW or not context.client.interactive:
                    raise
                result = Problems(str(failure))
            if not failed(result) or asker.asked < _FEW or not context.client.interactive:
                return result
            await deliver(result)
            if not await agreed(context.client, _AGAIN):
                return None
            before = asker.answers

    def _known(self, words: list[str]) -> list[str]:
        """The part of the words that leads to a command, group or menu."""
        words = self.commands.expand(words)
        return words if self.commands.menu(words) else list(self.commands.find(words).path)

    async def _menu(self, words: list[str], line: _Line, context: Context, deliver: Deliver) -> bool:
        """Whether the words stop at a menu, which somebody at a terminal has then gone through (§6.1)."""
        menu, subject = self.commands.menu(words), None
        if menu is None and len(words) > 1 and self.commands.command(words) is None:
            menu, subject = self.commands.menu(words[:-1]), words[-1]
            menu = menu if menu and menu.subject else None
        command = self.commands.command(words)
        dialogue = Dialogue(self, context, deliver)
        talk = context.client.interactive
        if menu is None or (command is not None and not (talk and dialogue.can_change(menu))):
            return False
        if not context.client.interactive:
            if isinstance(self.commands.node(words), click.Group):
                return False
            raise UsageFault(_laid_out(menu))
        line.changed = await dialogue.open(menu, subject)
        return True


def _now(context: Context) -> Context:
    """The same with the caller's role of now: it may have been taken away while questions were asked. Raises
    CommandFailed."""
    if context.role_now is None:
        return context
    role = context.role_now()
    if role is None:
        raise CommandFailed("This user is no longer there, or has no role any more", NOT_ALLOWED)
    return msgspec.structs.replace(context, role=role)


def _authorise(entry: Command, context: Context) -> None:
    """Raises CommandFailed when the caller may not run it."""
    if not allowed(context.role, entry.roles):
        sentence = f"'{' '.join(entry.words)}' needs the role {entry.permitted}; yours is {context.role}"
        raise CommandFailed(sentence, NOT_ALLOWED)


async def _place(entry: Command, context: Context) -> None:
    """In a cluster a command may be one of another level than that which is edited: who is at a terminal is
    asked whether to switch (reference §8.2); for others it works on this machine. Raises CommandFailed."""
    wanted = misplaced(entry.words[0], context) if context.client.interactive else None
    if wanted is None:
        return
    if not await agreed(context.client, question(wanted)):
        raise CommandFailed(refusal(entry.words[0], wanted, context))
    switch(context, wanted)


async def _finish(result: Result, context: Context, deliver: Deliver) -> _Outcome:
    """Hand over what a command gave."""
    await _hand_over(result, context, deliver)
    if failed(result):
        return "failed", _first_message(result), FAILED
    return "ok", "", OK


class _Line:
    """The words of one run, the command that they turned out to be, and what a dialogue made of them."""

    def __init__(self, words: list[str], *, chosen: bool = False) -> None:
        self.words = words
        self.chosen = chosen
        self.command: Command | None = None
        self.left = False
        """Whether it was left at its first question."""
        self.changed = False
        """Whether it was an operation that changes something."""
        self.done: list[str] = []
        """The words that would have done the same without questions."""


def _help_words(words: list[str]) -> list[str] | None:
    """The words that help is asked about with --help or '?', or None."""
    plain = words[: words.index("--")] if "--" in words else words
    if not words:
        return []
    if words[-1] == "?":
        return words[:-1]
    return words[: plain.index("--help")] if "--help" in plain else None


def _laid_out(menu: Menu) -> str:
    """For those who can't be asked: what the menu stands for."""
    path = " ".join(menu.path)
    listed = ", ".join(dict.fromkeys(" ".join(_fixed(entry.target)) for entry in menu.entries))
    return f"'{path}' is a menu, which opens at a terminal. The commands in it are: {listed}."


def _fixed(target: Sequence[str]) -> Sequence[str]:
    return [word for word in target if word != SUBJECT and not word.startswith("-")]


def _incomplete(found: Found) -> str:
    path = " ".join(found.path)
    if found.rest or not isinstance(found.node, click.Group):
        return f"'{found.rest[0]}' can't stand here. 'help {path}' lists what can."
    listed = ", ".join(word for word, _ in verbs(found.node))
    return f"'{path}' needs one more word: {listed}. 'help {path}' says what they do."


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
