"""Rows of the tracking database as values."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from mxseal.storage.tracking import schema
from mxseal.storage.tracking.schema import prefix
from mxseal.storage.tracking.values import (
    BITS,
    Connection,
    Found,
    RecipientState,
    RecipientStory,
    Refused,
    State,
    Step,
    Story,
    TlsRow,
)

_RECIPIENTS_SHOWN = 5
_STEPS_SHOWN = 2000
_STATES: tuple[RecipientState, ...] = ("waiting", "delivered", "bounced", "deleted")
REFUSED_COLUMNS = (
    "id, at, kind, icid, mid, ip, host, listener, sender, recipient, sender_group, policy, level, "
    "reason, cause"
)


def tls_rows(connection: apsw.Connection, s: str) -> dict[int, TlsRow]:
    """All kinds of TLS of a segment, by number: some dozens."""
    select = f"SELECT id, side, state, protocol, cipher, grp, level, cause FROM {s}tls"  # noqa: S608
    return {int(row[0]): TlsRow(*row[1:]) for row in connection.execute(select)}


def found_rows(connection: apsw.Connection, number: int, ids: Sequence[int]) -> list[Found]:
    """Messages of a segment by their rows, in the same order."""
    if not ids:
        return []
    s = prefix(number)
    kinds = tls_rows(connection, s)
    return [found for row in ids if (found := _found(connection, s, kinds, row)) is not None]


def _found(connection: apsw.Connection, s: str, kinds: dict[int, TlsRow], row: int) -> Found | None:
    select = f"""
        SELECT mid, icid, at, last, finished, bits, a.text, recipients, delivered, bounced, deleted, refused,
            subject, header, size, outgoing, about, identity, coalesce(p.host, ''), coalesce(p.ip, ''), m.tls
        FROM {s}message m JOIN {s}address a ON a.id=m.sender LEFT JOIN {s}place p ON p.id=m.place WHERE m.id=?
    """  # noqa: S608
    found = connection.execute(select, (row,)).fetchone()
    if found is None:
        return None
    (mid, icid, at, last, finished, bits, sender, count, delivered, bounced, deleted, refused, subject,
     header, size, outgoing, about, identity, host, ip, tls) = found  # fmt: skip
    recipients = connection.execute(
        f"SELECT a.text FROM {s}recipient r JOIN {s}address a ON a.id=r.address "  # noqa: S608
        "WHERE r.message=? ORDER BY r.rid LIMIT ?",
        (row, _RECIPIENTS_SHOWN),
    )
    # The list of kinds is short: each is asked for, instead of an index from messages to kinds.
    out = [key for key, kind in kinds.items() if kind.side == "out"]
    met = _met(connection, s, row, out)
    return Found(
        mid=mid, icid=icid or None, at=at, last=last, finished=finished,
        state=_state(count, delivered, bounced, deleted, bits),
        events=tuple(name for name, bit in BITS.items() if bits & bit), sender=sender,
        recipients=tuple(str(each[0]) for each in recipients), recipient_count=count, delivered=delivered,
        bounced=bounced, deleted=deleted, refused=refused, subject=subject, message_id=header, size=size,
        direction="outbound" if outgoing else "inbound", about=about or None, identity=identity,
        remote_host=host, remote_ip=ip, tls_in=kinds.get(tls),
        tls_out=tuple(kinds[key] for key in met),
    )  # fmt: skip


def _met(connection: apsw.Connection, s: str, row: int, kinds: Sequence[int]) -> list[int]:
    if not kinds:
        return []
    among = ", ".join(map(str, kinds))
    select = f"SELECT tls FROM {s}with_tls WHERE tls IN ({among}) AND message=?"  # noqa: S608
    return [int(each[0]) for each in connection.execute(select, (row,))]


def _state(count: int, delivered: int, bounced: int, deleted: int, bits: int) -> State:
    if delivered + bounced + deleted < count:
        kept = bits & (schema.QUARANTINED | schema.RELEASED) == schema.QUARANTINED
        return "quarantined" if kept else "waiting"
    if delivered == count:
        return "delivered"
    if delivered:
        return "partly-delivered"
    return "bounced" if bounced else "deleted"


# --- one message ------------------------------------------------------------------------------------------


def story(connection: apsw.Connection, mid: int) -> Story | None:
    """All about a message; None: it is not known."""
    numbers = [row[0] for row in connection.execute("SELECT number FROM segment ORDER BY number DESC")]
    for number in numbers:
        s = prefix(number)
        row = connection.execute(f"SELECT id, started FROM {s}message WHERE mid=?", (mid,)).fetchone()  # noqa: S608
        if row is not None:
            found = found_rows(connection, number, [row[0]])[0]
            return _story(connection, s, row[0], row[1], found)
    return None


def _story(connection: apsw.Connection, s: str, row: int, started: float, found: Found) -> Story:
    recipients = connection.execute(
        f"SELECT r.rid, a.text, r.state, r.at, r.next FROM {s}recipient r "  # noqa: S608
        f"JOIN {s}address a ON a.id=r.address WHERE r.message=? ORDER BY r.rid",
        (row,),
    )
    steps = connection.execute(
        f"SELECT at, kind, dcid, rids, text FROM {s}step WHERE message=? ORDER BY step LIMIT ?",  # noqa: S608
        (row, _STEPS_SHOWN),
    )
    told = tuple(_step(each) for each in steps)
    notices = connection.execute(
        f"SELECT mid FROM {s}message WHERE bits & 512 AND about=? AND id >= ? LIMIT 20",  # noqa: S608
        (found.mid, row),
    )
    return Story(
        message=found,
        recipients=tuple(_recipient(each) for each in recipients),
        steps=told,
        connections=_connections(connection, s, found.icid, told),
        refused=tuple(refused_of(connection, mid=found.mid)),
        started=started,
        notices=tuple(int(each[0]) for each in notices),
    )


def _recipient(row: Sequence[Any]) -> RecipientStory:
    rid, text, state, at, following = row
    waits = state == 0
    return RecipientStory(
        rid=rid, recipient=text, state=_STATES[state], at=at, next_attempt=following if waits else None
    )  # fmt: skip


def _step(row: Sequence[Any]) -> Step:
    at, kind, dcid, rids, text = row
    more = msgspec.json.decode(text)
    return Step(
        at=at, kind=kind, dcid=dcid or None, rids=tuple(int(rid) for rid in rids.split(",") if rid),
        response=more.get("response", ""), status=more.get("status", ""), reason=more.get("reason", ""),
        code=more.get("code", ""), lines=tuple(more.get("lines", ())), next_attempt=more.get("next_attempt"),
    )  # fmt: skip


def _connections(
    connection: apsw.Connection, s: str, icid: int | None, steps: Sequence[Step]
) -> tuple[Connection, ...]:
    wanted = [("icid", icid)] if icid else []
    wanted += [("dcid", dcid) for dcid in dict.fromkeys(step.dcid for step in steps if step.dcid)]
    kinds = tls_rows(connection, s)
    found = (_connection(connection, s, kinds, *key) for key in wanted)
    return tuple(each for each in found if each is not None)


def _connection(
    connection: apsw.Connection, s: str, kinds: dict[int, TlsRow], kind: str, number: int | None
) -> Connection | None:
    select = f"""
        SELECT c.at, p.host, p.ip, c.port, c.local_ip, c.about, c.tls, f.body, c.times, c.trouble
        FROM {s}connection c JOIN {s}place p ON p.id=c.place LEFT JOIN {s}fact f ON f.id=c.fact
        WHERE c.kind=? AND c.number=?
    """  # noqa: S608
    row = connection.execute(select, (kind, number)).fetchone()
    if row is None:
        return None
    at, host, ip, port, local_ip, about, tls, body, times, trouble = row
    more: dict[str, str] = msgspec.json.decode(about)
    names = ("listener", "domain", "sender_group", "match", "policy", "level", "level_from")
    return Connection(
        kind="icid" if kind == "icid" else "dcid", number=number or 0, at=at, host=host, ip=ip, port=port,
        local_ip=local_ip, tls=kinds.get(tls), times=msgspec.json.decode(times) if times else {},
        trouble=trouble, fact=zlib.decompress(body) if body else b"",
        **{name: more.get(name, "") for name in names},
    )  # fmt: skip


# --- what was refused -------------------------------------------------------------------------------------


def refused_of(connection: apsw.Connection, *, mid: int) -> list[Refused]:
    select = f"SELECT {REFUSED_COLUMNS} FROM refusal WHERE mid IS NOT NULL AND mid=? ORDER BY id LIMIT 1000"  # noqa: S608
    return [refused_row(row) for row in connection.execute(select, (mid,))]


def refused_row(row: Sequence[Any]) -> Refused:
    (number, at, kind, icid, mid, ip, host, listener, sender, recipient, group, policy, level, reason,
     cause) = row  # fmt: skip
    return Refused(
        id=number, at=at, kind=kind, icid=icid, mid=mid, remote_ip=ip, remote_host=host, listener=listener,
        sender=sender, recipient=recipient, sender_group=group, policy=policy, level=level, reason=reason,
        cause=cause,
    )  # fmt: skip
