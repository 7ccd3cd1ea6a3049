"""A configuration that somebody wrote by hand: any text gives a document, or words about what is wrong."""

from __future__ import annotations

import functools
from typing import Any, get_args

import tomli_w
from hypothesis import strategies as st
from pydantic import BaseModel

from mxseal.config.check import Problem, advice, check
from mxseal.config.diff import diff
from mxseal.config.model import Document
from mxseal.config.toml import examine, parse, render
from tests.config.documents import document
from tests.fuzz.target import HOSTILE, Target

_MOST_PROBLEMS = 20_000
_LONGEST = 4000
"""Characters of one problem: names in it are as long as they were written, which the model bounds."""


def run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parsed = parse(text)
    if isinstance(parsed, Document):
        again = parse(render(parsed))
        assert again == parsed, "what is written back is another document"
        _told(check(parsed))
        _told(advice(parsed))
        for change in diff(document(), parsed):
            assert str(change)
    else:
        assert parsed, "neither a document nor a word about what is wrong"
        _told(parsed)
    found = examine(text, lambda given: given)
    if isinstance(found, Document):
        assert check(found) == []
    else:
        _told(found)


def _told(problems: list[Problem]) -> None:
    assert len(problems) < _MOST_PROBLEMS
    for problem in problems:
        assert problem.text
        assert len(str(problem)) < _LONGEST, f"{len(str(problem))} characters about {problem.path[:80]}"


# --- documents with faults in them ------------------------------------------------------------------------


@functools.cache
def _keys() -> list[str]:
    """Each key that a document knows, of all tables."""
    names: set[str] = set()
    waiting: list[type[BaseModel]] = [Document]
    while waiting:
        table = waiting.pop()
        for name, field in table.model_fields.items():
            names.add(name)
            waiting += _tables(field.annotation)
    return sorted(names)


def _tables(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in _tables(part)]


_HOSTILE_TEXT = HOSTILE.map(lambda octets: octets.decode("utf-8", "replace"))
_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            "",
            "all",
            "default",
            "required",
            "192.0.2.0/24",
            "::1",
            "mx.example.com",
            "a" * 300,
            "\u00e9.example",
            "xn--",
            ".",
            "[::1]:25",
            "a:99999",
            "ALL",
        ]
    ),
    st.sampled_from([0, -1, 1, 25, 65536, 10**30, 2**63]),
    st.sampled_from([True, False, 0.0, -0.0, 1e308, float("nan"), float("inf")]),
    st.datetimes(),
    st.dates(),
    _HOSTILE_TEXT,
)
_NAMES = st.deferred(lambda: st.sampled_from(_keys())) | _HOSTILE_TEXT.map(lambda name: name[:40])
_TREES = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def _changed_documents(draw: st.DrawFn) -> bytes:
    """The first document of a home with a few values changed, added or taken away, wherever in it."""
    plain = document().model_dump(exclude_none=True)
    for _ in range(draw(st.integers(0, 4))):
        table = plain
        while True:
            inner = [value for value in table.values() if isinstance(value, dict) and value]
            inner += [
                e
                for value in table.values()
                if isinstance(value, list | tuple)
                for e in value
                if isinstance(e, dict) and e
            ]
            if not inner or draw(st.integers(0, 3)) == 0:
                break
            table = draw(st.sampled_from(inner))
        key = draw(st.sampled_from(sorted(table)) | _NAMES) if table else draw(_NAMES)
        if draw(st.integers(0, 5)) == 0:
            table.pop(key, None)
        else:
            table[key] = draw(_TREES)
    text = tomli_w.dumps(_listed(plain)).encode("utf-8", "replace")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(HOSTILE) + text[at:]
    return text


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(entry) for key, entry in value.items()}
    return [_listed(entry) for entry in value] if isinstance(value, list | tuple) else value


def seeds() -> list[bytes]:
    return [render(document()).encode()]


TARGET = Target(
    name="configuration",
    run=run,
    inputs=_changed_documents(),
    words=(
        b"[",
        b"]",
        b"[[",
        b"]]\n",
        b'"""',
        b"=",
        b"{",
        b"}",
        b" = nan\n",
        b"[delivery]\n",
        b"[[listeners]]\nname = ",
        b"'",
        b"\\u0000",
        b"1979-05-27",
    ),
    seeds=seeds,
)
