"""What somebody writes to find an address or host, as a condition on the tables of names. PURE."""

from __future__ import annotations

import unicodedata

import msgspec

_LIKE = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


class Pattern(msgspec.Struct, frozen=True):
    """SQL for rows of the table `address` or, with `domain`, of `domain`."""

    domain: bool
    where: str
    words: tuple[str, ...]
    exact: bool = False
    """At most one row."""


def address(text: str) -> Pattern:
    """`user@example.com`: this address. `@example.com`, `example.com`: this domain. `.example.com`: its
    sub-domains. `user@`: this user in any domain. `abc*`, `*abc`, `*abc*`: what begins, ends or has it.
    `<>`: the empty sender. Anything else: what has it."""
    text = text.strip()
    if text == "<>":
        return Pattern(False, "text=?", ("",), True)
    text = text.strip("<>")
    if "*" in text:
        return Pattern(False, *_starred("text", text))
    name, at, domain = text.rpartition("@")
    if not at and "." not in text:
        return Pattern(False, "text LIKE ? ESCAPE '\\'", (f"%{text.translate(_LIKE)}%",))
    if name and domain:
        return Pattern(False, "text=?", (text,), True)
    if name:
        return Pattern(False, *_starred("text", f"{text}*"))
    if domain.startswith("."):
        return Pattern(True, "name LIKE ? ESCAPE '\\'", (f"%{domain.translate(_LIKE)}",))
    return Pattern(True, "name=?", (domain.lower(),), True)


def host(text: str) -> Pattern:
    """On the table `place`: a name or address, `.example.com`, or with stars."""
    text = text.strip().strip("[]")
    if text.startswith("."):
        return Pattern(False, "host LIKE ? ESCAPE '\\'", (f"%{text.translate(_LIKE)}",))
    if "*" in text:
        (where, words), (other, _) = _starred("host", text), _starred("ip", text)
        return Pattern(False, f"({where} OR {other})", (*words, *words))
    return Pattern(False, "(host=? OR ip=?)", (text, text.lower()))


def _starred(column: str, text: str) -> tuple[str, tuple[str, ...]]:
    like = text.translate(_LIKE).replace("*", "%")
    head = text.partition("*")[0]
    if not head:
        return f"{column} LIKE ? ESCAPE '\\'", (like,)
    # The range is what an index is good for; NOCASE folds A to Z only, as LIKE does.
    collated = f"{column} COLLATE NOCASE" if column != "ip" else column
    return (
        f"({collated} >= ? AND {collated} < ? AND {column} LIKE ? ESCAPE '\\')",
        (head, head + "\U0010ffff", like),
    )


def words(text: str) -> str:
    """An FTS5 query: all words of `text`, each as a prefix where a star follows it; "" without any."""
    found: list[str] = []
    word = ""
    for char in f"{unicodedata.normalize('NFC', text)} ":
        if char.isalnum():
            word += char
        elif word:
            found.append(f'"{word}"*' if char == "*" else f'"{word}"')
            word = ""
    return " AND ".join(found[:20])
