"""Lines about the analysis of files: for the log `amp` those of reference §10.1, and what the mail log tells.

The names of servers are not in the reference's lines, which know one; the JSON log has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import screening as facts
from mxseal.events.event import Event

Line = tuple[str, str]
"""(level, text)."""
_LONGEST = 1000
_NUMBERS = {"clean": 1, "unknown": 2, "malicious": 3}
"""Dispositions as the lines about finished analyses have them."""


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


# --- the log amp (reference §10.1) ------------------------------------------------------------------------


def _info(text: str) -> Line:
    return "Info", text


def _asked(event: facts.FileAsked) -> list[Line]:
    about = f"File Size = {event.size} bytes, File Type = {event.media_type}"
    name = _cut(event.name)
    return [_info(f"File reputation query initiating. File Name = '{name}', MID = {event.mid}, {about}")]


def _response(event: facts.FileAnswered | facts.FileSubmitted, upload: int) -> Line:
    word, threat, score = "unknown", "", 0
    if isinstance(event, facts.FileAnswered):
        word, threat, score = event.disposition, event.threat, event.score or 0
    file = f"File Name = '{_cut(event.name)}', MID = {event.mid}"
    found = f"Disposition = {word.upper()}, Malware = {_cut(threat or 'None', 200)}"
    # Two blanks stand before the score in the reference.
    rest = f"Reputation Score = {score}, sha256 = {event.sha256}, upload_action = {upload}"
    return _info(f"Response received for file reputation query from Cloud. {file}, {found},  {rest}")


def _answered(event: facts.FileAnswered) -> list[Line]:
    return [_response(event, 0)]


def _submitted(event: facts.FileSubmitted) -> list[Line]:
    uploaded = f"File uploaded for analysis. SHA256: {event.sha256}, file name: {_cut(event.name)}"
    return [_response(event, 1), _info(uploaded)]


def _analysed(event: facts.FileAnalysed) -> list[Line]:
    times = f"Submit Timestamp: {int(event.submitted)}, Update Timestamp: {int(event.at)}"
    found = f"Disposition: {_NUMBERS[event.disposition]} Score: {event.score or 0}"
    rest = f"run_id: {_cut(event.reference, 200)} Details: {_cut(event.threat or 'None', 200)}"
    return [_info(f"File Analysis complete. SHA256: {event.sha256}, {times}, {found}, {rest}")]


def _unanswered(event: facts.FileUnanswered) -> list[Line]:
    reason = f"{event.server}: {event.fault}: {_cut(event.reason)}"
    return [("Warning", f"SHA256: {event.sha256},Timestamp[{int(event.at)}] details[{reason}]")]


def _passed(event: facts.FilePassed) -> list[Line]:
    file = f"MID = {event.mid} File SHA256[{event.sha256}] file mime[{event.media_type}]"
    return [_info(f"File not uploaded for analysis. {file} Reason: {_cut(event.reason)}")]


# --- both logs: ours, the reference shows no such lines ---------------------------------------------------


def _held(event: facts.MessageHeld) -> list[Line]:
    why = f"{event.word}, {_cut(event.reason)}" if event.reason else event.word
    seconds = max(0, round(event.until - event.at))
    return [
        ("Info", f"MID {event.mid} held for the verdict on '{_cut(event.name)}' ({why}), {seconds} s at most")
    ]


def _screened(event: facts.MessageScreened) -> list[Line]:
    about = [f"file '{_cut(event.name)}'"] if event.name else []
    about += [f"SHA256 {event.sha256}"] if event.sha256 else []
    about += [f"malware {_cut(event.threat, 200)}"] if event.threat else []
    about += [f"score {event.score}"] if event.score is not None else []
    about += [f"by {event.server}"] if event.server else []
    about += [_cut(event.reason)] if event.reason else []
    late = ", time for a verdict over" if event.late else ""
    verdict = f"MID {event.mid} AMP file reputation verdict : {event.word.upper()}"
    level = "Info" if event.word in ("clean", "unknown") else "Warning"
    return [(level, f"{verdict} ({', '.join(about)}){late}, action {event.action}")]


def _released(event: facts.QuarantineReleased) -> list[Line]:
    return [("Info", f"MID {event.mid} released from quarantine by {_cut(event.user, 100)}")]


def _deleted(event: facts.QuarantineDeleted) -> list[Line]:
    by = f" by {_cut(event.user, 100)}" if event.user else ""
    return [("Info", f"MID {event.mid} deleted from quarantine{by}: {_cut(event.reason)}")]


def _trouble(event: facts.AnalysisTrouble) -> list[Line]:
    failed = f"{event.failures} questions in a row have failed, the last: {event.fault}: {_cut(event.reason)}"
    return [("Warning", f"Analysis server {event.server}: {failed}")]


def _works(event: facts.AnalysisWorks) -> list[Line]:
    return [("Info", f"Analysis server {event.server} answers again")]


AMP_MAIL_TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.MessageHeld: _held,
    facts.MessageScreened: _screened,
    facts.QuarantineReleased: _released,
    facts.QuarantineDeleted: _deleted,
    facts.AnalysisTrouble: _trouble,
    facts.AnalysisWorks: _works,
}
"""What the mail log tells."""
TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.FileAsked: _asked,
    facts.FileAnswered: _answered,
    facts.FileSubmitted: _submitted,
    facts.FileAnalysed: _analysed,
    facts.FileUnanswered: _unanswered,
    facts.FilePassed: _passed,
    **AMP_MAIL_TABLE,
}
"""Each event and the lines that tell it."""
AMP_MAIL_SILENT: frozenset[type[Event]] = frozenset(
    (
        facts.FileAsked,
        facts.FileAnswered,
        facts.FileSubmitted,
        facts.FileAnalysed,
        facts.FileUnanswered,
        facts.FilePassed,
    )
)
"""What only the log amp tells."""
