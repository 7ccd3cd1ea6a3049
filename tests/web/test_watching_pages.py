"""Logs, alerts and checks in the browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.browser import Browser
from mxseal.faces.web.watching import linked
from tests.web.looking import Window, window
from tests.web.serving import WebServing


@pytest.fixture(scope="module")
def reader(web: WebServing, browser: Browser) -> Iterator[Window]:
    found = window(web, browser, "anna")
    yield found
    found.close()


def test_what_a_stranger_put_into_a_log_stays_text_and_its_numbers_lead_on(reader: Window) -> None:
    reader.open("/system/logs/mail_logs?q=Subject")
    line = reader.page.locator(".lines li")
    assert "<script>alert(1)</script>" in line.inner_text()
    line.get_by_role("link", name="MID 14").click()
    reader.page.locator(".lines li", has_text="queued for delivery").wait_for()
    assert reader.page.locator(".lines li").count() == 3
    assert reader.complaints == []


def test_the_live_view_shows_the_last_lines_as_text(reader: Window) -> None:
    reader.open("/system/logs/mail_logs")
    reader.page.locator(".lines li", has_text="<script>alert(1)</script>").wait_for()
    assert reader.complaints == []


def test_a_log_that_is_not_there_is_told(reader: Window) -> None:
    reader.open("/system/logs/..%2Fstate?q=x")
    assert reader.page.locator(".lines").count() == 0


def test_an_alert_opens_to_its_whole_text(reader: Window) -> None:
    reader.open("/system/alerts")
    reader.page.locator(".alert summary").click()
    reader.page.get_by_text("its certificate expired on 3 March").wait_for()


def test_a_check_that_fails_says_why(reader: Window) -> None:
    reader.open("/system/checks")
    reader.page.fill("#domain", "bad domain")
    reader.press("Verify the certificate")
    reader.page.wait_for_url("**/system/checks/*")
    reader.page.locator("#job .badge.bad").wait_for()


def test_the_check_of_somebody_else_is_nowhere(web: WebServing, browser: Browser, reader: Window) -> None:
    reader.open("/system/checks")
    reader.page.fill("#domain", "bad domain")
    reader.press("Verify the certificate")
    reader.page.wait_for_url("**/system/checks/*")
    address = reader.page.url.removeprefix(web.address)
    other = window(web, browser, "otto")
    assert other.open(address).status == 404
    other.close()


def test_a_number_in_a_line_is_a_link_and_the_rest_is_escaped() -> None:
    assert linked("mail_logs", 'MID 5 "<b>"') == (
        '<a href="/system/logs/mail_logs?q=%5CbMID+5%5Cb">MID 5</a> &#34;&lt;b&gt;&#34;'
    )
