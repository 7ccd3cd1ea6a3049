"""Servers that analyse files in the browser: added, tried, changed and deleted."""

from __future__ import annotations

from lab.browser import Browser
from tests.web.looking import window
from tests.web.serving import WebServing


def test_a_scanner_is_added_changed_and_deleted_and_can_be_tried_where_there_is_one(
    web: WebServing, browser: Browser
) -> None:
    operator = window(web, browser, "otto", language="nl")
    page = operator.page
    operator.open("/system/analysis")
    assert page.locator("#server").count() == 0
    operator.open("/system/analysis/new")
    page.fill("#f-name", "Scanner")
    page.select_option("#f-kind", "icap")
    page.fill("#f-host", "icap.example.com")
    page.locator("form.stack button.primary").click()
    page.wait_for_url("**/system/analysis")
    assert "icap.example.com:11344" in operator.text()
    assert page.locator("#server option").all_inner_texts() == ["Allemaal", "Scanner"]
    page.get_by_role("link", name="Scanner").click()
    assert page.input_value("#f-service") == "avscan"
    page.fill("#f-service", "virus_scan")
    page.locator("form.stack button.primary").click()
    page.wait_for_url("**/system/analysis")
    page.get_by_role("link", name="Scanner").click()
    assert page.input_value("#f-service") == "virus_scan"
    page.locator("button.danger-quiet").click()
    page.locator("button.danger").click()
    page.wait_for_url("**/system/analysis")
    assert page.get_by_role("link", name="Scanner").count() == 0
    assert operator.complaints == []
    operator.close()
