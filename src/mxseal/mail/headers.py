"""A look at a message's header on its way through: what the logs and the loop check need. PURE."""

from __future__ import annotations

import codecs
import encodings
import re
from email.errors import HeaderParseError
from email.header import decode_header
from encodings.aliases import aliases

TEXT_LIMIT = 500
"""Characters of a subject or Message-ID that are kept."""
_RAW_LIMIT = 8192
"""Octets of a field that are decoded at all: decoding is work that a stranger asks for."""

# The literal start lets the search skip from line to line; it runs over the block in lower case.
_FIELD = re.compile(rb"\r\n(received|subject|message-id|date)[ \t]*:")
_FOLDED = re.compile(rb"[^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+")


_ENCODED_WORD = re.compile(r"=\?[^?]*\?[bBqQ]\?")
_WORD_LIMIT = 50
_CHARSET_LIMIT = 40
_NO_ALIAS = {"koi8_u", "koi8_t", "utf_8_sig", "cp720", "cp737", "cp856", "cp874", "cp875", "cp1006"}
_CHARSETS = {*aliases, *aliases.values(), *_NO_ALIAS}
"""Python's names in the form of encodings.normalize_encoding."""
_NO_CHARSETS = {"unicode-escape", "raw-unicode-escape", "idna", "punycode"}
"""Python's names for what it can decode and no message may ask for."""
_BLANK = b"\r\n\r\n"


class HeaderScanner:
    """Fed with the pieces of a content until the blank line; of the body nothing is kept or copied."""

    __slots__ = (
        "_block",
        "_limit",
        "done",
        "has_date",
        "message_id",
        "received_count",
        "subject",
        "too_large",
    )

    def __init__(self, limit: int) -> None:
        """`limit`: octets of header without the blank line; with more, reading stops, `too_large` is set."""
        self._limit = limit
        # Begun with a line end, so that each field and also the blank line of an empty header follow one.
        self._block = bytearray(b"\r\n")
        self.done = False
        self.too_large = False
        self.received_count = 0
        self.message_id: str | None = None
        """As written, with its angle brackets; None when there is none."""
        self.subject: str | None = None
        """Decoded (RFC 2047), at most 500 characters, none of them a control character."""
        self.has_date = False

    @property
    def has_message_id(self) -> bool:
        return self.message_id is not None

    def feed(self, piece: bytes) -> None:
        """Take the next piece of content, cut anywhere; returns at once when `done`."""
        if self.done:
            return
        block = self._block
        tail = bytes(block[-3:])
        seam = (tail + piece[:3]).find(_BLANK)
        if seam >= 0:
            stop = seam + 4 - len(tail)
        else:
            # No further than the limit: a header without end must not cost a search per piece.
            found = piece.find(_BLANK, 0, self._limit + 4)
            stop = found + 4 if found >= 0 else -1
        if stop >= 0:
            block += piece[:stop]
            self._finish(len(block) - 4)
        else:
            block += piece[: self._limit + 4 - len(block) + 2]
            if len(block) - 2 > self._limit + 1:
                self._finish(self._limit + 1)

    def end(self) -> None:
        """The content is over; one without a blank line is all header (RFC 5322 §2.1)."""
        if not self.done:
            self._finish(len(self._block) - 2)

    def _finish(self, size: int) -> None:
        self.done = True
        self.too_large = size > self._limit
        block = bytes(self._block[: 2 + self._limit])
        self._block = bytearray()
        for match in _FIELD.finditer(block.lower()):
            name = match[1]
            if name == b"received":
                self.received_count += 1
            elif name == b"date":
                self.has_date = True
            elif name == b"subject":
                if self.subject is None:
                    self.subject = _subject(_value(block, match.end()))
            elif self.message_id is None:
                self.message_id = _tidy(_text(_value(block, match.end())))


def _value(block: bytes, start: int) -> bytes:
    """The unfolded value of the field whose colon ends at `start` (RFC 5322 §2.2.3)."""
    match = _FOLDED.match(block, start, start + _RAW_LIMIT)
    return match[0].replace(b"\r\n", b"") if match else b""


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _tidy(text: str) -> str:
    """One line of printable text: logs and terminals show it."""
    text = text.strip()[:TEXT_LIMIT].replace("\t", " ")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _subject(raw: bytes) -> str:
    return _tidy(decoded(raw))


def decoded(raw: bytes) -> str:
    """A text with its encoded words (RFC 2047) decoded; bounded work, nothing is raised. May hold control
    characters."""
    text = _text(raw)
    if "=?" not in text:
        return text
    try:
        words = decode_header(_few_words(text.strip()))
    except HeaderParseError:
        return text
    return "".join(in_charset(word, charset) for word, charset in words)


def _few_words(text: str) -> str:
    """Without the encoded words behind the fiftieth: each costs a search for its character set."""
    starts = [found.start() for found in _ENCODED_WORD.finditer(text)]
    return text[: starts[_WORD_LIMIT]] if len(starts) > _WORD_LIMIT else text


def in_charset(word: bytes | str, charset: str | None) -> str:
    """A text of which a stranger says in which character set it is."""
    if isinstance(word, str):
        return word
    if charset is None:
        # Plain text between encoded words comes this way.
        return word.decode("raw-unicode-escape", "replace")
    try:
        codec = codecs.lookup(_known(charset)).name
        return word.decode("latin-1" if codec in _NO_CHARSETS else codec, "replace")
    except (LookupError, UnicodeError, ValueError):
        # A character set that Python does not know, or that is no character set.
        return word.decode("latin-1")


def _known(charset: str) -> str:
    """The one name that stands for all its spellings. Python keeps for ever each name that it was asked for,
    so a stranger's are not asked for. Raises LookupError."""
    name = encodings.normalize_encoding(charset[: _CHARSET_LIMIT + 1]).lower()
    if len(charset) > _CHARSET_LIMIT or name not in _CHARSETS:
        raise LookupError(charset)
    return name
