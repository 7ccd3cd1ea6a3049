"""Searching what was refused: the newest first, page by page."""

from __future__ import annotations

import zlib
from typing import Any

import apsw
import msgspec

from mxseal.storage.tracking import addresses
from mxseal.storage.tracking.reading import REFUSED_COLUMNS, refused_row
from mxseal.storage.tracking.values import Query, RefusalKind, Refused


class RefusedPage(msgspec.Struct, frozen=True, kw_only=True):
    """Some of what was found, newest first."""

    refused: tuple[Refused, ...]
    following: str | None
    """What to ask for to have the next page; null: there is none."""


def search_refused(
    connection: apsw.Connection, query: Query, kinds: tuple[RefusalKind, ...], limit: int, after: str | None
) -> RefusedPage:
    """One page. The table is bounded, so that looking through all of it is too. ValueError: `after` is none
    of ours."""
    tests: list[str] = ["1"]
    words: list[Any] = []

    def test(text: str, *values: Any) -> None:
        tests.append(text)
        words.extend(values)

    if after is not None:
        test("id < ?", int(after))
    if kinds:
        test(f"kind IN ({', '.join('?' * len(kinds))})", *kinds)
    for column in ("icid", "mid"):
        if (wanted := getattr(query, column)) is not None:
            test(f"{column}=?", wanted)
    for column in ("sender", "recipient"):
        if wanted := getattr(query, column):
            test(*_address(column, wanted))
    if query.host:
        pattern = addresses.host(query.host)
        test(pattern.where, *pattern.words)
    if query.since is not None:
        test("at >= ?", query.since)
    if query.until is not None:
        test("at < ?", query.until)
    if query.tls.cause:
        test("cause=?", query.tls.cause)
    if query.tls.level:
        test("level=?", query.tls.level)
    select = f"SELECT {REFUSED_COLUMNS} FROM refusal WHERE {' AND '.join(tests)} ORDER BY id DESC LIMIT ?"  # noqa: S608
    rows = [refused_row(row) for row in connection.execute(select, (*words, limit))]
    following = str(rows[-1].id) if len(rows) == limit else None
    return RefusedPage(refused=tuple(rows), following=following)


def _address(column: str, text: str) -> tuple[Any, ...]:
    pattern = addresses.address(text)
    if pattern.domain:  # here there is no table of domains
        domain = text.strip().strip("<>").lstrip("@")
        pattern = addresses.address(f"*{domain}" if domain.startswith(".") else f"*@{domain}")
    return pattern.where.replace("text", column), *pattern.words


def fact_of(connection: apsw.Connection, number: int) -> bytes:
    """The explanation of a refused handshake, as JSON; nothing: there is none."""
    body = connection.execute("SELECT body FROM refusal WHERE id=?", (number,)).get
    return zlib.decompress(body) if body else b""
