"""Connections for tests: what is said is noted; a hello of our own can take the handshake's place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.examine.report import Said
from mxseal.relay.channel import Broken, Channel, network_error
from mxseal.smtp.client import QUIT
from mxseal.smtp.wire import Reply
from mxseal.tls.facts import TlsFacts, TlsFault
from mxseal.tls.serverhello import LARGEST_FLIGHT, ServerAnswer, parse

_LINES = 400
"""Of a dialogue that are kept: a server that talks on and on must not fill memory."""
_LONGEST = 500
_GOODBYE_SECONDS = 3.0
_LOOKS = 200
"""At one answer: it comes in a dozen pieces, and one that trickles in must not be read from its beginning for
each of 100,000."""


class Manners(msgspec.Struct, frozen=True, kw_only=True):
    """How a test behaves towards a server. Seconds, counts."""

    hello: str
    """Our name in EHLO."""
    sender: str
    """For MAIL FROM."""
    source: str | None = None
    """Local address to connect from."""
    connect_seconds: float = 10.0
    reply_seconds: float = 30.0
    """Greetings are delayed on purpose by some servers, to be rid of impatient clients."""
    handshake_seconds: float = 15.0
    whole_seconds: float = 180.0
    """Of one server's test, however slow it is."""
    pause_seconds: float = 0.02
    """Between two connections to one server."""
    busy_seconds: float = 3.0
    """Before a server that said 'not now' is asked a second time."""
    connections: int = 80
    """At most, to one server."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A server and its addresses, in the order in which they are tried."""

    host: str
    port: int = 25
    preference: int | None = None
    addresses: tuple[str, ...] = ()
    problem: str = ""
    """Why there are no addresses."""


class Diary:
    """Who said what, when, for one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = clock.monotonic()
        self._said: list[Said] = []

    @property
    def said(self) -> tuple[Said, ...]:
        return tuple(self._said)

    def note(self, text: str, mark: str = "") -> None:
        if len(self._said) < _LINES:
            at = self._clock.monotonic() - self._begun
            self._said.append(Said(at=at, mark=mark, text=text[:_LONGEST]))


class Line(Channel):
    """A channel that can carry a hello of our own instead of a handshake."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._answer: bytearray | None = None

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            super().data_received(data)
            return
        self._answer += data[: LARGEST_FLIGHT - len(self._answer)]
        self._wake()

    async def ask(self, hello: bytes, limit: float) -> ServerAnswer:
        """Send the hello, behind the 220 to STARTTLS; gives the answer within `limit` seconds."""
        self._answer = bytearray()
        self.send(hello)
        until = self._clock.monotonic() + limit
        looks = 0
        while True:
            broken = self._broken
            looks += 1
            answer = parse(bytes(self._answer), ended=broken is not None or looks >= _LOOKS)
            if answer is not None:
                late = broken is not None and broken.reason == "connection timed out"
                if answer.kind == "closed" and late:
                    return ServerAnswer(kind="untested", text="no answer in time")
                return answer
            await self._wait(max(0.0, until - self._clock.monotonic()))


class Talk:
    """One SMTP connection. Everything raises Broken when the server breaks off or its time is over."""

    def __init__(self, manners: Manners, clock: Clock, diary: Diary) -> None:
        self._manners = manners
        self._clock = clock
        self._diary = diary
        self.line = Line(clock)
        self._secure = False
        self._polite = False
        """The server talks SMTP with us at the moment, so it is told when we go."""

    async def connect(self, address: str, port: int) -> None:
        source = self._manners.source
        local = (source, 0) if source else None
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(lambda: self.line, address, port, local_addr=local)
        await self._within(self._manners.connect_seconds, connecting)

    async def _within(self, limit: float, work: Awaitable[object]) -> None:
        task = asyncio.ensure_future(work)
        timer = self._clock.call_later(limit, task.cancel)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            timer.cancel()
        if task.cancelled():
            raise Broken("timeout", "connection timed out")
        error = task.exception()
        if isinstance(error, OSError):
            raise network_error(error)
        if error is not None:
            raise error

    def send(self, data: bytes) -> None:
        self._diary.note(data.decode("utf-8", "replace").rstrip("\r\n"), "~~>" if self._secure else "-->")
        self.line.send(data)

    async def reply(self, limit: float | None = None) -> Reply:
        reply = await self.line.reply(self._manners.reply_seconds if limit is None else limit)
        self._polite = True
        mark = "<~~" if self._secure else "<--"
        for index, line in enumerate(reply.lines):
            self._diary.note(f"{reply.code}{' ' if index == len(reply.lines) - 1 else '-'}{line}", mark)
        return reply

    async def start_tls(self, context: SSL.Context, name: str, limit: float) -> TlsFacts | TlsFault:
        self._polite = False
        result = await self.line.start_tls(context, name, None, limit)
        self._secure = self._polite = isinstance(result, TlsFacts)
        return result

    async def leave(self) -> None:
        """QUIT where it can be said, and close."""
        try:
            if self._polite and self.line.alive:
                self.send(QUIT)
                await self.reply(_GOODBYE_SECONDS)
        except Broken:
            pass  # a server that hangs up on QUIT says no less
        finally:
            self.line.close()

    async def say(self, data: bytes) -> Reply:
        self.send(data)
        return await self.reply()


async def rest(clock: Clock, seconds: float) -> None:
    """Do nothing for a while."""
    if seconds <= 0:
        return
    over = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not over.done():
            over.set_result(None)

    timer = clock.call_later(seconds, wake)
    try:
        await over
    finally:
        timer.cancel()
