"""Why a TLS handshake failed: cause, side, evidence, remedy, for a postmaster at two in the morning. PURE.

The rules that find the cause; what is said about each stands in `causes`, what was seen in `evidence`. What
comes before the handshake is in `openings`, what a certificate lacks in `unverified`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
from cryptography import x509

from mxseal.tls import observed
from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import (
    ChainFinding,
    ClientOffer,
    Diagnosis,
    Observation,
    StageTimes,
    TlsFault,
)
from mxseal.tls.openings import diagnose_stage, diagnose_unavailable, diagnose_without_tls
from mxseal.tls.unverified import diagnose_certificate, diagnose_verification, remark_chain
from mxseal.tls.verification import links

__all__ = [
    "OurSettings",
    "diagnose_certificate",
    "diagnose_inbound",
    "diagnose_outbound",
    "diagnose_stage",
    "diagnose_unavailable",
    "diagnose_verification",
    "diagnose_without_tls",
    "remark_chain",
]

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
    chain_faults: tuple[str, ...] = ()
    """Codes of what is wrong with the certificate and its chain, as `certs.judge` and `certs.chain` have
    them: where a peer does not trust it, they say why."""


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
    "ee key too small": "peer-key-too-weak",
    "ca key too small": "peer-key-too-weak",
    "ca md too weak": "peer-key-too-weak",
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


_NOTHING_COMMON = frozenset(
    (
        "client-too-old",
        "server-too-old",
        "no-common-version",
        "version-refused",
        "handshake-failure",
        "no-shared-cipher",
        "no-common-group",
        "no-common-signature",
        "only-ecdsa",
        "only-rsa-certificates",
    )
)
"""Causes for which what we offer is evidence too."""
_SILENCE = frozenset(("peer-gone", "peer-gone-silent", "server-gone-silent", "reset", "peer-closed-later"))
_UNTRUSTED = frozenset(("our-certificate-untrusted", "our-certificate-rejected"))
_DISORDER = (
    "wrong-order",
    "duplicate-intermediate",
    "unrelated",
    "same-subject-other-key",
    "same-subject-same-key",
)


def diagnose_inbound(
    fault: TlsFault,
    ours: OurSettings,
    *,
    times: StageTimes | None = None,
    chain: ChainFinding | None = None,
    trust: str = "",
) -> Diagnosis:
    """Why a client's TLS with this listener failed. `chain`: what the client showed, where it was asked;
    `trust`: names of the lists that it was held against."""
    if fault.verify_error is not None and fault.peer_certificates:
        sent = chain or ChainFinding(certificates=links(fault.peer_certificates))
        found = diagnose_certificate("client", "", verify_error=fault.verify_error, chain=sent, trust=trust)
        if found is not None:
            return msgspec.structs.replace(found, seen=(*found.seen, *observed.spent(times)))
    cause = _socket_cause(fault, server=False) or _inbound_cause(fault, ours)
    seen = observed.offered(fault.offer, signatures=cause == "no-common-signature")
    return _tell(
        cause, fault, ours, who="client", host="", seen=[*seen, *observed.certificates(chain)], times=times
    )


def diagnose_outbound(
    fault: TlsFault,
    *,
    host: str = "",
    ours: OurSettings | None = None,
    times: StageTimes | None = None,
    chain: ChainFinding | None = None,
) -> Diagnosis:
    """Why TLS with a next hop failed; `host` is its name, `chain` what it showed before."""
    settings = ours or OurSettings(groups=(), key_types=())
    cause = _socket_cause(fault, server=True) or _outbound_cause(fault, settings)
    seen = observed.certificates(chain) or _leaf(fault)
    return _tell(cause, fault, settings, who="server", host=host, seen=seen, times=times)


def _tell(
    cause: str,
    fault: TlsFault,
    ours: OurSettings,
    *,
    who: Literal["client", "server"],
    host: str,
    seen: list[Observation],
    times: StageTimes | None,
) -> Diagnosis:
    words = {
        "who": who,
        "host": observed.one_line(host),
        "reason": observed.one_line(fault.reason),
        "alert": fault.alert or "",
        "ours": ", ".join(reversed(ours.versions)),
        "keys": ", ".join(ours.key_types),
        "profile": ours.certificate,
    }
    entry = CAUSES[cause]
    places = entry.summary + entry.remedy
    needed = {"who", "host", "profile"} | {place for place in words if f"{{{place}}}" in places}
    return Diagnosis(
        cause=cause,
        side=entry.side,
        words={place: word for place, word in words.items() if place in needed and word},
        seen=(*_said(cause, fault), *seen, *_on_our_side(cause, ours), *_silence(cause, fault, times)),
    )


def _said(cause: str, fault: TlsFault) -> list[Observation]:
    """What was sent and answered, as far as the sentence does not hold it already. OpenSSL's reason stands in
    the log's own line: once, so that a search for it counts each failure once."""
    told: list[Observation] = []
    if fault.clear_text:
        told.append(Observation("it-sent", {"text": fault.clear_text}))
    places = CAUSES[cause].summary
    if fault.kind == "alert-received" and fault.alert and "{alert}" not in places:
        told.append(Observation("alert-received", {"alert": fault.alert}))
    if fault.alert_sent:
        told.append(Observation("alert-sent", {"alert": fault.alert_sent}))
    return told


