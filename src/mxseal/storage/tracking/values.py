"""What a search is for and what it finds. Times are seconds since the epoch, UTC. PURE."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from mxseal.storage.tracking import schema

Happened = Literal[
    "delivered", "bounced", "delayed", "deleted", "refused-recipient", "tls-failed", "in-clear",
    "double-bounced", "possibly-delivered", "notification", "waiting", "amp", "malicious", "held",
    "quarantined", "released",
]  # fmt: skip
BITS: dict[str, int] = {
    "delivered": schema.DELIVERED,
    "bounced": schema.BOUNCED,
    "delayed": schema.DELAYED,
    "deleted": schema.DELETED,
    "refused-recipient": schema.REFUSED,
    "tls-failed": schema.TLS_FAILED,
    "in-clear": schema.IN_CLEAR,
    "double-bounced": schema.DOUBLE,
    "possibly-delivered": schema.POSSIBLE,
    "notification": schema.NOTICE,
    "amp": schema.AMP,
    "malicious": schema.MALICIOUS,
    "held": schema.HELD,
    "quarantined": schema.QUARANTINED,
    "released": schema.RELEASED,
}
State = Literal["waiting", "delivered", "partly-delivered", "bounced", "deleted", "quarantined"]
TlsState = Literal["verified", "encrypted", "unverified", "clear", "failed"]
"""encrypted: nobody asked for a certificate; unverified: it was looked at and is not good."""
TLS_STATES: tuple[TlsState, ...] = get_args(TlsState)
Side = Literal["in", "out"]
RefusalKind = Literal["connection", "tls", "tls-required", "recipient", "message"]


class TlsWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What TLS of a message's connections must have been like; all that is set must hold for one of them."""

    states: tuple[TlsState, ...] = ()
    side: Side | None = None
    protocol: str = ""
    cipher: str = ""
    group: str = ""
    level: str = ""
    cause: str = ""

    def __bool__(self) -> bool:
        return self != _ANY

    def takes(self, tls: TlsRow) -> bool:
        return (
            (not self.states or tls.state in self.states)
            and self.side in (None, tls.side)
            and all(
                not wanted or wanted.lower() == getattr(tls, name).lower()
                for name in ("protocol", "cipher", "group", "level", "cause")
                for wanted in (getattr(self, name),)
            )
        )


class TlsRow(msgspec.Struct, frozen=True):
    """TLS of a connection, as it is counted."""

    side: str
    state: str
    protocol: str
    cipher: str
    group: str
    level: str
    cause: str


_ANY = TlsWanted()


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """All that is set must hold. Addresses: see `addresses.Pattern`."""

    sender: str = ""
    recipient: str = ""
    subject: str = ""
    """Words, in any order; one that ends in * stands for all that begin like it."""
    message_id: str = ""
    mid: int | None = None
    icid: int | None = None
    dcid: int | None = None
    host: str = ""
    """Name or address of a host that sent the message or that it was sent to; '.example.com' and '10.1.*'
    stand for all that end or begin like it."""
    since: float | None = None
    until: float | None = None
    happened: tuple[Happened, ...] = ()
    outgoing: bool | None = None
    tls: TlsWanted = _ANY


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a page."""

    mid: int
    icid: int | None
    at: float
    """When it was queued."""
    last: float
    """When something happened to it last."""
    finished: float | None
    """When it left the queue; null: it waits."""
    state: State
    events: tuple[str, ...]
    sender: str
    recipients: tuple[str, ...]
    """The first ones."""
    recipient_count: int
    delivered: int
    bounced: int
    deleted: int
    refused: int
    """Recipients that were not taken in the first place."""
    subject: str | None
    message_id: str | None
    size: int
    direction: Literal["inbound", "outbound"]
    about: int | None
    """The message that a notification is about."""
    identity: str | None
    remote_host: str
    remote_ip: str
    tls_in: TlsRow | None
    tls_out: tuple[TlsRow, ...]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of what was found, newest first."""

    messages: tuple[Found, ...]
    following: str | None
    """What to ask for to have the next page; null: there is none."""
    complete: bool
    """False: the time for one page was over before it was full; the next page goes on from there."""
    back_to: float | None
    """How far back was looked; null: to the beginning."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A connection, handshake, recipient or message that was not taken."""

    id: int
    at: float
    kind: RefusalKind
    icid: int
    mid: int | None
    remote_ip: str
    remote_host: str
    listener: str
    sender: str | None
    recipient: str | None
    sender_group: str
    policy: str
    level: str
    reason: str
    cause: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to some of a message's recipients."""

    at: float
    kind: str
    """delivered, delayed, bounced, double-bounced, possible, deleted."""
    dcid: int | None
    rids: tuple[int, ...]
    response: str = ""
    status: str = ""
    reason: str = ""
    code: str = ""
    lines: tuple[str, ...] = ()
    next_attempt: float | None = None


RecipientState = Literal["waiting", "delivered", "bounced", "deleted"]


class RecipientStory(msgspec.Struct, frozen=True, kw_only=True):
    rid: int
    recipient: str
    state: RecipientState
    at: float
    """Since when."""
    next_attempt: float | None


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """A connection as it is kept beside a message. `fact`: the explanation as JSON, or nothing."""

    kind: Literal["icid", "dcid"]
    number: int
    at: float
    host: str
    ip: str
    port: int
    local_ip: str
    listener: str
    domain: str
    sender_group: str
    match: str
    policy: str
    level: str
    level_from: str
    tls: TlsRow | None
    times: dict[str, float]
    trouble: str
    fact: bytes


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept about one message."""

    message: Found
    recipients: tuple[RecipientStory, ...]
    steps: tuple[Step, ...]
    connections: tuple[Connection, ...]
    """The one that it came over first, then those that it went over."""
    refused: tuple[Refused, ...]
    started: float
    """When the message began."""
    notices: tuple[int, ...] = ()
    """Notifications about it, as far as they are near."""
