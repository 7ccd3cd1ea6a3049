"""What an ICAP server answers, read piece by piece within bounds (RFC 3507 §4.3, §4.4). PURE.

Of an encapsulated body nothing is kept: it is compared with what was sent, as it comes.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from mxseal.analysis.exchange import CLOSED, decoded

_LONGEST_HEAD = 64 * 1024
_MOST_HEADERS = 200
_LONGEST_LINE = 1024
"""Of a chunk's size, and of a trailer."""
_MOST_TRAILERS = 50
_BODY_BEYOND = 4 << 20
"""A page in the place of a file may be so large, or so much larger than the file."""
_STATUS = re.compile(rb"ICAP/1\.\d (\d{3})(?: (.*))?")
_INNER = re.compile(rb"(?m)^HTTP/1\.\d (\d{3})(?: |\r|\n|$)")
_END = re.compile(rb"\r?\n\r?\n")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_PART = re.compile(r"(req-hdr|res-hdr|req-body|res-body|opt-body|null-body)=(\d{1,6})")

_Expects = Literal["head", "inner", "size", "data", "end", "trailer", "nothing"]


class Answer(msgspec.Struct, frozen=True):
    """A complete answer."""

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    """Names in lower case; lines that were continued have line feeds."""
    replaced: bool = False
    """It encapsulates an HTTP response that is no 200: a page in the place of what was sent."""
    held: bool = False
    """It encapsulates content."""
    same: bool = True
    """What it encapsulates is what was sent, or nothing."""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Reading:
    """One answer, with the 100 that may come before it."""

    def __init__(self, content: bytes) -> None:
        """`content`: what was sent."""
        self.answer = Answer()
        self.done = False
        self.fault: str | None = None
        self.wants_more = False
        """A 100 was read: the server wants the rest. Whoever sends it sets this back."""
        self._content = content
        self._expects: _Expects = "head"
        self._rest = b""
        self._place = 0
        """Up to here `_rest` has been read."""
        self._looked = 0
        """Up to here there is no end of the head."""
        self._inner = 0
        self._body = False
        self._left = 0
        self._at = 0
        self._trailers = 0
        self._continued = False
        self._behind = False
        """Something came behind the answer."""

    @property
    def clean(self) -> bool:
        """The connection may have another request. Not behind an error: servers do not say where it ends."""
        closes = self.answer.header("connection").strip().lower() == "close"
        ended = self.fault is None and self.answer.status in (200, 204)
        return self.done and ended and not self._behind and not closes

    def receive(self, data: bytes) -> None:
        if self.done:
            self._behind = self._behind or bool(data)
            return
        self._rest += data
        while not self.done and not self.wants_more and self._step():
            pass
        self._rest, self._place = self._rest[self._place :], 0
        if self.done:
            self._behind = bool(self._rest)
            self._rest = b""

    def eof(self) -> None:
        if not self.done:
            self.fail(CLOSED)

    def fail(self, text: str) -> None:
        self.fault = self.fault or text
        self.done = True
        self._rest, self._place = b"", 0

    def _step(self) -> bool:
        """Read what is expected; False: it is not all there yet."""
        if self._expects == "head":
            return self._head()
        if self._expects == "inner":
            return self._inner_head()
        if self._expects == "data":
            return self._data()
        return self._line()

    # --- heads ----------------------------------------------------------------------------------------------

    def _head(self) -> bool:
        # Always at the beginning of what is there: only a 100 comes before it.
        data = self._rest[self._place :] if self._place else self._rest
        end = _END.search(data, max(0, self._looked - 3))
        if end is None or end.end() > _LONGEST_HEAD:
            self._looked = len(data)
            if len(data) > _LONGEST_HEAD:
                self.fail("the server's answer has a head without end")
            elif len(data) > 5 and not data.startswith(b"ICAP/"):
                self.fail(f"the server does not speak ICAP: it said {decoded(data, 60)!r}")
            return False
        self._place += end.end()
        self._looked = 0
        first, *lines = data[: end.start()].replace(b"\r\n", b"\n").split(b"\n")
        status = _STATUS.fullmatch(first)
        if status is None or len(lines) > _MOST_HEADERS:
            self.fail(f"the server does not speak ICAP: it said {decoded(first, 60)!r}")
            return False
        number = int(status[1])
        if number == 100:
            if self._continued:
                self.fail("the server asks for the rest of the file twice")
                return False
            self._continued = self.wants_more = True
            return True
        self.answer = Answer(number, decoded(status[2] or b""), _headers(lines))
        self._begin_body()
        return True

    def _begin_body(self) -> None:
        parts = _PART.findall(self.answer.header("encapsulated").lower())
        if self.answer.status != 200 or not parts:
            self.done = True
            return
        kind, offset = parts[-1][0], int(parts[-1][1])
        if offset > _LONGEST_HEAD:
            self.fail("the server encapsulates a head that is too long")
            return
        self._body = kind.endswith("-body") and kind != "null-body"
        self.answer = msgspec.structs.replace(self.answer, held=self._body)
        if self._body and kind == "opt-body":
            self._content = b""
        self._inner = offset
        self._expects = "inner"

    def _inner_head(self) -> bool:
        inner = self._rest[self._place : self._place + self._inner]
        if len(inner) < self._inner:
            return False
        self._place += self._inner
        # Behind the head of the request that led to it may stand the one of the response.
        found = _INNER.search(inner)
        if found is not None and int(found[1]) != 200:
            self.answer = msgspec.structs.replace(self.answer, replaced=True)
        if self._body:
            self._expects = "size"
        else:
            self.done = True
        return True

    # --- chunks ---------------------------------------------------------------------------------------------

    def _line(self) -> bool:
        end = self._rest.find(b"\n", self._place, self._place + _LONGEST_LINE)
        if end < 0:
            if len(self._rest) - self._place >= _LONGEST_LINE:
                self.fail("the server sent a line without end between the pieces of its answer")
            return False
        line = self._rest[self._place : end].removesuffix(b"\r")
        self._place = end + 1
        if self._expects == "end":
            if line:
                self.fail("a piece of the server's answer is longer than it said")
                return False
            self._expects = "size"
        elif self._expects == "trailer":
            self._trailer(line)
        else:
            self._size(line)
        return True

    def _trailer(self, line: bytes) -> None:
        self._trailers += 1
        if self._trailers > _MOST_TRAILERS:
            self.fail("the server's answer does not end")
        elif not line:
            if self._content and self._at != len(self._content):
                self._differs()
            self.done = True

    def _size(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            self.fail(f"the server's answer has a piece without a size: {decoded(line, 60)!r}")
            return
        self._left = int(size[1], 16)
        self._expects = "data" if self._left else "trailer"
        if self._at + self._left > len(self._content) + _BODY_BEYOND:
            self.fail("the server's answer is too long")

    def _data(self) -> bool:
        piece = self._rest[self._place : self._place + self._left]
        if not piece:
            return False
        self._place += len(piece)
        if self._content and self._content[self._at : self._at + len(piece)] != piece:
            self._differs()
        self._at += len(piece)
        self._left -= len(piece)
        if not self._left:
            self._expects = "end"
        return True

    def _differs(self) -> None:
        if self.answer.same:
            self.answer = msgspec.structs.replace(self.answer, same=False)


def _headers(lines: list[bytes]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if found:
                key, value = found[-1]
                found[-1] = (key, f"{value}\n{decoded(line)}")
            continue
        name, colon, text = line.partition(b":")
        if colon:
            found.append((decoded(name, 60).lower(), decoded(text, 500)))
    return tuple(found)