def _on_our_side(cause: str, ours: OurSettings) -> list[Observation]:
    if cause not in _NOTHING_COMMON:
        return []
    told = [Observation("our-versions", {"ours": ", ".join(reversed(ours.versions))})]
    if ours.key_types:
        told.append(Observation("our-keys", {"keys": ", ".join(ours.key_types)}))
    if cause == "no-common-group" and ours.groups:
        told.append(Observation("our-groups", {"groups": observed.shown(ours.groups)}))
    return told


def _silence(cause: str, fault: TlsFault, times: StageTimes | None) -> list[Observation]:
    """How far it came, where nobody said what was wrong."""
    if cause not in _SILENCE and not cause.startswith(("timeout", "peer-gone")):
        return []
    heard = [Observation("bytes-heard", {"count": str(fault.heard)})] if fault.heard else []
    return [*heard, *observed.spent(times)]


def _socket_cause(fault: TlsFault, *, server: bool) -> str | None:
    """`server`: the other side is one, and we spoke first."""
    if fault.kind == "reset":
        return "reset"
    half = not server and fault.heard > 0 and fault.offer is None
    if fault.kind == "timeout":
        if half:
            return "timeout-in-hello"
        return "timeout" if fault.heard or fault.peer_certificates else "timeout-silent"
    if fault.kind == "peer-gone":
        if fault.alert:
            return "peer-closed"
        if fault.during == "transfer":
            return "peer-closed-later" if server else "peer-gone"
        if half:
            return "peer-gone-in-hello"
        if fault.heard or fault.offer or fault.peer_certificates:
            return "peer-gone"
        return "server-gone-silent" if server else "peer-gone-silent"
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
        # A client has no say in client certificates; it means ours.
        cause = "our-certificate-rejected" if cause == "client-certificate-required" else cause
        return _why_untrusted(cause, fault.alert or "", ours)
    cause = _local_cause(fault)
    offer = fault.offer
    if offer is None:
        return cause
    if cause in ("no-common-version", "no-shared-cipher") and not _CURRENT.intersection(offer.versions):
        return "client-too-old"
    return _cipher_cause(offer, ours) if cause == "no-shared-cipher" else cause


def _why_untrusted(cause: str, alert: str, ours: OurSettings) -> str:
    """What is known to be wrong with our certificate, where a peer refuses it."""
    if ours.demonstration and alert in _OUR_CERTIFICATE_ALERTS and alert != "access denied":
        return "demonstration-certificate"
    if cause not in _UNTRUSTED or alert == "access denied":
        return cause
    if "self-signed" in ours.chain_faults:
        return "our-certificate-self-signed"
    if "missing-intermediate" in ours.chain_faults:
        return "our-chain-incomplete"
    return "our-chain-disordered" if any(code in _DISORDER for code in ours.chain_faults) else cause


def _outbound_cause(fault: TlsFault, ours: OurSettings) -> str:
    if fault.kind == "not-tls":
        return "clear-text-answer"
    if fault.kind == "alert-received":
        return _why_untrusted(_ALERTS.get(fault.alert or "", "alert"), fault.alert or "", ours)
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


def _leaf(fault: TlsFault) -> list[Observation]:
    """Whose certificate the server showed before it failed, where nobody read the chain."""
    if not fault.peer_certificates:
        return []
    try:
        leaf = x509.load_der_x509_certificate(fault.peer_certificates[0])
        subject, issuer = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
    except (ValueError, TypeError):
        return [Observation("leaf-unreadable")]
    words = {"subject": observed.one_line(subject), "issuer": observed.one_line(issuer)}
    return [Observation("leaf-brief", words)]
