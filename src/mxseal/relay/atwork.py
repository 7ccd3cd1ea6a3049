"""What is in memory of the queue: which messages are being delivered, and when one is free to be taken again.

Bounded by recipients as well as by messages: a message may have a thousand of them.
"""

from __future__ import annotations

import msgspec

from mxseal.storage.ports import Queued

MESSAGES = 5000
RECIPIENTS = 20_000
BODY_BYTES = 64 << 20


class _Entry(msgspec.Struct):
    jobs: int
    """Jobs of the message that are not settled."""
    rids: frozenset[int]
    again: bool = False
    """Some of its recipients are due and not part of a job: it has to be looked at when the last job is."""


class AtWork:
    """The messages at work, by MID."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self.recipients = 0
        self.body_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, mid: int) -> bool:
        return mid in self._entries

    @property
    def full(self) -> bool:
        return len(self._entries) >= MESSAGES or self.recipients >= RECIPIENTS

    @property
    def half_empty(self) -> bool:
        """Whether it is worth a look at the spool for more."""
        return len(self._entries) <= MESSAGES // 2 and self.recipients <= RECIPIENTS // 2

    def enter(self, queued: Queued, jobs: int) -> None:
        rids = frozenset(recipient.rid for recipient in queued.recipients)
        self._entries[queued.envelope.mid] = _Entry(jobs, rids)
        self.recipients += len(rids)

    def seen_due(self, queued: Queued) -> None:
        """The spool has due recipients of a message that is at work already: others than those at work?"""
        entry = self._entries[queued.envelope.mid]
        if any(recipient.rid not in entry.rids for recipient in queued.recipients):
            entry.again = True

    def came_back(self, mid: int) -> None:
        """A job of the message was not attempted."""
        self._entries[mid].again = True

    def leave(self, mid: int) -> bool | None:
        """A job of the message is settled. None: others are not; else whether it is to be looked at again."""
        entry = self._entries[mid]
        entry.jobs -= 1
        if entry.jobs:
            return None
        del self._entries[mid]
        self.recipients -= len(entry.rids)
        return entry.again
