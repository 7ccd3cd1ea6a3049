"""One connection to a directory server: bytes through the TLS engine and the conversation, with time-outs.

Nothing here raises for what a server does: a `Fault` is the answer, and the connection says when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from OpenSSL import SSL

from mxseal.clock import Clock, Timer
from mxseal.ldap.conversation import Answer, Conversation
from mxseal.ldap.values import Fault, FaultKind, Search
from mxseal.tls.engine import Engine
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.reasons import outbound_reason, socket_reason

_HIGH_WATER = 256 * 1024
_LINGER_SECONDS = 5.0
_LOST = "the server closed the connection"


class Tape(Protocol):
    """A recording of a connection."""

    def secure(self, engine: Engine) -> object:
        """TLS is about to begin."""
        ...


class Connection(asyncio.Protocol):
    """The client's end. Requests may be under way side by side."""

    def __init__(self, clock: Clock, host: str) -> None:
        """`host`: as faults name it, host:port."""
        self._clock = clock
        self._host = host
        self._conversation = Conversation()
        self._engine: Engine | None = None
        self.tape: Tape | None = None
        """Set while the connection is recorded."""
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[Answer | Fault]] = {}
        self._shaken: asyncio.Future[None] | None = None
        self._handshaking = self._patience_over = False
        self._lingering: Timer | None = None
        self.fault: Fault | None = None
        """Why it is of no use any more; None: it stands."""
        self.ended: Callable[[Connection], None] = lambda _connection: None
        """Called once, when it is of no use any more."""
        self.used_at = clock.monotonic()
        self.searches = 0

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports have the methods and not the base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        if self.fault is not None:  # given up meanwhile
            transport.abort()
            return
        transport.set_write_buffer_limits(high=_HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        if engine is not None:
            data = engine.receive(data)
            self._send(engine.output())
            if engine.fault is not None:
                if not self._handshaking:
                    self.end("lost", f"TLS broke: {outbound_reason(engine.fault)}")
                self._wake()
                return
            self._wake()
        if data:
            for answer in self._conversation.receive(data):
                waiter = self._waiting.pop(answer.number, None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(answer)
            if self._conversation.fault is not None:
                self.end("protocol", self._conversation.fault)
        if engine is not None and engine.closed:
            self.end("lost", _LOST)

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
        text = _LOST
        if isinstance(error, OSError):
            text = socket_reason(error.errno or 0, error.strerror or str(error))
        self.end("lost", text)
        self._wake()

    # --- the caller's side ----------------------------------------------------------------------------------

    @property
    def tls_fault(self) -> TlsFault | None:
        """How TLS broke."""
        return self._engine.fault if self._engine is not None else None

    @property
    def pending(self) -> int:
        """Requests that are not answered."""
        return len(self._waiting)

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
                self._shaken = asyncio.get_running_loop().create_future()
                await self._shaken
        finally:
            timer.cancel()
            self._shaken = None
            self._handshaking = False
        if engine.fault is None and not engine.established:
            engine.broken("timeout" if self.fault is None else "peer-gone")
        return engine.fault if engine.fault is not None else engine.facts()

    async def start_tls(self, seconds: float) -> Answer | Fault:
        """Ask for TLS (RFC 4511 §4.14)."""
        answer = await self._request(self._conversation.start_tls(), seconds)
        if isinstance(answer, Answer) and (self._conversation.buffered or self.fault is not None):
            # What lies behind the answer came in clear, and may be an attacker's (as CVE-2011-0411).
            self.end("protocol", "the server sent more in clear before TLS began")
            return self.fault or answer
        return answer

    async def bind(self, credentials: tuple[str, str] | None, seconds: float) -> Answer | Fault:
        """`credentials`: DN and password; None: SASL EXTERNAL."""
        conversation = self._conversation
        number = conversation.bind_simple(*credentials) if credentials else conversation.bind_external()
        return await self._request(number, seconds)

    async def search(self, search: Search, seconds: float) -> Answer | Fault:
        """A silent server's connection ends with the first search that it does not answer: all that wait for
        it are told at once."""
        if self.fault is not None:
            return self.fault
        self.used_at = self._clock.monotonic()
        self.searches += 1
        return await self._request(self._conversation.search(search, max(1, int(seconds))), seconds)

    async def _request(self, number: int, seconds: float) -> Answer | Fault:
        if self.fault is not None:
            return self.fault
        waiter: asyncio.Future[Answer | Fault] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiter
        heard = self._conversation.heard
        timer = self._clock.call_later(seconds, lambda: self._late(number, heard, seconds))
        try:
            self._say()
            return await waiter
        finally:
            timer.cancel()
            self._waiting.pop(number, None)

    def _late(self, number: int, heard: int, seconds: float) -> None:
        text = f"no answer within {seconds:g} s"
        if self._conversation.heard == heard:
            self.end("silent", text)
            return
        # It answers others: this one search is too much for it.
        waiter = self._waiting.pop(number, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(Fault(kind="silent", text=text, host=self._host))

    def _say(self) -> None:
        data = self._conversation.output()
        if self._engine is not None and data:
            self._engine.write(data)
            data = self._engine.output()
        self._send(data)

    def _send(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _no_patience(self) -> None:
        self._patience_over = True
        self._wake()

    def _wake(self) -> None:
        if self._shaken is not None and not self._shaken.done():
            self._shaken.set_result(None)

    # --- the end --------------------------------------------------------------------------------------------

    def end(self, kind: FaultKind, text: str) -> None:
        """It is of no use any more: everybody who waits is told, once."""
        if self.fault is not None:
            return
        self.fault = fault = Fault(kind=kind, text=text, host=self._host)
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            if not waiter.done():
                waiter.set_result(fault)
        self.ended(self)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """A polite end (RFC 4511 §4.3)."""
        if self.fault is not None:
            return
        self._conversation.unbind()
        self._say()
        if self._engine is not None and self._engine.established:
            self._engine.close()
            self._send(self._engine.output())
        transport, self._transport = self._transport, None
        self.end("lost", "this gateway closed the connection")
        if transport is not None:
            transport.close()
            self._lingering = self._clock.call_later(_LINGER_SECONDS, transport.abort)
