"""Destination controls as a file: TOML as in the document, or CSV. What is written can be read."""

from __future__ import annotations

import csv
import io
import re
import tomllib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
import tomli_w

from mxseal.commands.context import CommandFailed
from mxseal.commands.levels import read_level
from mxseal.config.check import Problem
from mxseal.config.model import Destination, Document
from mxseal.config.toml import from_plain

Format = Literal["toml", "csv"]
COLUMNS = ("domain", "tls", "concurrency", "messages_per_connection", "alert", "trust_anchors", "pins")
_BETWEEN = "; "
_HEAD = re.compile(r"\s*\[\[\s*destinations\s*\]\]")
_TABLE = re.compile(r"\s*\[")
_WHERE = re.compile(r"\(at line (\d+),")
_SWITCH = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}


class Line(msgspec.Struct, frozen=True):
    """One entry of a file, as plain values, and the lines on which it and its keys stand."""

    number: int
    values: dict[str, Any]
    keys: dict[str, int]

    def of(self, key: str) -> int:
        return self.keys.get(key, self.number)


class Flaw(msgspec.Struct, frozen=True):
    """What is wrong on a line."""

    line: int
    text: str
    remedy: str = ""

    def problem(self) -> Problem:
        return Problem(f"line {self.line}", self.text, self.remedy)


def format_of(path: str, text: str = "") -> Format:
    """By the name's ending; where that says nothing, by what stands in the file."""
    if path.lower().endswith(".csv"):
        return "csv"
    if path.lower().endswith(".toml"):
        return "toml"
    return "csv" if text.lstrip("\ufeff \r\n").lower().startswith("domain,") else "toml"


# --- writing ----------------------------------------------------------------------------------------------


def write(entries: Sequence[Destination], form: Format) -> str:
    """All entries. What is left open is left out."""
    if form == "toml":
        plain = [entry.model_dump(exclude_defaults=True) for entry in entries]
        return "\n".join(f"[[destinations]]\n{tomli_w.dumps(each)}" for each in plain)
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_cell(getattr(entry, column)) for column in COLUMNS] for entry in entries)
    return sheet.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return _BETWEEN.join(value) if isinstance(value, tuple) else str(value)


# --- reading ----------------------------------------------------------------------------------------------


def read(text: str, form: Format, document: Document) -> tuple[Destination, ...] | list[Problem]:
    """The entries of a file, or all that is wrong with it, by line. `document` has the authorities."""
    lines, flaws = (_csv_lines if form == "csv" else _toml_lines)(text)
    entries: list[Destination] = []
    seen: dict[str, int] = {}
    known = {entry.name for entry in document.trust.authorities}
    for line in lines:
        entry = _entry(line)
        if isinstance(entry, list):
            flaws += entry
            continue
        if entry.domain in seen:
            text = f"{entry.domain} stands on line {seen[entry.domain]} already"
            flaws.append(Flaw(line.of("domain"), text, "Merge the two"))
        seen.setdefault(entry.domain, line.number)
        flaws += _unknown_anchors(entry, line, known)
        entries.append(entry)
    if flaws:
        return [flaw.problem() for flaw in sorted(flaws, key=lambda flaw: flaw.line)]
    return tuple(entries)


def _entry(line: Line) -> Destination | list[Flaw]:
    found = from_plain({"destinations": [line.values]})
    if isinstance(found, Document):
        return found.destinations[0]
    return [Flaw(line.of(_key(problem, line)), problem.text, problem.remedy) for problem in found]


def _key(problem: Problem, line: Line) -> str:
    """The key of the entry that a problem of a whole document is about."""
    return next((key for key in line.keys if re.search(rf"\.{re.escape(key)}(\[|$)", problem.path)), "domain")


def _unknown_anchors(entry: Destination, line: Line, known: set[str]) -> Iterable[Flaw]:
    for name in entry.trust_anchors:
        if name not in known:
            yield Flaw(
                line.of("trust_anchors"),
                f"there is no custom authority called {name!r}",
                "Import it with 'certconfig certauthority custom import' first",
            )


