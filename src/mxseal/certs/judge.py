"""Whether a certificate can do its work on a mail gateway, and what it is, for people. PURE.

`now` is in seconds since the epoch.
"""

from __future__ import annotations

import math
import re
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from mxseal.certs.facts import (
    PrivateKey,
    Problem,
    alternative_names,
    common_name,
    dns_names,
    error,
    fingerprint,
    key_name,
    name_text,
    self_signed,
    spki_sha256,
    title,
    warning,
)
from mxseal.certs.x509 import Bundle, key_mismatch

RSA_MINIMUM = 2048
RSA_MAXIMUM = 16384
"""OpenSSL refuses larger ones, and each handshake would cost seconds."""
DAY = 86400.0
Status = Literal["Active", "Valid", "Expired", "Not yet valid", "Awaiting signed certificate"]

_LABEL = r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)"
_FQDN = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)+(?=.*[A-Za-z]){_LABEL}")


def judge(bundle: Bundle, now: float, *, strict_names: bool = True, key_kept: bool = False) -> list[Problem]:
    """What speaks against storing `bundle` (severity error) and what should be known (warning).

    The chain is judged by `chain.check_chain`. With `strict_names` a name that is not in FQDN form is an
    error, without it a warning. `key_kept`: the key is in the store already, and need not come along.
    """
    leaf = bundle.leaf
    problems = [
        *_judge_key(bundle, key_kept=key_kept),
        *key_strength(leaf),
        *weak_signature(leaf),
        *_judge_usage(leaf),
        *_judge_names(leaf, "error" if strict_names else "warning"),
        *judge_dates(leaf, now),
    ]
    if self_signed(leaf):
        problems.append(
            warning(
                "self-signed",
                f"The certificate {title(leaf)} is self-signed: it encrypts, and peers that verify will "
                "refuse it.",
                "Have its signing request signed by an authority that the peers trust.",
            )
        )
    return problems


def judge_dates(certificate: x509.Certificate, now: float) -> list[Problem]:
    """Warnings, because an expired certificate still encrypts: reference §1.7, it keeps being served."""
    begin, end = not_before(certificate), not_after(certificate)
    if now > end:
        return [
            warning(
                "expired",
                f"The certificate {title(certificate)} expired on "
                f"{certificate.not_valid_after_utc:%Y-%m-%d}.",
                "Renew it: peers that verify refuse it.",
            )
        ]
    if now < begin:
        return [
            warning(
                "not-yet-valid",
                f"The certificate {title(certificate)} becomes valid on "
                f"{certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC.",
                "Wait with assigning it, and look whether this gateway's clock is right.",
            )
        ]
    return []


def not_before(certificate: x509.Certificate) -> float:
    return certificate.not_valid_before_utc.timestamp()


