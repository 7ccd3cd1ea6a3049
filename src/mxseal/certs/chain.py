"""Chains: what is wrong with a list of intermediates, and the path that has to be sent. PURE.

RFC 5246 §7.4.2 wants each certificate to certify the one before it; RFC 8446 §4.4.2 relaxes that, and many
peers don't. `now` is in seconds since the epoch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from mxseal.certs.facts import (
    Problem,
    fingerprint,
    is_ca,
    name_text,
    pem,
    self_signed,
    spki_sha256,
    title,
    warning,
)
from mxseal.certs.judge import in_date, not_after, not_before, weak_signature
from mxseal.tls.strength import issued

Entity = tuple[bytes, str]
"""Subject (DER) and key: cross-signed certificates of one authority share it."""


def repair(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], now: float
) -> tuple[x509.Certificate, ...]:
    """Exactly what is to be sent after the leaf: its issuer, that one's issuer and so on, each once, no root.

    The result does not depend on the order of `intermediates`. Where an authority has several certificates
    (cross-signed, renewed) one in date is taken, then one that leads to a known root.
    """
    return _Pool(intermediates, now).path(leaf)


def as_stored(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], now: float
) -> tuple[x509.Certificate, ...]:
    """The path, then what else was stored, each once: for who wants leftovers sent too."""
    path = repair(leaf, intermediates, now)
    known = set(map(fingerprint, (leaf, *path)))
    rest = []
    for certificate in intermediates:
        if (mark := fingerprint(certificate)) not in known:
            known.add(mark)
            rest.append(certificate)
    return (*path, *rest)


def check_chain(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    now: float,
    roots: Sequence[x509.Certificate] | None = None,
) -> list[Problem]:
    """What is wrong with the stored intermediates, in the order in which a reader would ask. [] = nothing.

    With `roots` (a trust list) a path that does not end at one of them is incomplete; without, a leaf that
    has no issuer at all. Only a signature that can't be loaded is an error; `repair` cures every warning that
    does not ask for another certificate.
    """
    pool = _Pool(intermediates, now)
    path = pool.path(leaf)
    related = _related(pool, path)
    return [
        *_leaf_among(leaf, intermediates),
        *_duplicates(leaf, intermediates, path),
        *_roots_sent(pool, leaf, path),
        *_unrelated(pool, leaf, path, related),
        *_order(path, intermediates),
        *_unfit(leaf, related, path, now),
        *_missing(pool, leaf, path, roots),
    ]


class _Pool:
    """The intermediates, each once, and who signed whom among them."""

    def __init__(self, intermediates: Sequence[x509.Certificate], now: float) -> None:
        once = {fingerprint(certificate): certificate for certificate in intermediates}
        # Sorted by fingerprint: no decision may depend on the order of the input.
        self.members = [once[mark] for mark in sorted(once)]
        self.now = now
        self._by_subject: dict[bytes, list[x509.Certificate]] = {}
        for member in self.members:
            self._by_subject.setdefault(member.subject.public_bytes(), []).append(member)
        self._issuers = {member: self._find_issuers(member) for member in self.members}
        self.anchors = {entity(member) for member in self.members if self_signed(member)}
        self._distances = self._measure()

    def issuers(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        known = self._issuers.get(certificate)
        return self._find_issuers(certificate) if known is None else known

    def path(self, leaf: x509.Certificate) -> tuple[x509.Certificate, ...]:
        path: list[x509.Certificate] = []
        visited = {entity(leaf)}
        at = leaf
        while not self_signed(at):
            candidates = [issuer for issuer in self.issuers(at) if entity(issuer) not in visited]
            if not candidates:
                break
            at = max(candidates, key=self._rank)
            if self_signed(at):
                break
            visited.add(entity(at))
            path.append(at)
        return tuple(path)

    def _find_issuers(self, certificate: x509.Certificate) -> list[x509.Certificate]:
        same_name = self._by_subject.get(certificate.issuer.public_bytes(), [])
        return [member for member in same_name if issued(member, certificate)]

    def _rank(self, candidate: x509.Certificate) -> tuple[bool, bool, float, bool, float, str]:
        return (
            is_ca(candidate),
            in_date(candidate, self.now),
            -self._distances.get(candidate, math.inf),
            not self_signed(candidate),  # the cross-signed form reaches peers with older trust lists as well
            not_after(candidate),
            fingerprint(candidate),
        )

    def _measure(self) -> dict[x509.Certificate, float]:
        """Steps from each usable member to an authority whose root is among the members."""
        usable = [member for member in self.members if is_ca(member) and in_date(member, self.now)]
        distances: dict[x509.Certificate, float] = {
            member: 0.0 for member in usable if entity(member) in self.anchors
        }
        for _ in usable:
            for member in usable:
                step = 1 + min(
                    (distances.get(issuer, math.inf) for issuer in self.issuers(member)), default=math.inf
                )
                if step < distances.get(member, math.inf):
                    distances[member] = step
        return distances


def entity(certificate: x509.Certificate) -> Entity:
    return certificate.subject.public_bytes(), spki_sha256(certificate)


def _related(pool: _Pool, path: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """Members of the path, and other certificates of the authorities in it."""
    entities = set(map(entity, path))
    return [member for member in pool.members if entity(member) in entities and not self_signed(member)]


def _leaf_among(leaf: x509.Certificate, intermediates: Iterable[x509.Certificate]) -> list[Problem]:
    mark, spki = fingerprint(leaf), spki_sha256(leaf)
    problems = []
    if any(fingerprint(certificate) == mark for certificate in intermediates):
        problems.append(
            warning(
                "leaf-among-intermediates",
                f"The certificate {title(leaf)} itself is stored among its intermediates.",
                "Remove it there: it is sent first in any case.",
            )
        )
    elif any(spki_sha256(certificate) == spki for certificate in intermediates):
        problems.append(
            warning(
                "leaf-among-intermediates",
                f"An older certificate with the key of {title(leaf)} is stored among the intermediates.",
                "Remove it: it signs nothing in the path.",
            )
        )
    return problems


def _duplicates(
    leaf: x509.Certificate, intermediates: Sequence[x509.Certificate], path: Sequence[x509.Certificate]
) -> list[Problem]:
    counts: dict[str, int] = {}
    subjects: dict[bytes, dict[str, x509.Certificate]] = {}
    for certificate in intermediates:
        mark = fingerprint(certificate)
        counts[mark] = counts.get(mark, 0) + 1
        subjects.setdefault(certificate.subject.public_bytes(), {})[mark] = certificate
    subjects.pop(leaf.subject.public_bytes(), None)
    problems = []
    for group in subjects.values():
        for mark, certificate in group.items():
            if counts[mark] > 1:
                problems.append(
                    warning(
                        "duplicate-intermediate",
                        f"The intermediate {title(certificate)} is stored {counts[mark]} times.",
                        "Keep it once.",
                    )
                )
        # A root and its cross-signed form are told by "superfluous-root".
        rivals = [certificate for certificate in group.values() if not self_signed(certificate)]
        if len(rivals) > 1:
            problems += _rivals(rivals, path)
    return problems


def _rivals(rivals: Sequence[x509.Certificate], path: Sequence[x509.Certificate]) -> list[Problem]:
    """Several certificates with one subject: what renewing into an old profile leaves (reference §12)."""
    name = title(rivals[0])
    used = next((certificate for certificate in rivals if certificate in path), None)
    keep = (
        f"Keep the one with serial {used.serial_number:x}, valid until {used.not_valid_after_utc:%Y-%m-%d}."
        if used
        else "Keep the one that the authority delivered with the certificate."
    )
    keys = len(set(map(spki_sha256, rivals)))
    problems = []
    if keys < len(rivals):
        problems.append(
            warning(
                "same-subject-same-key",
                f"{len(rivals)} different intermediates are called {name} and share a key (renewed or "
                "cross-signed).",
                keep,
            )
        )
    if keys > 1:
        problems.append(
            warning(
                "same-subject-other-key",
                f"{len(rivals)} intermediates are called {name} and have different keys: one signs "
                "nothing here.",
                keep,
            )
        )
    return problems


def _roots_sent(pool: _Pool, leaf: x509.Certificate, path: Sequence[x509.Certificate]) -> list[Problem]:
    return [
        warning(
            "superfluous-root",
            f"The root {title(member)} is stored among the intermediates.",
            "Remove it: peers trust their own copy or none, and it makes each handshake longer.",
        )
        for member in _path_roots(pool, leaf, path)
    ]


def _path_roots(
    pool: _Pool, leaf: x509.Certificate, path: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    entities = set(map(entity, path))
    signers = {fingerprint(issuer) for certificate in (leaf, *path) for issuer in pool.issuers(certificate)}
    return [
        member
        for member in pool.members
        if self_signed(member)
        and entity(member) != entity(leaf)
        and (entity(member) in entities or fingerprint(member) in signers)
    ]


def _unrelated(
    pool: _Pool, leaf: x509.Certificate, path: Sequence[x509.Certificate], related: Sequence[x509.Certificate]
) -> list[Problem]:
    known = set(map(fingerprint, (*path, *related, *_path_roots(pool, leaf, path))))
    spki = spki_sha256(leaf)
    path_names = {certificate.subject for certificate in path}
    problems = []
    for member in pool.members:
        # An other-key rival of a path member has its own sentence already.
        if fingerprint(member) in known or spki_sha256(member) == spki or member.subject in path_names:
            continue
        what = "The intermediate" if is_ca(member) else "The certificate (which is no authority)"
        problems.append(
            warning(
                "unrelated",
                f"{what} {title(member)}, issued by {name_text(member.issuer)}, signs nothing in the "
                f"path of {title(leaf)}.",
                "Remove it: it is a leftover or belongs to another certificate.",
            )
        )
    return problems


def _order(path: Sequence[x509.Certificate], intermediates: Sequence[x509.Certificate]) -> list[Problem]:
    wanted = list(map(entity, path))
    stored = list(dict.fromkeys(mark for mark in map(entity, intermediates) if mark in wanted))
    if stored == wanted:
        return []
    return [
        warning(
            "wrong-order",
            "The intermediates are not stored in the order of the path.",
            "The order is: " + ", ".join(map(title, path)) + ".",
        )
    ]


def _unfit(
    leaf: x509.Certificate, related: Sequence[x509.Certificate], path: Sequence[x509.Certificate], now: float
) -> list[Problem]:
    """Dates of all certificates of the path's authorities; fitness to sign of those that are sent."""
    problems = []
    for member in sorted(related, key=lambda entry: path.index(entry) if entry in path else len(path)):
        if now > not_after(member):
            code, when = "expired-intermediate", f"expired on {member.not_valid_after_utc:%Y-%m-%d}"
        elif now < not_before(member):
            code, when = (
                "intermediate-not-yet-valid",
                f"becomes valid on {member.not_valid_before_utc:%Y-%m-%d}",
            )
        else:
            continue
        remedy = "Remove it, another one is in date." if member not in path else "Get the current one."
        problems.append(
            warning(
                code, f"The intermediate {title(member)} {when}.", f"{remedy}{_where(leaf, path, member)}"
            )
        )
    for member in path:
        if not is_ca(member):
            problems.append(
                warning(
                    "not-a-ca",
                    f"The certificate {title(member)} signed one in the path, and is no authority that "
                    "may sign "
                    "(CA:TRUE or the key usage certificate sign is missing): peers refuse the chain.",
                    "Ask the authority for its proper intermediate.",
                )
            )
        problems += weak_signature(member)
    return problems


