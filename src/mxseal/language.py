"""Texts in the reader's language: gettext over the catalogues in `locale`; English texts are their keys.

The catalogues are PO files, as translators have them, and are read as they are: no step of a build can be
forgotten, and a text is compiled in memory when a language is first asked for.
"""

from __future__ import annotations

import ast
import gettext
import io
import struct
from functools import lru_cache
from importlib import resources
from typing import Literal, get_args

Language = Literal["en", "nl"]
_MAGIC = 0x950412DE
LANGUAGES: tuple[Language, ...] = get_args(Language)


class CatalogueFault(ValueError):
    """A PO file that can't be read; the text names the line."""


@lru_cache(maxsize=16)
def translations(language: Language, domain: str) -> gettext.NullTranslations:
    """Of one catalogue, `locale/<language>/<domain>.po`. Raises CatalogueFault, FileNotFoundError."""
    if language == "en":
        return gettext.NullTranslations()
    text = resources.files("mxseal").joinpath("locale", language, f"{domain}.po").read_text("utf-8")
    return gettext.GNUTranslations(io.BytesIO(compiled(read_po(text))))


def read_po(text: str) -> dict[str, str]:
    """msgid -> msgstr, the header under "". Raises CatalogueFault for anything but comments and pairs of
    the two, each once."""
    entries: dict[str, str] = {}
    parts: dict[str, list[str]] = {}
    at = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        line = line.strip()
        if not line or line.startswith("#"):
            _finish(entries, parts, number)
            parts, at = {}, ""
            continue
        word, _, quoted = line.partition(" ")
        if word in ("msgid", "msgstr") and word not in parts:
            at = word
            parts[at] = [_unquoted(quoted, number)]
        elif line.startswith('"') and at:
            parts[at].append(_unquoted(line, number))
        else:
            raise CatalogueFault(f"line {number} is neither msgid nor msgstr: {line[:60]}")
    return entries


def _finish(entries: dict[str, str], parts: dict[str, list[str]], number: int) -> None:
    if not parts:
        return
    if parts.keys() != {"msgid", "msgstr"}:
        raise CatalogueFault(f"the entry before line {number} lacks its msgid or its msgstr")
    key = "".join(parts["msgid"])
    if key in entries:
        raise CatalogueFault(f"the entry before line {number} is there twice")
    entries[key] = "".join(parts["msgstr"])


def _unquoted(text: str, number: int) -> str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, str):
        raise CatalogueFault(f"line {number} has no text in double quotes: {text[:60]}")
    return value


def compiled(entries: dict[str, str]) -> bytes:
    """The same as an MO file, which gettext reads. Entries without a translation are left out."""
    told = sorted((key.encode(), value.encode()) for key, value in entries.items() if value)
    head = 7 * 4
    index, body = b"", b""
    for text in [key for key, _ in told] + [value for _, value in told]:
        index += struct.pack("<II", len(text), head + 16 * len(told) + len(body))
        body += text + b"\0"
    # GNU gettext manual, "The Format of GNU MO Files": both indexes, no hash table.
    return struct.pack("<7I", _MAGIC, 0, len(told), head, head + 8 * len(told), 0, 0) + index + body
