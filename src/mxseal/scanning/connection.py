"""One connection to an analysis server: bytes through the TLS engine and one exchange after the other.

Nothing here raises for what a server does: a fault is the answer, and the connection says when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from OpenSSL import SSL

from mxseal.analysis.exchange import CLOSED, Exchange
from mxseal.analysis.values import AnalysisFault, FaultKind
from mxseal.clock import Clock, Timer
from mxseal.tls.engine import Engine
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.reasons import outbound_reason, socket_reason

_HIGH_WATER = 256 * 1024
_LINGER_SECONDS = 5.0
_WHOLE = 4
"""An exchange may take so many times as long as a silence, so that a trickle ends too."""


class Tape(Protocol):
    """A recording of a connection."""

    def secure(self, engine: Engine) -> object:
        """TLS is about to begin."""
        ...


class Connection(asyncio.Protocol):
    """The client's end. One exchange at a time."""

    def __init__(self, clock: Clock, server: str) -> None:
        """`server`: its name, as faults have it."""
        self._clock = clock
        self._server = server
        self._engine: Engine | None = None
        self.tape: Tape | None = None
        """Set while the connection is recorded."""
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._silence: Timer | None = None
        self._silence_seconds = 0.0
        self._paused = False
        self._handshaking = self._patience_over = False
        self._lingering: Timer | None = None
        self.fault: AnalysisFault | None = None
        """Why it is of no use any more; None: it stands."""
        self.ended: Callable[[Connection], None] = lambda _connection: None
        """Called once, when it is of no use any more."""
        self.heard = False
        """The server said something since the exchange began."""
        self.answered = 0
        """Exchanges that were complete."""
        self.used_at = clock.monotonic()

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports have the methods and not the base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        if self.fault is not None:  # given up meanwhile
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._moved()
        self._fill()

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        if engine is not None:
            data = engine.receive(data)
            self._send(engine.output())
            if engine.fault is not None:
                if not self._handshaking:
                    self.end("tls", f"TLS broke: {outbound_reason(engine.fault)}")
                self._wake()
                return
        if self._handshaking:
            self._wake()
        if data:
            self._take(data)
        if engine is not None and engine.closed:
            self._eof(CLOSED)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        engine = self._engine
        if engine is not None and engine.fault is None:
            if isinstance(error, OSError):
                engine.broken("reset", errno=error.errno or 0)
            else:
                engine.eof()
        text = CLOSED
        if isinstance(error, OSError):
            text = socket_reason(error.errno or 0, error.strerror or str(error))
        self._eof(text)
        self._wake()

    def _take(self, data: bytes) -> None:
        """What the server says."""
        exchange = self._exchange
        if exchange is None:
            if not self._handshaking:
                self.end("protocol", "the server said something without being asked")
            return
        self.heard = True
        self._moved()
        exchange.receive(data)
        self._fill()
        if exchange.done:
            self._wake()

    def _eof(self, text: str) -> None:
        exchange = self._exchange
        if exchange is not None and not exchange.done:
            exchange.eof()
        if exchange is not None and exchange.fault not in (None, CLOSED):
            self.end("protocol", exchange.fault or text)
        self.end("unreachable", text)

    # --- the caller's side ----------------------------------------------------------------------------------

    @property
    def tls_fault(self) -> TlsFault | None:
        """How TLS broke."""
        return self._engine.fault if self._engine is not None else None

    async def handshake(self, context: SSL.Context, name: str, seconds: float) -> TlsFacts | TlsFault:
        """TLS from here on, within `seconds` as a whole."""
        engine = self._engine = Engine(context, server_side=False, server_name=name)
        if self.tape is not None:
            self.tape.secure(engine)
        self._handshaking = True
        self._patience_over = False
        timer = self._clock.call_later(seconds, self._no_patience)
        try:
            engine.start()
            self._send(engine.output())
            while not (engine.established or engine.fault is not None or self.fault or self._patience_over):
                await self._wait()
        finally:
            timer.cancel()
            self._handshaking = False
        if engine.fault is None and not engine.established:
            engine.broken("timeout" if self.fault is None else "peer-gone")
        return engine.fault if engine.fault is not None else engine.facts()

    async def ask(self, exchange: Exchange, seconds: float) -> AnalysisFault | None:
        """Carry an exchange out. None: it is complete. A server that is silent for `seconds` loses its
        connection, and one whose answer takes four times as long."""
        if self.fault is not None:
            return self.fault
        self._exchange = exchange
        self.heard = False
        self._silence_seconds = seconds
        whole = self._clock.call_later(seconds * _WHOLE, self._late)
        try:
            self._moved()
            self._fill()
            while not exchange.done and self.fault is None:
                await self._wait()
        except asyncio.CancelledError:
            self.end("unreachable", "the question was given up")
            raise
        finally:
            whole.cancel()
            self._quiet()
            self._exchange = None
        return self._concluded(exchange)

    def _concluded(self, exchange: Exchange) -> AnalysisFault | None:
        if exchange.fault is not None or not exchange.done:
            if self.fault is None:
                self.end("protocol", exchange.fault or CLOSED)
            return self.fault
        self.used_at = self._clock.monotonic()
        self.answered += 1
        if not exchange.reusable:
            self.close()
        return None

    def _fill(self) -> None:
        """Send as much as the network takes."""
        exchange = self._exchange
        while exchange is not None and not self._paused and self.fault is None:
            piece = exchange.output()
            if not piece:
                return
            if self._engine is not None:
                self._engine.write(piece)
                piece = self._engine.output()
            self._send(piece)

    def _moved(self) -> None:
        """Something passed: patience begins anew."""
        if self._exchange is not None:
            self._quiet()
            self._silence = self._clock.call_later(self._silence_seconds, self._late)

    def _quiet(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _late(self) -> None:
        self.end("silent", f"no answer within {self._silence_seconds:g} s")

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _no_patience(self) -> None:
        self._patience_over = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the end --------------------------------------------------------------------------------------------

    def end(self, kind: FaultKind, text: str) -> None:
        """It is of no use any more: who waits is told, once."""
        if self.fault is not None:
            return
        self.fault = AnalysisFault(kind=kind, text=text, server=self._server)
        self._wake()
        self.ended(self)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """A polite end."""
        if self.fault is not None:
            return
        if self._engine is not None and self._engine.established:
            self._engine.close()
            self._send(self._engine.output())
        transport, self._transport = self._transport, None
        self.end("unreachable", "this gateway closed the connection")
        if transport is not None:
            transport.close()
            self._lingering = self._clock.call_later(_LINGER_SECONDS, transport.abort)
