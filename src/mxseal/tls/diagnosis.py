"""Why a TLS connection failed: cause, side, evidence, remedy, for a postmaster at two in the morning. PURE.

The rules that find the cause; what is said about each stands in `causes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography import x509

from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import ClientOffer, Diagnosis, TlsFault
from mxseal.tls.policy import Condition

KeyType = Literal["RSA", "ECDSA"]


class OurSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What this gateway offers at the place of the failure."""

    versions: tuple[str, ...] = ("TLSv1.3", "TLSv1.2")
    key_types: tuple[KeyType, ...] = ("RSA",)
    """Of the certificates that the listener serves."""
    groups: tuple[str, ...] = ("X25519MLKEM768", "x25519", "secp256r1", "secp384r1")
    """IANA names of the key exchange groups."""
    certificate: str = ""
    """Name of the certificate profile, for the remedy."""
    demonstration: bool = False
    """The certificate is the demonstration certificate, which nobody trusts."""


_OUR_CERTIFICATE_ALERTS = {
    "unknown ca": "our-certificate-untrusted",
    "certificate expired": "our-certificate-expired",
    "certificate revoked": "our-certificate-revoked",
    "bad certificate": "our-certificate-rejected",
    "certificate unknown": "our-certificate-rejected",
    "access denied": "our-certificate-rejected",
    "unsupported certificate": "our-certificate-unsupported",
}
_ALERTS = {
    **_OUR_CERTIFICATE_ALERTS,
    "no certificate": "client-certificate-required",
    "certificate required": "client-certificate-required",
    "handshake failure": "handshake-failure",
    "protocol version": "version-refused",
    "inappropriate fallback": "inappropriate-fallback",
    "insufficient security": "insufficient-security",
    "export restriction": "insufficient-security",
    "unrecognized name": "name-refused",
    "internal error": "peer-internal-error",
    "decode error": "peer-cannot-read-us",
    "illegal parameter": "peer-cannot-read-us",
    "unexpected message": "peer-cannot-read-us",
    "record overflow": "peer-cannot-read-us",
    "missing extension": "peer-cannot-read-us",
    "unsupported extension": "peer-cannot-read-us",
    "decompression failure": "peer-cannot-read-us",
    "bad record mac": "peer-cannot-decrypt",
    "decryption failed": "peer-cannot-decrypt",
    "decrypt error": "peer-cannot-decrypt",
    "user cancelled": "cancelled",
    "no renegotiation": "cancelled",
}
_REASONS = {
    "no shared cipher": "no-shared-cipher",
    "unsupported protocol": "no-common-version",
    "version too low": "no-common-version",
    "unknown protocol": "no-common-version",
    "wrong ssl version": "no-common-version",
    "no suitable key share": "no-common-group",
    "no shared groups": "no-common-group",
    "no suitable groups": "no-common-group",
    "bad key share": "no-common-group",
    "wrong curve": "no-common-group",
    "no suitable signature algorithm": "no-common-signature",
    "no shared signature algorithms": "no-common-signature",
    "inappropriate fallback": "inappropriate-fallback",
    "peer did not return a certificate": "no-client-certificate",
    "certificate verify failed": "peer-certificate-rejected",
    "decryption failed or bad record mac": "damaged-record",
    "bad record mac": "damaged-record",
    "block cipher pad is wrong": "damaged-record",
    "digest check failed": "damaged-record",
    "bad signature": "bad-signature",
    "dh key too small": "weak-key-exchange",
    "bad dh value": "weak-key-exchange",
    "unsafe legacy renegotiation disabled": "legacy-renegotiation",
    "no protocols available": "our-settings",
    "no ciphers available": "our-settings",
    "internal error": "our-internal-error",
    "malloc failure": "our-internal-error",
}
_MALFORMED = (
    "unexpected",
    "bad ",
    "length",
    "too long",
    "too short",
    "invalid",
    "missing",
    "excessive",
    "wrong",
    "no compression specified",
    "no ciphers specified",
    "record",
    "unknown",
    "not on record boundary",
    "unsolicited",
    "duplicate",
    "too many",
)
_BROKEN = ("_RC4_", "_RC2_", "_DES_", "_DES40_", "_3DES_", "_NULL_", "_anon_", "_EXPORT_", "_IDEA_", "_SEED_")
_CURRENT = frozenset(("TLSv1.2", "TLSv1.3"))


