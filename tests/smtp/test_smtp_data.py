"""Dot-stuffing there and back, and the census of line ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mxseal.smtp.data import Newlines, Stuffer, Unstuffer, stuff
from tests.smtp.conversation import cut

# Texts made of what matters to the two sides.
CONTENT = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"\r", b"\n", b"x", b"\r\n.", b"\0"])).map(b"".join)
PLACES = st.lists(st.integers(0, 60), max_size=5)


def pieces(data: bytes, places: list[int]) -> list[bytes]:
    return cut(data, *sorted(place for place in places if place <= len(data)))


def unstuff(parts: list[bytes]) -> tuple[bytes, bytes]:
    """(content, what comes behind the end of data)."""
    unstuffer, content = Unstuffer(), b""
    for index, part in enumerate(parts):
        piece, end = unstuffer.feed(part)
        content += piece
        if end is not None:
            return content, part[end:] + b"".join(parts[index + 1 :])
    raise AssertionError("no end of data")


@given(CONTENT, PLACES, PLACES)
def test_what_was_stuffed_comes_back_the_same_however_it_was_cut(
    content: bytes, outgoing: list[int], incoming: list[int]
) -> None:
    stuffer = Stuffer()
    wire = b"".join(map(stuffer.feed, pieces(content, outgoing))) + stuffer.end()
    assert wire == stuff(content) + (b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n")
    back, rest = unstuff(pieces(wire + b"QUIT\r\n", incoming))
    assert back == (content if not content or content.endswith(b"\r\n") else content + b"\r\n")
    assert rest == b"QUIT\r\n"


@given(CONTENT, PLACES)
def test_stuffed_content_has_no_end_of_data_before_its_own(content: bytes, places: list[int]) -> None:
    stuffer = Stuffer()
    wire = b"".join(map(stuffer.feed, pieces(content, places))) + stuffer.end()
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3


@given(CONTENT, st.integers(0, 8), PLACES)
def test_unstuffing_can_begin_in_the_midst_of_a_buffer(
    content: bytes, offset: int, places: list[int]
) -> None:
    wire = stuff(content + b"\r\n") + b".\r\n"
    first, *others = pieces(wire, places)
    unstuffer = Unstuffer()
    found, end = unstuffer.feed(b"DATA\r\n.\r"[:offset] + first, offset)
    for part in others:
        assert end is None or not part
        if end is None:
            piece, end = unstuffer.feed(part)
            found += piece
    assert found == content + b"\r\n"


@given(CONTENT, PLACES)
def test_the_census_sees_each_bare_line_end_and_cleaning_leaves_none(
    content: bytes, places: list[int]
) -> None:
    rest = content.replace(b"\r\n", b"")
    for clean in (False, True):
        newlines = Newlines(clean=clean)
        kept = b"".join(map(newlines.feed, pieces(content, places))) + newlines.end()
        assert newlines.bare == (b"\r" in rest or b"\n" in rest)
        if clean:
            assert kept == content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        else:
            assert kept == content
