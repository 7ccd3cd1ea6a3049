"""Who may do what: sender groups with their policies, and recipient access. PURE.

A listener's table is compiled once for each document; the first group that matches wins (reference §3.1,
§4.2). Groups have hosts as members, known before the first byte, and certificates, known after the handshake.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from mxseal.config.model import Document, MailFlowPolicy
from mxseal.config.values import domain_name
from mxseal.events.types import HatVerdict
from mxseal.smtp.grammar import split_address
from mxseal.tls.client_identity import ClientIdentity
from mxseal.tls.receiving import VERIFYING

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
    asks_certificate: bool = False
    """Whether the client's certificate is asked for in the handshake: the policy verifies it, or a group
    before this one is for certain certificates."""
    tls_senders: SenderTable | None = None
    """Senders whose mail is taken over TLS only."""

    @property
    def verdict(self) -> HatVerdict:
        return VERDICTS[self.policy.action]

    def told(self) -> dict[str, str | None]:
        """For the event."""
        policy = self.policy
        return {
            "verdict": self.verdict,
            "sender_group": self.group,
            "match": self.match,
            "policy": policy.name,
            "level": policy.tls,
        }


class _Member(msgspec.Struct, frozen=True):
    text: str
    network: Network | None
    is_certificate: bool
    judgement: Judgement


class HostAccessTable:
    """The sender groups of one listener, in order."""

    def __init__(self, document: Document, listener: str) -> None:
        self._members: list[_Member] = []
        senders = {
            policy.name: SenderTable(policy.tls_senders) if policy.tls_senders else None
            for policy in document.mail_flow_policies
        }
        certificates_before = False

        def judgement(group: str | None, match: str, policy_name: str) -> Judgement:
            policy = document.policy(policy_name)
            asks = certificates_before or policy.tls in VERIFYING
            return Judgement(group, match, policy, asks, senders[policy_name])

        for group in document.sender_groups:
            if group.listeners and listener not in group.listeners:
                continue
            for text in group.members:
                found = judgement(group.name, text, group.policy)
                self._members.append(_Member(text, _network(text), False, found))
            certificates_before = certificates_before or bool(group.certificates)
            for text in group.certificates:
                found = judgement(group.name, f"certificate {text}", group.policy)
                self._members.append(_Member(text, None, True, found))
        self._default = judgement(None, "ALL", document.default_policy)
        self._hosts = [member for member in self._members if not member.is_certificate]

    def judge(self, address: str, name: str | None, identity: ClientIdentity | None = None) -> Judgement:
        """`name` is the client's forward-confirmed host name; an unconfirmed one must not be passed: it is
        whatever the owner of the address likes it to be. The same holds for `identity`: only of a certificate
        that was verified."""
        ip = ipaddress.ip_address(address)
        for member in self._hosts if identity is None else self._members:
            if member.is_certificate:
                if identity is not None and identity.carries(member.text):
                    return member.judgement
            elif _matches(member, ip, name):
                return member.judgement
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


class SenderTable:
    """Sender patterns: addresses, domains, '.domain', 'all'."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._addresses = frozenset(pattern.lower() for pattern in patterns if "@" in pattern)
        self._domains = RecipientAccessTable([pattern for pattern in patterns if "@" not in pattern])

    def holds(self, sender: str) -> bool:
        """Whether an envelope sender is meant. "" is the null sender, which only 'all' means.

        Upper and lower case are one, also in the local part: a list that says who needs TLS must not be got
        around with a capital letter.
        """
        local, domain = split_address(sender)
        domain = canonical_domain(domain)
        return self._domains.accepts(domain) or f"{local.lower()}@{domain}" in self._addresses


def canonical_domain(domain: str) -> str:
    """In lower case and A-labels, as documents have it; "" when it is none."""
    domain = domain.lower()
    if domain.isascii():
        return domain
    try:
        return domain_name(domain)
    except ValueError:
        return ""
