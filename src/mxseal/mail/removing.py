"""Takes a header field out of a message on its way in: a name that is ours means nothing when strangers write
it. PURE."""

from __future__ import annotations

from collections.abc import Callable

_SPACE = b" \t"
_BLANKS = 500
"""With more of them between name and colon it is taken for the field: what is held must stay small."""


class FieldRemover:
    """Fed with the pieces of a content, cut anywhere; gives them without the fields of one name.

    Keeps no more than the beginning of a line. A lone LF counts as a line end: whoever reads the message
    later may take it for one.
    """

    def __init__(self, name: str) -> None:
        self._name = name.lower().encode()
        self._held = b""
        """The beginning of a line of which is not known yet whether it is the field."""
        self._take: Callable[[bytes], bytes] = self._at_line
        self._dropping = False
        self.removed = 0

    def feed(self, piece: bytes) -> bytes:
        """What of the content is certain to stay."""
        if self._take == self._body:
            return piece
        return self._take(piece)

    def end(self) -> bytes:
        """The content is over."""
        held, self._held = self._held, b""
        return held

    def _body(self, piece: bytes) -> bytes:
        return piece

    def _at_line(self, piece: bytes) -> bytes:
        """At the beginning of a header line, or behind what is held of it."""
        out = bytearray()
        data, self._held = self._held + piece, b""
        at = 0
        while at < len(data):
            stop = data.find(b"\n", at)
            line = data[at : stop + 1] if stop >= 0 else data[at:]
            if stop < 0 and not self._decided(line):
                self._held = line
                break
            if line in (b"\n", b"\r\n"):
                self._take = self._body
                out += data[at:]
                break
            if line[:1] not in (b" ", b"\t"):
                self._dropping = self._is_field(line)
                self.removed += self._dropping
            if not self._dropping:
                out += line
            if stop < 0:
                self._take = self._in_line
                break
            at = stop + 1
        return bytes(out)

    def _in_line(self, piece: bytes) -> bytes:
        """Within a header line of which is known what becomes of it."""
        stop = piece.find(b"\n")
        if stop < 0:
            return b"" if self._dropping else piece
        self._take = self._at_line
        kept = b"" if self._dropping else piece[: stop + 1]
        return kept + self._at_line(piece[stop + 1 :])

    def _decided(self, line: bytes) -> bool:
        """Whether a line without its end has enough to tell what it is."""
        if line in (b"", b"\r"):
            return False
        if line[:1] in (b" ", b"\t"):
            return True
        begun = line[: len(self._name)].lower()
        if not self._name.startswith(begun):
            return True
        rest = line[len(self._name) :]
        return bool(rest.strip(_SPACE)) or len(rest) > _BLANKS

    def _is_field(self, line: bytes) -> bool:
        """RFC 5322 §4.5: old programs write blanks before the colon, and new ones still read them."""
        name, colon, _ = line.partition(b":")
        found = name.rstrip(_SPACE).lower() == self._name
        return found and (bool(colon) or len(line) > _BLANKS)
