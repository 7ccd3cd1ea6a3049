"""The texts of the pages in the reader's language, and how the reader's language is found.

A page may have a catalogue of its own, `locale/<language>/web-<subject>.po`: all of them count as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from mxseal.language import LANGUAGES, CatalogueFault, Language, read_po

NAMES: dict[Language, str] = {"en": "English", "nl": "Nederlands"}
_LONGEST_HEADER = 200

Say = Callable[..., str]


def N_(text: str) -> str:  # noqa: N802 - gettext's name for it
    """Marks a text that is translated where it is shown."""
    return text


@lru_cache(maxsize=4)
def catalogue(language: Language) -> dict[str, str]:
    """English text -> its translation. Raises CatalogueFault where two catalogues disagree."""
    if language == "en":
        return {}
    merged: dict[str, str] = {}
    folder = resources.files("mxseal").joinpath("locale", language)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not re.fullmatch(r"web(-[a-z]+)?\.po", entry.name):
            continue
        for english, told in read_po(entry.read_text("utf-8")).items():
            if english and merged.setdefault(english, told) != told:
                raise CatalogueFault(f"{entry.name} translates otherwise than another: {english[:60]}")
    return merged


def translated(language: Language, text: str) -> str:
    """The text itself where there is no translation."""
    return catalogue(language).get(text) or text


def say(language: Language) -> Say:
    """`say("nl")("Queue")`, `("{n} of {all}", n=1, all=3)`: for Python code, plain text."""

    def speak(text: str, **places: Any) -> str:
        told = translated(language, text)
        return told.format(**places) if places else told

    return speak


def markup(language: Language) -> Callable[..., Markup]:
    """The same for templates: text and places are escaped, places that are markup are not."""
    # A page says "from" a hundred times. Texts are those of templates and tables, so there are few.
    known = lru_cache(maxsize=4000)(lambda text: escape(translated(language, text)))

    def speak(text: str, **places: Any) -> Markup:
        told = known(text)
        return told.format(**places) if places else told

    return speak


def plural(language: Language) -> Callable[..., Markup]:
    """`plural("1 change", "{n} changes", n)`. Enough for languages with one plural."""
    speak = markup(language)

    def choose(one: str, many: str, n: int, **places: Any) -> Markup:
        return speak(one if n == 1 else many, n=n, **places)

    return choose


def preferred(header: str) -> Language:
    """The language that Accept-Language (RFC 9110 §12.5.4) likes best; English when it likes none."""
    best: tuple[float, Language] = (0.0, "en")
    for part in header[:_LONGEST_HEADER].split(","):
        tag, _, rest = part.strip().partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", rest)
        weight = float(quality[1]) if quality else 1.0 if not rest else 0.0
        for language in LANGUAGES:
            if tag.lower().split("-")[0] == language and weight > best[0]:
                best = weight, language
    return best[1]
