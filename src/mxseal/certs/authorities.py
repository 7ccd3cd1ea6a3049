"""Authorities for the custom list (reference §1.5): PEM text in, named authorities or all problems out. PURE.

`now` is in seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mxseal.certs.facts import (
    Problem,
    common_name,
    dns_names,
    error,
    fingerprint,
    is_ca,
    key_name,
    pem,
    self_signed,
    title,
    warning,
)
from mxseal.certs.judge import in_date, is_fqdn, key_strength, not_after, not_before
from mxseal.config.model import Authority
from mxseal.tls.strength import issued

CERTIFICATE_LIMIT = 500
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
_NO_LETTER = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME = 63


class Admitted(msgspec.Struct, frozen=True):
    """What may be put into the list, and what should be known about it."""

    authorities: tuple[Authority, ...]
    warnings: tuple[Problem, ...]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How a file is to be taken."""

    name: str = ""
    """For the one authority of the file; empty: made from the common name."""
    strict_names: bool = False
    """Whether common name and DNS names have to be full host names."""


def read(authority: Authority) -> x509.Certificate | None:
    """The certificate of an entry; None for one that can't be read, which `commit` refuses."""
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate.encode())
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    return certificate


def admit(
    text: bytes, known: Sequence[Authority], roots: Sequence[x509.Certificate], now: float, wish: Wish
) -> Admitted | list[Problem]:
    """All authorities of a PEM text, or every problem of it: nothing is taken by half.

    `known`: the custom list. `roots`: the system's list, where that is on; an intermediate needs its root in
    one of them or in the text.
    """
    found = _certificates(text)
    problems = [each for each in found if isinstance(each, Problem)]
    fresh = [each for each in found if isinstance(each, x509.Certificate)]
    listed = [(entry, certificate) for entry in known if (certificate := read(entry)) is not None]
    problems += _twice(fresh, {fingerprint(certificate): entry.name for entry, certificate in listed})
    everybody = [*fresh, *(certificate for _, certificate in listed), *roots]
    for certificate in dict.fromkeys(fresh):
        problems += _unfit(certificate, now, strict_names=wish.strict_names)
        problems += _rootless(certificate, everybody)
    if wish.name and len(fresh) > 1:
        problems.append(
            error(
                "one-name",
                f"The name {wish.name} is for one authority, and the file holds {len(fresh)}.",
                "Leave it out: the names are made from the common names.",
            )
        )
    if problems:
        return problems
    authorities = tuple(_named(fresh, [entry.name for entry in known], wish.name))
    return Admitted(authorities, tuple(note for certificate in fresh for note in _notes(certificate, now)))


# --- reading ----------------------------------------------------------------------------------------------


def _certificates(text: bytes) -> list[x509.Certificate | Problem]:
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):  # what Windows editors write
        text = text.decode("utf-16", "replace").encode()
    parts = text.split(_BEGIN)[1:]
    if not parts:
        return [_nothing(text)]
    if len(parts) > CERTIFICATE_LIMIT:
        return [
            error(
                "too-many",
                f"The file holds {len(parts)} certificates, more than {CERTIFICATE_LIMIT}.",
                "Import the authorities that you need; the public ones are in the system's list.",
            )
        ]
    return [_certificate(part, number) for number, part in enumerate(parts, 1)]


def _nothing(text: bytes) -> Problem:
    if b"PRIVATE KEY-----" in text:
        return error("no-authority", "The file holds a private key and no certificate.", _GIVE)
    if text.startswith(b"\x30"):
        return error(
            "not-pem",
            "The file is in binary form (DER), not PEM.",
            "Convert it with: openssl x509 -inform der -in FILE.",
        )
    return error("not-pem", "The file holds no certificate in PEM form.", _GIVE)


_GIVE = "Give the authority's certificate, a block that begins with -----BEGIN CERTIFICATE-----."


def _certificate(part: bytes, number: int) -> x509.Certificate | Problem:
    body, end, _ = part.partition(_END)
    block = _BEGIN + body + _END + b"\n"
    certificate = read(Authority(name="x", certificate=block.decode("latin-1"))) if end else None
    if certificate is None:
        return error(
            "not-a-certificate",
            f"Certificate {number} of the file can't be read, or is cut off.",
            "Copy it again as the authority published it.",
        )
    return certificate


