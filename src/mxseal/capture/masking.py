"""What a recording shows of an SMTP conversation: commands, replies, and of content how much it was. PURE.

Shown is what is known to be harmless: command lines that are recognised, and all that the server says. What
is left out is never kept anywhere.
"""

from __future__ import annotations

import re
from typing import Literal, Protocol

NOTICE = b"X-MXSeal-Capture: message content is left out"
"""A header, so that Wireshark shows it as what it takes for a message."""
_LONGEST_LINE = 4096
_LONGEST_WAIT = 64 * 1024
"""Bytes behind DATA that wait for the answer to it; a client that sends more does not wait for one."""
_FILLER = 64 * 1024
"""Of each BDAT chunk so many octets have something in their place: who reads the capture counts them."""
_END = b"\r\n.\r\n"
_HARMLESS = re.compile(
    rb"(?i:(?:EHLO|HELO|LHLO) [!-~]{1,255}"
    rb"|(?:MAIL FROM|RCPT TO): ?<[^<>\x00-\x1f]{0,1000}>(?: (?:SMTPUTF8|REQUIRETLS"
    rb"|(?:SIZE|BODY|RET|ENVID|NOTIFY|ORCPT|AUTH|BY|HOLDFOR|HOLDUNTIL|MT-PRIORITY)=[!-~]{1,1000}))*"
    rb"|DATA|RSET|QUIT|STARTTLS|NOOP|HELP|BDAT [0-9]{1,20}(?: LAST)?)[ \t]*"
)
_VERB_ALONE = re.compile(rb"(?i:(AUTH [A-Z0-9_-]{1,20}|VRFY|EXPN|NOOP|HELP))(?: |$)")
_WORD = re.compile(rb"[A-Za-z]{1,12}(?= |$)")
_BDAT = re.compile(rb"(?i:BDAT) +([0-9]{1,20})(?: |$)")
_REPLY = re.compile(rb"([0-9]{3})(?: |$)")
_HIDDEN = b"[MXSeal: not shown]"
_Mode = Literal["commands", "undecided", "content", "chunk", "skipping"]


class Masking(Protocol):
    """One protocol's way to leave things out: plaintext in, what is shown of it out."""

    def client(self, data: bytes) -> bytes: ...

    def server(self, data: bytes) -> bytes: ...

    def restarted(self) -> None:
        """TLS begins: the dialogue begins anew."""
        ...

    def ended(self) -> bytes:
        """The connection is over: what is still to be said about what the client sent."""
        ...


class SmtpMasking:
    """RFC 5321, RFC 3030. What stands in the place of content says how much it was."""

    def __init__(self) -> None:
        self._content_seen = False
        self._reset(unanswered=1)

    def _reset(self, unanswered: int) -> None:
        self._mode: _Mode = "commands"
        self._line = b""
        self._reply = b""
        self._waiting = bytearray()
        self._unsaid = False
        """Something was left out that is not mentioned yet."""
        self._tail = b""
        self._size = self._chunk = self._at = 0
        self._unanswered = unanswered
        """Replies that are still to come."""

    def restarted(self) -> None:
        """RFC 3207 §4.2; the server has no second banner to say."""
        self._reset(unanswered=0)

    # --- the server's side ----------------------------------------------------------------------------------

    def server(self, data: bytes) -> bytes:
        """All of it is shown; it decides what the client's bytes are."""
        *lines, rest = (self._reply + data).split(b"\n")
        self._reply = rest[:_LONGEST_LINE]
        for line in lines:
            if found := _REPLY.match(line.rstrip(b"\r")):
                self._answered(int(found[1]))
        return data

    def _answered(self, code: int) -> None:
        self._unanswered = max(0, self._unanswered - 1)
        if code == 354:
            self._mode = "content"
        elif self._mode == "undecided" and not self._unanswered:
            # Refused. What was sent meanwhile may be the content of a client that does not wait.
            self._unsaid = bool(self._waiting)
            whole = not self._waiting or self._waiting.endswith(b"\n")
            self._mode = "commands" if whole else "skipping"
            self._waiting.clear()

    # --- the client's side ----------------------------------------------------------------------------------

    def client(self, data: bytes) -> bytes:
        """What is shown of it; b"" while nothing can be said yet."""
        out = bytearray()
        if self._unsaid:
            out += _HIDDEN + b"\r\n"
            self._unsaid = False
        if self._waiting and self._mode != "undecided":
            data, self._waiting = bytes(self._waiting) + data, bytearray()
        while data:
            if self._mode == "content":
                data = self._content(data, out)
            elif self._mode == "chunk":
                data = self._filler(data, out)
            elif self._mode == "undecided":
                self._waiting += data
                if len(self._waiting) > _LONGEST_WAIT:
                    self._mode = "content"
                    data, self._waiting = bytes(self._waiting), bytearray()
                    continue
                break
            elif self._mode == "skipping":
                _, found, data = data.partition(b"\n")
                self._mode = "commands" if found else "skipping"
            else:
                data = self._commands(data, out)
        return bytes(out)

    def _commands(self, data: bytes, out: bytearray) -> bytes:
        line, found, rest = data.partition(b"\n")
        self._line += line
        if not found:
            self._line = self._line[: _LONGEST_LINE + 1]
            return b""
        line, self._line = self._line.rstrip(b"\r"), b""
        self._unanswered += 1
        out += self._shown(line) + b"\r\n"
        if chunk := _BDAT.match(line):
            self._begin_content()
            self._chunk, self._mode = int(chunk[1]), "chunk" if int(chunk[1]) else "commands"
        elif line.strip().upper() == b"DATA":
            self._begin_content()
            self._mode = "undecided"
        return rest

    def _begin_content(self) -> None:
        self._content_seen = True
        self._size = self._at = 0
        self._tail = b"\r\n"

    def _shown(self, line: bytes) -> bytes:
        if len(line) > _LONGEST_LINE:
            return _HIDDEN
        if _HARMLESS.fullmatch(line):
            return line
        if verb := _VERB_ALONE.match(line):
            return verb[1] + b" " + _HIDDEN
        # Once there was content, a line that is no command may be a piece of it.
        word = None if self._content_seen else _WORD.match(line)
        return word[0] + b" " + _HIDDEN if word else _HIDDEN

    def _content(self, data: bytes, out: bytearray) -> bytes:
        """Of DATA, up to its end (RFC 5321 §4.1.1.4)."""
        if not self._size:
            out += NOTICE + b"\r\n\r\n"
        joined = self._tail + data
        end = joined.find(_END)
        if end < 0:
            self._size += len(data)
            self._tail = joined[-len(_END) + 1 :]
            return b""
        used = end + len(_END) - len(self._tail)
        self._size += used
        out += b"[MXSeal: %d octets left out]\r\n.\r\n" % self._size
        self._size = 0
        self._mode = "commands"
        self._unanswered += 1
        return data[used:]

    def _filler(self, data: bytes, out: bytearray) -> bytes:
        """Of a BDAT chunk (RFC 3030 §2): as many octets as it has, up to a bound."""
        used = min(self._chunk - self._at, len(data))
        start, stop = self._at, min(self._at + used, _FILLER)
        if start < stop:
            out += (NOTICE + b"." * stop)[start:stop]
        self._at += used
        if self._at == self._chunk:
            self._mode = "commands"
        return data[used:]

    def ended(self) -> bytes:
        """Says what was begun and had no end."""
        out = self.client(b"")
        if self._mode == "content" and self._size:
            return out + b"[MXSeal: %d octets left out, then the connection ended]\r\n" % self._size
        return out + _HIDDEN + b"\r\n" if self._waiting or self._line else out
