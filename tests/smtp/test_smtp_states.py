"""The server's table of transitions, each cell of it, over the wire."""

from __future__ import annotations

import pytest

from mxseal.smtp import replies
from mxseal.smtp.server import AFTER_REFUSAL, TRANSITIONS, Server, State
from mxseal.smtp.wire import ChunkDone, Content, Data, EndOfMessage, Fault, Hello, Reply, StartTls
from tests.smtp.conversation import Conversation, converse, settings

TO_STATE: dict[State, bytes] = {
    "start": b"",
    "ready": b"EHLO c\r\n",
    "mail": b"EHLO c\r\nMAIL FROM:<a@b.cd>\r\n",
    "rcpt": b"EHLO c\r\nMAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\n",
    "chunks": b"EHLO c\r\nMAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\nBDAT 1\r\nx",
}
LINES = {
    "EHLO": b"EHLO c\r\n",
    "HELO": b"HELO c\r\n",
    "STARTTLS": b"STARTTLS\r\n",
    "MAIL": b"MAIL FROM:<a@b.cd>\r\n",
    "RCPT": b"RCPT TO:<c@d.ef>\r\n",
    "DATA": b"DATA\r\n",
    "BDAT": b"BDAT 1\r\nx",
    "RSET": b"RSET\r\n",
    "VRFY": b"VRFY c\r\n",
    "HELP": b"HELP\r\n",
    "NOOP": b"NOOP\r\n",
    "QUIT": b"QUIT\r\n",
}
# The expectation is written out here a second time, from RFC 5321 §4.1.4, 3030 §2 and 3207 §4.
EXPECTED: dict[State, dict[str, str]] = {
    "start": {"MAIL": "EHLO first", "RCPT": "EHLO first", "DATA": "EHLO first", "BDAT": "EHLO first"},
    "ready": {"MAIL": "mail", "RCPT": "MAIL first", "DATA": "MAIL first", "BDAT": "MAIL first"},
    "mail": {"MAIL": "sender already given", "RCPT": "rcpt", "DATA": "RCPT first", "BDAT": "RCPT first"},
    "rcpt": {"MAIL": "sender already given", "RCPT": "rcpt", "DATA": "data", "BDAT": "chunks"},
    "chunks": {
        "MAIL": "sender already given",
        "RCPT": "BDAT or RSET first",
        "DATA": "BDAT or RSET first",
        "BDAT": "chunks",
    },
}
ALWAYS = {"EHLO": "ready", "HELO": "ready", "STARTTLS": "handshake", "QUIT": "closed"}
CELLS = [(state, verb) for state in TO_STATE for verb in LINES]


def in_state(state: State) -> Conversation:
    conversation = converse(TO_STATE[state], tls="preferred")
    assert conversation.server.state == state
    return conversation


def test_the_table_has_every_verb() -> None:
    assert set(TRANSITIONS) == set(LINES)


@pytest.mark.parametrize(("state", "verb"), CELLS)
def test_a_positive_answer_leads_where_the_table_says_and_disorder_is_503(state: State, verb: str) -> None:
    conversation = in_state(state)
    said = conversation.feed(LINES[verb]).decode()
    expected = ALWAYS.get(verb) or EXPECTED[state].get(verb)
    if verb == "RSET":
        expected = "start" if state == "start" else "ready"
    expected = expected or state
    if " " in expected:
        assert said == f"503 #5.5.1 {expected}\r\n"
        assert conversation.server.state == state
        fault = conversation.requests[-1]
        assert isinstance(fault, Fault)
        assert fault.kind == "sequence"
    else:
        assert said[0] in "23"
        assert conversation.server.state == expected


@pytest.mark.parametrize("refusal", [replies.TEMPORARY_ERROR, replies.PERMANENT_ERROR], ids=["4yz", "5yz"])
@pytest.mark.parametrize(("state", "verb"), CELLS)
def test_a_negative_answer_leaves_the_state(state: State, verb: str, refusal: Reply) -> None:
    server = in_state(state).server
    server.receive(LINES[verb])
    request = server.next()
    if isinstance(request, Content):
        request = server.next()
    assert request is not None
    server.answer(refusal)
    taken = not isinstance(request, Fault)
    assert server.state == (AFTER_REFUSAL.get(verb, state) if taken else state)


