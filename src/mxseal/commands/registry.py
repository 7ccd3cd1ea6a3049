"""All commands as one tree, made from the typed functions that are marked with `command`.

    @command("certconfig", "delete", role="certificate-officer", summary="Remove a certificate")
    def certconfig_delete(ctx: Context, name: Annotated[str, Argument("its name", complete=names)]) -> Result:

Parsing, help, completion and the machine-readable description come from the signature. The function may be
async; one that is not must be quick, as it runs on the gateway's loop. It raises CommandFailed with a
sentence.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem, ShellComplete

from mxseal.commands.context import Context, Role
from mxseal.commands.menus import SUBJECT, Entry, Layout, Menu, explained, in_order, state_of
from mxseal.commands.parameters import FileBytes, FileText, OutputFile, Parameter, Secret, parameters_of
from mxseal.commands.words import nearest

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "mxseal_command"
Present = Callable[[Context, Mapping[str, Any]], Mapping[str, Any]]
"""From the parameters that are known to the present values of those that a command changes. Raises KeyError
while what names the thing is not known, CommandFailed when there is no such thing."""
_DEEPEST = 4
"""Words of a menu's path."""
_NO_HELP_OPTION: dict[str, Any] = {"help_option_names": []}  # --help is answered with a result, not by click


class Command(msgspec.Struct, frozen=True):
    """A command: the words that name it, who may run it, what it takes."""

    words: tuple[str, ...]
    roles: tuple[Role, ...]
    summary: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...] = ()
    present: Present | None = None
    order: tuple[str, ...] = ()

    @property
    def configures(self) -> bool:
        """Whether it is an operation of a configuration command: its parameters are asked in a dialogue."""
        return len(self.words) > 1 and not self.reads

    @property
    def permitted(self) -> str:
        """Who may run it, as people say it."""
        if "read-only" in self.roles:
            return "any"
        return " or ".join(sorted({"administrator", *self.roles}))

    @property
    def makes(self) -> bool:
        """Whether it makes something new: the present values are those that it has when nothing is said."""
        return self.words[-1] in {"new", "add"}

    asked: bool | None = None
    """Whether it is a question that changes nothing, where that does not show in the rest."""
    streams: bool = False
    """Whether its result comes piece by piece."""

    @property
    def reads(self) -> bool:
        """Whether it is a question that changes nothing and has neither secrets nor files: a GET."""
        if self.asked is not None:
            return self.asked
        mine = any(entry.kind in (Secret, FileText, FileBytes, OutputFile) for entry in self.parameters)
        return "read-only" in self.roles and not mine

    @property
    def secret_flags(self) -> list[str]:
        return [flag for entry in self.parameters if entry.kind is Secret for flag in entry.flags]

    def describe(self) -> dict[str, Any]:
        return {
            "words": list(self.words),
            "roles": list(self.roles),
            "summary": self.summary,
            "reads": self.reads,
            "streams": self.streams,
            "description": inspect.getdoc(self.function) or "",
            "parameters": [entry.describe() for entry in self.parameters],
        }


def command(
    *words: str,
    role: Role | tuple[Role, ...],
    summary: str,
    present: Present | None = None,
    order: tuple[str, ...] = (),
    reads: bool | None = None,
    streams: bool = False,
) -> Callable[[F], F]:
    """Mark a function as the command called `words`. `role`: who may run it beside administrators.

    For a command that changes what is there, `present` gives the values that it would change, as they would
    be typed: the defaults of its dialogue; for one that makes something, those that it has else. `order`: the
    parameters that are asked first, in this order. `reads`: whether it changes nothing, for those that
    everybody may run and those that only few may; left out: see `Command.reads`. `streams`: its result is a
    Stream.
    """
    roles = (role,) if isinstance(role, str) else role

    def mark(function: F) -> F:
        made = Command(
            words, roles, summary, function, present=present, order=order, asked=reads, streams=streams
        )
        setattr(function, _MARK, made)
        return function

    return mark


class UsageFault(Exception):
    """The words are not a command, or not its parameters. The text says what to write."""


class Completion(msgspec.Struct, frozen=True):
    """A word that can stand here. `kind` file: the caller's side completes paths."""

    value: str
    help: str = ""
    kind: str = "plain"


class Parser(click.Command):
    """Click's view of a command."""

    def __init__(self, entry: Command) -> None:
        doc = inspect.getdoc(entry.function)
        super().__init__(
            entry.words[-1],
            params=[parameter.parser for parameter in entry.parameters],
            help=f"{entry.summary}.\n\n{doc}" if doc else f"{entry.summary}.",
            short_help=entry.summary,
            epilog=f"Role: {entry.permitted}.",
            context_settings=_NO_HELP_OPTION,
        )
        self.entry = entry