def diagnose_inbound(fault: TlsFault, ours: OurSettings) -> Diagnosis:
    """Why a client's TLS with this listener failed."""
    cause = _socket_cause(fault) or _inbound_cause(fault, ours)
    return _tell(cause, fault, ours, peer="The client", evidence=_offer_evidence(fault.offer))


def diagnose_outbound(fault: TlsFault, *, host: str = "", ours: OurSettings | None = None) -> Diagnosis:
    """Why TLS with a next hop failed; `host` is its name."""
    settings = ours or OurSettings(groups=())
    cause = _socket_cause(fault) or _outbound_cause(fault, settings)
    cause = "server-gone-silent" if cause == "peer-gone-silent" else cause
    return _tell(cause, fault, settings, peer=_server(host), evidence=_server_evidence(fault))


def diagnose_unavailable(condition: Condition, host: str, *, reply: str = "") -> Diagnosis:
    """Why TLS never began: one of the three conditions. `reply`: the server's answer, when there was one."""
    cause = CAUSES[condition]
    said = f"It answered: {_one_line(reply)}." if reply else ""
    return Diagnosis(
        cause=condition,
        side=cause.side,
        summary=cause.summary.format(peer=_server(host)),
        evidence=said,
        remedy=cause.remedy,
    )


def _tell(cause: str, fault: TlsFault, ours: OurSettings, *, peer: str, evidence: str) -> Diagnosis:
    entry = CAUSES[cause]
    words = {
        "peer": peer,
        "peer_low": peer[0].lower() + peer[1:],
        "reason": fault.reason or "OpenSSL gives no reason",
        "alert": fault.alert or "",
        "ours": " and ".join(reversed(ours.versions)) or "no version at all",
        "keys": " and ".join(ours.key_types) or "none",
        "certificate": f"the certificate {ours.certificate}" if ours.certificate else "our certificate",
    }
    if fault.clear_text:
        evidence = f"It sent: {fault.clear_text}"
    return Diagnosis(
        cause=cause,
        side=entry.side,
        summary=entry.summary.format_map(words),
        evidence=evidence,
        remedy=entry.remedy.format_map(words),
    )


def _socket_cause(fault: TlsFault) -> str | None:
    if fault.kind in ("reset", "timeout"):
        return fault.kind
    if fault.kind == "peer-gone":
        if fault.alert:
            return "peer-closed"
        heard = fault.heard or fault.offer or fault.peer_certificates or fault.during == "transfer"
        return "peer-gone" if heard else "peer-gone-silent"
    if fault.kind == "not-tls" and fault.reason in ("http request", "https proxy request"):
        return "http-request"
    return None


def _inbound_cause(fault: TlsFault, ours: OurSettings) -> str:
    if fault.offer is not None and "SSLv2" in fault.offer.versions:
        return "sslv2-hello"
    if fault.kind == "not-tls":
        return "clear-text"
    if fault.kind == "alert-received":
        cause = _ALERTS.get(fault.alert or "", "alert")
        if ours.demonstration and fault.alert in _OUR_CERTIFICATE_ALERTS and fault.alert != "access denied":
            return "demonstration-certificate"
        # A client has no say in client certificates; it means ours.
        return "our-certificate-rejected" if cause == "client-certificate-required" else cause
    cause = _local_cause(fault)
    offer = fault.offer
    if offer is None:
        return cause
    if cause in ("no-common-version", "no-shared-cipher") and not _CURRENT.intersection(offer.versions):
        return "client-too-old"
    return _cipher_cause(offer, ours) if cause == "no-shared-cipher" else cause


