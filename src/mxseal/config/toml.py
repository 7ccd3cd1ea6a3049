"""The document as text: TOML in, a document or all of its problems out; and readable TOML back."""

from __future__ import annotations

import datetime
import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mxseal.config.check import Problem, check, key_path
from mxseal.config.model import Document, Plain
from mxseal.config.values import domain_name

LARGEST = 4 << 20
"""Bytes of the largest document that is read."""
NAMED = {
    "listeners": "name",
    "interfaces": "name",
    "sender_groups": "name",
    "mail_flow_policies": "name",
    "destinations": "domain",
    "certificates": "name",
    "log_subscriptions": "name",
    "ldap_profiles": "name",
    "ldap_queries": "name",
    "ldap_chains": "name",
    "ldap_groups": "name",
    "analysis_servers": "name",
}
"""Arrays of tables, and the key that tells their entries apart."""

_UNKNOWN = "unknown key"
_SHOWING = ("delivery", "ldap")
"""Tables with a client certificate, which may be none."""

Location = tuple[str | int, ...]


def parse(text: str) -> Document | list[Problem]:
    """The document that `text` says, or everything that is wrong with it, each with its key's path.

    Only types, ranges and unknown keys are looked at; the rules between keys are `check`'s.
    """
    if len(text) > LARGEST or len(text.encode(errors="replace")) > LARGEST:
        return [Problem("", f"the document is larger than {LARGEST >> 20} MiB", "Remove what doesn't belong")]
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [Problem("", f"this is not TOML: {error}", "Correct that line")]
    except RecursionError:
        return [Problem("", "arrays or tables are nested too deeply", "No key needs more than three levels")]
    return from_plain(plain)


def from_plain(plain: Plain) -> Document | list[Problem]:
    """The same for a document that is already tables, arrays and values."""
    repeated = _repeated_routes(plain)
    try:
        document = _validated(plain)
    except ValidationError as error:
        details = error.errors(include_url=False)
        return [*(_problem(detail, plain) for detail in details), *repeated]
    return repeated or document


def examine(
    text: str,
    complete: Callable[[Document], Document],
    rules: Callable[[Document], list[Problem]] = check,
) -> Document | list[Problem]:
    """`parse`, `complete` and the rules between keys in one, with all problems at once.

    `complete` adds what the text may leave out. Where types are wrong already, the rules are held against
    what is left of the document without those values; what may only be a consequence of that is not told:
    problems of the same key, of the list or table that lost a value, and of entries that went as a whole.
    """
    parsed = parse(text)
    if isinstance(parsed, Document):
        document = complete(parsed)
        return rules(document) or document
    try:
        plain = tomllib.loads(text)
        rest, lost = _without_mistakes(plain)
        following = rules(complete(_validated(rest)))
    except (tomllib.TOMLDecodeError, RecursionError, ValidationError):
        return parsed
    told = {problem.path for problem in parsed}
    # the rules see domains in lower case; an unknown key is missed by nobody
    gone = [problem.path.lower() for problem in parsed if problem.text != _UNKNOWN]
    return parsed + [
        problem
        for problem in following
        if problem.path not in told
        and not any(_within(path, problem.path.lower()) for path in gone)
        and not any(name in problem.text for name in lost)
    ]


def _within(path: str, table: str) -> bool:
    """Whether `path` is `table` or lies in it."""
    return path == table or (bool(table) and path.startswith((f"{table}.", f"{table}[")))


def _validated(plain: Plain) -> Document:
    return Document.model_validate(_frozen(_with_none(plain)), strict=True)


def _without_mistakes(plain: Plain) -> tuple[Plain, set[str]]:
    """A copy without the values that the model refuses, and the names of entries that went as a whole."""
    lost: set[str] = set()
    for _ in range(10):  # a value that goes may leave its table wrong in another way
        try:
            _validated(plain)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                location = tuple(part for part in detail["loc"] if part != "[key]")
                missing = detail["type"] == "missing"
                plain = _removed(plain, location[:-1] if missing else location, lost)
            plain = _compacted(plain)
        else:
            break
    return plain, lost


_GONE = object()


def _removed(value: Any, location: Location, lost: set[str]) -> Any:
    """`value` without what is at `location`; entries of arrays leave a mark: the others keep their place."""
    if not location:
        if isinstance(value, dict):
            lost.update(name for key in ("name", "domain") if isinstance(name := value.get(key), str))
        return _GONE
    first, rest = location[0], location[1:]
    if isinstance(value, dict) and first in value:
        inner = _removed(value[first], rest, lost)
        return {
            key: inner if key == first else entry
            for key, entry in value.items()
            if key != first or inner is not _GONE
        }
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return [_removed(entry, rest, lost) if index == first else entry for index, entry in enumerate(value)]
    return value


def _compacted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _compacted(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_compacted(entry) for entry in value if entry is not _GONE]
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_frozen(entry) for entry in value)
    return value


def _with_none(plain: Plain) -> Plain:
    """TOML has no null: `certificate = ""` in [delivery] or [ldap] says that no certificate is shown."""
    for name in _SHOWING:
        table = plain.get(name)
        if isinstance(table, dict) and table.get("certificate") == "":
            plain = {**plain, name: {**table, "certificate": None}}
    return plain


