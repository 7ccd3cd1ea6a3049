"""TLS partners and the overview: what would break, why it failed, what is wrong, and charts with numbers."""

from __future__ import annotations

import pytest

from lab.browser import Browser
from mxseal.faces.web import charts, troubles
from mxseal.faces.web.charts import Series
from tests.web.looking import window
from tests.web.serving import WebServing


def test_what_would_break_under_a_level_is_counted_and_listed(web: WebServing, browser: Browser) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/partners?level=required&side=out")
    assert "of 5 partners would fail now" in reader.page.locator(".notice").first.inner_text()
    assert reader.page.get_by_role("link", name="plain.example").count() == 1
    assert reader.page.get_by_role("link", name="bank.example").count() == 0
    reader.close()


def test_a_partners_page_tells_the_last_failure_and_leads_to_its_level(
    web: WebServing, browser: Browser
) -> None:
    operator = window(web, browser, "otto")
    operator.open("/partners/masked.example")
    told = operator.page.locator(".notice.bad").inner_text()
    assert "overwritten the offer of STARTTLS" in told
    assert "Whoever runs what lies between has to act." in told
    operator.press("Set its level")
    assert operator.page.input_value("#f-domain") == "masked.example"
    operator.open("/partners/plain.example")
    operator.press("Set its level")
    assert operator.page.url.endswith("/policies/destinations/plain.example/edit")
    operator.close()


def test_who_may_only_read_is_not_led_to_a_level(web: WebServing, browser: Browser) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/partners/bank.example")
    assert "Set its level" not in reader.text()
    assert "verified" in reader.page.locator(".strip").first.inner_text()
    reader.close()


def test_the_overview_begins_with_what_is_wrong_the_worst_first(web: WebServing, browser: Browser) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/")
    said = reader.page.locator(".troubles .name").all_inner_texts()
    assert said[0] == "TLS to masked.example fails, and mail waits."
    assert "example.org does not answer: 2 recipients wait." in said
    reader.page.locator(".troubles .name").first.click()
    assert reader.page.url.endswith("/partners/masked.example")
    reader.close()


def test_the_overviews_charts_have_their_numbers_as_tables(web: WebServing, browser: Browser) -> None:
    reader = window(web, browser, "rhea")
    reader.open("/?span=day")
    assert reader.page.locator(".plot").count() == 2
    assert reader.page.locator(".chart details table").first.locator("tbody tr").count() == 24
    assert reader.page.locator("[style]").count() == 0
    reader.close()


# --- pure -------------------------------------------------------------------------------------------------


def test_columns_stand_on_each_other_and_fill_no_more_than_the_height() -> None:
    chart = charts.columns([Series("a", "good", (3, 0)), Series("b", "bad", (2, 1))])
    assert (chart.top, chart.total) == (5, 6)
    low, high, later = chart.rects
    assert (low.y + low.height, high.y + high.height, high.y) == (charts.HEIGHT, low.y, 0)
    assert later.x > high.x + high.width
    assert later.height == charts.HEIGHT / 5


def test_a_chart_without_numbers_draws_nothing() -> None:
    for chart in (
        charts.columns([]),
        charts.columns([Series("a", "good", (0,))]),
        charts.shares({}, "others"),
    ):
        assert chart.rects == ()
        assert chart.total == 0


def test_five_series_are_too_many_and_the_small_ones_are_the_others() -> None:
    with pytest.raises(ValueError, match="5 series"):
        charts.columns([Series("a", "s1", (1,))] * 5)
    chart = charts.shares({"a": 50, "b": 30, "c": 10, "d": 6, "e": 4}, "others")
    assert [(each.name, each.total) for each in chart.series] == [
        ("a", 50),
        ("b", 30),
        ("c", 10),
        ("others", 10),
    ]
    assert sum(rect.width for rect in chart.rects) == pytest.approx(100)


@pytest.mark.parametrize(("value", "top"), [(0, 1), (1, 1), (3, 5), (11, 20), (500, 500), (501, 1000)])
def test_an_axis_ends_at_a_round_number(value: int, top: int) -> None:
    assert charts.rounded_up(value) == top


@pytest.mark.parametrize(
    ("left", "kinds"), [(-1, ["bad"]), (0, ["bad"]), (13, ["bad"]), (29, ["weak"]), (30, [])]
)
def test_a_certificate_is_a_trouble_from_thirty_days_on_and_urgent_from_fourteen(
    left: int, kinds: list[str]
) -> None:
    facts = {"name": "mx", "days_left": left, "uses": ["listener In (first)"]}
    assert [each.kind for each in troubles.of_certificates([facts], _english)] == kinds
    assert list(troubles.of_certificates([facts | {"uses": []}], _english)) == []


def _english(text: str, **places: object) -> str:
    return text.format(**places)
