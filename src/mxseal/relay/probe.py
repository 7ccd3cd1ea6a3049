"""The gateway's own look from outside: which certificate does a listener serve on the wire?

A renewed certificate is in use when it was seen there, not when it was stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Awaitable, Callable, Iterable

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.config.model import Listener
from mxseal.relay.channel import Broken, Channel
from mxseal.smtp.client import QUIT, STARTTLS, Capabilities, hello
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.facts import TlsFacts, TlsFault

_SECONDS = 5.0
_SIGNATURES = {
    "RSA": ("rsa_pss_rsae_sha256", "rsa_pkcs1_sha256"),
    "ECDSA": ("ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512"),
}


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What one probe saw."""

    listener: str
    server_name: str | None
    sha256: str | None
    """Fingerprint (colon hex) of the leaf, None when none was seen; `problem` says why."""
    service: str = "listener"
    """listener, or interface: an HTTPS port."""
    certificate: str = ""
    """Name of the profile that was hoped for, filled in by who asked."""
    expected: bool = False
    hidden: bool = False
    """The policy for this machine's own address shows no TLS: nothing was seen, and nothing is wrong."""
    protocol: str = ""
    problem: str = ""


class _NotSeen(msgspec.Struct, frozen=True):
    why: str
    hidden: bool = False
    handshake: bool = False
    """It was TLS itself that failed."""


_REFUSED = _NotSeen(
    "it closed the connection; most often the policy for this machine's own address refuses it", hidden=True
)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe asks for and hopes to see."""

    listener: Listener
    hostname: str
    server_name: str | None
    fingerprint: str
    service: str = "listener"
    """An interface is asked like a listener with TLS from the first byte."""
    key_type: str
    """RSA or ECDSA: decides the cipher list, so that both certificates of a pair can be seen; "": any."""


Announce = Callable[[str, int], Awaitable[None]]
"""Told to those who accept, before it comes: the address and port of a look's own end."""


class Probe:
    """Probes listeners over TCP. `announce` keeps the looks out of logs and figures."""

    def __init__(self, clock: Clock, announce: Announce) -> None:
        self._clock = clock
        self._announce = announce
        self._contexts: dict[str, SSL.Context] = {}

    async def look(self, wanted: Iterable[Wanted]) -> list[Seen]:
        """One connection for each, in turn."""
        return [await self._one(each) for each in wanted]

    def _context(self, key_type: str) -> SSL.Context:
        context = self._contexts.get(key_type)
        if context is None:
            # The key type is chosen through the cipher list up to TLS 1.2, and through the signatures in 1.3.
            # All versions: the listener may be set to any of them.
            values = ClientTls(
                min_version="TLSv1",
                ciphers={"RSA": "aRSA", "ECDSA": "aECDSA"}.get(key_type, "DEFAULT"),
                signatures=_SIGNATURES.get(key_type, ()),
                post_quantum=False,
            )
            context = self._contexts[key_type] = client_context(values)
        return context

    async def _one(self, wanted: Wanted) -> Seen:
        listener = wanted.listener
        result = await self._try(wanted)
        if isinstance(result, _NotSeen) and result.handshake:
            # What is served may have a key of another type than what was hoped for.
            other = await self._try(msgspec.structs.replace(wanted, key_type=""))
            result = result if isinstance(other, _NotSeen) else other
        if isinstance(result, _NotSeen):
            return Seen(
                listener=listener.name,
                service=wanted.service,
                server_name=wanted.server_name,
                sha256=None,
                hidden=result.hidden,
                problem=result.why,
            )
        digest = hashlib.sha256(result.peer_certificates[0]).hexdigest().upper()
        sha256 = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
        return Seen(
            listener=listener.name,
            service=wanted.service,
            server_name=wanted.server_name,
            sha256=sha256,
            expected=sha256 == wanted.fingerprint,
            protocol=result.protocol,
        )

    async def _try(self, wanted: Wanted) -> TlsFacts | _NotSeen:
        channel = Channel(self._clock)
        try:
            await self._connect(channel, wanted)
            return await self._handshake(channel, wanted)
        except OSError as error:
            return _NotSeen(f"it does not answer ({error})" if str(error) else "it does not answer in time")
        except Broken as broken:
            late = broken.reason == "connection timed out"
            return _NotSeen("it does not answer in time") if late else _REFUSED
        finally:
            channel.close()

    async def _connect(self, channel: Channel, wanted: Wanted) -> None:
        listener = wanted.listener
        address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listener.address, listener.address)  # noqa: S104
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            sock.setblocking(False)
            sock.bind((address, 0))
            if wanted.service == "listener":  # no worker accepts HTTPS
                await self._announce(address, int(sock.getsockname()[1]))
            async with asyncio.timeout(_SECONDS):
                await loop.sock_connect(sock, (address, listener.port))
        except BaseException:
            sock.close()
            raise
        await loop.create_connection(lambda: channel, sock=sock)

    async def _handshake(self, channel: Channel, wanted: Wanted) -> TlsFacts | _NotSeen:
        if not wanted.listener.implicit_tls:
            greeting = await channel.reply(_SECONDS)
            if greeting.code != 220:
                return _NotSeen(f"it answered {greeting.code} {greeting.text}")
            channel.send(hello(wanted.hostname))
            capabilities = Capabilities.parse(await channel.reply(_SECONDS))
            if not capabilities.starttls:
                return _NotSeen(
                    "the policy for this machine's own address does not offer STARTTLS", hidden=True
                )
            channel.send(STARTTLS)
            reply = await channel.reply(_SECONDS)
            if reply.code != 220:
                return _NotSeen(f"STARTTLS was answered {reply.code} {reply.text}")
        result = await channel.start_tls(self._context(wanted.key_type), wanted.server_name, None, _SECONDS)
        if isinstance(result, TlsFault):
            return _NotSeen(f"the handshake failed: {result.reason}", handshake=True)
        if wanted.service == "listener":
            channel.send(QUIT)
        return result
