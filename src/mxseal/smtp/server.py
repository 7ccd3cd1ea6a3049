"""The server's side of SMTP: bytes in, requests out; replies in, bytes out (RFC 5321). PURE.

Extensions: SIZE (RFC 1870), ENHANCEDSTATUSCODES (2034), PIPELINING (2920), CHUNKING (3030), STARTTLS (3207),
8BITMIME (6152), SMTPUTF8 (6531). Policy is the caller's: this core knows what may be said when, not by whom.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Literal

import msgspec

from mxseal.smtp import grammar, replies
from mxseal.smtp.data import Newlines, Unstuffer
from mxseal.smtp.wire import (
    COMMAND_LINE,
    ENDLESS_LINE,
    ENVELOPE_LINE,
    ChunkDone,
    Content,
    Data,
    EndOfMessage,
    Fault,
    FaultKind,
    Hello,
    Help,
    Mail,
    Noop,
    Quit,
    Rcpt,
    Reply,
    Request,
    Reset,
    StartTls,
    Verify,
)


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection offers. `message_size` in octets, 0: no limit."""

    hostname: str
    message_size: int
    tls: Literal["off", "preferred", "required"] = "off"
    tls_active: bool = False
    chunking: bool = True
    smtputf8: bool = True
    enhanced: bool = True
    clean_newlines: bool = False
    """Content comes with CRLF in the place of each bare CR or LF."""


# start: no EHLO yet; ready: no transaction; mail: a sender; rcpt: a recipient; chunks: a chunk has been
# taken; data: the content of DATA comes; handshake: 220 to STARTTLS was given, tls_started() is next; closed.
State = Literal["start", "ready", "mail", "rcpt", "chunks", "data", "handshake", "closed"]


class _Row(msgspec.Struct, frozen=True):
    """A verb's outcome in each state in which commands are read: a reply that refuses it, or the state that a
    positive answer leads to."""

    start: Reply | State
    ready: Reply | State
    mail: Reply | State
    rcpt: Reply | State
    chunks: Reply | State


_EHLO, _MAIL, _RCPT = replies.EHLO_FIRST, replies.MAIL_FIRST, replies.RCPT_FIRST
_GIVEN, _BDAT = replies.SENDER_GIVEN, replies.CHUNKS_BEGUN

# RFC 5321 §4.1.4, RFC 3030 §2, RFC 3207 §4. A negative answer leaves the state as it is, except in
# AFTER_REFUSAL. 421 closes in every state (RFC 5321 §3.8).
# fmt: off
TRANSITIONS: dict[str, _Row] = {
    #                start        ready        mail         rcpt         chunks
    "EHLO":     _Row("ready",     "ready",     "ready",     "ready",     "ready"),
    "HELO":     _Row("ready",     "ready",     "ready",     "ready",     "ready"),
    "STARTTLS": _Row("handshake", "handshake", "handshake", "handshake", "handshake"),
    "MAIL":     _Row(_EHLO,       "mail",      _GIVEN,      _GIVEN,      _GIVEN),
    "RCPT":     _Row(_EHLO,       _MAIL,       "rcpt",      "rcpt",      _BDAT),
    "DATA":     _Row(_EHLO,       _MAIL,       _RCPT,       "data",      _BDAT),
    "BDAT":     _Row(_EHLO,       _MAIL,       _RCPT,       "chunks",    "chunks"),
    "RSET":     _Row("start",     "ready",     "ready",     "ready",     "ready"),
    "VRFY":     _Row("start",     "ready",     "mail",      "rcpt",      "chunks"),
    "HELP":     _Row("start",     "ready",     "mail",      "rcpt",      "chunks"),
    "NOOP":     _Row("start",     "ready",     "mail",      "rcpt",      "chunks"),
    "QUIT":     _Row("closed",    "closed",    "closed",    "closed",    "closed"),
}
# fmt: on
# A chunk that is refused takes the message with it (RFC 3030 §2: the client has to begin again).
AFTER_REFUSAL: dict[str, State] = {"QUIT": "closed", "BDAT": "ready"}
_READABLE = frozenset({"start", "ready", "mail", "rcpt", "chunks"})