def _csv_lines(text: str) -> tuple[list[Line], list[Flaw]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    lines: list[Line] = []
    flaws: list[Flaw] = []
    head: list[str] | None = None
    try:
        for row in reader:
            if not any(cell.strip() for cell in row) or row[0].lstrip().startswith("#"):
                continue
            if head is None:
                head = [cell.strip().lower() for cell in row]
                flaws += _head_flaws(head, reader.line_num)
                continue
            if len(row) > len(head):
                text = f"{len(row)} fields, and the first line names {len(head)}"
                flaws.append(Flaw(reader.line_num, text, "Put fields with a comma in quotes"))
                continue
            line, wrong = _csv_line(
                dict(zip(head, (cell.strip() for cell in row), strict=False)), reader.line_num
            )
            flaws += wrong
            lines.append(line)
    except csv.Error as error:
        flaws.append(Flaw(reader.line_num, f"this is not CSV: {error}", "Correct that line"))
    if head is None:
        flaws.append(Flaw(1, "the file is empty", f"Begin with the line {','.join(COLUMNS)}"))
    return lines, flaws


def _head_flaws(head: Sequence[str], number: int) -> Iterable[Flaw]:
    remedy = f"Known are: {', '.join(COLUMNS)}"
    for name in head:
        if name not in COLUMNS:
            yield Flaw(number, f"there is no column {name!r}", remedy)
    if "domain" not in head:
        yield Flaw(number, "the column domain is missing", remedy)


def _csv_line(cells: dict[str, str], number: int) -> tuple[Line, list[Flaw]]:
    """The line without the fields that are wrong, and what is wrong with those."""
    values: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for key, cell in cells.items():
        if not cell or key not in COLUMNS:
            continue
        try:
            value = _read_cell(key, cell)
        except ValueError as error:
            flaws.append(Flaw(number, str(error)))
            continue
        if value is not None:
            values[key] = value
    return Line(number, values, dict.fromkeys(values, number)), flaws


def _read_cell(key: str, cell: str) -> Any:
    """None: as in the default entry. Raises ValueError."""
    if cell.lower() == "default" and key not in ("domain", "trust_anchors", "pins"):
        return None
    if key == "tls":
        try:
            return read_level(cell)
        except CommandFailed as failure:
            raise ValueError(str(failure).rstrip(".")) from None
    if key == "alert":
        if cell.lower() not in _SWITCH:
            raise ValueError(f"alert: {cell!r} is neither on nor off")
        return _SWITCH[cell.lower()]
    if key in ("trust_anchors", "pins"):
        return [part.strip() for part in cell.split(";") if part.strip()]
    if key in ("concurrency", "messages_per_connection"):
        if not cell.isdecimal():
            raise ValueError(f"{key}: {cell!r} is not a whole number")
        return int(cell)
    return cell


def _toml_lines(text: str) -> tuple[list[Line], list[Flaw]]:
    try:
        plain = tomllib.loads(text.removeprefix("\ufeff"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        where = _WHERE.search(str(error))
        number = int(where[1]) if where else text.count("\n") + 1
        return [], [Flaw(number, f"this is not TOML: {error}", "Correct that line")]
    flaws = [
        Flaw(_first(text, key), f"{key} is not part of such a file", "It holds [[destinations]] only")
        for key in plain
        if key != "destinations"
    ]
    entries = plain.get("destinations", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        flaws.append(
            Flaw(_first(text, "destinations"), "destinations is no list of tables", "Write [[destinations]]")
        )
        return [], flaws
    return [
        Line(number, entry, keys)
        for entry, (number, keys) in zip(entries, _places(text, entries), strict=True)
    ], flaws


def _first(text: str, key: str) -> int:
    """The line on which a key or table is named first."""
    pattern = re.compile(rf"^\s*\[*\s*[\"']?{re.escape(key)}\b")
    lines = text.splitlines()
    return next((at for at, line in enumerate(lines, 1) if pattern.match(line)), 1)


def _places(text: str, entries: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, int]]]:
    """(line, lines of the keys) of each entry. The reader of TOML tells no lines, so they are looked for; an
    entry that is written in another way than under [[destinations]] is said to stand on line 1."""
    found: list[tuple[int, dict[str, int]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if _HEAD.match(line):
            found.append((number, {}))
        elif _TABLE.match(line) and "=" not in line and found and line.strip() != "]":
            continue
        elif found and len(found) <= len(entries):
            key = line.partition("=")[0].strip().strip("\"'")
            if key in entries[len(found) - 1]:
                found[-1][1].setdefault(key, number)
    return found if len(found) == len(entries) else [(1, {})] * len(entries)
