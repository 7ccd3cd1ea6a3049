"""The chain that a peer sent, read closely: which certificate is out of place, of date or of strength. PURE.

OpenSSL says that a chain does not verify, and puts a shuffled one in order by itself; where the fault lies,
and what stricter peers would stumble over, is found here. Never raises: strangers made the certificates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from mxseal.certs.chain import issuer_urls
from mxseal.certs.facts import is_ca, key_name, self_signed
from mxseal.tls.facts import ChainFault, ChainFaultKind, ChainFinding
from mxseal.tls.strength import issued, weak_digest, weak_key
from mxseal.tls.verification import links

Use = Literal["server", "client"]

_LINKS = 10
"""Certificates that are looked at; each costs a signature's check against some of the others."""
_REMEMBERED_BYTES = 16_384
"""Of one chain; a stranger may send 100 KB at each connection."""
_ORDER: tuple[ChainFaultKind, ...] = (
    "unreadable",
    "expired",
    "not-yet-valid",
    "self-signed",
    "wrong-usage",
    "weak-key",
    "weak-signature",
    "not-a-ca",
    "key-identifier",
    "unrelated",
    "wrong-order",
    "duplicate",
    "root-sent",
)


def read_sent(chain: Sequence[bytes], now: float, use: Use = "server") -> ChainFinding:
    """`chain`: DER, leaf first, as it came. `use`: what the leaf has to be good for."""
    sent = tuple(chain[:_LINKS])
    finding = _remembered(sent, use) if sum(map(len, sent)) <= _REMEMBERED_BYTES else _read(sent, use)
    dated = [fault for at in range(len(finding.certificates)) if (fault := _date_fault(finding, at, now))]
    if not dated:
        return finding
    return msgspec.structs.replace(finding, faults=_sorted([*finding.faults, *dated]))


def _date_fault(finding: ChainFinding, at: int, now: float) -> ChainFault | None:
    link = finding.certificates[at]
    if not link.subject and not link.not_after:
        return None  # unreadable
    if now < link.not_before:  # first, as OpenSSL looks at it first
        return ChainFault(kind="not-yet-valid", at=at)
    return ChainFault(kind="expired", at=at) if now > link.not_after else None


def _read(chain: tuple[bytes, ...], use: Use) -> ChainFinding:
    """All that does not depend on the time."""
    parsed = [_parsed(der) for der in chain]
    faults = [ChainFault(kind="unreadable", at=at) for at, each in enumerate(parsed) if each is None]
    leaf = parsed[0] if parsed else None
    path = _path(parsed)
    if leaf is not None:
        faults += [*_leaf_faults(leaf, use), *_weak(parsed, path), *_placed(chain, parsed, path)]
    top = parsed[path[-1]] if path else None
    missing = top is not None and not self_signed(top)
    return ChainFinding(
        certificates=links(chain),
        path=path,
        faults=_sorted(faults),
        issuer=top.issuer.rfc4514_string()[:500] if missing and top is not None else "",
        issuer_at=_where(top) if missing and top is not None else "",
    )


_remembered = lru_cache(maxsize=512)(_read)
"""Peers send the same chain again and again."""


def _sorted(faults: Sequence[ChainFault]) -> tuple[ChainFault, ...]:
    return tuple(sorted(faults, key=lambda fault: (_ORDER.index(fault.kind), fault.at)))


