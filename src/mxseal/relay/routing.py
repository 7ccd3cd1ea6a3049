"""Where a recipient's mail goes, and under which destination controls. PURE.

A `Target` is what deliveries are gathered by: mail that takes the same way under the same controls shares
connections, whatever its domains. Without a route the domain's own MX records are the way (RFC 5321 §5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from mxseal.config.model import DeliveryLevel, Destination, Document
from mxseal.config.values import DEFAULT, split_host_port

T = TypeVar("T")

DEFAULT_CONCURRENCY = 500
DEFAULT_MESSAGES = 50
"""Reference §3.6: the default entry's connections per host and messages per connection."""
_CACHED_DOMAINS = 10_000


class Target(msgspec.Struct, frozen=True):
    """A way out and the controls on it."""

    domain: str
    """The domain whose MX is asked; empty for a route, which several domains share."""
    hosts: tuple[tuple[str, int], ...]
    """(host, port) of an SMTP route, tried in order; empty: ask the domain's MX."""
    tls: DeliveryLevel
    concurrency: int
    messages_per_connection: int

    @property
    def name(self) -> str:
        """What people call it: the domain, or the hosts of the route."""
        if not self.hosts:
            return self.domain
        shown = [host if port == 25 else f"{_bracketed(host)}:{port}" for host, port in self.hosts]
        return ", ".join(shown)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class MailExchanger(msgspec.Struct, frozen=True):
    """One MX record."""

    preference: int
    host: str


class Routing:
    """The routes and destination controls of one document."""

    def __init__(self, document: Document) -> None:
        self._routes = {
            pattern: tuple(split_host_port(hop) for hop in hops)
            for pattern, hops in document.smtp_routes.items()
        }
        self._destinations = {entry.domain: entry for entry in document.destinations}
        self._default = self._destinations.get(DEFAULT, Destination(domain=DEFAULT))
        self._cache: dict[str, Target] = {}

    def target(self, domain: str) -> Target:
        """`domain` is lower case, in A-labels."""
        found = self._cache.get(domain)
        if found is None:
            if len(self._cache) >= _CACHED_DOMAINS:  # strangers choose the domains: stay bounded
                self._cache.clear()
            found = self._cache[domain] = self._find(domain)
        return found

    def _find(self, domain: str) -> Target:
        hosts = _lookup(self._routes, domain) or ()
        entry = _lookup(self._destinations, domain) or self._default
        default = self._default
        return Target(
            domain="" if hosts else domain,
            hosts=hosts,
            tls=entry.tls or default.tls or "off",
            concurrency=entry.concurrency or default.concurrency or DEFAULT_CONCURRENCY,
            messages_per_connection=entry.messages_per_connection
            or default.messages_per_connection
            or DEFAULT_MESSAGES,
        )


def _lookup(table: dict[str, T], domain: str) -> T | None:
    """The entry of the domain itself, else of its nearest '.parent', else of 'all'."""
    if domain in table:
        return table[domain]
    rest = domain
    while "." in rest:
        rest = rest.partition(".")[2]
        if (parent := "." + rest) in table:
            return table[parent]
    return table.get("all")


def order_exchangers(records: Iterable[MailExchanger], shuffle: Sequence[float]) -> list[str]:
    """Hosts by preference; equal preferences in the order of `shuffle`, a random number for each record
    (RFC 5321 §5.1: the sender MUST randomize them)."""
    ranked = sorted(zip(records, shuffle, strict=True), key=lambda pair: (pair[0].preference, pair[1]))
    return list(dict.fromkeys(record.host for record, _ in ranked))


def is_null_mx(records: Sequence[MailExchanger]) -> bool:
    """RFC 7505 §3: a single MX with the root as host says that the domain takes no mail."""
    return len(records) == 1 and records[0].host in {"", "."}


def retry_delay(attempts: int, first: float, longest: float, chance: float) -> float:
    """Seconds until the next attempt: doubling from `first` up to `longest`, with a jitter of ±10 % by
    `chance` in [0, 1), so that what failed together does not come back together."""
    delay = min(longest, first * 2.0 ** min(attempts - 1, 30))
    return delay * (0.9 + 0.2 * chance)
