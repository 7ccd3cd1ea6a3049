"""Connections to syslog servers: TLS (RFC 5425), TCP (RFC 6587), UDP (RFC 5426).

Syslog has no answers. What is known about a message over TCP is whether the server's system has taken it:
`unacknowledged`. What was taken and not read yet is gone when the server dies, so that whoever sends counts
a message as received some time later only, or when the server has closed in good order behind it.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import socket
import struct
import termios
from typing import Any, Protocol, cast

import msgspec
from cryptography import x509
from OpenSSL import SSL

from mxseal.certs.sent import read_sent
from mxseal.clock import Clock
from mxseal.logs.follow import polling
from mxseal.tls.diagnosis import OurSettings, diagnose_certificate, diagnose_outbound
from mxseal.tls.engine import Engine
from mxseal.tls.facts import Diagnosis, IdentityFinding, TlsFacts
from mxseal.tls.identity import matches, names_of
from mxseal.tls.reasons import outbound_reason, socket_reason
from mxseal.tls.verification import plain

_HIGH_WATER = 256 << 10
_TICK = 0.05
_DEAD_SECONDS = 30
"""A server that acknowledges nothing for so long is gone, whatever the network says (TCP_USER_TIMEOUT)."""
_VERDICT_SECONDS = 0.5
"""For which a TLS 1.3 server's first words behind the handshake are waited for: tickets, or an alert."""
_ASKED_AFTER, _ASKED_EVERY, _ASKED_TIMES = 60, 15, 4


