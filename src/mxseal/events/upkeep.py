"""Facts about the gateway itself: its life, its stores, its alerts, and who logs in."""

from __future__ import annotations

from typing import Literal

from mxseal.events.event import Event
from mxseal.tls.facts import Diagnosis

__all__ = [
    "AlertFailed",
    "AlertMailAttempted",
    "AlertMailDelivered",
    "AlertMailGivenUp",
    "AlertMailInClear",
    "AlertMailRefused",
    "AlertRaised",
    "AlertSent",
    "CertificateServed",
    "CommandRun",
    "ConfigurationCommitted",
    "GatewayStarted",
    "GatewayStopped",
    "LogLinesLost",
    "LogPushConnected",
    "LogPushFailed",
    "LoggedOut",
    "LoginFailed",
    "LoginSucceeded",
    "LoginsHeldBack",
    "PeerRecordTrouble",
    "QueueDamaged",
    "ReloadRefused",
    "RevocationListFailed",
    "RevocationListFetched",
    "SecondFactorChanged",
    "SessionCaptureFailed",
    "SessionCaptured",
    "StorageRecovered",
    "StorageTrouble",
    "TrackingTrouble",
    "WebhookRefused",
    "WorkerDied",
]

# --- the gateway itself -----------------------------------------------------------------------------------


class GatewayStarted(Event, frozen=True, kw_only=True, tag=True):
    """The gateway serves."""

    version: str
    revision: int
    pid: int


class GatewayStopped(Event, frozen=True, kw_only=True, tag=True):
    """The gateway ends; what was in flight is finished or stays in the queue."""

    pid: int


class ConfigurationCommitted(Event, frozen=True, kw_only=True, tag=True):
    """A new document is in force."""

    revision: int
    user: str
    comment: str


class CommandRun(Event, frozen=True, kw_only=True, tag=True):
    """An administrator ran a command: who, from where, what (without secrets), and how it ended."""

    user: str
    role: str
    face: str
    remote: str
    words: tuple[str, ...]
    outcome: str
    message: str = ""
    """Why it failed; empty when it did not."""


class CertificateServed(Event, frozen=True, kw_only=True, tag=True):
    """A probe of one of the gateway's own ports saw this certificate on the wire."""

    listener: str
    """Its name, or that of the interface."""
    certificate: str
    sha256: str
    expected: bool
    """Whether it is the one that the configuration assigns."""
    service: str = "listener"
    """listener, or interface: an HTTPS port."""


class WorkerDied(Event, frozen=True, kw_only=True, tag=True):
    """A process that moves mail ended unexpectedly; another is started in its place."""

    worker: int
    pid: int
    status: int
    """Exit status; negative: the signal that ended it."""
    problem: str | None = None
    """Set when its successor can't serve the configuration."""


class StorageTrouble(Event, frozen=True, kw_only=True, tag=True):
    """The disk refused: mail is answered with 4xx until it recovers."""

    what: str
    error: str


class StorageRecovered(Event, frozen=True, kw_only=True, tag=True):
    """The disk takes data again."""

    what: str


class PeerRecordTrouble(Event, frozen=True, kw_only=True, tag=True):
    """The record of TLS by peer (`tlspeers`) can't be written, or can be again. Mail does not wait for it."""

    error: str
    """Empty when it can be written again."""


class TrackingTrouble(Event, frozen=True, kw_only=True, tag=True):
    """Message tracking waits, lacks something, began anew, or goes on. Mail does not wait for it."""

    problem: str
    """What is wrong and what to do, in sentences; empty when it goes on."""


class QueueDamaged(Event, frozen=True, kw_only=True, tag=True):
    """The queue found damage in its files; an operator has to look at what was set aside."""

    file: str
    """The file, or the message, that is damaged."""
    problem: str
    """What is wrong with it."""
    saved: int
    """Messages of a damaged file that are whole and go on."""
    aside: tuple[int, ...]
    """The messages that were set aside, by their MID."""
    folder: str
    """Where what is damaged lies now."""


class RevocationListFetched(Event, frozen=True, kw_only=True, tag=True):
    """A list of revoked certificates was fetched from its source, and is used from now on."""

    source: str
    """Name of the source in the configuration."""
    url: str
    """Where it came from."""
    issuer: str
    """Its issuer's common name."""
    revoked: int
    """Certificates in the list."""
    this_update: float
    """When it was made: seconds since the epoch."""
    next_update: float
    """When it ceases to count."""
    fresh: bool
    """Whether it differs from the one that was there."""


class RevocationListFailed(Event, frozen=True, kw_only=True, tag=True):
    """A list of revoked certificates could not be had, or could not be used."""

    source: str
    """Name of the source in the configuration."""
    url: str
    """The source's first address."""
    problem: str
    """What happened with each address that was asked."""
    kept: Literal["none", "outdated", "in-date"]
    """What there is instead: no list, the last one that has expired, or the last one, which still counts.
    Without a list in date certificates are recorded as no-list."""


class ReloadRefused(Event, frozen=True, kw_only=True, tag=True):
    """What the configuration in force needs could not be read again; what is in use stays in use."""

    problem: str
    """What is wrong, where, and what to do."""


# --- alerts -----------------------------------------------------------------------------------------------


