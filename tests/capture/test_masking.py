"""What is left out of recordings, whatever a client does; pure."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxseal.capture.masking import NOTICE, SmtpMasking

SECRET = b"launch code 31-8-24"


def opened() -> SmtpMasking:
    masking = SmtpMasking()
    masking.server(b"220 mx.test\r\n")
    assert masking.client(b"EHLO c.test\r\n") == b"EHLO c.test\r\n"
    masking.server(b"250-mx.test\r\n250 CHUNKING\r\n")
    masking.client(b"MAIL FROM:<a@c.test>\r\nRCPT TO:<b@mx.test>\r\n")
    masking.server(b"250 ok\r\n250 ok\r\n")
    return masking


def test_replies_are_shown_as_they_are() -> None:
    assert SmtpMasking().server(b"220 mx\xff\r\n221-x\r\n") == b"220 mx\xff\r\n221-x\r\n"


def test_content_is_a_notice_and_a_count_and_what_follows_is_shown() -> None:
    masking = opened()
    assert masking.client(b"DATA\r\n") == b"DATA\r\n"
    masking.server(b"354 go\r\n")
    shown = masking.client(b"Subject: x\r\n\r\n" + SECRET + b"\r\n.\r\nQUIT\r\n")
    size = len(b"Subject: x\r\n\r\n" + SECRET + b"\r\n.\r\n")
    assert shown == NOTICE + b"\r\n\r\n[MXSeal: %d octets left out]\r\n.\r\nQUIT\r\n" % size


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_the_end_of_content_is_found_however_it_is_cut(size: int) -> None:
    masking = opened()
    masking.client(b"DATA\r\n")
    masking.server(b"354 go\r\n")
    content = b".\r\n..\r\n\r\n.\r" + SECRET + b"\r\n.\r\nRSET\r\n"
    content = content[3:]
    shown = b"".join(masking.client(content[at : at + size]) for at in range(0, len(content), size))
    assert shown.endswith(b"left out]\r\n.\r\nRSET\r\n")
    assert SECRET not in shown


def test_an_empty_message_ends_at_once() -> None:
    masking = opened()
    masking.client(b"DATA\r\n")
    masking.server(b"354 go\r\n")
    assert (
        masking.client(b".\r\nQUIT\r\n") == NOTICE + b"\r\n\r\n[MXSeal: 3 octets left out]\r\n.\r\nQUIT\r\n"
    )


def test_content_that_does_not_wait_for_354_is_left_out_too() -> None:
    masking = opened()
    shown = masking.client(b"DATA\r\nRCPT TO:<secret@c.test>\r\n" + SECRET + b"\r\n.\r\nQUIT\r\n")
    assert shown == b"DATA\r\n"
    masking.server(b"354 go\r\n")
    assert masking.client(b"").endswith(b"left out]\r\n.\r\nQUIT\r\n")


def test_what_came_before_data_was_refused_is_left_out() -> None:
    masking = opened()
    masking.client(b"DATA\r\nRCPT TO:<secret@c.test>\r\nhalf a li")
    masking.server(b"554 no valid recipients\r\n")
    shown = masking.client(b"ne of content\r\nQUIT\r\n")
    assert b"secret" not in shown
    assert b"content\r" not in shown
    assert shown.endswith(b"QUIT\r\n")


def test_behind_a_refused_data_only_commands_are_shown() -> None:
    masking = opened()
    masking.client(b"DATA\r\n")
    masking.server(b"554 no\r\n")
    shown = masking.client(SECRET + b"\r\nHello there\r\nMAIL FROM:<x@c.test> " + SECRET + b"\r\nRSET\r\n")
    assert shown == b"[MXSeal: not shown]\r\n" * 3 + b"RSET\r\n"


def test_a_chunk_has_its_length_and_nothing_of_its_content() -> None:
    masking = opened()
    content = (SECRET + b"\r\n") * 20
    shown = masking.client(b"BDAT %d\r\n" % len(content) + content + b"BDAT 0 LAST\r\nQUIT\r\n")
    head, tail = b"BDAT %d\r\n" % len(content), b"BDAT 0 LAST\r\nQUIT\r\n"
    assert shown.startswith(head + NOTICE)
    assert shown.endswith(tail)
    assert len(shown) == len(head) + len(content) + len(tail)
    assert SECRET not in shown


def test_a_chunk_without_end_takes_no_room() -> None:
    masking = opened()
    masking.client(b"BDAT 99999999999999999999 LAST\r\n")
    shown = b"".join(masking.client(b"x" * 100_000) for _ in range(100))
    assert len(shown) == 64 * 1024


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"AUTH PLAIN AGpvZQBzZWNyZXQ=", b"AUTH PLAIN [MXSeal: not shown]"),
        (b"auth login", b"auth login [MXSeal: not shown]"),
        (b"VRFY joe", b"VRFY [MXSeal: not shown]"),
        (b"NOOP " + SECRET, b"NOOP [MXSeal: not shown]"),
        (b"AGpvZQBzZWNyZXQ=", b"[MXSeal: not shown]"),
        (b"XCLIENT NAME=x", b"XCLIENT [MXSeal: not shown]"),
        (b"GET / HTTP/1.1", b"GET [MXSeal: not shown]"),
        (b"EHLO two words", b"EHLO [MXSeal: not shown]"),
        (b"MAIL FROM:<a@b> SIZE=12 BODY=8BITMIME", b"MAIL FROM:<a@b> SIZE=12 BODY=8BITMIME"),
        ("MAIL FROM:<ä@b> SMTPUTF8".encode(), "MAIL FROM:<ä@b> SMTPUTF8".encode()),
        (b"x" * 10_000, b"[MXSeal: not shown]"),
        (b"DATA \t", b"DATA \t"),
    ],
)
def test_of_a_command_what_is_harmless_is_shown(line: bytes, shown: bytes) -> None:
    masking = SmtpMasking()
    masking.server(b"220 mx.test\r\n")
    assert masking.client(line + b"\r\n") == shown + b"\r\n"


def test_a_connection_that_ends_in_the_middle_says_so() -> None:
    masking = opened()
    masking.client(b"DATA\r\n")
    masking.server(b"354 go\r\n")
    masking.client(SECRET)
    assert masking.ended() == b"[MXSeal: %d octets left out, then the connection ended]\r\n" % len(SECRET)


words = st.sampled_from(
    [b"DATA\r\n", b"RSET\r\n", b"QUIT\r\n", b"BDAT 30\r\n", b"BDAT 5 LAST\r\n", b"\r\n.\r\n", b".\r\n", b"\n"]
)
answers = st.sampled_from(
    [b"250 ok\r\n", b"354 go\r\n", b"554 no\r\n", b"250-a\r\n", b"421 x\r\n", b"3", b"\n"]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(words, answers.map(lambda reply: (reply,)), st.just(SECRET))), st.integers(1, 40))
def test_a_line_that_is_no_command_is_never_shown(talk: list[bytes | tuple[bytes]], size: int) -> None:
    masking = SmtpMasking()
    shown = b""
    for said in talk:
        if isinstance(said, tuple):
            masking.server(said[0])
            shown += masking.client(b"")
        else:
            shown += b"".join(masking.client(said[at : at + size]) for at in range(0, len(said), size))
    assert b"code" not in shown + masking.ended()
    assert b"31-8" not in shown