class Trouble(Exception):
    """The connection can't be had, or goes on no more."""

    def __init__(self, reason: str, diagnosis: Diagnosis | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.diagnosis = diagnosis


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where to, and what the server must prove."""

    host: str
    port: int
    name: str
    """The name or address that its certificate must have."""
    context: SSL.Context | None = None
    """None: without TLS."""
    trust: str = ""
    """Names of the lists of authorities, for diagnoses."""
    ours: OurSettings | None = None


class Line(Protocol):
    """One connection."""

    facts: TlsFacts | None

    @property
    def broken(self) -> Trouble | None: ...

    def send(self, data: bytes) -> None:
        """Hand over messages, or one datagram."""
        ...

    async def drain(self) -> None:
        """Until the server takes more, or the connection is broken."""
        ...

    def unacknowledged(self) -> int:
        """Bytes that the server's system has not taken, of all that were sent."""
        ...

    @property
    def written(self) -> int:
        """Bytes that were sent, as they go over the wire."""
        ...

    async def close(self, limit: float) -> bool:
        """End in good order; whether the server has, too, so that it has read everything."""
        ...

    def abort(self) -> None:
        """Hang up."""
        ...


async def _within(work: Any, limit: float, clock: Clock, host: str) -> Any:
    task = asyncio.ensure_future(work)
    timer = clock.call_later(limit, task.cancel)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        timer.cancel()
    if task.cancelled():
        raise Trouble("connection timed out")
    error = task.exception()
    if isinstance(error, socket.gaierror):
        raise Trouble(f"the name {host} can't be looked up: {error.strerror}")
    if isinstance(error, OSError):
        raise Trouble(socket_reason(error.errno or 0, error.strerror or str(error)))
    if error is not None:
        raise error
    return task.result()


async def connect(server: Server, limit: float, clock: Clock) -> StreamLine:
    """A connection, with TLS where the server has a context, verified. Raises Trouble."""
    loop = asyncio.get_running_loop()
    line = StreamLine(clock)
    await _within(loop.create_connection(lambda: line, server.host, server.port), limit, clock, server.host)
    if server.context is not None:
        try:
            await line.start_tls(server, limit)
        except Trouble:
            line.abort()
            raise
    return line


class StreamLine(asyncio.Protocol):
    """TCP, with or without TLS."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._engine: Engine | None = None
        self._descriptor = -1
        self._writable: asyncio.Event = asyncio.Event()
        self._changed = asyncio.Event()
        self._server: Server | None = None
        self._ended = False
        self._closing = False
        self.facts: TlsFacts | None = None
        self.broken: Trouble | None = None
        self.written = 0

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = made = cast("asyncio.Transport", transport)
        made.set_write_buffer_limits(high=_HIGH_WATER)
        self._writable.set()
        sock = made.get_extra_info("socket")
        self._descriptor = sock.fileno()
        for level, option, value in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASKED_AFTER),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASKED_EVERY),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _ASKED_TIMES),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_SECONDS * 1000),
        ):
            sock.setsockopt(level, option, value)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        if engine is not None:
            engine.receive(data)  # what a syslog server says in clear is nothing to us
            self._put(engine.output())
            if engine.fault is not None:
                self._break(self._explained())
            elif engine.closed:
                self._end()
        self._changed.set()

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        engine = self._engine
        if engine is not None and engine.fault is None:
            if isinstance(error, OSError):
                engine.broken("reset", errno=error.errno or 0)
            else:
                engine.eof()
        if engine is not None and engine.fault is not None:
            self._break(self._explained())
        elif isinstance(error, OSError):
            self._break(Trouble(socket_reason(error.errno or 0, error.strerror or str(error))))
        else:
            self._end()
        self._changed.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self) -> None:
        """The server has read all and closes, or wants no more."""
        self._ended = True
        self._break(Trouble("the server closed the connection"))

    def _break(self, trouble: Trouble) -> None:
        if self.broken is None:
            self.broken = trouble
        self._changed.set()
        self._writable.set()

    def _explained(self) -> Trouble:
        assert self._engine is not None
        fault = self._engine.fault
        assert fault is not None
        server = self._server
        diagnosis = diagnose_outbound(
            fault, host=server.host if server else "", ours=server.ours if server else None
        )
        return Trouble(outbound_reason(fault), diagnosis)

    def _put(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self.written += len(data)
            self._transport.write(data)

    # --- the sender's side ----------------------------------------------------------------------------------

    async def start_tls(self, server: Server, limit: float) -> None:
        """The handshake; then the certificate is held against lists and name. Raises Trouble."""
        assert server.context is not None
        self._server = server
        engine = self._engine = Engine(server.context, server_side=False, server_name=server.name)
        engine.start()
        self._put(engine.output())
        timer = self._clock.call_later(limit, self._late)
        try:
            while not engine.established and self.broken is None:
                self._changed.clear()
                await self._changed.wait()
        finally:
            timer.cancel()
        if engine.established and engine.facts().protocol == "TLSv1.3":
            # Our side is done before the server has seen our certificate, or that there is none. What we sent
            # meanwhile would make its system reset the connection, and its alert would be lost with that.
            self._changed.clear()
            timer = self._clock.call_later(_VERDICT_SECONDS, self._changed.set)
            await self._changed.wait()
            timer.cancel()
        if self.broken is not None:
            raise self.broken
        self.facts = engine.facts()
        if (trouble := _unverified(self.facts, server, self._clock.now())) is not None:
            self._break(trouble)
            raise trouble

    def _late(self) -> None:
        if self._engine is not None and not self._engine.established and self._engine.fault is None:
            self._engine.broken("timeout")
            self._break(self._explained())

    def send(self, data: bytes) -> None:
        if self.broken is not None:
            return
        if self._engine is not None:
            self._engine.write(data)
            data = self._engine.output()
        self._put(data)

    async def drain(self) -> None:
        await self._writable.wait()

    def unacknowledged(self) -> int:
        if self._transport is None or self.broken is not None:
            return 0
        held = struct.unpack("i", fcntl.ioctl(self._descriptor, termios.TIOCOUTQ, bytes(4)))[0]
        return int(held) + self._transport.get_write_buffer_size()

    async def close(self, limit: float) -> bool:
        if self.broken is not None or self._transport is None:
            self.abort()
            return False
        self._closing = True
        until = self._clock.monotonic() + limit
        if self._engine is not None:
            # RFC 5425 §4.4: the sender closes with close_notify; a server that answers has read everything.
            self._engine.close()
            self._put(self._engine.output())
        else:
            self._transport.write_eof()
        pause = polling(self._clock, _TICK)
        while not self._ended and self.broken is None and self._clock.monotonic() < until:
            await pause()
        self.abort()
        return self._ended

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class DatagramLine(asyncio.DatagramProtocol):
    """UDP: what is lost on the way is lost, and nobody hears of it."""

    facts: TlsFacts | None = None

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self.broken: Trouble | None = None
        self.written = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, error: Exception) -> None:
        # An earlier datagram came back: nobody listens there.
        number = error.errno if isinstance(error, OSError) else 0
        self.broken = self.broken or Trouble(socket_reason(number or 0, str(error)))

    def send(self, data: bytes) -> None:
        if self._transport is not None and self.broken is None:
            self.written += len(data)
            self._transport.sendto(data)

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def unacknowledged(self) -> int:
        return 0

    async def close(self, limit: float) -> bool:  # noqa: ARG002 - nothing is waited for
        if self._transport is not None:
            self._transport.close()
        return self.broken is None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def open_datagrams(server: Server, limit: float, clock: Clock) -> DatagramLine:
    """A socket that sends to the server. Raises Trouble."""
    loop = asyncio.get_running_loop()
    work = loop.create_datagram_endpoint(DatagramLine, remote_addr=(server.host, server.port))
    _, line = await _within(work, limit, clock, server.host)
    return cast("DatagramLine", line)


# --- whose certificate ------------------------------------------------------------------------------------


def _unverified(facts: TlsFacts, server: Server, now: float) -> Trouble | None:
    """Why this is not the server that was meant; None: it is. RFC 5425 §5.2."""
    chain = facts.peer_certificates
    error = None if facts.verified else plain(facts.verify_error) or ""
    identity = _identity(chain[0] if chain else b"", server.name)
    if error is None and identity.matched is not None:
        return None
    diagnosis = diagnose_certificate(
        "server",
        server.host,
        verify_error=error,
        chain=read_sent(chain, now) if chain else None,
        identity=identity,
        trust=server.trust,
    )
    said = error or ("no certificate from server" if error == "" else "hostname mismatch")
    return Trouble(f"verify error: {said}", diagnosis)


def _identity(der: bytes, wanted: str) -> IdentityFinding:
    """Names of the certificate against a host's name, or addresses against an address."""
    try:
        address = ipaddress.ip_address(wanted)
    except ValueError:
        found = names_of(der)
        names = found.dns or found.common
        matched = any(matches(name, wanted) for name in names)
        shown = found.shown()
    else:
        shown = _addresses(der)
        matched = str(address) in shown
    return IdentityFinding(
        wanted=(wanted,), names=shown[:20], matched=wanted if matched else None,
        nearest=shown[0] if shown else None,
    )  # fmt: skip


def _addresses(der: bytes) -> tuple[str, ...]:
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    return tuple(str(each) for each in names.get_values_for_type(x509.IPAddress))
