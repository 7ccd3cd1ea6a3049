"""What was refused: connections, handshakes, recipients, messages.

Strangers make these rows, so that they have a bound of their own: the oldest go.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from mxseal.sinks.tracking.rows import clean
from mxseal.sinks.tracking.state import Link

_STEP = 2000
"""So many are deleted at a time."""


class Refusals:
    """Gathers rows; `flush` writes them and deletes as many of the oldest as are too many."""

    def __init__(self, connection: apsw.Connection, most: int) -> None:
        self._connection = connection
        self.most = most
        self._rows: list[tuple[Any, ...]] = []

    def add(
        self, at: float, kind: str, link: Link, *, reason: str, mid: int | None = None,
        between: tuple[str | None, str | None] = (None, None),
    ) -> None:  # fmt: skip
        """`between`: sender and recipient, as far as there are any."""
        sender, recipient = (clean(each) if each is not None else None for each in between)
        fact = zlib.compress(link.fact) if link.fact and kind.startswith("tls") else None
        self._rows.append((
            at, kind, link.number, mid, clean(link.ip), clean(link.host), clean(link.listener), sender,
            recipient, clean(link.sender_group), clean(link.policy), clean(link.level), clean(reason),
            clean(link.tls.cause), fact,
        ))  # fmt: skip

    def flush(self, many: Callable[[str, Sequence[tuple[Any, ...]]], None]) -> None:
        surplus = len(self._rows) - self.most
        if surplus > 0:
            del self._rows[:surplus]
        many(f"INSERT INTO refusal VALUES(NULL, {', '.join('?' * 15)})", self._rows)
        self._rows.clear()
        newest = self._connection.execute("SELECT max(id) FROM refusal").get
        oldest = self._connection.execute("SELECT min(id) FROM refusal").get
        if newest is not None and newest - oldest >= self.most + _STEP:
            self._connection.execute("DELETE FROM refusal WHERE id<=?", (newest - self.most,))

    def forget(self, before: float) -> bool:
        """Delete some of those that are too old; whether there may be more."""
        self._connection.execute(
            "DELETE FROM refusal WHERE id IN (SELECT id FROM refusal ORDER BY id LIMIT ?) AND at<?",
            (_STEP, before),
        )
        return self._connection.changes() == _STEP