def _parsed(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.public_key()
        _ = certificate.subject, certificate.issuer, certificate.extensions
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    return certificate


def _path(parsed: Sequence[x509.Certificate | None]) -> tuple[int, ...]:
    """Positions from the leaf upwards, as far as the issuers were sent."""
    if not parsed or parsed[0] is None:
        return ()
    path = [0]
    while (at := _issuer_of(parsed, path)) is not None:
        path.append(at)
    return tuple(path)


def _issuer_of(parsed: Sequence[x509.Certificate | None], path: Sequence[int]) -> int | None:
    below = parsed[path[-1]]
    assert below is not None
    if self_signed(below):
        return None  # a cross-signed twin with the same key would have issued it too
    for at, candidate in enumerate(parsed):
        if candidate is None or at in path or not issued(candidate, below):
            continue
        if _identified(candidate, below):
            return at
    return None


def _identified(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Whether the authority key identifier is the issuer's (RFC 5280 §4.2.1.1): OpenSSL follows no other,
    whatever the signature says."""
    try:
        wanted = subject.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    except x509.ExtensionNotFound:
        return True
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        own = None
    if own is not None and wanted.key_identifier not in (None, own):
        return False
    if wanted.authority_cert_serial_number not in (None, issuer.serial_number):
        return False
    names = [
        each.value for each in wanted.authority_cert_issuer or () if isinstance(each, x509.DirectoryName)
    ]
    return not names or names[0] == issuer.issuer


def _leaf_faults(leaf: x509.Certificate, use: Use) -> Iterator[ChainFault]:
    if self_signed(leaf):
        yield ChainFault(kind="self-signed")
    if (usage := _usage(leaf)) and _FITTING[use] not in usage:
        names = sorted(_USAGE_NAMES.get(oid, oid.dotted_string) for oid in usage)
        yield ChainFault(kind="wrong-usage", detail=", ".join(names)[:300])
    elif not _key_may(leaf, use):
        yield ChainFault(kind="wrong-usage", detail="key usage without digital signature")


def _usage(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    """RFC 5280 §4.2.1.12; empty: good for everything."""
    try:
        return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return set()


def _key_may(certificate: x509.Certificate, use: Use) -> bool:
    """Whether its key usage has one of those that OpenSSL asks for."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return usage.digital_signature or usage.key_agreement or (usage.key_encipherment and use == "server")


_FITTING = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
"""RFC 5280 §4.2.1.12 leaves it open whether "any use" is one of these; to OpenSSL it is none."""
_USAGE_NAMES = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "any use",
    ExtendedKeyUsageOID.SERVER_AUTH: "server authentication",
    ExtendedKeyUsageOID.CLIENT_AUTH: "client authentication",
    ExtendedKeyUsageOID.CODE_SIGNING: "code signing",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "email protection",
    ExtendedKeyUsageOID.TIME_STAMPING: "time stamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSP signing",
}


def _weak(parsed: Sequence[x509.Certificate | None], path: Sequence[int]) -> Iterator[ChainFault]:
    for at in path:
        certificate = parsed[at]
        if certificate is None:
            continue
        if weak_key(certificate):
            yield ChainFault(kind="weak-key", at=at, detail=key_name(certificate))
        # A root's own signature proves nothing and is not looked at.
        digest = weak_digest(certificate)
        if digest and not self_signed(certificate):
            yield ChainFault(kind="weak-signature", at=at, detail=digest)


def _placed(
    chain: Sequence[bytes], parsed: Sequence[x509.Certificate | None], path: Sequence[int]
) -> Iterator[ChainFault]:
    """RFC 5246 §7.4.2: each certificate after the leaf certifies the one before it."""
    first: dict[bytes, int] = {}
    for at, der in enumerate(chain):
        if at and der in first:
            yield ChainFault(kind="duplicate", at=at)
        first.setdefault(der, at)
    once = sorted(first.values())
    top = parsed[path[-1]] if path else None
    for at in once:
        certificate = parsed[at]
        if at not in path and certificate is not None:
            signed = top is not None and not self_signed(top) and issued(certificate, top)
            yield ChainFault(kind="key-identifier" if signed else "unrelated", at=at)
    for at in path[1:]:
        certificate = parsed[at]
        if certificate is None:
            continue
        if self_signed(certificate):
            yield ChainFault(kind="root-sent", at=at)
        elif not is_ca(certificate):
            yield ChainFault(kind="not-a-ca", at=at)
    if list(path) != sorted(path):
        yield ChainFault(kind="wrong-order", at=next(at for at, place in enumerate(path) if place != at))


def _where(certificate: x509.Certificate) -> str:
    try:
        return next(iter(issuer_urls(certificate)), "")[:500]
    except (ValueError, TypeError):
        return ""