# RFC 3207 §4: all that a client may say before the TLS that the policy requires (reference §3.1).
_BEFORE_TLS = frozenset({"EHLO", "NOOP", "STARTTLS", "QUIT"})
_BODY = re.compile(r"7BIT|8BITMIME", re.ASCII | re.IGNORECASE)
_NOT_OFFERED = frozenset({"AUTH", "EXPN", "ETRN", "TURN", "SEND", "SOML", "SAML"})


def _fault(reply: Reply, kind: FaultKind = "syntax") -> Fault:
    return Fault(reply, kind)


def _bare(verb: str, request: Request) -> Callable[[Server, str], Request]:
    """A command without an argument."""
    fault = _fault(replies.syntax_error(f"{verb} has no parameter"))
    return lambda _server, argument: fault if argument else request


class _Chunk(msgspec.Struct):
    """A BDAT chunk whose octets are coming. `refusal`: they are thrown away and this is the request."""

    size: int
    remaining: int
    last: bool
    refusal: Fault | None


class Server:
    """One connection. receive() bytes, take requests from next() and answer() each, send output()."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.state: State = "start"
        self._buffer = b""
        self._position = 0
        self._overlong = 0
        """Octets so far of a line that is too long."""
        self._output: list[bytes] = []
        self._awaiting: tuple[State, State] | None = None
        """States after a positive and after a negative answer, while one is owed."""
        self._queued: ChunkDone | EndOfMessage | Fault | None = None
        self._utf8 = False
        self._chunk: _Chunk | None = None
        self._unstuffer = Unstuffer()
        self._newlines = Newlines(clean=False)

    # --- the caller's side ---

    def configure(self, settings: ServerSettings) -> None:
        """Other settings from here on, between requests. TLS that is active stays so."""
        active = self.settings.tls_active or settings.tls_active
        self.settings = (
            settings
            if settings.tls_active == active
            else msgspec.structs.replace(settings, tls_active=active)
        )

    def receive(self, data: bytes) -> None:
        """Plaintext that came. Take all requests from next() before reading more: that bounds the buffer."""
        if self.state in {"handshake", "closed"}:
            return
        if self._position < len(self._buffer):
            self._buffer = self._buffer[self._position :] + data
        else:
            self._buffer = data
        self._position = 0

    @property
    def buffered(self) -> int:
        """Octets that came and were not looked at yet."""
        return len(self._buffer) - self._position

    @property
    def closed(self) -> bool:
        """The last reply was one behind which the connection is to be closed."""
        return self.state == "closed"

    def next(self) -> Request | None:
        """The next request; None: more bytes are needed. The one before, unless Content, must be answered."""
        assert self._awaiting is None, "the request before has not been answered"
        if self._queued is not None:
            queued, self._queued = self._queued, None
            return self._owing(queued)
        while True:
            if self.state == "data":
                return self._data()
            if self._chunk is not None:
                return self._chunk_octets(self._chunk)
            if self.state not in _READABLE:
                return None
            line = self._line()
            if line is None:
                return None
            request = line if isinstance(line, Fault) else self._command(line)
            if request is not None:
                return self._owe(request) if self._awaiting is None else request

    def answer(self, reply: Reply) -> None:
        """Answer the request that next() gave; its kind and the reply's class decide the next state."""
        awaiting = self._awaiting
        assert awaiting is not None, "no request waits for an answer"
        self._awaiting = None
        self._output.append(reply.encode())
        self._enter("closed" if reply.code == 421 else awaiting[0 if reply.code < 400 else 1])

    def say(self, reply: Reply) -> None:
        """A reply to nothing: the banner, or 421 at any time."""
        self._output.append(reply.encode())
        if reply.code == 421:
            self._awaiting = None
            self._enter("closed")

    def output(self) -> bytes:
        """Takes the bytes that are to be sent."""
        data = b"".join(self._output)
        self._output.clear()
        return data

    def welcome(self, request: Hello) -> Reply:
        """The positive answer to EHLO or HELO, with what the settings offer now."""
        settings = self.settings
        if not request.extended:
            return replies.hello(settings.hostname)
        keywords = ["8BITMIME", f"SIZE {settings.message_size}", "PIPELINING"]
        if settings.enhanced:
            keywords.append("ENHANCEDSTATUSCODES")
        if settings.smtputf8:
            keywords.append("SMTPUTF8")
        if settings.chunking:
            keywords.append("CHUNKING")
        # RFC 3207 §4.2: not offered again once TLS is active.
        if settings.tls != "off" and not settings.tls_active:
            keywords.append("STARTTLS")
        return replies.hello(settings.hostname, keywords)

    def tls_started(self) -> None:
        """The handshake is done: all that was said before is forgotten (RFC 3207 §4.2)."""
        self.settings = msgspec.structs.replace(self.settings, tls_active=True)
        self._awaiting = None
        self._enter("start")
        self._drop()

    # --- states ---

    def _enter(self, state: State) -> None:
        self.state = state
        if state == "data":
            self._unstuffer = Unstuffer()
            self._newlines = Newlines(clean=self.settings.clean_newlines)
        elif state in {"handshake", "closed"}:
            self._drop()

    def _drop(self) -> None:
        self._buffer, self._position, self._overlong = b"", 0, 0
        self._queued, self._chunk = None, None

    def _owe(self, request: Request) -> Request:
        """The caller owes an answer that changes no state."""
        self._awaiting = (self.state, self.state)
        return request

    def _owing(self, request: ChunkDone | EndOfMessage | Fault) -> Request:
        if isinstance(request, EndOfMessage):
            # RFC 5321 §4.1.1.4: the transaction is over, whatever the answer.
            self._awaiting = ("ready", "ready")
        elif isinstance(request, ChunkDone):
            self._awaiting = ("chunks", AFTER_REFUSAL["BDAT"])
        else:
            return self._owe(request)
        return request

    # --- command lines ---

    def _line(self) -> bytes | Fault | None:
        """The next line without its CRLF. Of a line that is too long nothing is kept but that it was."""
        buffer, start = self._buffer, self._position
        end = buffer.find(b"\r\n", start)
        if end < 0:
            if not self._overlong and len(buffer) - start < ENVELOPE_LINE:
                return None
            # Its last byte may be the CR of the line's end.
            rest = buffer[-1:] if buffer.endswith(b"\r") else b""
            self._overlong += len(buffer) - start - len(rest)
            self._buffer, self._position = rest, 0
            return _fault(replies.ENDLESS_LINE, "too-long") if self._overlong > ENDLESS_LINE else None
        self._position = end + 2
        length = end + 2 - start
        if self._overlong or length > COMMAND_LINE:
            if self._overlong + length - 2 > ENDLESS_LINE:
                return _fault(replies.ENDLESS_LINE, "too-long")
            long = self._overlong or length > ENVELOPE_LINE
            self._overlong = 0
            if long or buffer[start : start + 4].upper() not in {b"MAIL", b"RCPT"}:
                return _fault(replies.LINE_TOO_LONG, "too-long")
        return buffer[start:end]

    def _command(self, line: bytes) -> Request | None:
        """The request that a line makes, with the answer owed noted; None: a chunk's octets come first."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return _fault(replies.CONTROL_CHARACTERS)
        # NUL, and a CR or LF that is not part of a CRLF, end nothing and are no part of a command.
        if not text.isprintable():
            text = text.rstrip(" \t")
            if not text.isprintable():
                return _fault(replies.CONTROL_CHARACTERS)
        # RFC 5321 §4.1.1: white space at the end is tolerated.
        verb, _, argument = text.partition(" ")
        # Only ASCII: str.upper() makes an S of U+017F, a command that no other server would see.
        verb, argument = verb.upper() if verb.isascii() else "", argument.strip(" ")
        if verb == "BDAT" and self.settings.chunking:
            return self._begin_chunk(argument)
        refusal = self._refusal(verb)
        if refusal is not None:
            return refusal
        request = self._COMMANDS[verb](self, argument)
        if not isinstance(request, Fault):
            positive: State = getattr(TRANSITIONS[verb], self.state)
            self._awaiting = (positive, AFTER_REFUSAL.get(verb, self.state))
        elif request.kind == "injected":
            self._awaiting = ("closed", "closed")
        return request

    def _refusal(self, verb: str) -> Fault | None:
        """Why the verb can't be followed in this state, whatever its argument is."""
        settings = self.settings
        if settings.tls == "required" and not settings.tls_active and verb not in _BEFORE_TLS:
            return _fault(replies.TLS_REQUIRED, "tls-required")
        row = TRANSITIONS.get(verb)
        if row is None or (verb == "BDAT" and not settings.chunking):
            offered = replies.NOT_OFFERED if verb in _NOT_OFFERED else replies.NOT_RECOGNIZED
            return _fault(offered, "unknown")
        outcome = getattr(row, self.state)
        return _fault(outcome, "sequence") if isinstance(outcome, Reply) else None

    def _ehlo(self, argument: str) -> Request:
        return self._hello(argument, extended=True)

    def _helo(self, argument: str) -> Request:
        return self._hello(argument, extended=False)

    def _vrfy(self, argument: str) -> Request:
        return Verify(argument) if argument else _fault(replies.syntax_error("VRFY needs an address"))

    def _hello(self, argument: str, extended: bool) -> Request:
        name = grammar.hello_name(argument)
        if isinstance(name, grammar.Flaw):
            return _fault(replies.syntax_error(name.text) if argument else replies.EHLO_NEEDS_DOMAIN)
        return Hello(extended, name)

    def _starttls(self, argument: str) -> Request:
        if self.settings.tls == "off":
            return _fault(replies.NOT_RECOGNIZED, "unknown")
        if self.settings.tls_active:
            return _fault(replies.TLS_ACTIVE, "sequence")
        if argument:
            return _fault(replies.syntax_error("STARTTLS has no parameter"))
        if self.buffered:
            # RFC 3207 §4: nothing may follow STARTTLS. Bytes that do were put there to be taken for what
            # comes over TLS (CVE-2011-0411); they are never looked at.
            return _fault(replies.DATA_BEHIND_STARTTLS, "injected")
        return StartTls()

    def _mail(self, argument: str) -> Request:
        if argument[:5].upper() != "FROM:":
            return _fault(replies.syntax_error("MAIL FROM:<sender> is expected"))
        path = grammar.path(argument[5:].lstrip(" "), null=True)
        if isinstance(path, grammar.Flaw):
            return _fault(replies.syntax_error(path.text))
        request: Mail | Fault
        if path.rest:
            request = self._mail_parameters(path)
            if isinstance(request, Fault):
                return request
        else:
            request = Mail(path.mailbox)
        if not request.smtputf8 and not request.sender.isascii():
            return _fault(replies.NEEDS_SMTPUTF8)
        self._utf8 = request.smtputf8
        return request

    def _mail_parameters(self, path: grammar.Path) -> Mail | Fault:
        found = (
            grammar.parameters(path.rest) if path.rest.startswith(" ") else grammar.Flaw("a space is missing")
        )
        if isinstance(found, grammar.Flaw):
            return _fault(replies.syntax_error(found.text))
        size, body, utf8 = None, None, False
        for keyword, value in found.items():
            if keyword == "SIZE":
                # RFC 1870 §3: 1 to 20 digits.
                if value is None or not (value.isascii() and value.isdigit()) or len(value) > 20:
                    return _fault(replies.syntax_error("SIZE is a number of octets"))
                size = int(value)
            elif keyword == "BODY" and value is not None and _BODY.fullmatch(value) is not None:
                body = value.upper()
            elif keyword == "SMTPUTF8" and value is None and self.settings.smtputf8:
                utf8 = True
            else:
                # RFC 5321 §4.1.1.11; also BODY=BINARYMIME, which is not offered (RFC 3030 §3).
                word = keyword if value is None or not value.isascii() else f"{keyword}={value}"
                return _fault(replies.unknown_parameter(word[:100]))
        if size is not None and 0 < self.settings.message_size < size:
            return _fault(replies.MESSAGE_TOO_LARGE, "size")
        return Mail(path.mailbox, size, body, utf8)

    def _rcpt(self, argument: str) -> Request:
        if argument[:3].upper() != "TO:":
            return _fault(replies.syntax_error("RCPT TO:<recipient> is expected"))
        path = grammar.path(argument[3:].lstrip(" "), bare_postmaster=True)
        if isinstance(path, grammar.Flaw):
            return _fault(replies.syntax_error(path.text))
        if path.rest:
            found = (
                grammar.parameters(path.rest) if path.rest[0] == " " else grammar.Flaw("a space is missing")
            )
            if isinstance(found, grammar.Flaw):
                return _fault(replies.syntax_error(found.text))
            return _fault(replies.unknown_parameter(next(iter(found))[:100]))
        if not self._utf8 and not path.mailbox.isascii():
            return _fault(replies.NEEDS_SMTPUTF8)
        return Rcpt(path.mailbox)

    # --- content ---

    def _data(self) -> Request | None:
        """Content of DATA, as much as there is."""
        if self._position >= len(self._buffer):
            return None
        content, end = self._unstuffer.feed(self._buffer, self._position)
        kept = self._newlines.feed(content)
        if end is None:
            self._buffer, self._position = b"", 0
            return Content(kept) if kept else None
        self._position = end
        finished = EndOfMessage(self._newlines.bare)
        if not kept:
            return self._owing(finished)
        self._queued = finished
        return Content(kept)

    def _begin_chunk(self, argument: str) -> Request | None:
        """BDAT size [LAST] (RFC 3030 §2). The octets come anyway: they are consumed before a refusal, taken
        for commands, a message's content could talk to the gateway."""
        size, _, mark = argument.partition(" ")
        mark = mark.strip(" ").upper()
        if not (argument.isascii() and size.isdigit()) or len(size) > 20 or mark not in {"", "LAST"}:
            return _fault(replies.syntax_error("BDAT size, or BDAT size LAST, is expected"))
        refusal = self._refusal("BDAT")
        if self.state == "rcpt" and refusal is None:
            self._newlines = Newlines(clean=self.settings.clean_newlines)
        self._chunk = _Chunk(int(size), int(size), mark == "LAST", refusal)
        return None

    def _chunk_octets(self, chunk: _Chunk) -> Request | None:
        if chunk.remaining:
            start, stop = self._position, min(len(self._buffer), self._position + chunk.remaining)
            if start == stop:
                return None
            self._position = stop
            chunk.remaining -= stop - start
            if chunk.refusal is None:
                kept = self._newlines.feed(self._buffer[start:stop])
                if kept:
                    return Content(kept)
            if chunk.remaining:
                return None
        self._chunk = None
        if chunk.refusal is not None:
            return self._owe(chunk.refusal)
        if not chunk.last:
            return self._owing(ChunkDone(chunk.size))
        # A CR that waited for its LF.
        rest = self._newlines.end()
        finished = EndOfMessage(self._newlines.bare)
        if not rest:
            return self._owing(finished)
        self._queued = finished
        return Content(rest)

    _COMMANDS: ClassVar[dict[str, Callable[[Server, str], Request]]] = {
        "EHLO": _ehlo,
        "HELO": _helo,
        "STARTTLS": _starttls,
        "MAIL": _mail,
        "RCPT": _rcpt,
        "DATA": _bare("DATA", Data()),
        "RSET": _bare("RSET", Reset()),
        "QUIT": _bare("QUIT", Quit()),
        "NOOP": lambda _server, _argument: Noop(),
        "HELP": lambda _server, _argument: Help(),
        "VRFY": _vrfy,
    }
