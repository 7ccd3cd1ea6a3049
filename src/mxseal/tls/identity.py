"""Whose certificate is this? The two sets of identity rules of the reference (§3.4). PURE.

Verify (levels 4 and 5): DNS names of the subject alternative name (SAN) against the email domain, the common
name (CN) against the email domain, then against the name that the connected address has in the reverse tree.
Hosted Verify (level 6): SAN names, or the CN where the SAN holds none (RFC 6125 §6.4.4), against the email
domain, then the hosts of its MX records, then the host of the SMTP route. The first match wins.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import idna
import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

Rules = Literal["verify", "hosted"]
Against = Literal["email-domain", "reverse-name", "mx-host", "route-host"]
Source = Literal["san", "cn"]

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NAMES_SHOWN = 20
"""A certificate may hold thousands of names; more than a reader looks at are not told."""
_WANTED_SHOWN = 10
_NAMES_COMPARED = 100
_HOSTS_COMPARED = 4
"""For the nearest name, which is told and decides nothing."""
_NAMES_KEPT = 100
DER_KEPT = 8192
"""Answers are kept for certificates up to here; strangers make some of 100 KB, which are read each time."""


class CertificateNames(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says whose it is."""

    dns: tuple[str, ...] = ()
    """DNS names of the subject alternative name extension, as they stand there."""
    common: tuple[str, ...] = ()
    """Common names of the subject; browsers read the last one."""

    def shown(self) -> tuple[str, ...]:
        """Each name once, a bounded number."""
        return tuple(dict.fromkeys((*self.dns, *self.common)))[:_NAMES_SHOWN]


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the names are compared with."""

    email_domain: str
    """Domain of the recipient, or a literal such as [192.0.2.1], which no certificate matches."""
    reverse_name: str | None = None
    """PTR name of the connected address; "" when it has none, None when nobody asked."""
    mx_hosts: tuple[str, ...] = ()
    """Hosts of the domain's MX records, the connected one first."""
    route_host: str = ""
    """The host that the SMTP route names; empty without a route."""


class NameVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one set of rules."""

    matched: bool
    name: str = ""
    """The certificate's name that matched; else the one nearest to what was expected, empty without any."""
    source: Source = "san"
    against: Against | None = None
    """What it was compared with when it matched."""
    expected: str = ""
    """The name that it matched; else the one that `name` is nearest to."""
    wanted: tuple[str, ...] = ()
    """Where none matched: the names that would have, in the order of the rules, at most ten."""
    undecided: bool = False
    """No match, but the reverse name was not asked for and might give one."""

    def words(self) -> str:
        """For logs and people: what matched, or what was found and expected."""
        place = "the subject alternative name" if self.source == "san" else "the common name"
        if self.matched:
            return f"{self.name} ({place}) matches {AGAINST[self.against or 'email-domain']} {self.expected}"
        if not self.name:
            return "the certificate holds no name of a host"
        return f"{self.name} ({place}) is the nearest to {self.expected}"


AGAINST: dict[Against, str] = {
    "email-domain": "the email domain",
    "reverse-name": "the reverse name of the address",
    "mx-host": "the MX host",
    "route-host": "the host of the SMTP route",
}


def by_rules(rules: Rules, names: CertificateNames, expected: Expected) -> NameVerdict:
    return by_verify(names, expected) if rules == "verify" else by_hosted(names, expected)


def by_verify(names: CertificateNames, expected: Expected) -> NameVerdict:
    """The rules of the levels preferred-verify and required-verify."""
    return (_verify if len(names.dns) > _NAMES_KEPT else _verify_kept)(names, expected)


def by_hosted(names: CertificateNames, expected: Expected) -> NameVerdict:
    """The rules of the level required-verify-hosted."""
    return (_hosted if len(names.dns) > _NAMES_KEPT else _hosted_kept)(names, expected)


def _verify(names: CertificateNames, expected: Expected) -> NameVerdict:
    common, domain = names.common[-1:], expected.email_domain
    steps: list[_Step] = [
        ("san", names.dns, "email-domain", domain),
        ("cn", common, "email-domain", domain),
        ("cn", common, "reverse-name", expected.reverse_name or ""),
    ]
    verdict = _first(steps)
    open_question = expected.reverse_name is None and any(map(_key, common))
    if verdict.matched or not open_question:
        return verdict
    return msgspec.structs.replace(verdict, undecided=True)


