"""The content of a message on its way through: dot-stuffing and line ends. PURE.

Only CRLF ends a line. A peer that takes LF or CR alone for a line end sees other messages in the same bytes
than one that doesn't, which is how mail is smuggled past a gateway; so here they never end anything, they are
counted. Work is done by whole pieces with the methods of bytes, nothing is looked at byte by byte.
"""

from __future__ import annotations


def stuff(data: bytes, at_line_start: bool = True) -> bytes:
    """`data` with a dot before each dot that begins a line (RFC 5321 §4.5.2). For pieces: `Stuffer`."""
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if at_line_start and data.startswith(b".") else stuffed


class Stuffer:
    """Dot-stuffing of a content that comes in pieces, and the end of data behind it."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"
        """The last two bytes that went out."""

    def feed(self, piece: bytes) -> bytes:
        if not piece:
            return b""
        before, self._tail = self._tail, (self._tail + piece[-2:])[-2:]
        stuffed = stuff(piece, before == b"\r\n")
        # The piece was cut inside the CRLF.
        return b"\n." + stuffed[1:] if before.endswith(b"\r") and piece.startswith(b"\n.") else stuffed

    def end(self) -> bytes:
        """CRLF where the content's last line has none (chunked content may do that), then the end of data."""
        return b".\r\n" if self._tail == b"\r\n" else b"\r\n.\r\n"


class Unstuffer:
    """Finds the end of data and takes the stuffing out (RFC 5321 §4.5.2), however the stream is cut."""

    __slots__ = ("_held", "_line_start")

    def __init__(self) -> None:
        self._held = b""
        """At most two bytes that may begin the end of data; the next piece tells."""
        self._line_start = True

    def feed(self, data: bytes, start: int = 0) -> tuple[bytes, int | None]:
        """Content in `data[start:]`, and the offset behind the end of data, None while it has not come."""
        held = len(self._held)
        if held:
            data = self._held + data[start:]
            start, shift = 0, start - held
            self._held = b""
        else:
            shift = 0
        if self._line_start and data.startswith(b".", start):
            if data.startswith(b".\r\n", start):
                return b"", start + 3 + shift
            if len(data) - start < 3 and b".\r".startswith(data[start:]):
                self._held = data[start:]
                return b"", None
            start += 1
        dot = data.find(b"\r\n.", start)
        if dot < 0:
            return self._unended(data, start), None
        # The first dot at a line's start is nearly always the end of data itself.
        end = dot if data.startswith(b"\r\n", dot + 3) else data.find(b"\r\n.\r\n", dot)
        if end < 0:
            return self._unended(data, start).replace(b"\r\n.", b"\r\n"), None
        content = data[start : end + 2]
        return content if end == dot else content.replace(b"\r\n.", b"\r\n"), end + 5 + shift

    def _unended(self, data: bytes, start: int) -> bytes:
        """The still stuffed bytes that can be given out now; the rest is held back."""
        hold = 0
        if data.endswith(b"\r\n.\r", start):
            hold = 2
        elif data.endswith((b"\r\n.", b"\r"), start):
            hold = 1
        stop = len(data) - hold
        self._held = data[stop:]
        if stop > start:
            self._line_start = data.endswith(b"\r\n", start, stop)
        return data[start:stop]


class Newlines:
    """Census of line ends over a content in pieces: is there a CR or LF that is not part of a CRLF?"""

    __slots__ = ("_clean", "_cr", "bare")

    def __init__(self, *, clean: bool) -> None:
        """`clean`: give the content out with CRLF in the place of each bare CR and LF."""
        self._clean = clean
        self._cr = False
        self.bare = False

    def feed(self, piece: bytes) -> bytes:
        """The piece as it is to be kept. When cleaning, a last CR waits for the next piece or `end`."""
        if self._clean:
            return self._cleaned(piece)
        if not self.bare and piece:
            self._count(piece)
        return piece

    def _count(self, piece: bytes) -> None:
        pairs = piece.count(b"\r\n")
        feeds, returns = piece.count(b"\n"), piece.count(b"\r")
        if self._cr:
            # The piece before ended in CR: this one has to begin with its LF.
            feeds -= piece.startswith(b"\n")
            self.bare = not piece.startswith(b"\n")
        self._cr = piece.endswith(b"\r")
        if feeds != pairs or returns - self._cr != pairs:
            self.bare = True

    def _cleaned(self, piece: bytes) -> bytes:
        if not piece:
            return piece
        if self._cr:
            piece = b"\r" + piece
        self._cr = piece.endswith(b"\r")
        if self._cr:
            piece = piece[:-1]
        pairs = piece.count(b"\r\n")
        if piece.count(b"\n") == pairs == piece.count(b"\r"):
            return piece
        self.bare = True
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")

    def end(self) -> bytes:
        """What is left to keep at the end of the content."""
        if not self._cr:
            return b""
        self.bare, self._cr = True, False
        return b"\r\n" if self._clean else b""
