"""What goes over the wire: requests and replies as frozen values, and the parser of replies. PURE."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

REPLY_LINE = 2048
"""Octets of a reply line that are taken; RFC 5321 §4.5.3.1.5 says 512, real servers write longer texts."""
REPLY_LINES = 256
COMMAND_LINE = 512
"""Octets of a command line with its CRLF (RFC 5321 §4.5.3.1.4)."""
ENVELOPE_LINE = 2048
"""The same for MAIL and RCPT: extensions add to it (RFC 1870 §3, RFC 6531 §3.4), long senders are real."""
ENDLESS_LINE = 64 * 1024
"""Octets of a line behind which the client is not listened to any more: looking for an end that does not come
is work."""

_ENHANCED = re.compile(r"#?([245]\.\d{1,3}\.\d{1,3})(?: |$)")


class Reply(msgspec.Struct, frozen=True):
    """An SMTP reply. `lines` has at least one entry, without code and line end."""

    code: int
    lines: tuple[str, ...]

    def encode(self) -> bytes:
        """The reply in its multi-line form (RFC 5321 §4.2.1)."""
        lines = [line if line.isprintable() else printable(line) for line in self.lines]
        last = f"{self.code} {lines[-1]}\r\n"
        if len(lines) > 1:
            last = "".join(f"{self.code}-{line}\r\n" for line in lines[:-1]) + last
        return last.encode("utf-8", "surrogateescape")

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)

    @property
    def enhanced(self) -> str | None:
        """Enhanced status code, e.g. '5.7.1' (RFC 2034), also when it is written with a leading #."""
        match = _ENHANCED.match(self.lines[0])
        return match[1] if match else None


def printable(text: str) -> str:
    """`text` with '?' for each control character: nothing in a reply may begin a line of its own. Bytes that
    were not UTF-8 (surrogates) are left as they are."""
    return "".join(
        letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else "?" for letter in text
    )


# --- requests: what a client asks of the server ----------------------------------------------------------


class Hello(msgspec.Struct, frozen=True):
    """EHLO (`extended`) or HELO. A transaction that was open is over (RFC 5321 §4.1.4)."""

    extended: bool
    domain: str


class StartTls(msgspec.Struct, frozen=True):
    """STARTTLS, with nothing behind it. A transaction that was open is over."""


class Mail(msgspec.Struct, frozen=True):
    """MAIL FROM. `size`: declared octets; `body`: '7BIT', '8BITMIME' or None."""

    sender: str
    size: int | None = None
    body: str | None = None
    smtputf8: bool = False


class Rcpt(msgspec.Struct, frozen=True):
    recipient: str


class Data(msgspec.Struct, frozen=True):
    """DATA; content comes once it is answered with 354."""


class Content(msgspec.Struct, frozen=True):
    """A piece of the message, dots unstuffed. Needs no answer."""

    data: bytes


class ChunkDone(msgspec.Struct, frozen=True):
    """A BDAT chunk of `size` octets is complete and is not the last one (RFC 3030 §2)."""

    size: int


class EndOfMessage(msgspec.Struct, frozen=True):
    """The message is complete. `bare_newlines`: it has a CR or LF that is not part of a CRLF."""

    bare_newlines: bool


class Reset(msgspec.Struct, frozen=True):
    """RSET: an open transaction is over."""


class Noop(msgspec.Struct, frozen=True):
    pass


class Quit(msgspec.Struct, frozen=True):
    pass


class Verify(msgspec.Struct, frozen=True):
    """VRFY."""

    text: str


class Help(msgspec.Struct, frozen=True):
    pass


FaultKind = Literal["syntax", "sequence", "unknown", "too-long", "tls-required", "injected", "size"]


class Fault(msgspec.Struct, frozen=True):
    """A request that can't be followed, and the reply that says so.

    too-long with a reply of 421: a line without end; injected: plaintext was sent behind STARTTLS. Both close
    the connection. size: the declared size is over the limit, which is no mistake of the client's; unknown:
    not a command of this server.
    """

    reply: Reply
    kind: FaultKind


Request = (
    Hello
    | StartTls
    | Mail
    | Rcpt
    | Data
    | Content
    | ChunkDone
    | EndOfMessage
    | Reset
    | Noop
    | Quit
    | Verify
    | Help
    | Fault
)


# --- replies: what a server answers to the client ---------------------------------------------------------


class ProtocolFault(Exception):
    """What the server sent is not SMTP; the text says what, for logs. The session can't be used any more."""


class ReplyParser:
    """Replies out of a stream of bytes. Holds one unfinished line and at most 256 lines of one reply."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._code = 0
        self._lines: list[str] = []

    @property
    def buffered(self) -> int:
        """Octets that came and belong to no reply yet.

        Not 0 behind the reply to STARTTLS: someone on the way injected replies (RFC 3207 §5), call `clear`.
        """
        return len(self._buffer) - self._position + sum(map(len, self._lines))

    def clear(self) -> None:
        self._buffer, self._position, self._code, self._lines = bytearray(), 0, 0, []

    def receive(self, data: bytes) -> None:
        if self._position:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def next(self) -> Reply | None:
        """The next complete reply; None: more bytes are needed. Raises ProtocolFault."""
        while True:
            start = self._position
            end = self._buffer.find(b"\n", start, start + REPLY_LINE)
            if end < 0:
                if len(self._buffer) - start >= REPLY_LINE:
                    raise ProtocolFault(f"a reply line is longer than {REPLY_LINE} octets")
                return None
            line, self._position = bytes(self._buffer[start:end]), end + 1
            if self._line(line.removesuffix(b"\r")):
                reply = Reply(self._code, tuple(self._lines))
                self._code, self._lines = 0, []
                return reply

    def _line(self, line: bytes) -> bool:
        """Take one line; True when it is the reply's last."""
        code, mark = line[:3], line[3:4]
        # RFC 5321 §4.2: the first digit is 2 to 5; a code without text is legal in practice.
        if len(code) != 3 or not code.isdigit() or code[0] not in b"2345" or mark not in (b" ", b"-", b""):
            raise ProtocolFault(f"not an SMTP reply: {printable(line[:80].decode('utf-8', 'replace'))!r}")
        if self._lines and int(code) != self._code:
            raise ProtocolFault(f"a reply changes its code from {self._code} to {int(code)}")
        if len(self._lines) >= REPLY_LINES:
            raise ProtocolFault(f"a reply has more than {REPLY_LINES} lines")
        self._code = int(code)
        self._lines.append(printable(line[4:].decode("utf-8", "replace")))
        return mark != b"-"
