"""Titles of alerts as they stand in the code, with the places that they have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mxseal.alerts import kinds

ALERTS = Path(kinds.__file__).parent


def titles() -> set[str]:
    """All of them: 'The log {log} can't be sent to {server}: {reason}'."""
    found: set[str] = set()
    for path in sorted(ALERTS.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                given = [each.value for each in node.keywords if each.arg == "title"]
                found |= {text for value in given for text in _texts(value)}
    return found


def _texts(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(str(text)):
            yield text
        case ast.JoinedStr(parts):
            yield "".join(_part(part) for part in parts)
        case ast.IfExp(_, one, other):
            yield from _texts(one)
            yield from _texts(other)
        case _:
            pass


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    return "{" + _name(part.value) + "}"


def _name(value: ast.expr) -> str:
    """A word for an expression: event.log -> log, plain(event.problem) -> problem."""
    names = [
        each.attr if isinstance(each, ast.Attribute) else each.id
        for each in ast.walk(value)
        if isinstance(each, ast.Attribute | ast.Name)
    ]
    plain = [each for each in names if each not in {"event", "each", "entry", "plain", "profile", "max"}]
    return (plain or names)[0].lstrip("_")
