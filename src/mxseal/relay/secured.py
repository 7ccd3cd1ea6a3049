"""The half of an incoming connection that knows about TLS: the handshake, who the client is, what fails."""

from __future__ import annotations

import time

from mxseal.config.model import Listener
from mxseal.events import types as facts
from mxseal.relay.access import Judgement
from mxseal.relay.clients import examine, explain, why_unverified
from mxseal.relay.intake import Gate, Intake, Reception, Silent
from mxseal.relay.overhearing import Overheard
from mxseal.relay.pace import BARREN, Paced
from mxseal.relay.resolver import ClientName
from mxseal.smtp import replies
from mxseal.smtp.server import Server
from mxseal.smtp.wire import Reply
from mxseal.tls.client_identity import ClientIdentity
from mxseal.tls.engine import Engine
from mxseal.tls.facts import StageTimes, TlsFacts, TlsFault
from mxseal.tls.verification import ClientCheck


class Secured(Paced):
    """What the other half, the dialogue, has to do stands at the end."""

    def __init__(self, intake: Intake, gate: Gate, reception: Reception) -> None:
        super().__init__(intake.fairness)
        self._intake = intake
        self._gate = gate
        self._reception = reception
        self._listener: Listener = reception.listener
        self._limits = reception.listener.limits
        self.icid = 0
        self._core: Server | None = None
        self._engine: Engine | None = None
        self.tape: Overheard | None = None
        """Set while the connection is recorded."""
        self._judgement: Judgement | None = None
        self.client = ClientName(None, verified=False)
        self.facts: TlsFacts | None = None
        self.certificate: ClientIdentity | None = None
        self.identity: str | None = None
        """What the client's certificate says, and who it is, which is set when that was verified."""
        self._closing = self._tls_counted = False
        self._handshake_began = 0.0
        self._handshake_until: float | None = None

    def _no_tls_now(self) -> Reply | None:
        """The reply to a client whose TLS can't begin now."""
        if self._gate.tls_sessions >= self._limits.tls_sessions:
            return replies.TOO_MANY_TLS_SESSIONS
        if self._trusted or isinstance(self._intake, Silent):
            return None
        if self._fairness.in_credit(self.address, time.monotonic()):
            return None
        now = self._intake.clock.monotonic()
        return (
            None
            if self._gate.may_shake(self._limits.handshakes_per_second, now)
            else (replies.TOO_MANY_HANDSHAKES)
        )

    def _begin_tls(self) -> None:
        asks = self._judgement is not None and self._judgement.asks_certificate
        self._engine = Engine(self._reception.context, server_side=True, ask_certificate=asks)
        if self.tape is not None:
            self.tape.secure(self._engine)
        self._gate.enter_tls()
        self._tls_counted = True
        self._handshake_began = self._intake.clock.monotonic()
        self._handshake_until = self._handshake_began + self._limits.handshake_time
        self._arm(self._limits.handshake_time)

    def _decrypt(self, engine: Engine, data: bytes) -> bytes:
        before = engine.established
        plain = self._decrypted(engine, data)
        if answer := engine.output():
            self._transport.write(answer)
        if engine.fault is not None:
            self._tls_failed(engine)
            return b""
        if engine.established and not before:
            self._tls_established(engine)
        elif self._barren > BARREN:
            self._tell_refused(replies.BARREN_TLS)
            self._close()
        if engine.closed and not self._closing:
            self._transport.close()
        return plain

    def _tls_established(self, engine: Engine) -> None:
        assert self._core is not None
        assert self._judgement is not None
        self._handshake_until = None
        self._arm(self._limits.idle_time)
        self.facts, revocation = self._intake.checked(engine.facts())
        found = check = None
        if self._judgement.asks_certificate:
            found = examine(self._reception, self.address, self.client.confirmed, self.facts, revocation)
            self.certificate, self.identity, check = found.certificate, found.identity, found.check
            if found.fault is not None:
                self._tell_tls_failed(found.fault, check)
                self._turn_away(self._core, found.reply)
                return
        self._tell_tls_succeeded(self.facts, check)
        if found is not None and found.judgement is not self._judgement:
            if not self._judged(found.judgement):
                return
            self._core.configure(self._reception.settings(found.judgement))
        self._core.tls_started()
        if self._listener.implicit_tls:
            self._core.say(replies.banner(self._reception.hostname))
            self._flush()

    def _tls_failed(self, engine: Engine) -> None:
        """Told once; the connection ends with it (RFC 3207 §4.1: there is no way back to clear text)."""
        fault = engine.fault
        if fault is None or self._closing:
            return
        if fault.during == "handshake" or fault.alert is not None:
            self._tell_tls_failed(fault)
        self._close()

    def _tell_tls_succeeded(self, found: TlsFacts, check: ClientCheck | None) -> None:
        self._intake.publish(
            facts.InboundTlsSucceeded,
            icid=self.icid,
            facts=found.brief(),
            check=check,
            diagnosis=why_unverified(found, check, self._intake.clock.now()),
            times=self._spent(),
        )

    def _spent(self) -> StageTimes:
        return StageTimes(handshake=self._intake.clock.monotonic() - self._handshake_began)

    def _tell_tls_failed(self, fault: TlsFault, check: ClientCheck | None = None) -> None:
        times = self._spent() if fault.during == "handshake" else None
        found = explain(fault, self._reception.ours, self._intake.clock.now(), times, check)
        publish, told = self._intake.publish, facts.InboundTlsFailed
        publish(told, icid=self.icid, fault=fault, diagnosis=found, times=times, check=check)

    # --- the dialogue's part --------------------------------------------------------------------------------

    def _judged(self, judgement: Judgement) -> bool:
        """Take over a group and its policy; False when that ends the connection."""
        raise AssertionError(judgement)

    def _turn_away(self, core: Server, reply: Reply) -> None:
        """The client's certificate, or that there is none, is not what the policy asks for."""
        raise AssertionError(core, reply)

    def _arm(self, delay: float) -> None:
        raise AssertionError(delay)

    def _flush(self) -> None:
        raise AssertionError

    def _tell_refused(self, reply: Reply) -> None:
        raise AssertionError(reply)

    def _close(self) -> None:
        raise AssertionError
