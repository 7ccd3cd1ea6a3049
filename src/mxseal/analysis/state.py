"""What is known of a message's files between two looks at it, as it lies on the spool; what is told of a
message in quarantine; and the header field that tells the result. PURE."""

from __future__ import annotations

import msgspec

from mxseal.analysis.decision import Decision, Finding, Word
from mxseal.analysis.values import Disposition, Item, Pending, Verdict

_MOST_TEXT = 200


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one server said of a file."""

    server: str
    disposition: Disposition | None = None
    """None: it has not finished."""
    score: int | None = None
    threat: str = ""
    reference: str = ""
    at: float = 0.0
    """When the file was submitted."""

    def value(self, sha256: str) -> Verdict | Pending:
        if self.disposition is None:
            return Pending(self.server, self.reference, sha256)
        return Verdict(self.disposition, self.score, self.threat, self.server, self.reference)


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file of a message."""

    name: str
    media_type: str
    size: int
    sha256: str
    answers: tuple[Answer, ...] = ()

    def answer(self, server: str) -> Answer | None:
        return next((each for each in self.answers if each.server == server), None)

    def with_answer(self, answer: Answer) -> File:
        others = tuple(each for each in self.answers if each.server != answer.server)
        return msgspec.structs.replace(self, answers=(*others, answer))


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a whole message."""

    files: tuple[File, ...] = ()
    unfit: tuple[tuple[str, str], ...] = ()
    """(name, reason) of what no server can be asked about."""
    looks: int = 0
    """How often servers were asked."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Why a message is in quarantine."""

    word: Word
    name: str
    sha256: str = ""
    score: int | None = None
    threat: str = ""
    server: str = ""
    reason: str = ""
    late: bool = False


def file_of(item: Item) -> File:
    return File(item.name, item.media_type, item.size, item.sha256)


def answer_of(found: Verdict | Pending, at: float) -> Answer:
    """`at`: now."""
    if isinstance(found, Pending):
        return Answer(found.server, reference=found.reference[:_MOST_TEXT], at=at)
    threat, reference = found.threat[:_MOST_TEXT], found.reference[:_MOST_TEXT]
    return Answer(found.server, found.disposition, found.score, threat, reference, at)


def unfit_findings(state: State) -> list[Finding]:
    return [Finding(word="unscannable", name=name, reason=reason) for name, reason in state.unfit]


def encode(state: State) -> str:
    return msgspec.json.encode(state).decode()


def decode(text: str) -> State | None:
    """None: nothing is known yet, or it can't be read: then the message is looked at anew."""
    try:
        return msgspec.json.decode(text, type=State) if text else None
    except (msgspec.DecodeError, msgspec.ValidationError):
        return None


def report(decision: Decision) -> Report:
    found = decision.finding or Finding(word="unknown", name="")
    return Report(
        word=found.word,
        name=found.name,
        sha256=found.sha256,
        score=found.score,
        threat=found.threat,
        server=found.server,
        reason=found.reason,
        late=decision.late,
    )


def read_report(text: str) -> Report:
    """Of `report`, as JSON; one that can't be read tells so."""
    try:
        return msgspec.json.decode(text, type=Report)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Report(word="unknown", name="", reason="what was known of it can't be read any more")


def header(name: str, decision: Decision, files: int) -> str:
    """The field, with its line ends; "" where nothing was analysed. All of it is ASCII: what strangers chose
    is quoted."""
    if decision.finding is None:
        return f"{name}: clean; files={files}\r\n" if files else ""
    found = decision.finding
    told = [f"{found.word}", f"files={files}"]
    told += [f"file={_quoted(found.name)}"] if found.name else []
    told += [f"sha256={found.sha256}"] if found.sha256 else []
    told += [f"score={found.score}"] if found.score is not None else []
    told += [f"threat={_quoted(found.threat)}"] if found.threat else []
    told += [f"server={_quoted(found.server)}"] if found.server else []
    told += [f"reason={_quoted(found.reason)}"] if found.reason else []
    told += ["late=yes"] if decision.late else []
    return f"{name}: " + ";\r\n\t".join(told) + "\r\n"


def _quoted(text: str) -> str:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\\\' else "?" for c in text)
    return f'"{plain[:_MOST_TEXT]}"'
