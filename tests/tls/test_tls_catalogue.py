"""The catalogues of texts: whole, with the same places in every language, and read as gettext reads them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from importlib import resources

import pytest

from mxseal.commands.explanation_text import TEXTS
from mxseal.language import CatalogueFault, read_po, translations
from mxseal.tls.causes import CAUSES
from mxseal.tls.evidence import OBSERVATIONS
from mxseal.tls.telling import PHRASES, PLACES


def _texts(domain: str) -> set[str]:
    if domain == "explain":
        return set(TEXTS.values())
    sentences = {text for cause in CAUSES.values() for text in (cause.summary, cause.remedy)}
    phrases = {text for pair in PHRASES.values() for text in pair}
    return sentences | phrases | set(OBSERVATIONS.values())


def _entries(domain: str) -> dict[str, str]:
    path = resources.files("mxseal").joinpath("locale", "nl", f"{domain}.po")
    entries = read_po(path.read_text("utf-8"))
    entries.pop("")
    return entries


def _places(text: str) -> Iterator[str]:
    return (field for _, field, _, _ in string.Formatter().parse(text) if field is not None)


@pytest.mark.parametrize("domain", ["diagnosis", "explain"])
def test_each_text_has_its_dutch_and_no_other_is_left_over(domain: str) -> None:
    entries = _entries(domain)
    assert entries.keys() == _texts(domain)
    assert [key for key, value in entries.items() if not value] == []


@pytest.mark.parametrize("domain", ["diagnosis", "explain"])
def test_a_text_has_the_same_places_in_every_language(domain: str) -> None:
    for english, dutch in _entries(domain).items():
        assert set(map(str.lower, _places(english))) == set(map(str.lower, _places(dutch))), english
        assert english[-1:] == dutch[-1:] or english[-1:].isalpha(), english


def test_each_place_is_one_that_is_described() -> None:
    known = {*PLACES, "host", "profile"}
    for text in _texts("diagnosis"):
        assert set(_places(text)) <= known, text


def test_each_text_of_a_catalogue_is_found_by_gettext() -> None:
    for domain in ("diagnosis", "explain"):
        translate = translations("nl", domain).gettext
        assert {key: translate(key) for key in _texts(domain)} == _entries(domain)


def test_a_text_without_translation_is_told_in_english() -> None:
    assert translations("nl", "diagnosis").gettext("Nobody translated this.") == "Nobody translated this."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('msgid "a"\n\n', "lacks its msgid or its msgstr"),
        ('msgid "a"\nmsgstr "b"\n\nmsgid "a"\nmsgstr "c"\n', "is there twice"),
        ('msgid a\nmsgstr "b"\n', "line 1 has no text in double quotes"),
        ('msgid "a"\nmsgstr "b"\nmsgid_plural "c"\n', "line 3 is neither msgid nor msgstr"),
        ('"a"\n', "line 1 is neither"),
    ],
)
def test_a_catalogue_that_can_not_be_read_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(CatalogueFault, match=told):
        read_po(text)


def test_a_catalogue_may_have_comments_and_texts_over_several_lines() -> None:
    assert read_po('# hello\nmsgid ""\n"a "\n"b"\nmsgstr "c"\n# end\n') == {"a b": "c"}