class Found(msgspec.Struct, frozen=True):
    """How far words lead into the tree: a command's parser or a group, and the words behind it."""

    node: Parser | click.Group
    path: tuple[str, ...]
    rest: list[str]


class Registry:
    """The commands of `modules`: their marked functions. A module's GROUPS says what its groups are about,
    its MENUS how their dialogues are laid out."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._root = click.Group("", context_settings=_NO_HELP_OPTION)
        self._commands: list[Command] = []
        self._layouts: dict[str, Layout] = {}
        summaries: dict[str, str] = {}
        for module in modules:
            summaries.update(getattr(module, "GROUPS", {}))
            self._layouts |= {layout.path: layout for layout in getattr(module, "MENUS", ())}
            for function in list(vars(module).values()):
                entry = getattr(function, _MARK, None)
                if isinstance(entry, Command) and function.__module__ == module.__name__:
                    self._add(entry, summaries)

    def _add(self, marked: Command, summaries: dict[str, str]) -> None:
        entry = msgspec.structs.replace(marked, parameters=tuple(parameters_of(marked.function)))
        group = self._root
        for index, word in enumerate(entry.words[:-1]):
            path = " ".join(entry.words[: index + 1])
            summary = summaries.get(path, "")
            inner = group.commands.setdefault(
                word, click.Group(word, help=summary, short_help=summary, context_settings=_NO_HELP_OPTION)
            )
            if not isinstance(inner, click.Group):
                raise TypeError(f"{path} is a command and can't be a group too")
            group = inner
        if entry.words[-1] in group.commands:
            raise TypeError(f"two commands are called {' '.join(entry.words)}")
        group.add_command(Parser(entry))
        self._commands.append(entry)

    @property
    def commands(self) -> Sequence[Command]:
        return tuple(self._commands)

    @property
    def secret_flags(self) -> set[str]:
        """Options of any command that take a passphrase."""
        return {flag for entry in self._commands for flag in entry.secret_flags}

    def layouts(self) -> Sequence[Layout]:
        """Menus that are laid out by hand."""
        return tuple(self._layouts.values())

    def summaries(self) -> list[tuple[str, str]]:
        """(first word, what it does), sorted."""
        return verbs(self._root)

    def find(self, words: Sequence[str]) -> Found:
        """Follow `words` to a command or a group. Raises UsageFault for a word that leads nowhere."""
        node: click.Command = self._root
        for index, word in enumerate(words):
            if not isinstance(node, click.Group):
                break
            inner = node.commands.get(word.lower())
            if inner is None:
                if word.startswith("-"):
                    break
                raise UsageFault(_unknown(word, words[:index], node))
            node = inner
        else:
            index = len(words)
        assert isinstance(node, Parser | click.Group)
        return Found(node, tuple(word.lower() for word in words[:index]), list(words[index:]))

    def expand(self, words: Sequence[str]) -> list[str]:
        """A command's words for those of a menu: 'certconfig certificate new x' is 'certconfig new x'."""
        expanded = list(words)
        for length in range(min(len(expanded), _DEEPEST), 0, -1):
            layout = self._layouts.get(" ".join(expanded[:length]).lower())
            if layout is None or len(expanded) == length or isinstance(self._node(layout.path), Parser):
                continue
            target = layout.entries.get(expanded[length].lower())
            if target is not None and SUBJECT not in target.split()[:-1]:
                expanded = [word for word in target.split() if word != SUBJECT] + expanded[length + 1 :]
        return expanded

    def menu(self, words: Sequence[str]) -> Menu | None:
        """The menu that these words open; None where they lead to a command alone, or nowhere."""
        path = " ".join(words).lower()
        layout = self._layouts.get(path)
        if layout is not None:
            entries = tuple(
                Entry(word, tuple(target.split()), summary)
                for word, target in layout.entries.items()
                if (summary := self._summary(target)) is not None
            )
            state = tuple(layout.state.split())
            return Menu(tuple(path.split()), layout.summary, entries, state, layout.subject)
        node = self._node(path)
        if not words or not isinstance(node, click.Group):
            return None
        group = tuple(path.split())
        inner = in_order(list(node.commands))
        entries = tuple(
            Entry(word, (*group, word), node.commands[word].get_short_help_str(200)) for word in inner
        )
        shown = state_of([word for word in inner if _needs_nothing(node.commands[word])])
        return Menu(group, node.help or "", entries, (*group, shown) if shown else ())

    def command(self, words: Sequence[str]) -> Command | None:
        """The command that these words begin with."""
        try:
            node = self.find(words).node
        except UsageFault:
            return None
        return node.entry if isinstance(node, Parser) else None

    def node(self, words: Sequence[str]) -> click.Command | None:
        """The command or group of exactly these words."""
        return self._node(" ".join(words).lower())

    def _node(self, path: str) -> click.Command | None:
        node: click.Command | None = self._root
        for word in path.split():
            node = node.commands.get(word) if isinstance(node, click.Group) else None
        return node

    def _summary(self, target: str) -> str | None:
        """What an entry of a menu does; None for a subject that is not among the modules."""
        path = target.split(" --", maxsplit=1)[0].replace(f" {SUBJECT}", "")
        node = self._node(path)
        if node is None and path in self._layouts:
            return self._layouts[path].summary
        return None if node is None else node.get_short_help_str(200)

    def parse(self, found: Found, context: Context) -> tuple[click.Context, dict[str, Any]]:
        """Click's context and the parameters that were given, by name. Raises UsageFault."""
        try:
            parsed = found.node.make_context(" ".join(found.path), found.rest, obj=context)
        except click.UsageError as error:
            raise UsageFault(_usage_fault(error, found)) from None
        given = {
            name: value
            for name, value in parsed.params.items()
            if parsed.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        }
        return parsed, given

    def help(self, words: list[str], width: int = 80) -> str:
        """Of a command: usage and parameters; of a group or of nothing: the commands in it, a line each."""
        words = self.expand(words)
        menu = self.menu(words)
        if menu is not None and self.node(words) is None:
            return explained(menu, menu.entries)
        found = self.find(words)
        context = click.Context(
            found.node, info_name=" ".join(found.path), terminal_width=max(width, 40), **_NO_HELP_OPTION
        )
        if isinstance(found.node, click.Group):
            return _group_help(found, context)
        return found.node.get_help(context) + "\n"

    def complete(self, words: list[str], incomplete: str, context: Context) -> list[Completion]:
        """What can stand after `words`, beginning with `incomplete`."""
        words = self.expand(words)
        menu = self.menu(words)
        if menu is not None and self.node(words) is None:
            begun = [entry for entry in menu.entries if entry.word.startswith(incomplete.lower())]
            return [Completion(entry.word, entry.summary) for entry in begun]
        try:
            self.find(words)
        except UsageFault:
            return []
        items = ShellComplete(self._root, {"obj": context}, "", "").get_completions(words, incomplete)
        return [_completion(item) for item in items]

    def describe(self) -> list[dict[str, Any]]:
        """Every command for programs, in the order of their words."""
        return [entry.describe() for entry in sorted(self._commands, key=lambda entry: entry.words)]


