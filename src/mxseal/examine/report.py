"""What a test of mail servers has found, as frozen values. PURE."""

from __future__ import annotations

from typing import Literal

import msgspec

from mxseal.certs.facts import Problem
from mxseal.tls.survey import Survey

StageName = Literal["Answer", "Connect", "HELO", "TLS", "Cert", "Secure", "From", "Refused"]
STAGES: tuple[StageName, ...] = ("Answer", "Connect", "HELO", "TLS", "Cert", "Secure", "From")
"""Reference §11.1."""
CLEAR_STAGES: tuple[StageName, ...] = ("Answer", "Connect", "HELO", "From", "Refused")
"""Those of the test that clear text is refused. From: the server answered MAIL; Refused: it demands TLS."""

State = Literal["ok", "fail", "untested"]
Verdict = Literal["secure", "encrypted", "tls-broken", "no-tls", "unreachable", "untested"]
"""no-tls is said only of a server that was heard to have none; who could not be asked is untested."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the table. `why` is a sentence where the state is not ok."""

    name: StageName
    state: State
    seconds: float | None = None
    why: str = ""
    remedy: str = ""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the dialogue. `mark`: --> and <-- in clear, ~~> and <~~ under TLS; empty for a remark."""

    at: float
    """Seconds since the test of this server began."""
    mark: str
    text: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate as the server sent it. Times in seconds since the epoch."""

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    not_before: float = 0.0
    not_after: float = 0.0
    key: str = ""
    fingerprint: str = ""
    problem: str = ""
    """Why it does not count, empty when it does."""


class CertificateReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found about the certificate and its chain."""

    links: tuple[Link, ...] = ()
    validated: bool = False
    """The chain ends in a trusted authority, in date."""
    reason: str = ""
    """OpenSSL's words why it is not validated."""
    wanted: str = ""
    """The name that the certificate should carry: the MX record's."""
    matched: str | None = None
    """The name in the certificate that fits it."""
    nearest: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return self.links[0].names if self.links else ()

    @property
    def good(self) -> bool:
        return self.validated and self.matched is not None


class Term(msgspec.Struct, frozen=True):
    """One summand of a score."""

    points: int
    why: str


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """0 to 100, None where nothing could be tested; 90 and more count as secure (reference §11.1)."""

    value: int | None
    terms: tuple[Term, ...] = ()

    def arithmetic(self) -> str:
        """'100 (TLSv1.3) - 25 (…) = 75'."""
        if self.value is None:
            return self.terms[0].why if self.terms else ""
        first, *rest = self.terms
        words = [f"{first.points} ({first.why})"]
        words += [f"{'-' if term.points < 0 else '+'} {abs(term.points)} ({term.why})" for term in rest]
        return f"{' '.join(words)} = {self.value}"


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """One server."""

    host: str
    port: int = 25
    preference: int | None = None
    address: str = ""
    local_address: str = ""
    stages: tuple[Stage, ...] = ()
    verdict: Verdict = "untested"
    protocol: str = ""
    cipher: str = ""
    group: str = ""
    certificate: CertificateReport | None = None
    survey: Survey | None = None
    score: Score = Score(value=None)
    dialogue: tuple[Said, ...] = ()
    connections: int = 0
    """How many were opened."""

    def stage(self, name: StageName) -> Stage | None:
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def trouble(self) -> Stage | None:
        """The first stage that has something to say."""
        return next((stage for stage in self.stages if stage.why), None)


class NameRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the rule for one's own domain (reference §11.3)."""

    mx: str
    interface: str
    certificate: tuple[str, ...]
    agree: bool
    change: str = ""
    """What to change, empty when all agree."""


class DomainReport(msgspec.Struct, frozen=True, kw_only=True):
    """All servers of a domain, or one that was named."""

    subject: str
    """The domain, or the host that was named."""
    at: float
    """Seconds since the epoch."""
    kind: Literal["receiver", "assure"] = "receiver"
    hosts: tuple[HostReport, ...] = ()
    score: Score = Score(value=None)
    own: tuple[NameRow, ...] = ()

    @property
    def connections(self) -> int:
        return sum(host.connections for host in self.hosts)
