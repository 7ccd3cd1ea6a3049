"""ICAP as a client speaks it to a scanner (RFC 3507): asking what a service does, and having a file scanned.
PURE.

A preview never holds the whole file: a server that is content with a preview has not looked at all of it,
and "no changes" then is no verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote

import msgspec

from mxseal.analysis.exchange import PIECE, plain
from mxseal.analysis.icap_answer import Answer, Reading
from mxseal.analysis.values import Disposition, Item

Method = Literal["RESPMOD", "REQMOD"]
_LONGEST_NAME = 200
_MEDIA = frozenset("abcdefghijklmnopqrstuvwxyz0123456789/.+-_")


class Place(msgspec.Struct, frozen=True):
    """A service of a server: icap://host:port/service."""

    host: str
    port: int
    service: str

    @property
    def authority(self) -> str:
        """As it stands in Host."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"icap://{self.authority}/{quote(self.service, safe='/?&=._~-')}"


class Service(msgspec.Struct, frozen=True):
    """What a service says of itself (RFC 3507 §4.10.2)."""

    method: Method
    preview: int | None
    """Octets of a file that it wants to see first; None: no preview."""
    name: str
    tag: str
    """Changes with the scanner's data (ISTag)."""


class Finding(msgspec.Struct, frozen=True):
    """What a scan says."""

    disposition: Disposition
    threat: str = ""
    remark: str = ""
    """Why it is what it is, where that is not plain."""


class Refused(msgspec.Struct, frozen=True):
    """The server answered, and it is no answer to the question."""

    text: str
    busy: bool = False


class IcapExchange:
    """One request and its answer (`Exchange`)."""

    def __init__(self, head: bytes, content: bytes | None = None, preview: int | None = None) -> None:
        """`head`: up to the encapsulated body. `content` None: there is none. `preview`: fewer octets than
        the content has; None: all is sent at once."""
        self._reading = Reading(content or b"")
        self._content = content
        self._preview = preview if content is not None else None
        self._asked = self._preview is None
        """The server has said that it wants all of it."""
        self._pieces = self._first(head)
        self._sent = False
        self._waits = False

    @property
    def done(self) -> bool:
        return self._reading.done

    @property
    def fault(self) -> str | None:
        return self._reading.fault

    @property
    def answer(self) -> Answer:
        """Once it is done without a fault."""
        return self._reading.answer

    @property
    def whole(self) -> bool:
        """The server was given all of the content."""
        return self._asked and self._sent

    @property
    def reusable(self) -> bool:
        return self._reading.clean and (self._sent or not self._asked)

    def output(self) -> bytes:
        if self.done:
            return b""  # whoever answers early does not want the rest
        return next(self._pieces, b"")

    def receive(self, data: bytes) -> None:
        self._reading.receive(data)
        while self._reading.wants_more:
            self._reading.wants_more = False
            if self._asked or not self._waits:
                self._reading.fail("the server asks for more of a file that it has")
                return
            self._asked = True
            self._pieces = self._rest(self._preview or 0)
            self._reading.receive(b"")  # what stood behind the 100

    def eof(self) -> None:
        self._reading.eof()

    def _first(self, head: bytes) -> Iterator[bytes]:
        if self._content is None:
            self._sent = True
            yield head
            return
        yield head
        if self._preview is None:
            yield from self._rest(0)
            return
        seen = self._content[: self._preview]
        # Set before it is sent: the answer may be there when the next piece is asked for.
        self._waits = True
        yield (_chunk(seen) if seen else b"") + b"0\r\n\r\n"

    def _rest(self, start: int) -> Iterator[bytes]:
        content = self._content or b""
        for at in range(start, len(content), PIECE):
            yield _chunk(content[at : at + PIECE])
        self._sent = True
        yield b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


# --- requests ---------------------------------------------------------------------------------------------


def options(place: Place) -> IcapExchange:
    """Ask what the service does."""
    lines = (f"OPTIONS {place.url} ICAP/1.0", f"Host: {place.authority}", "Encapsulated: null-body=0")
    return IcapExchange(_head(*lines))


