"""Every fact that the gateway tells, as a frozen value. Logs, metrics, tracking and alerts render these.

The JSON log is these types, encoded: field names are an interface, see docs/json-log.md, made from here.
`at` is seconds since the epoch, UTC. Addresses are without angle brackets, the null sender is "".
"""

from __future__ import annotations

from typing import Literal

from mxseal.events.event import Event as Event  # noqa: PLC0414 - who imports events imports this too
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.verification import ClientCheck, Verification

HatVerdict = Literal["ACCEPT", "RELAY", "REJECT", "TCPREFUSE"]
"""Words of the mail log for the four actions of a mail flow policy (reference §4.2)."""


# --- an incoming connection -------------------------------------------------------------------------------


class ConnectionOpened(Event, frozen=True, kw_only=True, tag=True):
    """A client connected to a listener and its name was looked up."""

    icid: int
    listener: str
    local_ip: str
    remote_ip: str
    remote_port: int
    reverse_dns: str | None
    """Name of the PTR record, None when there is none."""
    verified: bool
    """The name's own addresses contain the client's (forward-confirmed)."""


class ConnectionJudged(Event, frozen=True, kw_only=True, tag=True):
    """The sender group and mail flow policy of a connection were found: when it begins, and once more when
    the client's certificate puts it into another group."""

    icid: int
    verdict: HatVerdict
    sender_group: str | None
    match: str
    """The member that matched, 'certificate' and the one that was shown, or ALL."""
    policy: str
    level: str = ""
    """The TLS level of the policy: off, preferred, required, preferred-verify, required-verify."""


class RejectDelayed(Event, frozen=True, kw_only=True, tag=True):
    """A connection with the action reject goes on so that its recipients can be logged."""

    icid: int
    remote_ip: str


class ConnectionRefused(Event, frozen=True, kw_only=True, tag=True):
    """A limit or trouble of ours closed the connection at its start or in its course."""

    icid: int
    reason: str


class InboundTlsSucceeded(Event, frozen=True, kw_only=True, tag=True):
    """A client's TLS handshake is complete."""

    icid: int
    facts: TlsFacts
    check: ClientCheck | None = None
    """What the client's certificate was held against; None: it was not asked for one."""
    diagnosis: Diagnosis | None = None
    """Why the certificate that it showed is not verified; None when it is, and where it showed none."""
    times: StageTimes | None = None


class InboundTlsFailed(Event, frozen=True, kw_only=True, tag=True):
    """A client's TLS handshake failed, or its TLS broke later (`fault.during`)."""

    icid: int
    fault: TlsFault
    diagnosis: Diagnosis | None = None
    times: StageTimes | None = None
    check: ClientCheck | None = None
    """Of a client that is turned away for its certificate: what that was held against."""


class InboundTlsMissing(Event, frozen=True, kw_only=True, tag=True):
    """The policy requires TLS, for all or for this sender, and the client sent a command without it."""

    icid: int


class ReceivingFailed(Event, frozen=True, kw_only=True, tag=True):
    """A message was refused after its content had come, or could not be taken."""

    icid: int
    mid: int | None
    reason: str


class ConnectionLost(Event, frozen=True, kw_only=True, tag=True):
    """The client went away without QUIT; a ConnectionClosed follows."""

    icid: int


class ConnectionClosed(Event, frozen=True, kw_only=True, tag=True):
    """A client's connection is over; always the last event of its ICID."""

    icid: int


# --- a message --------------------------------------------------------------------------------------------


class MessageStarted(Event, frozen=True, kw_only=True, tag=True):
    """MAIL FROM was accepted: the message has its number."""

    mid: int
    icid: int
    sender: str
    identity: str | None = None
    """The client's verified certificate, as 'NAME sha256:FINGERPRINT'; null: none was asked for, shown or
    verified."""


class RecipientAccepted(Event, frozen=True, kw_only=True, tag=True):
    """RCPT TO was accepted."""

    mid: int
    icid: int
    rid: int
    recipient: str


class RecipientRejected(Event, frozen=True, kw_only=True, tag=True):
    """RCPT TO was refused."""

    mid: int
    icid: int
    recipient: str
    by: str
    """RAT: the recipient access table; HAT: the connection's own reject."""


class MessageReceived(Event, frozen=True, kw_only=True, tag=True):
    """The whole content came in and is about to be stored."""

    mid: int
    icid: int
    size: int
    sender: str
    message_id: str | None
    subject: str | None
    direction: Literal["inbound", "outbound"]
    identity: str | None = None
    """The client's verified certificate, as 'NAME sha256:FINGERPRINT'; null: none was asked for, shown or
    verified."""


class MessageQueued(Event, frozen=True, kw_only=True, tag=True):
    """The message is on stable storage; the 250 goes out after this."""

    mid: int
    icid: int | None
    """None for a message that the gateway wrote itself."""


class MessageAborted(Event, frozen=True, kw_only=True, tag=True):
    """A message that was begun and will not be stored: reset, broken off or refused."""

    mid: int
    icid: int
    reason: str


class DsnGenerated(Event, frozen=True, kw_only=True, tag=True):
    """A delivery status notification (RFC 3464) was written about another message."""

    mid: int
    about: int
    kind: Literal["bounce", "delay"]
    recipient: str
    """Whom it goes to: the sender of the message that it is about."""


# --- a delivery -------------------------------------------------------------------------------------------


