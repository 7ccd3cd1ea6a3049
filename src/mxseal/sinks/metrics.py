"""Which event counts for which metric: all kinds of events, or a reason why one needs none.

Labels have few values that are known beforehand, so that each series has its cell of the board and strangers
can make none: never a domain, an address or a name that somebody else chose. What is new falls under "other".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from mxseal.alerts.alert import CLASSES, SEVERITIES
from mxseal.events import directory, scanning, screening
from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.storage.board import Board, Row
from mxseal.tls.causes import CAUSES
from mxseal.tls.facts import Diagnosis, TlsFacts
from mxseal.tls.policy import LEVELS

PREFIX = "mxseal_"
FIRST_CELL = 256
"""Cells of the board below are others'."""
OTHER = "other"
_PROTOCOLS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", OTHER)
_GROUPS = ("X25519MLKEM768", "x25519", "secp256r1", "secp384r1", "secp521r1", "none", OTHER)
_CAUSES = (*CAUSES, "undiagnosed", OTHER)
_DELIVERY = (*LEVELS, OTHER)
_FACES = ("local", "shell", "ssh", "web", "api", OTHER)
_YES_NO = ("yes", "no")


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """A number that only grows, for each combination of its labels' values."""

    name: str
    """Without `mxseal_`; a counter's ends in `_total`, a sum's in what is summed."""
    help: str
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(label, values)."""
    kind: Literal["counter", "summary"] = "counter"
    """summary: of seconds, whose cells hold microseconds and how many there were."""

    def series(self) -> Iterator[tuple[str, ...]]:
        """Values of its labels, in the order of its cells."""
        return itertools.product(*(values for _, values in self.labels))


class Counted(msgspec.Struct, frozen=True):
    """What one event adds to one metric."""

    counter: Counter
    labels: Callable[[Any], tuple[str, ...]] = lambda _event: ()
    amount: Callable[[Any], float] = lambda _event: 1


def _counter(name: str, text: str, **labels: Sequence[str]) -> Counter:
    found = tuple((label.rstrip("_"), tuple(values)) for label, values in labels.items())
    return Counter(name=f"{name}_total", help=text, labels=found)


def _one(name: str, text: str) -> tuple[Counted, ...]:
    return (Counted(_counter(name, text)),)


# --- what several events count for ------------------------------------------------------------------------

_IN_TLS = _counter(
    "incoming_tls_handshakes",
    "TLS handshakes of clients that succeeded",
    protocol=_PROTOCOLS,
    resumed=_YES_NO,
)
_IN_GROUPS = _counter("incoming_tls_groups", "The same by key exchange group", group=_GROUPS)
_IN_CLIENTS = _counter(
    "incoming_tls_clients",
    "The same by the client's certificate",
    certificate=("none", "verified", "unverified"),
)
_IN_SECONDS = Counter(
    name="incoming_tls_handshake_seconds", help="How long handshakes of clients took", kind="summary"
)
_OUT_TLS = _counter(
    "outgoing_tls_handshakes",
    "TLS handshakes with next hops that succeeded",
    protocol=_PROTOCOLS,
    resumed=_YES_NO,
)
_OUT_GROUPS = _counter("outgoing_tls_groups", "The same by key exchange group", group=_GROUPS)
_OUT_VERIFIED = _counter(
    "outgoing_tls_verified",
    "The same by the level in force, and whether the certificate would do for the level's rules",
    level=_DELIVERY,
    verified=_YES_NO,
)
_OUT_SECONDS = Counter(
    name="outgoing_tls_handshake_seconds", help="How long handshakes with next hops took", kind="summary"
)
_OUT_FAILED = _counter("outgoing_tls_failures", "TLS with next hops that failed, by cause", cause=_CAUSES)
_OUT_REQUIRED = _counter(
    "outgoing_tls_required_failures", "The same where TLS is required: mail waits", level=_DELIVERY
)
_RECEIVED = _counter("messages_received", "Messages whose content came in", direction=("inbound", "outbound"))
_RECEIVED_BYTES = _counter("messages_received_bytes", "Their bytes", direction=("inbound", "outbound"))
_FILES = _counter(
    "files_judged", "Answers of analysis servers", disposition=("clean", "malicious", "unknown", OTHER)
)
_LOGINS = _counter("logins", "Logins by outcome", face=_FACES, outcome=("succeeded", "failed"))
_NOTICES = _counter("alert_notices", "Alerts to single receivers", outcome=("sent", "failed"))
_ALERT_MAIL = _counter(
    "alert_mail_attempts",
    "Steps of alerts by mail",
    outcome=("attempted", "delivered", "refused", "in-clear", "given-up"),
)


def _cause(diagnosis: Diagnosis | None) -> tuple[str, ...]:
    return (diagnosis.cause if diagnosis is not None else "undiagnosed",)


def _handshake(tls: TlsFacts) -> tuple[str, ...]:
    return tls.protocol, _yes(tls.resumed)


def _group(tls: TlsFacts) -> tuple[str, ...]:
    return (tls.group or "none",)


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"


def _client(event: facts.InboundTlsSucceeded) -> tuple[str, ...]:
    tls = event.facts
    if not tls.peer_certificates and tls.peer_sha256 is None:
        return ("none",)
    return ("verified" if tls.verified else "unverified",)


def _verified(event: facts.OutboundTlsSucceeded) -> tuple[str, ...]:
    return event.level, _yes(event.verification is not None and event.diagnosis is None)


def _seconds(event: facts.InboundTlsSucceeded | facts.OutboundTlsSucceeded) -> float:
    times = event.times
    return times.handshake if times is not None and times.handshake is not None else -1.0


def _required(event: facts.OutboundTlsFailed) -> float:
    return 1 if event.required else 0


def _always(*values: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda _event: values


# --- all kinds of events ----------------------------------------------------------------------------------

COUNTED: dict[type[Event], tuple[Counted, ...]] = {
    facts.ConnectionOpened: _one("incoming_connections", "Connections of clients"),
    facts.ConnectionJudged: (
        Counted(
            _counter(
                "incoming_connections_judged",
                "Connections by the action of their mail flow policy; twice where a certificate changes the "
                "sender group",
                action=("ACCEPT", "RELAY", "REJECT", "TCPREFUSE"),
            ),
            lambda event: (event.verdict,),
        ),
    ),
    facts.RejectDelayed: _one("incoming_rejects_delayed", "Rejected connections that go on for the log"),
    facts.ConnectionRefused: _one("incoming_connections_refused", "Connections ended by a limit or trouble"),
    facts.InboundTlsSucceeded: (
        Counted(_IN_TLS, lambda event: _handshake(event.facts)),
        Counted(_IN_GROUPS, lambda event: _group(event.facts)),
        Counted(_IN_CLIENTS, _client),
        Counted(_IN_SECONDS, amount=_seconds),
    ),
    facts.InboundTlsFailed: (
        Counted(
            _counter("incoming_tls_failures", "TLS of clients that failed, by cause", cause=_CAUSES),
            lambda event: _cause(event.diagnosis),
        ),
    ),
    facts.InboundTlsMissing: _one("incoming_tls_missing", "Clients refused since they did not use TLS"),
    facts.ReceivingFailed: _one("receiving_failures", "Messages that could not be taken after their content"),
    facts.ConnectionLost: _one("incoming_connections_lost", "Connections that ended without QUIT"),
    facts.ConnectionClosed: _one("incoming_connections_closed", "Connections of clients that are over"),
    facts.MessageStarted: _one("messages_started", "MAIL FROM that was accepted"),
    facts.RecipientAccepted: _one("recipients_accepted", "RCPT TO that was accepted"),
    facts.RecipientRejected: (
        Counted(
            _counter("recipients_rejected", "RCPT TO that was refused, by what", by=("RAT", "HAT", OTHER)),
            lambda event: (event.by,),
        ),
    ),
    facts.MessageReceived: (
        Counted(_RECEIVED, lambda event: (event.direction,)),
        Counted(_RECEIVED_BYTES, lambda event: (event.direction,), lambda event: event.size),
    ),
    facts.MessageQueued: _one("messages_queued", "Messages that were stored"),
    facts.MessageAborted: _one("messages_aborted", "Messages that were begun and not stored"),
    facts.DsnGenerated: (
        Counted(
            _counter("notifications", "Delivery status notifications written", kind=("bounce", "delay")),
            lambda event: (event.kind,),
        ),
    ),
    facts.DeliveryOpened: _one("outgoing_connections", "Connections to next hops"),
    facts.OutboundTlsSucceeded: (
        Counted(_OUT_TLS, lambda event: _handshake(event.facts)),
        Counted(_OUT_GROUPS, lambda event: _group(event.facts)),
        Counted(_OUT_VERIFIED, _verified),
        Counted(_OUT_SECONDS, amount=_seconds),
    ),
    facts.OutboundTlsFailed: (
        Counted(_OUT_FAILED, lambda event: _cause(event.diagnosis)),
        Counted(_OUT_REQUIRED, lambda event: (event.level,), _required),
    ),
    facts.DeliveryInClear: (
        Counted(
            _counter("outgoing_clear_text", "Connections to next hops without TLS", level=_DELIVERY),
            lambda event: (event.level,),
        ),
    ),
    facts.DeliveryStarted: _one("deliveries_started", "MAIL FROM sent to next hops"),
    facts.RecipientsDelivered: (
        Counted(
            _counter("recipients_delivered", "Recipients whose message a next hop took"),
            amount=lambda event: len(event.rids),
        ),
    ),
    facts.RecipientDelayed: _one("recipients_delayed", "Attempts after which a recipient waits for another"),
    facts.RecipientBounced: _one("recipients_bounced", "Recipients that failed for good"),
    facts.DoubleBounced: _one("double_bounces", "Notifications that could not be delivered themselves"),
    facts.PossibleDelivery: _one("possible_deliveries", "Deliveries whose last answer was lost"),
    facts.RecipientsDeleted: (
        Counted(
            _counter("recipients_deleted", "Recipients that an administrator deleted from the queue"),
            amount=lambda event: len(event.rids),
        ),
    ),
    facts.MessageFinished: _one("messages_finished", "Messages that left the queue"),
    facts.DeliveryFailed: (
        Counted(
            _counter("outgoing_connections_failed", "Connections to next hops that failed", cause=_CAUSES),
            lambda event: _cause(event.diagnosis),
        ),
    ),
    facts.DeliveryClosed: _one("outgoing_connections_closed", "Connections to next hops that are over"),
    facts.ConfigurationCommitted: _one("configuration_commits", "Documents put in force"),
    facts.CommandRun: (
        Counted(
            _counter(
                "commands",
                "Commands of administrators",
                face=_FACES,
                outcome=("ok", "failed", "usage", "refused", "cancelled", "internal", OTHER),
            ),
            lambda event: (event.face, event.outcome),
        ),
    ),
    facts.CertificateServed: (
        Counted(
            _counter(
                "certificate_probes",
                "Looks at the certificate that a listener serves, and whether it was the right one",
                expected=_YES_NO,
            ),
            lambda event: (_yes(event.expected),),
        ),
    ),
    facts.SessionCaptured: _one("sessions_captured", "Connections that were recorded for an administrator"),
    facts.SessionCaptureFailed: _one("session_captures_failed", "Recordings that could not be stored"),
    facts.WorkerDied: _one("workers_died", "Processes that ended unexpectedly"),
    facts.StorageTrouble: _one("storage_troubles", "Times that the disk began to refuse"),
    facts.StorageRecovered: _one("storage_recoveries", "Times that it took data again"),
    facts.PeerRecordTrouble: (
        Counted(
            _counter("peer_record_troubles", "Times that the record of TLS by peer could not be written"),
            amount=lambda event: 1 if event.error else 0,
        ),
    ),
    facts.QueueDamaged: _one("queue_damages", "Damages found in the queue's files"),
    facts.RevocationListFetched: _one("revocation_lists_fetched", "Lists of revoked certificates fetched"),
    facts.RevocationListFailed: _one("revocation_list_failures", "Attempts to fetch one that failed"),
    facts.ReloadRefused: _one("reloads_refused", "Reloads that changed nothing, for a problem"),
    facts.AlertRaised: (
        Counted(
            _counter("alerts", "Alerts", class_=(*CLASSES, OTHER), severity=(*SEVERITIES, OTHER)),
            lambda event: (event.alert_class, event.severity),
        ),
    ),
    facts.AlertSent: (Counted(_NOTICES, _always("sent")),),
    facts.AlertFailed: (Counted(_NOTICES, _always("failed")),),
    facts.AlertMailAttempted: (Counted(_ALERT_MAIL, _always("attempted")),),
    facts.AlertMailDelivered: (Counted(_ALERT_MAIL, _always("delivered")),),
    facts.AlertMailRefused: (Counted(_ALERT_MAIL, _always("refused")),),
    facts.AlertMailInClear: (Counted(_ALERT_MAIL, _always("in-clear")),),
    facts.AlertMailGivenUp: (Counted(_ALERT_MAIL, _always("given-up")),),
    facts.WebhookRefused: _one("webhook_refusals", "Attempts that a webhook did not take"),
    facts.LogPushConnected: _one("log_push_connections", "Connections to syslog servers that stand"),
    facts.LogPushFailed: _one("log_push_failures", "Failures of syslog servers that were told"),
    facts.LogLinesLost: (
        Counted(
            _counter("log_lines_lost", "Lines deleted before a syslog server had them"),
            amount=lambda event: 1 if event.lines is None else event.lines,
        ),
    ),
    screening.FileAsked: _one("files_asked", "Questions to analysis servers about files"),
    screening.FileAnswered: (Counted(_FILES, lambda event: (event.disposition,)),),
    screening.FileAnalysed: (Counted(_FILES, lambda event: (event.disposition,)),),
    screening.FileSubmitted: _one("files_submitted", "Files that a server did not know and was given"),
    screening.FileUnanswered: (
        Counted(
            _counter(
                "files_unanswered",
                "Questions to analysis servers that failed",
                fault=("unreachable", "tls", "silent", "refused", "protocol", "busy", OTHER),
            ),
            lambda event: (event.fault,),
        ),
    ),
    screening.FilePassed: _one("files_passed", "Files and parts of messages that no server is asked about"),
    screening.MessageHeld: _one("messages_held", "Messages that waited for a verdict"),
    screening.MessageScreened: (
        Counted(
            _counter(
                "messages_screened",
                "Messages with files by what was found, and what became of them",
                verdict=("clean", "malicious", "unknown", "unscannable", "pending", "fault", OTHER),
                action=("deliver", "quarantine", "drop", OTHER),
            ),
            lambda event: (event.word, event.action),
        ),
    ),
    screening.QuarantineReleased: _one("quarantine_released", "Messages released from quarantine"),
    screening.QuarantineDeleted: _one("quarantine_deleted", "Messages deleted from quarantine"),
    screening.AnalysisTrouble: _one("analysis_troubles", "Times that an analysis server had failed again"),
    screening.AnalysisWorks: _one("analysis_recoveries", "Times that it answered again"),
    directory.LdapConnected: (
        Counted(
            _counter(
                "ldap_connections",
                "Connections to directories, and whether their certificate was verified",
                security=("none", "starttls", "ldaps", OTHER),
                verified=_YES_NO,
            ),
            lambda event: (event.security, _yes(event.verified)),
        ),
    ),
    directory.LdapConnectionFailed: (
        Counted(
            _counter("ldap_connections_failed", "Connections to directories that failed", cause=_CAUSES),
            lambda event: _cause(event.diagnosis),
        ),
    ),
    scanning.AnalysisConnected: (
        Counted(
            _counter(
                "analysis_connections",
                "Connections to analysis servers, and whether their certificate was verified",
                security=("none", "tls", OTHER),
                verified=_YES_NO,
            ),
            lambda event: (event.security, _yes(event.verified)),
        ),
    ),
    scanning.AnalysisConnectionFailed: (
        Counted(
            _counter(
                "analysis_connections_failed", "Connections to analysis servers that failed", cause=_CAUSES
            ),
            lambda event: _cause(event.diagnosis),
        ),
    ),
    directory.LdapFailed: _one("ldap_questions_failed", "Questions that a directory did not answer"),
    directory.LdapCacheCleared: _one("ldap_caches_cleared", "Times that kept answers were thrown away"),
    directory.LdapRecipientActed: (
        Counted(
            _counter(
                "ldap_actions",
                "Recipients and senders of whom a directory's answer changed something",
                action=("bounce", "drop", "reroute", "masquerade", "group"),
            ),
            lambda event: (event.action,),
        ),
    ),
    directory.LdapGroupUndecided: _one(
        "ldap_groups_undecided", "Times that no directory said who belongs to a group whose mail needs TLS"
    ),
    directory.LdapMessageDeferred: _one("ldap_messages_deferred", "Messages put off without a directory"),
    directory.LdapMessageRequeued: _one(
        "ldap_messages_requeued", "Times that a message had to stay in the work queue without a directory"
    ),
    directory.LdapRecipientUndecided: (
        Counted(
            _counter(
                "ldap_recipients_undecided",
                "Recipients of whom no directory could say whether they exist: taken, or put off",
                taken=_YES_NO,
            ),
            lambda event: (_yes(event.taken),),
        ),
    ),
    facts.TrackingTrouble: (
        Counted(
            _counter("tracking_troubles", "Troubles of message tracking"),
            amount=lambda event: 1 if event.problem else 0,
        ),
    ),
    facts.LoginSucceeded: (Counted(_LOGINS, lambda event: (event.face, "succeeded")),),
    facts.LoginFailed: (Counted(_LOGINS, lambda event: (event.face, "failed")),),
    facts.LoginsHeldBack: _one("logins_held_back", "Times that passwords were not looked at for a while"),
    facts.LoggedOut: _one("logouts", "Logins that ended"),
    facts.SecondFactorChanged: _one("second_factor_changes", "Second factors that came or went"),
}
"""Each kind of event and what it adds."""
NOT_COUNTED: dict[type[Event], str] = {
    facts.GatewayStarted: "`mxseal_start_time_seconds` says when",
    facts.GatewayStopped: "nobody could ask for it",
    directory.LdapConnecting: "it is told while there is the log `ldap_debug` only",
    directory.LdapAsked: "it is told while there is the log `ldap_debug` only",
    directory.LdapAnswered: "it is told while there is the log `ldap_debug` only",
}
"""Kinds of events without a metric, and why."""
COUNTERS: tuple[Counter, ...] = tuple({
    counted.counter.name: counted.counter for entry in COUNTED.values() for counted in entry
}.values())  # fmt: skip
"""All counters, in the order of their events."""


# --- counting ---------------------------------------------------------------------------------------------


def _laid_out() -> tuple[dict[str, int], int]:
    """Each counter's first cell, and the first cell behind them all."""
    at, cells = FIRST_CELL, {}
    for counter in COUNTERS:
        cells[counter.name] = at
        at += 2 if counter.kind == "summary" else sum(1 for _ in counter.series())
    return cells, at


