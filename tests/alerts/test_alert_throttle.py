"""Duplicates: the reference's printed series, sums, bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.alerts.alert import Alert, Outgoing
from mxseal.alerts.throttle import TOLD_APART, Throttle, following


def alert(key: str = "tls:partner.example", kind: str = "tls-failed") -> Alert:
    return Alert(kind=kind, alert_class="system", severity="warning", key=key, title="no TLS")


def incessantly(first: float, longest: float, seconds: int) -> list[Outgoing]:
    """What goes out when the same alert comes every second."""
    throttle = Throttle(first, longest)
    sent: list[Outgoing] = []
    for second in range(seconds + 1):
        sent += throttle.summaries(float(second))
        if (outgoing := throttle.offer(alert(), float(second))) is not None:
            sent.append(outgoing)
    return sent


@pytest.mark.parametrize(
    ("first", "longest", "times"),
    [
        (5, 60, [0, 5, 15, 35, 60, 120, 180]),  # as the manual prints it
        (5, 10_000, [0, 5, 15, 35, 75, 155]),  # and without a maximum in the way
        (300, 60, [0, 60, 120, 180]),
        (50, 50, [0, 50, 100, 150]),
    ],
)
def test_an_alert_that_comes_all_the_time_goes_out_in_the_printed_series(
    first: float, longest: float, times: list[int]
) -> None:
    assert [outgoing.at for outgoing in incessantly(first, longest, 190)] == times


def test_the_default_series_is_5_15_35_60_minutes_and_then_every_hour() -> None:
    minutes, elapsed = [], 0.0
    for _ in range(6):
        elapsed = following(300.0, 3600.0, elapsed)
        minutes.append(elapsed / 60)
    assert minutes == [5, 15, 35, 60, 120, 180]


def test_each_alert_sums_up_what_was_held_back_since_the_last_one() -> None:
    sent = incessantly(5, 60, 120)
    assert [outgoing.held_back for outgoing in sent] == [0, 4, 10, 20, 25, 60]
    assert sent[0].since is None
    assert {outgoing.since for outgoing in sent[1:]} == {0.0}


def test_a_duplicate_that_comes_alone_is_summed_up_when_its_wait_is_over() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 0.0)
    assert throttle.next_wake() is None
    assert throttle.offer(alert(), 10.0) is None
    assert throttle.next_wake() == 300.0
    assert throttle.summaries(299.0) == []
    assert [outgoing.held_back for outgoing in throttle.summaries(300.0)] == [1]
    assert throttle.next_wake() is None


def test_a_duplicate_behind_its_wait_goes_out_at_once_and_the_series_goes_on() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 0.0)
    assert throttle.offer(alert(), 400.0) is not None
    assert throttle.offer(alert(), 500.0) is None
    assert throttle.next_wake() == 900.0


def test_after_the_longest_wait_in_silence_a_new_series_begins() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 0.0)
    fresh = throttle.offer(alert(), 3600.0)
    assert fresh is not None
    assert fresh.since is None
    assert throttle.offer(alert(), 3700.0) is None
    assert throttle.next_wake() == 3900.0


@pytest.mark.parametrize(("first", "longest"), [(0, 3600), (300, 0), (0, 0)])
def test_without_a_wait_every_alert_goes_out(first: float, longest: float) -> None:
    assert len(incessantly(first, longest, 50)) == 51


def test_taking_the_wait_away_lets_out_what_is_held_back() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 0.0)
    throttle.offer(alert(), 1.0)
    throttle.configure(0, 3600)
    assert [outgoing.held_back for outgoing in throttle.summaries(2.0)] == [1]


def test_different_troubles_do_not_hold_each_other_back() -> None:
    throttle = Throttle(300, 3600)
    assert throttle.offer(alert("tls:a.example"), 0.0) is not None
    assert throttle.offer(alert("tls:b.example"), 1.0) is not None
    assert throttle.offer(alert("disk", "disk-nearly-full"), 1.0) is not None


def test_too_many_different_ones_are_gathered_so_that_strangers_can_t_flood_a_mailbox() -> None:
    throttle = Throttle(300, 3600)
    sent = [throttle.offer(alert(f"tls:{n}.example"), float(n) / 1000) for n in range(1000)]
    gone = [outgoing for outgoing in sent if outgoing is not None]
    assert len(gone) == TOLD_APART + 1
    assert [outgoing.crowd for outgoing in gone] == [False] * TOLD_APART + [True]
    assert len(throttle.kept()) == TOLD_APART + 1
    (summary,) = throttle.summaries(301.0)
    assert summary.crowd
    assert summary.held_back == 1000 - TOLD_APART - 1
    assert summary.alert.key == "tls:999.example"
    assert throttle.offer(alert("disk", "disk-nearly-full"), 302.0) is not None


def test_a_trouble_that_is_over_says_how_many_were_held_back_and_sums_up_no_more() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 0.0)
    throttle.offer(alert(), 1.0)
    throttle.offer(alert(), 2.0)
    assert throttle.release("tls:partner.example") == 2
    assert throttle.release("tls:unknown.example") == 0
    assert throttle.summaries(1000.0) == []


def test_a_clock_that_was_set_back_does_not_silence_alerts() -> None:
    throttle = Throttle(300, 3600)
    throttle.offer(alert(), 1_000_000.0)
    assert throttle.offer(alert(), 1000.0) is not None


def test_what_is_kept_goes_on_in_another_throttle() -> None:
    first = Throttle(300, 3600)
    first.offer(alert(), 0.0)
    first.offer(alert(), 1.0)
    second = Throttle(300, 3600)
    second.restore(first.kept())
    assert second.offer(alert(), 2.0) is None
    assert [outgoing.held_back for outgoing in second.summaries(300.0)] == [2]


@given(
    st.floats(0.1, 1000),
    st.floats(0.1, 100_000),
    st.lists(st.floats(0, 10_000), min_size=1, max_size=60).map(sorted),
)
def test_no_alert_is_lost_and_none_comes_before_its_time(
    first: float, longest: float, arrivals: list[float]
) -> None:
    throttle = Throttle(first, longest)
    sent: list[Outgoing] = []
    alone = 0
    for at in arrivals:
        while (due := throttle.next_wake()) is not None and due <= at:
            sent += throttle.summaries(due)
        if (outgoing := throttle.offer(alert(), at)) is not None:
            sent.append(outgoing)
            alone += 1
    while (due := throttle.next_wake()) is not None:
        sent += throttle.summaries(due)
    assert alone + sum(outgoing.held_back for outgoing in sent) == len(arrivals)
    gaps = [later.at - earlier.at for earlier, later in pairwise(sent)]
    assert all(gap > 0 for gap in gaps)
