"""What Tab and the arrow keys make of a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.commands.registry import Completion
from mxseal.commands.words import split
from mxseal.faces.ssh_editing import KEPT_LINES, History, Recall, columns, complete

NAMES = ["Brown Betty", "Brown Bear", "Kyusu", 'a "quoted" one']


def _names(_words: list[str], incomplete: str) -> list[Completion]:
    return [Completion(name) for name in NAMES if name.lower().startswith(incomplete.lower())]


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("pot Ky", "pot Kyusu "),
        ("pot ky", "pot Kyusu "),
        ("pot Br", 'pot "Brown Be'),
        ('pot "Brown Bet', 'pot "Brown Betty" '),
        ("pot a", 'pot "a \\"quoted\\" one" '),
    ],
)
def test_the_last_word_is_completed_and_quoted(line: str, made: str) -> None:
    found = complete(line, len(line), _names)
    assert found is not None
    assert (found.line, found.position, list(found.choices)) == (made, len(made), [])


def test_where_nothing_is_decided_the_choices_are_shown() -> None:
    found = complete("pot ", 4, _names)
    assert found is not None
    assert (found.line, found.choices) == ("pot ", NAMES)
    assert complete("pot x", 5, _names) is None


def test_a_word_in_the_middle_is_completed_and_what_follows_stays() -> None:
    found = complete("pot Ky --lids 2", 6, _names)
    assert found is not None
    assert (found.line, found.position) == ("pot Kyusu  --lids 2", 10)


def test_a_file_can_only_be_standard_input() -> None:
    found = complete("load ", 5, lambda _words, incomplete: [Completion(incomplete, kind="file")])
    assert found is not None
    assert found.line == "load - "


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_whatever_a_name_is_the_completed_line_has_it_as_its_word(name: str) -> None:
    found = complete("use ", 4, lambda _words, _incomplete: [Completion(name)])
    assert found is not None
    assert split(found.line) == ["use", name]


def test_the_arrow_keys_go_through_earlier_lines_and_back_to_what_was_begun() -> None:
    history = History()
    for line in ("one", "two", "two", ""):
        history.add(line)
    recall = Recall(history)
    assert recall.previous("beg", 3) == ("two", 3)
    assert recall.previous("two", 3) == ("one", 3)
    assert recall.previous("one", 3) is False
    assert recall.following("one", 3) == ("two", 3)
    assert recall.following("two", 3) == ("beg", 3)
    assert recall.following("beg", 3) is False


def test_the_history_is_bounded() -> None:
    history = History()
    for number in range(KEPT_LINES * 2):
        history.add(str(number))
    assert len(history.lines) == KEPT_LINES


def test_choices_stand_side_by_side_within_the_window() -> None:
    shown = columns([f"word{number:02}" for number in range(20)], 40)
    assert max(map(len, shown.splitlines())) <= 40
    assert len(shown.splitlines()) == 4
    assert "… and 300 more" in columns([str(number) for number in range(500)], 80)
