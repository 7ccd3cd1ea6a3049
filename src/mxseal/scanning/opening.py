"""One attempt at an analysis server: name, connect, TLS, its certificate. All within one time.

What fails is told as an event with its diagnosis; no file and no key goes to a server whose certificate is
not verified, unless the document says so. What works is told behind the first answer: in TLS 1.3 a server
may turn a client's certificate away when the client's handshake is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from mxseal.analysis.values import AnalysisFault, FaultKind
from mxseal.clock import Clock
from mxseal.config.model import AnalysisServer
from mxseal.directory.attempt import Attempt, Unreached
from mxseal.directory.opening import Client
from mxseal.directory.trust import Checked, Revoking, check
from mxseal.events.event import Event
from mxseal.events.scanning import AnalysisConnected, AnalysisConnectionFailed, AnalysisStage
from mxseal.scanning.connection import Connection
from mxseal.tls.diagnosis import diagnose_outbound
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.reasons import outbound_reason, verify_reason

Overhear = Callable[[Connection, str], asyncio.Protocol]


class Around(msgspec.Struct, kw_only=True):
    """What connections need of the program around them."""

    clock: Clock
    publish: Callable[[Event], None]
    resolve: Callable[[str], Awaitable[tuple[str, ...] | str]]
    """Addresses of a host name, or why there are none."""
    revoking: Callable[[], Revoking | None]
    overhear: Overhear = lambda connection, _server: connection
    """What stands between a transport and a connection to this server: a recording, or nothing."""


class _Ended(Exception):
    """The attempt is over; `why` says for which reason, the other facts go into the event."""

    def __init__(self, stage: AnalysisStage, why: AnalysisFault, **facts: Any) -> None:
        super().__init__(why.text)
        self.stage = stage
        self.why = why
        self.facts = facts


class Opening:
    """One attempt, and what it is worth once the first answer is there."""

    def __init__(self, around: Around, client: Client | None, spec: AnalysisServer) -> None:
        """`client` None: the server is asked without TLS."""
        self._around = around
        self._clock = around.clock
        self._client = client
        self._spec = spec
        self._attempt = Attempt(self._clock, spec.connect_time)
        self._asked_at = 0.0
        self._address = ""
        self._facts: TlsFacts | None = None
        self._checked: Checked | None = None
        self._connection: Connection | None = None

    async def run(self) -> Connection | AnalysisFault:
        """A connection that may be asked; or why there is none, which is told."""
        try:
            connection = await self._connect(await self._addresses())
            if self._client is not None:
                await self._secure(connection, self._client)
        except _Ended as ended:
            self._give_up()
            self._tell_failed(ended)
            return ended.why
        except BaseException:
            self._give_up()
            raise
        self._asked_at = self._clock.monotonic()
        return connection

    def proved(self) -> None:
        """The first answer came: tell that it works."""
        checked = self._checked
        self._tell(
            AnalysisConnected,
            address=self._address,
            facts=self._brief,
            verification=checked.verification if checked is not None else None,
            verified=checked is not None and checked.error is None,
            verdict=_words(checked) if checked is not None else "",
            diagnosis=checked.diagnosis if checked is not None else None,
            certificate=self._offered,
            times=self._attempt.times,
            answer_seconds=self._clock.monotonic() - self._asked_at,
        )

    def turned_away(self, fault: AnalysisFault) -> AnalysisFault:
        """The first question has no answer: tell why. In TLS 1.3 a server says no to a client's certificate
        then, some with an alert and some by hanging up."""
        connection, client = self._connection, self._client
        broken = connection.tls_fault if connection is not None else None
        hung_up = fault.kind == "unreachable" and connection is not None and not connection.heard
        if client is not None and self._facts is not None and (hung_up or fault.kind == "tls"):
            if broken is None or (hung_up and broken.alert is None):
                chain = self._facts.peer_certificates
                broken = TlsFault(kind="peer-gone", during="transfer", peer_certificates=chain)
            ended = self._tls_failed(broken, client)
        else:
            ended = _Ended("answer", fault)
        self._tell_failed(ended)
        return ended.why

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.end("unreachable", "the attempt was given up")

    # --- the stages -----------------------------------------------------------------------------------------

    async def _addresses(self) -> tuple[str, ...]:
        try:
            return await self._attempt.addresses(self._around.resolve, self._spec.host)
        except Unreached as why:
            text = f"server unreachable: DNS lookup failure ({why})"
            raise self._ended("lookup", "unreachable", text) from None

    async def _connect(self, addresses: tuple[str, ...]) -> Connection:
        connection = Connection(self._clock, self._spec.name)

        def protocol() -> asyncio.BaseProtocol:
            self._connection = connection
            return self._around.overhear(connection, self._spec.name)

        try:
            self._address = await self._attempt.connect(addresses, self._spec.at, protocol)
        except Unreached as why:
            text = f"server unreachable: unable to connect ({why})"
            raise self._ended("connect", "unreachable", text) from None
        return connection

    async def _secure(self, connection: Connection, client: Client) -> None:
        """The handshake, and whether the document takes the certificate."""
        host = self._spec.host
        facts = await connection.handshake(client.context, host, self._attempt.left())
        self._attempt.spend("handshake")
        if isinstance(facts, TlsFault):
            raise self._tls_failed(facts, client)
        self._facts = facts
        self._checked = checked = check(facts, host, client.trust, self._around.revoking(), self._clock.now())
        if checked.error is not None and self._spec.verify:
            raise self._ended(
                "verification",
                "tls",
                f"TLS failed: {verify_reason(checked.error)}",
                verification=checked.verification,
                diagnosis=checked.diagnosis,
            )

    # --- small steps ----------------------------------------------------------------------------------------

    def _tls_failed(self, fault: TlsFault, client: Client) -> _Ended:
        """With the diagnosis that mail servers get."""
        times = self._attempt.times
        diagnosis = diagnose_outbound(fault, host=self._spec.host, ours=client.ours, times=times)
        text = f"TLS failed: {outbound_reason(fault)}"
        return self._ended("handshake", "tls", text, fault=fault, diagnosis=diagnosis)

    def _ended(self, stage: AnalysisStage, kind: FaultKind, text: str, **facts: Any) -> _Ended:
        return _Ended(stage, AnalysisFault(kind=kind, text=text, server=self._spec.name), **facts)

    @property
    def _offered(self) -> str | None:
        return self._client.certificate if self._client is not None else None

    @property
    def _brief(self) -> TlsFacts | None:
        return self._facts.brief() if self._facts is not None else None

    def _tell_failed(self, ended: _Ended) -> None:
        self._tell(
            AnalysisConnectionFailed,
            stage=ended.stage,
            reason=ended.why.text,
            certificate=self._offered,
            facts=self._brief,
            times=self._attempt.times,
            **ended.facts,
        )

    def _tell(self, kind: Callable[..., Event], **facts: Any) -> None:
        spec = self._spec
        self._around.publish(
            kind(
                at=self._clock.now(),
                server=spec.name,
                protocol=spec.kind,
                host=spec.host,
                port=spec.at,
                security=spec.security,
                **facts,
            )
        )


def _words(checked: Checked) -> str:
    """The verdict on a certificate, for a log line."""
    if checked.error is not None:
        return f"not verified: {checked.error}"
    name = checked.verification.hosted
    place = "the subject alternative name" if name.source == "san" else "the common name"
    return f"verified, {name.name} ({place}) matches the host"
