"""Sentences that are kept in English, told in the reader's language: what records and alerts remember.

A record keeps a diagnosis as its sentence, an alert its title. The catalogue has the texts that they were
made from: the one that fits gives the translation, and what stood in its places.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec
import re2

from mxseal.language import Language, translations

_CATALOGUES = ("diagnosis", "alerts", "results")
_PLACE = re.compile(r"\{(\w+)\}")
_LONGEST = 1000
_DEEPEST = 2
"""Phrases within phrases: 'the server mx.example.org' stands in a sentence."""


class _Told(msgspec.Struct, frozen=True):
    """A text with places, and its translation."""

    english: object
    """The compiled expression, with one group for each place."""
    places: tuple[str, ...]
    translation: str


def retold(language: Language, text: str) -> str:
    """`text` as it is where no catalogue has it, or the language is English."""
    return text if language == "en" or len(text) > _LONGEST else _known(language, text, _DEEPEST)


@lru_cache(maxsize=2000)
def _known(language: Language, text: str, depth: int) -> str:
    plain, shaped = _texts(language)
    if text in plain:
        return plain[text]
    for each in shaped if depth else ():
        found = each.english.fullmatch(text)  # type: ignore[attr-defined]
        if found is not None:
            words = (_known(language, word, depth - 1) for word in found.groups())
            return _filled(each, dict(zip(each.places, words, strict=True)))
    return text


def _filled(told: _Told, words: dict[str, str]) -> str:
    # Not `format`: what stood in a place comes from strangers and may hold braces.
    return _PLACE.sub(lambda place: words.get(place[1], ""), told.translation)


@lru_cache(maxsize=4)
def _texts(language: Language) -> tuple[dict[str, str], tuple[_Told, ...]]:
    """Those without places, and those with: the one with the most letters of its own first."""
    entries: dict[str, str] = {}
    for name in _CATALOGUES:
        entries |= catalogue_of(language, name)
    plain = {english: told for english, told in entries.items() if not _PLACE.search(english)}
    shaped = sorted(set(entries) - set(plain), key=lambda text: (-len(_PLACE.sub("", text)), text))
    return plain, tuple(_told(text, entries[text]) for text in shaped if _PLACE.sub("", text).strip())


def catalogue_of(language: Language, name: str) -> dict[str, str]:
    """English text -> its translation."""
    read = translations(language, name)
    known = getattr(read, "_catalog", {})
    return {english: told for english, told in known.items() if english}


def _told(english: str, translation: str) -> _Told:
    parts = _PLACE.split(english)
    # RE2 takes time in proportion to the text, whatever a stranger wrote into it
    shape = "".join("(.+?)" if at % 2 else re2.escape(part) for at, part in enumerate(parts))
    return _Told(re2.compile(f"(?s){shape}"), tuple(parts[1::2]), translation)
