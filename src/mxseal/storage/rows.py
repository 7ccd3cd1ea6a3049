"""The queue's rows as values, and the sums that tell whether they are what was written.

SQLite finds a page that makes no sense, not one in which a letter of an address has changed: each message has
a CRC-32 of its content and envelope, each recipient one of its address. They are against accidents, not
attackers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from mxseal.storage.ports import Envelope, Queued, Recipient

MESSAGE_COLUMNS = (
    "mid, sender, size, queued_at, smtputf8, eightbit, icid, dsn_for, body, crc, tls_level, asks, masked, "
    "head, skip, head_crc, screening, prefix, quarantined"
)
RECIPIENT_COLUMNS = "mid, rid, address, attempts, next_attempt, last_error, warned, crc, route, groups"

MESSAGE = (
    "m.mid, coalesce(m.masked, m.sender), m.size + coalesce(length(m.head) - m.skip, 0), m.queued_at, "
    "m.smtputf8, m.eightbit, m.icid, m.dsn_for, m.tls_level, m.asks, m.screening, m.prefix"
)
RECIPIENT = "r.rid, r.address, r.attempts, r.next_attempt, r.last_error, r.warned, r.crc, r.route, r.groups"
"""What `gathered` wants of a join of messages m and recipients r."""


def message_sum(mid: int, sender: str, size: int, content: int) -> int:
    """The sum of a message whose content has the CRC-32 `content`."""
    return zlib.crc32(f"{mid}\n{sender}\n{size}".encode(errors="replace"), content)


def recipient_sum(mid: int, rid: int, address: str) -> int:
    return zlib.crc32(f"{mid}\n{rid}\n{address}".encode(errors="replace"))


def head_sum(mid: int, sender: str | None, head: bytes | None, skip: int | None) -> int:
    """The sum of what a directory put in the place of sender and header."""
    return zlib.crc32(f"{mid}\n{sender}\n{skip}".encode(errors="replace"), zlib.crc32(head or b""))


def groups_text(groups: Sequence[str]) -> str | None:
    """As they are stored: one a line."""
    return "\n".join(groups) or None


def message_row(e: Envelope, body: bytes | None, content: int) -> tuple[object, ...]:
    """MESSAGE_COLUMNS of a new message; `content` is the CRC-32 of its content."""
    total = message_sum(e.mid, e.sender, e.size, content)
    flags, screened = (e.smtputf8, e.eightbit, e.icid, e.dsn_for), (e.screening, e.prefix, None)
    return (
        e.mid,
        e.sender,
        e.size,
        e.queued_at,
        *flags,
        body,
        total,
        e.tls_level,
        e.asks,
        *[None] * 4,
        *screened,
    )


def recipient_row(mid: int, r: Recipient) -> tuple[object, ...]:
    """RECIPIENT_COLUMNS of a new recipient."""
    total = recipient_sum(mid, r.rid, r.address)
    state = (r.attempts, r.next_attempt, r.last_error, r.warned)
    return (mid, r.rid, r.address, *state, total, r.route or None, groups_text(r.groups))


def facts_of(
    message: Sequence[Any] | None, recipients: Iterable[Sequence[Any]], problem: str
) -> dict[str, object]:
    """What a file beside a message that was set aside tells of it; columns as above, as far as they are
    known."""
    names = ("sender", "size", "queued_at", "smtputf8", "eightbit", "icid", "dsn_for")
    values = list(message[1:8]) if message is not None else []
    values += [None] * (len(names) - len(values))
    return {
        "problem": problem,
        **dict(zip(names, values, strict=True)),
        "recipients": [
            {
                "rid": r[1],
                "address": r[2],
                "attempts": r[3],
                "last_error": r[5],
                "whole": r[7] is None or r[7] == recipient_sum(r[0], r[1], str(r[2])),
            }
            for r in recipients
        ],
    }


def gathered(rows: Iterable[tuple[Any, ...]]) -> tuple[list[Queued], set[int]]:
    """Rows of a join, one per recipient, as messages with their recipients; the rows' order is kept.

    Second the messages with a recipient whose sum does not agree; they are not among the first.
    """
    wrong: set[int] = set()
    envelopes: dict[int, tuple[Envelope, list[Recipient]]] = {}
    for mid, sender, size, queued_at, smtputf8, eightbit, icid, dsn_for, tls_level, *more in rows:
        asks, screening, prefix, *r = more
        entry = envelopes.get(mid)
        if entry is None:
            envelope = Envelope(
                mid=mid,
                sender=sender,
                size=size,
                queued_at=queued_at,
                smtputf8=bool(smtputf8),
                eightbit=bool(eightbit),
                icid=icid,
                dsn_for=dsn_for,
                tls_level=tls_level,
                asks=asks,
                screening=screening,
                prefix=prefix,
            )
            entry = envelopes[mid] = (envelope, [])
        if r[6] is not None and r[6] != recipient_sum(mid, r[0], r[1]):
            wrong.add(mid)
        entry[1].append(
            Recipient(
                rid=r[0],
                address=r[1],
                attempts=r[2],
                next_attempt=r[3],
                last_error=r[4],
                warned=bool(r[5]),
                route=r[7] or "",
                groups=tuple(r[8].split("\n")) if r[8] else (),
            )
        )
    whole = [
        Queued(envelope=envelope, recipients=tuple(found))
        for mid, (envelope, found) in envelopes.items()
        if mid not in wrong
    ]
    return whole, wrong
