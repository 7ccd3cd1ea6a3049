"""Moments in results: local time for people, RFC 3339 in UTC for programs."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from mxseal.commands.results import Shown

_PATTERN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_RFC3339 = "%Y-%m-%dT%H:%M:%SZ"


def moment(at: float) -> str:
    """Local time as the reference's dialogues print it: 'Mon Feb 16 09:31:02 2026 GMT'."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%a %b %d %H:%M:%S %Y %Z").strip()


def at_of(cell: object) -> float | None:
    """The moment (seconds since the epoch) that stands in a cell of `when`, or in what programs get of it."""
    text = cell.value if isinstance(cell, Shown) else cell
    if not isinstance(text, str) or not _PATTERN.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def rfc3339(at: float) -> str:
    """'2026-02-16T09:31:02Z'."""
    return datetime.fromtimestamp(at, UTC).strftime(_RFC3339)


def when(at: float | None, without: str = "", *, text: str = "") -> Shown:
    """A cell with a moment (seconds since the epoch); None is `without` for people and null for programs.
    `text`: what people see in its place."""
    return Shown(without, None) if at is None else Shown(text or moment(at), rfc3339(at))
