"""What commands reach of the running gateway. The composition root implements it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from mxseal.certs.keys import KeyStore
from mxseal.config.history import Built, History
from mxseal.config.model import Document
from mxseal.logs.follow import Wait
from mxseal.relay.probe import Seen
from mxseal.relay.queue import Queue
from mxseal.relay.resolver import Resolver
from mxseal.storage.ports import Revision, Spool


class Figure(msgspec.Struct, frozen=True):
    """One number of `status`: a gauge (what is now) or a counter (since the start)."""

    section: str
    """Heading, such as 'Queue' or 'Receiving'."""
    label: str
    value: int | float | str
    key: str = ""
    """Its name for programs; made from the label when left out."""
    detail: bool = False
    """Shown by `status detail` only."""


class Services(Protocol):
    """The gateway as the commands see it."""

    @property
    def version(self) -> str: ...

    @property
    def started_at(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    @property
    def history(self) -> History: ...

    @property
    def changing(self) -> asyncio.Lock:
        """Held from the check of a commit until its document is in force, so that commits come one by one."""
        ...

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def build(self, document: Document) -> Built:
        """Make all that `document` needs: TLS contexts, new ports, routes. Raises BuildFailed with every
        problem, having given up what it had begun. Nothing in force changes."""
        ...

    async def put_in_force(self, built: Built, revision: Revision, document: Document) -> Sequence[str]:
        """Swap in what `build` gave; open sessions keep what they began with. Gives sentences for the
        administrator, such as which certificate a probe of the listener has seen. Must not fail."""
        ...

    @property
    def keys(self) -> KeyStore:
        """Private keys, sealed."""
        ...

    @property
    def queue(self) -> Queue:
        """Messages at work, and orders to them."""
        ...

    @property
    def spool(self) -> Spool:
        """All messages that wait."""
        ...

    @property
    def resolver(self) -> Resolver: ...

    @property
    def logs_home(self) -> Path:
        """The home whose logs `mxseal.logs` reads."""
        ...

    def log_wait(self) -> Wait:
        """Returns, each time it is awaited, when lines were written to a log since the last time."""
        ...

    async def probe(self) -> Sequence[Seen]:
        """Which certificates the listeners serve, seen from outside just now."""
        ...

    def figures(self) -> Sequence[Figure]:
        """The numbers of `status`, section by section."""
        ...
