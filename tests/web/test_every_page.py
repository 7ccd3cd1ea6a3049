"""What holds for every page: translated, readable by machines for people, narrow, within its own policy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from lab.browser import Browser
from mxseal.faces.web.texts import catalogue
from mxseal.language import LANGUAGES
from tests.web.looking import Window, window
from tests.web.pages import BESIDE, EXAMPLES, addresses, pages
from tests.web.serving import WebServing
from tests.web.texts import code_texts, form_texts, strings, template_texts, untranslatable

GRAVE = {"serious", "critical"}
AXE = Axe().axe_script
"""Evaluated, not inserted: no policy is in its way, and none is weakened for it."""


@pytest.fixture(scope="module", params=LANGUAGES)
def seen(request: pytest.FixtureRequest, web: WebServing, browser: Browser) -> Iterator[Window]:
    """An administrator's window."""
    found = window(web, browser, language=request.param)
    yield found
    found.close()


def test_every_page_has_an_example() -> None:
    assert {page.path for page in pages()} == set(EXAMPLES)


@pytest.mark.parametrize("address", addresses())
def test_a_page_is_readable_in_light_and_dark_wide_and_narrow(seen: Window, address: str) -> None:
    answer = seen.open(address)
    page = seen.page
    if address not in BESIDE:
        assert answer.status == 200
    assert page.locator("html").get_attribute("lang") == seen.language
    if seen.language == "en":  # the elements are the same in all languages, and axe-core takes its time
        page.emulate_media(color_scheme="light")
        page.evaluate(AXE)
        assert _grave(page) == []
        page.emulate_media(color_scheme="dark")
        assert _grave(page, "color-contrast") == []
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.set_viewport_size({"width": 1280, "height": 860})
    assert seen.complaints == []


def _grave(page: Page, *rules: str) -> list[Any]:
    """What axe-core calls serious or worse: of WCAG 2.2 AA and its own best practices, or of these rules."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = page.evaluate("options => axe.run(document, options).then(found => found.violations)", options)
    return [
        (entry["id"], [node["html"][:200] for node in entry["nodes"]])
        for entry in found
        if entry["impact"] in GRAVE
    ]


# --- texts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_every_text_of_the_pages_has_a_translation(language: Any) -> None:
    known = catalogue(language)
    missing = {text for _, text in (*template_texts(), *code_texts(), *form_texts()) if not known.get(text)}
    assert missing == set()


def test_no_word_of_a_template_escapes_the_translators() -> None:
    assert list(untranslatable()) == []


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_no_translation_is_of_a_text_that_is_gone(language: Any) -> None:
    assert set(catalogue(language)) - strings() == set()


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_a_translation_has_the_places_of_its_text(language: Any) -> None:
    def places(text: str) -> list[str]:
        return sorted(re.findall(r"\{\w+\}", text))

    wrong = [text for text, told in catalogue(language).items() if places(text) != places(told)]
    assert wrong == []
