"""The mail log: events as lines of text, in the format of the reference (§4.2 to §4.5), to the letter.

The only place that knows this format. Log parsers and habits of years hang on it; where a line is our own
because the reference has none, it is marked so here and in docs/reading-mail-logs.md.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from mxseal.config.model import Logs
from mxseal.config.subscriptions import LogWanted
from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.sinks.alertlines import ALERT_TABLE
from mxseal.sinks.amplines import AMP_MAIL_SILENT, AMP_MAIL_TABLE
from mxseal.sinks.analysislines import ANALYSIS_TABLE
from mxseal.sinks.files import LogFile, Surroundings
from mxseal.sinks.ldaplines import MAIL_SILENT, MAIL_TABLE
from mxseal.sinks.pushlines import PUSH_TABLE
from mxseal.tls.diagnosis import diagnose_without_tls
from mxseal.tls.facts import Diagnosis
from mxseal.tls.policy import RULES
from mxseal.tls.reasons import (
    STARTTLS_UNAVAILABLE,
    STARTTLS_UNEXPECTED,
    inbound_reason,
    outbound_reason,
    verify_reason,
)

LEVELS = ("Critical", "Warning", "Info", "Debug", "Trace")
"""From the most to the least important; a log at one level shows it and all before it (reference §4.1)."""
LONGEST_TEXT = 4000
LONGEST_FIELD = 1000
MOST_REPLY_LINES = 8
PSEUDO_HOSTS = frozenset({"the.cpq.host", "the.encryption.queue", "the.euq.queue", "the.euq.release.queue"})
"""Names of the reference for destinations inside the gateway: quarantines and encryption."""

Line = tuple[str, str]
"""(level, text)."""


def _info(*texts: str) -> list[Line]:
    return [("Info", text) for text in texts]


def _cut(text: str, longest: int = LONGEST_FIELD) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _rids(rids: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, rids)) + "]"


def _reply(code: str, lines: Sequence[str]) -> str:
    """('421', ['4.3.2 try again later']): a reply as the reference prints it, a tuple of Python."""
    shown = [_cut(line, 500) for line in lines[:MOST_REPLY_LINES]]
    if len(lines) > MOST_REPLY_LINES:
        shown.append("...")
    return f"({code!r}, {shown!r})"


def _diagnosed(connection: str, diagnosis: Diagnosis | None) -> list[Line]:
    # Ours: the line in plain words behind each failure, and behind what is encrypted and not verified.
    if diagnosis is None:
        return []
    return _info(f"{connection} TLS diagnosis: {_cut(diagnosis.sentence(), 2000)}")


# --- an incoming connection (reference §4.2) --------------------------------------------------------------


def _connection_opened(event: facts.ConnectionOpened) -> list[Line]:
    host = "unknown" if event.reverse_dns is None else _cut(event.reverse_dns, 255)
    return _info(
        f"New SMTP ICID {event.icid} interface {event.listener} ({event.local_ip}) address {event.remote_ip} "
        f"reverse dns host {host} verified {'yes' if event.verified else 'no'}"
    )


def _connection_judged(event: facts.ConnectionJudged) -> list[Line]:
    return _info(
        f"ICID {event.icid} {event.verdict} SG {event.sender_group} match {event.match} "
        "SBRS not enabled country not enabled"
    )


def _reject_delayed(event: facts.RejectDelayed) -> list[Line]:
    ip = event.remote_ip
    return _info(f"ICID {event.icid} Delayed HAT REJECT continuing session for recipient logging ({ip})")


def _connection_refused(event: facts.ConnectionRefused) -> list[Line]:
    # Ours: the reference has no line for a limit that is reached.
    return _info(f"ICID {event.icid} Connection refused: {_cut(event.reason)}")


def _inbound_tls_succeeded(event: facts.InboundTlsSucceeded) -> list[Line]:
    connection = f"ICID {event.icid}"
    success = f"{connection} TLS success protocol {event.facts.protocol} cipher {event.facts.cipher}"
    return [*_info(success), *_diagnosed(connection, event.diagnosis)]


def _inbound_tls_failed(event: facts.InboundTlsFailed) -> list[Line]:
    connection = f"ICID {event.icid}"
    failed = f"{connection} TLS failed: {_cut(inbound_reason(event.fault))}"
    return [*_info(failed), *_diagnosed(connection, event.diagnosis)]


def _inbound_tls_missing(event: facts.InboundTlsMissing) -> list[Line]:
    connection = f"ICID {event.icid}"
    missing = f"{connection} TLS was required but remote host did not initiate it"
    return [*_info(missing), *_diagnosed(connection, diagnose_without_tls())]


def _receiving_failed(event: facts.ReceivingFailed) -> list[Line]:
    return _info(f"ICID {event.icid} Receiving Failed: {_cut(event.reason)}")


def _connection_lost(event: facts.ConnectionLost) -> list[Line]:
    return _info(f"ICID {event.icid} lost")


def _connection_closed(event: facts.ConnectionClosed) -> list[Line]:
    return _info(f"ICID {event.icid} close")


# --- a message (reference §4.4) ---------------------------------------------------------------------------


def _message_started(event: facts.MessageStarted) -> list[Line]:
    return _info(
        f"Start MID {event.mid} ICID {event.icid}",
        f"MID {event.mid} ICID {event.icid} From: <{_cut(event.sender)}>",
    )


def _recipient_accepted(event: facts.RecipientAccepted) -> list[Line]:
    return _info(f"MID {event.mid} ICID {event.icid} RID {event.rid} To: <{_cut(event.recipient)}>")


def _recipient_rejected(event: facts.RecipientRejected) -> list[Line]:
    return _info(f"MID {event.mid} ICID {event.icid} To: <{_cut(event.recipient)}> Rejected by {event.by}")


def _message_received(event: facts.MessageReceived) -> list[Line]:
    mid = event.mid
    texts: list[str] = []
    if event.message_id is not None:
        texts.append(f"MID {mid} Message-ID '{_cut(event.message_id)}'")
    if event.subject is not None:
        texts.append(f'MID {mid} Subject "{_cut(event.subject)}"')
    texts.append(f"MID {mid} ready {event.size} bytes from <{_cut(event.sender)}>")
    table = f"in the {event.direction} table"
    texts.append(f"MID {mid} matched all recipients for per-recipient policy DEFAULT {table}")
    return _info(*texts)


def _message_queued(event: facts.MessageQueued) -> list[Line]:
    return _info(f"MID {event.mid} queued for delivery")


def _message_aborted(event: facts.MessageAborted) -> list[Line]:
    return _info(
        f"Message aborted MID {event.mid} {_cut(event.reason)}", f"Message finished MID {event.mid} done"
    )


def _dsn_generated(event: facts.DsnGenerated) -> list[Line]:
    mid = event.mid
    if event.kind == "bounce":
        origin = f"MID {mid} was generated for bounce of MID {event.about}"
    else:
        origin = f"MID {mid} was generated based on MID {event.about} by delay warning"
    return _info(
        f"Start MID {mid} ICID 0",
        origin,
        f"MID {mid} ICID 0 From: <>",
        f"MID {mid} ICID 0 RID 0 To: <{_cut(event.recipient)}>",
    )


# --- a delivery (reference §4.3, §4.5) --------------------------------------------------------------------


def _delivery_opened(event: facts.DeliveryOpened) -> list[Line]:
    address = f"address {event.remote_ip} port {event.port}"
    return _info(f"New SMTP DCID {event.dcid} interface {event.local_ip} {address}")


def _outbound_tls_succeeded(event: facts.OutboundTlsSucceeded) -> list[Line]:
    # The grammar allows a name behind the cipher. The reference shows none for a destination on the net,
    # and the name of a destination inside the appliance, which no other line would tell.
    tail = f" {event.host}" if event.host in PSEUDO_HOSTS else ""
    protocol, cipher = event.facts.protocol, event.facts.cipher
    connection = f"DCID {event.dcid}"
    success = f"{connection} TLS success protocol {protocol} cipher {cipher}{tail}"
    return [*_info(success), *_diagnosed(connection, event.diagnosis if event.level in RULES else None)]


def _unverified(event: facts.OutboundTlsSucceeded) -> list[Line]:
    # Where the level does not look at certificates, most deliveries would be told of: lines for who asks.
    diagnosis = event.diagnosis if event.level not in RULES else None
    return [("Debug", text) for _, text in _diagnosed(f"DCID {event.dcid}", diagnosis)]


def _outbound_tls_failed(event: facts.OutboundTlsFailed) -> list[Line]:
    connection = f"DCID {event.dcid}"
    if event.reason == "unavailable":
        if not event.required:
            # TLS was preferred and is not to be had: the delivery goes on in clear, nothing failed.
            return []
        reason = STARTTLS_UNAVAILABLE
    elif event.reason == "verification":
        reason = verify_reason(event.verify_error)
    elif event.reason == "unexpected-response" or event.fault is None:
        reason = STARTTLS_UNEXPECTED
    else:
        reason = outbound_reason(event.fault)
    return [*_info(f"{connection} TLS failed: {_cut(reason)}"), *_diagnosed(connection, event.diagnosis)]


def _delivery_started(event: facts.DeliveryStarted) -> list[Line]:
    return _info(f"Delivery start DCID {event.dcid} MID {event.mid} to RID {_rids(event.rids)}")


def _recipients_delivered(event: facts.RecipientsDelivered) -> list[Line]:
    rids = _rids(event.rids)
    return _info(
        f"Message done DCID {event.dcid} MID {event.mid} to RID {rids}",
        f"MID {event.mid} RID {rids} Response {_cut(event.response)!r}",
    )


def _not_delivered(event: facts.RecipientDelayed | facts.RecipientBounced) -> str:
    return (
        f"DCID {event.dcid} MID {event.mid} From: <{_cut(event.sender)}> To: <{_cut(event.recipient)}> "
        f"RID {event.rid} - {event.status} - {_cut(event.reason, 500)} {_reply(event.code, event.lines)}"
    )


def _recipient_delayed(event: facts.RecipientDelayed) -> list[Line]:
    return _info(f"Delayed: {_not_delivered(event)}")


def _recipient_bounced(event: facts.RecipientBounced) -> list[Line]:
    return _info(f"Bounced: {_not_delivered(event)}")


def _double_bounced(event: facts.DoubleBounced) -> list[Line]:
    reply = f"{event.code}-{_cut(' '.join(event.lines[:MOST_REPLY_LINES]))!r}"
    return _info(
        f"Double bounce: MID {event.mid} to {event.rid} - {event.status} - {_cut(event.reason, 500)} {reply}"
    )


def _possible_delivery(event: facts.PossibleDelivery) -> list[Line]:
    return _info(f"Possible Delivery: DCID: {event.dcid} MID {event.mid} to {_rids(event.rids)}")


def _recipients_deleted(event: facts.RecipientsDeleted) -> list[Line]:
    return _info(f"Deleted: MID {event.mid} to {_rids(event.rids)}")


def _message_finished(event: facts.MessageFinished) -> list[Line]:
    return _info(f"Message finished MID {event.mid} done")


def _delivery_failed(event: facts.DeliveryFailed) -> list[Line]:
    failed = _info(
        f"Connection Error: DCID {event.dcid} domain: {event.domain} "
        f"IP: {event.remote_ip} port: {event.port} "
        f"details: {_cut(event.details)} interface: {event.local_ip} reason: {_cut(event.reason)}"
    )
    if event.diagnosis is not None:
        # Ours, as the line of a TLS failure.
        told = _cut(event.diagnosis.sentence(), 2000)
        failed += _info(f"DCID {event.dcid} Connection diagnosis: {told}")
    return failed


def _delivery_closed(event: facts.DeliveryClosed) -> list[Line]:
    return _info(f"DCID {event.dcid} close")


# --- the gateway itself: ours, until there is a log of the system -----------------------------------------


def _gateway_started(event: facts.GatewayStarted) -> list[Line]:
    return _info(f"MXSeal {event.version} started, PID {event.pid}, configuration {event.revision}")


def _gateway_stopped(event: facts.GatewayStopped) -> list[Line]:
    return _info(f"MXSeal stopped, PID {event.pid}")


def _configuration_committed(event: facts.ConfigurationCommitted) -> list[Line]:
    return _info(f"User {event.user} commit changes: {_cut(event.comment)} (configuration {event.revision})")


def _certificate_served(event: facts.CertificateServed) -> list[Line]:
    who = f"{event.service.capitalize()} {event.listener}"
    served = f"{who} serves the certificate {event.certificate}, SHA-256 {event.sha256}"
    if event.expected:
        return _info(served)
    return [("Warning", f"{served}, which is not the one that is assigned to it")]


def _storage_trouble(event: facts.StorageTrouble) -> list[Line]:
    error = _cut(event.error)
    return [
        ("Critical", f"Storage trouble: {event.what}: {error}. Mail is answered with 4xx until it recovers.")
    ]


def _storage_recovered(event: facts.StorageRecovered) -> list[Line]:
    return [("Warning", f"Storage recovered: {event.what}. Mail is accepted again.")]


def _peer_record_trouble(event: facts.PeerRecordTrouble) -> list[Line]:
    if not event.error:
        return [("Warning", "The record of TLS by peer is written again.")]
    told = f"The record of TLS by peer can't be written: {_cut(event.error)}. Mail is not held up"
    return [("Warning", f"{told}; what is seen meanwhile is missing in tlspeers.")]


def _tracking_trouble(event: facts.TrackingTrouble) -> list[Line]:
    return [("Warning", one_line(event.problem) or "Message tracking goes on.")]


def _queue_damaged(event: facts.QueueDamaged) -> list[Line]:
    named = ", ".join(str(mid) for mid in event.aside[:20]) + (", …" if len(event.aside) > 20 else "")
    parts = [f"Queue damaged: {event.file}: {_cut(event.problem)}."]
    if event.saved:
        parts.append(f"Saved and going on: {event.saved} messages.")
    if event.aside:
        parts.append(f"Set aside: {len(event.aside)} messages (MID {named}).")
    parts.append(
        f"What is damaged lies in {event.folder}: check the disk, read the .json files there, and send again "
        "what is to go on (troubleshooting: a damaged queue)."
    )
    return [("Critical", " ".join(parts))]


def _list_fetched(event: facts.RevocationListFetched) -> list[Line]:
    until = datetime.fromtimestamp(event.next_update, UTC)
    return _info(
        f"CRL {event.source}: list of {_cut(event.issuer)} with {event.revoked} revoked certificates from "
        f"{_cut(event.url)}, valid until {until:%Y-%m-%d %H:%M} UTC{'' if event.fresh else ', unchanged'}"
    )


def _list_failed(event: facts.RevocationListFailed) -> list[Line]:
    then = {
        "none": "there is no list, so its certificates count as not checked",
        "outdated": "the last list is out of date, so its certificates count as not checked",
        "in-date": "the last list stays in use",
    }[event.kept]
    return [("Warning", f"CRL {event.source}: not fetched: {_cut(event.problem)}; {then}")]


def _reload_refused(event: facts.ReloadRefused) -> list[Line]:
    return [("Warning", f"Reload refused, what is in use stays in use: {_cut(event.problem)}")]


def _worker_died(event: facts.WorkerDied) -> list[Line]:
    how = f"signal {-event.status}" if event.status < 0 else f"status {event.status}"
    then = "another takes its place" if event.problem is None else f"no other starts: {_cut(event.problem)}"
    return [("Critical", f"Worker {event.worker}, PID {event.pid}, ended unexpectedly ({how}); {then}")]


def _session_captured(event: facts.SessionCaptured) -> list[Line]:
    what = "with message content" if event.content else "without message content"
    return [("Info", f"{event.number} was recorded {what} for {event.user}: {event.name}")]


def _session_capture_failed(event: facts.SessionCaptureFailed) -> list[Line]:
    return [("Warning", f"The recording of {event.number} can't be stored: {_cut(event.error)}")]


TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.ConnectionOpened: _connection_opened,
    facts.ConnectionJudged: _connection_judged,
    facts.RejectDelayed: _reject_delayed,
    facts.ConnectionRefused: _connection_refused,
    facts.InboundTlsSucceeded: _inbound_tls_succeeded,
    facts.InboundTlsFailed: _inbound_tls_failed,
    facts.InboundTlsMissing: _inbound_tls_missing,
    facts.ReceivingFailed: _receiving_failed,
    facts.ConnectionLost: _connection_lost,
    facts.ConnectionClosed: _connection_closed,
    facts.MessageStarted: _message_started,
    facts.RecipientAccepted: _recipient_accepted,
    facts.RecipientRejected: _recipient_rejected,
    facts.MessageReceived: _message_received,
    facts.MessageQueued: _message_queued,
    facts.MessageAborted: _message_aborted,
    facts.DsnGenerated: _dsn_generated,
    facts.DeliveryOpened: _delivery_opened,
    facts.OutboundTlsSucceeded: _outbound_tls_succeeded,
    facts.OutboundTlsFailed: _outbound_tls_failed,
    facts.DeliveryStarted: _delivery_started,
    facts.RecipientsDelivered: _recipients_delivered,
    facts.RecipientDelayed: _recipient_delayed,
    facts.RecipientBounced: _recipient_bounced,
    facts.DoubleBounced: _double_bounced,
    facts.PossibleDelivery: _possible_delivery,
    facts.RecipientsDeleted: _recipients_deleted,
    facts.MessageFinished: _message_finished,
    facts.DeliveryFailed: _delivery_failed,
    facts.DeliveryClosed: _delivery_closed,
    facts.GatewayStarted: _gateway_started,
    facts.GatewayStopped: _gateway_stopped,
    facts.ConfigurationCommitted: _configuration_committed,
    facts.CertificateServed: _certificate_served,
    facts.StorageTrouble: _storage_trouble,
    facts.StorageRecovered: _storage_recovered,
    facts.PeerRecordTrouble: _peer_record_trouble,
    facts.TrackingTrouble: _tracking_trouble,
    facts.QueueDamaged: _queue_damaged,
    facts.RevocationListFetched: _list_fetched,
    facts.RevocationListFailed: _list_failed,
    facts.ReloadRefused: _reload_refused,
    facts.SessionCaptureFailed: _session_capture_failed,
    facts.SessionCaptured: _session_captured,
    facts.WorkerDied: _worker_died,
    **ALERT_TABLE,
    **PUSH_TABLE,
    **MAIL_TABLE,
    **ANALYSIS_TABLE,
    **AMP_MAIL_TABLE,
}
"""Each event and the lines that tell it."""
DETAILS: dict[type[Event], Callable[[Any], list[Line]]] = {facts.OutboundTlsSucceeded: _unverified}
"""Further lines, at Debug alone: no other log has the work of making them."""
SILENT: frozenset[type[Event]] = frozenset({
    facts.CommandRun, facts.LoginSucceeded, facts.LoginFailed, facts.LoginsHeldBack, facts.LoggedOut,
    facts.SecondFactorChanged,
    facts.DeliveryInClear,
    *MAIL_SILENT, *AMP_MAIL_SILENT,
})  # fmt: skip
"""Events without a line here, which the JSON log has: what administrators do is nothing that mail did (logins
have a log of their own), and the reference tells of no TLS by telling nothing."""


# --- the frame (reference §4.1) ---------------------------------------------------------------------------


def one_line(text: str) -> str:
    """Text from a stranger as it can stand in one line: control characters as \\n or \\x1b, the rest bounded.

    Log injection: a subject with a line break and a forged line behind it must stay one line. Characters
    that turn the direction of text (U+202E) would make a terminal show another line than the one that is
    there.
    """
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return _cut(text, LONGEST_TEXT)


_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    if "\udc80" <= character <= "\udcff":
        # A byte that was no UTF-8 (surrogateescape).
        return f"\\x{ord(character) - 0xDC00:02x}"
    return _NAMED.get(character) or character.encode("unicode_escape").decode()


class Renderer:
    """Events to bytes: table, level, frame. Keeps the stamp of the last second."""

    def __init__(self, logs: Logs, table: Mapping[type[Event], Callable[[Any], list[Line]]] = TABLE) -> None:
        self._table = table
        self._second: int | None = None
        self._stamp = ""
        self.configure(logs)

    def configure(self, logs: Logs) -> None:
        self._shown = frozenset(LEVELS[: LEVELS.index(logs.level) + 1])
        self._detailed = "Debug" in self._shown
        self._moment = time.gmtime if logs.time == "utc" else time.localtime
        self._subjects = logs.headers
        self._second = None

    def render(self, event: Event) -> bytes:
        """The event's lines, each with its newline; b"" when the log does not show it."""
        row = self._table.get(type(event))
        if row is None:
            return b""
        if not self._subjects and isinstance(event, facts.MessageReceived):
            event = msgspec.structs.replace(event, subject=None)
        stamp = self._stamp if int(event.at) == self._second else self._stamp_of(event.at)
        framed = ""
        lines = row(event)
        if self._detailed and (more := DETAILS.get(type(event))) is not None:
            lines = [*lines, *more(event)]
        for level, text in lines:
            if level in self._shown:
                if not text.isprintable() or len(text) > LONGEST_TEXT:
                    text = one_line(text)
                framed += f"{stamp} {level}: {text}\n"
        return framed.encode()

    def _stamp_of(self, at: float) -> str:
        # asctime is the ctime form in every locale; strftime would translate the names.
        self._second = int(at)
        self._stamp = time.asctime(self._moment(self._second))
        return self._stamp

    def head(self, version: str, serial: str, at: float) -> bytes:
        """The first lines of a file."""
        offset = self._moment(int(at)).tm_gmtoff or 0
        return self._framed(
            at, "Begin Logfile", f"Version: {version} SN: {serial}", f"Time offset from UTC: {offset} seconds"
        )

    def foot(self, at: float) -> bytes:
        """The last line of a file."""
        return self._framed(at, "End Logfile")

    def _framed(self, at: float, *texts: str) -> bytes:
        stamp = self._stamp_of(at)
        return "".join([f"{stamp} Info: {one_line(text)}\n" for text in texts]).encode()


