"""One message on an open session, against scripted servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.smtp.client import Capabilities, Kind, Outcome, Transaction, hello
from mxseal.smtp.wire import Reply

PLAIN = Capabilities(esmtp=True)
PIPELINING = Capabilities(esmtp=True, pipelining=True)
BOTH = pytest.mark.parametrize("caps", [PLAIN, PIPELINING], ids=["one by one", "pipelined"])
TWO = ("c@d.ef", "g@h.ij")


class Server:
    """Answers commands from a script, in order; what is sent is kept."""

    def __init__(self, transaction: Transaction, *script: str) -> None:
        self.transaction = transaction
        self.script = list(script)
        self.got = b""
        self.pending = 0

    def run(self, content: bytes = b"Hello\r\n") -> None:
        self._take(self.transaction.commands())
        while not self.transaction.finished and (self.pending or self.transaction.wants_content):
            if self.transaction.wants_content:
                self.got += self.transaction.encode(content)
                self._take(self.transaction.end(), commands=1)
            self.pending -= 1
            code, _, text = self.script.pop(0).partition(" ")
            self._take(self.transaction.receive(Reply(int(code), (text,))))

    def _take(self, data: bytes, commands: int | None = None) -> None:
        self.got += data
        self.pending += data.count(b"\r\n") if commands is None else commands


def kinds(transaction: Transaction) -> list[tuple[int, Kind]]:
    assert [outcome.index for outcome in transaction.outcomes] == list(range(len(transaction.outcomes)))
    return [(outcome.code, outcome.kind) for outcome in transaction.outcomes]


def run(caps: Capabilities, *script: str, recipients: tuple[str, ...] = TWO) -> tuple[Transaction, Server]:
    transaction = Transaction(caps, "a@b.cd", recipients, size=7)
    server = Server(transaction, *script)
    server.run()
    assert transaction.finished
    assert len(transaction.outcomes) == len(recipients)
    return transaction, server


@BOTH
def test_all_recipients_are_delivered(caps: Capabilities) -> None:
    transaction, server = run(caps, "250 ok", "250 ok", "251 will forward", "354 go", "250 2.0.0 queued as 5")
    assert transaction.outcomes == tuple(
        Outcome(index, 250, ("2.0.0 queued as 5",), "delivered") for index in (0, 1)
    )
    assert not transaction.must_close
    assert not transaction.needs_reset
    assert server.got == (
        b"MAIL FROM:<a@b.cd>\r\nRCPT TO:<c@d.ef>\r\nRCPT TO:<g@h.ij>\r\nDATA\r\nHello\r\n.\r\n"
    )


def test_with_pipelining_the_envelope_goes_out_at_once_and_else_one_by_one() -> None:
    envelope = [b"MAIL FROM:<a@b.cd>\r\n", b"RCPT TO:<c@d.ef>\r\n", b"RCPT TO:<g@h.ij>\r\n", b"DATA\r\n"]
    assert Transaction(PIPELINING, "a@b.cd", TWO, 7).commands() == b"".join(envelope)
    transaction = Transaction(PLAIN, "a@b.cd", TWO, 7)
    ok = Reply(250, ("ok",))
    assert [transaction.commands(), *(transaction.receive(ok) for _ in range(3))] == envelope
    assert not transaction.wants_content
    assert transaction.receive(Reply(354, ("go",))) == b""
    assert transaction.wants_content


@BOTH
def test_each_recipient_has_its_own_outcome(caps: Capabilities) -> None:
    three = (*TWO, "k@l.mn")
    transaction, _ = run(
        caps, "250 ok", "550 5.1.1 unknown", "250 ok", "451 later", "354 go", "250 taken", recipients=three
    )
    assert kinds(transaction) == [(550, "bounced"), (250, "delivered"), (451, "deferred")]
    assert not transaction.needs_reset


@BOTH
@pytest.mark.parametrize(("code", "kind"), [(451, "deferred"), (552, "bounced")])
def test_a_refused_message_is_refused_for_those_who_were_accepted(
    caps: Capabilities, code: int, kind: Kind
) -> None:
    transaction, _ = run(caps, "250 ok", "550 unknown", "250 ok", "354 go", f"{code} no")
    assert kinds(transaction) == [(550, "bounced"), (code, kind)]
    assert not transaction.needs_reset
    assert not transaction.must_close


@BOTH
@pytest.mark.parametrize(("code", "kind"), [(450, "deferred"), (554, "bounced")])
def test_refused_data_is_the_outcome_of_the_accepted(caps: Capabilities, code: int, kind: Kind) -> None:
    transaction, server = run(caps, "250 ok", "250 ok", "550 unknown", f"{code} no")
    assert kinds(transaction) == [(code, kind), (550, "bounced")]
    assert transaction.needs_reset
    assert b"Hello" not in server.got


@pytest.mark.parametrize(("code", "kind"), [(451, "deferred"), (553, "bounced")])
def test_a_refused_sender_is_the_outcome_of_all(code: int, kind: Kind) -> None:
    transaction, server = run(PLAIN, f"{code} no")
    assert kinds(transaction) == [(code, kind)] * 2
    assert server.got == b"MAIL FROM:<a@b.cd>\r\n"
    piped, _ = run(PIPELINING, f"{code} no", "503 MAIL first", "503 MAIL first", "503 MAIL first")
    assert kinds(piped) == [(code, kind)] * 2
    for done in (transaction, piped):
        assert not done.must_close
        assert not done.needs_reset


def test_without_an_accepted_recipient_data_is_not_sent_or_ended_at_once() -> None:
    transaction, server = run(PLAIN, "250 ok", "550 no", "450 later")
    assert b"DATA" not in server.got
    assert transaction.needs_reset
    # RFC 2920 §3.1: DATA is on its way already; a server that takes it gets an empty message.
    for answer in ("554 no valid recipients", "250 empty"):
        piped, server = run(PIPELINING, "250 ok", "550 no", "450 later", "354 go", answer)
        assert server.got.endswith(b"DATA\r\n.\r\n")
        assert kinds(piped) == kinds(transaction) == [(550, "bounced"), (450, "deferred")]
        assert not piped.needs_reset
    refused, server = run(PIPELINING, "250 ok", "550 no", "450 later", "503 RCPT first")
    assert server.got.endswith(b"DATA\r\n")
    assert refused.needs_reset


def test_a_server_that_takes_data_after_it_refused_the_sender_gets_no_content() -> None:
    transaction, server = run(PIPELINING, "550 no", "250 ok", "250 ok", "354 go", "250 taken")
    assert kinds(transaction) == [(550, "bounced")] * 2
    assert b"Hello" not in server.got


@BOTH
@pytest.mark.parametrize("at", range(5))
def test_421_defers_all_that_is_undecided_at_any_step(caps: Capabilities, at: int) -> None:
    script = ["250 ok", "550 no", "250 ok", "354 go", "250 taken"]
    script[at] = "421 4.3.2 closing"
    transaction, _ = run(caps, *script)
    first = (550, "bounced") if at > 1 else (421, "deferred")
    assert kinds(transaction) == [first, (421, "deferred")]
    assert transaction.must_close


@BOTH
@pytest.mark.parametrize(("at", "reply"), [(0, "354 go"), (1, "354 go"), (3, "250 ok"), (4, "354 go")])
def test_a_reply_of_the_wrong_class_is_out_of_step_and_nothing_bounces(
    caps: Capabilities, at: int, reply: str
) -> None:
    script = ["250 ok", "250 ok", "250 ok", "354 go", "250 taken"]
    script[at] = reply
    transaction, _ = run(caps, *script)
    assert {kind for _, kind in kinds(transaction)} == {"deferred"}
    assert transaction.must_close


@pytest.mark.parametrize(("code", "kind"), [(452, "deferred"), (552, "bounced"), (250, "deferred")])
def test_a_reply_in_the_midst_of_the_content_ends_the_session(code: int, kind: Kind) -> None:
    transaction = Transaction(PLAIN, "a@b.cd", TWO[:1], 7)
    transaction.commands()
    for reply in (250, 250, 354):
        transaction.receive(Reply(reply, ("x",)))
    transaction.encode(b"half a mess")
    assert transaction.receive(Reply(code, ("enough",))) == b""
    assert kinds(transaction) == [(code, kind)]
    assert transaction.must_close


def test_a_lost_connection_defers_what_is_undecided_and_tells_whether_the_message_may_have_been_taken() -> (
    None
):
    transaction = Transaction(PLAIN, "a@b.cd", TWO, 7)
    transaction.commands()
    transaction.receive(Reply(250, ("ok",)))
    transaction.receive(Reply(550, ("no",)))
    transaction.receive(Reply(250, ("ok",)))
    transaction.receive(Reply(354, ("go",)))
    assert not transaction.content_sent
    assert transaction.encode(b".\r\n") + transaction.end() == b"..\r\n.\r\n"
    assert transaction.content_sent
    transaction.lost("connection reset by peer")
    assert transaction.outcomes == (
        Outcome(0, 550, ("no",), "bounced"),
        Outcome(1, 0, ("connection reset by peer",), "deferred"),
    )
    assert transaction.finished
    assert transaction.must_close


def test_a_reply_too_many_makes_the_session_useless() -> None:
    transaction, _ = run(PLAIN, "250 ok", "250 ok", "250 ok", "354 go", "250 taken")
    assert transaction.receive(Reply(250, ("again",))) == b""
    assert transaction.must_close
    assert [kind for _, kind in kinds(transaction)] == ["delivered", "delivered"]


def test_552_for_one_recipient_more_means_too_many() -> None:
    # RFC 5321 §4.5.3.1.10.
    transaction, _ = run(PLAIN, "250 ok", "250 ok", "552 too many", "354 go", "250 taken")
    assert kinds(transaction) == [(250, "delivered"), (552, "deferred")]
    alone, _ = run(PLAIN, "250 ok", "552 mailbox full", recipients=TWO[:1])
    assert kinds(alone) == [(552, "bounced")]


def test_mail_uses_what_is_offered_and_nothing_else() -> None:
    offer = (
        "SIZE 1000",
        "8BITMIME",
        "SMTPUTF8",
        "pipelining",
        "STARTTLS",
        "X-ODD",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
    )
    caps = Capabilities.parse(Reply(250, ("mx.example", *offer)))
    assert caps == Capabilities(
        esmtp=True,
        starttls=True,
        size=1000,
        pipelining=True,
        eightbit=True,
        smtputf8=True,
        chunking=True,
        enhanced=True,
    )
    mail = Transaction(caps, "", TWO, 7, smtputf8=True, eightbit=True).commands().split(b"\r\n")[0]
    assert mail == b"MAIL FROM:<> SIZE=7 BODY=8BITMIME SMTPUTF8"
    assert Transaction(PLAIN, "", TWO, 7, eightbit=True).commands() == b"MAIL FROM:<>\r\n"
    utf8 = Transaction(caps, "é@b.cd", TWO, 7).commands().split(b"\r\n")[0].decode()
    assert utf8 == "MAIL FROM:<é@b.cd> SIZE=7 SMTPUTF8"


@pytest.mark.parametrize(
    ("argument", "size"), [("", 0), ("x", 0), ("-1", 0), ("0", 0), ("9" * 5000, 0), ("12", 12)]
)
def test_an_odd_size_in_the_offer_is_no_limit(argument: str, size: int) -> None:
    assert Capabilities.parse(Reply(250, ("mx.example", f"SIZE {argument}"))).size == size


def test_what_the_server_can_not_take_bounces_before_a_byte_is_sent() -> None:
    small = Capabilities(esmtp=True, size=6)
    for transaction, code, status in (
        (Transaction(small, "a@b.cd", TWO, 7), 552, "5.3.4"),
        (Transaction(PLAIN, "a@b.cd", TWO, 7, smtputf8=True), 550, "5.6.7"),
        (Transaction(PLAIN, "a@b.cd", ("c@d.ef", "é@h.ij"), 7), 550, "5.6.7"),
    ):
        assert transaction.commands() == b""
        assert transaction.finished
        assert kinds(transaction) == [(code, "bounced")] * 2
        assert transaction.outcomes[0].lines[0].startswith(status)
        assert not transaction.must_close


def test_no_command_can_be_smuggled_into_an_address() -> None:
    with pytest.raises(ValueError, match="control characters"):
        Transaction(PLAIN, "a@b.cd>\r\nRCPT TO:<evil@b.cd", TWO, 7)
    with pytest.raises(ValueError, match="control characters"):
        Transaction(PIPELINING, "a@b.cd", ("c@d.ef\n",), 7).commands()


def test_hello_is_said_in_both_forms() -> None:
    assert hello("mx.example") == b"EHLO mx.example\r\n"
    assert hello("mx.example", extended=False) == b"HELO mx.example\r\n"


CODES = st.sampled_from([200, 250, 251, 354, 399, 421, 450, 452, 503, 550, 552, 554])


@given(st.lists(CODES, max_size=30), st.booleans(), st.integers(1, 4))
def test_whatever_a_server_answers_each_recipient_gets_exactly_one_outcome(
    codes: list[int], pipelining: bool, count: int
) -> None:
    recipients = [f"r{index}@d.ef" for index in range(count)]
    transaction = Transaction(PIPELINING if pipelining else PLAIN, "a@b.cd", recipients, 7)
    taken = [250] * (count + 1)
    transaction.commands()
    for code in codes:
        transaction.receive(Reply(code, ("x",)))
        if transaction.wants_content:
            transaction.end()
    if not transaction.finished:
        transaction.lost("gone")
    assert transaction.finished
    assert [outcome.index for outcome in transaction.outcomes] == list(range(count))
    delivered = {outcome.code for outcome in transaction.outcomes if outcome.kind == "delivered"}
    assert all(200 <= code < 300 for code in delivered)
    bounced = {outcome.code for outcome in transaction.outcomes if outcome.kind == "bounced"}
    assert all(code >= 500 for code in bounced)
    if delivered:
        assert 354 in codes or 399 in codes
        assert codes[0] in taken or codes[0] < 300
