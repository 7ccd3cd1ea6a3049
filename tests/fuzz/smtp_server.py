"""The server core against a client that says anything, read a second time by a slow and simple reader.

The second reader knows only where commands end and where content does. That both agree is what smuggling
breaks: a byte that is content to one and a command to the other.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

from mxseal.smtp.server import Server, ServerSettings
from mxseal.smtp.wire import (
    ChunkDone,
    Content,
    Data,
    EndOfMessage,
    Fault,
    Hello,
    Mail,
    Rcpt,
    Request,
    Reset,
    StartTls,
)
from tests.fuzz.target import SEPARATOR, Target, cuts, fields, joined, text
from tests.smtp.conversation import Conversation, settings

_REPLIES = re.compile(rb"(?:\d{3}-[^\r\n]*\r\n)*\d{3} [^\r\n]*\r\n")
_LONGEST_REPLY = 4500
"""Octets: an address of a command line of 2048, in words."""
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_STUFFED_END = re.compile(rb"(?:\A|\r\n)\.\r\n")


def run(data: bytes) -> None:
    options, stream = fields(data, 2) if SEPARATOR in data else [b"", data]
    given = _settings(options)
    if given.tls == "off":
        _without_tls(given, stream)
    else:
        _around_tls(given, stream)


def _settings(options: bytes) -> ServerSettings:
    levels = {b"o": "preferred", b"r": "required"}
    return settings(
        tls=next((level for letter, level in levels.items() if letter in options), "off"),
        clean_newlines=b"c" in options,
        chunking=b"k" not in options,
        smtputf8=b"u" not in options,
        enhanced=b"e" not in options,
        message_size=0 if b"z" in options else 3000,
    )


def _conversation(given: ServerSettings, pieces: list[bytes]) -> Conversation:
    conversation = Conversation(Server(given))
    conversation.feed(*pieces)
    return conversation


def _without_tls(given: ServerSettings, stream: bytes) -> None:
    whole = _conversation(given, [stream])
    _Reader(whole, stream).read()
    _well_said(whole)
    for pieces in cuts(stream):
        other = _conversation(given, pieces)
        assert other.requests == whole.requests, "the requests hang on how the stream was cut"
        assert other.sent == whole.sent, "the replies hang on how the stream was cut"
        assert other.messages == whole.messages, "the messages hang on how the stream was cut"


def _around_tls(given: ServerSettings, stream: bytes) -> None:
    """RFC 3207 §4: what comes in one piece with STARTTLS is never read, and what was before is forgotten."""
    before, command, behind = stream.partition(b"STARTTLS\r\n")
    injected = _conversation(given, [stream])
    _well_said(injected)
    for index, request in enumerate(injected.requests):
        if isinstance(request, StartTls) or (isinstance(request, Fault) and request.kind == "injected"):
            assert injected.requests[index + 1 :] == [], "something behind STARTTLS was read"
            told = isinstance(request, Fault) or re.search(rb"STARTTLS[ \t]*\r\n\Z", stream, re.IGNORECASE)
            assert told, "the client was not told that it injected something"
            assert injected.server.buffered == 0
    if given.tls == "required":
        taken = [r for r in injected.requests if isinstance(r, Mail | Rcpt | Data | EndOfMessage)]
        assert not taken, "mail was taken without the TLS that is required"
    upgraded = _conversation(given, [before + command])
    if upgraded.server.state == "handshake":
        upgraded.server.receive(b"NOOP\r\n")
        upgraded.server.tls_started()
        assert str(upgraded.server.state) == "start"
        upgraded.requests.clear()
        upgraded.sent, upgraded.messages = b"", []
        upgraded.feed(behind)
        fresh = Server(given)
        fresh.tls_started()
        anew = Conversation(fresh)
        anew.feed(behind)
        assert (upgraded.sent, upgraded.requests) == (anew.sent, anew.requests), (
            "STARTTLS left something over"
        )


def _well_said(conversation: Conversation) -> None:
    """Each request but content has one reply, and replies are lines of text."""
    rest, count = conversation.sent, 0
    while rest:
        reply = _REPLIES.match(rest)
        assert reply is not None, f"this is no reply: {rest[:80]!r}"
        assert reply.end() <= _LONGEST_REPLY
        shown = text(reply[0]).replace("\r\n", "")
        assert all(c.isprintable() or "\udc80" <= c <= "\udcff" for c in shown), (
            "control characters in a reply"
        )
        rest, count = rest[reply.end() :], count + 1
    assert count == sum(not isinstance(request, Content) for request in conversation.requests)


class _Reader:
    """Goes through the stream once more and asks at each step whether the core saw the same."""

    def __init__(self, conversation: Conversation, stream: bytes) -> None:
        self._requests = list(conversation.requests)
        self._codes = [int(reply[0].splitlines()[-1][:3]) for reply in _REPLIES.finditer(conversation.sent)]
        self._cleaning = conversation.server.settings.clean_newlines
        self._closed = conversation.server.closed
        self._messages = len(conversation.messages)
        self._rest = stream
        self._ended = 0
        self._transaction: list[type[Request]] = []
        """What was accepted of an open one."""

    def read(self) -> None:
        while b"\r\n" in self._rest and not (self._closed and not self._requests):
            line, _, self._rest = self._rest.partition(b"\r\n")
            chunk = re.fullmatch(rb"BDAT (\d{1,20})( +LAST)?[ \t]*", line, re.IGNORECASE)
            if chunk is not None and not self._is_fault("syntax", "too-long", "unknown"):
                self._chunk(int(chunk[1]), last=chunk[2] is not None)
            else:
                request, code = self._next()
                if isinstance(request, Data) and code == 354:
                    self._data()
        assert not self._requests, f"the core saw more than the stream has: {self._requests[:3]}"
        assert self._messages <= self._ended, "more messages than ends of data"

    def _next(self) -> tuple[Request, int]:
        assert self._requests, "the core did not see a line that ended"
        assert not isinstance(self._requests[0], Content), "the core took a command for content"
        request, code = self._requests.pop(0), self._codes.pop(0)
        self._in_order(request, code)
        return request, code

    def _in_order(self, request: Request, code: int) -> None:
        """A message has one sender and a recipient, and none of another's (RFC 5321 §4.1.4)."""
        if isinstance(request, Mail) and code < 300:
            assert not self._transaction, "a sender within a transaction"
            self._transaction = [Mail]
        elif isinstance(request, Rcpt) and code < 300:
            assert self._transaction, "a recipient without a sender"
            self._transaction.append(Rcpt)
        elif isinstance(request, Data | ChunkDone | EndOfMessage):
            assert Rcpt in self._transaction, "content without a recipient"
        refused = isinstance(request, ChunkDone) and code >= 400
        if refused or isinstance(request, Hello | Reset | EndOfMessage):
            self._transaction = []

    def _is_fault(self, *kinds: str) -> bool:
        request = self._requests[0] if self._requests else None
        return isinstance(request, Fault) and request.kind in kinds

    def _data(self) -> None:
        end = _STUFFED_END.search(self._rest)
        if end is None:
            given = self._taken()
            whole = self._kept(self._rest)
            self._rest = b""
            assert whole.startswith(given.removesuffix(b"\r\n")), "content that was not sent"
            return
        content = self._rest[: end.start()] + (b"\r\n" if end[0].startswith(b"\r\n") else b"")
        self._rest = self._rest[end.end() :]
        assert self._taken() == self._kept(content), "the content is not what was sent"
        request, _ = self._next()
        assert request == EndOfMessage(bool(_BARE.search(content))), (
            "the end of data is not where it was sent"
        )
        self._ended += 1

    def _kept(self, stuffed: bytes) -> bytes:
        """Content as it is to be kept."""
        content = re.sub(rb"(\A|\r\n)\.", rb"\1", stuffed)
        return re.sub(rb"\r\n|\r|\n", b"\r\n", content) if self._cleaning else content

    def _chunk(self, size: int, *, last: bool) -> None:
        octets, self._rest = self._rest[:size], self._rest[size:]
        given = self._taken()
        if len(octets) < size:
            self._rest = b""
            return
        request, _ = self._next()
        if isinstance(request, Fault):
            assert not given, "content of a chunk that was refused"
        elif last:
            assert isinstance(request, EndOfMessage)
            self._ended += 1
        else:
            assert request == ChunkDone(size)

    def _taken(self) -> bytes:
        if self._requests and isinstance(content := self._requests[0], Content):
            self._requests.pop(0)
            return content.data
        return b""


