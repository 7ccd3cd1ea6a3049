"""What the indexer holds in memory of connections and messages that are not over yet."""

from __future__ import annotations

from typing import Any

import msgspec

from mxseal.storage.tracking.schema import prefix

Key = tuple[str, int]
"""(icid or dcid, number)."""


class Tls(msgspec.Struct, frozen=True, array_like=True):
    """What TLS of a connection was like, in words that can be counted and searched."""

    side: str
    """in or out."""
    state: str
    """verified, encrypted (nobody asked for a certificate), unverified, clear, failed; "": not known yet."""
    protocol: str = ""
    cipher: str = ""
    group: str = ""
    level: str = ""
    cause: str = ""
    """Identifier of the diagnosis; "" without any."""

    @property
    def encrypted(self) -> bool:
        return self.state in {"verified", "encrypted", "unverified"}


class Link(msgspec.Struct, array_like=True):
    """A connection, from its first event until some time behind its last."""

    kind: str
    number: int
    at: float
    tls: Tls
    host: str = ""
    ip: str = ""
    port: int = 0
    local_ip: str = ""
    listener: str = ""
    domain: str = ""
    """in: of the client's verified name, or its address; out: of the recipients."""
    sender_group: str = ""
    match: str = ""
    policy: str = ""
    level: str = ""
    level_from: str = ""
    fact: bytes = b""
    """The explanation as JSON."""
    times: str = ""
    trouble: str = ""
    """Why it failed outside of TLS."""
    mail: bool = False
    """A message was begun on it."""
    told: bool = False
    """It is among the refused ones already."""
    closed: float = 0.0
    """When it ended; 0: it is open."""
    changes: int = 0
    """Grows with each event that changed what is kept of it."""

    @property
    def key(self) -> Key:
        return self.kind, self.number


class Draft(msgspec.Struct, array_like=True):
    """A message that is being received: nothing of it is kept before it is queued."""

    mid: int
    icid: int
    started: float
    sender: str
    identity: str | None = None
    recipients: list[tuple[int, str]] = []
    refused: int = 0
    size: int = 0
    header: str | None = None
    subject: str | None = None
    outgoing: bool = False
    about: int = 0
    """The message that a notification is about."""
    received: bool = False


class Stored:
    """A message that has its row, as far as later events change it."""

    __slots__ = (
        "bits", "bounced", "deleted", "delivered", "dirty", "finished", "id", "last", "mid", "recipients",
        "segment", "steps",
    )  # fmt: skip

    def __init__(self, segment: int, row: int, mid: int, values: tuple[Any, ...]) -> None:
        """`values`: as LOADED names them."""
        self.segment, self.id, self.mid = segment, row, mid
        self.last: float
        self.finished: float | None
        (
            self.last, self.finished, self.bits, self.recipients, self.delivered, self.bounced, self.deleted,
            self.steps,
        ) = values  # fmt: skip
        self.dirty = False

    def row(self) -> tuple[Any, ...]:
        """Parameters of UPDATED."""
        return (
            self.last, self.finished, self.bits, self.delivered, self.bounced, self.deleted, self.steps,
            self.id,
        )  # fmt: skip


def loading(segment: int) -> str:
    return (
        "SELECT id, last, finished, bits, recipients, delivered, bounced, deleted, steps "  # noqa: S608
        f"FROM {prefix(segment)}message WHERE mid=?"
    )


def updating(segment: int) -> str:
    return (
        f"UPDATE {prefix(segment)}message SET last=?, finished=?, bits=?, delivered=?, "  # noqa: S608
        "bounced=?, deleted=?, steps=? WHERE id=?"
    )
