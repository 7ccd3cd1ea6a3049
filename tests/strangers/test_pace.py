"""Who costs much and brings nothing rests; who sends mail does not. Time and work are the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.relay.pace import ALLOWANCE, CREDIT, MESSAGE, RETURNS, Fairness

A, B = "192.0.2.1", "192.0.2.2"


def test_a_host_within_its_allowance_does_not_rest() -> None:
    fairness = Fairness()
    assert [fairness.spend(A, ALLOWANCE / 4, 0.0) for _ in range(4)] == [0.0] * 4


def test_a_host_beyond_its_allowance_rests_nine_times_as_long_as_it_works() -> None:
    fairness = Fairness()
    fairness.spend(A, ALLOWANCE, 0.0)
    assert fairness.spend(A, 0.01, 0.0) == pytest.approx(0.09)
    assert fairness.spend(B, ALLOWANCE, 0.0) == 0.0


@given(st.integers(1, 200), st.lists(st.floats(0.0001, 0.1), min_size=20, max_size=60))
def test_all_hosts_beyond_their_allowance_have_a_tenth_of_the_time_together(
    hosts: int, works: list[float]
) -> None:
    fairness, now, worked = Fairness(), 0.0, 0.0
    for number in range(hosts):
        fairness.spend(f"192.0.2.{number}", ALLOWANCE, now)
    due = [0.0] * hosts
    for index, work in enumerate(works):
        host = index % hosts
        now = max(now, due[host]) + work
        worked += work
        due[host] = now + fairness.spend(f"192.0.2.{host}", work, now)
    returned = RETURNS * max(due) * hosts
    assert worked <= max(due) / 10 + returned + max(works) * min(hosts, len(works)) + 1e-9


def test_messages_that_are_taken_pay_for_the_work() -> None:
    fairness = Fairness()
    for number in range(1000):
        assert fairness.spend(A, MESSAGE * 0.9, number / 100) == 0.0
        fairness.earn(A, 1, number / 100)


def test_on_a_busy_machine_a_host_rests_as_long_as_its_work_took_by_the_clock() -> None:
    fairness = Fairness()
    fairness.spend(A, ALLOWANCE, 0.0)
    assert fairness.spend(A, 0.01, 0.05, lasted=0.05) == pytest.approx(0.45)


def test_a_host_that_sent_much_has_a_credit_that_is_bounded() -> None:
    fairness = Fairness()
    for _ in range(10_000):
        fairness.earn(A, 10, 0.0)
    assert fairness.spend(A, CREDIT + ALLOWANCE * 0.9, 1000.0) == 0.0
    assert fairness.spend(A, ALLOWANCE, 1000.0) > 0


def test_an_allowance_comes_back_slowly() -> None:
    fairness = Fairness()
    fairness.spend(A, ALLOWANCE, 0.0)
    assert fairness.spend(A, ALLOWANCE / 2, ALLOWANCE / RETURNS / 2) == 0.0
    assert fairness.spend(A, ALLOWANCE / 10, ALLOWANCE / RETURNS / 2) > 0


def test_hosts_are_not_remembered_without_end() -> None:
    fairness = Fairness()
    for number in range(25_000):
        fairness.spend(f"host{number}", 0.001, 0.0)
    assert len(fairness._spent) <= 10_000
