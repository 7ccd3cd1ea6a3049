"""Facts about the analysis of files in messages, and about the quarantine."""

from __future__ import annotations

from mxseal.analysis.decision import Next, Word
from mxseal.analysis.values import Disposition, FaultKind
from mxseal.events.event import Event

__all__ = [
    "AnalysisTrouble",
    "AnalysisWorks",
    "FileAnalysed",
    "FileAnswered",
    "FileAsked",
    "FilePassed",
    "FileSubmitted",
    "FileUnanswered",
    "MessageHeld",
    "MessageScreened",
    "QuarantineDeleted",
    "QuarantineReleased",
]


class FileAsked(Event, frozen=True, kw_only=True, tag=True):
    """An analysis server is asked about a file of a message."""

    mid: int
    name: str
    media_type: str
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file."""
    server: str


class FileAnswered(Event, frozen=True, kw_only=True, tag=True):
    """A server knew a file, or scanned it at once."""

    mid: int
    name: str
    sha256: str
    """Of the file."""
    server: str
    disposition: Disposition
    score: int | None
    threat: str
    reference: str
    seconds: float


class FileSubmitted(Event, frozen=True, kw_only=True, tag=True):
    """A server did not know a file and has it now; it is asked for its verdict later."""

    mid: int
    name: str
    sha256: str
    """Of the file."""
    server: str
    reference: str


class FileAnalysed(Event, frozen=True, kw_only=True, tag=True):
    """A server has finished with a file that it was given."""

    mid: int
    name: str
    sha256: str
    """Of the file."""
    server: str
    disposition: Disposition
    score: int | None
    threat: str
    reference: str
    submitted: float
    """When the server got it: seconds since the epoch."""


class FileUnanswered(Event, frozen=True, kw_only=True, tag=True):
    """A server gave no answer about a file."""

    mid: int
    name: str
    sha256: str
    """Of the file."""
    server: str
    fault: FaultKind
    """The sort of trouble."""
    reason: str


class FilePassed(Event, frozen=True, kw_only=True, tag=True):
    """A file, or a part of a message, that no server is asked about."""

    mid: int
    name: str
    media_type: str
    sha256: str
    """Of the file; empty: it could not be taken out of the message."""
    reason: str


class MessageHeld(Event, frozen=True, kw_only=True, tag=True):
    """A message waits for the verdict on a file. Told once."""

    mid: int
    word: Word
    name: str
    sha256: str
    """Of the file."""
    server: str
    reason: str
    until: float
    """When it goes on without a verdict: seconds since the epoch."""


class MessageScreened(Event, frozen=True, kw_only=True, tag=True):
    """What becomes of a message by the analysis of its files."""

    mid: int
    rids: tuple[int, ...]
    action: Next
    word: Word
    name: str
    """Of the file that decided."""
    sha256: str
    """Of the file."""
    score: int | None
    threat: str
    server: str
    reason: str
    late: bool
    """The time for a verdict was over."""


class QuarantineReleased(Event, frozen=True, kw_only=True, tag=True):
    """A message went from the quarantine into the queue."""

    mid: int
    rids: tuple[int, ...]
    user: str


class QuarantineDeleted(Event, frozen=True, kw_only=True, tag=True):
    """A message in quarantine was deleted."""

    mid: int
    rids: tuple[int, ...]
    user: str
    """Empty: nobody, it was too old, or there was no room."""
    reason: str


class AnalysisTrouble(Event, frozen=True, kw_only=True, tag=True):
    """An analysis server fails again and again."""

    server: str
    fault: FaultKind
    """The sort of trouble."""
    reason: str
    failures: int
    """In a row, in one worker."""


class AnalysisWorks(Event, frozen=True, kw_only=True, tag=True):
    """An analysis server that had failed again and again answers."""

    server: str
