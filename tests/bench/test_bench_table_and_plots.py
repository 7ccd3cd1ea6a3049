"""What the benchmark says of its readings: ratios, goals, profiles, plots. No servers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.plot import Plot, Series, svg
from bench.profile import shares
from bench.results import Reading, Row, checks, table


def row(ours: list[float], rival: list[float], **more: object) -> Row:
    values = {"key": "k", "title": "a load", "layout": "1 core", "unit": "msg/s"} | more
    return Row(ours=[Reading(value=v) for v in ours], rival=[Reading(value=v) for v in rival], **values)  # type: ignore[arg-type]


def test_the_ratio_is_that_of_the_medians() -> None:
    assert row([100, 900, 300], [90, 100, 5]).ratio == pytest.approx(300 / 90)


@pytest.mark.parametrize(
    ("better", "goal", "met"),
    [("more", 2.0, True), ("more", 4.0, False), ("less", 3.0, True), ("less", 2.0, False)],
)
def test_a_goal_is_a_floor_where_more_is_better_and_a_ceiling_where_less_is(
    better: str, goal: float, met: bool
) -> None:
    assert row([300], [100], better=better, goal=goal).met is met


def test_a_goal_about_our_own_value_does_not_look_at_the_rival() -> None:
    assert row([0.5], [0.1], better="less", goal=1.0, goal_of="ours").met


def test_a_row_without_rival_has_no_ratio_and_its_goal_can_still_be_judged() -> None:
    alone = row([4.0], [], better="less", goal=5.0, goal_of="ours")
    assert (alone.ratio, alone.met) == (None, True)


def test_the_table_marks_what_misses_its_goal() -> None:
    lines = table([row([300], [100], goal=2.0), row([100], [100], goal=2.0)]).splitlines()
    assert lines[1].endswith("yes")
    assert lines[2].endswith("NO")


def test_rows_that_count_no_messages_have_no_line_among_the_checks() -> None:
    assert checks([row([1], [2])]) == ""


def test_a_plot_is_well_formed_and_shows_each_point() -> None:
    plot = Plot(
        title="cost < size & more",
        x="size",
        y="ms",
        series=[Series("a", [(0, 1.0), (1000, 2.0)]), Series("b", [(1, 0.5), (100_000, 4.0)])],
    )
    found = ElementTree.fromstring(svg(plot))
    assert len(found.findall(".//{http://www.w3.org/2000/svg}circle")) == 4


def test_a_plot_of_equal_values_is_drawn_too() -> None:
    ElementTree.fromstring(svg(Plot(title="t", x="x", y="y", series=[Series("a", [(5, 0.0)])], log_y=True)))


def test_a_profile_tells_own_time_from_time_with_callees() -> None:
    text = shares(["main (a.py:1);work (a.py:5) 30", "main (a.py:2) 10"])
    assert text.splitlines()[1].split() == ["75.0%", "75.0%", "work", "(a.py)"]
    assert any(line.split() == ["25.0%", "100.0%", "main", "(a.py)"] for line in text.splitlines())
