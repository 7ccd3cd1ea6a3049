"""What waits for a target, and who has to look at a message before it waits there."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import msgspec

from mxseal.relay.routing import Target
from mxseal.storage.ports import Queued, Recipient

_FIRST_WORKERS = 5
"""Connections that a target gets before it has shown that it delivers."""
JOBS_PER_WORKER = 4
"""A further connection is worth its handshake when this many jobs wait for each."""


class Screener(Protocol):
    """Takes messages whose `screening` is not None, and gives them back to the queue when it is."""

    recipients: int
    """Of the messages that it has."""

    def take(self, queued: Queued, body: bytes | None) -> None: ...

    def __contains__(self, mid: object) -> bool: ...

    async def stop(self) -> None:
        """Give up what it does; the spool has it all."""
        ...


class Job(msgspec.Struct):
    """One message for one target: those of its recipients that go there."""

    queued: Queued
    recipients: tuple[Recipient, ...]
    body: bytes | None
    entered: float
    """When it was put to work, on the monotonic clock."""


class Lane:
    """What waits for one target, and the workers that deliver it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.jobs: deque[Job] = deque()
        self.workers = 0
        self.allowed = _FIRST_WORKERS
        self.idle: deque[asyncio.Future[None]] = deque()
        self.connected = 0
        self.up: bool | None = None
        """Whether the last attempt to connect succeeded; None before the first."""
        self.last_error = ""
        self.outage: Any = None
        """Why no host answered, as the deliveries say it; for a while nobody asks again."""
        self.outage_until = 0.0
        self.delivered = 0
        self.soft_failures = self.hard_failures = 0
        self.last_activity = 0.0

    def take(self) -> Job | None:
        return self.jobs.popleft() if self.jobs else None

    def delivered_one(self) -> None:
        """A message got through: where many wait, one more connection is tried (slow start)."""
        if self.allowed < self.target.concurrency and len(self.jobs) > self.allowed * JOBS_PER_WORKER:
            self.allowed += 1
