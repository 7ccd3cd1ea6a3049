"""The reader of a client's first TLS message, and the diagnosis that is made of what it found."""

from __future__ import annotations

import random
import zlib

import msgspec
from hypothesis import strategies as st

from mxseal.tls.clienthello import looks_like_tls, parse
from mxseal.tls.diagnosis import OurSettings, diagnose_inbound
from mxseal.tls.facts import ClientOffer, TlsFault
from tests.fuzz.target import Target, joined, one_safe_line

_MOST_NAMES = 101
_LONGEST_NAME = 255


def run(data: bytes) -> None:
    offer = parse(data)
    if offer is None:
        return
    assert looks_like_tls(data), "read as TLS and not taken for it"
    for names in (offer.versions, offer.ciphers, offer.groups, offer.signature_algorithms):
        assert len(names) <= _MOST_NAMES
        assert all(name and one_safe_line(name) and len(name) < 80 for name in names)
    if offer.server_name is not None:
        assert len(offer.server_name) <= _LONGEST_NAME
        assert offer.server_name.isascii()
        assert one_safe_line(offer.server_name)
    assert parse(data + data) == offer, "what follows the message changes what was read"
    if data[0] == 22:
        _same_in_other_records(data, offer)
    for reason in (
        "no shared cipher",
        "unsupported protocol",
        "no suitable key share",
        "no suitable signature algorithm",
    ):
        _told(offer, reason)


def _same_in_other_records(data: bytes, offer: ClientOffer) -> None:
    """RFC 8446 §5.1: a message may be spread over records in any way."""
    message, at = b"", 0
    while at + 5 <= len(data) and data[at] == 22 and data[at + 1] == 3:
        size = int.from_bytes(data[at + 3 : at + 5], "big")
        message += data[at + 5 : at + 5 + size]
        at += 5 + size
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            break
    chance = random.Random(zlib.crc32(data))
    records, at = b"", 0
    while at < len(message):
        size = chance.choice((1, 3, 50, 2000))
        part = message[at : at + size]
        records += b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part
        at += size
    assert parse(records) == offer, "what is read hangs on the records"


def _told(offer: ClientOffer, reason: str) -> None:
    fault = TlsFault(kind="local-error", library="SSL routines", reason=reason, offer=offer, heard=1)
    sentence = diagnose_inbound(fault, OurSettings(key_types=("ECDSA",), certificate="Mail")).sentence()
    assert one_safe_line(sentence)
    # Lists are cut where they are read; a diagnosis that tells all of them still fits into a log.
    assert len(msgspec.json.encode(offer)) < 40_000


def _vector(data: bytes, size: int) -> bytes:
    return (len(data) % (1 << 8 * size)).to_bytes(size, "big") + data


def _wrong(size: int) -> st.SearchStrategy[int]:
    """Mostly nothing: by how much a length lies."""
    return st.sampled_from([0] * 12 + [1, -1, (1 << 8 * size) - 1])


def _vectors(content: st.SearchStrategy[bytes], size: int) -> st.SearchStrategy[bytes]:
    def lie(data: bytes, wrong: int) -> bytes:
        return ((len(data) + wrong) % (1 << 8 * size)).to_bytes(size, "big") + data

    return st.builds(lie, content, _wrong(size))


_NUMBERS = joined(
    st.sampled_from(
        [
            b"\x13\x01",
            b"\xc0\x2f",
            b"\x00\xff",
            b"\x0a\x0a",
            b"\x04\x03",
            b"\x00\x1d",
            b"\x11\xec",
            b"\x03\x04",
        ]
    )
    | st.binary(min_size=2, max_size=2)
    | st.binary(max_size=1)
)
_NAMES = joined(
    st.tuples(
        st.sampled_from([b"\0"] * 5 + [b"\1"]),
        _vectors(st.binary(max_size=300) | st.just(b"mx.example.com"), 2),
    ).map(b"".join),
    3,
)
_EXTENSIONS = joined(
    st.one_of(
        st.tuples(st.just(b"\0\0"), _vectors(_vectors(_NAMES, 2), 2)),
        st.tuples(st.sampled_from([b"\0\x0a", b"\0\x0d"]), _vectors(_vectors(_NUMBERS, 2), 2)),
        st.tuples(st.just(b"\0\x2b"), _vectors(_vectors(_NUMBERS, 1), 2)),
        st.tuples(st.binary(min_size=2, max_size=2), _vectors(st.binary(max_size=40), 2)),
    ).map(b"".join),
    6,
)
_BODIES = st.tuples(
    st.sampled_from([b"\3\3", b"\3\0", b"\3\1", b"\2\0", b"\xff\xff"]),
    st.just(b"r" * 32),
    _vectors(st.binary(max_size=32), 1),
    _vectors(_NUMBERS, 2),
    _vectors(st.just(b"\0"), 1),
    st.just(b"") | _vectors(_EXTENSIONS, 2),
).map(b"".join)
_OLD = st.builds(
    lambda suites, size: (
        b"\x80" + bytes([9 + len(suites)]) + b"\1\3\1" + size.to_bytes(2, "big") + b"\0\0\0\x10" + suites
    ),
    st.binary(max_size=60),
    st.sampled_from([0, 3, 6, 60, 65535]),
)
_HELLOS = st.builds(
    lambda body, tail: b"\x16\3\1" + _vector(b"\1" + _vector(body, 3), 2) + tail,
    _BODIES,
    st.binary(max_size=6),
)

TARGET = Target(
    name="client-hello",
    run=run,
    inputs=_HELLOS | _HELLOS | _HELLOS | _OLD,
    words=(b"\x16\3\1", b"\0\0", b"\0\x2b", b"\0\x0a", b"\0\x0d", b"\xff\xff", b"\x80\x2e\1\3\1"),
)
