"""A server's chain as a sender sees it: valid, for the right name, and each thing that is wrong. PURE."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mxseal.certs.chain import check_chain
from mxseal.certs.facts import Problem, error, name_text, warning
from mxseal.certs.judge import describe, in_date, judge
from mxseal.certs.x509 import Bundle
from mxseal.examine.report import CertificateReport, Link
from mxseal.tls.identity import matches, names_of, nearness

_MOST_LINKS = 20
_MOST_NAMES = 100
_LONGEST = 255
_EXPLAINED = frozenset(
    ("self-signed", "expired", "not-yet-valid", "expired-intermediate", "missing-intermediate")
)
"""Problems that say more than OpenSSL's reason."""
_NOT_OURS = frozenset(("no-alternative-name", "name-not-fqdn", "rare-key"))
"""Of interest to who owns the certificate, and no fault that a sender sees."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the handshake gave: DER, leaf first; OpenSSL's reason why it does not verify, None if it does."""

    certificates: tuple[bytes, ...]
    verify_error: str | None


def judge_shown(
    shown: Shown, wanted: str, now: float, roots: Sequence[x509.Certificate] | None
) -> CertificateReport:
    """`wanted` is the MX record's host name; `roots` the trust list, None where there is none to read."""
    if not shown.certificates:
        return CertificateReport(wanted=wanted, reason="no certificate from server", problems=(_NONE,))
    read = [_read(der) for der in shown.certificates[:_MOST_LINKS]]
    leaf = read[0]
    if leaf is None:
        return CertificateReport(wanted=wanted, reason=shown.verify_error or "", problems=(_UNREADABLE,))
    others = tuple(each for each in read[1:] if each is not None)
    names = carried(shown.certificates[0])
    matched = fitting(names, wanted)
    problems = _problems(leaf, others, now, roots, shown.verify_error)
    near = "" if matched else max(names, key=lambda name: nearness(name, wanted), default="")
    if matched is None:
        problems = (_mismatch(wanted, names, near), *problems)
    return CertificateReport(
        links=tuple(_link(each, now) for each in read),
        validated=shown.verify_error is None,
        reason=shown.verify_error or "",
        wanted=wanted,
        matched=matched,
        nearest=near,
        problems=problems,
    )


_NONE = error("no-certificate", "The server showed no certificate.", "Configure one there.")
_UNREADABLE = error(
    "unreadable",
    "The server's certificate can't be read: it breaks RFC 5280.",
    "A new certificate is needed.",
)


def carried(leaf: bytes) -> tuple[str, ...]:
    """DNS names of a certificate (DER); its common name where it has none of these (RFC 6125 §6.4.4)."""
    names = names_of(leaf)
    return names.dns or names.common[-1:]


def fitting(names: Sequence[str], host: str) -> str | None:
    """The first of the names that is the host's."""
    return next((name for name in names if matches(name, host)), None)


def _read(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        _ = certificate.subject, certificate.public_key(), certificate.extensions  # the parser is lazy
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return None
    return certificate


def _link(certificate: x509.Certificate | None, now: float) -> Link:
    if certificate is None:
        return Link(subject="(can't be read)", issuer="", problem="it can't be read")
    facts = describe(certificate, now)
    problem = "" if in_date(certificate, now) else "it is not in date"
    names = facts.names or ((facts.common_name,) if facts.common_name else ())
    return Link(
        subject=name_text(certificate.subject)[:_LONGEST],
        issuer=facts.issuer[:_LONGEST],
        names=tuple(name[:_LONGEST] for name in names[:_MOST_NAMES]),
        not_before=facts.not_before,
        not_after=facts.not_after,
        key=facts.key,
        fingerprint=facts.fingerprint,
        problem=problem,
    )


def _problems(
    leaf: x509.Certificate,
    others: tuple[x509.Certificate, ...],
    now: float,
    roots: Sequence[x509.Certificate] | None,
    verify_error: str | None,
) -> tuple[Problem, ...]:
    found = [
        *judge(Bundle(leaf, None, others), now, strict_names=False, key_kept=True),
        *check_chain(leaf, others, now, roots),
    ]
    found = [_as_sent(problem) for problem in found if problem.code not in _NOT_OURS]
    if any(problem.code == "self-signed" for problem in found):
        # Its issuer is itself: nothing is missing.
        found = [problem for problem in found if problem.code != "missing-intermediate"]
    if verify_error is not None and not any(problem.code in _EXPLAINED for problem in found):
        found.insert(0, _unverified(verify_error, leaf, others))
    return tuple(found)


def _unverified(reason: str, leaf: x509.Certificate, others: tuple[x509.Certificate, ...]) -> Problem:
    if "self-signed certificate in" in reason or "unable to get" in reason:
        top = (leaf, *others)[-1]
        return error(
            "untrusted",
            f"The chain ends at {name_text(top.issuer)}, which is not among the authorities trusted here.",
            "If it is a public authority, bring the list of trusted authorities up to date; if it is the "
            "partner's own, their certificate verifies only where their root is trusted.",
        )
    return error(
        "unverified",
        f"The chain does not verify: {reason}.",
        "Have the authority's whole chain installed anew.",
    )


def _mismatch(wanted: str, names: tuple[str, ...], near: str) -> Problem:
    if is_address(wanted):
        return warning(
            "name-untested",
            f"The server was named by its address {wanted}, so the certificate's name can't be checked.",
            "Test the domain, or the server by its name.",
        )
    if not names:
        return error(
            "name-mismatch",
            "The certificate names no host at all.",
            f"A certificate with the name {wanted} is needed.",
        )
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return error(
        "name-mismatch",
        f"The certificate is for {near}{more}, the MX record says {wanted}.",
        f"Get a certificate with the name {wanted}, or let the MX record point to a name that it carries.",
    )


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


_SENT = (
    (" is stored among ", " is sent among "),
    (" is stored ", " is sent "),
    ("stored among its", "sent among its"),
    (" are not stored in ", " are not sent in "),
)


def _as_sent(problem: Problem) -> Problem:
    """The checks speak about certificates that are stored here; these were sent by a server."""
    text = problem.text
    for ours, theirs in _SENT:
        text = text.replace(ours, theirs)
    remedy = "Have it renewed." if problem.code == "expired" else problem.remedy
    if problem.code == "not-yet-valid":
        remedy = "Look whether this gateway's clock is right."
    if problem.code == "missing-intermediate":
        remedy = f"The server has to send it.{problem.remedy.removeprefix('Add it to the intermediates.')}"
    return msgspec.structs.replace(problem, text=text, remedy=remedy)
