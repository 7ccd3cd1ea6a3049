"""Message tracking as files: CSV for spreadsheets, JSON for programs. PURE."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from mxseal.storage.tracking.values import Found, Refused, TlsRow

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_TIMES = ("at", "last", "finished")


class Rows(msgspec.Struct, frozen=True):
    """What goes into a file."""

    values: tuple[Any, ...]
    """For JSON."""
    columns: tuple[str, ...]
    cells: tuple[tuple[Any, ...], ...]
    """For CSV."""

    def as_json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self.values), indent=2) + b"\n"

    def as_csv(self) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.writer(out)
        writer.writerow(self.columns)
        writer.writerows([[_cell(value) for value in row] for row in self.cells])
        return out.getvalue().encode()


def messages(found: Sequence[Found]) -> Rows:
    columns = (
        "mid", "icid", "queued", "last_event", "finished", "state", "events", "sender", "recipients",
        "recipient_count", "delivered", "bounced", "deleted", "refused", "subject", "message_id", "size",
        "direction", "remote_host", "remote_ip", "tls_in", "tls_out",
    )  # fmt: skip
    cells = tuple(
        (
            each.mid, each.icid, _moment(each.at), _moment(each.last), _moment(each.finished), each.state,
            " ".join(each.events), each.sender, " ".join(each.recipients), each.recipient_count,
            each.delivered, each.bounced, each.deleted, each.refused, each.subject, each.message_id,
            each.size, each.direction, each.remote_host, each.remote_ip, _tls(each.tls_in),
            "; ".join(map(_tls, each.tls_out)),
        )
        for each in found
    )  # fmt: skip
    return Rows(tuple(map(_plain, found)), columns, cells)


def refused(found: Sequence[Refused]) -> Rows:
    columns = Refused.__struct_fields__
    cells = tuple(
        tuple(_moment(value) if name == "at" else value for name, value in zip(columns, row, strict=True))
        for row in map(msgspec.structs.astuple, found)
    )
    return Rows(tuple(map(_plain, found)), columns, cells)


def _plain(found: Found | Refused) -> dict[str, Any]:
    """With times as people and programs read them."""
    value: dict[str, Any] = msgspec.to_builtins(found)
    return {name: _moment(each) if name in _TIMES else each for name, each in value.items()}


def _moment(at: float | None) -> str | None:
    """RFC 3339."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _tls(tls: TlsRow | None) -> str:
    if tls is None:
        return ""
    return " ".join(filter(None, (tls.state, tls.protocol, tls.cipher, tls.group, tls.level, tls.cause)))


def _cell(value: Any) -> Any:
    """A spreadsheet takes what begins in certain ways for a formula, and subjects come from strangers."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value