def scan(place: Place, service: Service, item: Item) -> IcapExchange:
    """Have a file scanned, as if a web server had sent it, or a browser."""
    name = quote(item.name.encode("utf-8", "replace")[:_LONGEST_NAME], safe="._-")
    url = f"http://attachment.invalid/{name}"
    about = (f"Content-Type: {_media_type(item.media_type)}", f"Content-Length: {len(item.content)}")
    if service.method == "RESPMOD":
        request = _head(f"GET {url} HTTP/1.1", "Host: attachment.invalid")
        response = _head("HTTP/1.1 200 OK", *about)
        parts = f"req-hdr=0, res-hdr={len(request)}, res-body={len(request) + len(response)}"
        inner = request + response
    else:
        inner = _head(f"POST {url} HTTP/1.1", "Host: attachment.invalid", *about)
        parts = f"req-hdr=0, req-body={len(inner)}"
    preview = None
    if service.preview is not None:
        preview = min(service.preview, max(0, len(item.content) - 1))
    lines = [f"{service.method} {place.url} ICAP/1.0", f"Host: {place.authority}", "Allow: 204"]
    lines += [f"Preview: {preview}"] if preview is not None else []
    return IcapExchange(_head(*lines, f"Encapsulated: {parts}") + inner, item.content, preview)


def _head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def _media_type(text: str) -> str:
    shown = text.lower()[:100]
    return shown if shown.count("/") == 1 and set(shown) <= _MEDIA else "application/octet-stream"


# --- answers ----------------------------------------------------------------------------------------------


def service_of(answer: Answer) -> Service | Refused:
    """What the answer to OPTIONS says."""
    if answer.status != 200:
        return _refused(answer)
    methods = [each.strip().upper() for each in answer.header("methods").split(",")]
    offered: Method | None = None
    if "RESPMOD" in methods:
        offered = "RESPMOD"
    elif "REQMOD" in methods:
        offered = "REQMOD"
    if offered is None:
        return Refused("the service takes neither RESPMOD nor REQMOD requests")
    wanted = answer.header("preview").strip()
    preview = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 7 else None
    return Service(offered, preview, plain(answer.header("service")), plain(answer.header("istag"), 60))


def finding(exchange: IcapExchange) -> Finding | Refused:
    """What the answer to a scan says of the file."""
    answer = exchange.answer
    threat = _threat(answer)
    if threat is not None:
        return Finding("malicious", threat)
    if answer.status not in (200, 204):
        return _refused(answer)
    if answer.replaced or not answer.same:
        return Finding("malicious", "blocked", "the server put something else in its place")
    if answer.status == 200 and not answer.held:
        return Refused("the server answered 200 without saying what became of the file")
    if not exchange.whole:
        return Finding("unknown", remark="the server wanted to see no more than the beginning")
    return Finding("clean")


def _refused(answer: Answer) -> Refused:
    said = f"{answer.status} {plain(answer.reason)}".strip()
    remedy = ": is the name of the service right?" if answer.status == 404 else ""
    return Refused(f"the server answered {said}{remedy}", busy=answer.status in (408, 500, 502, 503, 504))


def _threat(answer: Answer) -> str | None:
    """What was found, by the headers that scanners use; None: nothing. "": something without a name.

    X-Infection-Found and X-Violations-Found are of draft-stecher-icap-subid-00, X-Virus-ID of several
    products.
    """
    infection = answer.header("x-infection-found")
    if infection:
        for part in infection.split(";"):
            key, _, value = part.strip().partition("=")
            if key.strip().lower() == "threat" and value.strip():
                return plain(value)
        return ""
    virus = answer.header("x-virus-id")
    if virus:
        return "" if virus.strip().lower() in {"yes", "true"} else plain(virus)
    count, *lines = [line.strip() for line in answer.header("x-violations-found").split("\n")]
    if count.isascii() and count.isdigit() and int(count[:6]) > 0:
        return plain(lines[1]) if len(lines) > 1 else ""
    return None
