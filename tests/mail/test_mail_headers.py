"""The look at a header on its way through."""

from __future__ import annotations

import encodings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.mail.headers import HeaderScanner
from tests.smtp.conversation import bytewise, cut

HEADER = (
    b"Received: from a by b; x\r\n"
    b"RECEIVED : from c\r\n\tby d; y\r\n"
    b"X-Received: no\r\n"
    b"From: <a@b.cd>\r\n"
    b"subject:\r\n Hello\r\n\tthere\r\n"
    b"Message-Id: <1@b.cd>\r\n"
    b"Date: today\r\n"
)
MESSAGE = HEADER + b"\r\nSubject: not this\r\nReceived: nor this\r\n\r\n" + b"x" * 50


def scan(*pieces: bytes, limit: int = 10_000) -> HeaderScanner:
    scanner = HeaderScanner(limit)
    for piece in pieces:
        scanner.feed(piece)
    scanner.end()
    return scanner


def seen(scanner: HeaderScanner) -> tuple[object, ...]:
    return (
        scanner.subject,
        scanner.message_id,
        scanner.received_count,
        scanner.has_date,
        scanner.has_message_id,
        scanner.too_large,
        scanner.done,
    )


def test_fields_are_found_in_any_case_and_only_in_the_header() -> None:
    assert seen(scan(MESSAGE)) == ("Hello\tthere".replace("\t", " "), "<1@b.cd>", 2, True, True, False, True)


def test_however_the_content_is_cut_the_same_is_seen() -> None:
    for limit in (10_000, len(HEADER), len(HEADER) - 1, 60, 1):
        whole = seen(scan(MESSAGE, limit=limit))
        assert seen(scan(*bytewise(MESSAGE), limit=limit)) == whole
        for place in range(len(MESSAGE) + 1):
            assert seen(scan(*cut(MESSAGE, place), limit=limit)) == whole


def test_the_header_is_as_large_as_all_its_lines() -> None:
    assert not scan(MESSAGE, limit=len(HEADER)).too_large
    assert scan(MESSAGE, limit=len(HEADER) - 1).too_large


def test_a_header_without_end_is_given_up_and_forgotten() -> None:
    scanner = HeaderScanner(1000)
    for _ in range(2000):
        scanner.feed(b"x" * 7)
    assert scanner.done
    assert scanner.too_large
    assert scan(b"x" * 10_000_000, limit=1000).too_large


@pytest.mark.parametrize("body", [b"", b"\r\n", b"\r\nSubject: body\r\n\r\n", b"\r\n\r\n"])
def test_an_empty_header_has_nothing(body: bytes) -> None:
    for pieces in ([body], bytewise(body)):
        assert seen(scan(*pieces)) == (None, None, 0, False, False, False, True)


def test_a_message_that_is_all_header_is_read_at_its_end() -> None:
    scanner = HeaderScanner(1000)
    scanner.feed(b"Subject: x\r\nDate: y")
    assert not scanner.done
    scanner.end()
    assert (scanner.subject, scanner.has_date, scanner.done) == ("x", True, True)


def test_the_first_of_several_counts_and_empty_is_not_missing() -> None:
    scanner = scan(b"Subject:\r\nSubject: two\r\nMessage-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n")
    assert (scanner.subject, scanner.message_id) == ("", "<1@x>")


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        (b"=?UTF-8?B?R3LDvMOfZQ==?= =?iso-8859-1?Q?_an_M=FCller?=", "Grüße an Müller"),
        (b"Re: =?utf-8?q?=C3=A9?=\r\n =?utf-8?q?t=C3=A9?= end", "Re: été end"),
        ("Grüße".encode(), "Grüße"),
        (b"Gr\xfc\xdfe", "Grüße"),
        (b"=?nonsense?q?abc?=", "abc"),
        (b"=?rot13?q?abc?=", "abc"),
        (b"=?unicode_escape?q?\\x41\\z?=", "\\x41\\z"),
        (b"=?raw_unicode_escape?q?\\u0041?=", "\\u0041"),
        (b"=?utf-8?b?abc?=", None),
        (b"=?utf-8?q?=FF=FE?=", "\ufffd\ufffd"),
        (b"=?utf-8?q?a=0D=0Ab=00=1B[31m?=", "a??b??[31m"),
        (b"a\x00b\x1b[2J", "a?b?[2J"),
        (b"=?", "=?"),
    ],
)
def test_subjects_are_decoded_to_one_printable_line(raw: bytes, subject: str | None) -> None:
    found = scan(b"Subject: " + raw + b"\r\n\r\n").subject
    assert found is not None
    assert found.isprintable()
    assert found == subject or subject is None


@pytest.mark.parametrize(
    "raw", [b"x" * 9000, b"=?utf-8?q?xxxxxxxxxxx?= " * 3000, b"=?" * 5000, b"=?utf-8?q?" + b"y" * 9000]
)
def test_a_long_subject_is_cut(raw: bytes) -> None:
    subject = scan(b"Subject: " + raw + b"\r\n\r\n", limit=100_000).subject
    assert subject is not None
    assert len(subject) == 500


CHARSETS = st.sampled_from(
    ["utf-8", "utf-7", "punycode", "idna", "unicode_escape", "hex", "zip", "undefined", "x"]
)


@given(CHARSETS, st.sampled_from("qb"), st.binary(max_size=40))
def test_no_encoded_word_raises(charset: str, encoding: str, data: bytes) -> None:
    raw = f"=?{charset}?{encoding}?".encode() + data.replace(b"\r", b"").replace(b"\n", b"") + b"?="
    subject = scan(b"Subject: " + raw + b"\r\n\r\n").subject
    assert subject is not None
    assert subject.isprintable()


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"Subject:", b"=?utf-8?b?"])))
def test_garbage_never_raises(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    assert seen(scan(*pieces)) == seen(scan(whole))


def subject_of(text: str) -> str | None:
    return scan(f"Subject: {text}\r\n\r\n".encode()).subject


def test_python_is_never_asked_for_a_character_set_that_a_stranger_made_up() -> None:
    known = len(encodings._cache)
    for number in range(20):
        assert subject_of(f"=?made-up-{number}?q?gr=FCn?=") == "grün"
        assert subject_of(f"=?{'utf-8' * 20}{number}?q?gr=FCn?=") == "grün"
        assert subject_of(f"=?utf{'-.' * number}-8?q?gr=FCn?=") is not None
    assert len(encodings._cache) <= known + 2


@pytest.mark.parametrize(
    ("charset", "octets"),
    [("ISO-8859-2", "=F3"), ("Windows-1250", "=F3"), ("cp437", "=A2"), ("utf8", "=C3=B3")],
)
def test_character_sets_are_known_by_their_usual_names(charset: str, octets: str) -> None:
    assert subject_of(f"=?{charset}?Q?krak{octets}w?=") == "kraków"
    assert subject_of("=?koi8-u?q?=C9?=") == "и"


def test_a_subject_has_at_most_fifty_encoded_words() -> None:
    assert subject_of("=?utf-8?q?a?= " * 50) == "a" * 50
    assert subject_of("=?utf-8?b?YQ==?= " * 200) == "a" * 50
