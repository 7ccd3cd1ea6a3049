"""Versions and ciphers of one server: a connection for each hello, one after the other, bounded and paced."""

from __future__ import annotations

import secrets

from mxseal.clock import Clock
from mxseal.examine.talk import Diary, Manners, Talk, rest
from mxseal.relay.channel import Broken
from mxseal.smtp.client import STARTTLS, Capabilities, hello
from mxseal.tls.offer import RANDOM, Offer, client_hello
from mxseal.tls.serverhello import ServerAnswer
from mxseal.tls.survey import Survey, survey


class _NotNow(Exception):
    """The server could not be brought to the hello; the text says why."""


class Surveying:
    """The survey of one server at the address that answered. `left`: connections that may still be made."""

    def __init__(self, host: str, address: str, port: int, manners: Manners, clock: Clock) -> None:
        self._host = host
        self._address = address
        self._port = port
        self._manners = manners
        self._clock = clock
        self._until = clock.monotonic() + manners.whole_seconds
        self._over = ""
        """Why nothing more is asked."""
        self.left = manners.connections
        self.connections = 0

    async def run(self) -> Survey:
        asking = survey()
        offer = next(asking)
        while True:
            answer = await self._ask(offer)
            try:
                offer = asking.send(answer)
            except StopIteration as end:
                found: Survey = end.value
                return found

    async def _ask(self, offer: Offer) -> ServerAnswer:
        """A server that does not want to talk is asked once more after a while, and then left in peace."""
        for wait in (0.0, self._manners.busy_seconds):
            if self._over:
                break
            await rest(self._clock, wait)
            try:
                return await self._once(offer)
            except _NotNow as why:
                reason = str(why)
        else:
            self._over = reason
        return ServerAnswer(kind="untested", text=self._over)

    async def _once(self, offer: Offer) -> ServerAnswer:
        if self.left <= 0:
            self._over = f"the limit of {self._manners.connections} connections is reached"
            raise _NotNow(self._over)
        if self._clock.monotonic() >= self._until:
            self._over = f"the time of {self._manners.whole_seconds:.0f} s is over"
            raise _NotNow(self._over)
        if self.connections:
            await rest(self._clock, self._manners.pause_seconds)
        self.left -= 1
        self.connections += 1
        talk = Talk(self._manners, self._clock, Diary(self._clock))
        talk.line.until = self._until
        try:
            await self._up_to_tls(talk)
            random = secrets.token_bytes(RANDOM)
            record = client_hello(offer, server_name(self._host), random)
            return await talk.line.ask(record, self._manners.handshake_seconds)
        except Broken as broken:
            raise _NotNow(f"the server breaks off before TLS ({broken.details})") from None
        finally:
            # No goodbye: the handshake hangs in the air, and the server knows that it is over from the FIN.
            talk.line.abort()

    async def _up_to_tls(self, talk: Talk) -> None:
        await talk.connect(self._address, self._port)
        greeting = await talk.reply()
        if greeting.code != 220:
            raise _NotNow(f"the server answers {greeting.code} {greeting.text[:100]}")
        reply = await talk.say(hello(self._manners.hello))
        if reply.code != 250 or not Capabilities.parse(reply).starttls:
            raise _NotNow("the server does not offer STARTTLS any more")
        reply = await talk.say(STARTTLS)
        if reply.code != 220:
            raise _NotNow(f"STARTTLS is answered {reply.code} {reply.text[:100]}")


def server_name(host: str) -> str | None:
    """RFC 6066 §3: names only; an address has none."""
    letters = host.strip("[]")
    return host if any(c.isalpha() for c in letters) and ":" not in letters and host.isascii() else None
