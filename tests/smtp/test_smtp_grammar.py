"""Addresses and parameters: what is taken, in which form, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.smtp.grammar import (
    Flaw,
    Path,
    domain_flaw,
    hello_name,
    mailbox,
    parameters,
    path,
    render_path,
    split_address,
)

ATEXT = "abcXYZ019!#$%&'*+/=?^_`{|}~-é用"
ATOMS = st.text(ATEXT, min_size=1, max_size=12)
DOT_STRINGS = st.lists(ATOMS, min_size=1, max_size=4).map(".".join)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True).filter(lambda s: s[2:4] != "--")
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join) | st.sampled_from(
    ["[192.0.2.1]", "[IPv6:2001:db8::1]", "bücher.example", "例子.example"]
)
QUOTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


def quoted(content: str) -> str:
    return '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(DOT_STRINGS | QUOTABLE.map(quoted), DOMAINS)
def test_what_was_parsed_once_is_rendered_and_parsed_to_the_same(local: str, domain: str) -> None:
    first = path(f"<{local}@{domain}>")
    assert isinstance(first, Path)
    assert path(render_path(first.mailbox)) == first
    assert mailbox(first.mailbox) == first.mailbox
    assert split_address(first.mailbox)[1] == domain


@given(st.text(max_size=60), st.booleans())
def test_any_text_gives_a_value_or_a_flaw(text: str, null: bool) -> None:
    for result in (
        path(text, null=null),
        path(f"<{text}>"),
        mailbox(text),
        parameters(text),
        hello_name(text),
    ):
        assert isinstance(result, Flaw | Path | str | dict)
    flaw = domain_flaw(text)
    assert flaw is None or isinstance(flaw, Flaw)


@given(st.text('<>@."\\[]:,a\u00e9 \r\n\0', max_size=24))
def test_no_address_that_is_taken_has_a_control_character_or_breaks_out_of_its_brackets(text: str) -> None:
    found = path(text)
    if isinstance(found, Path):
        assert found.mailbox.isprintable()
        assert path(render_path(found.mailbox) + " rest") == Path(found.mailbox, " rest")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a@b.example>", "a@b.example"),
        ("<A.B+tag@Example.COM>", "A.B+tag@Example.COM"),
        ("<@one.example,@two.example:a@b.example>", "a@b.example"),
        ('<"a b"@c.example>', '"a b"@c.example'),
        ('<"joe.bloggs"@c.example>', "joe.bloggs@c.example"),
        ('<"a\\b"@c.example>', "ab@c.example"),
        ('<"a>b@c"@d.example>', '"a>b@c"@d.example'),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]"),
        ("<a@[IPv6:::1]>", "a@[IPv6:::1]"),
        ("<a@localhost>", "a@localhost"),
        ("<a@under_score.example>", "a@under_score.example"),
        ("<" + "a" * 64 + "@b.example>", "a" * 64 + "@b.example"),
        ("<jürgen@bücher.example>", "jürgen@bücher.example"),
    ],
)
def test_addresses_that_are_taken(text: str, expected: str) -> None:
    assert path(text) == Path(expected, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b.example",
        "<a@b.example",
        "<>",
        "<@>",
        "<a>",
        "<a@>",
        "<@b.example>",
        "<a@@b.example>",
        "<a@b@c.example>",
        "<a b@c.example>",
        "<.a@b.example>",
        "<a.@b.example>",
        "<a..b@c.example>",
        "<a@.example>",
        "<a@b..example>",
        "<a@b.example.>",
        "<a@-b.example>",
        "<a@b-.example>",
        "<a@" + "b" * 64 + ".example>",
        "<a@" + "b." * 130 + "example>",
        "<" + "a" * 256 + "@b.example>",
        "<a@[192.0.2.256]>",
        "<a@[192.0.2]>",
        "<a@[IPv6:192.0.2.1]>",
        "<a@[IPv6:fe80::1%eth0]>",
        "<a@[x:y]>",
        "<a@b\u2028c.example>",
        "<a\u200b@b.example>",
        "<a\u0085@b.example>",
        '<"a"b@c.example>',
        '<"a@c.example>',
        '<"a\nb"@c.example>',
        "<@x:a@b.example@c>",
        "<one:a@b.example>",
        "<<a@b.example>>",
    ],
)
def test_addresses_that_are_refused(text: str) -> None:
    assert isinstance(path(text), Flaw)


def test_the_null_path_and_postmaster_are_taken_where_they_belong() -> None:
    assert path("<>", null=True) == Path("", "")
    assert path("<PostMaster>", bare_postmaster=True) == Path("PostMaster", "")
    assert isinstance(path("<postmaster>"), Flaw)
    assert split_address("") == ("", "")
    assert split_address("Postmaster") == ("Postmaster", "")
    assert split_address('"a@b"@c.example') == ('"a@b"', "c.example")


def test_parameters_come_with_keywords_in_upper_case() -> None:
    assert parameters(" size=5  BODY=8BITMIME SMTPUTF8") == {
        "SIZE": "5",
        "BODY": "8BITMIME",
        "SMTPUTF8": None,
    }
    for text in ("SIZE=", "=5", "SIZE==5", "A=b A=c", "-x", "A=\x01"):
        assert isinstance(parameters(text), Flaw)
