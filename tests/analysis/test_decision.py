"""What becomes of a message by what is known of its files."""

from __future__ import annotations

from typing import get_args

import pytest

from mxseal.analysis.decision import Action, Decision, Finding, Next, Policy, Word, decide, finding
from mxseal.analysis.values import AnalysisFault, Disposition, Pending, Verdict

POLICY = Policy(hold_time=100.0)


def verdict(disposition: Disposition, score: int | None = None) -> Verdict:
    return Verdict(disposition, score, "", "server", "")


PENDING = Pending("server", "7", "ab")
FAULT = AnalysisFault("silent", "no answer within 5 s", "server")


@pytest.mark.parametrize(
    ("answers", "word"),
    [
        ([], "fault"),
        ([verdict("clean")], "clean"),
        ([verdict("unknown")], "unknown"),
        ([verdict("clean", 94)], "clean"),
        ([verdict("clean", 95)], "malicious"),
        ([verdict("unknown"), verdict("clean")], "clean"),
        ([verdict("clean"), PENDING], "pending"),
        ([verdict("clean"), FAULT], "fault"),
        ([PENDING, FAULT], "fault"),
        ([FAULT, verdict("malicious"), verdict("clean")], "malicious"),
    ],
)
def test_of_several_servers_the_gravest_counts_and_clean_stands_above_unknown(
    answers: list[Verdict | Pending | AnalysisFault], word: Word
) -> None:
    assert finding("a.exe", "ab", answers, POLICY).word == word
    assert finding("a.exe", "ab", answers[::-1], POLICY).word == word


@pytest.mark.parametrize(
    ("word", "waited", "expected"),
    [
        ("clean", 0, "deliver"),
        ("unknown", 0, "deliver"),
        ("unscannable", 0, "deliver"),
        ("malicious", 0, "quarantine"),
        ("pending", 99, "hold"),
        ("pending", 100, "deliver"),
        ("fault", 99, "hold"),
        ("fault", 100, "deliver"),
    ],
)
def test_each_word_has_its_action_and_a_hold_ends(word: Word, waited: float, expected: Next) -> None:
    decided = decide([Finding(word=word, name="a.exe")], POLICY, waited)
    assert decided.action == expected
    assert decided.late == (waited == 100)


@pytest.mark.parametrize("late", get_args(Action))
def test_what_comes_after_a_hold_is_the_policys(late: Action) -> None:
    policy = Policy(hold_time=100.0, late=late)
    assert decide([Finding(word="pending", name="a.exe")], policy, 100).action == late


def test_a_message_without_files_is_delivered() -> None:
    assert decide([], POLICY, 0) == Decision("deliver", None)


@pytest.mark.parametrize("order", [1, -1])
def test_the_strictest_of_all_files_decides(order: int) -> None:
    words: list[Word] = ["clean", "pending", "malicious", "unknown"]
    found = [Finding(word=word, name=word) for word in words][::order]
    decided = decide(found, POLICY, 0)
    assert decided.finding is not None
    assert (decided.action, decided.finding.name) == ("quarantine", "malicious")
    assert decide(found, Policy(malicious="drop"), 0).action == "drop"