def not_after(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def in_date(certificate: x509.Certificate, now: float) -> bool:
    return not_before(certificate) <= now <= not_after(certificate)


def key_strength(holder: x509.Certificate | x509.CertificateSigningRequest | PrivateKey) -> list[Problem]:
    """Errors for keys that are too weak, or that mail servers can't use."""
    public = holder.public_key()
    name = key_name(holder)
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < RSA_MINIMUM:
            return [
                error(
                    "weak-key",
                    f"The key is {name}, and RSA keys below {RSA_MINIMUM} bits can be broken.",
                    f"Make a new key with RSA {RSA_MINIMUM} or ECDSA P-256.",
                )
            ]
        if public.key_size > RSA_MAXIMUM:
            return [
                error(
                    "key-too-large",
                    f"The key is {name}, larger than the {RSA_MAXIMUM} bits that TLS libraries take.",
                    "Make a new key with RSA 4096 or ECDSA P-384.",
                )
            ]
        return []
    if isinstance(public, ec.EllipticCurvePublicKey):
        return _curve_strength(public.curve, name)
    if name in {"Ed25519", "Ed448"}:
        return [
            warning(
                "rare-key",
                f"The key is {name}, which many mail servers can't use.",
                "Put an RSA or ECDSA certificate beside it, or use one in its place.",
            )
        ]
    return [
        error(
            "key-unsupported",
            f"The key is of type {name}, which mail servers can't use.",
            f"Make a new key with RSA {RSA_MINIMUM} or ECDSA P-256.",
        )
    ]


def _curve_strength(curve: ec.EllipticCurve, name: str) -> list[Problem]:
    if curve.name in {"secp256r1", "secp384r1", "secp521r1"}:
        return []
    remedy = "Make a new key with ECDSA P-256 or P-384."
    if curve.key_size < 256:
        return [error("weak-key", f"The key is {name}, weaker than P-256.", remedy)]
    # RFC 8446 §4.2.3 has no signature scheme for other curves.
    return [error("key-unsupported", f"The key is {name}, a curve that TLS 1.3 can't sign with.", remedy)]


def weak_signature(certificate: x509.Certificate) -> list[Problem]:
    """An error when it was signed with MD5 or SHA-1: OpenSSL does not load it at security level 1."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        algorithm = None
    if not isinstance(algorithm, hashes.MD5 | hashes.SHA1) or self_signed(certificate):
        return []
    return [
        error(
            "weak-signature",
            f"The certificate {title(certificate)} was signed with {algorithm.name.upper()}, which can "
            "be forged.",
            "Ask the authority for one that is signed with SHA-256.",
        )
    ]


def _judge_key(bundle: Bundle, *, key_kept: bool) -> list[Problem]:
    if bundle.key is None:
        if key_kept:
            return []
        return [
            error(
                "key-missing",
                f"The private key of the certificate {title(bundle.leaf)} is missing.",
                "Give the key too; it never leaves this gateway. If the request was made here, "
                "replace the certificate of that profile.",
            )
        ]
    return [] if spki_sha256(bundle.key) == spki_sha256(bundle.leaf) else [key_mismatch(bundle.leaf)]


def _judge_usage(leaf: x509.Certificate) -> list[Problem]:
    """RFC 5280 §4.2.1.12: without the extension any use is allowed."""
    problems = []
    usages = _extended_usages(leaf)
    if usages is not None and not usages & {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }:
        problems.append(
            error(
                "no-server-auth",
                f"The certificate {title(leaf)} is not for servers: its extended key usage lacks server "
                "authentication.",
                "Ask the authority for a TLS server certificate.",
            )
        )
    elif usages is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        problems.append(
            warning(
                "any-usage-only",
                f"The certificate {title(leaf)} is for any use and does not name that of servers: OpenSSL, "
                "and with it most mail servers that verify, refuses it.",
                "Ask the authority for a TLS server certificate.",
            )
        )
    try:
        signs = leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        signs = True
    if not signs:
        problems.append(
            warning(
                "no-digital-signature",
                f"The key usage of the certificate {title(leaf)} lacks digital signature, which TLS 1.3 "
                "needs.",
                "Ask the authority for a TLS server certificate.",
            )
        )
    return problems


def judge_for_delivery(leaf: x509.Certificate) -> list[Problem]:
    """A warning when the certificate is not meant to be shown by a client."""
    usages = _extended_usages(leaf)
    # "Any use" does not count: OpenSSL refuses it from clients.
    if usages is None or ExtendedKeyUsageOID.CLIENT_AUTH in usages:
        return []
    return [
        warning(
            "no-client-auth",
            f"The certificate {title(leaf)} is not for clients: hosts that verify this gateway on "
            "delivery refuse it.",
            "Assign a certificate with client authentication to delivery, or none.",
        )
    ]


def _extended_usages(leaf: x509.Certificate) -> set[x509.ObjectIdentifier] | None:
    try:
        return set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return None


def is_fqdn(name: str) -> bool:
    """Two labels or more, letters in the last, a wildcard only as the whole first label (RFC 9525 §6.3)."""
    return len(name) <= 253 and _FQDN.fullmatch(name) is not None


def _judge_names(leaf: x509.Certificate, severity: Literal["error", "warning"]) -> list[Problem]:
    names = dns_names(leaf)
    common = common_name(leaf.subject)
    problems = [
        Problem(
            "name-not-fqdn",
            severity,
            f"The {kind} {name!r} is not a fully qualified domain name.",
            "Use a name with its domain, such as mx.example.com or *.example.com.",
        )
        for kind, name in [
            *([("common name", common)] if common else []),
            *(("alternative name", n) for n in names),
        ]
        if not is_fqdn(name)
    ]
    if not common and not names:
        problems.append(
            Problem(
                "no-name",
                severity,
                "The certificate holds neither a common name nor a DNS name.",
                "Ask for one with this gateway's host name among its subject alternative names.",
            )
        )
    elif not alternative_names(leaf):
        problems.append(
            warning(
                "no-alternative-name",
                f"The certificate {common} has a common name only, which today's clients ignore (RFC 9525).",
                "Ask for one with the host name among its subject alternative names.",
            )
        )
    return problems


class CertificateInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as lists and pages show it. Times in seconds since the epoch."""

    common_name: str
    names: tuple[str, ...]
    """DNS names and IP addresses of the subject alternative names."""
    subject: str
    """RFC 4514."""
    issuer: str
    """The issuer's CN, else its whole name."""
    serial: str
    """Hex, lower case."""
    not_before: float
    not_after: float
    key: str
    """'RSA 2048', 'ECDSA P-256', …"""
    fingerprint: str
    """SHA-256, colon-separated."""
    spki_sha256: str
    self_signed: bool
    status: Status

    def days_left(self, now: float) -> int:
        """Whole days until expiry; negative once it has expired."""
        return math.floor((self.not_after - now) / DAY)

    def remaining(self, now: float) -> str:
        """The reference's column (§1.4): '3467 days', or 'Expired'."""
        return f"{self.days_left(now)} days" if now <= self.not_after else "Expired"


def describe(
    certificate: x509.Certificate, now: float, *, active: bool = False, awaiting: bool = False
) -> CertificateInfo:
    """`active`: some service uses it; `awaiting`: its signing request has no answer yet."""
    return CertificateInfo(
        common_name=common_name(certificate.subject),
        names=alternative_names(certificate),
        subject=certificate.subject.rfc4514_string(),
        issuer=name_text(certificate.issuer),
        serial=f"{certificate.serial_number:x}",
        not_before=not_before(certificate),
        not_after=not_after(certificate),
        key=key_name(certificate),
        fingerprint=fingerprint(certificate),
        spki_sha256=spki_sha256(certificate),
        self_signed=self_signed(certificate),
        status=_status(certificate, now, active=active, awaiting=awaiting),
    )


def _status(certificate: x509.Certificate, now: float, *, active: bool, awaiting: bool) -> Status:
    if now > not_after(certificate):
        return "Expired"
    if active:
        return "Active"
    if awaiting:
        return "Awaiting signed certificate"
    return "Not yet valid" if now < not_before(certificate) else "Valid"
