"""A number for how well mail to a server is protected, with its arithmetic. PURE.

The breakpoints rise in the order of reference §11.1: no encryption, unreachable, SSL 3.0, TLS 1.0 to 1.3;
the numbers are ours. 90 and more count as secure.
"""

from __future__ import annotations

from collections.abc import Iterable

from mxseal.examine.report import CertificateReport, HostReport, Score, Term
from mxseal.tls.survey import Survey

SECURE = 90
BREAKPOINTS: dict[str, int] = {
    "no-tls": 20,
    "tls-broken": 30,
    "unreachable": 50,
    "SSLv3": 55,
    "TLSv1": 70,
    "TLSv1.1": 80,
    "TLSv1.2": 95,
    "TLSv1.3": 100,
}
_STRENGTH = {
    "SSLv3": "bad",
    "TLSv1": "very weak",
    "TLSv1.1": "weak",
    "TLSv1.2": "good",
    "TLSv1.3": "strong",
}
_WORDS = {
    "no-tls": "no encryption",
    "tls-broken": "TLS is offered and does not work",
    "unreachable": "could not connect",
}
_UNTIDY = frozenset(
    (
        "duplicate-intermediate",
        "leaf-among-intermediates",
        "missing-intermediate",
        "same-subject-other-key",
        "superfluous-root",
        "unrelated",
        "wrong-order",
    )
)
_WEAK_CODES = {"weak-key": "weak key", "key-unsupported": "unusable key", "weak-signature": "weak signature"}


def forward_secret(protocol: str, cipher: str) -> bool:
    """By OpenSSL's name of the suite: whether a stolen key leaves recorded mail closed."""
    return protocol == "TLSv1.3" or cipher.startswith(("ECDHE-", "DHE-", "EDH-", "ADH-", "AECDH-"))


def host_score(host: HostReport) -> Score:
    """Of one server, by what was seen of it."""
    if host.verdict == "untested":
        trouble = host.trouble
        return Score(
            value=None, terms=(Term(0, f"untested: {trouble.why if trouble else 'nothing was asked'}"),)
        )
    if host.verdict in _WORDS:
        points = BREAKPOINTS[host.verdict]
        return Score(value=points, terms=(Term(points, _WORDS[host.verdict]),))
    points = BREAKPOINTS.get(host.protocol, 0)
    terms = [Term(points, f"{host.protocol}, {_STRENGTH.get(host.protocol, 'unknown')}")]
    if host.certificate is not None:
        terms += _certificate(host.certificate)
    if not forward_secret(host.protocol, host.cipher):
        terms.append(Term(-5, "no forward secrecy"))
    refusal = host.stage("From")
    if refusal is not None and refusal.state == "fail":
        terms.append(Term(-2, "MAIL FROM refused"))
    if host.survey is not None:
        terms += _survey(host.survey)
    return Score(value=max(0, sum(term.points for term in terms)), terms=tuple(terms))


def _certificate(found: CertificateReport) -> list[Term]:
    terms = []
    if not found.validated:
        terms.append(Term(-20, "certificate not valid"))
    codes = {problem.code for problem in found.problems}
    if found.matched is None and "name-untested" not in codes:
        terms.append(Term(-15, "name does not fit"))
    terms += [Term(-10, why) for code, why in _WEAK_CODES.items() if code in codes]
    if found.validated and codes & _UNTIDY:
        terms.append(Term(-2, "chain untidy"))
    return terms


def _survey(found: Survey) -> list[Term]:
    old = [version for version in found.accepted if version in ("SSLv3", "TLSv1", "TLSv1.1")]
    terms = []
    if old and set(found.accepted) - set(old):
        terms.append(Term(-5 if "SSLv3" in old else -2, f"{', '.join(old)} also accepted"))
    if any(cipher.grade == "broken" for cipher in found.ciphers):
        terms.append(Term(-5, "broken ciphers accepted"))
    short = [
        cipher.dh_bits for cipher in found.ciphers if cipher.dh_bits is not None and cipher.dh_bits < 2048
    ]
    if short:
        terms.append(Term(-5, f"Diffie-Hellman of {min(short)} bits"))
    return terms


def domain_score(hosts: Iterable[HostReport]) -> Score:
    """The mean of the servers that have a score."""
    scored = [(host, host.score.value) for host in hosts if host.score.value is not None]
    if not scored:
        return Score(value=None, terms=(Term(0, "untested: no server could be tested"),))
    total = sum(value for _, value in scored)
    terms = tuple(Term(value, host.host) for host, value in scored)
    return Score(value=int(total / len(scored) + 0.5), terms=terms)


def assure_score(hosts: Iterable[HostReport]) -> Score:
    """0 or 100: all servers must refuse clear text (reference §11.1)."""
    known = [(host, host.stage("Refused")) for host in hosts]
    seen = [(host, stage) for host, stage in known if stage is not None and stage.state != "untested"]
    for host, stage in seen:
        if stage.state == "fail":
            return Score(value=0, terms=(Term(0, f"{host.host} takes mail in clear text"),))
    if not seen or len(seen) < len(known):
        left = next((host.host for host, stage in known if stage is None or stage.state == "untested"), "")
        what = f"untested: {left} could not be asked" if left else "untested: no server"
        return Score(value=None, terms=(Term(0, what),))
    return Score(value=100, terms=(Term(100, "every server refuses clear text"),))
