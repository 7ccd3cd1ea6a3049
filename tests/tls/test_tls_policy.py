"""The outcome tables of the reference, every cell."""

from __future__ import annotations

import pytest

from mxseal.tls.policy import (
    LEVELS,
    OUTCOMES,
    Action,
    Event,
    Level,
    Plan,
    Verdict,
    after_failure,
    judge,
    plan,
)

# Reference §3.3, written out a second time, by level.
CELLS: dict[Level, dict[Event, Action]] = {
    "off": {"ehlo-rejected": "deliver-clear", "no-starttls": "deliver-clear"},
    "preferred": {
        "ehlo-rejected": "deliver-clear",
        "no-starttls": "deliver-clear",
        "starttls-refused": "deliver-clear",
        "handshake-failed": "drop-and-retry-later",
        "untrusted": "deliver-encrypted",
        "name-mismatch": "deliver-encrypted",
        "revoked": "deliver-encrypted",
        "not-pinned": "deliver-encrypted",
    },
    "required": {
        "ehlo-rejected": "fail",
        "no-starttls": "fail",
        "starttls-refused": "fail",
        "handshake-failed": "fail",
        "untrusted": "deliver-encrypted",
        "name-mismatch": "deliver-encrypted",
        "revoked": "deliver-encrypted",
        "not-pinned": "deliver-encrypted",
    },
    "preferred-verify": {
        "ehlo-rejected": "deliver-clear",
        "no-starttls": "deliver-clear",
        "starttls-refused": "deliver-clear",
        "handshake-failed": "drop-and-retry-later",
        "untrusted": "deliver-encrypted",
        "name-mismatch": "deliver-encrypted",
        "revoked": "deliver-encrypted",
        "not-pinned": "deliver-encrypted",
    },
    "required-verify": dict.fromkeys(OUTCOMES, "fail"),
    "required-verify-hosted": dict.fromkeys(OUTCOMES, "fail"),
}


@pytest.mark.parametrize("event", OUTCOMES)
@pytest.mark.parametrize("level", LEVELS)
def test_each_cell_of_the_outcome_table(level: Level, event: Event) -> None:
    if event in CELLS[level]:
        assert after_failure(level, event) == CELLS[level][event]
    else:
        with pytest.raises(ValueError, match="never tries STARTTLS"):
            after_failure(level, event)


def test_the_table_has_a_cell_for_every_level() -> None:
    assert all(len(row) == len(LEVELS) for row in OUTCOMES.values())


@pytest.mark.parametrize(
    ("level", "esmtp", "starttls", "expected"),
    [
        ("off", True, True, Plan("deliver-clear")),
        ("off", False, False, Plan("deliver-clear")),
        ("preferred", True, True, Plan("starttls")),
        ("preferred", True, False, Plan("deliver-clear", "no-starttls")),
        ("preferred", False, False, Plan("deliver-clear", "ehlo-rejected")),
        ("required", True, True, Plan("starttls")),
        ("required", True, False, Plan("fail", "no-starttls")),
        ("required", False, False, Plan("fail", "ehlo-rejected")),
        ("preferred-verify", True, False, Plan("deliver-clear", "no-starttls")),
        ("required-verify", True, True, Plan("starttls")),
        ("required-verify", False, False, Plan("fail", "ehlo-rejected")),
    ],
)
def test_the_plan_after_the_greeting(level: Level, esmtp: bool, starttls: bool, expected: Plan) -> None:
    assert plan(level, esmtp=esmtp, starttls=starttls) == expected


def test_a_plan_names_the_condition_as_events_do() -> None:
    assert plan("required", esmtp=False, starttls=False).condition == "no-esmtp"
    assert plan("required", esmtp=True, starttls=False).condition == "no-starttls"
    assert plan("required", esmtp=True, starttls=True).condition is None


@pytest.mark.parametrize("level", ["preferred", "required", "preferred-verify"])
def test_levels_without_enforcement_deliver_whatever_certificate_is_shown(level: Level) -> None:
    assert judge(level, verified=True) == Verdict("deliver-encrypted")
    assert judge(level, verified=False) == Verdict("deliver-encrypted", "untrusted")
    assert judge(level, verified=True, name_matches=False) == Verdict("deliver-encrypted", "name-mismatch")
    assert judge(level, verified=False, revoked=True) == Verdict("deliver-encrypted", "revoked")


@pytest.mark.parametrize("level", ["required-verify", "required-verify-hosted"])
def test_verifying_levels_fail_on_any_finding(level: Level) -> None:
    assert judge(level, verified=True) == Verdict("deliver-encrypted")
    assert judge(level, verified=False, name_matches=False) == Verdict("fail", "untrusted")
    assert judge(level, verified=True, name_matches=False) == Verdict("fail", "name-mismatch")
    assert judge(level, verified=True, revoked=True) == Verdict("fail", "revoked")
    assert judge(level, verified=True, pinned=False) == Verdict("fail", "not-pinned")


def test_the_worst_finding_is_the_one_that_is_told() -> None:
    everything = judge("required-verify", verified=False, name_matches=False, revoked=True, pinned=False)
    assert everything.event == "revoked"
    assert judge("required-verify", verified=False, name_matches=False, pinned=False).event == "not-pinned"
