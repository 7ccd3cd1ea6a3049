"""What the commands on message tracking share: asking the database, and telling what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from mxseal.commands.context import CommandFailed
from mxseal.commands.results import Record, Table
from mxseal.storage.tracking.file import TrackingMissing
from mxseal.storage.tracking.values import Found, TlsRow

T = TypeVar("T")


class FullTable(Table, frozen=True):
    """A table whose JSON is a value of its own."""

    value: Any = None

    def to_json(self) -> Any:
        return self.value


class FullRecord(Record, frozen=True):
    """A record whose JSON is a value of its own."""

    value: Any = None

    def to_json(self) -> Any:
        return self.value


async def asked(call: Callable[[], T]) -> T:
    """What a call of the tracking file gives, which blocks. Raises CommandFailed."""
    try:
        return await asyncio.to_thread(call)
    except TrackingMissing as missing:
        raise CommandFailed(str(missing)) from None


def plain(value: Any) -> Any:
    """A struct for programs."""
    return msgspec.to_builtins(value)


def tls_words(tls: TlsRow | None) -> str:
    """'TLSv1.3 verified', 'clear', 'failed'; '-' where nothing is known."""
    if tls is None or not tls.state:
        return "-"
    return f"{tls.protocol} {tls.state}" if tls.protocol and tls.state != "failed" else tls.state


def tls_out_words(found: Found) -> str:
    return ", ".join(dict.fromkeys(tls_words(tls) for tls in found.tls_out)) or "-"


def peer(host: str, ip: str) -> str:
    """'mail.example.com [192.0.2.1]'."""
    if not host or host == ip:
        return ip or "?"
    return f"{host} [{ip}]" if ip else host
