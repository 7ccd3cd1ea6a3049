"""Filters: what a stranger's address can do to a question, which is nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sansldap import FilterEquality, FilterOr

from mxseal.ldap.filters import LONGEST_FILTER, Values, escape, fault_of, fill, parse

ACCEPT = frozenset("audf")


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("user@example.com", "user@example.com"),
        ("smtp:o'neil+tag@example.com", "smtp:o'neil+tag@example.com"),
        ("*", "\\2a"),
        ("a)(mail=*", "a\\29\\28mail=\\2a"),
        ("back\\slash", "back\\5cslash"),
        ("nul\0", "nul\\00"),
        ("ü@example.com", "\\c3\\bc@example.com"),
        ("\udcff", "\\ff"),
        ("line\r\nbreak", "line\\0d\\0abreak"),
        ("CN=All Staff,DC=x", "CN=All Staff,DC=x"),
    ],
)
def test_each_value_is_escaped_as_rfc_4515_says(value: str, escaped: str) -> None:
    assert escape(value) == escaped


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_a_value_comes_out_of_the_filter_as_it_went_in(value: str) -> None:
    read = parse(fill("(|(mail={a})(cn={a}))", Values(address=value)))
    assert isinstance(read, FilterOr)
    for part in read.filters:
        assert isinstance(part, FilterEquality)
        assert part.value == value.encode()


def test_tokens_are_filled_once_and_not_read_again() -> None:
    values = Values(address="{g}@{u}", sender="{a}", group="{f}")
    assert (
        fill("(&(a={a})(u={u})(d={d})(f={f})(g={g}))", values) == "(&(a={g}@{u})(u={g})(d={u})(f={a})(g={f}))"
    )


def test_an_address_without_a_domain_is_a_user() -> None:
    assert fill("(&(u={u})(d={d}))", Values(address="postmaster")) == "(&(u=postmaster)(d=))"


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("(mail={a})", None),
        ("(proxyAddresses=smtp:{a})", None),
        ("(&(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2))(mail={a}))", None),
        ("(mail={q})", "{q} is no token here"),
        ("(memberOf={g})", "{g} is no token here"),
        ("mail={a}", "begins with '('"),
        ("(mail={a}", "no LDAP filter"),
        ("(mail={a}))", "no LDAP filter"),
        ("", "begins with '('"),
        ("(" * 41 + ")" * 41, "brackets"),
        (f"(mail={'x' * LONGEST_FILTER})", "longer than"),
    ],
)
def test_a_template_that_is_no_filter_is_told(template: str, fault: str | None) -> None:
    found = fault_of(template, ACCEPT)
    assert found is None if fault is None else fault in (found or "")
