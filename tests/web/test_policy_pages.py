"""Policies in the browser: levels with what the records say, entries that are added, changed and deleted."""

from __future__ import annotations

from lab.browser import Browser
from tests.web.looking import window
from tests.web.serving import WebServing


def test_a_level_stands_beside_what_it_would_have_broken(web: WebServing, browser: Browser) -> None:
    operator = window(web, browser, "otto")
    operator.open("/policies/destinations/plain.example/edit")
    levels = operator.page.locator(".level")
    assert levels.locator("input:checked").get_attribute("value") == "preferred"
    required = levels.filter(has=operator.page.locator('input[value="required"]'))
    assert "4 of 4 connections would have failed" in required.inner_text()
    operator.close()


def test_a_destination_is_added_changed_and_deleted_with_what_was_typed(
    web: WebServing, browser: Browser
) -> None:
    operator = window(web, browser, "otto")
    page = operator.page
    operator.open("/policies/destinations/new")
    page.fill("#f-domain", "ministry.example")
    page.check('input[value="required-verify"]')
    page.locator("form.stack button.primary").click()
    page.get_by_role("link", name="ministry.example").click()
    assert page.locator(".level input:checked").get_attribute("value") == "required-verify"
    page.fill("#f-concurrency", "many")
    page.locator("form.stack button.primary").click()
    page.locator(".notice.bad", has_text="a number or 'default'").wait_for()
    page.fill("#f-concurrency", "7")
    page.locator("form.stack button.primary").click()
    page.get_by_role("link", name="ministry.example").click()
    assert page.input_value("#f-concurrency") == "7"
    operator.press("Delete")
    page.locator("button.danger").click()
    page.wait_for_url("**/policies/destinations")
    assert page.get_by_role("link", name="ministry.example").count() == 0
    operator.close()


def test_an_entry_that_does_not_exist_is_told_as_a_page(web: WebServing, browser: Browser) -> None:
    operator = window(web, browser, "otto")
    answer = operator.open("/policies/destinations/nowhere.example/edit")
    assert answer.status == 404
    assert "There is no entry for nowhere.example" in operator.text()
    operator.close()
