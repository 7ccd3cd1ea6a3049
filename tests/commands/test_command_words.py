"""Lines and words."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.commands.words import UnfinishedLine, join, nearest, quote, redact, split, split_for_completion

words = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp")), max_size=8))


@given(words)
def test_words_that_are_joined_split_into_the_same_words(original: list[str]) -> None:
    assert split(join(original)) == original


@given(st.text(max_size=40))
def test_any_line_is_split_or_told_to_be_unfinished(line: str) -> None:
    with contextlib.suppress(UnfinishedLine):
        assert all(isinstance(word, str) for word in split(line))


@given(st.text(max_size=40))
def test_any_line_can_be_completed(line: str) -> None:
    _, incomplete, start = split_for_completion(line)
    assert 0 <= start <= len(line)
    assert incomplete == "" or start < len(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ([], "", 0)),
        ("pot ", (["pot"], "", 4)),
        ("pot ne", (["pot"], "ne", 4)),
        ('pot "Brown Be', (["pot"], "Brown Be", 4)),
        ('pot "Brown Betty" x', (["pot", "Brown Betty"], "x", 18)),
        ("pot Brown\\ Be", (["pot"], "Brown Be", 4)),
    ],
)
def test_the_word_that_is_being_written_is_found(line: str, expected: tuple[list[str], str, int]) -> None:
    assert split_for_completion(line) == expected


def test_a_pattern_in_quotes_reaches_grep_as_it_was_typed() -> None:
    assert split(r'grep "ICID.*TLS\sfailed" mail_logs') == ["grep", r"ICID.*TLS\sfailed", "mail_logs"]


def test_plain_words_are_not_quoted() -> None:
    assert quote("IncomingMail") == "IncomingMail"
    assert quote("Incoming Mail") == '"Incoming Mail"'
    assert quote("") == '""'


def test_near_misses_are_found_and_far_ones_are_not() -> None:
    assert nearest("certconfg", ["certconfig", "commit"]) == "certconfig"
    assert nearest("zzz", ["certconfig", "commit"]) is None


def test_only_the_value_behind_a_secret_flag_is_hidden() -> None:
    assert redact(["x", "--pw", "a", "b"], ["--pw"]) == ["x", "--pw", "***", "b"]
    assert redact(["--pw", "--pw", "a"], ["--pw"]) == ["--pw", "***", "a"]
