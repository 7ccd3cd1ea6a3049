"""The dialogue of a configuration command that is typed alone: its state, its menu, its operations (§6.1).

Operations are run one by one, each with its own audit record, until an empty line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec

from mxseal.commands.context import CommandFailed, Context, allowed
from mxseal.commands.menus import SUBJECT, Choice, Entry, Menu, choose, explained, filled, frame
from mxseal.commands.questions import HELP, BadAnswer, meaning, question
from mxseal.commands.registry import Parser, Registry, UsageFault
from mxseal.commands.results import Parts, Problems, Result, Table, Text
from mxseal.commands.words import UnfinishedLine, split

Deliver = Callable[[Result], Awaitable[None]]
MOST_ROWS = 40
"""Rows of a table that is shown ahead of a menu."""
_LEAVE = {"exit", "quit"}


class Operations(Protocol):
    """What the dialogue needs of the runner."""

    @property
    def commands(self) -> Registry: ...

    async def operate(self, words: list[str], context: Context, deliver: Deliver, *, chosen: bool) -> bool:
        """Run one operation with all that belongs to it, and say how it ended. Whether it changed
        something."""
        ...

    async def state(self, words: list[str], context: Context) -> Result:
        """What a command shows. Raises CommandFailed, UsageFault."""
        ...


class Dialogue:
    """The menus that somebody at a terminal walks through."""

    def __init__(self, operations: Operations, context: Context, deliver: Deliver) -> None:
        self._operations = operations
        self._commands = operations.commands
        self._context = context
        self._client = context.client
        self._deliver = deliver

    async def open(self, menu: Menu, subject: str | None = None) -> bool:
        """Until an empty line; whether something was changed. Raises CommandFailed when nothing in it is for
        the caller's role."""
        if not self._permitted(menu.entries):
            raise CommandFailed(self._refusal(menu), 77)
        if menu.subject and subject is None:
            subject = await self._subject(menu)
            if not subject:
                return False
        fresh, changed = True, False
        while self._client.interactive and self._is_somebody():
            entries = [entry for entry in menu.entries if self._offered(entry)]
            if fresh:
                await self._deliver(await self._state(menu, subject))
            self._context.offer([entry.word for entry in entries])
            line = (await self._client.ask(frame(entries), "")).strip()
            if not line or line.lower() in _LEAVE:
                break
            fresh = await self._answered(line, menu, entries, subject)
            changed = changed or fresh
        return changed

    def _is_somebody(self) -> bool:
        """Whether the user is still one."""
        return self._context.role_now is None or self._context.role_now() is not None

    async def _answered(self, line: str, menu: Menu, entries: Sequence[Entry], subject: str | None) -> bool:
        """Whether something may look different now."""
        try:
            words = split(line)
            choice = self._chosen(words, menu, entries)
        except UnfinishedLine as error:
            choice = Choice(told=f"{error}.")
        if choice.told:
            await self._deliver(Problems(choice.told))
        elif choice.help:
            await self._deliver(Text(self._help(menu, entries, choice)))
        elif choice.entry is not None:
            return await self._carry_out(choice.entry, choice.rest, subject)
        return False

    async def _carry_out(self, entry: Entry, rest: Sequence[str], subject: str | None) -> bool:
        if not rest and not self._offered(entry):
            await self._deliver(Problems(f"There is nothing yet that {entry.word.upper()} could be about."))
            return False
        words = [*filled(entry.target, subject), *rest]
        inner = self._commands.menu(entry.target)
        if inner is not None and not rest:
            return await self.open(inner, subject if inner.subject else None)
        return await self._operations.operate(words, self._context, self._deliver, chosen=not rest)

    def _chosen(self, words: Sequence[str], menu: Menu, entries: Sequence[Entry]) -> Choice:
        """What was offered comes first; what makes no sense now may be typed too, and says itself why."""
        offered = choose(words, self._flat(menu, words[0]) or entries)
        if not offered.told:
            return offered
        if self._commands.node(words[:1]) is not None:
            return Choice(told=f"'{words[0]}' has no place in this menu: an empty line leaves it.")
        others = [entry for entry in menu.entries if self._is_permitted(entry.target)]
        hidden = choose(words, others)
        return offered if hidden.told else hidden

    def _flat(self, menu: Menu, word: str) -> list[Entry]:
        """A command of the same group that the menu has on a level below."""
        node = self._commands.node([*menu.path, word])
        found = node.entry if isinstance(node, Parser) else None
        known = found is not None and self._is_permitted(found.words)
        return [Entry(word.lower(), found.words, found.summary)] if found and known else []

    def _help(self, menu: Menu, entries: Sequence[Entry], choice: Choice) -> str:
        if choice.entry is None:
            return explained(menu, entries)
        words = [word for word in choice.entry.target if word != SUBJECT and not word.startswith("-")]
        return self._commands.help(words, self._context.width)

    # --- what is there ------------------------------------------------------------------------------------

    async def _state(self, menu: Menu, subject: str | None) -> Result:
        """What stands ahead of the menu, with an empty line on each side of it."""
        words = list(filled(menu.state, subject))
        found = self._commands.command(words) if words else None
        if found is None or not allowed(self._context.role, found.roles):
            return Text("\n")
        try:
            shown = await self._operations.state(words, self._context)
        except (CommandFailed, UsageFault) as failure:
            shown = Problems(str(failure))
        return Parts((Text(""), _short(shown, " ".join(words)), Text("")))

    async def _subject(self, menu: Menu) -> str:
        """What the operations are about, by its number or name; '' for an empty line."""
        found = self._commands.command(menu.subject.split())
        assert found is not None, f"{menu.path} is about the parameter of a command that is not there"
        first = found.parameters[0]
        asked = question(first, self._context, None)
        told = ""
        while True:
            self._context.offer(asked.choices)
            answer = await self._client.ask(f"{told}\n{asked.text}" if told else asked.text, asked.default)
            if not answer.strip():
                return ""
            if answer.strip().lower() in HELP:
                told = asked.explanation
                continue
            try:
                name = str(meaning(asked, answer, None))
                if found.present is not None:
                    found.present(self._context, {first.name: name})
                elif asked.choices and name.lower() not in {each.lower() for each in asked.choices}:
                    raise BadAnswer(f"There is no {name} here. There are: {', '.join(asked.choices)}.")
            except BadAnswer as refusal:
                told = str(refusal)
            except CommandFailed as failure:
                told = f"{str(failure).rstrip('.?')}."
            else:
                return name

    # --- what is offered ----------------------------------------------------------------------------------

    def _permitted(self, entries: Sequence[Entry]) -> bool:
        return any(self._is_permitted(entry.target) for entry in entries)

    def can_change(self, menu: Menu) -> bool:
        """Whether it has an operation for the caller's role that changes something."""
        found = [self._commands.command(entry.target) for entry in menu.entries]
        return any(each and each.configures and allowed(self._context.role, each.roles) for each in found)

    def _is_permitted(self, target: Sequence[str]) -> bool:
        """Whether the caller's role may use it, or anything in its menu."""
        found = self._commands.command(target)
        inner = self._commands.menu(target)
        if inner is not None and found is None:
            return any(self._is_permitted(entry.target) for entry in inner.entries)
        return found is not None and allowed(self._context.role, found.roles)

    def _offered(self, entry: Entry) -> bool:
        """Whether it makes sense now: not without anything that it could be about."""
        if not self._is_permitted(entry.target):
            return False
        inner = self._commands.menu(entry.target)
        found = self._commands.command(inner.subject.split() if inner and inner.subject else entry.target)
        if found is None:
            return True
        return all(
            parameter.marker.free
            or parameter.marker.complete is None
            or any(parameter.marker.complete(self._context))
            for parameter in found.parameters
            if parameter.needed
        )

    def _refusal(self, menu: Menu) -> str:
        needed: set[str] = {"administrator"}
        for entry in menu.entries:
            found = self._commands.command(entry.target)
            needed |= set(found.roles) if found else set()
        roles = " or ".join(sorted(needed))
        return f"'{' '.join(menu.path)}' needs the role {roles}; yours is {self._context.role}"


def _short(result: Result, words: str) -> Result:
    """A table with its first rows; the rest can be seen with the command."""
    if not isinstance(result, Table) or len(result.rows) <= MOST_ROWS:
        return result
    more = f"… and {len(result.rows) - MOST_ROWS} more: '{words}' shows all."
    changes: dict[str, Any] = {"rows": result.rows[:MOST_ROWS], "note": f"{more} {result.note}".strip()}
    return msgspec.structs.replace(result, **changes)
