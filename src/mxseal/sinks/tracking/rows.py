"""Writing into segments: names are given numbers, and rows are gathered for one statement each."""

from __future__ import annotations

import hashlib
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import apsw
import msgspec

from mxseal.sinks.tracking.state import Draft, Link, Stored, Tls, loading, updating
from mxseal.storage.tracking import schema
from mxseal.storage.tracking.schema import prefix

LONGEST = 500
"""Characters of a stranger's text that are kept."""
_CACHED = 50_000
MOST_FACTS = 50_000
"""Different explanations in a segment: strangers can make each of theirs differ."""
MOST_STEPS = 1000
"""Of one message; further delays are only counted."""
WAITING, DELIVERED, BOUNCED, DELETED = 0, 1, 2, 3
_ENCODER = msgspec.json.Encoder()
_ABOUT = ("listener", "domain", "sender_group", "match", "policy", "level", "level_from")


def clean(text: str | None) -> str:
    """A stranger's text as a database takes it."""
    if not text:
        return ""
    if text.isascii():
        if len(text) <= LONGEST and "\0" not in text:
            return text  # nearly all are
    else:
        text = text.encode("utf-8", "replace").decode()
    return text[:LONGEST].replace("\0", "?")


@lru_cache(maxsize=4096)
def _about(*values: str) -> str:
    """What else is told of a connection, as JSON: the same for many."""
    found = {name: clean(value) for name, value in zip(_ABOUT, values, strict=True) if value}
    return _ENCODER.encode(found).decode()


class Names:
    """Numbers for what repeats, within one segment. Use inside of a transaction."""

    def __init__(self, connection: apsw.Connection, segment: int) -> None:
        self._connection = connection
        self._s = prefix(segment)
        self._known: dict[tuple[Any, ...], int] = {}
        self._addresses: dict[str, tuple[int, int]] = {}
        self._tls: dict[Tls, int] = {}
        self._facts = int(connection.execute(f"SELECT count(*) FROM {self._s}fact").get)  # noqa: S608

    def address(self, text: str) -> tuple[int, int]:
        """(number of an address, number of its domain)."""
        text = clean(text)
        found = self._addresses.get(text)
        if found is not None:
            return found
        select = f"SELECT id, domain FROM {self._s}address WHERE text=?"  # noqa: S608
        row = self._connection.execute(select, (text,)).fetchone()
        if row is None:
            domain = self._number("domain", ("name",), (text.rpartition("@")[2].lower(),))
            insert = f"INSERT INTO {self._s}address(text, domain) VALUES(?, ?) RETURNING id"
            row = (self._connection.execute(insert, (text, domain)).get, domain)
        if len(self._addresses) >= _CACHED:
            self._addresses.clear()
        self._addresses[text] = found = (int(row[0]), int(row[1]))
        return found

    def place(self, host: str, ip: str) -> int:
        return self._number("place", ("host", "ip"), (clean(host), clean(ip)))

    def tls(self, tls: Tls) -> int:
        number = self._tls.get(tls)
        if number is None:
            if len(self._tls) >= _CACHED:
                self._tls.clear()
            self._tls[tls] = number = self._tls_number(tls)
        return number

    def _tls_number(self, tls: Tls) -> int:
        columns = ("side", "state", "protocol", "cipher", "grp", "level", "cause")
        values = (tls.side, tls.state, tls.protocol, tls.cipher, tls.group, tls.level, tls.cause)
        return self._number("tls", columns, tuple(map(clean, values)))

    def fact(self, body: bytes) -> int:
        """0: nothing to keep, or there are too many."""
        if not body:
            return 0
        digest = hashlib.blake2b(body, digest_size=12).digest()
        key = ("fact", digest)
        if (number := self._known.get(key)) is not None:
            return number
        found = self._connection.execute(f"SELECT id FROM {self._s}fact WHERE sum=?", (digest,)).get  # noqa: S608
        if found is None:
            if self._facts >= MOST_FACTS:
                return 0
            insert = f"INSERT INTO {self._s}fact(sum, body) VALUES(?, ?) RETURNING id"
            found = self._connection.execute(insert, (digest, zlib.compress(body))).get
            self._facts += 1
        return self._keep(key, found)

    def _number(self, table: str, columns: tuple[str, ...], values: tuple[str, ...]) -> int:
        key = (table, *values)
        if (number := self._known.get(key)) is not None:
            return number
        where = " AND ".join(f"{column}=?" for column in columns)
        select = f"SELECT id FROM {self._s}{table} WHERE {where}"  # noqa: S608
        found = self._connection.execute(select, values).get
        if found is None:
            places = ", ".join("?" * len(columns))
            insert = f"INSERT INTO {self._s}{table}({', '.join(columns)}) VALUES({places}) RETURNING id"
            found = self._connection.execute(insert, values).get
        return self._keep(key, found)

    def _keep(self, key: tuple[Any, ...], found: Any) -> int:
        if len(self._known) >= _CACHED:
            self._known.clear()
        self._known[key] = number = int(found)
        return number


