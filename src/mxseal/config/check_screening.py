"""Rules for the analysis of files in messages."""

from __future__ import annotations

from collections.abc import Iterator

from mxseal.config.model import Document
from mxseal.config.problem import Problem, Rule


def _servers(document: Document) -> Iterator[Problem]:
    known = [each.name for each in document.analysis_servers]
    listed = f"Known are: {', '.join(known)}" if known else "Make one with 'ampconfig new'"
    for name in document.analysis.servers:
        if name not in known:
            yield Problem("analysis.servers", f"there is no analysis server called {name!r}", listed)
    if document.analysis.enabled and not document.analysis.servers:
        text = "files are to be analysed, and no server is named"
        yield Problem("analysis.servers", text, listed)


RULES: tuple[Rule, ...] = (_servers,)
