"""The reader of a server's answer to our own ClientHello, as `testreceiver --versions` meets it."""

from __future__ import annotations

import msgspec
from hypothesis import strategies as st

from mxseal.tls.serverhello import ServerAnswer, parse
from tests.fuzz.target import HOSTILE, Target, joined, one_safe_line

_LONGEST = 80
_RETRY = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")


def run(data: bytes) -> None:
    whole = parse(data, ended=True)
    assert whole is not None, "nothing more comes, and there is no answer"
    _sane(whole)
    before = parse(data)
    if before is not None:
        _sane(before)
        assert before == whole, "that nothing more comes changes an answer that was there"
    for at in range(min(len(data), 60)):
        early = parse(data[:at])
        if early is not None:
            _sane(early)


def _sane(answer: ServerAnswer) -> None:
    for text in (answer.text, answer.version, answer.group or ""):
        assert one_safe_line(text)
        assert len(text) <= _LONGEST
    assert 0 <= answer.cipher < 1 << 16
    assert answer.dh_bits is None or 0 <= answer.dh_bits <= 1 << 19
    assert not (answer.chose and answer.refused)
    assert len(msgspec.json.encode(answer)) < 1000


def _sized(content: st.SearchStrategy[bytes], size: int) -> st.SearchStrategy[bytes]:
    """With its length before it, which lies now and then."""

    def lie(data: bytes, wrong: int) -> bytes:
        return ((len(data) + wrong) % (1 << 8 * size)).to_bytes(size, "big") + data

    return st.builds(lie, content, st.sampled_from([0] * 12 + [1, -1, (1 << 8 * size) - 1]))


_EXTENSIONS = joined(
    st.one_of(
        st.tuples(st.just(b"\0\x2b"), _sized(st.sampled_from([b"\3\4", b"\3\3", b"\x7f\x1c", b""]), 2)),
        st.tuples(st.just(b"\0\x33"), _sized(st.sampled_from([b"\0\x1d", b"\x11\xec", b"\xfa\xfa"]), 2)),
        st.tuples(st.just(b"\xff\1"), _sized(st.just(b"\0"), 2)),
        st.tuples(st.binary(min_size=2, max_size=2), _sized(st.binary(max_size=20), 2)),
    ).map(b"".join),
    5,
)
_HELLOS = st.tuples(
    st.sampled_from([b"\3\3", b"\3\1", b"\3\0", b"\xff\xff"]),
    st.sampled_from([b"r" * 32, _RETRY]),
    _sized(st.binary(max_size=32), 1),
    st.sampled_from([b"\x13\1", b"\xc0\x2f", b"\0\x9e", b"\0\x2f", b"\0\x18", b"\xff\xff"]),
    st.just(b"\0"),
    st.just(b"") | _sized(_EXTENSIONS, 2),
).map(b"".join)
_EXCHANGES = st.one_of(
    st.tuples(st.sampled_from([b"\3", b"\1", b""]), st.sampled_from([b"\0\x17", b"\xfe\xfe", b"\0"])).map(
        b"".join
    ),
    joined(_sized(st.binary(max_size=200), 2), 3),
)


def _message(kind: bytes, body: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(st.just(kind), _sized(body, 3)).map(b"".join)


_FLIGHTS = st.tuples(
    _message(b"\2", _HELLOS),
    joined(
        st.one_of(
            _message(b"\x0b", st.binary(max_size=60)),
            _message(b"\x0c", _EXCHANGES),
            _message(b"\x0e", st.just(b"")),
        ),
        3,
    ),
).map(b"".join)
_RECORDS = joined(
    st.one_of(
        st.tuples(st.just(b"\x16\3\3"), _sized(_FLIGHTS, 2)),
        st.tuples(st.just(b"\x15\3\3"), _sized(st.binary(max_size=3), 2)),
        st.tuples(st.sampled_from([b"\x17\3\3", b"\x14\3\1"]), _sized(st.binary(max_size=20), 2)),
    ).map(b"".join),
    4,
)

TARGET = Target(
    name="server-hello",
    run=run,
    inputs=_RECORDS | _RECORDS | HOSTILE,
    words=(b"\x16\3\3", b"\x15\3\3\0\2", b"\2\x28", b"\2\0\0", b"\x0c\0\0", b"\x0e\0\0\0", _RETRY, b"\0\x2b"),
)
