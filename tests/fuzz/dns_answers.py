"""A name server that answers anything: from the octets of its packets to the way of a message.

Only the sockets are not real. The resolver, dnspython and what bounds its work read each answer as they would
in the gateway, over UDP and, where an answer is cut off, over TCP.
"""

from __future__ import annotations

import asyncio
import ipaddress
import itertools
import struct
from collections.abc import Iterator
from typing import Any, Self

import dns.exception
from hypothesis import strategies as st

from mxseal.clock import ManualClock
from mxseal.config.model import Dns
from mxseal.relay.answers import too_much, truncated
from mxseal.relay.resolver import DnsFault, DnsResolver, Host
from mxseal.smtp.grammar import domain_flaw
from tests.fuzz.target import SEPARATOR, Target, fields, joined, one_safe_line, text

_MOST_HOSTS = 20
_MOST_ADDRESSES = 10
_LONGEST_NAME = 1100
"""Characters: each of 255 octets may be shown as \\255."""
_LONGEST_TEXT = 2600
_STATUS = {"5.1.2", "5.1.10", "5.4.4", "5.4.6", "4.4.3"}


def run(data: bytes) -> None:
    way(data)


def way(data: bytes) -> tuple[Host, ...] | DnsFault:
    """What the resolver makes of the answers in an input, after all that it promises was asked for."""
    domain, address, *answers = fields(data, 8)
    name = text(domain)
    if domain_flaw(name) is not None or not name.isprintable():
        name = "example.com"
    for answer in answers:
        if too_much(answer):
            assert len(truncated(answer)) <= len(answer)
    with asyncio.Runner() as runner:
        return runner.run(_resolved(name, text(address), [answer for answer in answers if answer] or [b""]))


async def _resolved(name: str, address: str, answers: list[bytes]) -> tuple[Host, ...] | DnsFault:
    resolver = DnsResolver(Dns(servers=("192.0.2.53",)), ManualClock())
    resolver._backend._inner = _Backend(itertools.cycle(answers))
    found = await resolver.hosts(name)
    _promised(found, name)
    _promised(await resolver.hosts(name), name)  # once more, out of the cache
    for client in ("192.0.2.7", "2001:db8::7", address):
        said = await resolver.client_name(client)
        assert said.name is None or _is_name(said.name)
        assert not said.verified or said.name is not None
    return found


def _promised(found: tuple[Host, ...] | DnsFault, domain: str) -> None:
    if isinstance(found, DnsFault):
        assert found.status in _STATUS
        assert found.hard == found.status.startswith("5")
        assert one_safe_line(found.text), found.text
        assert len(found.text) < _LONGEST_TEXT
        return
    assert 0 < len(found) <= _MOST_HOSTS
    for host in found:
        assert _is_name(host.name) or host.name == domain
        assert 0 < len(host.addresses) <= _MOST_ADDRESSES
        for address in host.addresses:
            parsed = ipaddress.ip_address(address)
            assert not parsed.is_loopback, "a stranger's mail is led to this machine"
            assert not parsed.is_unspecified


def _is_name(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable() and " " not in name


# --- sockets that are not there ---------------------------------------------------------------------------


class _Backend:
    """dnspython's backend, as much of it as a question over UDP and TCP needs."""

    def __init__(self, answers: Iterator[bytes]) -> None:
        self._answers = answers

    def name(self) -> str:
        return "asyncio"

    async def sleep(self, _seconds: float) -> None:
        """The resolver would ask once more, as long as its time lasts: here it is over."""
        raise dns.exception.Timeout

    def datagram_connection_required(self) -> bool:
        return False

    async def make_socket(self, family: int, kind: int, *_further: Any, **_named: Any) -> _Socket:
        return _Socket(family, kind, next(self._answers))


class _Socket:
    """Takes one question, gives one answer, and is gone."""

    def __init__(self, family: int, kind: int, answer: bytes) -> None:
        self.family = family
        self.type = kind
        self._answer: bytes | None = answer
        self._question = b""
        self._stream = b""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_fault: object) -> None:
        return

    async def close(self) -> None:
        return

    async def sendto(self, what: bytes, _where: Any, _limit: float | None) -> int:
        self._question = what
        return len(what)

    async def sendall(self, what: bytes, _limit: float | None) -> None:
        self._question = what[2:]
        wire = self._wire()[:65535]
        self._stream = struct.pack("!H", len(wire)) + wire

    async def recvfrom(self, _size: int, _limit: float | None) -> tuple[bytes, Any]:
        if self._answer is None:
            raise OSError("no further answer comes")
        wire, self._answer = self._wire(), None
        return wire, ("192.0.2.53", 53)

    async def recv(self, size: int, _limit: float | None) -> bytes:
        piece, self._stream = self._stream[:size], self._stream[size:]
        return piece

    def _wire(self) -> bytes:
        """The input as an answer to the question. `!`: as it is but for the question's number; else the first
        two octets are the response code and the number of records, and head and question come from here."""
        answer = self._answer or b""
        if answer.startswith(b"!"):
            return self._question[:2] + answer[3:]
        code, count = (answer + b"\0\0")[:2]
        end = self._question.index(b"\0", 12) + 5
        head = self._question[:2] + struct.pack(
            "!HHHHH", 0x8180 | code & 15 | (code & 16) << 5, 1, count, 0, 0
        )
        return head + self._question[12:end] + answer[2:]