_CELLS, END_CELL = _laid_out()
_MICRO = 1_000_000


class _Cells:
    """The cells that one event adds to, found once for each combination of values."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._first = _CELLS[counted.counter.name]
        self._known = {values: self._first + index for index, values in enumerate(counted.counter.series())}
        self._values = [frozenset(values) for _, values in counted.counter.labels]
        self._last = [values[-1] for _, values in counted.counter.labels]

    def add(self, event: Event, row: Row) -> None:
        counted = self._counted
        amount = counted.amount(event)
        if counted.counter.kind == "summary":
            if amount >= 0:
                row.add(self._first, int(amount * _MICRO))
                row.add(self._first + 1)
            return
        if not amount:
            return
        values = counted.labels(event)
        cell = self._known.get(values)
        if cell is None:
            known = zip(values, self._values, self._last, strict=True)
            cell = self._known[tuple(value if value in all_ else last for value, all_, last in known)]
        row.add(cell, int(amount))


class Metrics:
    """A sink that counts into one process's row of the board."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._cells = {kind: tuple(map(_Cells, entries)) for kind, entries in COUNTED.items()}

    def handle(self, event: Event) -> None:
        for cells in self._cells.get(type(event), ()):
            cells.add(event, self._row)

    def ready(self) -> bool:
        return True


def totals(counter: Counter, board: Board) -> list[tuple[tuple[str, ...], int]]:
    """(values of its labels, number) over all processes. Also what is 0, so that the first one is seen as an
    increase; but for causes, of which there are a hundred."""
    first = _CELLS[counter.name]
    found = [(values, board.total(first + index)) for index, values in enumerate(counter.series())]
    sparse = any(label == "cause" for label, _ in counter.labels)
    return [entry for entry in found if entry[1] or not sparse]


def summed(counter: Counter, board: Board) -> tuple[float, int]:
    """(seconds, how many) over all processes."""
    first = _CELLS[counter.name]
    return board.total(first) / _MICRO, board.total(first + 1)