def _outbound_cause(fault: TlsFault, ours: OurSettings) -> str:
    if fault.kind == "not-tls":
        return "clear-text-answer"
    if fault.kind == "alert-received":
        return _ALERTS.get(fault.alert or "", "alert")
    cause = _local_cause(fault)
    if cause == "no-common-version" and "TLSv1.2" in ours.versions:
        # We offer everything down to 1.2, and the server chose something below.
        return "server-too-old"
    return cause


def _local_cause(fault: TlsFault) -> str:
    reason = fault.reason
    if reason in _REASONS:
        return _REASONS[reason]
    if any(word in reason for word in _MALFORMED):
        return "malformed-message"
    return "unexplained"


def _cipher_cause(offer: ClientOffer, ours: OurSettings) -> str:
    """Split “no shared cipher” by what the client's suites have in common, worst first."""

    def all_of(suites: list[str], test: Callable[[str], bool]) -> bool:
        return bool(suites) and all(test(suite) for suite in suites)

    suites = [name for name in offer.ciphers if not name.startswith("0x")]
    if all_of(suites, lambda name: any(mark in name for mark in _BROKEN)):
        return "only-broken-ciphers"
    sound = [name for name in suites if not any(mark in name for mark in _BROKEN)]
    if all_of(sound, lambda name: name.startswith(("TLS_RSA_WITH_", "TLS_DH_", "TLS_ECDH_"))):
        return "only-rsa-key-exchange"
    modern = [name for name in sound if name.startswith("TLS_ECDHE_")]
    if not modern:
        return "only-dhe" if any(name.startswith("TLS_DHE_") for name in sound) else "no-shared-cipher"
    if "ECDSA" not in ours.key_types and all_of(modern, lambda name: "_ECDSA_" in name):
        return "only-ecdsa"
    if "RSA" not in ours.key_types and all_of(modern, lambda name: "_ECDHE_RSA_" in name):
        return "only-rsa-certificates"
    if offer.groups and ours.groups and not set(offer.groups).intersection(ours.groups):
        return "no-common-group"
    return _signature_cause(offer, ours)


def _signature_cause(offer: ClientOffer, ours: OurSettings) -> str:
    """In TLS 1.2 OpenSSL says “no shared cipher” also when only the signatures do not meet."""
    wanted = {"RSA": "rsa_", "ECDSA": "ecdsa_"}
    usable = [
        name
        for name in offer.signature_algorithms
        if not name.endswith(("_sha1", "_md5"))
        and any(name.startswith(wanted[key]) for key in ours.key_types)
    ]
    return "no-common-signature" if offer.signature_algorithms and not usable else "no-shared-cipher"


def _server(host: str) -> str:
    return f"The server {host}" if host else "The server"


def _offer_evidence(offer: ClientOffer | None) -> str:
    """'The client offered TLSv1.2 with 3 cipher suites (A, B, …) and asked for mx.example.com.'"""
    if offer is None:
        return ""
    shown = ", ".join(offer.ciphers[:3]) + (", …" if len(offer.ciphers) > 3 else "")
    suites = f"{len(offer.ciphers)} cipher suite{'' if len(offer.ciphers) == 1 else 's'}"
    parts = [f"The client offered {', '.join(offer.versions) or 'no known version'} with {suites}"]
    if shown:
        parts.append(f" ({shown})")
    if offer.groups:
        parts.append(f", groups {', '.join(offer.groups[:4])}{', …' if len(offer.groups) > 4 else ''}")
    parts.append(f", and asked for {offer.server_name}." if offer.server_name else ", and asked for no name.")
    return "".join(parts)


def _server_evidence(fault: TlsFault) -> str:
    """Whose certificate the server showed before it failed."""
    if not fault.peer_certificates:
        return ""
    try:
        leaf = x509.load_der_x509_certificate(fault.peer_certificates[0])
        shown = f"The server showed a certificate for {leaf.subject.rfc4514_string() or 'an empty subject'}"
        return _one_line(f"{shown}, issued by {leaf.issuer.rfc4514_string()}.")
    except ValueError:
        return "The server showed a certificate that can't be read."


def _one_line(text: str) -> str:
    """A stranger's text as it may stand in a log line."""
    return "".join(char if char.isprintable() else " " for char in text).strip()[:300]
