"""The queue's rows as values, and the sums that tell whether they are what was written.

SQLite finds a page that makes no sense, not one in which a letter of an address has changed: each message has
a CRC-32 of its content and envelope, each recipient one of its address. They are against accidents, not
attackers.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from mxseal.storage.ports import Envelope, Recipient

MESSAGE_COLUMNS = "mid, sender, size, queued_at, smtputf8, eightbit, icid, dsn_for, body, crc, tls_level"
RECIPIENT_COLUMNS = "mid, rid, address, attempts, next_attempt, last_error, warned, crc, route"


def message_sum(mid: int, sender: str, size: int, content: int) -> int:
    """The sum of a message whose content has the CRC-32 `content`."""
    return zlib.crc32(f"{mid}\n{sender}\n{size}".encode(errors="replace"), content)


def recipient_sum(mid: int, rid: int, address: str) -> int:
    return zlib.crc32(f"{mid}\n{rid}\n{address}".encode(errors="replace"))


def message_row(e: Envelope, body: bytes | None, content: int) -> tuple[object, ...]:
    """MESSAGE_COLUMNS of a new message; `content` is the CRC-32 of its content."""
    total = message_sum(e.mid, e.sender, e.size, content)
    flags = (e.smtputf8, e.eightbit, e.icid, e.dsn_for)
    return (e.mid, e.sender, e.size, e.queued_at, *flags, body, total, e.tls_level)


def recipient_row(mid: int, r: Recipient) -> tuple[object, ...]:
    """RECIPIENT_COLUMNS of a new recipient."""
    total = recipient_sum(mid, r.rid, r.address)
    return (mid, r.rid, r.address, r.attempts, r.next_attempt, r.last_error, r.warned, total, r.route or None)


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
