"""The files that a message carries, decoded and hashed, with bounds on all that a stranger can make large.
PURE.

Parts are found by their boundaries (RFC 2046 §5.1.1) in the bytes of the message, each looked through once
for each level; what a header says is read by the standard library's parser, from headers of bounded size.
Nothing is raised whatever comes: what can't be taken apart is named, so that a policy can say what becomes of
it.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import string
from collections.abc import Iterator, Sequence
from email.errors import MessageError
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Any

import msgspec

from mxseal.analysis.values import Item
from mxseal.mail.headers import decoded, in_charset

_HEADER_BYTES = 64 * 1024
_FIELD_BYTES = 8 * 1024
_BOUNDARY_BYTES = 256
"""RFC 2046 allows 70; a longer one is read as mail programs do, up to here."""
_NAME_CHARS = 255
_BLANK = re.compile(rb"\r?\n\r?\n")
_BASE64 = f"{string.ascii_letters}{string.digits}+/=".encode()
_NOT_BASE64 = bytes(set(range(256)) - set(_BASE64))
_PLAIN = frozenset({"", "7bit", "8bit", "binary"})
_CRASHES = (ValueError, LookupError, TypeError, AttributeError, MessageError)
"""What the standard library's reading of a header was seen to raise for some that make no sense."""
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"MZ", "application/x-dosexec"),
    (b"\x7fELF", "application/x-executable"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"{\\rtf", "application/rtf"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"\x1f\x8b", "application/gzip"),
)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What is taken out of a message."""

    types: tuple[str, ...] = ()
    """'application/pdf', 'application/*' or '.exe'; empty: all."""
    max_size: int = 25 << 20
    """Bytes of one file, decoded."""
    files: int = 50
    parts: int = 1000
    depth: int = 20


class Unfit(msgspec.Struct, frozen=True):
    """Something in a message that can't be given to a server, or not as a mail program would show it."""

    name: str
    media_type: str
    sha256: str
    """"" where there is no content."""
    reason: str
    """Half a sentence."""


class Passed(msgspec.Struct, frozen=True):
    """A file of a type that nobody chose."""

    name: str
    media_type: str
    sha256: str


class Attachments(msgspec.Struct, frozen=True):
    """What a message carries."""

    items: tuple[Item, ...] = ()
    """Each content once."""
    unfit: tuple[Unfit, ...] = ()
    passed: tuple[Passed, ...] = ()


def attachments(message: bytes, bounds: Bounds) -> Attachments:
    """The files of a message as it was received."""
    found = _Found(bounds)
    found.walk(message, 0, len(message), 0, "text/plain")
    return Attachments(tuple(found.items.values()), tuple(found.unfit), tuple(found.passed.values()))


class _Found:
    """One walk through a message."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.items: dict[str, Item] = {}
        self.passed: dict[str, Passed] = {}
        self.unfit: list[Unfit] = []
        self._parts = 0
        self._full = False

    def _unfit(self, reason: str, name: str = "", media_type: str = "", sha256: str = "") -> None:
        if len(self.unfit) < self._bounds.files:
            self.unfit.append(Unfit(name, media_type, sha256, reason))

    def walk(self, data: bytes, start: int, end: int, depth: int, usual: str) -> None:
        """One part, with its header, and those within it. `usual`: its type when it tells none."""
        self._parts += 1
        if self._parts > self._bounds.parts:
            if not self._full:
                self._unfit(f"the message has more than {self._bounds.parts} parts")
            self._full = True
            return
        if depth > self._bounds.depth:
            self._unfit(f"parts lie within parts deeper than {self._bounds.depth}")
            return
        head, body = _split(data, start, end)
        if body - start > _HEADER_BYTES and depth:
            self._unfit("the header of a part is too large")
            return
        try:
            part = _Part(head, usual)
        except _CRASHES:
            self._unfit("the header of a part can't be read")
            return
        if part.media_type.startswith("multipart/"):
            self._multipart(data, body, end, depth, part)
        elif part.media_type in ("message/rfc822", "message/global", "message/news"):
            self._message(data, body, end, depth, part)
        elif part.media_type == "message/partial":
            self._unfit("it is one piece of a message that comes in several", part.name, part.media_type)
        else:
            self._leaf(data, body, end, part)

    def _multipart(self, data: bytes, start: int, end: int, depth: int, part: _Part) -> None:
        if not part.boundary:
            self._unfit("a part of several has no boundary", part.name, part.media_type)
            return
        usual = "message/rfc822" if part.media_type == "multipart/digest" else "text/plain"
        for first, last in _between(data, start, end, part.boundary):
            self.walk(data, first, last, depth + 1, usual)
            if self._full:
                return

    def _message(self, data: bytes, start: int, end: int, depth: int, part: _Part) -> None:
        if part.encoding in _PLAIN:
            self.walk(data, start, end, depth + 1, "text/plain")
            return
        content, problem = _decode(data[start:end], part.encoding)
        if problem:
            self._unfit(problem, part.name, part.media_type)
        self.walk(content, 0, len(content), depth + 1, "text/plain")

    def _leaf(self, data: bytes, start: int, end: int, part: _Part) -> None:
        size = (end - start) * 3 // 4 if part.encoding == "base64" else 0
        if part.is_body and not _detected(_decode(data[start : min(end, start + 1024)], part.encoding)[0]):
            return
        if len(self.items) + len(self.passed) >= self._bounds.files:
            if not self._full:
                self._unfit(f"the message has more than {self._bounds.files} files")
            self._full = True
            return
        if size > 2 * self._bounds.max_size:  # a quarter may be line ends: nobody has to decode it to know
            self._unfit(self._too_large(), part.name, part.media_type)
            return
        content, problem = _decode(data[start:end], part.encoding)
        self._file(content, problem, part)

    def _file(self, content: bytes, problem: str, part: _Part) -> None:
        kind = _detected(content) or part.media_type
        name = part.name or f"part-{self._parts}"
        digest = hashlib.sha256(content).hexdigest()
        if not _chosen(self._bounds.types, name, (kind, part.media_type)):
            self.passed.setdefault(digest, Passed(name, kind, digest))
            return
        if problem:
            self._unfit(problem, name, kind, digest)
        if len(content) > self._bounds.max_size:
            self._unfit(self._too_large(), name, kind, digest)
        elif content:
            self.items.setdefault(digest, Item(name, kind, len(content), digest, content))

    def _too_large(self) -> str:
        return f"it is larger than {self._bounds.max_size} bytes"


class _Part:
    """What a part's header says. Raises what `_CRASHES` names."""

    def __init__(self, head: bytes, usual: str) -> None:
        header = BytesHeaderParser().parsebytes(head[:_HEADER_BYTES])
        for name in ("content-type", "content-disposition", "content-transfer-encoding"):
            if len(str(header.get(name, ""))) > _FIELD_BYTES:
                raise ValueError(name)
        header.set_default_type(usual)
        self.media_type = header.get_content_type()
        self.encoding = str(header.get("content-transfer-encoding", "")).strip().lower().partition(";")[0]
        disposition = header.get_content_disposition()
        named = _name(header)
        self.name = _tidy(named)
        self.is_body = (
            self.media_type in ("text/plain", "text/html") and not named and disposition != "attachment"
        )
        boundary = header.get_boundary("") if self.media_type.startswith("multipart/") else ""
        self.boundary = boundary.encode("utf-8", "surrogateescape")
        if len(self.boundary) > _BOUNDARY_BYTES:
            raise ValueError("boundary")


