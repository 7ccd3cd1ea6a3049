"""Facts about connections to servers that analyse files."""

from __future__ import annotations

from typing import Literal

from mxseal.events.event import Event
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.verification import Verification

__all__ = ["AnalysisConnected", "AnalysisConnectionFailed"]

AnalysisStage = Literal["lookup", "connect", "handshake", "verification", "answer"]


# --- analysis servers -------------------------------------------------------------------------------------


class AnalysisConnected(Event, frozen=True, kw_only=True, tag=True):
    """A connection to an analysis server stands: TLS is as it has to be, and a first question is answered."""

    server: str
    """Its name in the configuration."""
    protocol: str
    """threatgrid, icap."""
    host: str
    port: int
    address: str
    """The one that was connected to."""
    security: str
    """tls, none."""
    facts: TlsFacts | None = None
    """null: without TLS."""
    verification: Verification | None = None
    verified: bool = False
    verdict: str = ""
    """About the server's certificate, in words."""
    diagnosis: Diagnosis | None = None
    """What is wrong with the certificate, where it is not verified."""
    certificate: str | None = None
    """The profile of the client certificate that was offered."""
    times: StageTimes
    answer_seconds: float
    """How long the first answer took."""


class AnalysisConnectionFailed(Event, frozen=True, kw_only=True, tag=True):
    """No connection to an analysis server came about. It is not asked again for a while."""

    server: str
    """Its name in the configuration."""
    protocol: str
    """threatgrid, icap."""
    host: str
    port: int
    security: str
    stage: AnalysisStage
    """How far it came."""
    reason: str
    """As the log has it."""
    fault: TlsFault | None = None
    facts: TlsFacts | None = None
    """Where the handshake was complete."""
    verification: Verification | None = None
    diagnosis: Diagnosis | None = None
    certificate: str | None = None
    """The profile of the client certificate that was offered."""
    times: StageTimes
