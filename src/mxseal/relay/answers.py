"""Which of a name server's answers are parsed at all: those whose work is bounded.

The answer is a stranger's: whoever connects chooses what their PTR record says, whoever is written to what
their MX records are. 60 KiB of records, each a pointer to one name of 124 labels, take dnspython 11 seconds,
in which nothing else would be done; so names are counted first, without making any.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import dns.asyncbackend
import dns.exception
import dns.rdatatype

LABELS = 1000
"""Of all names in an answer together, and one for each record: some 25 ms of parsing. A hundred exchangers
stay below it, and no mail needs more."""
_LONGEST_NAME = 128
_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_POINTER = 0xC0
_TRUNCATED = 0x0200
# Where in a record's data its name begins; -1: it has none. Other types count as two names of the longest.
_NAME_AT: dict[int, int] = {
    dns.rdatatype.A: -1,
    dns.rdatatype.AAAA: -1,
    dns.rdatatype.TXT: -1,
    dns.rdatatype.TLSA: -1,
    dns.rdatatype.OPT: -1,
    dns.rdatatype.DS: -1,
    dns.rdatatype.DNSKEY: -1,
    dns.rdatatype.NSEC3: -1,
    dns.rdatatype.NS: 0,
    dns.rdatatype.CNAME: 0,
    dns.rdatatype.PTR: 0,
    dns.rdatatype.DNAME: 0,
    dns.rdatatype.NSEC: 0,
    dns.rdatatype.MX: 2,
    dns.rdatatype.RRSIG: 18,
}


class TooMuch(dns.exception.FormError):
    """An answer that is not parsed. A FormError, so that the resolver asks the next name server."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the answer has {size} octets and more names than mail needs")  # type: ignore[no-untyped-call]


def too_much(wire: bytes) -> bool:
    """Whether parsing the message would be more work than `LABELS`. What is broken is left to the parser,
    which ends there."""
    try:
        _, _, *counts = _HEADER.unpack_from(wire)
        left = LABELS
        at = _HEADER.size
        for _ in range(counts[0]):
            labels, at = _name(wire, at, left)
            left -= labels + 1
            at += 4
            if left <= 0:
                return True
        for _ in range(sum(counts[1:])):
            labels, at = _name(wire, at, left)
            kind, _, _, size = _RECORD.unpack_from(wire, at)
            at += _RECORD.size
            left -= labels + 1 + _inside(wire, kind, at, left)
            at += size
            if left <= 0:
                return True
    except (struct.error, IndexError):
        pass
    return False


def _inside(wire: bytes, kind: int, at: int, most: int) -> int:
    """Labels of the names in a record's data."""
    offset = _NAME_AT.get(kind)
    if offset is None:
        return 2 * _LONGEST_NAME
    return _name(wire, at + offset, most)[0] if offset >= 0 else 0


def _name(wire: bytes, at: int, most: int) -> tuple[int, int]:
    """(labels of the name at `at`, where it ends); counting ends behind `most` (RFC 1035 §4.1.4)."""
    labels, end = 0, 0
    while labels <= most:
        length = wire[at]
        if length >= _POINTER:
            end = end or at + 2
            at = (length & ~_POINTER) << 8 | wire[at + 1]
        elif length:
            at += 1 + length
        else:
            break
        labels += 1
    return labels, end or at + 1


def truncated(wire: bytes) -> bytes:
    """The header and the question of a message, marked as truncated."""
    number, flags, questions, *_ = _HEADER.unpack_from(wire)
    at = _HEADER.size
    if questions:
        at = _name(wire, at, _LONGEST_NAME)[1] + 4
    return _HEADER.pack(number, flags | _TRUNCATED, min(questions, 1), 0, 0, 0) + wire[_HEADER.size : at]


class Bounded:
    """dnspython's backend for asyncio, from whose sockets no message comes that is too much."""

    def __init__(self) -> None:
        self._inner: Any = dns.asyncbackend.get_backend("asyncio")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def make_socket(self, family: int, kind: int, *further: Any, **named: Any) -> Any:
        made = await self._inner.make_socket(family, kind, *further, **named)
        if kind == socket.SOCK_STREAM:
            made.recv = _Whole(made.recv).recv
        else:
            made.recvfrom = partial(_datagram, made.recvfrom)
        return made


async def _datagram(recvfrom: Callable[..., Any], size: int, limit: float | None) -> tuple[bytes, Any]:
    """A datagram that is too much becomes a truncated answer: it is asked for again over TCP.

    Refusing it would end the question, and whoever can send packets could do that without knowing its id.
    """
    wire, peer = await recvfrom(size, limit)
    return (truncated(wire) if too_much(wire) else wire), peer


class _Whole:
    """Over TCP a message is read whole before any of it is given out; 64 KiB is the most that it can be."""

    def __init__(self, recv: Callable[..., Any]) -> None:
        self._recv = recv
        self._read = b""

    async def recv(self, size: int, limit: float | None) -> bytes:
        if not self._read:
            async with asyncio.timeout(limit):
                head = await self._exactly(2)
                wire = await self._exactly(int.from_bytes(head))
            if too_much(wire):
                raise TooMuch(len(wire))
            self._read = head + wire
        piece, self._read = self._read[:size], self._read[size:]
        return piece

    async def _exactly(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = await self._recv(size - len(found), None)
            if not piece:
                raise EOFError("the answer ends early")
            found += piece
        return bytes(found)