def _needs_nothing(node: click.Command) -> bool:
    return isinstance(node, Parser) and not any(entry.needed for entry in node.entry.parameters)


def _completion(item: CompletionItem[Any]) -> Completion:
    return Completion(str(item.value or ""), item.help or "", "file" if item.type == "file" else "plain")


def verbs(group: click.Group) -> list[tuple[str, str]]:
    """(word, summary) of what is in a group, sorted."""
    return [(name, inner.get_short_help_str(200)) for name, inner in sorted(group.commands.items())]


def _group_help(found: Found, context: click.Context) -> str:
    formatter = context.make_formatter()
    formatter.write_usage(" ".join((*found.path, "COMMAND")), "…")
    assert isinstance(found.node, click.Group)
    if found.node.help:
        formatter.write_paragraph()
        formatter.write_text(found.node.help)
    with formatter.section("Commands"):
        formatter.write_dl(verbs(found.node))
    formatter.write_paragraph()
    formatter.write_text(f"'{' '.join(('help', *found.path))} COMMAND' says more about one of them.")
    return formatter.getvalue()


def _unknown(word: str, path: Sequence[str], group: click.Group) -> str:
    near = nearest(word, group.commands)
    here = f" {' '.join(path)}" if path else ""
    meant = f"Did you mean '{' '.join([*path, near])}'?" if near else f"'help{here}' lists what there is."
    what = f"'{here.strip()}' has no command '{word}'" if path else f"There is no command '{word}'"
    return f"{what}. {meant}"


def _usage_fault(error: click.UsageError, found: Found) -> str:
    message = error.format_message().rstrip(".")
    return f"{message}. 'help {' '.join(found.path)}' shows how it is used."
