"""Menus of configuration commands: what is offered, in which order, and what a choice stands for (§6.1).

A group of commands has a menu by itself. A module's MENUS lay out those whose shape the reference gives:

    Layout("certconfig edit", "Renew a certificate", subject="certconfig replace",
           entries={"replace": "certconfig replace {}", "csr": "certconfig csr {}"})

A layout is a way to commands and no command: the words behind its entries are what is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from mxseal.commands.words import nearest

SUBJECT = "{}"
_ORDER = (
    "setup", "settings", "new", "add", "paste", "edit", "replace", "enable", "disable", "from", "delete",
    "remove", "move", "default", "list", "detail", "show", "print", "clear", "import", "export", "test",
)  # fmt: skip
"""Operations as the reference's menus have them one behind the other; others stand between by their names."""
_STATES = ("list", "show")
_LAST = len(_ORDER)


class Layout(msgspec.Struct, frozen=True):
    """A menu as a module writes it."""

    path: str
    summary: str
    entries: Mapping[str, str]
    """Word to the command, group or layout that it stands for; '{}' is the subject."""
    state: str = ""
    """The command that is shown ahead of the menu."""
    subject: str = ""
    """The command whose first parameter is asked once, for all entries."""


class Entry(msgspec.Struct, frozen=True):
    """One operation: what is typed, what it stands for."""

    word: str
    target: tuple[str, ...]
    summary: str


class Menu(msgspec.Struct, frozen=True):
    """Operations one may choose from."""

    path: tuple[str, ...]
    summary: str
    entries: tuple[Entry, ...]
    state: tuple[str, ...] = ()
    subject: str = ""


class Choice(msgspec.Struct, frozen=True):
    """What an answer means: words to run, help about words, or `told`, the reason why it means nothing."""

    entry: Entry | None = None
    rest: tuple[str, ...] = ()
    help: bool = False
    told: str = ""


def in_order(words: Sequence[str]) -> list[str]:
    """Operations as a menu has them."""
    return sorted(words, key=lambda word: (_ORDER.index(word) if word in _ORDER else _LAST, word))


def state_of(words: Sequence[str]) -> str:
    """The operation that shows what there is, or ''."""
    return next((word for word in _STATES if word in words), "")


def frame(entries: Sequence[Entry]) -> str:
    """The menu as it is shown."""
    listed = "".join(f"- {entry.word.upper()} - {entry.summary}\n" for entry in entries)
    return f"Choose the operation you want to perform:\n{listed}"


def choose(words: Sequence[str], entries: Sequence[Entry]) -> Choice:
    """What an answer of at least one word means."""
    if words[0] in {"?", "help"} and len(words) == 1:
        return Choice(help=True)
    helped = words[0] == "help" or words[-1] == "?"
    word = words[1] if words[0] == "help" else words[0]
    found = [entry for entry in entries if entry.word == word.lower()]
    found = found or [entry for entry in entries if entry.word.startswith(word.lower())]
    if len(found) == 1:
        return Choice(found[0], () if helped else tuple(words[1:]), help=helped)
    if found:
        return Choice(told=f"'{word}' may be {' or '.join(entry.word.upper() for entry in found)}.")
    near = nearest(word, [entry.word for entry in entries])
    meant = f"Did you mean {near.upper()}?" if near else "'?' says what there is, an empty line goes back."
    return Choice(told=f"There is no operation '{word}' here. {meant}")


def explained(menu: Menu, entries: Sequence[Entry]) -> str:
    """Help about a menu."""
    wide = max((len(entry.word) for entry in entries), default=0)
    lines = [f"  {entry.word.upper():<{wide}}  {entry.summary}" for entry in entries]
    return "\n".join([
        f"{menu.summary}." if menu.summary else "",
        "",
        *lines,
        "",
        "Write an operation or its beginning; behind it may stand what it would ask.",
        "'help OPERATION' says more about one.",
        "An empty line goes back, Ctrl-C leaves at once.",
        "",
    ]).lstrip("\n")  # fmt: skip


def filled(words: Sequence[str], subject: str | None) -> tuple[str, ...]:
    """Words with the subject in its place."""
    return tuple(subject if word == SUBJECT and subject is not None else word for word in words)
