"""The client core against a next hop that answers anything: parser, what the server offers, one message.

A referee keeps the book on the other side: which command each reply answers, and what was promised when.
"""

from __future__ import annotations

import re

from hypothesis import strategies as st

from mxseal.mail.status import of_reply, words
from mxseal.smtp.client import Capabilities, Transaction
from mxseal.smtp.wire import REPLY_LINE, REPLY_LINES, ProtocolFault, Reply, ReplyParser
from tests.fuzz.target import HOSTILE, SEPARATOR, Target, cuts, fields, joined, one_safe_line

CONTENT = b"Subject: x\r\n\r\n.dot\r\n..\r\nMAIL FROM:<e@v.il>\r\n.\r\nend"
_WIRE = re.compile(rb"(?:[^\r\n]*\r\n)*")
_CONTENT_END = b"content"
"""In the referee's book; the end of data that no recipient is left for is a line of its own."""
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")


def run(data: bytes) -> None:
    options, stream = fields(data, 2) if SEPARATOR in data else [b"", data]
    replies, fault = _parsed([stream])
    assert one_safe_line(fault)
    assert len(fault) < 600
    for pieces in cuts(stream, 4):
        assert _parsed(pieces) == (replies, fault), "the replies hang on how the stream was cut"
    for reply in replies:
        _readable(reply)
    _deliver(options, replies, fault)


def _parsed(pieces: list[bytes]) -> tuple[list[Reply], str]:
    """All replies, and what was said about the first thing that is none."""
    parser, replies = ReplyParser(), []
    try:
        for piece in pieces:
            parser.receive(piece)
            while (reply := parser.next()) is not None:
                replies.append(reply)
            assert parser.buffered <= REPLY_LINE * (REPLY_LINES + 1)
    except ProtocolFault as error:
        return replies, str(error)
    return replies, ""


def _readable(reply: Reply) -> None:
    assert 200 <= reply.code <= 599
    assert 1 <= len(reply.lines) <= REPLY_LINES
    assert all(one_safe_line(line) and len(line) <= REPLY_LINE for line in reply.lines)
    again, fault = _parsed([reply.encode()])
    # What was no UTF-8 grows by being replaced: such a line can be too long to be sent on.
    assert again == [reply] or max(len(line.encode()) for line in reply.lines) + 6 > REPLY_LINE, fault
    status = of_reply(str(reply.code), reply.enhanced)
    assert _STATUS.fullmatch(status)
    assert status[0] == ("4" if reply.code < 500 else "5") or status == reply.enhanced
    assert words(status)
    offer = Capabilities.parse(reply)
    assert offer.size is None or 0 <= offer.size < 10**20


def _deliver(options: bytes, replies: list[Reply], fault: str) -> None:
    offer = Capabilities(
        pipelining=b"p" in options, eightbit=b"8" in options, size=0 if b"s" in options else None
    )
    recipients = [f"r{number}@d.ef" for number in range(1 + options.count(b"r"))]
    transaction = Transaction(offer, "a@b.cd", recipients, len(CONTENT), eightbit=b"8" in options)
    referee = _Referee(transaction.commands())
    for reply in replies:
        if transaction.finished:
            break
        referee.heard(reply)
        referee.sent(transaction.receive(reply))
        if transaction.wants_content:
            half = len(options) * 7 % len(CONTENT)
            wire = transaction.encode(CONTENT[:half]) + transaction.encode(CONTENT[half:]) + transaction.end()
            referee.content(wire)
    if not transaction.finished:
        transaction.lost(fault or "connection lost")
    assert transaction.finished
    assert [outcome.index for outcome in transaction.outcomes] == list(range(len(recipients)))
    for outcome in transaction.outcomes:
        assert outcome.lines
        if outcome.kind == "delivered":
            assert referee.promised, "delivered, and the server never promised it"
            assert outcome.index in referee.taken, "delivered to a recipient that was not taken"
        else:
            assert outcome.kind == ("bounced" if outcome.code >= 500 else "deferred") or outcome.code == 552
    if referee.promised and not transaction.must_close:
        delivered = {outcome.index for outcome in transaction.outcomes if outcome.kind == "delivered"}
        assert delivered == referee.taken, "the server has the message, and it would be sent again"


class _Referee:
    """What a server would know of the conversation: commands in the order in which it must answer them."""

    def __init__(self, commands: bytes) -> None:
        self.taken: set[int] = set()
        self.promised = False
        self._asked: list[bytes] = []
        self._recipients = 0
        self._ready = False
        self.sent(commands)

    def sent(self, data: bytes) -> None:
        assert _WIRE.fullmatch(data), "commands are lines"
        for line in data.splitlines():
            assert line[:5] in {b"MAIL ", b"RCPT ", b"DATA", b"."} or line == b"DATA", (
                f"not a command: {line!r}"
            )
            self._asked.append(line)

    def heard(self, reply: Reply) -> None:
        line = self._asked.pop(0) if self._asked else b""
        if line.startswith(b"RCPT"):
            if reply.code < 300:
                self.taken.add(self._recipients)
            self._recipients += 1
        elif line == b"DATA":
            self._ready = 300 <= reply.code < 400
        elif line == _CONTENT_END:
            self.promised = reply.code < 300

    def content(self, wire: bytes) -> None:
        assert self._ready, "content without 354"
        assert self.taken, "content without a recipient"
        assert not self._asked, "content while replies are owed"
        assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - 3, "the content ends before its end"
        self._asked.append(_CONTENT_END)


_CODES = st.sampled_from(
    [b"220", b"250", b"251", b"354", b"399", b"421", b"450", b"452", b"503", b"552", b"550"]
)
_TEXTS = st.sampled_from(
    [b" ok", b"", b" ", b" 5.1.1 no", b" #4.2.1 full", b" 9.9.9", b" SIZE 12", b"_"]
) | HOSTILE.map(lambda words: b" " + words.replace(b"\n", b""))
_LINES = st.tuples(
    _CODES, st.sampled_from([b"", b"", b"", b"-"]), _TEXTS, st.sampled_from([b"\r\n"] * 9 + [b"\n", b"\r"])
)
_GOOD = st.sampled_from(
    [b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"354 go\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n"]
)

_TALKS = st.builds(
    lambda mail, recipients, data, end: b" x\r\n".join([mail, *recipients, data, end, b""]),
    st.sampled_from([b"250"] * 5 + [b"550", b"421"]),
    st.lists(st.sampled_from([b"250", b"250", b"550", b"452", b"552"]), min_size=1, max_size=4),
    st.sampled_from([b"354"] * 5 + [b"250", b"451", b"554"]),
    _CODES,
)
TARGET = Target(
    name="smtp-client",
    run=run,
    inputs=st.tuples(
        st.sampled_from([b"", b"p", b"r", b"pr", b"prr", b"8s", b"prrr8"]),
        _TALKS | joined(_LINES.map(b"".join) | _GOOD | _GOOD | st.just(b"250-x\r\n" * 90), 12),
    ).map(SEPARATOR.join),
    words=(
        b"250 ok\r\n",
        b"250-",
        b"354 go\r\n",
        b"421 x\r\n",
        b"550 5.1.1 x\r\n",
        b"250-SIZE 9\r\n",
        b"x" * 1000,
    ),
)
