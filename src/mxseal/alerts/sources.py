"""What alerts ask the running gateway for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from cryptography import x509

from mxseal.alerts.standing import CrlFacts, Oldest
from mxseal.config.model import Document


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """None of these raises; those that are awaited may take their time."""

    waiting: Callable[[str], Awaitable[int]]
    """Messages with recipients in this domain on the queue."""
    oldest: Callable[[], Awaitable[Oldest | None]]
    """The message that waits the longest; None: none does."""
    disk: Callable[[], tuple[int, int]]
    """(free, total) bytes of the file system that the home is on."""
    lists: Callable[[], Sequence[CrlFacts]] = tuple
    """Lists of revoked certificates in use."""
    roots: Callable[[Document], Awaitable[Sequence[x509.Certificate] | None]] | None = None
    """Trusted authorities, against which own chains are looked at; None: without any."""
