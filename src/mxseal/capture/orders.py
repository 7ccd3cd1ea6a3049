"""What is to be recorded: an administrator's order, and whether a connection is meant by it. PURE."""

from __future__ import annotations

import ipaddress
from typing import Literal

import msgspec

Direction = Literal["incoming", "delivery"]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Record the next `count` connections that match. Only one of `next_icid`, `domain`, `host`,
    `ldap` and `analysis` is set."""

    name: str
    user: str
    armed_at: float
    until: float
    """Seconds since the epoch, UTC; as `armed_at`."""
    count: int = 1
    content: bool = False
    """Also what stands behind DATA."""
    next_icid: bool = False
    domain: str | None = None
    host: str | None = None
    """A host name, an IP address or a network."""
    ldap: str | None = None
    """A profile of directory servers, by its name."""
    analysis: str | None = None
    """An analysis server, by its name."""
    listener: str | None = None
    only: Direction | None = None

    def wanted(self) -> str:
        """The order in words."""
        if self.next_icid:
            what = "the next incoming connection"
        elif self.ldap is not None:
            what = f"LDAP profile {self.ldap}"
        elif self.analysis is not None:
            what = f"analysis server {self.analysis}"
        elif self.domain is not None:
            what = f"domain {self.domain}"
        else:
            what = f"host {self.host}"
        where = f", listener {self.listener}" if self.listener else ""
        return what + where + (f", {self.only} only" if self.only else "")


class Connection(msgspec.Struct, kw_only=True):
    """What is known of a connection by now; names and domains come as it goes on."""

    direction: Direction | Literal["directory", "analysis"]
    address: str
    listener: str | None = None
    profile: str | None = None
    """Of a connection to a directory or an analysis server: its name."""
    names: set[str] = msgspec.field(default_factory=set)
    """What the host is called, by itself or by others."""
    domains: set[str] = msgspec.field(default_factory=set)
    """Whose mail it carries."""


def tidy(name: str) -> str:
    """A host's or domain's name as names are compared."""
    return name.strip().rstrip(".").lower()


def network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The addresses that are meant; None for a name."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def matches(order: Order, connection: Connection) -> bool:
    """Whether the connection is one that the order means, as far as it is known now."""
    if connection.direction == "analysis" or order.analysis is not None:
        meant = connection.direction == "analysis" and order.analysis is not None
        return meant and order.analysis == connection.profile
    if order.ldap is not None or connection.profile is not None:
        return order.ldap is not None and order.ldap == connection.profile
    if order.only not in (None, connection.direction):
        return False
    if order.listener is not None and connection.listener != order.listener:
        return False
    if order.next_icid:
        return connection.direction == "incoming"
    if order.host is not None:
        return _is_host(order.host, connection)
    return order.domain is not None and _is_of(order.domain, connection)


def may_match(order: Order, connection: Connection) -> bool:
    """Whether it could still turn out to be one: its names are not known yet."""
    if connection.direction != "incoming" or order.only == "delivery":
        return False
    if order.listener not in (None, connection.listener):
        return False
    return order.domain is not None or (order.host is not None and network(order.host) is None)


def _is_host(host: str, connection: Connection) -> bool:
    meant = network(host)
    if meant is None:
        return tidy(host) in connection.names
    try:
        address = ipaddress.ip_address(connection.address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in meant


def _is_of(domain: str, connection: Connection) -> bool:
    wanted = tidy(domain)
    if wanted in connection.domains:
        return True
    return any(name == wanted or name.endswith("." + wanted) for name in connection.names)
