"""What is wrong with a document, and where: the words that all rules speak."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import msgspec

from mxseal.config.model import Document

_BARE = re.compile(r"[A-Za-z0-9_-]+$")


class Problem(msgspec.Struct, frozen=True):
    """What is wrong, where, and what to do about it. `path` is a key's path as a person writes it."""

    path: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        head = f"{self.path}: {self.text}" if self.path else self.text
        return f"{head}. {self.remedy}" if self.remedy else head


def key_path(*parts: str | int) -> str:
    """'listeners."Incoming Mail".port': dotted, quoted where TOML needs it; numbers become '[0]'."""
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        path += ("." if path else "") + (part if _BARE.match(part) else f'"{part}"')
    return path


Rule = Callable[[Document], Iterator[Problem]]
"""Gives what a document breaks of it."""
