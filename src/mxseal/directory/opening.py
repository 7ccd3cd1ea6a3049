"""One attempt at one directory server: name, connect, TLS, its certificate, bind. All within one time.

What fails is told as an event with its diagnosis; no password goes to a server whose certificate is not
verified, unless the profile says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.config.model import LdapProfile
from mxseal.directory.attempt import Attempt, Unreached
from mxseal.directory.connection import Connection
from mxseal.directory.trust import Checked, Revoking, check
from mxseal.events.directory import LdapConnected, LdapConnecting, LdapConnectionFailed, LdapStage
from mxseal.events.event import Event
from mxseal.ldap.conversation import Answer
from mxseal.ldap.values import Fault, FaultKind
from mxseal.tls.diagnosis import OurSettings, diagnose_outbound
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.reasons import outbound_reason, verify_reason


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway is to directory servers, by the document in force."""

    context: SSL.Context
    certificate: str | None
    """Name of the client certificate's profile; None: none is offered."""
    trust: tuple[str, ...]
    """Names of the lists of authorities in the context."""
    ours: OurSettings


Overhear = Callable[[Connection, str], asyncio.Protocol]


class Around(msgspec.Struct, kw_only=True):
    """What connections need of the program around them."""

    clock: Clock
    publish: Callable[[Event], None]
    resolve: Callable[[str], Awaitable[tuple[str, ...] | str]]
    """Addresses of a host name, or why there are none."""
    revoking: Callable[[], Revoking | None]
    overhear: Overhear = lambda connection, _profile: connection
    """What stands between a transport and a connection of this profile: a recording, or nothing."""
    detailed: bool = False
    """Whether somebody reads each single question: the log ldap_debug is on."""