class AlertRaised(Event, frozen=True, kw_only=True, tag=True):
    """An alert goes out, or would if anybody were subscribed to it. Duplicates that are held back do not."""

    alert_class: str
    severity: str
    kind: str
    """What it is about, e.g. tls-failed."""
    key: str
    """Alerts with the same key are duplicates of each other."""
    title: str
    text: str
    """As it stands in the mail."""
    held_back: int
    """Duplicates since the last one."""


class AlertSent(Event, frozen=True, kw_only=True, tag=True):
    """Somebody was told of an alert."""

    alert_class: str
    severity: str
    to: str
    subject: str


class AlertFailed(Event, frozen=True, kw_only=True, tag=True):
    """Somebody could not be told of an alert; no further attempt follows."""

    alert_class: str
    severity: str
    to: str
    subject: str
    reason: str


class AlertMailAttempted(Event, frozen=True, kw_only=True, tag=True):
    """An attempt to deliver an alert by mail begins."""

    to: str
    subject: str
    attempt: int
    """From 0."""


class AlertMailDelivered(Event, frozen=True, kw_only=True, tag=True):
    """A mail server took an alert."""

    to: str
    subject: str


class AlertMailRefused(Event, frozen=True, kw_only=True, tag=True):
    """One mail server did not take an alert."""

    to: str
    host: str
    """Its address, or what was looked up when there is none."""
    port: int
    code: str
    lines: tuple[str, ...]
    reason: str
    """Why, when there was no SMTP reply."""


class AlertMailInClear(Event, frozen=True, kw_only=True, tag=True):
    """TLS with a mail server failed: the alert is sent without (reference §4.8)."""

    to: str
    reason: str


class AlertMailGivenUp(Event, frozen=True, kw_only=True, tag=True):
    """No further attempt is made to deliver an alert by mail."""

    to: str
    subject: str
    reason: str


class WebhookRefused(Event, frozen=True, kw_only=True, tag=True):
    """A webhook did not take an alert at this attempt."""

    webhook: str
    attempt: int
    """From 0."""
    reason: str


# --- logs that are sent away ------------------------------------------------------------------------------


class LogPushConnected(Event, frozen=True, kw_only=True, tag=True):
    """A syslog server takes the lines of a log."""

    log: str
    """Name of the log."""
    server: str
    """transport://host:port."""
    protocol: str = ""
    """Of TLS, as in TlsFacts; empty without."""
    cipher: str = ""
    """Its cipher suite."""
    peer_subject: str | None = None
    """Subject of the server's certificate, RFC 4514."""


class LogPushFailed(Event, frozen=True, kw_only=True, tag=True):
    """A syslog server can't be reached, or broke off. Lines wait in the log's files. Told at first, when the
    reason changes, after five minutes, and then once an hour."""

    log: str
    """Name of the log."""
    server: str
    """transport://host:port."""
    reason: str
    since: float
    """When it failed for the first time in a row: seconds since the epoch."""
    lasting: bool
    """Whether that is at least five minutes ago."""
    waiting: int
    """Bytes that wait."""
    diagnosis: Diagnosis | None = None


class LogLinesLost(Event, frozen=True, kw_only=True, tag=True):
    """Lines were deleted with their file before a syslog server could be told of them."""

    log: str
    """Name of the log."""
    server: str
    """transport://host:port."""
    lines: int | None
    """None: the file was deleted by somebody else, and nobody knows how many."""
    file: str
    """What was deleted."""


# --- logins -----------------------------------------------------------------------------------------------


class LoginSucceeded(Event, frozen=True, kw_only=True, tag=True):
    """Somebody logged in."""

    user: str
    role: str
    remote: str
    face: str
    """ssh or web."""
    method: str
    """password or publickey."""


class LoginFailed(Event, frozen=True, kw_only=True, tag=True):
    """Somebody could not log in. Those whose passwords are not looked at for a while are told once, as
    LoginsHeldBack."""

    user: str
    """As it was typed: perhaps no user of this gateway."""
    remote: str
    face: str
    method: str
    reason: str


class SecondFactorChanged(Event, frozen=True, kw_only=True, tag=True):
    """A second factor of a user came or went, or a recovery code was used."""

    user: str
    by: str
    """Who did it: the user, or an administrator."""
    remote: str
    face: str
    what: str
    """Such as 'an authenticator app was added'."""


class LoginsHeldBack(Event, frozen=True, kw_only=True, tag=True):
    """After too many failures no further password of an address, or for a user, is looked at for a while."""

    user: str
    """Empty: for all users, from this address."""
    remote: str
    """Empty: from all addresses, for this user."""
    face: str
    seconds: float


class LoggedOut(Event, frozen=True, kw_only=True, tag=True):
    """A login ended."""

    user: str
    remote: str
    face: str
    ending: str
    """Why, when the user did not end it."""


# --- recordings -------------------------------------------------------------------------------------------


class SessionCaptured(Event, frozen=True, kw_only=True, tag=True):
    """A connection was recorded because an administrator had armed that (`sessioncapture`)."""

    number: str
    """Of the connection: ICID 12, DCID 34."""
    name: str
    """What `sessioncapture list` calls the recording."""
    user: str
    """Who armed it."""
    content: bool
    """Message content is in it."""


class SessionCaptureFailed(Event, frozen=True, kw_only=True, tag=True):
    """A recording was made and could not be stored."""

    number: str
    """Of the connection: ICID 12, DCID 34."""
    error: str