class SegmentRows:
    """The rows of one segment that a batch brings."""

    def __init__(self, connection: apsw.Connection, number: int, next_row: int) -> None:
        self.number = number
        self.next_row = next_row
        self._connection = connection
        self.names = Names(connection, number)
        self._s = prefix(number)
        self._fresh: dict[int, tuple[Stored, list[Any]]] = {}
        self._changed: dict[int, Stored] = {}
        self._recipients: list[tuple[Any, ...]] = []
        self._states: list[tuple[Any, ...]] = []
        self._steps: list[tuple[Any, ...]] = []
        self._links: dict[tuple[str, int], tuple[Any, ...]] = {}
        self._places: set[tuple[int, int]] = set()
        self._tls: set[tuple[int, int]] = set()
        self._subjects: list[tuple[int, str]] = []
        self._linked: dict[tuple[str, int], tuple[int, int, int]] = {}
        """Of connections that have their row: (changes until then, place, TLS)."""

    def find(self, mid: int) -> Stored | None:
        row = self._connection.execute(loading(self.number), (mid,)).fetchone()
        return Stored(self.number, row[0], mid, row[1:]) if row is not None else None

    def add(self, draft: Draft, at: float, link: Link | None) -> Stored:
        """A message that was queued."""
        row, self.next_row = self.next_row, self.next_row + 1
        sender, sender_domain = self.names.address(draft.sender)
        bits = (schema.REFUSED if draft.refused else 0) | (schema.NOTICE if draft.about else 0)
        place = tls = 0
        if link is not None:
            place, tls = self.link(link)
            self._places.add((place, row))
            self._tls.add((tls, row))
        for rid, address in draft.recipients:
            number, domain = self.names.address(address)
            self._recipients.append((row, rid, number, domain, WAITING, at, None))
        stored = Stored(
            self.number, row, draft.mid, (at, None, bits, len(draft.recipients), 0, 0, 0, 0)
        )  # fmt: skip
        header, subject = clean(draft.header), clean(draft.subject)
        self._fresh[row] = stored, [
            sender, sender_domain, draft.icid, at, draft.started, draft.size, int(draft.outgoing),
            draft.about, draft.refused, place, tls, schema.header_sum(header) if header else 0,
            header or None, subject or None, clean(draft.identity) or None,
        ]  # fmt: skip
        if subject:
            self._subjects.append((row, unicodedata.normalize("NFC", subject)))
        return stored

    def change(self, stored: Stored) -> None:
        if stored.id not in self._fresh:
            self._changed[stored.id] = stored

    def state(self, stored: Stored, rid: int, state: int, at: float, following: float | None) -> None:
        self._states.append((state, at, following, stored.id, rid))

    def step(self, stored: Stored, at: float, told: tuple[str, int, Sequence[int], Any]) -> None:
        """`told`: kind, DCID, RIDs, and what there is to say."""
        kind, dcid, rids, text = told
        if stored.steps >= MOST_STEPS and kind == "delayed":
            return
        stored.steps += 1
        body = _ENCODER.encode(text).decode()
        rid_text = ",".join(map(str, rids))
        self._steps.append((stored.id, stored.steps, at, kind, dcid, rid_text, body))

    def link(self, link: Link) -> tuple[int, int]:
        """Keep a connection beside the messages that it is about: (place, TLS)."""
        linked = self._linked.get(link.key)
        if linked is not None and linked[0] == link.changes:
            return linked[1:]
        place = self.names.place(link.host, link.ip)
        tls = self.names.tls(link.tls)
        self._links[link.key] = (
            link.kind, link.number, link.at, place, link.port, clean(link.local_ip),
            _about(link.listener, link.domain, link.sender_group, link.match, link.policy, link.level,
                   link.level_from), tls, self.names.fact(link.fact), link.times, clean(link.trouble),
        )  # fmt: skip
        if len(self._linked) >= _CACHED:
            self._linked.clear()
        self._linked[link.key] = link.changes, place, tls
        return place, tls

    def met(self, stored: Stored, link: Link) -> None:
        """A message was on a connection, or waits because of it."""
        place, tls = self.link(link)
        self._places.add((place, stored.id))
        self._tls.add((tls, stored.id))

    def flush(self, many: Callable[[str, Sequence[tuple[Any, ...]]], None]) -> int:
        """Write what was gathered; the number of new messages."""
        s = self._s
        fresh = [
            (row, stored.mid, *values[2:5], stored.last, stored.finished, stored.bits, *values[:2],
             *values[5:8], stored.recipients, stored.delivered, stored.bounced, stored.deleted, values[8],
             stored.steps, *values[9:])
            for row, (stored, values) in self._fresh.items()
        ]  # fmt: skip
        many(f"INSERT INTO {s}message VALUES({', '.join('?' * 25)})", fresh)
        many(updating(self.number), [stored.row() for stored in self._changed.values()])
        many(f"INSERT OR REPLACE INTO {s}recipient VALUES(?, ?, ?, ?, ?, ?, ?)", self._recipients)
        many(
            f"UPDATE {s}recipient SET state=?, at=?, next=? WHERE message=? AND rid=?",  # noqa: S608
            self._states,
        )
        many(f"INSERT OR REPLACE INTO {s}step VALUES(?, ?, ?, ?, ?, ?, ?)", self._steps)
        many(f"INSERT OR REPLACE INTO {s}connection VALUES({', '.join('?' * 11)})", [*self._links.values()])
        many(f"INSERT OR IGNORE INTO {s}at_place VALUES(?, ?)", sorted(self._places))
        many(f"INSERT OR IGNORE INTO {s}with_tls VALUES(?, ?)", sorted(self._tls))
        many(f"INSERT INTO {s}subject(rowid, words) VALUES(?, ?)", self._subjects)
        for gathered in (self._fresh, self._changed, self._recipients, self._states, self._steps, self._links,
                         self._places, self._tls, self._subjects):  # fmt: skip
            gathered.clear()
        return len(fresh)
