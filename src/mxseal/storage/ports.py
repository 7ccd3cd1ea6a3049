"""What the product needs of storage. The embedded default is `storage.sqlite`.

The comments are the contract: an implementation keeps each of them, also across kill -9.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from mxseal.storage.quarantine import Shelf


class StorageRefused(Exception):
    """The store can't take or give it now. `kind` says which reply a peer gets.

    full: the disk or the queue is full (452); sick: the disk failed (451); conflict: someone else was first.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class QueueDamage(msgspec.Struct, frozen=True, kw_only=True):
    """Damage that the store found in itself: what became of it. An operator has to hear of it."""

    file: str
    """The file, or the message, that is damaged."""
    problem: str
    saved: int
    """Messages of a damaged file that are whole and go on."""
    aside: tuple[int, ...]
    """The messages that were set aside, by their MID."""
    folder: str
    """Where what is damaged lies now."""


INLINE_BYTES = 64 * 1024
"""Content up to this size shares the fsync of its message; larger content is written before it."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """A committed document: TOML text and who wrote it."""

    number: int
    toml: str
    user: str
    comment: str
    at: float


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """Uncommitted changes of one administrator, and the revision that they began with."""

    owner: str
    based_on: int
    toml: str


class Documents(Protocol):
    """Numbered configuration documents with compare-and-set. Small and rare: calls block."""

    def latest(self) -> Revision | None: ...

    def get(self, number: int) -> Revision | None: ...

    def history(self, limit: int = 50) -> list[Revision]:
        """Newest first."""
        ...

    def put(self, expected: int, toml: str, user: str, comment: str, at: float) -> Revision:
        """Store revision `expected + 1`; StorageRefused('conflict') when `expected` is not the latest."""
        ...

    def candidate(self, owner: str) -> Candidate | None: ...

    def save_candidate(self, candidate: Candidate) -> None: ...

    def drop_candidate(self, owner: str) -> None: ...


class Secrets(Protocol):
    """Sealed bytes by name. The store seals and opens them with the home's key file; names are not secret."""

    def get(self, name: str) -> bytes | None: ...

    def put(self, name: str, value: bytes) -> None: ...

    def delete(self, name: str) -> None: ...

    def names(self) -> list[str]: ...


class Recipient(msgspec.Struct, kw_only=True):
    """One recipient of a queued message, with its state of delivery."""

    rid: int
    address: str
    attempts: int = 0
    next_attempt: float = 0.0
    last_error: str = ""
    """What the last attempt said, for `showrecipients` and the bounce: 'code text'."""
    warned: bool = False
    """Whether the sender was told of the delay."""
    route: str = ""
    """The next hop that a directory names for this recipient, host:port; empty: as for its domain."""
    groups: tuple[str, ...] = ()
    """Directory groups of the document that the message is known to concern: 'sender NAME', 'recipient
    NAME'."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A message on the spool, without content."""

    mid: int
    sender: str
    """"" is the null sender."""
    size: int
    queued_at: float
    smtputf8: bool = False
    eightbit: bool = False
    icid: int | None = None
    dsn_for: int | None = None
    """The message that this delivery status notification is about."""
    tls_level: str | None = None
    """The message's own level of delivery, which outranks all rules; None: it has none."""
    asks: str | None = None
    """What directories are still to be asked about before anything is delivered; None: nothing."""
    screening: str | None = None
    """What is known of the files that it carries, "" nothing yet; None: they need no analysis, or had it."""
    prefix: str = ""
    """Header lines that go before its content."""


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope and those of its recipients that are not done."""

    envelope: Envelope
    recipients: tuple[Recipient, ...]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What to keep of one recipient after an attempt."""

    mid: int
    rid: int
    done: bool
    """Delivered, bounced or deleted: never to be attempted again."""
    attempts: int = 0
    next_attempt: float = 0.0
    last_error: str = ""
    warned: bool = False


class Head(msgspec.Struct, frozen=True):
    """A header in the place of the one that came."""

    data: bytes
    skip: int
    """How many bytes at the beginning of the content it stands for."""


class Amendment(msgspec.Struct, frozen=True, kw_only=True):
    """What directories change of a message in the queue."""

    mid: int
    sender: str | None = None
    """None: as it was."""
    head: Head | None = None
    recipients: tuple[Recipient, ...] = ()
    """Those with another address, route or groups; their attempts stay as they are on the spool."""


class Incoming(Protocol):
    """Content on its way to the spool. Exactly one of `commit` and `abort` ends it."""

    size: int
    body: bytes | None
    """The whole content once `commit` has returned, when it is small enough to have stayed in memory."""

    def write(self, data: bytes) -> None:
        """Add content. Large content goes to a file at once: memory stays bounded."""
        ...

    async def commit(self, envelope: Envelope, recipients: Sequence[Recipient]) -> None:
        """Return when message and envelope survive kill -9 and power loss; StorageRefused otherwise, with
        nothing kept."""
        ...

    def abort(self) -> None: ...


class Spool(Protocol):
    """The durable queue of messages."""

    def begin(self) -> Incoming: ...

    def refusal(self) -> StorageRefused | None:
        """Why no message can be taken now (full, sick), without trying."""
        ...

    async def settle(self, outcomes: Sequence[Outcome]) -> list[int]:
        """Keep the outcomes; gives the messages that are finished by them (and are gone from the spool)."""
        ...

    async def due(self, now: float, limit: int) -> list[Queued]:
        """Messages with recipients whose next attempt is not after `now`, the longest due first."""
        ...

    def content(self, mid: int) -> AsyncIterator[bytes]:
        """The content in pieces of bounded size."""
        ...

    async def next_due(self, after: float) -> float | None:
        """When the first recipient that waits beyond `after` falls due."""
        ...

    async def recall(self, beyond: float, latest: float) -> None:
        """Recipients that wait beyond a moment that nobody can have set (the wall clock was put back) wait no
        longer than `latest`, spread over the last tenth of the time until then."""
        ...

    async def load(self, mid: int) -> Queued | None: ...

    async def set_level(self, mid: int, level: str | None) -> bool:
        """Keep a message's own level of delivery; None takes it away. Gives whether there is the message."""
        ...

    async def amend(self, amendment: Amendment) -> None:
        """Change a message, and note that no directory is to be asked any more: all of it, or nothing."""
        ...

    async def browse(self, after: int, limit: int) -> list[Queued]:
        """Messages with a MID beyond `after`, in order: for listings, page by page."""
        ...

    @property
    def shelf(self) -> Shelf:
        """What the analysis of files keeps, and the quarantine."""
        ...

    async def flush(self) -> None:
        """Return when all that was given before is durable."""
        ...

    def count(self) -> tuple[int, int]:
        """(messages, bytes) on the spool."""
        ...
