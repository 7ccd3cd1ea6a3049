"""Where a recipient's mail goes, and under which destination controls. PURE.

A `Target` is what deliveries are gathered by: mail that takes the same way under the same controls shares
connections, whatever its domains, unless the level compares the server's certificate with the domain. Without
a route the domain's own MX records are the way (RFC 5321 §5.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from mxseal.config.model import DeliveryLevel, Destination, Document, TlsOverride
from mxseal.config.values import DEFAULT, domain_name, split_host_port
from mxseal.smtp.grammar import split_address
from mxseal.storage.ports import Envelope
from mxseal.tls.policy import LEVELS, RULES

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
    level_from: str = "default"
    """Who says so: 'default', 'destination bank.example', 'sender override board@example.com',
    'recipient override .bank.example', 'message'."""
    email_domain: str = ""
    """The domain that names are compared with, where the level does that: such mail shares no connection
    with other domains' mail. Else empty."""
    trust_anchors: tuple[tuple[str, str], ...] = ()
    """(name, PEM) of the only authorities that the server's chain may end in; empty: those of the lists."""
    pins: tuple[str, ...] = ()
    alert: bool = False
    """Whether a required TLS connection that fails raises an alert."""

    @property
    def outranked(self) -> bool:
        """Whether the destination's own level does not count."""
        return not self.level_from.startswith(("default", "destination "))

    def also_serves(self, domain: str, usual: Target) -> bool:
        """Whether mail for a domain, whose own target is `usual`, may go here for its level alone."""
        way, usual_way = (self.domain, self.hosts), (usual.domain, usual.hosts)
        return self.outranked and way == usual_way and self.email_domain in ("", domain)

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
    """The routes, destination controls and TLS overrides of one document."""

    def __init__(self, document: Document) -> None:
        self._routes = {
            pattern: tuple(split_host_port(hop) for hop in hops)
            for pattern, hops in document.smtp_routes.items()
        }
        self._destinations = {entry.domain: entry for entry in document.destinations}
        self._default = self._destinations.get(DEFAULT, Destination(domain=DEFAULT))
        self._overrides = document.tls_overrides
        self._authorities = {entry.name: entry.certificate for entry in document.trust.authorities}
        self._alert = document.delivery.alert_on_tls_failure
        self._cache: dict[tuple[str, DeliveryLevel | None, str], Target] = {}

    def target(self, domain: str, level: DeliveryLevel | None = None, level_from: str = "") -> Target:
        """`domain`: lower case, A-labels. `level`: in the place of the destination's, with its origin."""
        key = domain, level, level_from
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) >= _CACHED_DOMAINS:  # strangers choose the domains: stay bounded
                self._cache.clear()
            found = self._cache[key] = self._find(domain, level, level_from)
        return found

    def target_of(
        self,
        recipient: str,
        sender: str = "",
        level: DeliveryLevel | None = None,
        route: str = "",
        groups: Sequence[str] = (),
    ) -> Target:
        """Where one recipient of a message goes. `level` is the message's own, which outranks the overrides;
        they outrank the destination (reference §3.6). `route`: the next hop that a directory names; `groups`:
        what it says of sender and recipient, as `storage.ports.Recipient` has them."""
        found = self._by_rules(recipient, sender, level, groups)
        if not route:
            return found
        return msgspec.structs.replace(found, domain="", hosts=(split_host_port(route),))

    def _by_rules(
        self, recipient: str, sender: str, level: DeliveryLevel | None, groups: Sequence[str]
    ) -> Target:
        domain = mail_domain(recipient)
        if level is not None:
            return self.target(domain, level, "message")
        for override in self._overrides:
            if (origin := _origin(override, sender, recipient, groups)) is not None:
                return self.target(domain, override.tls, origin)
        return self.target(domain)

    def entry(self, domain: str) -> Destination:
        """The destination controls that count for a domain: the most exact entry, else the default one."""
        return _lookup(self._destinations, domain) or self._default

    def _find(self, domain: str, level: DeliveryLevel | None, level_from: str) -> Target:
        hosts = _lookup(self._routes, domain) or ()
        entry = self.entry(domain)
        default = self._default
        if level is None:
            level = entry.tls or default.tls or "off"
            level_from = f"destination {entry.domain}" if entry.tls and entry is not default else "default"
        return Target(
            domain="" if hosts else domain,
            hosts=hosts,
            tls=level,
            concurrency=entry.concurrency or default.concurrency or DEFAULT_CONCURRENCY,
            messages_per_connection=entry.messages_per_connection
            or default.messages_per_connection
            or DEFAULT_MESSAGES,
            level_from=level_from,
            email_domain=domain if level in RULES else "",
            trust_anchors=tuple((name, self._authorities.get(name, "")) for name in entry.trust_anchors),
            pins=entry.pins,
            alert=self._alert if entry.alert is None else entry.alert,
        )


def own_level(envelope: Envelope) -> DeliveryLevel | None:
    """The level that an administrator gave the message; None without one."""
    return next((level for level in LEVELS if level == envelope.tls_level), None)


def mail_domain(address: str) -> str:
    """The domain of an address, lower case, in A-labels as far as it has them."""
    domain = split_address(address)[1].lower()
    if domain.isascii():
        return domain
    try:
        return domain_name(domain)
    except ValueError:
        return domain  # the resolver will say that there is no such domain


def _origin(override: TlsOverride, sender: str, recipient: str, groups: Sequence[str]) -> str | None:
    """What an override is called when it concerns a message; None when it does not."""
    for side, name in (("sender", override.sender_group), ("recipient", override.recipient_group)):
        if name is not None:
            return f"{side} group {name}" if f"{side} {name}" in groups else None
    if override.sender is not None:
        return f"sender override {override.sender}" if matches(override.sender, sender) else None
    if override.recipient is not None and matches(override.recipient, recipient):
        return f"recipient override {override.recipient}"
    return None


def matches(pattern: str, address: str) -> bool:
    """Whether 'user@example.com', 'example.com', '.example.com' or 'all' means an address; "" is the null
    sender, which only 'all' means. Local parts are compared without case: two people never differ by it."""
    if pattern == "all":
        return True
    domain = mail_domain(address)
    if pattern.startswith("."):
        return domain.endswith(pattern)
    local, at, wanted = pattern.rpartition("@")
    if wanted != domain:
        return False
    return not at or local.lower() == split_address(address)[0].lower()


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