def _name(header: Message[Any, Any]) -> str:
    """The file name: of Content-Disposition, else of Content-Type; decoded (RFC 2231, RFC 2047)."""
    value = header.get_param("filename", None, "content-disposition")
    if value is None:
        value = header.get_param("name", None, "content-type")
    if value is None:
        return ""
    if isinstance(value, tuple):  # RFC 2231: its charset is a stranger's word
        charset, _, text = value
        return in_charset(text.encode("latin-1", "replace"), charset or "utf-8")
    return decoded(str(value).encode("utf-8", "surrogateescape"))


def _tidy(name: str) -> str:
    """One line of printable text. Both ends of a long name are kept: its ending says what opens it."""
    text = "".join(c if c.isprintable() else "?" for c in name.strip())
    return text if len(text) <= _NAME_CHARS else f"{text[: _NAME_CHARS - 24]}...{text[-20:]}"


def _split(data: bytes, start: int, end: int) -> tuple[bytes, int]:
    """(the header of a part, where its body begins)."""
    if data.startswith((b"\r\n", b"\n"), start, end):
        return b"", start + (2 if data[start : start + 1] == b"\r" else 1)
    blank = _BLANK.search(data, start, end)
    if blank is None:
        return data[start : min(end, start + _HEADER_BYTES)], end
    return data[start : min(blank.start(), start + _HEADER_BYTES)], blank.end()


def _between(data: bytes, start: int, end: int, boundary: bytes) -> Iterator[tuple[int, int]]:
    """Where the parts lie that a boundary divides; the last one may lack its end."""
    mark = b"--" + boundary
    began: int | None = None
    at = data.find(mark, start, end)
    while at >= 0:
        behind = at + len(mark)
        line = data.find(b"\n", behind, end)
        stop = end if line < 0 else line
        last = data.startswith(b"--", behind, stop)
        rest = data[behind + (2 if last else 0) : min(stop, behind + 1024)]
        if (at == start or data[at - 1 : at] in (b"\n", b"\r")) and not rest.strip(b" \t\r"):
            if began is not None:
                yield began, max(began, _before(data, at))
            began = None if last else min(stop + 1, end)
            if last:
                return
            behind = stop
        at = data.find(mark, behind, end)
    if began is not None:
        yield began, end


def _before(data: bytes, at: int) -> int:
    """The end of what is before a boundary: its line end belongs to the boundary."""
    if data[at - 2 : at] == b"\r\n":
        return at - 2
    return at - 1


def _decode(raw: bytes, encoding: str) -> tuple[bytes, str]:
    """(content, what is wrong with it: "" nothing)."""
    if encoding in _PLAIN:
        return raw, ""
    if encoding == "base64":
        letters = raw.translate(None, _NOT_BASE64)
        body, _, rest = letters.partition(b"=")
        # Some programs read on behind padding and some do not: nobody can tell what this one shows.
        problem = "its encoding goes on behind its end" if rest.strip(b"=") else ""
        body = body[: len(body) - 1] if len(body) % 4 == 1 else body
        return binascii.a2b_base64(body + b"=" * (-len(body) % 4)), problem
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw), ""
    return raw, f"its transfer encoding {_tidy(encoding)[:40]} is not known"


def _detected(content: bytes) -> str:
    """The type that the first bytes tell; "": nobody knows."""
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "")


def _chosen(types: Sequence[str], name: str, kinds: Sequence[str]) -> bool:
    if not types:
        return True
    for wanted in types:
        if wanted.startswith("."):
            if name.lower().rstrip(" .").endswith(wanted):  # Windows drops dots and blanks at the end
                return True
        elif wanted.endswith("/*"):
            if any(kind.startswith(wanted[:-1]) for kind in kinds):
                return True
        elif wanted in kinds:
            return True
    return False
