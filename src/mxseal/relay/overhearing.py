"""One connection that is recorded: stands between a transport and its protocol and notes what passes.

Neither of them knows: bytes, ends and pauses go through as they are. What is noted is worked on after the
gateway has seen it, so that a fault of the recording can't change what a peer gets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from mxseal.capture.orders import Connection, Order
from mxseal.capture.packets import Endpoint
from mxseal.capture.tape import Tape
from mxseal.clock import Clock
from mxseal.tls.engine import Engine


class Overhearable(Protocol):
    """A protocol that tells when TLS begins, by `tape.secure(engine)`."""

    tape: Overheard | None


class Overheard(asyncio.Protocol):
    """The protocol that the transport sees."""

    def __init__(
        self,
        inner: asyncio.Protocol,
        clock: Clock,
        known: Connection,
        *,
        began: Callable[[Overheard], Tape | None],
        moved: Callable[[Overheard], object],
        over: Callable[[Overheard], object],
    ) -> None:
        """`began` gives what it is recorded on, None: not at all; `moved` is called when something was said,
        `over` when the connection has ended."""
        self.inner = inner
        self.known = known
        self.tape: Tape | None = None
        self.local = self.remote = Endpoint("", 0)
        self.number = ""
        """ICID 12, DCID 34."""
        self.order: Order | None = None
        self.claim = 0
        self._clock = clock
        self._began, self._moved, self._over = began, moved, over
        self._engine: Engine | None = None
        self._theirs = False
        """The peer has said that it sends no more."""
        self.ours = False
        """The gateway hung up, or was about to."""
        self.aborted = False

    # --- the transport's side -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.local = _endpoint(transport.get_extra_info("sockname"))
        self.remote = _endpoint(transport.get_extra_info("peername"))
        if self.local.address and self.remote.address:
            self.tape = self._began(self)
        inner: Any = transport if self.tape is None else _Passing(cast("asyncio.Transport", transport), self)
        self.inner.connection_made(inner)
        self._settle()

    def data_received(self, data: bytes) -> None:
        if self.tape is not None:
            self.tape.note(self._clock.now(), data, ours=False)
        self.inner.data_received(data)
        self._settle()

    def eof_received(self) -> bool | None:
        self._theirs = not self.ours
        return self.inner.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        self.inner.connection_lost(error)
        if self.tape is not None:
            reset = self.aborted or error is not None
            ours = self.aborted or (self.ours and not self._theirs)
            self.tape.end(self._clock.now(), "reset" if reset else "closed", ours=ours)
            self._over(self)
        self.drop()

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    # --- the gateway's side ---------------------------------------------------------------------------------

    def sent(self, data: bytes) -> None:
        if self.tape is not None:
            self.tape.note(self._clock.now(), data, ours=True)
            self.tape.settle()

    def secure(self, engine: Engine) -> None:
        """The handshake is about to begin."""
        if self.tape is None:
            return
        self._engine = engine
        engine.tell_secrets(self.tape.secret)
        self.tape.secure()

    def drop(self) -> None:
        """It is of no more interest; the connection goes on."""
        self.tape = None
        cast("Overhearable", self.inner).tape = None
        if self._engine is not None:
            self._engine.keep_secrets()
            self._engine = None

    def _settle(self) -> None:
        if self.tape is not None:
            self.tape.settle()
            self._moved(self)


class _Passing:
    """The transport as the protocol sees it."""

    def __init__(self, transport: asyncio.Transport, overheard: Overheard) -> None:
        self._transport = transport
        self._overheard = overheard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._transport.write(data)
        self._overheard.sent(data)

    def close(self) -> None:
        self._overheard.ours = True
        self._transport.close()

    def abort(self) -> None:
        self._overheard.aborted = True
        self._transport.abort()


def _endpoint(name: Any) -> Endpoint:
    return Endpoint(str(name[0]), int(name[1])) if name and len(name) >= 2 else Endpoint("", 0)