def _where(leaf: x509.Certificate, path: Sequence[x509.Certificate], member: x509.Certificate) -> str:
    """Where the certificate below `member` says that its issuer can be had."""
    if member not in path:
        return ""
    below = (leaf, *path)[path.index(member)]
    return _available(below)


def _available(below: x509.Certificate) -> str:
    urls = issuer_urls(below)
    return f" It can be had at {urls[0]}" if urls else ""


def issuer_urls(certificate: x509.Certificate) -> tuple[str, ...]:
    """The caIssuers URLs of authority information access (RFC 5280 §4.2.2.1)."""
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(
        entry.access_location.value
        for entry in access
        if entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(entry.access_location, x509.UniformResourceIdentifier)
    )


def _missing(
    pool: _Pool,
    leaf: x509.Certificate,
    path: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate] | None,
) -> list[Problem]:
    top = (leaf, *path)[-1]
    if self_signed(top) or any(self_signed(issuer) for issuer in pool.issuers(top)):
        return []
    if roots is None:
        # Without a trust list the issuer of the last intermediate passes for a root.
        if path:
            return []
    elif any(issued(root, top) or entity(root) == entity(top) for root in roots):
        return []
    return [
        warning(
            "missing-intermediate",
            f"The certificate of {name_text(top.issuer)}, which signed {title(top)}, is missing: "
            "peers that don't know it can't verify the chain.",
            f"Add it to the intermediates.{_available(top)}",
        )
    ]


def wire_pem(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> str:
    """Leaf first, then the rest, as one PEM text."""
    return pem(leaf, *others)
