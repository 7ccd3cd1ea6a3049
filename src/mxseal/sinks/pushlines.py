"""The mail log's lines about logs that are sent away. Ours: the reference tells none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.sinks.alertlines import Line, cut


def _connected(event: facts.LogPushConnected) -> list[Line]:
    tls = f" protocol {event.protocol} cipher {event.cipher}" if event.protocol else ""
    return [("Info", f"Log push {event.log}: connected to {event.server}{tls}")]


def _failed(event: facts.LogPushFailed) -> list[Line]:
    head = f"Log push {event.log}:"
    waits = f"{event.waiting} bytes wait in the log's files"
    lines = [("Warning", f"{head} can't send to {event.server}: {cut(event.reason)}; {waits}")]
    if event.diagnosis is not None:
        lines.append(("Info", f"{head} TLS diagnosis: {cut(event.diagnosis.sentence(), 2000)}"))
    return lines


def _lost(event: facts.LogLinesLost) -> list[Line]:
    lines = "an unknown number of lines" if event.lines is None else f"{event.lines} lines"
    return [
        (
            "Critical",
            f"Log push {event.log}: {lines} of {event.file} were deleted before {event.server} had them",
        )
    ]


PUSH_TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.LogPushConnected: _connected,
    facts.LogPushFailed: _failed,
    facts.LogLinesLost: _lost,
}
"""Each event about log push and the lines that tell it."""
