"""Why a certificate could not be verified, or what is odd about one that was. PURE.

OpenSSL's reason decides which kind of fault it is, the chain as it was sent says where it lies.
"""

from __future__ import annotations

from typing import Literal

from mxseal.tls import observed
from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import (
    ChainFault,
    ChainFaultKind,
    ChainFinding,
    Diagnosis,
    IdentityFinding,
    Observation,
)
from mxseal.tls.policy import Level
from mxseal.tls.verification import Link, Verification

Who = Literal["client", "server"]

_BY_ERROR = {
    # X509_verify_cert_error_string of OpenSSL, letter for letter
    "certificate has expired": "certificate-expired",
    "certificate is not yet valid": "certificate-not-yet-valid",
    "certificate is not yet valid or the system clock is incorrect": "certificate-not-yet-valid",
    "format error in certificate's notBefore field": "certificate-unreadable",
    "format error in certificate's notAfter field": "certificate-unreadable",
    "invalid or inconsistent certificate extension": "certificate-unreadable",
    "self-signed certificate": "certificate-self-signed",
    "self-signed certificate in certificate chain": "authority-unknown",
    "unable to get local issuer certificate": "issuer",
    "unable to get issuer certificate": "issuer",
    "unable to verify the first certificate": "issuer",
    "certificate not trusted": "authority-unknown",
    "certificate revoked": "certificate-revoked",
    "unable to get certificate CRL": "revocation-unknown",
    "CRL has expired": "revocation-unknown",
    "CRL is not yet valid": "revocation-unknown",
    "CRL signature failure": "revocation-unknown",
    "unable to get CRL issuer certificate": "revocation-unknown",
    "different CRL scope": "revocation-unknown",
    "unsuitable certificate purpose": "wrong-usage",
    "key usage does not include digital signature": "wrong-usage",
    "certificate rejected": "wrong-usage",
    "invalid CA certificate": "authority-not-allowed",
    "path length constraint exceeded": "authority-not-allowed",
    "permitted subtree violation": "authority-not-allowed",
    "excluded subtree violation": "authority-not-allowed",
    "key usage does not include certificate signing": "authority-not-allowed",
    "certificate chain too long": "authority-not-allowed",
    "unhandled critical extension": "authority-not-allowed",
    "unsupported name constraint type": "authority-not-allowed",
    "unsupported or invalid name constraint syntax": "authority-not-allowed",
    "issuer certificate doesn't have a public key": "authority-not-allowed",
    "unable to decode issuer public key": "authority-not-allowed",
    "certificate signature failure": "certificate-signature-wrong",
    "unable to decrypt certificate's signature": "certificate-signature-wrong",
    "EE certificate key too weak": "weak-key",
    "CA certificate key too weak": "weak-key",
    "CA signature digest algorithm too weak": "weak-signature",
    "hostname mismatch": "name-mismatch",
    "no certificate from server": "certificate-missing",
}
_FAULT_OF: dict[str, ChainFaultKind] = {
    "certificate-expired": "expired",
    "intermediate-expired": "expired",
    "certificate-not-yet-valid": "not-yet-valid",
    "intermediate-not-yet-valid": "not-yet-valid",
    "wrong-usage": "wrong-usage",
    "weak-key": "weak-key",
    "weak-signature": "weak-signature",
    "chain-wrong-order": "wrong-order",
    "chain-duplicate": "duplicate",
    "chain-leftover": "unrelated",
    "authority-key-mismatch": "key-identifier",
    "certificate-self-signed": "self-signed",
}
"""The fault of a chain that a cause is about."""
_UPSTAIRS = {
    "certificate-expired": "intermediate-expired",
    "certificate-not-yet-valid": "intermediate-not-yet-valid",
}
_AUTHORITY_KEY = "CA certificate key too weak"
_REMARKS: dict[ChainFaultKind, str] = {
    "expired": "intermediate-expired",
    "wrong-order": "chain-wrong-order",
    "duplicate": "chain-duplicate",
    "unrelated": "chain-leftover",
    "weak-key": "weak-key",
    "weak-signature": "weak-signature",
}


Besides = Literal["revoked", "not-pinned"]


def diagnose_certificate(
    who: Who,
    host: str,
    *,
    verify_error: str | None,
    chain: ChainFinding | None = None,
    identity: IdentityFinding | None = None,
    besides: Besides | None = None,
    trust: str = "",
) -> Diagnosis | None:
    """What keeps a peer's certificate from being verified; None when nothing does.

    `verify_error`: OpenSSL's first reason; "" with an empty chain: no certificate was shown. `identity` None:
    names were not compared. `besides`: found by other ways than OpenSSL. `trust`: names of the
    lists of authorities that are trusted here.
    """
    sent = chain or ChainFinding()
    cause = _cause(verify_error, sent, identity, besides)
    if cause is None:
        return None
    error = verify_error or ""
    fault = _fault(sent, _FAULT_OF.get(cause))
    if cause in _UPSTAIRS and fault is not None and fault.at > 0:
        cause = _UPSTAIRS[cause]
    words = _words(cause, sent, identity, fault, error)
    seen: list[Observation] = []
    if "{reason}" not in CAUSES[cause].summary and error:
        seen.append(Observation("openssl-said", {"reason": observed.one_line(error)}))
    names = identity.names if identity is not None else ()
    seen += [*observed.names(identity), *observed.certificates(chain, names)]
    seen += _help(cause, sent, trust)
    seen += observed.besides(chain, fault.kind if fault is not None else "")
    return _tell(cause, who, host, words, seen)


