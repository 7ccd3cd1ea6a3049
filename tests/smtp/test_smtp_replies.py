"""Replies on the wire: rendered, parsed, and bounded when a hostile server writes them."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.smtp import replies
from mxseal.smtp.wire import ProtocolFault, Reply, ReplyParser

LINES = st.lists(st.text().filter(str.isprintable), min_size=1, max_size=5).map(tuple)


@given(st.lists(st.builds(Reply, st.integers(200, 599), LINES), max_size=4), st.integers(1, 7))
def test_replies_are_parsed_to_what_was_rendered_in_any_pieces(sent: list[Reply], step: int) -> None:
    stream = b"".join(reply.encode() for reply in sent)
    parser, got = ReplyParser(), []
    for start in range(0, len(stream), step):
        parser.receive(stream[start : start + step])
        while (reply := parser.next()) is not None:
            got.append(reply)
    assert got == sent
    assert parser.buffered == 0


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"250-x\r\n", b"250 \r\n", b"\n"]), max_size=30))
def test_garbage_gives_replies_or_a_protocol_fault(pieces: list[bytes]) -> None:
    parser = ReplyParser()
    with suppress(ProtocolFault):
        for piece in pieces:
            parser.receive(piece)
            while (reply := parser.next()) is not None:
                assert all(line.isprintable() for line in reply.lines)


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (b"hello\r\n", "not an SMTP reply: 'hello'"),
        (b"\r\n", "not an SMTP reply"),
        (b"\x16\x03\x01\x02\x00\x01\n", "not an SMTP reply"),
        (b"150 wait\r\n", "not an SMTP reply"),
        (b"600 what\r\n", "not an SMTP reply"),
        (b"25 ok\r\n", "not an SMTP reply"),
        (b"250_ok\r\n", "not an SMTP reply"),
        (b"250-one\r\n251 two\r\n", "changes its code from 250 to 251"),
        (b"250 " + b"x" * 2048, "longer than 2048 octets"),
        (b"250-x\r\n" * 257, "more than 256 lines"),
    ],
)
def test_what_is_no_reply_is_a_fault_with_a_reason(stream: bytes, words: str) -> None:
    parser = ReplyParser()
    parser.receive(stream)
    with pytest.raises(ProtocolFault, match=words):
        parser.next()


def test_real_servers_oddities_are_taken() -> None:
    parser = ReplyParser()
    parser.receive(b"250\r\n250-\r\n250 x\n550-5.1.1 no\r\n550 #5.1.2 \xff\x07\r\n22")
    assert parser.next() == Reply(250, ("",))
    assert parser.next() == Reply(250, ("", "x"))
    assert parser.next() == Reply(550, ("5.1.1 no", "#5.1.2 \ufffd?"))
    assert parser.next() is None
    assert parser.buffered == 2
    parser.clear()
    assert parser.buffered == 0


def test_a_reply_cannot_be_broken_into_two() -> None:
    assert Reply(250, ("sender <a\r\n250 x> ok",)).encode() == b"250 sender <a??250 x> ok\r\n"
    assert Reply(250, ("a\udcff",)).encode() == b"250 a\xff\r\n"


def test_the_enhanced_status_is_read_with_and_without_its_sign() -> None:
    assert Reply(550, ("#5.7.1 no",)).enhanced == "5.7.1"
    assert Reply(550, ("5.1.10 no",)).enhanced == "5.1.10"
    assert Reply(550, ("5.7 no",)).enhanced is None
    assert Reply(550, ("no 5.7.1",)).enhanced is None


@pytest.mark.parametrize(
    ("reply", "wire"),
    [
        (replies.banner("mx.example.com"), "220 mx.example.com ESMTP"),
        (replies.accepted(214), "250 ok:  Message 214 accepted"),
        (replies.START_TLS, "220 Go ahead with TLS"),
        (replies.TLS_UNAVAILABLE, "454 TLS not available due to a temporary reason"),
        (replies.TOO_MANY_TLS_SESSIONS, "421 #4.4.5 Too many TLS sessions at this time"),
        (replies.TOO_MANY_HANDSHAKES, "421 #4.4.5 Too many new TLS sessions at this time"),
        (replies.TLS_REQUIRED, "530 #5.7.0 Must issue a STARTTLS command first"),
        (replies.SENDER_NEEDS_TLS, "530 #5.7.0 This sender must issue a STARTTLS command first"),
        (replies.AUTH_REQUIRED, "530 Authentication required"),
        (replies.ENCRYPTION_REQUIRED, "538 #5.7.11 Encryption required"),
        (replies.TOO_MANY_FROM_HOST, "421 #4.4.5 Too many connections from your host"),
        (replies.TOO_MANY_TO_HOST, "421 #4.4.5 Too many connections to this host"),
        (replies.TOO_MANY_TO_LISTENER, "421 #4.4.5 Too many connections to this listener"),
        (replies.TOO_MANY_MESSAGES, "421 #4.x.2 Too many messages for this session"),
        (replies.TOO_MANY_ERRORS, "421 Exceeded bad SMTP command limit, disconnecting"),
        (replies.TOO_LONG_CONNECTED, "421 Exceeded allowable connection time"),
        (replies.TOO_MANY_RECIPIENTS, "452 #4.5.3 Too many recipients"),
        (replies.QUEUE_FULL, "452 #4.3.1 queue full"),
        (replies.MESSAGE_TOO_LARGE, "552 #5.3.4 message size exceeds limit"),
        (replies.HEADER_TOO_LARGE, "552 #5.3.4 message header size exceeds limit"),
        (replies.TEMPORARY_ERROR, "451 #4.3.0 Server Error"),
        (replies.PERMANENT_ERROR, "554 #5.3.0 Server Error"),
        (replies.TOO_MANY_HOPS, "554 Too many hops"),
    ],
)
def test_replies_follow_the_reference_to_the_letter(reply: Reply, wire: str) -> None:
    assert reply.encode().decode() == wire + "\r\n"