# --- checks -----------------------------------------------------------------------------------------------


def _twice(fresh: Sequence[x509.Certificate], known: dict[str, str]) -> Iterable[Problem]:
    seen: set[str] = set()
    told: set[str] = set()
    for certificate in fresh:
        mark = fingerprint(certificate)
        if mark in known and mark not in seen:
            yield error(
                "known",
                f"{title(certificate)} is in the list already, as {known[mark]}.",
                "Take it out of the file.",
            )
        if mark in seen and mark not in told:
            told.add(mark)
            yield error(
                "duplicate", f"{title(certificate)} is in the file more than once.", "Keep it there once."
            )
        seen.add(mark)


def _unfit(certificate: x509.Certificate, now: float, *, strict_names: bool) -> Iterable[Problem]:
    name = title(certificate)
    if now > not_after(certificate):
        yield error(
            "expired",
            f"{name} expired on {certificate.not_valid_after_utc:%Y-%m-%d}.",
            "Get the authority's current certificate.",
        )
    if not is_ca(certificate):
        yield error(
            "not-an-authority",
            f"{name} is no authority: its basic constraints do not say CA:TRUE, or its key usage has no "
            "certificate signing.",
            "Give the certificate of the authority that issued it. One server's key can be pinned with "
            "'destconfig edit DOMAIN --pin'.",
        )
    if strict_names:
        names = dict.fromkeys(filter(None, (common_name(certificate.subject), *dns_names(certificate))))
        odd = [each for each in names if not is_fqdn(each)]
        if odd:
            yield error(
                "name-not-fqdn",
                f"{name} has names that are no full host names: {', '.join(odd)[:300]}.",
                "Leave out --fqdn: the names of authorities seldom are.",
            )


def _rootless(certificate: x509.Certificate, everybody: Sequence[x509.Certificate]) -> Iterable[Problem]:
    top = certificate
    seen = {fingerprint(top)}
    while not self_signed(top):
        above = next(
            (each for each in everybody if fingerprint(each) not in seen and issued(each, top)), None
        )
        if above is None:
            yield error(
                "root-missing",
                f"{title(certificate)} is an intermediate, and its chain ends at {title(top)}: the issuer "
                f"{common_name(top.issuer) or top.issuer.rfc4514_string()} is in no list that is on.",
                "Put the root's certificate into the file too.",
            )
            return
        seen.add(fingerprint(above))
        top = above


def _notes(certificate: x509.Certificate, now: float) -> Iterable[Problem]:
    if now < not_before(certificate):
        yield warning(
            "not-yet-valid",
            f"{title(certificate)} becomes valid on {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
            "Until then it counts for nothing.",
        )
    if any(problem.severity == "error" for problem in key_strength(certificate)):
        yield warning(
            "weak-key",
            f"{title(certificate)} has a weak key ({key_name(certificate)}).",
            "Ask the authority whether it has a newer root.",
        )


# --- names ------------------------------------------------------------------------------------------------


def _named(fresh: Iterable[x509.Certificate], taken: Iterable[str], wanted: str) -> Iterable[Authority]:
    used = {name.lower() for name in taken}
    for certificate in fresh:
        name = wanted or free_name(title(certificate), used)
        used.add(name.lower())
        yield Authority(name=name, certificate=pem(certificate))


def free_name(text: str, used: Iterable[str]) -> str:
    """A name that the document takes, made from `text`; `used` is in lower case."""
    known = set(used)
    stem = _NO_LETTER.sub(" ", text).strip(" ._-")[:_LONGEST_NAME].strip(" ") or "Authority"
    if stem.lower() not in known:
        return stem
    number = 2
    while (name := f"{stem[: _LONGEST_NAME - 5]} {number}").lower() in known:
        number += 1
    return name


def dependents(authority: Authority, document_authorities: Sequence[Authority], now: float) -> list[str]:
    """Names of intermediates in the list whose root is missing without this authority."""
    certificate = read(authority)
    rest = [entry for entry in document_authorities if entry.name != authority.name]
    if certificate is None or not in_date(certificate, now):
        return []
    parsed = [(entry.name, found) for entry in rest if (found := read(entry)) is not None]
    others = [found for _, found in parsed]
    return [
        name
        for name, found in parsed
        if any(_rootless(found, others)) and not any(_rootless(found, [*others, certificate]))
    ]
