"""What a document says about the analysis of files, for those who do it."""

from __future__ import annotations

from collections.abc import Mapping

from mxseal.analysis.decision import Policy
from mxseal.analysis.values import Analyser
from mxseal.config.model import Document
from mxseal.mail.attachments import Bounds
from mxseal.relay.screening import Screen


def screen(document: Document, analysers: Mapping[str, Analyser]) -> Screen | None:
    """None: nothing is analysed. `analysers`: by the names of their servers."""
    says = document.analysis
    if not says.enabled:
        return None
    return Screen(
        bounds=Bounds(types=says.types, max_size=says.max_size),
        policy=Policy(
            malicious=says.malicious,
            unknown=says.unknown,
            unscannable=says.unscannable,
            pending=says.pending,
            fault=says.fault,
            late=says.late,
            hold_time=says.hold_time,
            threshold=says.threshold,
        ),
        analysers=tuple((name, analysers[name]) for name in says.servers if name in analysers),
        header=says.header,
        questions=says.questions,
    )
