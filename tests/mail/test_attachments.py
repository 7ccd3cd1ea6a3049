"""Files are found in messages, whatever strangers write, with bounds on what that costs."""

from __future__ import annotations

import base64
import hashlib
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.mail.attachments import Attachments, Bounds, attachments

PDF = b"%PDF-1.7 something"
TEXT = "Hello.\n"


def message(*files: tuple[bytes, str, str]) -> EmailMessage:
    """A message with files: (content, media type, name)."""
    made = EmailMessage()
    made["Subject"] = "files"
    made.set_content(TEXT)
    for content, kind, name in files:
        main, _, sub = kind.partition("/")
        made.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return made


def raw(made: EmailMessage) -> bytes:
    return made.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def found(data: bytes, **bounds: object) -> Attachments:
    return attachments(data, Bounds(**bounds))  # type: ignore[arg-type]


def names(data: bytes, **bounds: object) -> list[str]:
    return [item.name for item in found(data, **bounds).items]


def test_an_attachment_is_decoded_and_hashed() -> None:
    (item,) = found(raw(message((PDF, "application/pdf", "offer.pdf")))).items
    assert (item.name, item.media_type, item.size) == ("offer.pdf", "application/pdf", len(PDF))
    assert item.content == PDF
    assert item.sha256 == hashlib.sha256(PDF).hexdigest()


def test_the_text_of_a_message_is_no_attachment() -> None:
    assert found(raw(message())) == Attachments()
    assert found(b"Content-Type: text/html\r\n\r\n<p>hello</p>\r\n") == Attachments()
    assert found(b"no header at all") == Attachments()
    assert found(b"") == Attachments()


def test_a_text_part_that_is_a_program_is_an_attachment() -> None:
    program = base64.b64encode(b"MZ" + bytes(100))
    data = b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + program
    (item,) = found(data).items
    assert item.media_type == "application/x-dosexec"


def test_a_file_is_what_its_first_bytes_say() -> None:
    (item,) = found(raw(message((b"MZ" + bytes(50), "image/png", "picture.png")))).items
    assert item.media_type == "application/x-dosexec"


def test_attachments_of_forwarded_messages_are_found() -> None:
    outer = message()
    outer.add_attachment(message((PDF, "application/pdf", "inner.pdf")))
    assert names(raw(outer)) == ["inner.pdf"]


def test_the_same_content_is_taken_once() -> None:
    assert names(raw(message((PDF, "application/pdf", "a.pdf"), (PDF, "application/pdf", "b.pdf")))) == [
        "a.pdf"
    ]


@pytest.mark.parametrize(
    ("types", "taken"),
    [
        ((), ["a.pdf", "b.zip", "c.EXE"]),
        (("application/pdf",), ["a.pdf"]),
        ((".exe",), ["c.EXE"]),
        (("application/zip", ".pdf"), ["a.pdf", "b.zip"]),
        (("application/*",), ["a.pdf", "b.zip"]),
        (("video/*",), []),
    ],
)
def test_chosen_types_are_taken_and_others_named(types: tuple[str, ...], taken: list[str]) -> None:
    data = raw(
        message(
            (PDF, "application/pdf", "a.pdf"),
            (b"PK\x03\x04data", "application/octet-stream", "b.zip"),
            (b"\0data", "image/png", "c.EXE"),
        )
    )
    result = found(data, types=types)
    assert [item.name for item in result.items] == taken
    assert len(result.passed) == 3 - len(taken)


def test_a_file_that_is_too_large_is_named_and_not_taken() -> None:
    result = found(raw(message((bytes(5000), "application/pdf", "big.pdf"))), max_size=1000)
    assert not result.items
    assert [(each.name, each.reason) for each in result.unfit] == [
        ("big.pdf", "it is larger than 1000 bytes")
    ]
    near = found(raw(message((bytes(1500), "application/pdf", "big.pdf"))), max_size=1000)
    assert near.unfit[0].sha256 == hashlib.sha256(bytes(1500)).hexdigest()


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b'attachment; filename="plain.exe"', "plain.exe"),
        (b"attachment; filename*=utf-8''caf%C3%A9.exe", "caf\u00e9.exe"),
        (b"attachment; filename*0*=utf-8''one; filename*1=two.exe", "onetwo.exe"),
        (b'attachment; filename="=?utf-8?B?Y2Fmw6kuZXhl?="', "caf\u00e9.exe"),
        (b'attachment; filename="a\x01b.exe"', "a?b.exe"),
        (b"attachment; filename*=rot13''nggnpx", "nggnpx"),
        (b"attachment", "part-1"),
    ],
)
def test_file_names_are_read_in_all_their_spellings(written: bytes, name: str) -> None:
    data = b"Content-Type: application/x\r\nContent-Disposition: " + written + b"\r\n\r\ncontent"
    assert names(data) == [name]


