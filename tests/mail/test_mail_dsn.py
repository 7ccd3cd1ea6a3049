"""The delivery status notification stays small, whoever wrote the replies in it."""

from __future__ import annotations

import email
from email.message import Message
from typing import cast

from mxseal.mail.dsn import FailedRecipient, Report, render


def parts_of(*texts: str, original: bytes = b"Subject: x\r\n\r\n") -> list[Message]:
    failed = tuple(
        FailedRecipient(address=f"u{number}@lab.test", status="5.1.1", code="550", text=text)
        for number, text in enumerate(texts)
    )
    report = Report(
        kind="bounce", hostname="mx.lab.test", mid=1, to="from@lab.test", recipients=failed, arrived=0.0,
        now=0.0, retry_until=None, boundary="b0undary",
    )  # fmt: skip
    content = render(report, original, whole=False)
    return cast("list[Message]", email.message_from_bytes(content).get_payload())


def text_of(part: Message) -> str:
    return cast("bytes", part.get_payload(decode=True)).decode()


def test_a_long_reply_is_cut() -> None:
    people, programs, _ = parts_of("x" * 900)
    assert "x" * 300 in text_of(people)
    assert "x" * 301 not in people.as_string() + programs.as_string()


def test_of_many_recipients_people_read_a_hundred_and_programs_all() -> None:
    people, programs, _ = parts_of(*["x" * 900] * 1000)
    assert text_of(people).count("@lab.test>") == 100
    assert "and 900 more" in text_of(people)
    told = cast("list[Message]", programs.get_payload())
    assert len(told) == 1001
    assert told[-1]["Final-Recipient"] == "rfc822; u999@lab.test"
    assert max(len(block["Diagnostic-Code"]) for block in told[1:]) < 100


def test_a_hundred_recipients_are_all_told_to_people() -> None:
    people, _, _ = parts_of(*["no"] * 100)
    assert text_of(people).count("@lab.test>") == 100
    assert "more" not in text_of(people)


def test_the_encoding_says_whether_there_are_eight_bit_octets() -> None:
    plain = parts_of("no", original=b"Subject: x\r\n\r\n")
    assert [part["Content-Transfer-Encoding"] for part in plain] == ["7bit"] * 3
    eight = parts_of("kein Fach für Sie", original=b"Subject: gr\xfcn\r\n\r\n")
    assert [part["Content-Transfer-Encoding"] for part in eight] == ["8bit"] * 3


def test_a_reply_can_neither_add_fields_nor_break_the_notification() -> None:
    people, programs, _ = parts_of("no\r\nX-Evil: yes\x7f \udcff")
    assert "no  X-Evil: yes  ?" in text_of(people)
    assert "X-Evil" not in cast("list[Message]", programs.get_payload())[1]
