"""A message on its way through: stuffed, unstuffed, its header read, in any pieces, and sent on as it came.

The header is read a second time by code that has the whole of it and no hurry.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

from mxseal.mail.headers import TEXT_LIMIT, HeaderScanner
from mxseal.smtp.data import Newlines, Stuffer, Unstuffer
from tests.fuzz.target import HOSTILE, SEPARATOR, Target, cuts, fields, joined, one_safe_line

_FIELD = re.compile(rb"(received|subject|message-id|date)[ \t]*:", re.IGNORECASE)


def run(data: bytes) -> None:
    options, content = fields(data, 2) if SEPARATOR in data else [b"", data]
    limit = int.from_bytes(options[:2], "big") if options else 10_000
    seen = _seen([content], limit)
    _second_look(content, limit, seen)
    wire = _passed_through([content])
    for pieces in cuts(content, 5):
        assert _seen(pieces, limit) == seen, "what is seen of a header hangs on how it was cut"
        assert _passed_through(pieces) == wire, "what is sent on hangs on how it was cut"


def _seen(pieces: list[bytes], limit: int) -> tuple[int, str | None, str | None, bool, bool]:
    scanner = HeaderScanner(limit)
    for piece in pieces:
        scanner.feed(piece)
        assert len(scanner._block) <= limit + 8, "more of a header is kept than its limit"
    scanner.end()
    for shown in (scanner.message_id, scanner.subject):
        assert shown is None or (shown.isprintable() and len(shown) <= TEXT_LIMIT and one_safe_line(shown))
    return scanner.received_count, scanner.message_id, scanner.subject, scanner.has_date, scanner.too_large


def _second_look(content: bytes, limit: int, seen: tuple[int, str | None, str | None, bool, bool]) -> None:
    lines: list[bytes] = []
    size = 0
    for line in content.split(b"\r\n"):
        if not line:
            break
        lines.append(line)
        size += len(line) + 2
    # The last line of what is all header has no line end of its own.
    if len(lines) == len(content.split(b"\r\n")):
        size -= 2
    assert seen[4] == (size > limit), "the size of the header"
    if size > limit:
        return
    names = [found[1].lower() for line in lines if (found := _FIELD.match(line))]
    assert seen[0] == names.count(b"received"), "hops are counted wrongly: a loop would not be seen"
    assert (seen[1] is not None) == (b"message-id" in names)
    assert (seen[2] is not None) == (b"subject" in names)
    assert seen[3] == (b"date" in names)


def _passed_through(pieces: list[bytes]) -> bytes:
    """The wire after stuffing, unstuffing, cleaning, and stuffing again."""
    wire = _stuffed(pieces)
    kept, bare = _received(wire, clean=False)
    whole = b"".join(pieces)
    assert kept == whole + (b"" if not whole or whole.endswith(b"\r\n") else b"\r\n"), "the content changed"
    cleaned, _ = _received(wire, clean=True)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", cleaned), "a bare line end was kept"
    assert bare or cleaned == kept, "content was changed that has no bare line end"
    again = _stuffed([cleaned])
    assert (b"\r\n" + again).find(b"\r\n.\r\n") == len(again) - 3
    # What a server that takes LF alone for a line end would see: the same end, and no other.
    assert (b"\n" + again.replace(b"\r\n", b"\n")).find(b"\n.\n") == len(again.replace(b"\r\n", b"\n")) - 2
    return again


def _stuffed(pieces: list[bytes]) -> bytes:
    stuffer = Stuffer()
    return b"".join(map(stuffer.feed, pieces)) + stuffer.end()


def _received(wire: bytes, *, clean: bool) -> tuple[bytes, bool]:
    unstuffer, newlines = Unstuffer(), Newlines(clean=clean)
    middle = len(wire) // 2
    kept = b""
    for piece in (wire[:middle], wire[middle:]):
        content, end = unstuffer.feed(piece)
        kept += newlines.feed(content)
    assert end == len(piece), "the end of data is not where it was put"
    return kept + newlines.end(), newlines.bare


_NAMES = st.sampled_from(
    [
        b"Received",
        b"RECEIVED ",
        b"Subject",
        b"subject\t",
        b"Message-ID",
        b"Message-Id",
        b"Date",
        b"X-Received",
        b"",
        b"\0",
    ]
)
_CHARSETS = st.sampled_from(
    [
        b"utf-8",
        b"utf-7",
        b"iso-2022-jp",
        b"hz",
        b"idna",
        b"utf-16",
        b"cp1252",
        b"x",
        b"utf-8*en",
        b"zip",
        b"mbcs",
    ]
)
_WORDS = st.tuples(
    st.just(b"=?"),
    _CHARSETS,
    st.just(b"?"),
    st.sampled_from([b"q", b"B", b"b", b"x"]),
    st.just(b"?"),
    HOSTILE | st.binary(max_size=20),
    st.just(b"?="),
).map(b"".join)
_VALUES = joined(
    _WORDS | HOSTILE | st.sampled_from([b"\r\n ", b"\r\n\t", b"<1@b.cd>", b"hello", b"=?" * 60]), 5
)
_FIELDS = st.tuples(_NAMES, st.just(b":"), _VALUES, st.sampled_from([b"\r\n"] * 9 + [b"\n", b"\r", b""])).map(
    b"".join
)
_BODY = joined(
    st.sampled_from([b"\r\n", b".", b"\r\n.\r\n", b"\r", b"\n", b"Received: x\r\n", b"text", b"\n.\n"]), 10
)
_LIMITS = st.sampled_from([b"\xff\xff", b"\x04\x00", b"\x00\x40", b"\x00\x00"])

TARGET = Target(
    name="message",
    run=run,
    inputs=st.tuples(
        _LIMITS, st.tuples(joined(_FIELDS, 6), st.sampled_from([b"\r\n", b"\r\n", b""]), _BODY).map(b"".join)
    ).map(SEPARATOR.join),
    words=(
        b"Received:",
        b"Subject: =?utf-8?q?",
        b"?=",
        b"\r\n ",
        b"\r\n\r\n",
        b"\r\n.\r\n",
        b"Message-ID: <",
        b"=?utf-7?b?",
    ),
)
