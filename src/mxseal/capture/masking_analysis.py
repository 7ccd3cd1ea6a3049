"""What a recording shows of a conversation with an analysis server, HTTP or ICAP: heads, and of what they
carry how long it was. PURE.

Files and what is said about them become as many x, API keys too: lengths stay, so that the rest can be read.
"""

from __future__ import annotations

import re

_FIRST = re.compile(
    rb"(?:(?:GET|POST|OPTIONS|RESPMOD|REQMOD) [!-~]{1,2000} (?:HTTP|ICAP)/1\.[01]"
    rb"|(?:HTTP|ICAP)/1\.[01] [0-9]{3}(?: [\x20-\x7e]{0,200})?)\r?\n"
)
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]{0,8}(?:;[ \t]{0,8}ieof)?\r?\n")
_SECRET = re.compile(rb"(?im)^(authorization:[ \t]*(?:bearer[ \t]+)?)([^\r\n]+)")
_PARAMETER = re.compile(rb"(api_key=)([^&\s]+)")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,15})[ \t]*\r?$")
_CHUNKED = re.compile(rb"(?im)^transfer-encoding:[ \t]*chunked[ \t]*\r?$")
_ENCAPSULATED = re.compile(rb"(?im)^encapsulated:.*?([a-z]{3,4})-body=([0-9]{1,7})[ \t]*\r?$")
_LONGEST = 128 * 1024
_HIDDEN = b"x"


class AnalysisMasking:
    """Both directions of one connection."""

    def __init__(self) -> None:
        self._ours, self._theirs = _Side(), _Side()

    def restarted(self) -> None:
        self._ours, self._theirs = _Side(), _Side()

    def client(self, data: bytes) -> bytes:
        return self._ours.shown(data)

    def server(self, data: bytes) -> bytes:
        return self._theirs.shown(data)

    def ended(self) -> bytes:
        return b""


class _Side:
    """One direction: a head, what it announces, the next head."""

    def __init__(self) -> None:
        self._rest = b""
        self._hide = 0
        """So many octets are content."""
        self._chunks = False
        self._lost = False
        """What came can't be understood: nothing more of it is shown."""

    def shown(self, data: bytes) -> bytes:
        out: list[bytes] = []
        self._rest += data
        while self._rest and not self._lost:
            piece = self._piece()
            if piece is None:
                self._lost = len(self._rest) > _LONGEST
                break
            out.append(piece)
        if self._lost:
            self._rest = b""
        return b"".join(out)

    def _piece(self) -> bytes | None:
        """What comes next, as it is shown; None: it is not all there yet."""
        if self._hide:
            size = min(self._hide, len(self._rest))
            self._hide -= size
            self._rest = self._rest[size:]
            return _HIDDEN * size
        # Behind a preview an ICAP client goes on with pieces: there they stand in the place of a head.
        if self._chunks or self._rest[:1] in b"0123456789abcdefABCDEF":
            return self._size()
        end = re.search(rb"\r?\n\r?\n", self._rest)
        if end is None:
            return None
        return self._head(end.end())

    def _size(self) -> bytes | None:
        if self._rest.startswith((b"\r\n", b"\n")):  # behind a piece
            return self._taken(2 if self._rest[:1] == b"\r" else 1)
        found = _SIZE.match(self._rest)
        if found is None:
            self._lost = len(self._rest) > 200 or b"\n" in self._rest
            return None
        size = int(found[1], 16)
        if size:
            self._chunks, self._hide = True, size
            return self._taken(found.end())
        # The last one; trailers are not shown.
        if not self._rest[found.end() :].startswith((b"\r\n", b"\n")):
            self._lost = len(self._rest) > found.end() + 1
            return None
        self._chunks = False
        return self._taken(found.end() + (2 if self._rest[found.end() :][:1] == b"\r" else 1))

    def _head(self, end: int) -> bytes | None:
        head = self._rest[:end]
        if _FIRST.match(head) is None:
            self._lost = True
            return None
        shown = _SECRET.sub(lambda m: m[1] + _HIDDEN * len(m[2]), head)
        shown = _PARAMETER.sub(lambda m: m[1] + _HIDDEN * len(m[2]), shown)
        self._taken(end)
        length, inner = _LENGTH.search(head), _ENCAPSULATED.search(head)
        if inner is not None:
            self._hide = int(inner[2])
            self._chunks = inner[1].lower() != b"null"
        elif _CHUNKED.search(head) is not None:
            self._chunks = True
        elif length is not None:
            self._hide = int(length[1])
        return shown

    def _taken(self, size: int) -> bytes:
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece
