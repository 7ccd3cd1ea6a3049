"""DNS for the relay: where a domain's mail goes, and what a client is called. Answers are values.

Answers are cached for their time to live, within bounds; a name server that does not answer costs its
time-out.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import secrets
from collections.abc import Sequence
from typing import Any, Protocol, cast

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import msgspec

from mxseal.clock import Clock
from mxseal.config.model import Dns
from mxseal.config.values import split_host_port
from mxseal.relay.answers import Bounded
from mxseal.relay.routing import MailExchanger, is_null_mx, order_exchangers

_CACHE_ENTRIES = 20_000
_NAME_ENTRIES = 500
"""Of PTR records, in a cache of their own: whoever connects chooses them, and must not drop the others."""
_NAMES_AT_ONCE = 50
_RECORDS = 50
"""Of one answer: 64 KiB hold thousands, each of which may become a name of 255 octets."""
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

    @property
    def confirmed(self) -> str | None:
        """The name, if it may decide about anything."""
        return self.name if self.verified else None


class Resolver(Protocol):
    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault: ...

    async def host(self, name: str, port: int) -> Host | DnsFault: ...

    async def exchangers(self, domain: str) -> tuple[MailExchanger, ...] | DnsFault: ...

    def permitted(self, addresses: Sequence[str]) -> tuple[str, ...]: ...

    async def client_name(self, address: str) -> ClientName: ...


class _Cache:
    """Answers until they expire; cleared when full, as clients and senders choose the names."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._answers: dict[tuple[str, str], tuple[float, Sequence[str] | DnsFault]] = {}

    def get(self, key: tuple[str, str], now: float) -> Sequence[str] | DnsFault | None:
        expires, answer = self._answers.get(key, (now, None))
        return answer if expires > now else None

    def put(self, key: tuple[str, str], expires: float, answer: Sequence[str] | DnsFault) -> None:
        if len(self._answers) >= self._entries:
            self._answers.clear()
        self._answers[key] = expires, answer


class DnsResolver:
    """The port Resolver over dnspython."""

    def __init__(self, settings: Dns, clock: Clock) -> None:
        self._clock = clock
        self._resolver = resolver_for(settings)
        self._backend = cast("Any", Bounded())
        self._allow_local = settings.allow_local
        self._cache, self._names = _Cache(_CACHE_ENTRIES), _Cache(_NAME_ENTRIES)
        self._patience = 2 * settings.timeout
        self._turn = asyncio.Semaphore(_NAMES_AT_ONCE)

    async def hosts(self, domain: str, port: int = 25) -> tuple[Host, ...] | DnsFault:
        """The domain's exchangers in the order in which they are to be tried (RFC 5321 §5.1)."""
        if domain.startswith("["):
            literal = _literal(domain, port)
            return literal if isinstance(literal, DnsFault) else self._outside(domain, literal)
        records = await self.exchangers(domain)
        if isinstance(records, DnsFault):
            return records
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
            return self._outside(domain, found)
        return fault or DnsFault(False, "4.4.3", f"no address found for {domain}")

    async def exchangers(self, domain: str) -> tuple[MailExchanger, ...] | DnsFault:
        """The domain's MX records as they stand; empty when it has none."""
        answer = await self._ask(domain, "MX", self._cache)
        if isinstance(answer, DnsFault):
            return answer
        pairs = [text.split() for text in answer]
        records = tuple(MailExchanger(int(pair[0]), pair[1].rstrip(".").lower()) for pair in pairs)
        if is_null_mx(records):
            return DnsFault(True, "5.1.10", f"{domain} takes no mail (null MX)")
        return records

    def permitted(self, addresses: Sequence[str]) -> tuple[str, ...]:
        """Those of a stranger's addresses to which this machine may connect."""
        return tuple(a for a in addresses if self._allow_local or not _is_local(a))

    def _outside(self, domain: str, hosts: Sequence[Host]) -> tuple[Host, ...] | DnsFault:
        """Without addresses that lead a stranger's mail to this machine's own services."""
        if self._allow_local:
            return tuple(hosts)
        left = [Host(h.name, h.port, tuple(a for a in h.addresses if not _is_local(a))) for h in hosts]
        if any(host.addresses for host in left):
            return tuple(host for host in left if host.addresses)
        text = f"the mail exchangers of {domain} have only addresses inside this machine or network link"
        return DnsFault(True, "5.4.6", text)

    async def host(self, name: str, port: int) -> Host | DnsFault:
        """A next hop of an SMTP route, whose addresses may be any: the administrator wrote its name."""
        try:
            return Host(name, port, (str(ipaddress.ip_address(name)),))
        except ValueError:
            pass
        addresses = await self._addresses(name, self._cache)
        return addresses if isinstance(addresses, DnsFault) else Host(name, port, addresses)

    async def _addresses(self, name: str, cache: _Cache) -> tuple[str, ...] | DnsFault:
        """At least one."""
        v4, v6 = await self._ask(name, "A", cache), await self._ask(name, "AAAA", cache)
        addresses = [a for answer in (v6, v4) if not isinstance(answer, DnsFault) for a in answer]
        if addresses:
            return tuple(addresses[:_ADDRESSES])
        for answer in (v4, v6):
            if isinstance(answer, DnsFault):
                return answer
        return DnsFault(True, "5.4.4", f"{name} has no address")

    async def client_name(self, address: str) -> ClientName:
        """`address` may have a scope (fe80::1%eth0), which is none of DNS's business (RFC 4007 §11.2)."""
        address = address.partition("%")[0]
        try:
            if ipaddress.ip_address(address).is_loopback:
                return ClientName("localhost", verified=True)
            pointer = str(dns.reversename.from_address(address))
            async with asyncio.timeout(self._patience), self._turn:
                return await self._name(pointer, address)
        except (ValueError, dns.exception.DNSException, TimeoutError):
            return ClientName(None, verified=False)

    async def _name(self, pointer: str, address: str) -> ClientName:
        names = await self._ask(pointer, "PTR", self._names)
        if isinstance(names, DnsFault) or not names or names[0] == ".":
            return ClientName(None, verified=False)
        name = names[0].rstrip(".").lower()
        addresses = await self._addresses(name, self._names)
        return ClientName(name, verified=not isinstance(addresses, DnsFault) and address in addresses)

    async def _ask(self, name: str, kind: str, cache: _Cache) -> Sequence[str] | DnsFault:
        """The record data as text; empty when the name exists without such records."""
        key = (name, kind)
        now = self._clock.monotonic()
        cached = cache.get(key, now)
        if cached is not None:
            return cached
        ttl = _NEGATIVE_SECONDS
        result: Sequence[str] | DnsFault
        try:
            answer = await self._resolver.resolve(
                name, kind, raise_on_no_answer=False, search=False, backend=self._backend
            )
            few = heapq.nsmallest(_RECORDS, answer, key=lambda record: getattr(record, "preference", 0))
            result = [record.to_text() for record in few]
            ttl = min(_LONGEST_TTL, answer.ttl if answer.rrset is not None else _NEGATIVE_SECONDS)
        except dns.resolver.NXDOMAIN:
            result = DnsFault(True, "5.1.2", f"DNS Hard Error looking up {name} ({kind}):  NXDomain")
        except (dns.exception.DNSException, OSError, ValueError) as error:
            text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            result = DnsFault(False, "4.4.3", f"DNS Soft Error looking up {name} ({kind}): {text}")
            ttl = 5.0
        cache.put(key, now + ttl, result)
        return result


def resolver_for(settings: Dns) -> dns.asyncresolver.Resolver:
    """dnspython's, with these name servers, else those of /etc/resolv.conf."""
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


def _is_local(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local


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