def _hosted(names: CertificateNames, expected: Expected) -> NameVerdict:
    source: Source = "san" if names.dns else "cn"
    presented = names.dns or names.common[-1:]
    steps: list[_Step] = [(source, presented, "email-domain", expected.email_domain)]
    steps += [(source, presented, "mx-host", host) for host in expected.mx_hosts]
    steps.append((source, presented, "route-host", expected.route_host))
    return _first(steps)


_verify_kept = lru_cache(maxsize=2048)(_verify)
_hosted_kept = lru_cache(maxsize=2048)(_hosted)

_Step = tuple[Source, tuple[str, ...], Against, str]
"""Where names come from, the names, and what they are compared with."""


def _first(steps: Sequence[_Step]) -> NameVerdict:
    """The first step that matches, else the nearest name."""
    indexes: dict[Source, dict[_Key, str]] = {}
    for source, presented, against, host in steps:
        index = indexes.get(source)
        if index is None:
            # A stranger's certificate may hold thousands of names: each is looked at once.
            index = indexes[source] = {key: name for name in reversed(presented) if (key := _key(name))}
        for key in _matching(host):
            if key in index:
                name = index[key]
                return NameVerdict(matched=True, name=name, source=source, against=against, expected=host)
    found = [
        (nearness(name, host), source, name, host)
        for source, presented, _, host in steps[:_HOSTS_COMPARED]
        for name in presented[:_NAMES_COMPARED]
        if host
    ]
    wanted = tuple(dict.fromkeys(host for *_, host in steps if host))[:_WANTED_SHOWN]
    if not found:
        return NameVerdict(matched=False, wanted=wanted)
    _, source, name, host = max(found, key=lambda entry: entry[0])
    return NameVerdict(matched=False, name=name, source=source, expected=host, wanted=wanted)


_Key = tuple[str, ...]
"""A name's labels in A-label form, a wildcard's with '*' first; () for what is no name of a host."""


def matches(presented: str, host: str) -> bool:
    """Whether a certificate's name is `host`'s: in A-labels, whatever the case, '*' for exactly one label
    (RFC 2818 §3.1, RFC 6125 §6.4.3), and never for one right below a top-level domain."""
    return _key(presented) in _matching(host)


def _key(presented: str) -> _Key:
    if not presented.startswith("*."):
        return _labels(presented)
    parent = _labels(presented[2:])
    return ("*", *parent) if len(parent) >= 2 else ()


def _matching(host: str) -> tuple[_Key, ...]:
    """The keys that match a host."""
    labels = _labels(host)
    return (labels, ("*", *labels[1:])) if labels else ()


@lru_cache(maxsize=4096)
def _labels(name: str) -> _Key:
    """() for what is no host name, such as an IP address: those are never matched as names (RFC 6125
    §1.7.2), and a NUL or a space in a certificate's name must not hide a rest."""
    name = name.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            return ()
    labels = tuple(name.split("."))
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return ()
    return () if labels[-1].isdigit() else labels


@lru_cache(maxsize=1024)
def nearness(presented: str, host: str) -> float:
    """How much two names look alike, for messages only: common labels from the right, then spelling."""
    ours, theirs = presented.lower().split(".")[::-1][:20], host.lower().split(".")[::-1][:20]
    same = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        same += 1
    return same + difflib.SequenceMatcher(None, presented.lower()[:253], host.lower()[:253]).ratio()


def names_of(der: bytes) -> CertificateNames:
    """The names in a certificate; none when it can't be read: a stranger made it."""
    return (_read if len(der) > DER_KEPT else _read_kept)(der)


def _read(der: bytes) -> CertificateNames:
    try:
        certificate = x509.load_der_x509_certificate(der)
        common = tuple(_texts(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)))
    except (ValueError, TypeError):
        return CertificateNames()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return CertificateNames(dns=tuple(extension.value.get_values_for_type(x509.DNSName)), common=common)
    except x509.ExtensionNotFound:
        return CertificateNames(common=common)
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # Extensions that can't be read may hold names: the CN must not count in their place.
        return CertificateNames()


_read_kept = lru_cache(maxsize=1024)(_read)


def _texts(attributes: Iterable[x509.NameAttribute[str | bytes]]) -> Iterator[str]:
    for attribute in attributes:
        if isinstance(attribute.value, str):
            yield attribute.value
