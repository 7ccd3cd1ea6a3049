"""Lines of the mail log about connections to analysis servers. The reference shows none: these are ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import scanning as facts
from mxseal.events.event import Event

Line = tuple[str, str]
"""(level, text)."""
_LONGEST = 1000


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _place(host: str, port: int) -> str:
    return f"({f'[{host}]' if ':' in host else host}:{port})"


def _connected(event: facts.AnalysisConnected) -> list[Line]:
    tls = event.facts
    how = "without TLS"
    if tls is not None:
        how = f"TLS success protocol {tls.protocol} cipher {tls.cipher}, {_cut(event.verdict, 300)}"
    place = _place(event.host, event.port)
    lines = [("Info", f"File Analysis: connected to server {event.server} {place} {how}")]
    if event.diagnosis is not None:
        lines.append(
            ("Info", f"File Analysis: {place} TLS diagnosis: {_cut(event.diagnosis.sentence(), 2000)}")
        )
    return lines


def _unconnected(event: facts.AnalysisConnectionFailed) -> list[Line]:
    place = _place(event.host, event.port)
    lines = [("Warning", f"File Analysis: server {event.server} {place} {_cut(event.reason)}")]
    if event.diagnosis is not None:
        lines.append(
            ("Info", f"File Analysis: {place} TLS diagnosis: {_cut(event.diagnosis.sentence(), 2000)}")
        )
    return lines


ANALYSIS_TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.AnalysisConnected: _connected,
    facts.AnalysisConnectionFailed: _unconnected,
}
"""Each event and the lines that tell it."""
