"""What a server's certificate is worth: found after each handshake, whatever the level asks for. PURE.

At the levels that do not look at certificates this is the shadow: it decides nothing, and tells what a
stricter level would have done.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mxseal.tls.identity import DER_KEPT, NameVerdict
from mxseal.tls.policy import LEVELS, RULES, Event, Level, Verdict, judge

Revocation = Literal["not-checked", "good", "revoked", "no-list"]
"""no-list: the check is on, and not each certificate of the chain has a list in date. That is recorded, and
is no reason to refuse."""
_LINKS = 10
"""Certificates of a chain that are told; a server can send hundreds."""
_LONGEST = 500


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate that the server sent. Names are RFC 4514, times seconds since the epoch."""

    subject: str
    issuer: str
    sha256: str
    """Of the whole certificate, lower-case hexadecimal digits."""
    spki_sha256: str
    """Of its public key (SubjectPublicKeyInfo), what `pins` holds; empty when the key can't be read."""
    not_before: float
    not_after: float


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """The findings about one handshake."""

    trusted: bool
    """The chain ends in one of the authorities of `trust`, in date."""
    chain_error: str | None = None
    """OpenSSL's first reason why not; None with `trusted`, and where the server sent no certificate."""
    trust: tuple[str, ...] = ()
    """What the chain was held against: 'system list', 'custom list', or the destination's trust anchors."""
    chain: tuple[Link, ...] = ()
    """As the server sent it, at most ten."""
    names: tuple[str, ...] = ()
    """DNS names and common name of the certificate, at most twenty."""
    revocation: Revocation = "not-checked"
    pinned: bool | None = None
    """Whether the key is one of the destination's pins; None: it has none."""
    verify: NameVerdict
    """By the rules of preferred-verify and required-verify."""
    hosted: NameVerdict
    """By the rules of required-verify-hosted."""
    missing_issuer: str = ""
    """Who issued the highest certificate that was sent, where that one is not known here."""
    issuer_urls: tuple[str, ...] = ()
    """Where that highest certificate says that its issuer's can be had."""
    would_deliver: tuple[Level, ...] = ()
    """The levels under which mail would go over this connection."""
    undecided: tuple[Level, ...] = ()
    """The levels for which the reverse name would have to be asked."""

    def by_rules(self, level: Level) -> NameVerdict:
        """The name verdict that counts at a level; Verify's at those that do not look at names."""
        return self.hosted if RULES.get(level) == "hosted" else self.verify

    def judge(self, level: Level) -> Verdict:
        """What the outcome table says about this connection at a level."""
        return judge(
            level,
            verified=self.trusted,
            name_matches=self.by_rules(level).matched,
            revoked=self.revocation == "revoked",
            pinned=self.pinned is not False,
        )

    def error(self, event: Event) -> str:
        """OpenSSL's words for what is wrong, as the log has them behind 'verify error: '."""
        if event == "untrusted":
            return self.chain_error or "no certificate from server"
        return _ERRORS[event]

    def completed(self) -> Verification:
        """The same with the verdict of each level."""
        names = self.verify.matched, self.hosted.matched, self.verify.undecided
        deliver, undecided = _by_level(self.trusted, self.revocation == "revoked", self.pinned, names)
        return msgspec.structs.replace(self, would_deliver=deliver, undecided=undecided)


class ClientCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What the certificate of a client was held against, and what it sent; with its verdict in the facts."""

    trust: tuple[str, ...] = ()
    """The lists of authorities that counted: 'system list', 'custom list'."""
    revocation: Revocation = "not-checked"
    """What the lists of revoked certificates say; not-checked also of a chain that was not verified."""
    chain: tuple[Link, ...] = ()
    """As the client sent it, at most ten; empty: it showed no certificate, though it was asked."""


@lru_cache(maxsize=256)
def _by_level(
    trusted: bool, revoked: bool, pinned: bool | None, names: tuple[bool, bool, bool]
) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
    """(levels that deliver, levels for which that is open). `names`: Verify and Hosted match, the former is
    open. Every handshake asks, and there are few answers."""
    deliver: list[Level] = []
    undecided: list[Level] = []
    for level in LEVELS:
        hosted = RULES.get(level) == "hosted"
        verdict = judge(
            level,
            verified=trusted,
            name_matches=names[1] if hosted else names[0],
            revoked=revoked,
            pinned=pinned is not False,
        )
        if verdict.action == "deliver-encrypted":
            deliver.append(level)
        elif verdict.event == "name-mismatch" and names[2] and not hosted:
            undecided.append(level)
    return tuple(deliver), tuple(undecided)


_ERRORS: dict[Event, str] = {
    "name-mismatch": "hostname mismatch",
    "revoked": "certificate revoked",
    "not-pinned": "public key not among the pins",
}


def plain(error: str | None) -> str | None:
    """OpenSSL's reason without what newer releases add to it: logs are searched for the words of years."""
    return None if error is None else error.removesuffix(" or the system clock is incorrect")


def links(chain: tuple[bytes, ...]) -> tuple[Link, ...]:
    """The first certificates of a chain (DER); those that can't be read have their fingerprint alone."""
    return tuple(link_of(der) for der in chain[:_LINKS])


def link_of(der: bytes) -> Link:
    """One certificate, as far as it can be read: a stranger made it."""
    return (_read if len(der) > DER_KEPT else _read_kept)(der)


def _read(der: bytes) -> Link:
    sha256 = hashlib.sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        return Link(
            subject=certificate.subject.rfc4514_string()[:_LONGEST],
            issuer=certificate.issuer.rfc4514_string()[:_LONGEST],
            sha256=sha256,
            spki_sha256=_spki_sha256(certificate),
            not_before=certificate.not_valid_before_utc.timestamp(),
            not_after=certificate.not_valid_after_utc.timestamp(),
        )
    except (ValueError, TypeError):
        return Link(subject="", issuer="", sha256=sha256, spki_sha256="", not_before=0.0, not_after=0.0)


_read_kept = lru_cache(maxsize=1024)(_read)


def _spki_sha256(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return ""
    return hashlib.sha256(key).hexdigest()
