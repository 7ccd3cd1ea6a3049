"""Results as text for a terminal or a pipe, and as JSON."""

from __future__ import annotations

import io
import re
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text as RichText

from mxseal.commands.results import (
    Cell,
    Data,
    Done,
    Field,
    File,
    Parts,
    Problems,
    Record,
    Result,
    Shown,
    Stream,
    Table,
    Text,
)

_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNLIMITED = 100_000
"""Columns of an output that is not a terminal: nothing is wrapped there."""


class Style(msgspec.Struct, frozen=True):
    """How the caller sees it. `width` None: not a terminal, lines are as long as they are."""

    width: int | None = None
    colour: bool = False


def clean(text: str) -> str:
    """Text from strangers must not steer the administrator's terminal: control characters become \\xNN."""
    if not _UNSAFE.search(text):
        return text
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def as_json(value: Any) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode() + "\n"


def as_text(result: Result, style: Style) -> str:
    """The whole result as text, with a line end. A Stream is not shown here: its chunks come one by one."""
    match result:
        case Text(text) | Data(text):
            return clean(text if not text or text.endswith("\n") else text + "\n")
        case Done(message) | File(_, _, message):
            return clean(message) + "\n"
        case Table():
            return _table(result, style)
        case Record():
            return _record(result, style)
        case Problems():
            return _problems(result, style)
        case Parts(parts):
            return "\n".join(as_text(part, style) for part in parts)
        case Stream():
            return ""


def _print(renderable: RenderableType, style: Style) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=style.width or _UNLIMITED,
        force_terminal=style.colour,
        color_system="standard" if style.colour else None,
        no_color=not style.colour,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(renderable, soft_wrap=False)
    lines = out.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _cell(value: Cell | tuple[str, ...]) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Shown):
        value = value.text
    if isinstance(value, tuple):
        return ", ".join(clean(part) for part in value)
    return clean(str(value)).replace("\n", " ")


def _table(table: Table, style: Style) -> str:
    """Head, a line of dashes, rows: columns two spaces apart, as administrators of the field know it."""
    parts: list[str] = [clean(table.title) + "\n"] if table.title else []
    if table.rows:
        parts.append(_print(_grid(table), style))
    else:
        parts.append(clean(table.empty) + "\n")
    if table.note:
        parts.append("\n" + clean(table.note) + "\n")
    return "".join(parts)


def _grid(table: Table) -> RichTable:
    grid = RichTable(box=None, show_header=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for index, column in enumerate(table.columns):
        numbers = [row[index] for row in table.rows if row[index] is not None]
        right = bool(numbers) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in numbers
        )
        head = Group(RichText(column.title, style="bold"), Rule(characters="-", style=""))
        grid.add_column(head, justify="right" if right else "left", vertical="top", overflow="fold")
    for row in table.rows:
        grid.add_row(*(RichText(_cut(_cell(value), table.columns[i].cut)) for i, value in enumerate(row)))
    return grid


def _cut(text: str, most: int) -> str:
    return text[:most] if most else text


def _record(record: Record, style: Style) -> str:
    lines: list[str] = [clean(record.title) + "\n"] if record.title else []
    section = ""
    group: list[Field] = []
    for field in (*record.fields, None):
        if field is None or field.section != section:
            if group:
                lines.append(_fields(group, style))
            group = []
            if field is not None:
                section = field.section
                lines.append(f"\n{clean(section)}\n" if section else "")
        if field is not None:
            group.append(field)
    return "".join(lines)


def _fields(fields: list[Field], style: Style) -> str:
    indent = "  " if fields[0].section else ""
    grid = RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for field in fields:
        grid.add_row(RichText(f"{indent}{clean(field.label)}:"), RichText(_cell(field.value)))
    return _print(grid, style)


def _problems(problems: Problems, style: Style) -> str:
    if not problems.problems:
        return clean(problems.message.rstrip(".")) + ".\n"
    lines = [clean(problems.message.rstrip(".:")) + ":\n"]
    for problem in problems.problems:
        text = RichText("- ")
        if problem.path:
            text.append(f"{clean(problem.path)}: ", style="bold")
        text.append(clean(f"{problem.text}. {problem.remedy}" if problem.remedy else problem.text))
        lines.append(_print(text, style))
    return "".join(lines)
