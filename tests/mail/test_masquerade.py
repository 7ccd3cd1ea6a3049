"""Addresses in header fields, and others in their place: nothing else is touched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.mail.masquerade import rewritten, spots

FIELDS = ("from", "to", "cc", "reply-to", "sender")
BECAME = {"a@in.test": "anna@out.test", '"b c"@in.test': "bc@out.test", "ü@in.test": "ue@out.test"}


def header(value: str, name: str = "From") -> bytes:
    return f"{name}: {value}\r\nSubject: a@in.test\r\n".encode()


@pytest.mark.parametrize(
    ("value", "became"),
    [
        ("a@in.test", "anna@out.test"),
        ("<a@in.test>", "<anna@out.test>"),
        ("< a@in.test >", "< anna@out.test >"),
        ('"A, a@in.test" <a@in.test>', '"A, a@in.test" <anna@out.test>'),
        (
            "a@in.test (a@in.test, (nested) a@in.test), x@y.test",
            "anna@out.test (a@in.test, (nested) a@in.test), x@y.test",
        ),
        ("(c) a@in.test", "(c) anna@out.test"),
        ('"b c"@in.test', "bc@out.test"),
        ("Ünal <ü@in.test>", "Ünal <ue@out.test>"),
        ("Us: a@in.test, B <a@in.test>;, x@y.test", "Us: anna@out.test, B <anna@out.test>;, x@y.test"),
        (
            "x@y.test,\r\n\tA <a@in.test>,\r\n a@in.test",
            "x@y.test,\r\n\tA <anna@out.test>,\r\n anna@out.test",
        ),
        (r'"quoted \" <a@in.test>" <a@in.test>', r'"quoted \" <a@in.test>" <anna@out.test>'),
        ("=?utf-8?q?a=40in.test?= <a@in.test>", "=?utf-8?q?a=40in.test?= <anna@out.test>"),
    ],
)
def test_an_address_is_replaced_wherever_it_is_one(value: str, became: str) -> None:
    for name in ("From", "to", "REPLY-TO"):
        made, changed = rewritten(header(value, name), spots(header(value, name), FIELDS), BECAME)
        assert made == header(became, name)
        assert {spot.field for spot in changed} == {name}


@pytest.mark.parametrize(
    "value",
    [
        "A a@in.test",
        "a @in.test",
        "a@in\r\n .test",
        "<@hop.test:a@in.test>",
        "<a@in.test",
        '"a@in.test',
        "(a@in.test",
        "xa@in.test",
        "a@in.test.org",
        "",
    ],
)
def test_what_is_no_plain_address_stays(value: str) -> None:
    made, changed = rewritten(header(value), spots(header(value), FIELDS), BECAME)
    assert (made, changed) == (header(value), [])


def test_only_the_chosen_fields_are_looked_at() -> None:
    raw = b"From: a@in.test\r\nTo: a@in.test\r\nX-From: a@in.test\r\nX-Folded: a\r\n From: a@in.test\r\n"
    made, changed = rewritten(raw, spots(raw, ("from",)), BECAME)
    assert made == raw.replace(b"From: a@in.test", b"From: anna@out.test", 1)
    assert len(changed) == 1


def test_no_line_gets_longer_than_lines_may_be() -> None:
    value = f"{'x' * 970} <a@in.test>"
    made, changed = rewritten(
        header(value), spots(header(value), FIELDS), {"a@in.test": f"{'y' * 60}@out.test"}
    )
    assert (made, changed) == (header(value), [])


def test_bytes_that_are_no_text_stay() -> None:
    raw = b"From: \xff\xfe@in.test, a@in.test\r\n"
    made, _ = rewritten(raw, spots(raw, FIELDS), BECAME)
    assert made == b"From: \xff\xfe@in.test, anna@out.test\r\n"


@given(st.text(alphabet='a@.<>(),:;"\\[] \r\n\t', max_size=60).map(str.encode))
def test_whatever_comes_only_addresses_change(value: bytes) -> None:
    raw = b"From: " + value + b"\r\n"
    found = spots(raw, FIELDS)
    same, changed = rewritten(raw, found, {})
    assert (same, changed) == (raw, [])
    marked, _ = rewritten(raw, found, {spot.address: "Z" for spot in found})
    assert len(marked) == len(raw) - sum(len(spot.address) - 1 for spot in found)
