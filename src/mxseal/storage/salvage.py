"""What is whole in a damaged queue goes into a new file, what is not is set aside; nothing is dropped.

Rows are taken from SQLite's pages themselves (`pages`), so that one bad page costs no other. Old rows linger
in pages that are free; a message that comes from a page whose way from the root is lost counts only if that
page is known not to be free, or the index of what is due still names its recipient. Otherwise it may have
been delivered long ago: it is set aside as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw

from mxseal.storage.aside import Aside
from mxseal.storage.pages import RawDatabase, Row
from mxseal.storage.rows import MESSAGE_COLUMNS, RECIPIENT_COLUMNS, facts_of, message_sum, recipient_sum
from mxseal.storage.schema import Schema, rename

SALVAGED = "queue.db.salvaged"
"""The new file, complete, right before it takes the damaged one's place."""
_ROOTS = {"messages": 2, "recipients": 3, "recipients_due": 4}
"""Where the trees begin in every queue ever made, should the list of them be lost: the order of CREATE."""
_MESSAGE_VALUES, _RECIPIENT_VALUES = MESSAGE_COLUMNS.count(",") + 1, RECIPIENT_COLUMNS.count(",") + 1
Values = tuple[object, ...]


def salvage(path: Path, bodies: Path, aside: Aside, schema: Schema, page_size: int) -> int:
    """Write SALVAGED beside a damaged queue, and into `aside` what can't go on. Gives the messages saved.

    The damaged files stay as they are. Begins anew when it was cut short.
    """
    draft = path.with_name("queue.db.part")
    draft.unlink(missing_ok=True)
    connection = apsw.Connection(str(draft))
    try:
        for setting in (f"page_size={page_size}", "journal_mode=OFF", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        with connection:
            connection.execute(schema.first)
            for sql in schema.migrations:
                connection.execute(sql)
            connection.execute(f"PRAGMA user_version={schema.version}")
            saved = _Salvage(RawDatabase(path, page_size), bodies, aside, connection).run()
    finally:
        connection.close()
    rename(draft, path.with_name(SALVAGED))
    return saved


class _Salvage:
    """One salvage: the recipients first, then each message with those of its own."""

    def __init__(self, raw: RawDatabase, bodies: Path, aside: Aside, to: apsw.Connection) -> None:
        self._raw = raw
        self._bodies = bodies
        self._aside = aside
        self._to = to
        self._due: set[tuple[int, int]] = set()
        """(mid, rid) of what the index of due recipients names."""
        self._recipients: dict[int, dict[int, Values]] = {}
        self._doubtful: dict[int, dict[int, Values]] = {}
        """Recipients from pages that may be free."""
        self._seen: set[int] = set()
        self._saved = 0

    def run(self) -> int:
        roots = _ROOTS | {name: page for name, page in self._raw.roots().items() if name in _ROOTS}
        for row in self._raw.tree(roots["recipients_due"]):
            if len(row.values) == 3 and isinstance(row.values[1], int) and isinstance(row.values[2], int):
                self._due.add((row.values[1], row.values[2]))
        for row in self._raw.tree(roots["recipients"]):
            self._note_recipient(row, self._recipients)
        # Messages are copied as they are found, so that not all of them are in memory: what lies astray comes
        # before, because recipients may be there.
        astray = list(self._astray(roots["messages"]))
        for row in self._raw.tree(roots["messages"]):
            self._message(row)
        for row in astray:
            self._message(row)
        self._rest()
        return self._saved

    def _astray(self, messages: int) -> Iterator[Row]:
        """Messages on pages that no tree leads to; recipients on such pages are noted at once."""
        free = self._raw.free()
        reached = self._reached(messages)
        for number in range(2, self._raw.count + 1):
            if number in self._raw.visited or number in reached or (free is not None and number in free):
                continue
            for row in self._raw.lone(number):
                if row.rowid is not None:
                    yield row
                else:
                    self._note_recipient(row, self._doubtful if free is None else self._recipients)

    def _reached(self, messages: int) -> set[int]:
        """The pages of the tree of messages, which is read later."""
        before = set(self._raw.visited)
        for _ in self._raw.tree(messages):
            pass
        reached = self._raw.visited - before
        self._raw.visited = before
        return reached

    def _note_recipient(self, row: Row, known: dict[int, dict[int, Values]]) -> None:
        values = _recipient(row.values) if row.whole else None
        if values is None:
            return
        mid, rid = int(str(values[0])), int(str(values[1]))
        if known is self._doubtful and (mid, rid) in self._due:
            known = self._recipients
        known.setdefault(mid, {}).setdefault(rid, values)

    def _message(self, row: Row) -> None:
        mid = row.rowid
        if mid is None or mid <= 0 or mid in self._seen:
            return
        values = _message(mid, row.values)
        recipients = self._recipients.get(mid, {})
        problem = self._problem(row, values, recipients)
        if problem is None and values is not None:
            self._keep(mid, values, recipients)
            return
        if values is None and mid not in self._recipients and mid not in self._doubtful:
            return  # noise: no queue of ours ever had such a row
        self._seen.add(mid)
        known = recipients or self._doubtful.get(mid, {})
        body = next((v for v in reversed(row.values) if isinstance(v, bytes)), None)
        told = values if values is not None else (mid,)
        content = body if body is not None else self._bodies / str(mid)
        self._aside.message(mid, facts_of(told, known.values(), problem or ""), content)

    def _problem(self, row: Row, values: Values | None, recipients: dict[int, Values]) -> str | None:
        """Why a message can't go on; None: it can."""
        if values is None:
            return "its envelope is damaged"
        mid, size, body = values[0], values[2], values[8]
        if not recipients:
            if mid in self._doubtful:
                return "it may have been delivered: it was found on a page that may have been given up"
            return "its recipients are lost"
        if isinstance(body, bytes):
            if not row.whole or len(body) != size:
                return f"of {size} bytes of content {len(body)} are left"
            expected = message_sum(int(str(mid)), str(values[1]), len(body), zlib.crc32(body))
            return None if values[9] in (None, expected) else "its content or envelope has changed"
        if row.values[8:9] != (None,):
            return "its content is lost"
        file = self._bodies / str(mid)
        if not file.exists():
            return f"its content file {file} is missing"
        there = file.stat().st_size
        return None if there == size else f"its content file has {there} bytes instead of {size}"

    def _keep(self, mid: int, values: Values, recipients: dict[int, Values]) -> None:
        marks = ",".join("?" * len(values))
        self._to.execute(f"INSERT INTO messages({MESSAGE_COLUMNS}) VALUES ({marks})", values)  # noqa: S608
        for recipient in recipients.values():
            marks = ",".join("?" * len(recipient))
            sql = f"INSERT INTO recipients({RECIPIENT_COLUMNS}) VALUES ({marks})"  # noqa: S608
            self._to.execute(sql, recipient)
        self._seen.add(mid)
        self._saved += 1
        lost = {rid for found, rid in self._due_of(mid)} - set(recipients)
        if lost:
            self._tell_lost(mid, values, lost)

    def _due_of(self, mid: int) -> Iterator[tuple[int, int]]:
        if not hasattr(self, "_by_mid"):
            self._by_mid: dict[int, list[tuple[int, int]]] = {}
            for each in self._due:
                self._by_mid.setdefault(each[0], []).append(each)
        return iter(self._by_mid.get(mid, ()))

    def _tell_lost(self, mid: int, values: Values, lost: set[int]) -> None:
        """The message goes on, but not to all: some of its recipients can no longer be read."""
        rids = ", ".join(str(rid) for rid in sorted(lost))
        facts = facts_of(values, (), f"it goes on, but the addresses of its recipients {rids} are lost")
        body = values[8]
        self._aside.message(mid, facts, bytes(body) if isinstance(body, bytes) else None)
        if not isinstance(body, bytes):
            self._aside.link(self._bodies / str(mid), f"{mid}.eml")

    def _rest(self) -> None:
        """Recipients whose message was not found, and content files that belong to none."""
        for mid in sorted(({mid for mid, _ in self._due} | set(self._recipients)) - self._seen):
            known = self._recipients.get(mid, {})
            facts = facts_of((mid,), known.values(), "its envelope is lost")
            self._aside.message(mid, facts, self._bodies / str(mid))
            self._seen.add(mid)
        if self._bodies.is_dir():
            for file in list(self._bodies.iterdir()):
                if file.name.isdecimal() and int(file.name) not in self._seen:
                    self._aside.take(file)


def _message(mid: int, values: Sequence[object]) -> Values | None:
    """MESSAGE_COLUMNS of a row, None when they can't be; version 0 had no sum. The body may be cut."""
    if not 8 <= len(values) <= _MESSAGE_VALUES or values[0] is not None:
        return None
    _, sender, size, queued_at, smtputf8, eightbit, icid, dsn_for, *rest = values
    optional = all(each is None or isinstance(each, int) for each in (icid, dsn_for))
    flags = all(each in (0, 1) for each in (smtputf8, eightbit))
    if not isinstance(sender, str) or not isinstance(size, int) or not isinstance(queued_at, int | float):
        return None
    body, total, level = (rest[at] if len(rest) > at else None for at in range(3))
    if not optional or not flags or not isinstance(body, bytes | None) or not isinstance(total, int | None):
        return None
    own = level if isinstance(level, str) else None
    ours = (mid, sender, size, float(queued_at), smtputf8, eightbit, icid, dsn_for, body, total, own)
    asks, *masked = [*rest[3:], *[None] * 5][:5]
    kinds = (str, bytes, int, int)
    whole = all(each is None or isinstance(each, kind) for each, kind in zip(masked, kinds, strict=True))
    screening, prefix, kept = [*rest[8:], *[None] * 3][:3]
    screened = (
        screening if isinstance(screening, str) else None,
        prefix if isinstance(prefix, str) else "",
        float(kept) if isinstance(kept, int | float) else None,
    )
    return (*ours, asks if isinstance(asks, str) else None, *(masked if whole else [None] * 4), *screened)


def _recipient(values: Sequence[object]) -> Values | None:
    """RECIPIENT_COLUMNS of a row, None when they can't be what was written."""
    if not 7 <= len(values) <= _RECIPIENT_VALUES:
        return None
    mid, rid, address, attempts, next_attempt, last_error, warned, *rest = values
    total, route, groups = [*rest, *[None] * 3][:3]
    if not isinstance(mid, int) or not isinstance(rid, int) or not isinstance(address, str):
        return None
    if not isinstance(attempts, int) or not isinstance(next_attempt, int | float):
        return None
    if not isinstance(last_error, str) or warned not in (0, 1):
        return None
    if total is not None and total != recipient_sum(mid, rid, address):
        return None
    way, known = (each if isinstance(each, str) else None for each in (route, groups))
    return (mid, rid, address, attempts, float(next_attempt), last_error, warned, total, way, known)