_COMMANDS = [
    b"EHLO c",
    b"HELO c",
    b"MAIL FROM:<a@b.cd>",
    b"MAIL FROM:<> SIZE=20 BODY=8BITMIME",
    b"MAIL FROM:<\xc3\xa9@\xc3\xa9.cd> SMTPUTF8",
    b"MAIL FROM:<nodata@b.cd>",
    b"RCPT TO:<c@d.ef>",
    b"RCPT TO:<nobody@d.ef>",
    b"DATA",
    b"data \t",
    b"BDAT 0 LAST",
    b"BDAT 4",
    b"BDAT 7 last",
    b"BDAT 99999999999999999999",
    b"RSET",
    b"NOOP x",
    b"VRFY a",
    b"STARTTLS",
    b"QUIT",
    b"HELP",
    b"AUTH PLAIN AA==",
]
_LINE_ENDS = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n", b"\0\r\n", b" \r\n", b""])
_LINES = st.tuples(st.sampled_from(_COMMANDS), _LINE_ENDS).map(b"".join)
_TEXT = joined(
    st.sampled_from(
        [b"\r\n", b"\r\n.", b".", b"..", b"\r", b"\n", b"\0", b"text", b"\xc3", b"MAIL FROM:<e@v.il>\r\n"]
    ),
    12,
)
_ENVELOPE = st.just(b"EHLO c\r\nMAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\n")
_MESSAGES = st.one_of(
    st.tuples(
        _ENVELOPE,
        st.just(b"DATA\r\n"),
        _TEXT,
        st.sampled_from([b"\r\n.\r\n"] * 4 + [b"\n.\n", b"\r\n.\r", b""]),
    ),
    st.tuples(_ENVELOPE, _TEXT.map(lambda octets: b"BDAT %d LAST\r\n%b" % (len(octets), octets))),
    st.tuples(_ENVELOPE, st.sampled_from([b"BDAT 3\r\n", b"BDAT 9\r\n"]), _TEXT, st.just(b"BDAT 0 LAST\r\n")),
).map(b"".join)
_OPTIONS = st.sampled_from([b"", b"c", b"z", b"cz", b"k", b"ue", b"o", b"r", b"oc"])

TARGET = Target(
    name="smtp-server",
    run=run,
    inputs=st.tuples(_OPTIONS, joined(_LINES | _MESSAGES | _MESSAGES | _TEXT | st.just(b"x" * 700), 8)).map(
        SEPARATOR.join
    ),
    words=(*(command + b"\r\n" for command in _COMMANDS), b"\r\n.\r\n", b"\n.\n", b" LAST", b"x" * 600),
)
