"""Conditions that stand and are looked at from time to time: expiry, chains, revocation lists, disk, queue
(reference §1.5, §5). PURE: the document, numbers and the time in, alerts out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from cryptography import x509

from mxseal.alerts.alert import Alert, moment, plain
from mxseal.certs.chain import check_chain
from mxseal.certs.facts import fingerprint, title
from mxseal.certs.judge import not_after, not_before
from mxseal.certs.profiles import parse, sent, uses
from mxseal.certs.x509 import read_pem
from mxseal.config.model import Document, Severity

DAYS_BEFORE = (90, 60, 30, 15, 5, 4, 3, 2, 1, 0)
"""Reference §1.5; after the day it is told once a week."""
_DAY = 86_400.0
_CRITICAL_DAYS = 1
_INFORMATION_DAYS = 60
_NAMED_PROBLEMS = 5


class Dated(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate whose end is watched. Times in seconds since the epoch."""

    kind: str
    """certificate-expires or authority-expires."""
    what: str
    """How sentences call it."""
    used: str
    """By what."""
    remedy: str
    sha256: str
    not_before: float
    not_after: float


class CrlFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A list of revoked certificates that is in use."""

    name: str
    """Of its source."""
    next_update: float | None
    """When a newer list is due by its own words; None: it does not say."""
    problem: str = ""
    """Why the newer one could not be had."""


class Oldest(msgspec.Struct, frozen=True, kw_only=True):
    """The message that waits the longest."""

    mid: int
    queued_at: float
    domain: str = ""
    last_error: str = ""


class Told(msgspec.Struct, frozen=True):
    """A standing condition as it is now: `alert` is due unless `mark` was told of `key` before."""

    key: str
    mark: str
    alert: Alert


# --- expiry -----------------------------------------------------------------------------------------------


def dated(document: Document, now: float) -> list[Dated]:
    """The certificates that services use, the intermediates that are sent with them, and the custom
    authorities. What can't be read is not watched: `commit` refuses it where it is used."""
    return [*_own(document, now), *_authorities(document)]


def _own(document: Document, now: float) -> Iterator[Dated]:
    for profile in document.certificates:
        services = uses(document, profile.name)
        bundle = parse(profile)
        if not services or isinstance(bundle, list):
            continue
        used = ", ".join(services)
        remedy = f"Renew it and put it in with 'certconfig replace {profile.name} FILE', then commit."
        yield _dated(
            bundle.leaf, "certificate-expires", f"The certificate {profile.name}", used=used, remedy=remedy
        )
        for member in sent(profile, bundle, now)[1:]:
            yield _dated(
                member,
                "certificate-expires",
                f"The intermediate {title(member)} of the certificate {profile.name}",
                used=used,
                remedy="Get the authority's current one and put it in with 'certconfig intermediates'.",
            )


def _authorities(document: Document) -> Iterator[Dated]:
    for authority in document.trust.authorities:
        found = read_pem(authority.certificate.encode())
        if not isinstance(found, list):
            yield _dated(
                found.leaf,
                "authority-expires",
                f"The custom authority {authority.name}",
                used="verification of other servers' certificates",
                remedy="Ask for the authority's new certificate and import it; remove this one afterwards.",
            )


def _dated(certificate: x509.Certificate, kind: str, what: str, *, used: str, remedy: str) -> Dated:
    return Dated(
        kind=kind,
        what=what,
        used=used,
        remedy=remedy,
        sha256=fingerprint(certificate),
        not_before=not_before(certificate),
        not_after=not_after(certificate),
    )


