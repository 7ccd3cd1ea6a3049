"""However the network cuts the stream, the server sees the same requests and says the same."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.smtp.wire import EndOfMessage, Fault
from tests.smtp.conversation import Conversation, bytewise, converse, cut

ENVELOPE = b"HELO c\r\nMAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\n"
# Streams of clients that do not wait, with all that can be cut in a bad place.
LONG = {
    "two messages": ENVELOPE
    + b"DATA\r\nSubject: x\r\n\r\n..dot\r\n...\r\n.x\r\n\r\n.\r\n"
    + b"MAIL FROM:<>\r\nRCPT TO:<c@d.ef>\r\nDATA\r\n.\r\nQUIT\r\n",
    "chunks": ENVELOPE + b"BDAT 5\r\na\r\n.\r\nBDAT 3\r\n\nNOBDAT 7 LAST\r\nOP\r\nX\r\nNOOP\r\n",
    "refused chunks": b"BDAT 6\r\nNOOP\r\n"
    + ENVELOPE
    + b"BDAT 6\r\nNOOP\r\nRSET\r\nBDAT 2 LAST\r\n\r\nNOOP\r\n",
    "over-long lines": b"NOOP " + b"x" * 520 + b"\r\nHELO c\r\nMAIL FROM:<a@b.cd>\r\nNOOP\r\n",
    "bare line ends": ENVELOPE
    + b"NOOP\nRSET\r\nDATA\r\na\n.\nb\r.\r\r\n.\n\r\n.\rc\r\n\r.\r\n\r\n.\r\nNOOP\r\n",
    "nonsense": b"\r\n\n\r\r\n\0\r\n\xff\r\nXYZZY\r\nEHLO\r\n"
    + ENVELOPE
    + b"DATA\r\n\r\n.\r\nQUIT\r\nNOOP\r\n",
}
SHORT = {
    "empty message": ENVELOPE + b"DATA\r\n.\r\nQUIT\r\n",
    "dots": ENVELOPE + b"DATA\r\n..\r\n.\r.\n\r\n.\r\nRSET\r\n",
    "last chunk": ENVELOPE + b"BDAT 4\r\n.\r\n\rBDAT 1 LAST\r\n\nNOOP\r\n",
}


def same(one: Conversation, other: Conversation) -> bool:
    return one.sent == other.sent and one.requests == other.requests and one.messages == other.messages


@pytest.mark.parametrize("clean", [False, True], ids=["as it is", "cleaning"])
@pytest.mark.parametrize("name", [*LONG, *SHORT])
def test_one_cut_at_every_byte_changes_nothing(name: str, clean: bool) -> None:
    stream = (LONG | SHORT)[name]
    whole = converse(stream, clean_newlines=clean)
    assert len(whole.requests) >= 4
    assert same(whole, converse(bytewise(stream), clean_newlines=clean))
    for place in range(len(stream) + 1):
        assert same(whole, converse(cut(stream, place), clean_newlines=clean)), place


@pytest.mark.parametrize("clean", [False, True], ids=["as it is", "cleaning"])
@pytest.mark.parametrize("name", [*SHORT, "two messages", "chunks", "bare line ends"])
def test_two_cuts_at_every_pair_of_bytes_change_nothing(name: str, clean: bool) -> None:
    stream = (LONG | SHORT)[name]
    whole = converse(stream, clean_newlines=clean)
    for places in combinations(range(len(stream) + 1), 2):
        assert same(whole, converse(cut(stream, *places), clean_newlines=clean)), places


FRAGMENTS = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<a@b.cd>\r\n",
    b"MAIL FROM:<a@b.cd> SIZE=9999999\r\n",
    b"RCPT TO:<c@d.ef>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\n",
    b"BDAT 5 LAST\r\n",
    b"RSET\r\n",
    b"STARTTLS\r\n",
    b"\r\n.\r\n",
    b".",
    b"\r",
    b"\n",
    b"\0",
    b"\xc3\xa9",
    b"x" * 1500,
]
STREAMS = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=12), max_size=40).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 4000), max_size=6), st.booleans())
def test_garbage_never_raises_is_never_hoarded_and_is_read_the_same_in_any_pieces(
    stream: bytes, places: list[int], clean: bool
) -> None:
    bounds = sorted(place for place in places if place <= len(stream))
    whole = converse(stream, clean_newlines=clean)
    pieces = converse(cut(stream, *bounds), clean_newlines=clean)
    assert same(whole, pieces)


def test_a_line_without_end_is_not_kept() -> None:
    conversation = converse([b"x" * 4096] * 15)
    assert conversation.server.buffered == 0
    assert conversation.requests == []
    assert (
        conversation.feed(b"\r\nHELO c\r\n") == b"500 #5.5.2 command line too long\r\n250 mx.example.com\r\n"
    )


@pytest.mark.parametrize("end", [b"", b"\r", b"\r\nNOOP\r\n"])
def test_behind_a_line_that_goes_on_and_on_nothing_is_heard(end: bytes) -> None:
    farewell = b"421 #5.5.2 command line without end, closing the connection\r\n"
    for pieces in ([b"x" * 65_537 + end], [b"x" * 4096] * 16 + [b"x" + end, b"\nNOOP\r\n"]):
        conversation = converse(pieces)
        assert conversation.server.closed
        assert conversation.sent == farewell
        assert conversation.server.buffered == 0


@pytest.mark.parametrize(
    ("verb", "octets", "kind"),
    [
        ("NOOP ", 512, None),
        ("NOOP ", 513, "too-long"),
        ("MAIL FROM:", 2048, "syntax"),
        ("MAIL FROM:", 2049, "too-long"),
    ],
)
def test_the_limit_of_a_line_counts_its_line_end(verb: str, octets: int, kind: str | None) -> None:
    line = verb.encode().ljust(octets - 2, b"x") + b"\r\n"
    for pieces in ([line], bytewise(line)):
        conversation = converse([b"HELO c\r\n", *pieces])
        request = conversation.requests[-1]
        assert (request.kind if isinstance(request, Fault) else None) == kind


def test_content_comes_in_pieces_as_big_as_they_were_received() -> None:
    conversation = converse(ENVELOPE + b"DATA\r\n")
    server = conversation.server
    piece = (b"x" * 78 + b"\r\n") * 800
    server.receive(piece)
    content = server.next()
    assert getattr(content, "data", None) == piece
    assert server.next() is None
    server.receive(b".\r\n")
    assert server.next() == EndOfMessage(bare_newlines=False)
