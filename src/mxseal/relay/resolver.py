"""DNS for the relay: where a domain's mail goes, and what a client is called. Answers are values.

Answers are cached for their time to live, within bounds; a name server that does not answer costs its
time-out.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from typing import Protocol

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import msgspec

from mxseal.clock import Clock
from mxseal.config.model import Dns, split_host_port
from mxseal.relay.routing import MailExchanger, is_null_mx, order_exchangers

_CACHE_ENTRIES = 20_000
_NEGATIVE_SECONDS = 60.0
_LONGEST_TTL = 3600.0
_MX_HOSTS = 20
"""More exchangers than this are not tried: a stranger's zone must not keep a delivery busy for hours."""
_ADDRESSES = 10


class Host(msgspec.Struct, frozen=True):
    """A next hop with its addresses; none when its name does not resolve now."""

    name: str
    port: int
    addresses: tuple[str, ...]


class DnsFault(msgspec.Struct, frozen=True):
    """Why there is no way to a domain. hard: it will not get better by waiting."""

    hard: bool
    status: str
    """Enhanced status code (RFC 3463, RFC 7505)."""
    text: str


class ClientName(msgspec.Struct, frozen=True):
    """What the PTR record says, and whether the name's addresses lead back."""

    name: str | None
    verified: bool


class Resolver(Protocol):
    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault: ...

    async def host(self, name: str, port: int) -> Host | DnsFault: ...

    async def client_name(self, address: str) -> ClientName: ...


_Answer = tuple[float, Sequence[str] | DnsFault]


class DnsResolver:
    """The port Resolver over dnspython."""

    def __init__(self, settings: Dns, clock: Clock) -> None:
        self._clock = clock
        self._resolver = _resolver(settings)
        self._cache: dict[tuple[str, str], _Answer] = {}

    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault:
        """The domain's exchangers in the order in which they are to be tried (RFC 5321 §5.1)."""
        if domain.startswith("["):
            return _literal(domain, port)
        answer = await self._ask(domain, "MX")
        if isinstance(answer, DnsFault):
            return answer
        pairs = [text.split() for text in answer]
        records = [MailExchanger(int(pair[0]), pair[1].rstrip(".").lower()) for pair in pairs]
        if is_null_mx(records):
            return DnsFault(True, "5.1.10", f"{domain} takes no mail (null MX)")
        names = order_exchangers(records, [secrets.randbelow(1 << 30) / (1 << 30) for _ in records])
        if not names:
            names = [domain]  # RFC 5321 §5.1: no MX, the domain itself is its implicit exchanger
        found: list[Host] = []
        fault: DnsFault | None = None
        for name in names[:_MX_HOSTS]:
            host = await self.host(name, port)
            if isinstance(host, DnsFault):
                fault = host if fault is None or not host.hard else fault
            else:
                found.append(host)
        if found:
            return tuple(found)
        return fault or DnsFault(False, "4.4.3", f"no address found for {domain}")

    async def host(self, name: str, port: int) -> Host | DnsFault:
        try:
            return Host(name, port, (str(ipaddress.ip_address(name)),))
        except ValueError:
            pass
        v4, v6 = await self._ask(name, "A"), await self._ask(name, "AAAA")
        addresses = [a for answer in (v6, v4) if not isinstance(answer, DnsFault) for a in answer]
        if addresses:
            return Host(name, port, tuple(addresses[:_ADDRESSES]))
        for answer in (v4, v6):
            if isinstance(answer, DnsFault):
                return answer
        return DnsFault(True, "5.4.4", f"{name} has no address")

    async def client_name(self, address: str) -> ClientName:
        if ipaddress.ip_address(address).is_loopback:
            return ClientName("localhost", verified=True)
        pointer = str(dns.reversename.from_address(address))
        names = await self._ask(pointer, "PTR")
        if isinstance(names, DnsFault) or not names:
            return ClientName(None, verified=False)
        name = names[0].rstrip(".").lower()
        host = await self.host(name, 25)
        return ClientName(name, verified=isinstance(host, Host) and address in host.addresses)

    async def _ask(self, name: str, kind: str) -> Sequence[str] | DnsFault:
        """The record data as text; empty when the name exists without such records."""
        key = (name, kind)
        now = self._clock.monotonic()
        cached = self._cache.get(key)
        if cached is not None and cached[0] > now:
            return cached[1]
        ttl = _NEGATIVE_SECONDS
        result: Sequence[str] | DnsFault
        try:
            answer = await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
            result = [record.to_text() for record in answer]
            ttl = min(_LONGEST_TTL, answer.ttl if answer.rrset is not None else _NEGATIVE_SECONDS)
        except dns.resolver.NXDOMAIN:
            result = DnsFault(True, "5.1.2", f"DNS Hard Error looking up {name} ({kind}):  NXDomain")
        except (dns.exception.DNSException, OSError, ValueError) as error:
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            result = DnsFault(False, "4.4.3", f"DNS Soft Error looking up {name} ({kind}): {text}")
            ttl = 5.0
        if len(self._cache) >= _CACHE_ENTRIES:  # clients and senders choose the names: stay bounded
            self._cache.clear()
        self._cache[key] = (now + ttl, result)
        return result


def _resolver(settings: Dns) -> dns.asyncresolver.Resolver:
    if settings.servers:
        resolver = dns.asyncresolver.Resolver(configure=False)
        servers = [split_host_port(server, 53) for server in settings.servers]
        resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
    else:
        try:
            resolver = dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            resolver = dns.asyncresolver.Resolver(configure=False)
            resolver.nameservers = ["127.0.0.1"]
    resolver.lifetime = settings.timeout
    return resolver


def _literal(domain: str, port: int) -> tuple[Host, ...] | DnsFault:
    """An address literal (RFC 5321 §4.1.3), e.g. [192.0.2.1] or [IPv6:2001:db8::1]."""
    text = domain.strip("[]")
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        return DnsFault(True, "5.1.2", f"{domain} is not an address literal")
    return (Host(domain, port, (address,)),)