def days_left(end: float, now: float) -> int:
    """Whole days; negative once the end has passed."""
    return int((end - now) // _DAY)


def expiry_mark(entry: Dated, now: float) -> int | None:
    """The last of `DAYS_BEFORE` that was reached, -1, -8, -15, … behind the end; None: none yet.

    A mark that lies before the certificate's own beginning is none: one for 90 days would be told of as soon
    as it is made.
    """
    left = days_left(entry.not_after, now)
    if left < 0:
        return -1 - 7 * ((-left - 1) // 7)
    reached = min((days for days in DAYS_BEFORE if days >= left), default=None)
    if reached is None or entry.not_after - reached * _DAY <= entry.not_before + _DAY:
        return None
    return reached


def expiring(entries: Iterable[Dated], now: float) -> Iterator[Told]:
    for entry in entries:
        mark = expiry_mark(entry, now)
        if mark is not None:
            yield Told(f"{entry.kind}:{entry.sha256}", str(mark), _expiry_alert(entry, now))


def _expiry_alert(entry: Dated, now: float) -> Alert:
    left = days_left(entry.not_after, now)
    severity: Severity = "warning"
    if left <= _CRITICAL_DAYS:
        severity = "critical"
    elif left >= _INFORMATION_DAYS:
        severity = "information"
    return Alert(
        kind=entry.kind,
        alert_class="certificates",
        severity=severity,
        key=f"{entry.kind}:{entry.sha256}",
        title=f"{entry.what} {_expires(left)}",
        details=(
            ("Valid until", moment(entry.not_after)),
            ("Used by", plain(entry.used)),
            ("SHA-256", entry.sha256),
        ),
        remedy=entry.remedy,
    )


def _expires(left: int) -> str:
    if left < 0:
        return "has expired"
    if left == 0:
        return "expires today"
    return f"expires in {left} day{'' if left == 1 else 's'}"


# --- revocation lists -------------------------------------------------------------------------------------


def overdue_lists(lists: Iterable[CrlFacts], now: float) -> Iterator[Told]:
    """Lists whose own date for the next one has passed: they say nothing about what was revoked since."""
    for entry in lists:
        if entry.next_update is None or entry.next_update > now:
            continue
        details = [("Source", entry.name), ("Next one was due", moment(entry.next_update))]
        if entry.problem:
            details.append(("Last attempt", plain(entry.problem)))
        alert = Alert(
            kind="crl-overdue",
            alert_class="certificates",
            severity="warning",
            key=f"crl:{entry.name}",
            title=f"The list of revoked certificates {entry.name} is out of date",
            details=tuple(details),
            remedy="See that its address can be reached from here, or ask the authority for a newer one.",
        )
        yield Told(f"crl:{entry.name}", str(int(entry.next_update)), alert)


# --- chains -----------------------------------------------------------------------------------------------


def chain_problems(
    document: Document, now: float, roots: Sequence[x509.Certificate] | None
) -> Iterator[Told]:
    """What is wrong with the chains that services send. `roots`: see `check_chain`."""
    for profile in document.certificates:
        services = uses(document, profile.name)
        bundle = parse(profile)
        if not services or isinstance(bundle, list):
            continue
        chain = sent(profile, bundle, now)
        problems = check_chain(chain[0], chain[1:], now, roots)
        if not problems:
            continue
        codes = ",".join(sorted({problem.code for problem in problems}))
        rows = [("Problem", f"{each.text} {each.remedy}") for each in problems[:_NAMED_PROBLEMS]]
        alert = Alert(
            kind="chain-problem",
            alert_class="certificates",
            severity="warning",
            key=f"chain:{profile.name}",
            title=f"The chain that is sent with the certificate {profile.name} has a problem: "
            f"{problems[0].text.rstrip('.')}",
            details=(("Used by", plain(", ".join(services))), *rows),
            remedy=f"'certconfig check {profile.name}' shows all of it.",
        )
        yield Told(f"chain:{profile.name}", _digest(fingerprint(bundle.leaf), codes), alert)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


# --- disk and queue ---------------------------------------------------------------------------------------

_HYSTERESIS = 1.1


def disk_low(free: int, total: int, percent: int, *, was_low: bool) -> bool:
    """Whether less than `percent` of the disk is free. Once it was, a tenth more has to be free again."""
    if not percent or not total:
        return False
    return free * 100 < total * percent * (_HYSTERESIS if was_low else 1.0)


def disk_alert(free: int, total: int, percent: int) -> Alert:
    return Alert(
        kind="disk-nearly-full",
        alert_class="storage",
        severity="warning",
        key="disk",
        title=f"The disk of the home is nearly full: {free * 100 // max(total, 1)} % are free, less than "
        f"{percent} %",
        details=(("Free", f"{free >> 20} MiB of {total >> 20} MiB"),),
        remedy="Clear space. Below 'queue.min_free_bytes' mail is answered with 452.",
    )


def disk_recovered(free: int, total: int) -> Alert:
    return Alert(
        kind="disk-has-space",
        alert_class="storage",
        severity="information",
        key="disk-again",
        title=f"The disk of the home has space again: {free * 100 // max(total, 1)} % are free",
    )


def queue_alert(oldest: Oldest, limit: float, now: float) -> Alert:
    details = [
        ("Message", f"MID {oldest.mid}"),
        ("In the queue since", moment(oldest.queued_at)),
        ("Limit", f"{limit:g} seconds (alerts.queue_age)"),
    ]
    if oldest.domain:
        details.append(("Domain", plain(oldest.domain, 255)))
    if oldest.last_error:
        details.append(("Last attempt", plain(oldest.last_error)))
    hours = (now - oldest.queued_at) / 3600
    return Alert(
        kind="queue-age",
        alert_class="delivery",
        severity="warning",
        key="queue-age",
        title=f"Mail waits for {hours:.1f} hours: the oldest message is MID {oldest.mid}"
        + (f" to {plain(oldest.domain, 255)}" if oldest.domain else ""),
        details=tuple(details),
        remedy="'tophosts' and 'showrecipients' show for whom mail waits and why.",
    )


def queue_recovered() -> Alert:
    return Alert(
        kind="queue-age-well",
        alert_class="delivery",
        severity="information",
        key="queue-age-again",
        title="No message waits longer than the limit any more",
    )