@pytest.mark.parametrize("state", TO_STATE)
def test_421_closes_in_every_state_and_nothing_is_heard_afterwards(state: State) -> None:
    server = in_state(state).server
    server.receive(b"NOOP\r\nNOOP\r\n")
    server.next()
    server.answer(replies.TOO_MANY_ERRORS)
    server.receive(b"NOOP\r\n")
    assert server.closed
    assert server.next() is None
    assert server.buffered == 0
    other = in_state(state).server
    other.receive(b"NOOP\r\n")
    other.next()
    other.say(replies.SHUTTING_DOWN)
    assert other.closed
    assert other.next() is None


@pytest.mark.parametrize("code", [250, 452, 554])
@pytest.mark.parametrize("body", [b"DATA\r\nx\r\n.\r\n", b"BDAT 1 LAST\r\nx"], ids=["DATA", "BDAT"])
def test_the_end_of_a_message_ends_its_transaction_whatever_the_answer(body: bytes, code: int) -> None:
    server = in_state("rcpt").server
    server.receive(body)
    request = server.next()
    while not isinstance(request, EndOfMessage):
        if isinstance(request, Data):
            server.answer(replies.GO_AHEAD)
        request = server.next()
    server.answer(Reply(code, ("x",)))
    assert server.state == "ready"


def test_the_caller_must_answer_before_the_next_request() -> None:
    server = Server(settings())
    server.receive(b"NOOP\r\nNOOP\r\n")
    server.next()
    with pytest.raises(AssertionError):
        server.next()
    server.answer(replies.OK)
    with pytest.raises(AssertionError):
        server.answer(replies.OK)


def test_a_chunk_says_its_size_and_content_needs_no_answer() -> None:
    server = in_state("rcpt").server
    server.receive(b"BDAT 3\r\nabc")
    assert server.next() == Content(b"abc")
    assert server.next() == ChunkDone(3)


@pytest.mark.parametrize("place", range(len(b"STARTTLS\r\nNOOP\r\n") + 1))
def test_no_plaintext_behind_starttls_is_ever_obeyed(place: int) -> None:
    stream = b"STARTTLS\r\nMAIL FROM:<a@b.cd>\r\n"
    conversation = converse([stream[:place], stream[place:]], tls="preferred")
    server = conversation.server
    last = conversation.requests[-1]
    if isinstance(last, Fault):
        assert last.kind == "injected"
        assert server.closed
    else:
        assert last == StartTls()
        assert server.state == "handshake"
    assert len(conversation.requests) == 1
    assert server.buffered == 0


def test_bytes_that_come_while_starttls_waits_for_its_answer_are_dropped_by_220() -> None:
    server = Server(settings(tls="preferred"))
    server.receive(b"STARTTLS\r\n")
    assert server.next() == StartTls()
    server.receive(b"MAIL FROM:<evil@b.cd>\r\n")
    server.answer(replies.START_TLS)
    assert server.buffered == 0
    server.receive(b"MAIL FROM:<evil@b.cd>\r\n")
    server.tls_started()
    assert server.buffered == 0
    assert server.next() is None
    assert server.settings.tls_active


def test_starttls_that_is_refused_leaves_the_session_in_clear() -> None:
    server = Server(settings(tls="preferred"))
    server.receive(b"STARTTLS\r\n")
    server.next()
    server.answer(replies.TLS_UNAVAILABLE)
    server.receive(b"EHLO c\r\n")
    hello = server.next()
    assert isinstance(hello, Hello)
    assert "STARTTLS" in server.welcome(hello).lines


def test_settings_may_change_between_requests_but_tls_stays() -> None:
    server = Server(settings(tls="required", tls_active=True))
    server.configure(settings(tls="required", message_size=5))
    assert server.settings.tls_active
    server.receive(b"EHLO c\r\nMAIL FROM:<a@b.cd> SIZE=6\r\n")
    hello = server.next()
    assert isinstance(hello, Hello)
    server.answer(server.welcome(hello))
    assert server.next() == Fault(replies.MESSAGE_TOO_LARGE, "size")
    server.answer(replies.MESSAGE_TOO_LARGE)
    server.configure(settings(message_size=0))
    server.receive(b"MAIL FROM:<a@b.cd> SIZE=99999999999999999999\r\n")
    assert not isinstance(server.next(), Fault)