# --- answers with faults in them --------------------------------------------------------------------------

_LABELS = st.one_of(
    st.sampled_from(
        [
            b"mx",
            b"example",
            b"com",
            b"a" * 63,
            b"\0",
            b" ",
            b".",
            b"\\",
            b"\n",
            b"\xff",
            b"*",
            b"xn--a",
            b"\xc3\xa9",
            b"@",
            b"1",
        ]
    ),
    st.binary(min_size=1, max_size=4),
).map(lambda label: bytes([len(label)]) + label)
_NAMES = st.tuples(
    joined(_LABELS, 5),
    st.sampled_from([b"\0", b"\0", b"\xc0\x0c", b"\xc0\x0c", b"\xc0\x00", b"\xc0\x20", b"\xff\xff"]),
).map(b"".join)
_NUMBERS = st.integers(0, 65535).map(lambda number: number.to_bytes(2, "big"))
_KINDS = {
    "A": (
        b"\0\x01",
        st.binary(min_size=4, max_size=4) | st.sampled_from([b"\x7f\0\0\1", b"\xc0\0\2\1", b"\0\0\0\0"]),
    ),
    "AAAA": (b"\0\x1c", st.binary(min_size=16, max_size=16) | st.just(b"\0" * 15 + b"\1")),
    "MX": (b"\0\x0f", st.tuples(_NUMBERS, _NAMES).map(b"".join) | st.just(b"\0\0\0")),
    "CNAME": (b"\0\x05", _NAMES),
    "PTR": (b"\0\x0c", _NAMES),
    "TXT": (b"\0\x10", st.binary(max_size=20)),
    "OPT": (b"\0\x29", st.binary(max_size=8)),
    "RRSIG": (b"\0\x2e", st.binary(max_size=40)),
}


def _record(owner: bytes, kind: bytes, ttl: bytes, content: bytes, wrong: int) -> bytes:
    return owner + kind + b"\0\1" + ttl + ((len(content) + wrong) % 65536).to_bytes(2, "big") + content


def _records() -> st.SearchStrategy[bytes]:
    owners = st.sampled_from([b"\xc0\x0c"] * 5) | _NAMES
    ttls = st.sampled_from([b"\0\0\0\x3c", b"\0\0\0\0", b"\xff\xff\xff\xff"])
    wrong = st.sampled_from([0] * 15 + [1, -1, 60000])
    return st.one_of(
        [st.builds(_record, owners, st.just(kind), ttls, content, wrong) for kind, content in _KINDS.values()]
    )


_ANSWERS = st.builds(
    lambda code, records, more: bytes([code, (len(records) + more) % 256]) + b"".join(records),
    st.sampled_from([0] * 8 + [2, 3, 5, 6, 16]),
    st.lists(_records(), max_size=8),
    st.sampled_from([0] * 8 + [1, 255]),
)
_RAW = st.builds(
    lambda flags, rest: b"!\0\0" + flags + rest,
    st.sampled_from([b"\x81\x80", b"\x83\x80", b"\x81\x83", b"\0\0", b"\xa8\0"]),
    st.binary(max_size=60),
)
_DOMAINS = st.sampled_from(
    [
        b"example.com",
        b"\xc3\xa9.example",
        b"a" * 64 + b".com",
        b"_x.example",
        b"xn--a.com",
        b"[192.0.2.1]",
        b"[IPv6:::1]",
        b"1",
    ]
)
_CLIENTS = st.sampled_from([b"fe80::1%eth0", b"127.0.0.1", b"::ffff:192.0.2.1", b"unix", b""])

TARGET = Target(
    name="dns-answers",
    run=run,
    inputs=st.tuples(
        _DOMAINS,
        _CLIENTS,
        st.lists(_ANSWERS | _ANSWERS | _ANSWERS | _RAW, min_size=1, max_size=6).map(SEPARATOR.join),
    ).map(SEPARATOR.join),
    words=(
        b"\xc0\x0c",
        b"\0\x0f\0\1",
        b"\0\x01\0\1",
        b"\0\x0c\0\1",
        b"\0\x05\0\1",
        b"\0\0\0\x3c\0\4",
        b"!\0\0\x81\x80",
        b"\x02mx\0",
    ),
)
