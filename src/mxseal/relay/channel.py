"""A connection to a next hop: bytes moved through the TLS engine and the reply parser, with time-outs.

That the peer breaks off is told by `Broken`, in the mail log's words; a failed handshake is a value.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from OpenSSL import SSL

from mxseal.clock import Clock, Timer
from mxseal.relay.overhearing import Overheard
from mxseal.smtp.wire import ProtocolFault, Reply, ReplyParser
from mxseal.tls.engine import Engine
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.reasons import socket_reason

_HIGH_WATER = 256 * 1024
_UNASKED = 256 * 1024
"""Bytes of replies that may wait: nobody who is asked one thing after the other sends more."""
_LINGER_SECONDS = 10.0


class Broken(Exception):
    """The connection can't go on. `details` and `reason` as in the log's Connection Error line (§4.5)."""

    def __init__(self, details: str, reason: str, fault: TlsFault | None = None) -> None:
        super().__init__(f"{reason}: {details}")
        self.details = details
        self.reason = reason
        self.fault = fault


def network_error(error: OSError) -> Broken:
    """What a socket error is called in the log."""
    if isinstance(error, TimeoutError):
        return Broken("timeout", "connection timed out")
    return Broken(socket_reason(error.errno or 0, error.strerror or str(error)), "network error")


class Channel(asyncio.Protocol):
    """The client's end. Calls come one at a time: each waits for its own answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parser = ReplyParser()
        self._engine: Engine | None = None
        self.tape: Overheard | None = None
        """Set while the connection is recorded."""
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._broken: Broken | None = None
        self._handshaking = False
        self._lingering: Timer | None = None
        self.local_ip = ""
        self.until: float | None = None
        """On the monotonic clock: when all patience ends, whatever the single limits are."""

    # --- the transport's side -----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not asserted: uvloop's transports have the methods and not the base class.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        name = transport.get_extra_info("sockname")
        self.local_ip = str(name[0]) if name else ""

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        if engine is not None:
            data = engine.receive(data)
            if answer := engine.output():
                self._write(answer)
            if engine.fault is not None:
                if not self._handshaking:
                    self._break(Broken(engine.fault.reason, "network error", engine.fault))
                self._wake()
                return
        if data:
            self._parser.receive(data)
            if self._parser.buffered > _UNASKED:
                self._break(Broken("the server sends what nobody asked for", "protocol error"))
                self.abort()
        self._wake()

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
        if isinstance(error, OSError):
            self._break(network_error(error))
        else:
            self._break(Broken("[Errno 0] Error", "network error"))
        self._wake()
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def _break(self, broken: Broken) -> None:
        if self._broken is None:
            self._broken = broken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _wait(self, limit: float) -> None:
        """Until something came in. Broken when nothing does within `limit` seconds."""
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(limit, lambda: self._timed_out(waiter))
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _timed_out(self, waiter: asyncio.Future[None]) -> None:
        self._break(Broken("timeout", "connection timed out"))
        if not waiter.done():
            waiter.set_result(None)

    # --- the delivery's side --------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._broken is None

    def send(self, data: bytes) -> None:
        if self._engine is not None:
            self._engine.write(data)
            data = self._engine.output()
        self._write(data)

    async def drain(self, limit: float) -> None:
        """Until the peer takes more. Broken when it does not within `limit` seconds, or by `until`."""
        writable = self._writable
        if writable is not None and self._broken is None:
            if self.until is not None:
                limit = min(limit, max(0.0, self.until - self._clock.monotonic()))
            timer = self._clock.call_later(limit, lambda: self._stalled(writable))
            try:
                await writable
            finally:
                timer.cancel()
        if self._broken is not None:
            raise self._broken

    def _stalled(self, writable: asyncio.Future[None]) -> None:
        self._break(Broken("timeout", "connection timed out"))
        if not writable.done():
            writable.set_result(None)

    async def reply(self, limit: float) -> Reply:
        """The next reply, within `limit` seconds. Broken when there will be none.

        The whole reply, not the silence in it: one byte now and then must not hold a delivery for days.
        """
        until = self._clock.monotonic() + limit
        if self.until is not None:
            until = min(until, self.until)
        while True:
            try:
                reply = self._parser.next()
            except ProtocolFault as fault:
                self._break(Broken(str(fault), "protocol error"))
                reply = None
            if reply is not None:
                return reply
            if self._broken is not None:
                raise self._broken
            await self._wait(max(0.0, until - self._clock.monotonic()))

    def waiting_reply(self) -> Reply | None:
        """A reply that came without being asked for, such as 421 before a close."""
        try:
            return self._parser.next()
        except ProtocolFault as fault:
            self._break(Broken(str(fault), "protocol error"))
            return None

    async def start_tls(
        self, context: SSL.Context, name: str | None, session: Any, limit: float
    ) -> TlsFacts | TlsFault:
        """The handshake, within `limit` seconds as a whole."""
        # RFC 3207 §6: what came in clear before the handshake is forgotten, it may be an attacker's.
        self._parser = ReplyParser()
        engine = self._engine = Engine(context, server_side=False, server_name=name, session=session)
        if self.tape is not None:
            self.tape.secure(engine)
        self._handshaking = True
        timer = self._clock.call_later(limit, self._late)
        try:
            engine.start()
            self._write(engine.output())
            while not engine.established and engine.fault is None and self._broken is None:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._handshaking = False
        if engine.fault is not None:
            return engine.fault
        if engine.established:
            return engine.facts()
        late = self._broken is None or self._broken.reason == "connection timed out"
        engine.broken("timeout" if late else "peer-gone")
        assert engine.fault is not None
        return engine.fault

    def _late(self) -> None:
        self._break(Broken("timeout", "connection timed out"))
        self._wake()

    def session(self) -> Any:
        """What a later handshake with the same peer can resume; None without TLS."""
        return self._engine.session() if self._engine is not None else None

    def close(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._broken is not None:
            self._transport.abort()
            return
        if self._engine is not None and self._engine.established:
            self._engine.close()
            self._write(self._engine.output())
        self._transport.close()
        # A peer that takes nothing more would keep the socket, and what is to be sent, for ever.
        self._lingering = self._clock.call_later(_LINGER_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Hang up at once, without a word."""
        self._break(Broken("[Errno 0] Error", "network error"))
        if self._transport is not None:
            self._transport.abort()
