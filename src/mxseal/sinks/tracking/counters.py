"""Numbers by hour and by day, and by partner and day, added to in the transaction of the rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import apsw

from mxseal.sinks.tracking.rows import clean
from mxseal.sinks.tracking.state import Tls

HOUR, DAY = 3600, 86_400
HOURS_KEPT, DAYS_KEPT, PARTNER_DAYS_KEPT = 35 * DAY, 1100 * DAY, 400 * DAY
"""Seconds."""
MOST_PARTNERS = 2000
"""In a direction on a day; those beyond are counted as one, OTHERS."""
OTHERS = "(others)"
PARTNER_COUNTS = (
    "required_ok", "required_failed", "preferred_ok", "preferred_failed", "clear", "verified",
    "messages_tls", "messages_clear",
)  # fmt: skip

_ADD = """
    INSERT INTO traffic(span, at, side, what, word, count) VALUES(?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET count=count+excluded.count
"""
_PARTNER = f"""
    INSERT INTO partner(day, side, domain, {", ".join(PARTNER_COUNTS)}, failed_at, cause, reason)
    VALUES({", ".join("?" * 14)})
    ON CONFLICT DO UPDATE SET {", ".join(f"{name}={name}+excluded.{name}" for name in PARTNER_COUNTS)},
        cause=CASE WHEN excluded.failed_at >= failed_at THEN excluded.cause ELSE cause END,
        reason=CASE WHEN excluded.failed_at >= failed_at THEN excluded.reason ELSE reason END,
        failed_at=max(failed_at, excluded.failed_at)
"""


class _Partner:
    __slots__ = ("cause", "counts", "failed_at", "reason")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(PARTNER_COUNTS, 0)
        self.failed_at, self.cause, self.reason = 0.0, "", ""


class Counters:
    """Adds up in memory; `flush` adds to the tables."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._traffic: dict[tuple[int, str, str, str], int] = {}
        self._partners: dict[tuple[int, str, str], _Partner] = {}
        self._known: dict[tuple[int, str], set[str]] = {}

    def count(self, at: float, side: str, what: str, word: str = "", by: int = 1) -> None:
        key = int(at) // HOUR, side, what, word
        self._traffic[key] = self._traffic.get(key, 0) + by

    def tls(self, at: float, tls: Tls) -> None:
        """The end of a connection's opening."""
        self.count(at, tls.side, "tls", tls.state)
        if tls.cause:
            self.count(at, tls.side, "cause", tls.cause)
        if tls.encrypted:
            self.count(at, tls.side, "protocol", clean(tls.protocol))
            self.count(at, tls.side, "cipher", clean(tls.cipher))
            self.count(at, tls.side, "group", clean(tls.group) or "none")

    def partner(self, at: float, side: str, domain: str, what: str) -> None:
        self._of(at, side, domain).counts[what] += 1

    def partner_failed(self, at: float, side: str, domain: str, cause: str, reason: str) -> None:
        found = self._of(at, side, domain)
        if at >= found.failed_at:
            found.failed_at, found.cause, found.reason = at, clean(cause), clean(reason)

    def _of(self, at: float, side: str, domain: str) -> _Partner:
        day = int(at) // DAY
        domain = clean(domain).lower()
        known = self._known.get((day, side))
        if known is None:
            known = self._load(day, side)
        if domain not in known:
            if len(known) >= MOST_PARTNERS:
                domain = OTHERS
            known.add(domain)
        found = self._partners.get((day, side, domain))
        if found is None:
            self._partners[day, side, domain] = found = _Partner()
        return found

    def _load(self, day: int, side: str) -> set[str]:
        while len(self._known) >= 8:  # a few days of both directions
            del self._known[min(self._known)]
        rows = self._connection.execute("SELECT domain FROM partner WHERE day=? AND side=?", (day, side))
        self._known[day, side] = known = {str(row[0]) for row in rows}
        return known

    def flush(self, many: Callable[[str, Sequence[tuple[Any, ...]]], None]) -> None:
        days: dict[tuple[int, str, str, str], int] = {}
        for (hour, side, what, word), count in self._traffic.items():
            key = (hour * HOUR // DAY, side, what, word)
            days[key] = days.get(key, 0) + count
        many(_ADD, [("hour", key[0] * HOUR, *key[1:], count) for key, count in self._traffic.items()])
        many(_ADD, [("day", key[0] * DAY, *key[1:], count) for key, count in days.items()])
        many(
            _PARTNER,
            [
                (*key, *found.counts.values(), found.failed_at, found.cause, found.reason)
                for key, found in self._partners.items()
            ],
        )
        self._traffic.clear()
        self._partners.clear()

    def forget(self, now: float) -> None:
        """Delete what is too old."""
        execute = self._connection.execute
        execute("DELETE FROM traffic WHERE span='hour' AND at<?", (int(now - HOURS_KEPT),))
        execute("DELETE FROM traffic WHERE span='day' AND at<?", (int(now - DAYS_KEPT),))
        execute("DELETE FROM partner WHERE day<?", (int(now - PARTNER_DAYS_KEPT) // DAY,))