class Server(msgspec.Struct, frozen=True):
    """One host of a profile."""

    host: str
    port: int

    @property
    def name(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class _Ended(Exception):
    """The attempt is over; `why` says for which reason, the other facts go into the event."""

    def __init__(self, stage: LdapStage, why: Fault, **facts: Any) -> None:
        super().__init__(why.text)
        self.stage = stage
        self.why = why
        self.facts = facts


class Opening:
    """One attempt."""

    def __init__(
        self,
        around: Around,
        client: Client | None,
        profile: LdapProfile,
        server: Server,
        password: str | None,
    ) -> None:
        """`client` None: the profile has no TLS. `password`: of its bind; None: the store has none."""
        self._around = around
        self._clock = around.clock
        self._client = client
        self._profile = profile
        self._server = server
        self._password = password
        self._attempt = Attempt(self._clock, profile.connect_time)
        self._bind_seconds: float | None = None
        self._address = ""
        self._facts: TlsFacts | None = None
        self._checked: Checked | None = None
        self._connection: Connection | None = None

    async def run(self) -> Connection | Fault:
        """A connection that may be asked, or why there is none; either is told."""
        if self._around.detailed:
            self._tell(LdapConnecting)
        try:
            connection = await self._open()
        except _Ended as ended:
            self._give_up()
            self._tell(
                LdapConnectionFailed,
                stage=ended.stage,
                reason=ended.why.text,
                certificate=self._offered,
                facts=self._brief,
                times=self._attempt.times,
                **ended.facts,
            )
            return ended.why
        except BaseException:
            self._give_up()
            raise
        checked = self._checked
        self._tell(
            LdapConnected,
            address=self._address,
            facts=self._brief,
            verification=checked.verification if checked is not None else None,
            verified=checked is not None and checked.error is None,
            verdict=checked.words if checked is not None else "",
            diagnosis=checked.diagnosis if checked is not None else None,
            certificate=self._offered,
            bind=self._profile.bind,
            times=self._attempt.times,
            bind_seconds=self._bind_seconds,
        )
        return connection

    async def _open(self) -> Connection:
        profile = self._profile
        addresses = await self._addresses()
        connection = await self._connect(addresses)
        if profile.security == "starttls":
            answer = await connection.start_tls(self._attempt.left())
            self._attempt.spend("starttls")
            self._expect(answer, "starttls", "StartTLS")
        if profile.security != "none":
            assert self._client is not None, "a document with TLS has a context for it"
            await self._secure(connection, self._client)
        await self._bind(connection)
        return connection

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.end("lost", "the attempt was given up")

    # --- the stages -----------------------------------------------------------------------------------------

    async def _addresses(self) -> tuple[str, ...]:
        try:
            return await self._attempt.addresses(self._around.resolve, self._server.host)
        except Unreached as why:
            text = f"Server unreachable: DNS lookup failure ({why})"
            raise self._ended("lookup", "unreachable", text) from None

    async def _connect(self, addresses: tuple[str, ...]) -> Connection:
        connection = Connection(self._clock, self._server.name)

        def protocol() -> asyncio.BaseProtocol:
            self._connection = connection
            return self._around.overhear(connection, self._profile.name)

        try:
            self._address = await self._attempt.connect(addresses, self._server.port, protocol)
        except Unreached as why:
            text = f"Server unreachable: unable to connect ({why})"
            raise self._ended("connect", "unreachable", text) from None
        return connection

    async def _secure(self, connection: Connection, client: Client) -> None:
        """The handshake, and whether the profile takes the certificate."""
        host = self._server.host
        facts = await connection.handshake(client.context, host, self._attempt.left())
        self._attempt.spend("handshake")
        if isinstance(facts, TlsFault):
            raise self._tls_failed(facts, client)
        self._facts = facts
        self._checked = checked = check(facts, host, client.trust, self._around.revoking(), self._clock.now())
        if checked.error is not None and self._profile.verify:
            raise self._ended(
                "verification",
                "tls",
                f"TLS failed: {verify_reason(checked.error)}",
                verification=checked.verification,
                diagnosis=checked.diagnosis,
            )

    async def _bind(self, connection: Connection) -> None:
        # What the server has said is heard first: writing to one that has hung up would lose its alert.
        await asyncio.sleep(0)
        profile = self._profile
        if profile.bind == "none":
            if profile.security != "none":
                # RFC 4513 §4: without a bind a session is anonymous. This is sent for its answer: in TLS 1.3
                # a server may turn a client's certificate away after the client's handshake is complete.
                answer = await connection.bind(("", ""), self._attempt.left())
                if isinstance(answer, Fault):
                    self._expect(answer, "bind", "bind")
            return
        if profile.bind == "password" and self._password is None:
            raise self._ended(
                "bind", "bind", "LDAP authentication failed: the profile's password is not known"
            )
        credentials = (profile.bind_name, self._password or "") if profile.bind == "password" else None
        began = self._clock.monotonic()
        answer = await connection.bind(credentials, self._attempt.left())
        self._bind_seconds = self._clock.monotonic() - began
        self._expect(answer, "bind", "bind")

    # --- small steps ----------------------------------------------------------------------------------------

    def _expect(self, answer: Answer | Fault, stage: LdapStage, what: str) -> None:
        """Success, or the end."""
        if isinstance(answer, Fault):
            if (broken := self._turned_away(answer)) is not None and self._client is not None:
                raise self._tls_failed(broken, self._client)
            raise self._ended(stage, answer.kind, f"{what}: {answer.text}")
        if answer.code == 0:
            return
        said = f": {answer.text}" if answer.text else ""
        if stage == "bind":
            text = f'LDAP authentication failed: <LDAP Error "{answer.name}" [0x{answer.code:x}]>{said}'
            raise self._ended(stage, "bind", text)
        raise self._ended(stage, "tls", f"TLS failed: the server refuses StartTLS with {answer.name}{said}")

    def _turned_away(self, answer: Fault) -> TlsFault | None:
        """What broke the connection between the handshake and the first answer: in TLS 1.3 a server says no
        to a client's certificate then, some with an alert and some by hanging up."""
        if self._facts is None or self._connection is None or answer.kind != "lost":
            return None
        fault = self._connection.tls_fault
        if fault is not None and fault.alert is not None:
            return fault
        return TlsFault(kind="peer-gone", during="transfer", peer_certificates=self._facts.peer_certificates)

    def _tls_failed(self, fault: TlsFault, client: Client) -> _Ended:
        """With the diagnosis that mail servers get."""
        host, times = self._server.host, self._attempt.times
        diagnosis = diagnose_outbound(fault, host=host, ours=client.ours, times=times)
        text = f"TLS failed: {outbound_reason(fault)}"
        return self._ended("handshake", "tls", text, fault=fault, diagnosis=diagnosis)

    def _ended(self, stage: LdapStage, kind: FaultKind, text: str, **facts: Any) -> _Ended:
        return _Ended(stage, Fault(kind=kind, text=text, host=self._server.name), **facts)

    @property
    def _offered(self) -> str | None:
        return self._client.certificate if self._client and self._profile.security != "none" else None

    @property
    def _brief(self) -> TlsFacts | None:
        return self._facts.brief() if self._facts is not None else None

    def _tell(self, kind: Callable[..., Event], **facts: Any) -> None:
        self._around.publish(
            kind(
                at=self._clock.now(),
                profile=self._profile.name,
                host=self._server.host,
                port=self._server.port,
                security=self._profile.security,
                **facts,
            )
        )
