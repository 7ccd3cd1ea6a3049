"""Who may do what: sender groups with their policies, and recipient access. PURE.

A listener's table is compiled once for each document; the first group that matches wins (reference §3.1,
§4.2).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec

from mxseal.config.model import Document, MailFlowPolicy
from mxseal.events.types import HatVerdict

VERDICTS: dict[str, HatVerdict] = {
    "accept": "ACCEPT",
    "relay": "RELAY",
    "reject": "REJECT",
    "refuse": "TCPREFUSE",
}
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Judgement(msgspec.Struct, frozen=True):
    """The group and policy of a connection."""

    group: str | None
    match: str
    policy: MailFlowPolicy

    @property
    def verdict(self) -> HatVerdict:
        return VERDICTS[self.policy.action]


class _Member(msgspec.Struct, frozen=True):
    text: str
    network: Network | None
    group: str
    policy: MailFlowPolicy


class HostAccessTable:
    """The sender groups of one listener, in order."""

    def __init__(self, document: Document, listener: str) -> None:
        self._members: list[_Member] = []
        for group in document.sender_groups:
            if group.listeners and listener not in group.listeners:
                continue
            policy = document.policy(group.policy)
            for text in group.members:
                self._members.append(_Member(text, _network(text), group.name, policy))
        self._default = Judgement(None, "ALL", document.policy(document.default_policy))

    def judge(self, address: str, name: str | None) -> Judgement:
        """`name` is the client's forward-confirmed host name; an unconfirmed one must not be passed: it is
        whatever the owner of the address likes it to be."""
        ip = ipaddress.ip_address(address)
        for member in self._members:
            if _matches(member, ip, name):
                return Judgement(member.group, member.text, member.policy)
        return self._default


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _matches(member: _Member, ip: ipaddress.IPv4Address | ipaddress.IPv6Address, name: str | None) -> bool:
    if member.network is not None:
        return ip in member.network
    return member.text == "ALL" or (name is not None and matches_domain(member.text, name))


def matches_domain(pattern: str, domain: str) -> bool:
    """'example.com' is itself only, '.example.com' its sub-domains only, 'all' everything."""
    if pattern == "all":
        return True
    return domain.endswith(pattern) if pattern.startswith(".") else domain == pattern


class RecipientAccessTable:
    """The domains that mail is accepted for."""

    def __init__(self, domains: Sequence[str]) -> None:
        self._exact = frozenset(domain for domain in domains if not domain.startswith("."))
        self._parents = tuple(domain for domain in domains if domain.startswith("."))
        self._all = "all" in domains

    def accepts(self, domain: str) -> bool:
        """`domain` is lower case, in A-labels."""
        return self._all or domain in self._exact or any(domain.endswith(parent) for parent in self._parents)
