"""What commands give back: values, which the faces show as text, HTML or JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from mxseal.config.check import Problem


class Shown(msgspec.Struct, frozen=True):
    """A cell that people see as `text` and programs get as `value`, such as a moment."""

    text: str
    value: str | int | float | bool | None


Cell = str | int | float | bool | Shown | None
"""One value of a table or record. Numbers stand to the right."""


class Text(msgspec.Struct, frozen=True):
    """Text as it is: PEM, TOML, help."""

    text: str

    def to_json(self) -> Any:
        return {"text": self.text}


class Data(msgspec.Struct, frozen=True):
    """A value for programs, with what people see in its place."""

    text: str
    value: Any

    def to_json(self) -> Any:
        return self.value


class Done(msgspec.Struct, frozen=True):
    """Something was done; `message` says what in a sentence, `facts` the same for programs."""

    message: str
    facts: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_json(self) -> Any:
        return {"message": self.message, **self.facts}


class Field(msgspec.Struct, frozen=True):
    """One line of a record. `key` is its name for programs; `section` a heading above lines that share it."""

    label: str
    value: Cell | tuple[str, ...]
    key: str = ""
    section: str = ""


class Record(msgspec.Struct, frozen=True):
    """Names and values of one thing."""

    fields: tuple[Field, ...]
    title: str = ""

    def to_json(self) -> Any:
        plain: dict[str, Any] = {}
        for field in self.fields:
            table = plain.setdefault(json_key(field.section), {}) if field.section else plain
            table[field.key or json_key(field.label)] = _plain(field.value)
        return plain


class Column(msgspec.Struct, frozen=True):
    """A table's column. `cut`: texts longer than this lose their end (in text only); 0: never."""

    title: str
    key: str = ""
    cut: int = 0


class Table(msgspec.Struct, frozen=True):
    """Rows of one kind. `empty` is the sentence that stands for a table without rows."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    title: str = ""
    empty: str = "There are none."
    note: str = ""
    """A sentence below the table."""

    def to_json(self) -> Any:
        keys = [column.key or json_key(column.title) for column in self.columns]
        return [dict(zip(keys, map(_plain, row), strict=True)) for row in self.rows]


class Problems(msgspec.Struct, frozen=True):
    """It was not done, and this is why. The command ends with status 1."""

    message: str
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> Any:
        return {
            "error": self.message,
            "problems": [msgspec.to_builtins(problem) for problem in self.problems],
        }


class File(msgspec.Struct, frozen=True):
    """Content for a file on the caller's side. `private`: readable by its owner only."""

    path: str
    content: bytes
    message: str
    private: bool = False

    def to_json(self) -> Any:
        return {"message": self.message, "file": self.path, "bytes": len(self.content)}


class Stream(msgspec.Struct, frozen=True):
    """Text that comes piece by piece, perhaps without end; `encode` makes a piece into JSON."""

    chunks: AsyncIterator[str]
    encode: Callable[[str], Any] = lambda chunk: {"text": chunk}
    """Called once a chunk: a stream of whole lines may give one object for each of its chunks."""

    def to_json(self) -> Any:
        return {"error": "a stream has no one value"}


class Parts(msgspec.Struct, frozen=True):
    """Several results, one after the other."""

    parts: tuple[Result, ...]

    def to_json(self) -> Any:
        return [part.to_json() for part in self.parts]


Result = Text | Data | Done | Record | Table | Problems | File | Stream | Parts


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Shown) else value


def json_key(label: str) -> str:
    """'Issued By' -> 'issued_by'."""
    return "_".join("".join(c if c.isalnum() else " " for c in label.lower()).split())


def failed(result: Result) -> bool:
    """Whether the result says that the thing was not done."""
    if isinstance(result, Parts):
        return any(failed(part) for part in result.parts)
    return isinstance(result, Problems)
