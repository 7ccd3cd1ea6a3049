"""What a directory server sends: the conversation must never break, never keep more than its bounds, and
never take for an answer what is none."""

from __future__ import annotations

from hypothesis import strategies as st

from mxseal.ldap.conversation import ENTRIES, LONGEST_MESSAGE, Conversation
from mxseal.ldap.values import Search
from tests.fuzz.target import HOSTILE, Target, cuts, joined, one_safe_line

_BIND, _SEARCHES = 1, (2, 3, 4)


def run(data: bytes) -> None:
    whole = _heard([data])
    for pieces in cuts(data):
        assert _heard(pieces) == whole, "what is heard hangs on how it is cut"


def _heard(pieces: list[bytes]) -> list[tuple[int, int, int]]:
    """(number, code, entries) of each answer."""
    conversation = Conversation()
    conversation.bind_simple("cn=a", "b")
    conversation.receive(bytes.fromhex("300c02010161070a010004000400"))
    assert conversation.fault is None
    for number in _SEARCHES:
        assert conversation.search(Search("dc=lab", "(cn=a)", ("mail",)), 5) == number
    found: list[tuple[int, int, int]] = []
    for piece in pieces:
        for answer in conversation.receive(piece):
            assert answer.number in _SEARCHES or answer.number == _BIND, "an answer to nothing"
            assert len(answer.entries) <= ENTRIES
            assert one_safe_line(answer.text)
            assert one_safe_line(answer.name)
            found.append((answer.number, answer.code, len(answer.entries)))
        assert conversation.buffered <= LONGEST_MESSAGE + 16 + len(piece), "more is kept than a message"
    if conversation.fault is not None:
        assert one_safe_line(conversation.fault)
        assert conversation.receive(b"\x30\x00") == []
    assert len({number for number, *_ in found}) == len(found), "a search is answered twice"
    return found


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes((size,)) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes((tag,)) + length + content[: 1 << 15]


def _message(number: int, operation: int, content: bytes) -> bytes:
    return _element(0x30, _element(0x02, bytes((number,))) + _element(operation, content))


_TEXTS = st.sampled_from([b"", b"cn=a,dc=lab", b"mail", b"a@example.com"]) | HOSTILE.map(lambda x: x[:90])
_NUMBERS = st.sampled_from([2, 2, 2, 3, 4, 1, 0, 9, 200])
_CODES = st.sampled_from([0, 0, 0, 4, 10, 32, 49, 80, 123, 255])
_RESULT = st.tuples(_CODES, _TEXTS, _TEXTS).map(
    lambda r: _element(0x0A, bytes((r[0],))) + _element(0x04, r[1]) + _element(0x04, r[2])
)
_VALUES = st.lists(_TEXTS, max_size=3).map(
    lambda each: _element(0x31, b"".join(_element(4, v) for v in each))
)
_ATTRIBUTES = st.lists(st.tuples(_TEXTS, _VALUES), max_size=3).map(
    lambda each: _element(0x30, b"".join(_element(0x30, _element(4, name) + v) for name, v in each))
)
_ENTRY = st.tuples(_TEXTS, _ATTRIBUTES).map(lambda e: _element(4, e[0]) + e[1])
_GOOD = st.one_of(
    st.builds(lambda n, c: _message(n, 0x64, c), _NUMBERS, _ENTRY),
    st.builds(lambda n, c: _message(n, 0x65, c), _NUMBERS, _RESULT),
    st.builds(lambda n, c: _message(n, 0x73, _element(4, c)), _NUMBERS, _TEXTS),
    st.builds(lambda n, c: _message(n, 0x78, c), _NUMBERS, _RESULT),
    st.builds(lambda n, c: _message(n, 0x61, c), _NUMBERS, _RESULT),
)
_ODD = st.builds(
    _message, _NUMBERS, st.sampled_from([0x60, 0x63, 0x42, 0x79, 0x66, 0x04, 0x7F]), st.binary(max_size=30)
) | st.sampled_from([b"\x30\x80", b"\x30\x84\x7f\xff\xff\xff", b"\x30\x00", b"\x30\x03\x02\x01\x02"])
TARGET = Target(
    name="ldap-answers",
    run=run,
    inputs=joined(_GOOD | _GOOD | _GOOD | _ODD | st.binary(max_size=8), 12),
    words=(
        _message(2, 0x65, bytes.fromhex("0a010004000400")),
        _message(2, 0x64, _element(4, b"cn=a") + _element(0x30, b"")),
        b"\x30\x82\x01\x00",
        b"\x0a\x01\x7b",
        b"\xa0\x1b",
    ),
)
