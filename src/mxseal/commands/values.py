"""Parameters as JSON values rather than words: the same types, bounds and choices, for API and web forms.

A string stands for a str, a choice, a passphrase, the name of a file to write, and the text of a file that
is read; numbers and booleans for themselves; a list for what there may be several of. A file may also be an
object with `text`, or `base64` for one that is not text, and a `name` to be called by.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import click

from mxseal.commands.context import Context
from mxseal.commands.parameters import (
    FILE_LIMIT,
    SECRET_LIMIT,
    FileBytes,
    FileText,
    OutputFile,
    Parameter,
    Secret,
)
from mxseal.commands.registry import Command
from mxseal.commands.words import HIDDEN, LITERAL_SECRET, nearest
from mxseal.config.problem import Problem

TEXT_LIMIT = 64 << 10
"""Characters of one value that is no file."""
MOST_VALUES = 10_000
"""Of one parameter that there may be several of."""
_LONGEST_WORD = 1000
_FILE_KEYS = {"text", "base64", "name"}
_FILE_FORM = "a file is a text, or an object with text or base64, and perhaps name"


class ValuesRefused(Exception):
    """Values that do not fit the parameters; `problems` has all of them, each with its parameter's path."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class _Wrong(Exception):
    """What is wrong with one value, and the remedy."""

    def __init__(self, text: str, remedy: str = "", path: str = "") -> None:
        super().__init__(text)
        self.problem = Problem(path, text, remedy)


def resolve(entry: Command, values: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """What the command's function is called with. null is the same as leaving out. Raises ValuesRefused."""
    known = {public(parameter): parameter for parameter in entry.parameters}
    problems = [_unknown(name, known) for name in values if name not in known]
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        given = values.get(name)
        try:
            found[parameter.name] = _value(parameter, given, name, context)
        except _Wrong as wrong:
            said = wrong.problem
            problems.append(Problem(name + said.path, said.text, said.remedy))
    if problems:
        raise ValuesRefused(problems)
    return found


def public(parameter: Parameter) -> str:
    """A parameter's name for programs: without the underscore that keeps it apart from a word of Python."""
    return parameter.name.rstrip("_")


def words_of(entry: Command, values: Mapping[str, Any]) -> list[str]:
    """The same as somebody would type it, for the audit log: without secrets, long texts cut."""
    words = list(entry.words)
    for parameter in entry.parameters:
        given = values.get(public(parameter))
        if given is None:
            continue
        parts = given if parameter.several and isinstance(given, list) else [given]
        for part in parts[:MOST_VALUES]:
            words += _typed(parameter, part)
    words += [f"--{name}" for name in values if name not in {public(each) for each in entry.parameters}][:10]
    return [word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD]}…" for word in words]


def _typed(parameter: Parameter, value: Any) -> list[str]:
    flag = max(parameter.flags, key=len, default="") if not parameter.positional else ""
    if parameter.kind is bool:
        negative = next((each for each in parameter.flags if each.startswith("--no-")), None)
        positive = next((each for each in parameter.flags if each != negative), flag)
        return [word for word in [positive if value is True else negative] if word]
    if parameter.kind is Secret:
        text = LITERAL_SECRET + HIDDEN
    elif parameter.kind in (FileText, FileBytes):
        text = str(value.get("name") or "-") if isinstance(value, Mapping) else "-"
    else:
        text = str(value)
    return [flag, text] if flag else [text]


def _unknown(name: str, known: Mapping[str, Parameter]) -> Problem:
    near = nearest(name, known)
    listed = ", ".join(known) or "none"
    remedy = f"Did you mean {near}?" if near else f"There are: {listed}"
    return Problem(name[:100], "there is no such parameter", remedy)


# --- one value --------------------------------------------------------------------------------------------


def _value(parameter: Parameter, given: Any, name: str, context: Context) -> Any:
    if given is None or (parameter.several and given == []):
        if parameter.needed:
            raise _Wrong("this is needed", parameter.marker.help)
        return parameter.default
    if not parameter.several:
        return _one(parameter, given, name, context)
    if not isinstance(given, list):
        raise _Wrong("this has to be a list")
    if len(given) > MOST_VALUES:
        raise _Wrong(f"this has more than {MOST_VALUES} entries")
    found = []
    for index, part in enumerate(given):
        try:
            found.append(_one(parameter, part, name, context))
        except _Wrong as wrong:
            raise _Wrong(wrong.problem.text, wrong.problem.remedy, f"[{index}]") from None
    return found


def _one(parameter: Parameter, given: Any, name: str, context: Context) -> Any:
    kind = parameter.kind
    if kind in (FileText, FileBytes):
        return _file(kind, given, name)
    if kind is Secret:
        return Secret(_text(given, SECRET_LIMIT))
    if kind is OutputFile:
        path = _text(given, TEXT_LIMIT)
        if not path:
            raise _Wrong("a name is needed")
        return OutputFile(path)
    if kind is bool:
        if not isinstance(given, bool):
            raise _Wrong("this has to be true or false")
        return given
    if kind in (int, float):
        return _bounded(parameter, _number(kind, given), context)
    if get_origin(kind) is Literal:
        return _choice(kind, given)
    return _text(given, TEXT_LIMIT)


def _text(given: Any, limit: int) -> str:
    if not isinstance(given, str):
        raise _Wrong("this has to be a text")
    if len(given) > limit:
        raise _Wrong(f"this has more than {limit} characters")
    if "\0" in given:
        raise _Wrong("this holds a NUL character")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise _Wrong("this holds half of a character (a lone surrogate)") from None
    return given


def _number(kind: type, given: Any) -> int | float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _Wrong("this has to be a number")
    if kind is int:
        if not math.isfinite(given) or given != int(given):
            raise _Wrong("this has to be a whole number")
        return int(given)
    return float(given)


def _bounded(parameter: Parameter, given: float, context: Context) -> Any:
    parsed = click.Context(click.Command(""), obj=context)
    try:
        return parameter.parser.type.convert(given, parameter.parser, parsed)
    except click.BadParameter as error:
        raise _Wrong(error.message.rstrip(".")) from None


def _choice(kind: Any, given: Any) -> Any:
    choices = get_args(kind)
    wanted = str(given).lower() if isinstance(given, str | int) and not isinstance(given, bool) else None
    for choice in choices:
        if str(choice).lower() == wanted:
            return choice
    raise _Wrong(f"this is not one of {', '.join(map(str, choices))}")


def _file(kind: Any, given: Any, name: str) -> FileText | FileBytes:
    content: str | bytes = ""
    called = name
    if isinstance(given, Mapping):
        called = given.get("name") or name
        both = ("base64" in given) == ("text" in given)
        if both or not isinstance(called, str) or not _FILE_KEYS.issuperset(given):
            raise _Wrong(_FILE_FORM)
        content = _from_base64(given["base64"]) if "base64" in given else given["text"]
    else:
        content = given
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if not isinstance(content, bytes):
        raise _Wrong(_FILE_FORM)
    if len(content) > FILE_LIMIT:
        raise _Wrong(f"this is larger than {FILE_LIMIT >> 20} MiB")
    if kind is FileBytes:
        return FileBytes(_text(called, 255), content)
    try:
        return FileText(_text(called, 255), content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise _Wrong("this is not text (UTF-8)") from None


def _from_base64(given: Any) -> bytes:
    try:
        return base64.b64decode("".join(_text(given, FILE_LIMIT * 2).split()), validate=True)
    except (binascii.Error, ValueError):
        raise _Wrong("this is not base64") from None
