"""Searching messages: segment by segment from the newest, in steps whose cost is bounded.

Each condition can give numbers of messages from an index. The one with the fewest leads, the others are
looked at for what it gives, in windows of message numbers, so that a page that matches little ends after its
time and can be continued where it stopped. A page begins behind a message, not behind a count: it costs the
same far back, and rows that come in meanwhile change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apsw
import msgspec

from mxseal.storage.tracking import addresses
from mxseal.storage.tracking.reading import found_rows, tls_rows
from mxseal.storage.tracking.schema import header_sum, prefix
from mxseal.storage.tracking.values import BITS, Found, Page, Query

FEW = 20_001
"""So far is counted how many messages a condition gives."""
_FIRST_WINDOW, _WIDEST_WINDOW = 2000, 64_000
"""Messages that are looked at in one step, where it is not known how many match: each is twice the last."""
FEW_NAMES = 1000
"""With more names than this it is no good to look for each."""
_SLACK = 60.0
"""Seconds by which messages can be out of order: workers write to the log when a turn of theirs ends."""
Ask = Callable[[], bool]


class Condition(msgspec.Struct, frozen=True):
    """`source`: SELECT of message numbers, with `{between}` for a range of them; "" when there is no index.
    `test`: what must hold of a message m, perhaps with `{low}` and `{high}` for the range."""

    source: str
    test: str
    words: tuple[Any, ...] = ()


class _Nothing(Exception):
    """No message of the segment can match."""


def search(connection: apsw.Connection, query: Query, limit: int, after: str | None, in_time: Ask) -> Page:
    """One page. ValueError: `after` is none of ours. `in_time`: whether to go on."""
    start = _place(after)
    found: list[Found] = []
    place = start
    for number, first, last, newest in _segments(connection, query):
        if start is not None and number > start[0]:
            continue
        highest = start[1] - 1 if start is not None and number == start[0] else newest
        scan = _Scan(connection, number, query)
        for lowest, rows in scan.windows(highest, limit - len(found)):
            found += found_rows(connection, number, rows)
            place = (number, rows[-1] if len(found) >= limit and rows else lowest)
            if len(found) >= limit or not in_time():
                more = place[1] > 1 or number > 1
                text = f"{place[0]}.{place[1]}" if more else None
                full = len(found) >= limit
                back = found[-1].at if full else min(last, _time_of(connection, number, place[1], first))
                return Page(messages=tuple(found), following=text, complete=full, back_to=back)
    return Page(messages=tuple(found), following=None, complete=True, back_to=None)


def _place(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, row = text.partition(".")
    if not (number.isdecimal() and row.isdecimal() and len(text) < 40):
        raise ValueError(f"{text!r} is not where a page ended")
    return int(number), int(row)


def _segments(connection: apsw.Connection, query: Query) -> Iterator[tuple[int, float, float, int]]:
    select = "SELECT number, first, last, newest FROM segment ORDER BY number DESC"
    rows: list[tuple[Any, ...]] = connection.execute(select).fetchall()
    for number, first, last, newest in rows:
        if query.since is not None and last < query.since - _SLACK:
            continue
        if query.until is not None and first > query.until + _SLACK:
            continue
        yield int(number), float(first), float(last), int(newest)


def _time_of(connection: apsw.Connection, number: int, row: int, other: float) -> float:
    found = connection.execute(
        f"SELECT at FROM {prefix(number)}message WHERE id<=? ORDER BY id DESC LIMIT 1",  # noqa: S608
        (row,),
    ).get
    return float(found) if found is not None else other


class _Scan:
    """The search of one segment."""

    def __init__(self, connection: apsw.Connection, number: int, query: Query) -> None:
        self._connection = connection
        self._s = prefix(number)
        self._query = query

    def windows(self, highest: int, limit: int) -> Iterator[tuple[int, list[int]]]:
        """(lowest number that was looked at, numbers of messages that match, descending)."""
        query = self._query
        lowest = 1
        if query.since is not None:
            lowest = self._row_at(query.since - _SLACK, highest)
        if query.until is not None:
            highest = min(highest, self._row_at(query.until + _SLACK, highest))
        if highest < lowest:
            return
        try:
            conditions = list(self._conditions())
        except _Nothing:
            return
        lead, count = self._lead(conditions, lowest, highest)
        window = highest - lowest + 1 if count < FEW - 1 else _FIRST_WINDOW
        while highest >= lowest:
            low = max(lowest, highest - window + 1)
            rows = self._rows(conditions, lead, low, highest, limit)
            yield low, rows
            limit -= len(rows)
            highest = low - 1
            window = min(window * 2, _WIDEST_WINDOW)

    def _rows(
        self, conditions: Sequence[Condition], lead: Condition | None, low: int, high: int, limit: int
    ) -> list[int]:
        s = self._s
        words: list[Any] = []
        if lead is not None:
            source = lead.source.format(between="BETWEEN ? AND ?")
            tests = [f"m.id IN ({source})"]
            words += [*lead.words, low, high]
        else:
            tests = ["m.id BETWEEN ? AND ?"]
            words += [low, high]
        for condition in conditions:
            if condition is not lead:
                tests.append(condition.test.replace("{low}", str(low)).replace("{high}", str(high)))
                words += condition.words
        select = (
            f"SELECT m.id FROM {s}message m WHERE {' AND '.join(tests)} "  # noqa: S608
            "ORDER BY m.id DESC LIMIT ?"
        )
        return [int(row[0]) for row in self._connection.execute(select, (*words, limit))]

    def _lead(self, conditions: Sequence[Condition], low: int, high: int) -> tuple[Condition | None, int]:
        """The condition with the fewest messages, and how many it has, up to FEW."""
        best: tuple[Condition | None, int] = (None, FEW)
        for condition in conditions:
            if not condition.source:
                continue
            source = condition.source.format(between="BETWEEN ? AND ?")
            count = self._connection.execute(
                f"SELECT count(*) FROM ({source} LIMIT ?)",  # noqa: S608
                (*condition.words, low, high, best[1]),
            ).get
            if int(count) < best[1]:
                best = condition, int(count)
        return best

    def _row_at(self, at: float, highest: int) -> int:
        """About the first message at or behind a time: they are nearly in order."""
        low, high = 1, highest + 1
        select = f"SELECT at FROM {self._s}message WHERE id>=? ORDER BY id LIMIT 1"  # noqa: S608
        while low < high:
            middle = (low + high) // 2
            found = self._connection.execute(select, (middle,)).get
            if found is not None and found < at:
                low = middle + 1
            else:
                high = middle
        return low

    # --- conditions -----------------------------------------------------------------------------------------

    def _conditions(self) -> Iterator[Condition]:
        query, s = self._query, self._s
        for column in ("mid", "icid"):
            if (wanted := getattr(query, column)) is not None:
                source = f"SELECT id FROM {s}message WHERE {column}=? AND id {{between}}"  # noqa: S608
                yield Condition(source, f"m.{column}=?", (wanted,))
        if query.dcid is not None:
            yield self._beside("step", "dcid > 0 AND dcid=?", (query.dcid,))
        if query.message_id:
            yield self._header(query.message_id)
        if query.sender:
            yield self._sender(query.sender)
        if query.recipient:
            yield self._recipient(query.recipient)
        if query.host:
            yield self._named("at_place", "place", "place", addresses.host(query.host))
        if query.subject:
            yield self._subject(query.subject)
        if query.tls:
            kinds = [key for key, tls in tls_rows(self._connection, s).items() if query.tls.takes(tls)]
            if not kinds:
                raise _Nothing
            yield self._beside("with_tls", f"tls IN ({', '.join(map(str, kinds))})", ())
        yield from self._plain()

    def _plain(self) -> Iterator[Condition]:
        """What needs no other table."""
        query, s = self._query, self._s
        for happened in query.happened:
            if happened == "waiting":
                source = f"SELECT id FROM {s}message WHERE finished IS NULL AND id {{between}}"  # noqa: S608
                yield Condition(source, "m.finished IS NULL")
                continue
            bit = BITS[happened]
            source = f"SELECT id FROM {s}message WHERE bits & {bit} AND id {{between}}"  # noqa: S608
            dense = happened in ("delivered", "in-clear")
            yield Condition("" if dense else source, f"m.bits & {bit}")
        if query.since is not None:
            yield Condition("", "m.at >= ?", (query.since,))
        if query.until is not None:
            yield Condition("", "m.at < ?", (query.until,))
        if query.outgoing is not None:
            yield Condition("", "m.outgoing = ?", (int(query.outgoing),))

    def _beside(self, table: str, where: str, words: tuple[Any, ...]) -> Condition:
        """A condition on rows beside the message."""
        s = self._s
        source = f"SELECT message FROM {s}{table} WHERE {where} AND message {{between}}"  # noqa: S608
        test = f"EXISTS(SELECT 1 FROM {s}{table} WHERE {where} AND message=m.id)"  # noqa: S608
        return Condition(source, test, words)

    def _named(self, table: str, column: str, names: str, pattern: addresses.Pattern) -> Condition:
        """`column` of the rows beside a message is one of the names that a pattern gives."""
        found = self._among(names, pattern)
        if found is not None:
            return self._beside(table, column + found[0], found[1])
        s = self._s
        inner = f"{s}{table} x JOIN {s}{names} n ON n.id=x.{column} WHERE x.message=m.id"
        return Condition("", f"EXISTS(SELECT 1 FROM {inner} AND {pattern.where})", pattern.words)  # noqa: S608

    def _among(self, names: str, pattern: addresses.Pattern) -> tuple[str, tuple[Any, ...]] | None:
        """The end of a condition on a column that is one of the names that a pattern gives; None: there are
        so many that messages have to be looked at instead. _Nothing when there are none."""
        select = f"SELECT id FROM {self._s}{names} WHERE {pattern.where} LIMIT ?"  # noqa: S608
        ids = [int(row[0]) for row in self._connection.execute(select, (*pattern.words, FEW_NAMES + 1))]
        if not ids:
            raise _Nothing
        if len(ids) == 1:
            return "=?", (ids[0],)
        if len(ids) <= FEW_NAMES:
            return " IN (SELECT value FROM json_each(?))", (json.dumps(ids),)
        return None

    def _sender(self, text: str) -> Condition:
        pattern = addresses.address(text)
        names, column = ("domain", "sender_domain") if pattern.domain else ("address", "sender")
        found = self._among(names, pattern)
        s = self._s
        if found is None:
            test = f"EXISTS(SELECT 1 FROM {s}{names} n WHERE n.id=m.{column} AND {pattern.where})"  # noqa: S608
            return Condition("", test, pattern.words)
        where, words = found
        source = f"SELECT id FROM {s}message WHERE {column}{where} AND id {{between}}"  # noqa: S608
        return Condition(source, f"m.{column}{where}", words)

    def _recipient(self, text: str) -> Condition:
        pattern = addresses.address(text)
        names = "domain" if pattern.domain else "address"
        return self._named("recipient", names, names, pattern)

    def _header(self, text: str) -> Condition:
        plain = text.strip("<> ")
        where = "header_sum <> 0 AND header_sum=? AND trim(header, '<> ')=? COLLATE NOCASE"
        source = f"SELECT id FROM {self._s}message WHERE {where} AND id {{between}}"  # noqa: S608
        test = "m.header_sum=? AND trim(m.header, '<> ')=? COLLATE NOCASE"
        return Condition(source, test, (header_sum(plain), plain))

    def _subject(self, text: str) -> Condition:
        match = addresses.words(text)
        if not match:
            raise _Nothing
        s = self._s
        source = f"SELECT rowid FROM {s}subject WHERE {s}subject MATCH ? AND rowid {{between}}"  # noqa: S608
        inside = f"{s}subject MATCH ? AND rowid BETWEEN {{low}} AND {{high}}"
        test = f"m.id IN (SELECT rowid FROM {s}subject WHERE {inside})"  # noqa: S608
        return Condition(source, test, (match,))
