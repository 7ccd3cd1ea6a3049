"""One alert of each kind as it may look, for `alertconfig test`. PURE."""

from __future__ import annotations

from typing import Any

from mxseal.alerts import standing
from mxseal.alerts.alert import Alert, Outgoing
from mxseal.alerts.kinds import find
from mxseal.alerts.standing import CrlFacts, Dated, Oldest
from mxseal.events import types as facts
from mxseal.events.directory import LdapConnected, LdapConnectionFailed
from mxseal.events.scanning import AnalysisConnected, AnalysisConnectionFailed
from mxseal.events.screening import AnalysisTrouble, AnalysisWorks
from mxseal.events.types import Event
from mxseal.tls.facts import StageTimes, TlsFacts, TlsFault

_DOMAIN = "partner.example"
_HOST = "mx.partner.example"
_PRINT = ":".join(["AB"] * 32)
_SYSLOG = "tls://logs.example.com:6514"
_CRL = "http://crl.partner.example/ca.crl"

_LDAP: dict[str, Any] = {
    "at": 0.0,
    "profile": "LDAP",
    "host": "dc1.example.com",
    "port": 3269,
    "security": "ldaps",
    "times": StageTimes(),
}

_ANALYSIS: dict[str, Any] = {
    "at": 0.0,
    "server": "Appliance",
    "protocol": "threatgrid",
    "host": "tg.example.com",
    "port": 443,
    "security": "tls",
    "times": StageTimes(),
}
_FAILING = AnalysisTrouble(
    at=0.0, server="Appliance", fault="refused", reason="the API key is not taken", failures=5
)

_PUSH_FAILED = facts.LogPushFailed(
    at=0.0,
    log="mail_logs",
    server=_SYSLOG,
    reason="connection timed out",
    since=0.0,
    lasting=True,
    waiting=4096,
)


def _events() -> list[Event]:
    at = 0.0
    fault = TlsFault(kind="alert-received", library="SSL routines", reason="tls alert handshake failure",
                     alert="handshake failure")  # fmt: skip
    tls = TlsFacts(protocol="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256)
    return [
        facts.OutboundTlsFailed(
            at=at,
            dcid=0,
            domain=_DOMAIN,
            host=_HOST,
            required=True,
            reason="handshake",
            alert=True,
            fault=fault,
        ),
        facts.CertificateServed(
            at=at, listener="IncomingMail", certificate="mx", sha256=_PRINT, expected=False
        ),
        facts.StorageTrouble(at=at, what="queue", error="No space left on device"),
        facts.QueueDamaged(
            at=at, file="queue.db", problem="page 7 is not whole", saved=41, aside=(1234,), folder="damaged"
        ),
        facts.ReloadRefused(at=at, problem="delivery.ca_file: /etc/ssl/own.pem can't be read"),
        facts.WorkerDied(at=at, worker=0, pid=4242, status=-9),
        LdapConnectionFailed(**_LDAP, stage="handshake", reason="TLS failed: certificate has expired"),
        LdapConnected(**_LDAP, address="192.0.2.1", bind="none"),
        AnalysisConnectionFailed(
            **_ANALYSIS, stage="handshake", reason="TLS failed: certificate has expired"
        ),
        _FAILING,
        AnalysisWorks(at=at, server="Appliance"),
        AnalysisConnected(**_ANALYSIS, address="192.0.2.1", answer_seconds=0.1),
        facts.LogLinesLost(
            at=at, log="mail_logs", server=_SYSLOG, lines=1200, file="mail.@20260214T192028.s"
        ),
        _PUSH_FAILED,
        facts.LogPushConnected(at=at, log="mail_logs", server=_SYSLOG),
        facts.OutboundTlsSucceeded(at=at, dcid=0, domain=_DOMAIN, host=_HOST, facts=tls),
        facts.CertificateServed(
            at=at, listener="IncomingMail", certificate="mx", sha256=_PRINT, expected=True
        ),
        facts.StorageRecovered(at=at, what="queue"),
        facts.RevocationListFailed(at=at, source="Partner CA", url=_CRL, problem="no answer", kept="none"),
        facts.RevocationListFetched(
            at=at,
            source="Partner CA",
            url=_CRL,
            issuer="Partner CA",
            revoked=12,
            this_update=at,
            next_update=at,
            fresh=True,
        ),
    ]


def _standing(now: float) -> list[Alert]:
    day = 86_400.0
    own, authority = (
        Dated(
            kind=kind,
            what=what,
            used=used,
            remedy="Renew it.",
            sha256=_PRINT,
            not_before=now - 300 * day,
            not_after=now + 15 * day + 60,
        )
        for kind, what, used in (
            ("certificate-expires", "The certificate mx", "listener IncomingMail (inbound TLS)"),
            ("authority-expires", "The custom authority Partner CA", "verification"),
        )
    )
    lists = [CrlFacts(name="Partner CA", next_update=now - day, problem="connection timed out")]
    chain = Alert(
        kind="chain-problem",
        alert_class="certificates",
        severity="warning",
        key="chain:mx",
        title="The chain that is sent with the certificate mx has a problem: an intermediate is missing",
        details=(("Used by", "listener IncomingMail (inbound TLS)"),),
        remedy="'certconfig check mx' shows all of it.",
    )
    oldest = Oldest(mid=1234, queued_at=now - 5 * 3600, domain=_DOMAIN, last_error="connection timed out")
    return [
        *(told.alert for told in standing.expiring([own, authority], now)),
        *(told.alert for told in standing.overdue_lists(lists, now)),
        chain,
        standing.queue_alert(oldest, 4 * 3600.0, now),
        standing.queue_recovered(),
        standing.disk_alert(5 << 30, 100 << 30, 10),
        standing.disk_recovered(20 << 30, 100 << 30),
    ]


def examples(now: float) -> dict[str, Alert]:
    """By kind, troubles before what is right again."""
    found = [find(event) for event in _events()]
    alerts = [each if isinstance(each, Alert) else each.alert for each in found if each is not None]
    listed = [*alerts, *_standing(now)]
    rank = {"critical": 0, "warning": 1, "information": 2}
    return {alert.kind: alert for alert in sorted(listed, key=lambda alert: rank[alert.severity])}


KINDS = tuple(examples(0.0))
"""All kinds of alerts."""


def examples_of(what: str, now: float) -> list[Outgoing]:
    """The kind called `what`, or the first kind of each severity in the class called so; empty: neither."""
    known = examples(now)
    if what in known:
        chosen = [known[what]]
    else:
        of_class = [alert for alert in known.values() if alert.alert_class == what]
        chosen = list({alert.severity: alert for alert in reversed(of_class)}.values())[::-1]
        if not of_class and what == "security":
            chosen = [_security()]
    waiting = 3
    return [
        Outgoing(alert=each, at=now, waiting=waiting if each.domain else None, test=True) for each in chosen
    ]


def _security() -> Alert:
    return Alert(
        kind="test",
        alert_class="security",
        severity="warning",
        key="test",
        title="A test: nothing gives alerts of this class yet",
    )
