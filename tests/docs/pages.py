"""The pages as the tests read them: Markdown files, their code blocks, links and anchors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: the page that it is on, its language, its text."""

    page: Path
    language: str
    text: str


def blocks(*languages: str) -> Iterator[Block]:
    """All fenced blocks in these languages."""
    for page in PAGES:
        for language, text in _FENCE.findall(page.read_text()):
            if language in languages:
                yield Block(page, language, text)


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", page.read_text()))


def links(page: Path) -> list[str]:
    """Targets of the links on a page."""
    return _LINK.findall(_FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """What '#…' may say about a page: its headings, in the form that forges give them."""
    headings = re.findall(r"^#{1,6} +(.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
