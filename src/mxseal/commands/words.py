"""Command lines as words: splitting, quoting, near misses, and hiding what is secret."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence

HIDDEN = "***"
LITERAL_SECRET = "pass:"  # noqa: S105 - the prefix, as in OpenSSL's pass phrase arguments


class UnfinishedLine(Exception):
    """A quotation was opened and not closed."""


def split(line: str) -> list[str]:
    """The words of a line, quoted as in a shell. Raises UnfinishedLine."""
    try:
        return shlex.split(line, comments=False, posix=True)
    except ValueError:
        raise UnfinishedLine("a quotation mark or a backslash at the end is left open: close it") from None


def split_for_completion(line: str) -> tuple[list[str], str, int]:
    """(finished words, the word that is being written, where it begins in the line)."""
    words: list[str] = []
    start, current, quote, begun, escaped = len(line), "", "", False, False
    for index, letter in enumerate(line):
        if not begun and not letter.isspace():
            start, begun = index, True
        if escaped:
            current, escaped = current + letter, False
        elif letter == "\\" and quote != "'":
            escaped = True
        elif quote:
            if letter == quote:
                quote = ""
            else:
                current += letter
        elif letter in "'\"":
            quote = letter
        elif letter.isspace():
            if begun:
                words.append(current)
            current, begun = "", False
        else:
            current += letter
    return words, current, start if begun else len(line)


def quote(word: str) -> str:
    """The word as it is typed: in double quotes when it has spaces or signs of its own meaning."""
    if word and not any(letter.isspace() or letter in "\"'\\" for letter in word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def join(words: Iterable[str]) -> str:
    return " ".join(quote(word) for word in words)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    close = difflib.get_close_matches(word.lower(), list(known), 1, 0.6)
    return close[0] if close else None


def redact(words: Sequence[str], secret_flags: Iterable[str] = ()) -> list[str]:
    """The words with passphrases replaced, for audit and history.

    Hidden are values of the flags in `secret_flags`, unless they only say where the secret is (env:, file:,
    stdin), and any word with pass: in front, wherever it stands.
    """
    flags = set(secret_flags)
    hidden: list[str] = []
    after_flag = False
    for word in words:
        flag, equals, value = word.partition("=")
        if after_flag:
            hidden.append(_hide(word))
        elif equals and flag in flags:
            hidden.append(f"{flag}={_hide(value)}")
        elif LITERAL_SECRET in word:
            hidden.append(word[: word.index(LITERAL_SECRET) + len(LITERAL_SECRET)] + HIDDEN)
        else:
            hidden.append(word)
        after_flag = not after_flag and word in flags
    return hidden


def _hide(value: str) -> str:
    if value == "stdin" or value.startswith(("env:", "file:")):
        return value
    return LITERAL_SECRET + HIDDEN if value.startswith(LITERAL_SECRET) else HIDDEN