class DeliveryOpened(Event, frozen=True, kw_only=True, tag=True):
    """A connection to a next hop was made."""

    dcid: int
    domain: str
    host: str
    local_ip: str
    remote_ip: str
    port: int


class OutboundTlsSucceeded(Event, frozen=True, kw_only=True, tag=True):
    """The TLS handshake with a next hop is complete and the policy takes it."""

    dcid: int
    domain: str
    host: str
    facts: TlsFacts
    level: str = ""
    """The level in force, one of the six of the reference's §3.3."""
    level_from: str = ""
    """Who says so: 'default', 'destination bank.example', 'sender override …', 'recipient override …' or
    'message'."""
    verification: Verification | None = None
    """What the certificate is worth, also where the level does not ask: the shadow of the stricter levels."""
    diagnosis: Diagnosis | None = None
    """Why the certificate is not verified; None when it is."""
    remark: Diagnosis | None = None
    """What is odd about a chain that was verified all the same, and that stricter peers may refuse."""
    times: StageTimes | None = None


class OutboundTlsFailed(Event, frozen=True, kw_only=True, tag=True):
    """TLS to a next hop failed, or was required and could not be used (reference §4.3)."""

    dcid: int
    domain: str
    host: str
    required: bool
    reason: Literal["handshake", "unavailable", "unexpected-response", "verification"]
    """handshake: see `fault`; unavailable: HELO only, or STARTTLS not offered; unexpected-response: STARTTLS
    was offered and answered with an error; verification: the level refuses the certificate, see
    `verify_error`."""
    condition: Literal["", "no-esmtp", "no-starttls", "starttls-refused"] = ""
    """Which of the three conditions holds under which required TLS can't be used."""
    fault: TlsFault | None = None
    diagnosis: Diagnosis | None = None
    level: str = ""
    level_from: str = ""
    """As in OutboundTlsSucceeded."""
    alert: bool = False
    """Whether the destination asks for an alert about this failure."""
    verify_error: str = ""
    """What the level refuses, in OpenSSL's words: 'certificate has expired', 'hostname mismatch'."""
    facts: TlsFacts | None = None
    """With `verification`: the connection that was refused."""
    verification: Verification | None = None
    times: StageTimes | None = None


class DeliveryInClear(Event, frozen=True, kw_only=True, tag=True):
    """A delivery goes on without TLS, because the level is off or because TLS is not to be had."""

    dcid: int
    domain: str
    host: str
    level: str
    level_from: str
    """As in OutboundTlsSucceeded."""
    diagnosis: Diagnosis | None = None
    """Why TLS is not to be had; null where the level is off."""
    times: StageTimes | None = None


class DeliveryStarted(Event, frozen=True, kw_only=True, tag=True):
    """MAIL FROM goes to the next hop for these recipients."""

    dcid: int
    mid: int
    rids: tuple[int, ...]


class RecipientsDelivered(Event, frozen=True, kw_only=True, tag=True):
    """The next hop took the message for these recipients."""

    dcid: int
    mid: int
    rids: tuple[int, ...]
    response: str
    """The next hop's text after the reply code, lines joined by a space."""


class RecipientDelayed(Event, frozen=True, kw_only=True, tag=True):
    """A recipient waits for another attempt."""

    dcid: int
    mid: int
    rid: int
    sender: str
    recipient: str
    status: str
    """Enhanced status code, RFC 3463, e.g. 4.3.2."""
    reason: str
    code: str
    """The reply's code, or 000 when there was no SMTP reply."""
    lines: tuple[str, ...]
    next_attempt: float


class RecipientBounced(Event, frozen=True, kw_only=True, tag=True):
    """A recipient failed for good."""

    dcid: int
    mid: int
    rid: int
    sender: str
    recipient: str
    status: str
    reason: str
    code: str
    lines: tuple[str, ...]


class DoubleBounced(Event, frozen=True, kw_only=True, tag=True):
    """A message with the null sender failed: no DSN about a DSN."""

    mid: int
    rid: int
    status: str
    reason: str
    code: str
    lines: tuple[str, ...]


class PossibleDelivery(Event, frozen=True, kw_only=True, tag=True):
    """The next hop's answer to the end of data was lost: it may have the message."""

    dcid: int
    mid: int
    rids: tuple[int, ...]


class RecipientsDeleted(Event, frozen=True, kw_only=True, tag=True):
    """An administrator deleted these recipients from the queue."""

    mid: int
    rids: tuple[int, ...]


class MessageFinished(Event, frozen=True, kw_only=True, tag=True):
    """No recipient is left; the message is off the queue."""

    mid: int


class DeliveryFailed(Event, frozen=True, kw_only=True, tag=True):
    """A connection could not be made or broke for a reason other than a TLS fault."""

    dcid: int
    domain: str
    host: str
    remote_ip: str
    port: int
    local_ip: str
    details: str
    """As the log prints it, e.g. '[Errno 61] Connection refused', 'timeout'."""
    reason: str
    """e.g. 'network error', 'connection timed out'."""
    diagnosis: Diagnosis | None = None
    """Why, where it happened before any message was sent."""
    times: StageTimes | None = None


class DeliveryClosed(Event, frozen=True, kw_only=True, tag=True):
    """A connection to a next hop is over; always the last event of its DCID."""

    dcid: int


from mxseal.events.upkeep import *  # noqa: E402, F403 - one place to import events from
