"""The alerts' own way to mail servers (reference §5): straight to the recipient's exchangers, past queue,
filters and destination controls, so that an alert gets out when they are what is wrong.

TLS is tried where it is offered and does not have to work: a server with which it fails gets the alert in
clear text, as in the reference. An SMTP route for the recipient's domain is followed: a domain's own mail
exchanger is often this gateway, and behind a smart host there is no other way out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import msgspec
from OpenSSL import SSL

from mxseal.alerts.letter import Letter
from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import AlertMailInClear, AlertMailRefused
from mxseal.relay.channel import Broken, Channel, network_error
from mxseal.relay.resolver import DnsFault, Host, Resolver
from mxseal.relay.routing import Routing, mail_domain
from mxseal.smtp.client import QUIT, STARTTLS, Capabilities, Transaction, hello
from mxseal.smtp.wire import Reply
from mxseal.tls.facts import TlsFault
from mxseal.tls.reasons import outbound_reason

_CACHE_SECONDS = 1800.0
"""Reference §5: addresses are cached for 30 minutes."""
_CACHED = 200
_TRIED = 6
"""Addresses at one attempt."""
_CONNECT_SECONDS = 30.0
_REPLY_SECONDS = 60.0
_WHOLE_SECONDS = 180.0
_QUIT_SECONDS = 2.0


class Failure(msgspec.Struct, frozen=True):
    """Why an attempt failed. permanent: another one would fail as well."""

    permanent: bool
    text: str


class _Refused(Exception):
    """The server answered something else than what was hoped for. final: about the letter, not the host."""

    def __init__(self, reply: Reply, *, final: bool = False) -> None:
        super().__init__(f"{reply.code} {reply.text}")
        self.reply = reply
        self.final = final and reply.code >= 500


class _TlsFailed(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Post:
    """Delivers letters, one attempt at a time."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        resolver: Callable[[], Resolver],
        context: Callable[[], SSL.Context],
    ) -> None:
        """`context`: for opportunistic TLS, of the configuration in force."""
        self._bus = bus
        self._clock = clock
        self._resolver = resolver
        self._context = context
        self._cache: dict[str, tuple[float, tuple[Host, ...]]] = {}

    def forget(self) -> None:
        """Look all addresses up again: routes or name servers have changed."""
        self._cache.clear()

    async def attempt(self, letter: Letter, document: Document) -> Failure | None:
        """Hand the letter to the first server that takes it. None: it was taken."""
        domain = mail_domain(letter.recipient)
        hosts = await self._hosts(domain, document)
        if isinstance(hosts, DnsFault):
            self._refused(letter, domain, 25, hosts.text)
            return Failure(False, hosts.text)
        last = Failure(False, f"no address found for {domain}")
        for address, host in list(_ways(hosts))[:_TRIED]:
            failure = await self._try(letter, document, host, address)
            if failure is None or failure.permanent:
                return failure
            last = failure
        return last

    # --- where to -------------------------------------------------------------------------------------------

    async def _hosts(self, domain: str, document: Document) -> tuple[Host, ...] | DnsFault:
        now = self._clock.monotonic()
        expires, known = self._cache.get(domain, (now, ()))
        if expires > now:
            return known
        found = await self._look_up(domain, document)
        if isinstance(found, DnsFault):
            # Old addresses are better than no alert about a name server that is down.
            return known if known and not found.hard else found
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        self._cache[domain] = now + _CACHE_SECONDS, found
        return found

    async def _look_up(self, domain: str, document: Document) -> tuple[Host, ...] | DnsFault:
        resolver = self._resolver()
        route = Routing(document).target(domain).hosts
        if route:
            each = [await resolver.host(name, port) for name, port in route]
            hosts = tuple(host for host in each if isinstance(host, Host))
            return hosts or next(fault for fault in each if isinstance(fault, DnsFault))
        found = await resolver.hosts(domain)
        if isinstance(found, DnsFault):
            return found
        own = {document.hostname, document.delivery.hostname}
        own |= {document.listener_hostname(listener) for listener in document.listeners}
        others = tuple(host for host in found if host.name not in own)
        if not others:
            text = (
                f"the mail exchanger of {domain} is this gateway itself, and no SMTP route leads on: give "
                f"{domain} a route, or choose another address for alerts"
            )
            return DnsFault(True, "5.4.6", text)
        return others

    # --- one server -----------------------------------------------------------------------------------------

    async def _try(self, letter: Letter, document: Document, host: Host, address: str) -> Failure | None:
        try:
            try:
                await self._converse(letter, document, (host.name, address, host.port), tls=True)
            except _TlsFailed as failed:
                now = self._clock.now()
                self._bus.publish(AlertMailInClear(at=now, to=letter.recipient, reason=failed.reason))
                await self._converse(letter, document, (host.name, address, host.port), tls=False)
        except _Refused as refused:
            reply = refused.reply
            self._refused(letter, address, host.port, code=f"{reply.code:03}", lines=reply.lines)
            return Failure(refused.final, f"{address}: {reply.code} {reply.text}")
        except (Broken, OSError) as error:
            broken = error if isinstance(error, Broken) else network_error(error)
            text = f"{broken.reason}: {broken.details}"
            self._refused(letter, address, host.port, text)
            return Failure(False, f"{address}: {text}")
        return None

    def _refused(
        self,
        letter: Letter,
        host: str,
        port: int,
        reason: str = "",
        *,
        code: str = "000",
        lines: tuple[str, ...] = (),
    ) -> None:
        self._bus.publish(
            AlertMailRefused(
                at=self._clock.now(),
                to=letter.recipient,
                host=host,
                port=port,
                code=code,
                lines=lines,
                reason=reason,
            )
        )

    async def _converse(
        self, letter: Letter, document: Document, way: tuple[str, str, int], *, tls: bool
    ) -> None:
        """Returns when the server took the letter. Raises _Refused, _TlsFailed, Broken, OSError."""
        name, address, port = way
        source = document.delivery.source_address
        channel = Channel(self._clock)
        connecting = asyncio.get_running_loop().create_connection(
            lambda: channel, address, port, local_addr=(source, 0) if source else None
        )
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connecting
            channel.until = self._clock.monotonic() + _WHOLE_SECONDS
            own = document.delivery.hostname or document.hostname
            capabilities = await self._open(channel, own, name if name != address else None, tls=tls)
            await self._hand_over(channel, letter, capabilities)
        except BaseException:
            channel.abort()
            raise
        channel.close()

    async def _open(self, channel: Channel, own: str, name: str | None, *, tls: bool) -> Capabilities:
        _expect(await channel.reply(_REPLY_SECONDS), 220)
        capabilities = await _hello(channel, own)
        if not (tls and capabilities.starttls):
            return capabilities
        channel.send(STARTTLS)
        if (reply := await channel.reply(_REPLY_SECONDS)).code != 220:
            raise _TlsFailed(f"the answer {reply.code} to STARTTLS")
        result = await channel.start_tls(self._context(), name, None, _REPLY_SECONDS)
        if isinstance(result, TlsFault):
            raise _TlsFailed(outbound_reason(result))
        return await _hello(channel, own)

    async def _hand_over(self, channel: Channel, letter: Letter, capabilities: Capabilities) -> None:
        transaction = Transaction(
            capabilities,
            letter.sender,
            [letter.recipient],
            size=len(letter.content),
            smtputf8=letter.smtputf8,
            eightbit=letter.eightbit,
        )
        channel.send(transaction.commands())
        while not transaction.finished:
            channel.send(transaction.receive(await channel.reply(_REPLY_SECONDS)))
            if transaction.wants_content:
                channel.send(transaction.encode(letter.content) + transaction.end())
        outcome = transaction.outcomes[0]
        if outcome.kind != "delivered":
            raise _Refused(Reply(outcome.code, outcome.lines), final=True)
        channel.send(QUIT)
        try:
            await channel.reply(_QUIT_SECONDS)
        except Broken:
            pass  # it has the letter: how it says goodbye changes nothing


def _ways(hosts: tuple[Host, ...]) -> Iterator[tuple[str, Host]]:
    for host in hosts:
        for address in host.addresses:
            yield address, host


def _expect(reply: Reply, code: int) -> None:
    if reply.code != code:
        raise _Refused(reply)


async def _hello(channel: Channel, own: str) -> Capabilities:
    channel.send(hello(own))
    reply = await channel.reply(_REPLY_SECONDS)
    if reply.code == 250:
        return Capabilities.parse(reply)
    channel.send(hello(own, extended=False))  # RFC 5321 §3.2: an old server
    _expect(await channel.reply(_REPLY_SECONDS), 250)
    return Capabilities()
