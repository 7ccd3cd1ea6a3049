"""Which segment a message is in, and when a new one is begun."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import apsw

from mxseal.sinks.tracking.rows import SegmentRows
from mxseal.sinks.tracking.state import Draft, Link, Stored
from mxseal.storage.tracking.schema import make_segment, prefix

MOST_STORED = 50_000
"""Messages that are kept in memory while they wait; the others are read again when something happens."""
LONGEST = 7 * 86_400.0
"""Seconds that a segment covers at most, so that age can end it."""
_KEPT_OPEN = 4
"""Segments with their names in memory."""


class Segments:
    """All segments, of which the newest takes new messages."""

    def __init__(self, connection: apsw.Connection, rows: int) -> None:
        self._connection = connection
        self.most_rows = rows
        self._open: OrderedDict[int, SegmentRows] = OrderedDict()
        self._stored: OrderedDict[int, Stored] = OrderedDict()
        rows_of = connection.execute("SELECT number, first, last, newest, rows FROM segment ORDER BY number")
        self._known: dict[int, list[Any]] = {int(row[0]): list(row[1:]) for row in rows_of}
        """By number: first and last time of a message queued, newest row, rows."""

    @property
    def numbers(self) -> list[int]:
        return list(self._known)

    def add(self, draft: Draft, at: float, link: Link | None) -> Stored:
        rows = self._newest(at)
        stored = rows.add(draft, at, link)
        found = self._known[rows.number]
        found[0], found[1] = min(found[0], at), max(found[1], at)
        found[2], found[3] = stored.id, found[3] + 1
        self._keep(stored)
        return stored

    def find(self, mid: int) -> tuple[SegmentRows, Stored] | None:
        """A message by its number, to be changed."""
        stored = self._stored.get(mid)
        if stored is not None:
            self._stored.move_to_end(mid)
            return self._rows(stored.segment), stored
        for number in reversed(self._known):
            rows = self._rows(number) if number in self._open else None
            stored = rows.find(mid) if rows is not None else self._look(number, mid)
            if stored is not None:
                self._keep(stored)
                return self._rows(number), stored
        return None

    def forget(self, mid: int) -> None:
        """A message is finished: nothing more is expected."""
        stored = self._stored.get(mid)
        if stored is not None:
            self._stored.move_to_end(mid, last=False)

    def flush(self, many: Callable[[str, Sequence[tuple[Any, ...]]], None]) -> None:
        changed = [rows for rows in self._open.values() if rows.flush(many)]
        put = [(number, *self._known[number]) for number in {rows.number for rows in changed}]
        many("INSERT OR REPLACE INTO segment VALUES(?, ?, ?, ?, ?)", put)
        while len(self._stored) > MOST_STORED:
            self._stored.popitem(last=False)
        while len(self._open) > _KEPT_OPEN:
            self._open.popitem(last=False)

    def _keep(self, stored: Stored) -> None:
        self._stored[stored.mid] = stored

    def _look(self, number: int, mid: int) -> Stored | None:
        select = f"SELECT count(*) FROM {prefix(number)}message WHERE mid=?"  # noqa: S608
        if not self._connection.execute(select, (mid,)).get:
            return None
        return self._rows(number).find(mid)

    def _rows(self, number: int) -> SegmentRows:
        rows = self._open.get(number)
        if rows is None:
            rows = SegmentRows(self._connection, number, int(self._known[number][2]) + 1)
            self._open[number] = rows
        self._open.move_to_end(number)
        return rows

    def _newest(self, at: float) -> SegmentRows:
        number = next(reversed(self._known), 0)
        if number:
            first, _, _, count = self._known[number]
            if count < self.most_rows and at - first < LONGEST:
                return self._rows(number)
        number += 1
        make_segment(self._connection, number)
        self._known[number] = [at, at, 0, 0]
        return self._rows(number)

    def dropped(self, number: int) -> None:
        """A segment is no more."""
        self._known.pop(number, None)
        self._open.pop(number, None)
        for mid in [mid for mid, stored in self._stored.items() if stored.segment == number]:
            del self._stored[mid]

    def age(self, number: int) -> float:
        """When the last message of a segment was queued."""
        return float(self._known[number][1])
