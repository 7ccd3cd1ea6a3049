"""Which event gives which alert, and which one says that a trouble is over (reference §5). PURE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mxseal.alerts.alert import Alert, moment, plain
from mxseal.events import types as facts
from mxseal.events.directory import LdapConnected, LdapConnectionFailed
from mxseal.events.scanning import AnalysisConnected, AnalysisConnectionFailed
from mxseal.events.screening import AnalysisTrouble, AnalysisWorks
from mxseal.events.types import Event
from mxseal.tls.facts import Diagnosis
from mxseal.tls.reasons import STARTTLS_UNAVAILABLE, STARTTLS_UNEXPECTED, outbound_reason, verify_reason

_SIDES = {
    "ours": "this gateway's administrator",
    "theirs": "the other side's administrator",
    "network": "whoever runs the network between",
    "between": "whoever runs the network between",
}
"""Who has to act, in words; a side that is not here is not known."""


class Over(msgspec.Struct, frozen=True):
    """The trouble `key` is over; `alert` is told if the trouble was."""

    key: str
    alert: Alert


Finding = Alert | Over


def find(event: Event) -> Finding | None:
    """What an event means for alerts; None: nothing. Any kind of event may be asked about."""
    rule = RULES.get(type(event))
    return rule(event) if rule is not None else None


# --- required TLS -----------------------------------------------------------------------------------------


def tls_key(domain: str) -> str:
    return f"tls:{plain(domain, 255)}"


def _tls_failed(event: facts.OutboundTlsFailed) -> Alert | None:
    domain = plain(event.domain, 255)
    if not event.required or not event.alert:
        return None
    reason = _reason(event)
    details = [("Domain", domain), ("Host", plain(event.host, 255)), ("Reason", reason)]
    remedy = ""
    if event.diagnosis is not None:
        details += _diagnosed(event.diagnosis)
        remedy = event.diagnosis.remedy
    return Alert(
        kind="tls-failed",
        alert_class="system",
        severity="warning",
        key=tls_key(domain),
        title=f"TLS connection to {domain} was required but could not be established: {reason}",
        details=tuple(details),
        remedy=remedy,
        domain=event.domain,
    )


def _reason(event: facts.OutboundTlsFailed) -> str:
    """As behind `TLS failed:` in the mail log, so that the line can be searched for."""
    if event.reason == "unexpected-response":
        return STARTTLS_UNEXPECTED
    if event.reason == "verification":
        return verify_reason(plain(event.verify_error, 200))
    if event.fault is not None:
        return plain(outbound_reason(event.fault), 200)
    if event.reason == "unavailable":
        return STARTTLS_UNAVAILABLE
    return plain(event.diagnosis.summary, 200) if event.diagnosis is not None else event.reason


def _diagnosed(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    rows = [
        ("What happened", diagnosis.summary),
        ("Evidence", diagnosis.evidence),
        ("Who has to act", _SIDES.get(diagnosis.side, "not known")),
        ("Cause", diagnosis.cause),
    ]
    return [(label, plain(value)) for label, value in rows if value]


def _tls_works(event: facts.OutboundTlsSucceeded) -> Over:
    domain = plain(event.domain, 255)
    return Over(
        tls_key(domain),
        Alert(
            kind="tls-works-again",
            alert_class="system",
            severity="information",
            key=f"tls-again:{domain}",
            title=f"TLS connections to {domain} can be established again, its mail flows",
            details=(
                ("Domain", domain),
                ("Host", plain(event.host, 255)),
                ("TLS", f"{event.facts.protocol}, {event.facts.cipher}"),
            ),
            remedy="Nothing. What still waits goes out with its next attempt; "
            f"'delivernow {domain}' sends it at once.",
            domain=event.domain,
        ),
    )


# --- certificates on the wire -----------------------------------------------------------------------------


def _served(event: facts.CertificateServed) -> Finding:
    who = f"{event.service.capitalize()} {event.listener}"
    key = f"served:{event.listener if event.service == 'listener' else who}:{event.certificate}"
    details = (
        (event.service.capitalize(), event.listener),
        ("Assigned", event.certificate),
        ("SHA-256 seen", event.sha256),
    )
    if event.expected:
        return Over(
            key,
            Alert(
                kind="certificate-served-again",
                alert_class="certificates",
                severity="information",
                key=f"again:{key}",
                title=f"{who} shows the certificate {event.certificate} again",
                details=details,
            ),
        )
    return Alert(
        kind="certificate-not-served",
        alert_class="certificates",
        severity="critical",
        key=key,
        title=f"{who} shows another certificate than {event.certificate}, which is assigned to it",
        details=details,
        remedy="Look with 'certconfig served' and on this machine with 'ss -ltnp' whether another program "
        "holds the port; if the gateway does, restart it.",
    )


# --- storage, configuration, processes --------------------------------------------------------------------


def _storage_trouble(event: facts.StorageTrouble) -> Alert:
    return Alert(
        kind="storage-trouble",
        alert_class="storage",
        severity="critical",
        key=f"storage:{event.what}",
        title=f"The disk refuses what the gateway stores ({event.what}): mail is answered with 4xx",
        details=(("What", event.what), ("The system said", plain(event.error))),
        remedy="Clear space on the disk of the home, or mend it. Mail that was accepted is safe, senders "
        "try again.",
    )


def _storage_recovered(event: facts.StorageRecovered) -> Over:
    return Over(
        f"storage:{event.what}",
        Alert(
            kind="storage-recovered",
            alert_class="storage",
            severity="information",
            key=f"storage-again:{event.what}",
            title=f"The disk takes what the gateway stores ({event.what}) again: mail is accepted",
        ),
    )


def _queue_damaged(event: facts.QueueDamaged) -> Alert:
    details = [
        ("File", plain(event.file)),
        ("Problem", plain(event.problem)),
        ("Whole messages", str(event.saved)),
    ]
    if event.aside:
        shown = ", ".join(map(str, event.aside[:20])) + (", …" if len(event.aside) > 20 else "")
        details.append(("Set aside", f"MID {shown}"))
    details.append(("Where", plain(event.folder)))
    return Alert(
        kind="queue-damaged",
        alert_class="storage",
        severity="critical",
        key=f"damaged:{plain(event.file)}",
        title=f"The queue is damaged: {plain(event.problem, 200)}",
        details=tuple(details),
        remedy="Look at what was set aside, and have the disk and the memory of the machine checked.",
    )


def _reload_refused(event: facts.ReloadRefused) -> Alert:
    problem = plain(event.problem)
    return Alert(
        kind="reload-refused",
        alert_class="system",
        severity="warning",
        key=f"reload:{problem[:200]}",
        title="What the configuration in force needs could not be read again; what is in use stays in use",
        details=(("Problem", problem),),
        remedy="Mend what is named. The gateway reads again once a day and on SIGHUP, and would not start "
        "as it is.",
    )


def _list_failed(event: facts.RevocationListFailed) -> Alert | None:
    """Of one that is there and out of date `standing` tells."""
    if event.kept != "none":
        return None
    return Alert(
        kind="crl-missing",
        alert_class="certificates",
        severity="warning",
        key=f"crl-missing:{event.source}",
        title=f"The list of revoked certificates {event.source} can't be had",
        details=(("Source", event.source), ("Problem", plain(event.problem))),
        remedy="Certificates of its authority count as not checked meanwhile. 'certconfig crl update "
        f"{event.source}' tries again, 'certconfig crl edit' changes the address.",
    )


def _list_fetched(event: facts.RevocationListFetched) -> Over:
    return Over(
        f"crl-missing:{event.source}",
        Alert(
            kind="crl-there",
            alert_class="certificates",
            severity="information",
            key=f"crl-there:{event.source}",
            title=f"The list of revoked certificates {event.source} is there",
            details=(("Source", event.source), ("Revoked certificates", str(event.revoked))),
        ),
    )


def _worker_died(event: facts.WorkerDied) -> Alert:
    how = f"by signal {-event.status}" if event.status < 0 else f"with status {event.status}"
    details = [("Worker", str(event.worker)), ("Process", str(event.pid)), ("It ended", how)]
    if event.problem is not None:
        details.append(("Successor", plain(event.problem)))
    return Alert(
        kind="worker-died",
        alert_class="system",
        severity="critical",
        key="worker",
        title="A process that moves mail ended unexpectedly"
        + ("; its successor can't serve the configuration" if event.problem is not None else ""),
        details=tuple(details),
        remedy="Mail that it had accepted is safe and is delivered by its successor. Look into the system's "
        "log for the reason (memory, a crash), and report a crash.",
    )


def _push_failed(event: facts.LogPushFailed) -> Alert | None:
    """Once it lasts: a server that is started again is no trouble, and nothing is lost meanwhile."""
    if not event.lasting:
        return None
    details = [
        ("Log", event.log), ("Server", event.server), ("Reason", plain(event.reason)),
        ("Since", moment(event.since)), ("Bytes that wait", str(event.waiting)),
    ]  # fmt: skip
    remedy = "Lines wait in the log's files until 'keep_files' is reached; see 'logconfig status'."
    if event.diagnosis is not None:
        details += _diagnosed(event.diagnosis)
        remedy = f"{event.diagnosis.remedy} {remedy}"
    return Alert(
        kind="log-push-failed",
        alert_class="system",
        severity="warning",
        key=f"log-push:{event.log}",
        title=f"The log {event.log} can't be sent to {event.server}: {plain(event.reason, 200)}",
        details=tuple(details),
        remedy=remedy,
    )


def _push_works(event: facts.LogPushConnected) -> Over:
    key = f"log-push:{event.log}"
    return Over(
        key,
        Alert(
            kind="log-push-works-again",
            alert_class="system",
            severity="information",
            key=f"again:{key}",
            title=f"The log {event.log} is sent to {event.server} again",
            details=(("Log", event.log), ("Server", event.server)),
            remedy="Nothing. What waited in the log's files is sent now.",
        ),
    )


def _lines_lost(event: facts.LogLinesLost) -> Alert:
    count = "Lines" if event.lines is None else f"{event.lines} lines"
    return Alert(
        kind="log-lines-lost",
        alert_class="system",
        severity="critical",
        key=f"log-lost:{event.log}",
        title=f"{count} of the log {event.log} were deleted before {event.server} could be told of them",
        details=(("Log", event.log), ("Server", event.server), ("File", event.file)),
        remedy="Make the server reachable, or keep more: 'logconfig edit' with --keep-files, --keep-days or "
        "--rotate-bytes.",
    )


# --- directories ------------------------------------------------------------------------------------------


def _ldap_key(profile: str, host: str, port: int) -> str:
    return f"ldap:{plain(profile, 63)}:{plain(host, 255)}:{port}"


def _ldap_failed(event: LdapConnectionFailed) -> Alert:
    place = f"{plain(event.host, 255)} port {event.port}"
    details = [("Profile", event.profile), ("Server", place), ("Reason", plain(event.reason, 300))]
    remedy = f"See it step by step with 'ldapconfig test \"{event.profile}\"'."
    if event.diagnosis is not None:
        details += _diagnosed(event.diagnosis)
        remedy = event.diagnosis.remedy
    return Alert(
        kind="directory-unreachable",
        alert_class="system",
        severity="warning",
        key=_ldap_key(event.profile, event.host, event.port),
        title=f"LDAP server {place} of {event.profile} can't be asked: {plain(event.reason, 200)}",
        details=tuple(details),
        remedy=remedy,
    )


def _ldap_works(event: LdapConnected) -> Over:
    key = _ldap_key(event.profile, event.host, event.port)
    place = f"{plain(event.host, 255)} port {event.port}"
    alert = Alert(
        kind="directory-back",
        alert_class="system",
        severity="information",
        key=f"again:{key}",
        title=f"LDAP server {place} of {event.profile} can be asked again",
        details=(("Profile", event.profile), ("Server", place)),
        remedy="Nothing.",
    )
    return Over(key, alert)


# --- analysis servers -------------------------------------------------------------------------------------


def _analysis_key(event: AnalysisConnected | AnalysisConnectionFailed) -> str:
    return f"analysis:{plain(event.server, 63)}:{plain(event.host, 255)}:{event.port}"


def _analysis_failed(event: AnalysisConnectionFailed) -> Alert:
    place = f"{plain(event.host, 255)} port {event.port}"
    details = [("Analysis server", event.server), ("Server", place), ("Reason", plain(event.reason, 300))]
    remedy = f"See it step by step with 'testanalysis \"{event.server}\"'."
    if event.diagnosis is not None:
        details += _diagnosed(event.diagnosis)
        remedy = event.diagnosis.remedy
    return Alert(
        kind="analysis-unreachable",
        alert_class="system",
        severity="warning",
        key=_analysis_key(event),
        title=f"Analysis server {event.server} ({place}) can't be asked: {plain(event.reason, 200)}",
        details=tuple(details),
        remedy=remedy,
    )


def _analysis_works(event: AnalysisConnected) -> Over:
    key = _analysis_key(event)
    place = f"{plain(event.host, 255)} port {event.port}"
    alert = Alert(
        kind="analysis-back",
        alert_class="system",
        severity="information",
        key=f"again:{key}",
        title=f"Analysis server {event.server} ({place}) can be asked again",
        details=(("Analysis server", event.server), ("Server", place)),
        remedy="Nothing.",
    )
    return Over(key, alert)


def _analysis_trouble(event: AnalysisTrouble) -> Alert | None:
    """Of connections that fail `AnalysisConnectionFailed` tells, with the diagnosis; `busy` is their
    consequence."""
    if event.fault in ("unreachable", "tls", "busy"):
        return None
    server, reason = plain(event.server, 63), plain(event.reason, 300)
    return Alert(
        kind="analysis-failing",
        alert_class="system",
        severity="warning",
        key=f"failing:{server}",
        title=f"Analysis server {server} does not judge files: {plain(event.reason, 200)}",
        details=(
            ("Analysis server", server),
            ("Failures in a row", str(event.failures)),
            ("Last failure", f"{event.fault}: {reason}"),
        ),
        remedy=f"See it step by step with 'testanalysis \"{server}\"'. Meanwhile messages with files go the "
        "way that [analysis] says for 'fault'.",
    )


def _analysis_judges(event: AnalysisWorks) -> Over:
    server = plain(event.server, 63)
    alert = Alert(
        kind="analysis-judges-again",
        alert_class="system",
        severity="information",
        key=f"again:failing:{server}",
        title=f"Analysis server {server} judges files again",
        details=(("Analysis server", server),),
        remedy="Nothing.",
    )
    return Over(f"failing:{server}", alert)


RULES: dict[type[Event], Callable[[Any], Finding | None]] = {
    facts.OutboundTlsFailed: _tls_failed,
    facts.OutboundTlsSucceeded: _tls_works,
    facts.CertificateServed: _served,
    facts.StorageTrouble: _storage_trouble,
    facts.StorageRecovered: _storage_recovered,
    facts.QueueDamaged: _queue_damaged,
    facts.ReloadRefused: _reload_refused,
    facts.WorkerDied: _worker_died,
    facts.RevocationListFailed: _list_failed,
    facts.RevocationListFetched: _list_fetched,
    facts.LogPushFailed: _push_failed,
    facts.LogPushConnected: _push_works,
    facts.LogLinesLost: _lines_lost,
    LdapConnectionFailed: _ldap_failed,
    LdapConnected: _ldap_works,
    AnalysisConnectionFailed: _analysis_failed,
    AnalysisConnected: _analysis_works,
    AnalysisTrouble: _analysis_trouble,
    AnalysisWorks: _analysis_judges,
}


ENDING = frozenset({
    "tls-failed", "certificate-not-served", "storage-trouble", "disk-nearly-full", "queue-age", "crl-missing",
    "log-push-failed", "directory-unreachable", "analysis-unreachable",
    "analysis-failing",
})  # fmt: skip
"""Kinds of troubles of which it is told that they are over."""


# --- what a worker passes on ------------------------------------------------------------------------------

_PASSED_EVERY = 5.0
_PASSED_DOMAINS = 5000


class Sieve:
    """For a process that moves mail: which of its events the alerts need. They are rare, but for TLS that
    works: of that one event for each domain passes every five seconds."""

    def __init__(self) -> None:
        self._passed: dict[str, float] = {}

    def passes(self, event: Event) -> bool:
        kind = type(event)
        if kind is facts.OutboundTlsSucceeded:
            domain = getattr(event, "domain", "")
            before = self._passed.get(domain)
            if before is not None and 0 <= event.at - before < _PASSED_EVERY:
                return False
            if len(self._passed) >= _PASSED_DOMAINS:  # strangers choose the domains
                self._passed.clear()
            self._passed[domain] = event.at
            return True
        if kind is facts.OutboundTlsFailed:
            return bool(getattr(event, "required", False) and getattr(event, "alert", False))
        return kind in RULES
