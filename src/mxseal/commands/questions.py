"""A parameter as a question: its text, its choices, its default, and what an answer means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from mxseal.commands.context import Context
from mxseal.commands.parameters import MISSING, Parameter
from mxseal.commands.words import UnfinishedLine, quote, split

HELP = {"?", "help"}
MOST_LISTED = 40
"""Names that are listed with numbers; of more the first are shown."""
_YES, _NO = ("y", "yes", "on", "true"), ("n", "no", "off", "false")
_SWITCHES = (("yes", "no"), ("on", "off"))


class BadAnswer(Exception):
    """Not an answer to the question; the text says why."""


class Question(msgspec.Struct, frozen=True):
    """What somebody is asked. `default`: as it stands in the brackets."""

    entry: Parameter
    text: str
    default: str
    choices: tuple[str, ...]

    @property
    def explanation(self) -> str:
        """Help about the parameter."""
        lines = [f"{self.entry.marker.help.rstrip('.')}."]
        if self.choices:
            lines.append("Write a number or a name.")
        if self.entry.several:
            lines.append("Several have spaces between them; one with a space in it stands in quotes.")
        if self.default:
            lines.append(f"An empty line means {self.default}.")
        elif not self.entry.needed:
            lines.append("An empty line leaves it out.")
        lines.append("Ctrl-C leaves without change.")
        return "\n".join(lines)


def question(entry: Parameter, context: Context, value: Any) -> Question:
    """`value`: what an empty answer stands for; MISSING or None for nothing."""
    choices = _choices(entry, context)
    text = entry.marker.ask or f"{entry.marker.help[:1].upper()}{entry.marker.help[1:]}:"
    if choices:
        listed = [f"{at}. {name}" for at, name in enumerate(choices[:MOST_LISTED], 1)]
        more = len(choices) - len(listed)
        text = "\n".join([text, *listed, *([f"… and {more} more"] if more else [])])
    note = entry.marker.note(context) if entry.marker.note else ""
    return Question(entry, f"{note}\n\n{text}" if note else text, shown(entry, value, choices), choices)


def _choices(entry: Parameter, context: Context) -> tuple[str, ...]:
    if get_origin(entry.kind) is Literal:
        names = tuple(str(choice) for choice in get_args(entry.kind))
        return () if _is_switch(names) else names
    if entry.marker.complete is None or entry.kind is not str or "\n1. " in entry.marker.ask:
        return ()
    names = tuple(entry.marker.complete(context))
    return () if all(name.isdecimal() for name in names) else names


def _is_switch(names: Sequence[str]) -> bool:
    return tuple(sorted(names, reverse=True)) in _SWITCHES or tuple(names) in _SWITCHES


def shown(entry: Parameter, value: Any, choices: Sequence[str]) -> str:
    """A value as it stands in the brackets: the number of a choice, Y or N, else as it is typed."""
    if value is MISSING or value is None:
        return ""
    if entry.several:
        return " ".join(quote(str(each)) for each in value)
    if entry.kind is bool or (get_origin(entry.kind) is Literal and not choices):
        return "Y" if value is True or str(value).lower() in _YES else "N"
    lowered = [choice.lower() for choice in choices[:MOST_LISTED]]
    if str(value).lower() in lowered:
        return str(lowered.index(str(value).lower()) + 1)
    return f"{value:g}" if isinstance(value, float) and value == int(value) else str(value)


def meaning(asked: Question, answer: str, parsed: click.Context | None) -> Any:
    """The parameter's value, as the command line would give it. Raises BadAnswer."""
    entry = asked.entry
    if entry.several:
        return [_one(asked, part, parsed) for part in _parts(answer)]
    if not answer.strip():
        raise BadAnswer("An answer is needed; Ctrl-C leaves without change.")
    return _one(asked, answer.strip(), parsed)


def _parts(answer: str) -> list[str]:
    try:
        return split(answer.replace(",", " "))
    except UnfinishedLine as error:
        raise BadAnswer(f"{error}.") from None


def _one(asked: Question, answer: str, parsed: click.Context | None) -> Any:
    entry = asked.entry
    if entry.kind is bool:
        return yes(answer)
    if get_origin(entry.kind) is Literal and not asked.choices:
        names = [str(choice) for choice in get_args(entry.kind)]
        positive = next(name for name in names if name in _YES)
        negative = next(name for name in names if name in _NO)
        return positive if yes(answer) else negative
    for choice in asked.choices:
        if choice.lower() == answer.lower():
            return choice
    if answer.isdecimal() and asked.choices and len(answer) < 6:
        if 0 < int(answer) <= len(asked.choices):
            return asked.choices[int(answer) - 1]
        if not entry.marker.free:
            raise BadAnswer(f"There is no number {answer}: write one of 1 to {len(asked.choices)}.")
    if get_origin(entry.kind) is Literal:
        return _begun(answer, asked.choices)
    if entry.kind in (int, float):
        return _number(entry, answer)
    try:
        return entry.parser.type.convert(answer, entry.parser, parsed)
    except click.BadParameter as error:
        raise BadAnswer(f"{error.message.rstrip('.')}.") from None


def _begun(answer: str, choices: Sequence[str]) -> str:
    """The one choice that begins so."""
    found = [choice for choice in choices if choice.lower().startswith(answer.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadAnswer(f"{answer} may be {' or '.join(found)}.")
    raise BadAnswer(f"{answer} is none of {', '.join(choices)}.")


def _number(entry: Parameter, answer: str) -> int | float:
    marker = entry.marker
    try:
        number = int(answer) if entry.kind is int else float(answer)
    except ValueError:
        raise BadAnswer(f"{answer} is not a {'whole ' if entry.kind is int else ''}number.") from None
    if marker.least is not None and not number >= marker.least:
        raise BadAnswer(f"{answer} is too small: at least {marker.least:g}.")
    if marker.most is not None and not number <= marker.most:
        raise BadAnswer(f"{answer} is too large: at most {marker.most:g}.")
    if not math.isfinite(number):
        raise BadAnswer(f"{answer} is not a number.")
    return number


def yes(answer: str) -> bool:
    """Raises BadAnswer."""
    answer = answer.strip()
    if answer.lower() in _YES:
        return True
    if answer.lower() in _NO:
        return False
    raise BadAnswer("Write Y or N.")
