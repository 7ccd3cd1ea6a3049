"""What becomes of a message by what is known of its files: a table, and the strictest row counts. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from mxseal.analysis.values import AnalysisFault, Pending, Verdict

Word = Literal["clean", "malicious", "unknown", "unscannable", "pending", "fault"]
"""What is known of a file; of all files of a message the one that decided."""
Action = Literal["deliver", "quarantine", "drop"]
Next = Literal["deliver", "hold", "quarantine", "drop"]
_STRICT: tuple[Next, ...] = ("deliver", "hold", "quarantine", "drop")
_GRAVE: tuple[Word, ...] = ("clean", "unknown", "unscannable", "pending", "fault", "malicious")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says."""

    malicious: Action = "quarantine"
    unknown: Action = "deliver"
    unscannable: Action = "deliver"
    pending: Next = "hold"
    fault: Next = "hold"
    late: Action = "deliver"
    """When hold_time is over without a verdict."""
    hold_time: float = 900.0
    """Seconds from a message's arrival."""
    threshold: int = 95
    """A score from here on is malicious, whatever the server calls it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file."""

    word: Word
    name: str
    sha256: str = ""
    score: int | None = None
    threat: str = ""
    server: str = ""
    reason: str = ""
    """Why there is no verdict."""


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a message now."""

    action: Next
    finding: Finding | None
    """The one that decided; None: the message carries nothing that is analysed."""
    late: bool = False
    """The time for a verdict is over."""


def finding(
    name: str, sha256: str, answers: Iterable[Verdict | Pending | AnalysisFault], policy: Policy
) -> Finding:
    """What all servers together say of a file: the gravest counts, but one that knows it to be clean stands
    above one that does not know it."""
    found: Finding | None = None
    clean: Finding | None = None
    for answer in answers:
        each = _finding(name, sha256, answer, policy)
        if each.word == "clean":
            clean = each
        if found is None or _GRAVE.index(each.word) > _GRAVE.index(found.word):
            found = each
    if found is None:
        return Finding(word="fault", name=name, sha256=sha256, reason="no server was asked")
    return clean if clean is not None and found.word == "unknown" else found


def _finding(name: str, sha256: str, answer: Verdict | Pending | AnalysisFault, policy: Policy) -> Finding:
    if isinstance(answer, AnalysisFault):
        return Finding(
            word="fault",
            name=name,
            sha256=sha256,
            server=answer.server,
            reason=f"{answer.kind}: {answer.text}",
        )
    if isinstance(answer, Pending):
        reason = f"sample {answer.reference} is being analysed"
        return Finding(word="pending", name=name, sha256=sha256, server=answer.server, reason=reason)
    word: Word = answer.disposition
    if answer.score is not None and answer.score >= policy.threshold:
        word = "malicious"
    return Finding(
        word=word, name=name, sha256=sha256, score=answer.score, threat=answer.threat, server=answer.server
    )


def decide(findings: Sequence[Finding], policy: Policy, waited: float) -> Decision:
    """`waited`: seconds since the message came. A hold is given up for `late` once they are hold_time."""
    chosen = Decision("deliver", None)
    rank = (-1, -1)
    for each in findings:
        action = _action(each.word, policy)
        late = action == "hold" and waited >= policy.hold_time
        became: Next = policy.late if late else action
        weight = (_STRICT.index(became), _GRAVE.index(each.word))
        if weight > rank:
            chosen, rank = Decision(became, each, late), weight
    return chosen


def _action(word: Word, policy: Policy) -> Next:
    actions: dict[Word, Next] = {
        "clean": "deliver",
        "unknown": policy.unknown,
        "unscannable": policy.unscannable,
        "pending": policy.pending,
        "fault": policy.fault,
        "malicious": policy.malicious,
    }
    return actions[word]