class Framing:
    """A file begins with the version and ends by saying so (reference §4.1)."""

    def __init__(self, renderer: Renderer, version: str, serial: str) -> None:
        self._renderer = renderer
        self._version = version
        self._serial = serial

    def head(self, at: float) -> bytes:
        return self._renderer.head(self._version, self._serial, at)

    def foot(self, at: float) -> bytes:
        return self._renderer.foot(at)


class TextLog:
    """The sink of a text log: `<home>/logs/<name>/<filename>.@<stamp>.current`; `file` is opened and closed
    by the owner."""

    def __init__(
        self,
        around: Surroundings,
        log: LogWanted,
        table: Mapping[type[Event], Callable[[Any], list[Line]]] = TABLE,
        *,
        version: str,
        serial: str,
    ) -> None:
        self._renderer = Renderer(log.logs, table)
        framing = Framing(self._renderer, version, serial)
        self.file = LogFile(log.name, log.filename, framing, log.logs, around)

    def handle(self, event: Event) -> None:
        if lines := self._renderer.render(event):
            self.file.write(lines)

    def ready(self) -> bool:
        return self.file.ready()

    def configure(self, log: LogWanted) -> None:
        """Take a new document's settings without losing a line."""
        self._renderer.configure(log.logs)
        self.file.configure(log.logs, log.filename)
