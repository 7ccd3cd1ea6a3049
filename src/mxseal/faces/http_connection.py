"""One HTTP connection: the library's protocol, with a bound on the time of all that a stranger can delay.

A request's head, its body, and each stretch in which a client does not read have a time of their own: who
sends a byte a minute (slowloris), or reads one, is disconnected.
"""

from __future__ import annotations

import ssl
from typing import Any, Protocol

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from mxseal.clock import Clock, Timer

HEAD_TIME = 20.0
"""Seconds until a request's head is there."""
BODY_TIME = 120.0
"""Seconds until its body is there, behind the head."""
WRITE_TIME = 120.0
"""Seconds in which a client reads nothing of what is sent to it."""
KEEP_ALIVE = 30
"""Seconds between two requests."""


def shown(secured: Any) -> tuple[bytes, ...]:
    """The certificates (DER, leaf first) that a client sent; none where it sent none, or in clear text."""
    if secured is None or secured.getpeercert(binary_form=True) is None:
        return ()
    if hasattr(secured, "get_unverified_chain"):
        return tuple(secured.get_unverified_chain())
    # Python 3.13 made it public; before, it is there under the object that it wraps.
    found = secured._sslobj.get_unverified_chain() or ()  # noqa: SLF001
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found)


class Told(Protocol):
    """Who hears of a connection's beginning and end."""

    def begun(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Connection(H11Protocol):
    """Calls `begun` when it can be used, behind the handshake, and then once `lost`, when it is over."""

    def __init__(
        self, config: Config, state: ServerState, clock: Clock, told: Told, interface: str = ""
    ) -> None:
        """`interface`: the name of the one that it came by."""
        super().__init__(config=config, server_state=state, app_state={"interface": interface})
        self._clock = clock
        self._told = told
        self._reading: Timer | None = None
        self._in_body = False
        self._writing: Timer | None = None

    @property
    def idle(self) -> bool:
        """Whether it waits for a first or a next request."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: object) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state["client_chain"] = shown(self.transport.get_extra_info("ssl_object"))
        self._reading = self._clock.call_later(HEAD_TIME, self._late)
        self._told.begun(self)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._told.lost(self)

    def abort(self) -> None:
        """End it at once; who waits for what it has to say learns of it."""
        if self.transport is not None:
            self.transport.abort()

    # --- time to read -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def _watch(self) -> None:
        """Have a timer for the head or the body that is being sent; none where nothing is awaited. Between
        two requests the library has its own."""
        in_body = self.conn.their_state is h11.SEND_BODY
        in_head = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if self._reading is not None and (not (in_head or in_body) or in_body != self._in_body):
            self._reading.cancel()
            self._reading = None
        if self._reading is None and (in_head or in_body):
            self._reading = self._clock.call_later(BODY_TIME if in_body else HEAD_TIME, self._late)
        self._in_body = in_body

    def _late(self) -> None:
        self._reading = None
        if self.transport.is_closing():
            return
        if self.conn.our_state is h11.IDLE:
            answer = h11.Response(status_code=408, headers=[("connection", "close"), ("content-length", "0")])
            self.transport.write(self.conn.send(answer) or b"")
            self.transport.close()
        else:
            self.abort()

    # --- time to write ------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._writing is None:
            self._writing = self._clock.call_later(WRITE_TIME, self.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
