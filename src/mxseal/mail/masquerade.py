"""Addresses in header fields: where they stand, and another in their place. PURE.

Only an address itself is touched (RFC 5322 §3.4.1): names, comments, folding and all other fields stay byte
for byte. What is not written in the plain form, such as an address that is folded in its middle, stays too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping

import msgspec

LONGEST_LINE = 998
"""RFC 5322 §2.1.1, without CRLF."""
_FIELD = re.compile(rb"(?:\A|(?<=\r\n))([!-9;-~]+)[ \t]*:((?:[^\r\n]|\r\n[ \t]|\r(?!\n)|(?<!\r)\n)*)")
_ADDRESS = re.compile(
    rb'(?:"(?:[^"\\\r\n]|\\[^\r\n])*"|[^\s"(),:;<>@\[\]\\]+)@(?:\[[^\]\s]*\]|[^\s"(),:;<>@\[\]\\]+)'
)
_ENDS = {ord('"'): '"', ord("["): "]"}
_BLANK = b" \t\r\n"


class Spot(msgspec.Struct, frozen=True):
    """An address in a header."""

    field: str
    """The field's name as it is written."""
    start: int
    end: int
    address: str


def spots(header: bytes, fields: Collection[str]) -> list[Spot]:
    """The addresses in these fields (names in lower case), in their order. `header`: with CRLF line ends."""
    found: list[Spot] = []
    for match in _FIELD.finditer(header):
        name = match[1].decode("ascii")
        if name.lower() in fields:
            for start, end in _mailboxes(header, match.start(2), match.end(2)):
                try:
                    found.append(Spot(name, start, end, header[start:end].decode()))
                except UnicodeDecodeError:
                    continue  # bytes that are no UTF-8: no directory can be asked about them
    return found


def rewritten(header: bytes, found: Collection[Spot], became: Mapping[str, str]) -> tuple[bytes, list[Spot]]:
    """The header with new addresses, and the spots that were changed. A line that would be longer than
    allowed stays as it was."""
    changed: list[Spot] = []
    for spot in sorted(found, key=lambda each: each.start, reverse=True):
        new = became.get(spot.address, spot.address).encode()
        line = header.rfind(b"\r\n", 0, spot.start) + 2 if b"\r\n" in header[: spot.start] else 0
        end = header.find(b"\r\n", spot.end)
        rest = (end if end >= 0 else len(header)) - spot.end
        if new != header[spot.start : spot.end] and spot.start - line + len(new) + rest <= LONGEST_LINE:
            header = header[: spot.start] + new + header[spot.end :]
            changed.append(spot)
    return header, changed[::-1]


def _mailboxes(raw: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Spans of the addresses in a list of mailboxes and groups."""
    first, last = -1, -1
    angle: tuple[int, int] | None = None
    while at <= end:
        byte = raw[at] if at < end else ord(",")
        following = at + 1
        if byte in b",;":
            span = angle if angle is not None else (first, last)
            if span[0] >= 0 and _ADDRESS.fullmatch(raw, *span):
                yield span
            first, angle = -1, None
        elif byte == ord(":") and angle is None:
            first = -1  # what came before is the name of a group
        elif byte == ord("("):
            following = _behind_comment(raw, at, end)
        elif byte == ord("<"):
            following = _behind(raw, at, end, ">")
            angle = _stripped(raw, at + 1, following - 1)
        elif byte not in _BLANK:
            if byte in _ENDS:
                following = _behind(raw, at, end, _ENDS[byte])
            first = at if first < 0 else first
            last = min(following, end)
        at = following


def _stripped(raw: bytes, start: int, end: int) -> tuple[int, int]:
    while start < end and raw[start] in _BLANK:
        start += 1
    while end > start and raw[end - 1] in _BLANK:
        end -= 1
    return start, end


def _scan(raw: bytes, at: int, end: int, over: Callable[[int], bool]) -> int:
    """The place behind the byte for which `over` holds; quoted pairs are passed over."""
    while at < end:
        if raw[at] == ord("\\"):
            at += 1
        elif over(raw[at]):
            return at + 1
        at += 1
    return end


def _behind(raw: bytes, at: int, end: int, closing: str) -> int:
    """The place behind a quoted string, a domain literal or an angle address that begins at `at`."""
    quoted = False

    def over(byte: int) -> bool:
        nonlocal quoted
        if closing == ">" and byte == ord('"'):
            quoted = not quoted
        return byte == ord(closing) and not quoted

    return _scan(raw, at + 1, end, over)


def _behind_comment(raw: bytes, at: int, end: int) -> int:
    """The same for a comment, which may have comments in it."""
    depth = 0

    def over(byte: int) -> bool:
        nonlocal depth
        depth += (byte == ord("(")) - (byte == ord(")"))
        return depth <= 0

    return _scan(raw, at, end, over)