def diagnose_verification(
    found: Verification, level: Level, host: str, chain: ChainFinding | None = None
) -> Diagnosis | None:
    """What keeps a next hop's certificate from being verified by a level's rules; None when nothing does.

    `chain`: the same chain read closely, for where its fault lies; without it the links have to do.
    """
    verdict = found.by_rules(level)
    identity = IdentityFinding(
        wanted=verdict.wanted or ((verdict.expected,) if verdict.expected else ()),
        names=found.names,
        matched=verdict.expected or verdict.name if verdict.matched else None,
        nearest=verdict.name or None,
    )
    where = found.issuer_urls[0] if found.issuer_urls else ""
    close = chain or ChainFinding(certificates=found.chain, issuer=found.missing_issuer, issuer_at=where)
    return diagnose_certificate(
        "server",
        host,
        verify_error=None if found.trusted else found.chain_error or "",
        chain=close,
        identity=identity,
        besides=_besides(found),
        trust=", ".join(found.trust),
    )


def _besides(found: Verification) -> Besides | None:
    if found.revocation == "revoked":
        return "revoked"
    return "not-pinned" if found.pinned is False else None


def remark_chain(who: Who, host: str, chain: ChainFinding | None) -> Diagnosis | None:
    """What is odd about a chain that was verified all the same, and may fail elsewhere; None: nothing."""
    sent = chain or ChainFinding()
    for fault in sent.faults:
        cause = _REMARKS.get(fault.kind)
        if cause is None or not 0 <= fault.at < len(sent.certificates):
            continue
        if fault.kind == "expired" and fault.at not in sent.path:
            cause = "chain-leftover"
        seen = [*observed.certificates(chain), *observed.besides(chain, fault.kind)]
        return _tell(cause, who, host, _words(cause, sent, None, fault, ""), seen)
    return None


def _cause(
    error: str | None,
    chain: ChainFinding,
    identity: IdentityFinding | None,
    besides: Besides | None,
) -> str | None:
    """The worst finding decides, in the order of `policy.judge`."""
    if besides == "revoked":
        return "certificate-revoked"
    if besides == "not-pinned":
        return "certificate-not-pinned"
    if error is not None and not error and not chain.certificates:
        return "certificate-missing"
    if chain.faults and chain.faults[0].kind == "unreadable" and chain.faults[0].at == 0:
        return "certificate-unreadable"
    if error:
        found = _BY_ERROR.get(error, "certificate-unverified")
        return _issuer_cause(chain) if found == "issuer" else _upstairs(found, error, chain)
    if identity is not None and identity.matched is None:
        return "name-mismatch" if identity.names else "certificate-without-names"
    return None


def _upstairs(cause: str, error: str, chain: ChainFinding) -> str:
    """OpenSSL does not say which certificate it is about. Where none that was sent has the fault, it is the
    authority's own, which is in a list here."""
    if not chain.path or _fault(chain, _FAULT_OF.get(cause)) is not None:
        return cause
    if cause == "wrong-usage":
        return "authority-not-allowed"
    return "authority-unfit" if cause in _UPSTAIRS or error == _AUTHORITY_KEY else cause


def _issuer_cause(chain: ChainFinding) -> str:
    """OpenSSL has one reason for an intermediate that is missing and for an authority that nobody knows."""
    if _fault(chain, "key-identifier") is not None:
        return "authority-key-mismatch"
    leaf_alone = len(chain.path) < 2
    leftover = _fault(chain, "unrelated")
    if leaf_alone and leftover is not None:
        return "chain-leftover"
    return "intermediate-missing" if leaf_alone else "authority-unknown"


def _fault(chain: ChainFinding, kind: ChainFaultKind | None) -> ChainFault | None:
    found = (each for each in chain.faults if each.kind == kind and 0 <= each.at < len(chain.certificates))
    return next(found, None)


def _top(chain: ChainFinding) -> Link | None:
    """The highest certificate of the path that was sent."""
    at = chain.path[-1] if chain.path else 0
    return chain.certificates[at] if 0 <= at < len(chain.certificates) else None


def _words(
    cause: str, chain: ChainFinding, identity: IdentityFinding | None, fault: ChainFault | None, error: str
) -> dict[str, str]:
    top = _top(chain)
    at = fault.at if fault is not None else 0
    about = chain.certificates[at] if chain.certificates else None
    words = {"reason": observed.one_line(error)}
    if about is not None:
        early = "not-yet-valid" in cause
        words["subject"] = observed.title(about)
        words["date"] = observed.day(about.not_before if early else about.not_after)
    if top is not None:
        words["issuer"] = words["authority"] = observed.one_line(chain.issuer or top.issuer) or "?"
    if fault is not None:
        words["usage"] = words["key"] = words["signature"] = observed.one_line(fault.detail)
    if identity is not None:
        words["name"] = observed.one_line(identity.nearest or observed.shown(identity.names, 1))
    return words


def _help(cause: str, chain: ChainFinding, trust: str) -> list[Observation]:
    """What leads to the missing piece."""
    top = _top(chain)
    told: list[Observation] = []
    if cause in ("intermediate-missing", "chain-leftover", "authority-unknown") and top is not None:
        if chain.issuer_at:
            told.append(Observation("where", {"where": observed.one_line(chain.issuer_at)}))
        if trust:
            told.append(Observation("trust", {"trust": observed.one_line(trust)}))
    return told


def _tell(cause: str, who: Who, host: str, words: dict[str, str], seen: list[Observation]) -> Diagnosis:
    entry = CAUSES[cause]
    places = entry.summary + entry.remedy
    needed = {place: word for place, word in words.items() if word and f"{{{place}}}" in places}
    name = observed.one_line(host)
    spoken = {"who": who, "host": name} if who == "server" and name else {"who": who}
    return Diagnosis(cause=cause, side=entry.side, words={**spoken, **needed}, seen=tuple(seen))
