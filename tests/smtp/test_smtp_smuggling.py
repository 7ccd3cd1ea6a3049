"""Ends of data that some servers believe in and others don't: here each stream is one message."""

from __future__ import annotations

import pytest

from mxseal.smtp.wire import EndOfMessage, Mail
from tests.smtp.conversation import bytewise, converse, cut

ENVELOPE = b"EHLO c\r\nMAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\n"
SMUGGLED = b"MAIL FROM:<evil@b.cd>\r\nRCPT TO:<c@d.ef>\r\nDATA\r\nevil\r\n.\r\n"
FALSE_ENDS = [
    b"\n.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r.\n",
    b"\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\r\0\n.\r\n",
    b"\0\n.\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n\n.\r\n",
    b"\r\n. \r\n",
    b"\r\n..\r\n",
]


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_a_false_end_of_data_does_not_end_the_message(end: bytes) -> None:
    message = b"Subject: one\r\n\r\nbody" + end + SMUGGLED
    for pieces in ([ENVELOPE + b"DATA\r\n" + message], bytewise(ENVELOPE + b"DATA\r\n" + message)):
        conversation = converse(pieces, clean_newlines=True)
        # The only end is the true one behind the smuggled part.
        assert len(conversation.messages) == 1
        assert b"MAIL FROM:<evil@b.cd>" in conversation.messages[0]
        assert [request for request in conversation.requests if isinstance(request, Mail)] == [Mail("a@b.cd")]


@pytest.mark.parametrize("end", FALSE_ENDS, ids=repr)
def test_a_message_with_bare_line_ends_is_marked_and_its_copy_has_none(end: bytes) -> None:
    stream = ENVELOPE + b"DATA\r\nbody" + end + b"tail\r\n.\r\n"
    bare = b"\r" in end.replace(b"\r\n", b"") or b"\n" in end.replace(b"\r\n", b"")
    for clean in (False, True):
        conversation = converse(stream, clean_newlines=clean)
        assert conversation.requests[-1] == EndOfMessage(bare_newlines=bare)
        for message in conversation.messages:
            rest = message.replace(b"\r\n", b"")
            assert b"\r" not in rest
            assert b"\n" not in rest


@pytest.mark.parametrize("content", [b"a\nb", b"a\rb", b"\n", b"\r", b"a\r\n\r", b"\n\r"], ids=repr)
def test_a_bare_line_end_in_a_chunk_is_seen_also_on_its_edge(content: bytes) -> None:
    for place in range(len(content) + 1):
        chunks = b"".join(b"BDAT %d\r\n" % len(part) + part for part in cut(content, place))
        stream = ENVELOPE + chunks + b"BDAT 0 LAST\r\n"
        assert converse(stream).requests[-1] == EndOfMessage(bare_newlines=True)
        cleaned = converse(stream, clean_newlines=True)
        lines = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
        assert cleaned.messages == [lines]


def test_a_crlf_cut_by_two_chunks_is_not_bare() -> None:
    stream = ENVELOPE + b"BDAT 2\r\na\rBDAT 2 LAST\r\n\nb"
    assert converse(stream).requests[-1] == EndOfMessage(bare_newlines=False)
    assert converse(stream).messages == [b"a\r\nb"]


@pytest.mark.parametrize("line", [b"NOOP\n", b"NOOP\r", b"NOOP\n\r", b"NOOP\0"], ids=repr)
def test_a_command_without_crlf_is_not_carried_out(line: bytes) -> None:
    conversation = converse(line)
    assert conversation.requests == []
    assert conversation.feed(b"\r\n").startswith(b"501 #5.5.2")