def _repeated_routes(plain: Plain) -> list[Problem]:
    """Domains that are one key twice once they are in lower case and A-labels."""
    routes = plain.get("smtp_routes")
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for written in routes if isinstance(routes, dict) else ():
        try:
            domain = ("." if written.startswith(".") else "") + domain_name(written.removeprefix("."))
        except ValueError:
            continue  # the model tells it with the key's path
        if domain in seen:
            path = key_path("smtp_routes", written)
            problems.append(Problem(path, f"this is the route for {seen[domain]!r} again", "Merge the two"))
        seen[domain] = written
    return problems


# --- errors in words --------------------------------------------------------------------------------------


def _problem(detail: ErrorDetails, plain: Plain) -> Problem:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    path = _path(location, plain)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, _UNKNOWN, _suggestion(location))
    if kind == "missing":
        return Problem(path, "this key is missing", f"Add it: {location[-1]} = …")
    if kind == "value_error":
        return Problem(path, str(detail.get("ctx", {}).get("error", detail["msg"])))
    return Problem(path, *_explain(kind, detail))


def _explain(kind: str, detail: ErrorDetails) -> tuple[str, str]:
    context = detail.get("ctx", {})
    given = _shown(detail["input"])
    if kind == "literal_error":
        return f"{given} is not one of {context['expected']}", "Choose one of these"
    for bound, words in _BOUNDS.items():
        if kind == bound:
            return f"{given} is out of range", f"It must be {words} {next(iter(context.values())):.10g}"
    wanted = _TYPES.get(kind)
    if wanted is not None:
        return f"{given} is not {wanted[0]}", wanted[1]
    return f"{given}: {detail['msg']}", ""


_BOUNDS = {
    "greater_than_equal": "at least",
    "greater_than": "more than",
    "less_than_equal": "at most",
    "less_than": "less than",
}
_TYPES = {
    "string_type": ("text", 'Put it in quotes, as in "value"'),
    "int_type": ("a whole number", "Write a number without quotes"),
    "int_from_float": ("a whole number", "Write it without a fraction"),
    "float_type": ("a number", "Write a number without quotes"),
    "finite_number": ("a finite number", "Write a number"),
    "bool_type": ("true or false", "Write true or false without quotes"),
    "tuple_type": ("a list", 'Put it in brackets, as in ["one", "two"]; tables are written [[name]]'),
    "model_type": ("a table", "Write its keys below a [name] line"),
    "model_attributes_type": ("a table", "Write its keys below a [name] line"),
    "dict_type": ("a table", "Write its keys below a [name] line"),
}


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, tuple | list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date | datetime.time):
        return f"the date {value}"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _path(location: Location, plain: Plain) -> str:
    """As a person writes it: an entry of a named list by its name, where that is known."""
    parts: list[str | int] = []
    value: Any = plain
    field = ""
    for part in location:
        value = _step(value, part)
        if isinstance(part, int) and isinstance(value, dict) and field in NAMED:
            name = value.get(NAMED[field])
            parts.append(name if isinstance(name, str) and name else part)
            continue
        field = str(part)
        parts.append(part)
    return key_path(*parts)


def _step(value: Any, part: str | int) -> Any:
    if isinstance(part, int):
        return value[part] if isinstance(value, Sequence) and part < len(value) else None
    return value.get(part) if isinstance(value, dict) else None


def _table(location: Location) -> type[BaseModel]:
    """The table that holds the last key of `location`."""
    table: type[BaseModel] = Document
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        inner = _inner(table, part)
        if inner is None:
            break
        table = inner
    return table


def _inner(table: type[BaseModel], key: str) -> type[BaseModel] | None:
    if key not in table.model_fields:
        return None
    annotation = table.model_fields[key].annotation
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _suggestion(location: Location) -> str:
    key = str(location[-1])
    table = _table(location)
    near = difflib.get_close_matches(key.lower(), table.model_fields, 1, 0.6)
    if near:
        return f"Did you mean {near[0]!r}?"
    for name in Document.model_fields:
        inner = _inner(Document, name)
        if inner is not None and inner is not table and key in inner.model_fields:
            return f"It belongs to {name}"
    return f"Known here are: {', '.join(table.model_fields)}"


# --- and back ---------------------------------------------------------------------------------------------


def render(document: Document) -> str:
    """Readable TOML without what is as by default; `parse` gives back the same document."""
    plain = document.model_dump(exclude_defaults=True)
    for name in _SHOWING:
        if getattr(document, name).certificate is None:
            plain[name]["certificate"] = ""
    lines = _lines((), plain)
    return "\n".join(lines).strip("\n") + "\n"


def _lines(path: tuple[str, ...], table: Plain) -> list[str]:
    values = {key: value for key, value in table.items() if not _is_table(key, path, value)}
    lines = [_values(values)] if values else []
    for key, value in table.items():
        if key in values:
            continue
        header = key_path(*path, key)
        if isinstance(value, dict):
            lines += ["", f"[{header}]", *_lines((*path, key), value)]
            continue
        for entry in value:
            lines += ["", f"[[{header}]]", *_lines((*path, key), entry)]
    return lines


def _is_table(key: str, path: tuple[str, ...], value: Any) -> bool:
    # An array of tables below a table needs its whole path, which the writer of values does not know.
    tables = isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict) or tables or (not path and key in NAMED)


def _values(values: Plain) -> str:
    # tomli-w turns CRLF inside of multi-line strings into LF: such a text is written on one line instead
    multi_line = not any("\r" in text for text in _texts(values))
    return tomli_w.dumps(values, multiline_strings=multi_line).rstrip("\n")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for entry in value.values() for text in _texts(entry)]
    if isinstance(value, list | tuple):
        return [text for entry in value for text in _texts(entry)]
    return []