def test_a_long_name_keeps_its_ending() -> None:
    data = b"Content-Type: application/x; name=" + b"a" * 4000 + b".exe\r\n\r\ncontent"
    (name,) = names(data)
    assert len(name) <= 255
    assert name.endswith("a.exe")


def nested(depth: int) -> bytes:
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (each, each)
        for each in range(depth)
    )
    return head + b"Content-Type: application/pdf\r\n\r\n%PDF-"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (nested(500), "parts lie within parts deeper than 20"),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 5000,
            "the message has more than 1000 parts",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
            + b"".join(b"--b\r\nContent-Type: a/b\r\n\r\n%d\r\n" % n for n in range(200)),
            "the message has more than 50 files",
        ),
        (b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\n", "a part of several has no boundary"),
        (
            b"Content-Type: multipart/mixed; boundary=" + b"b" * 3000 + b"\r\n\r\n",
            "the header of a part can't be read",
        ),
        (
            b"Content-Type: a/b; x=" + b";" * 100_000 + b"\r\n\r\nx",
            "the header of a part can't be read",
        ),
        (
            b"Content-Type: message/partial; id=1\r\n\r\nx",
            "it is one piece of a message that comes in several",
        ),
        (
            b"Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nx",
            "its transfer encoding x-uuencode is not known",
        ),
        (
            b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nQUFB=\r\nQUFB",
            "its encoding goes on behind its end",
        ),
        (
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nz",
            "the header of a part is too large",
        ),
    ],
)
def test_what_can_not_be_taken_apart_is_named(data: bytes, reason: str) -> None:
    result = found(data)
    assert reason in [each.reason for each in result.unfit]
    assert len(result.items) <= 50


@pytest.mark.parametrize("cut", [b"QQ", b"QUE", b"QUF", b"QUFBQ", b"Q!U\r\nF B"])
def test_broken_base64_is_decoded_as_far_as_it_goes(cut: bytes) -> None:
    (item,) = found(b"Content-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + cut).items
    assert item.content.startswith(b"A")


def test_bare_line_feeds_and_a_missing_end_do_not_hide_a_part() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: application/pdf\n\n%PDF-x"
    assert found(data).items[0].content == b"%PDF-x"


def test_a_line_that_only_begins_like_the_boundary_is_content() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a/b\r\n\r\n"
    data += b"1\r\n--bc\r\n2\r\n--b--"
    assert found(data).items[0].content == b"1\r\n--bc\r\n2"


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5, unique=True))
def test_what_the_standard_library_writes_is_read_back(contents: list[bytes]) -> None:
    data = raw(message(*((c, "application/octet-stream", f"{i}.bin") for i, c in enumerate(contents))))
    assert [item.content for item in found(data).items] == contents


PIECES = st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"--b",
        b"--",
        b"Content-Type: ",
        b"multipart/mixed",
        b"; boundary=b",
        b"message/rfc822",
        b"Content-Disposition: attachment",
        b"; filename*0*=",
        b"utf-8''%",
        b'"',
        b"=?utf-8?b?",
        b"?=",
        b"base64",
        b"Content-Transfer-Encoding: ",
        b"\x00",
        b"\xff\xfe",
        b"=",
        b"%%",
        b"(",
        b"text/plain",
        b";",
        b"'",
    ]
)


@given(st.lists(PIECES, max_size=60).map(b"".join))
def test_whatever_comes_nothing_is_raised(data: bytes) -> None:
    result = found(data, files=5, parts=10, depth=3)
    assert len(result.items) + len(result.passed) <= 5
    assert len(result.unfit) <= 5
