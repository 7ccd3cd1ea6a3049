"""Evidence: what both sides offered, said and showed, as observations for a diagnosis. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from mxseal.tls.facts import (
    ChainFinding,
    ClientOffer,
    IdentityFinding,
    Observation,
    StageTimes,
)
from mxseal.tls.verification import Link

_SUITES_SHOWN = 3
_NAMES_SHOWN = 4
_LONGEST = 300
STAGES = {
    "lookup": "DNS",
    "connect": "connect",
    "banner": "banner",
    "ehlo": "EHLO",
    "starttls": "STARTTLS",
    "handshake": "handshake",
    "ehlo_again": "EHLO (TLS)",
}
"""Fields of StageTimes and how they are shown: words of the protocol, the same in every language."""


def one_line(text: str) -> str:
    """A stranger's text as it may stand in a log line."""
    text = text[: 4 * _LONGEST]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text.strip()[:_LONGEST]


def day(moment: float) -> str:
    """'2026-02-14'; a certificate may name a year that no calendar has."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d")
    except (ValueError, OverflowError, OSError):
        return "?"


def shown(names: Sequence[str], most: int = _NAMES_SHOWN) -> str:
    """The first few of a list, and a sign that there are more."""
    return one_line(", ".join(names[:most]) + (", …" if len(names) > most else ""))


def offered(offer: ClientOffer | None, *, signatures: bool = False) -> list[Observation]:
    """What a client offered; its signature algorithms only where they matter."""
    if offer is None:
        return []
    versions = ", ".join(offer.versions) or "?"
    count = max(offer.cipher_count, len(offer.ciphers))
    suites = {"versions": versions, "count": str(count), "suites": shown(offer.ciphers, _SUITES_SHOWN)}
    told = [Observation("client-offer" if count else "client-offer-empty", suites)]
    if offer.groups:
        told.append(Observation("client-groups", {"groups": shown(offer.groups)}))
    if signatures and offer.signature_algorithms:
        told.append(Observation("client-signatures", {"signatures": shown(offer.signature_algorithms)}))
    name = one_line(offer.server_name or "")
    told.append(Observation("client-name", {"name": name}) if name else Observation("client-no-name"))
    return told


def certificates(chain: ChainFinding | None, names: Sequence[str] = ()) -> list[Observation]:
    """The chain that was shown, with fingerprints. `names`: of the leaf, whose subject may be empty."""
    if chain is None or not chain.certificates:
        return []
    leaf, others = chain.certificates[0], chain.certificates[1:]
    subject = one_line(leaf.subject) or shown(names, 1) or title(leaf)
    words = {
        "subject": subject,
        "issuer": one_line(leaf.issuer) or subject,
        "date": day(leaf.not_after),
        "sha256": leaf.sha256,
    }
    if any(fault.kind == "unreadable" and fault.at == 0 for fault in chain.faults):
        told = [Observation("leaf-unreadable")]
    else:
        told = [Observation("leaf", words)]
    if not others:
        return [*told, Observation("leaf-alone")]
    listed = shown([f"{title(each)} (SHA-256 {each.sha256[:16]}…)" for each in others])
    return [*told, Observation("chain", {"count": str(len(others)), "others": listed})]


def names(identity: IdentityFinding | None) -> list[Observation]:
    """Which names were wanted and which were there."""
    if identity is None or identity.matched or not identity.wanted:
        return []
    wanted = shown(identity.wanted)
    if not identity.names:
        return [Observation("no-names", {"wanted": wanted})]
    return [Observation("names", {"names": shown(identity.names), "wanted": wanted})]


_BESIDES = {
    "expired": "also-expired",
    "wrong-order": "also-order",
    "duplicate": "also-duplicate",
    "unrelated": "also-leftover",
    "root-sent": "also-root",
    "weak-key": "also-weak",
    "weak-signature": "also-weak",
}


def besides(chain: ChainFinding | None, told: str) -> list[Observation]:
    """Further faults of the chain, beside the one (its kind) that the diagnosis is about."""
    if chain is None:
        return []
    found: list[Observation] = []
    for fault in chain.faults:
        key = _BESIDES.get(fault.kind)
        if key is None or fault.kind == told or not 0 <= fault.at < len(chain.certificates):
            continue
        which = chain.certificates[fault.at]
        words = {
            "subject": title(which),
            "date": day(which.not_after),
            "key": one_line(fault.detail),
        }
        found.append(Observation(key, words))
    return found[:_NAMES_SHOWN]


def spent(times: StageTimes | None) -> list[Observation]:
    """Seconds for each stage that was reached."""
    text = times_text(times)
    return [Observation("times", {"times": text})] if text else []


def times_text(times: StageTimes | None) -> str:
    """'connect 0.01, banner 0.2': stages that were not reached are left out; '' without any. Never with an
    exponent, which not everybody reads."""
    if times is None:
        return ""
    taken = ((word, getattr(times, stage)) for stage, word in STAGES.items())
    return ", ".join(f"{word} {_seconds(seconds)}" for word, seconds in taken if seconds is not None)


def _seconds(taken: float) -> str:
    return f"{taken:.0f}" if taken >= 100 else f"{taken:.3g}" if taken >= 0.001 else f"{taken:.4f}"


def title(certificate: Link) -> str:
    return one_line(certificate.subject) or certificate.sha256[:16]
