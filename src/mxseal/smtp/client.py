"""The client's side of SMTP: what a server offers, and one message on an open session (RFC 5321). PURE.

Content always goes out with DATA. What the server says is judged here; what follows for the queue is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import msgspec

from mxseal.smtp.data import Stuffer
from mxseal.smtp.grammar import render_path
from mxseal.smtp.wire import Reply

STARTTLS = b"STARTTLS\r\n"
RSET = b"RSET\r\n"
QUIT = b"QUIT\r\n"

Kind = Literal["delivered", "deferred", "bounced"]


def hello(name: str, *, extended: bool = True) -> bytes:
    """EHLO, or HELO for servers that refuse EHLO (RFC 5321 §3.2). `name`: this gateway's."""
    return _line(f"{'EHLO' if extended else 'HELO'} {name}")


def _line(command: str) -> bytes:
    if not command.isprintable():
        # Never of a peer's making: what comes in has passed the grammar.
        raise ValueError(f"a command with control characters: {command!r}")
    return command.encode() + b"\r\n"


def _kind(refusal: Reply) -> Kind:
    return "bounced" if refusal.code >= 500 else "deferred"


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What the server offers; as it stands, that of one that only knows HELO."""

    esmtp: bool = False
    starttls: bool = False
    size: int | None = None
    """Largest message in octets, 0: no fixed limit, None: SIZE is not offered (RFC 1870 §4)."""
    pipelining: bool = False
    eightbit: bool = False
    smtputf8: bool = False
    chunking: bool = False
    enhanced: bool = False

    @classmethod
    def parse(cls, reply: Reply) -> Capabilities:
        """From the positive reply to EHLO. Unknown and odd lines are passed over."""
        offered: dict[str, str] = {}
        for line in reply.lines[1:]:
            keyword, _, argument = line.strip().partition(" ")
            offered.setdefault(keyword.upper(), argument.strip())
        size = offered.get("SIZE")
        if size is not None and not (size.isascii() and size.isdigit() and len(size) <= 20):
            size = "0"
        return cls(
            esmtp=True,
            starttls="STARTTLS" in offered,
            size=None if size is None else int(size),
            pipelining="PIPELINING" in offered,
            eightbit="8BITMIME" in offered,
            smtputf8="SMTPUTF8" in offered,
            chunking="CHUNKING" in offered,
            enhanced="ENHANCEDSTATUSCODES" in offered,
        )


class Outcome(msgspec.Struct, frozen=True):
    """What became of the recipient with this index. `code` 0: no reply of the server's says so."""

    index: int
    code: int
    lines: tuple[str, ...]
    kind: Kind


TOO_LARGE = Reply(552, ("5.3.4 message is larger than the server takes",))
UTF8_NOT_OFFERED = Reply(550, ("5.6.7 the message needs SMTPUTF8, the server does not offer it",))

# What the next reply answers; content: none is due, the caller sends; empty: the end of data that no
# recipient is left for.
Stage = Literal["mail", "rcpt", "data", "content", "end", "empty", "finished"]
Step = Callable[["Transaction", Reply], bytes]


class Transaction:
    """One message for some recipients on an open session.

    Send commands(); give each reply to receive() and send what it returns. When wants_content: send encode()
    of each piece of content, then end(). At `finished`, `outcomes` has one entry per recipient, `must_close`
    says that the session is of no more use, `needs_reset` that RSET has to come before the next message.
    """

    def __init__(
        self,
        caps: Capabilities,
        sender: str,
        recipients: Sequence[str],
        size: int,
        *,
        smtputf8: bool = False,
        eightbit: bool = False,
    ) -> None:
        """`size` in octets. `smtputf8`: the message needs it; `eightbit`: content has octets above 127."""
        self._caps = caps
        self._recipients = tuple(recipients)
        self._outcomes: list[Outcome | None] = [None] * len(self._recipients)
        self._accepted: list[int] = []
        self._next_recipient = 0
        self._replies = 0
        self._stuffer = Stuffer()
        self._stage: Stage = "mail"
        self._expected: deque[Stage] = deque()
        """What the replies that are still to come answer."""
        self.must_close = False
        self.needs_reset = False
        self._mail = _line(self._mail_command(sender, size, smtputf8, eightbit))
        utf8 = smtputf8 or not sender.isascii() or not all(map(str.isascii, self._recipients))
        if not self._recipients:
            self._stage = "finished"
        elif utf8 and not caps.smtputf8:
            # RFC 6531 §3.5: the message can't go this way, nor be made to.
            self._settle_all(UTF8_NOT_OFFERED, "bounced")
        elif caps.size and size > caps.size:
            # RFC 1870 §6.1: known before a single octet is sent.
            self._settle_all(TOO_LARGE, "bounced")

    def _mail_command(self, sender: str, size: int, smtputf8: bool, eightbit: bool) -> str:
        caps = self._caps
        words = [f"MAIL FROM:{render_path(sender)}"]
        if caps.size is not None:
            words.append(f"SIZE={size}")
        # Without 8BITMIME at the other end the octets go as they are: every server of today takes them, and a
        # conversion (RFC 6152 §3) would break signatures.
        if eightbit and caps.eightbit:
            words.append("BODY=8BITMIME")
        if caps.smtputf8 and (smtputf8 or not (sender + "".join(self._recipients)).isascii()):
            words.append("SMTPUTF8")
        return " ".join(words)

    # --- the caller's side ---

    @property
    def finished(self) -> bool:
        return self._stage == "finished"

    @property
    def wants_content(self) -> bool:
        """354 has come and at least one recipient was accepted."""
        return self._stage == "content"

    @property
    def content_sent(self) -> bool:
        """The end of data was sent and no reply to it has come: the server may have taken the message."""
        return self._stage == "end"

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of the recipients whose fate is known, in the order of the recipients; of all when finished."""
        return tuple(outcome for outcome in self._outcomes if outcome is not None)

    def commands(self) -> bytes:
        """What to send first: MAIL, and with PIPELINING also each RCPT and DATA (RFC 2920 §3.1)."""
        if self.finished:
            return b""
        self._expected.append("mail")
        if not self._caps.pipelining:
            return self._mail
        return b"".join([self._mail, *(self._rcpt() for _ in self._recipients), self._data()])

    def receive(self, reply: Reply) -> bytes:
        """Judge the next reply; gives what to send now."""
        if self.finished:
            # A reply to nothing: client and server have lost step.
            self.must_close = True
            return b""
        # Before the end of data was sent no reply is due: the server gives up.
        stage = self._expected.popleft() if self._expected else self._stage
        if reply.code == 421:
            # RFC 5321 §3.8: the server closes, whatever was asked.
            self.must_close = True
            self._settle_all(reply, "deferred")
            return b""
        self._stage = stage
        taken, more, refused = self.STEPS[stage]
        step = taken if reply.code < 300 else more if reply.code < 400 else refused
        return step(self, reply)

    def encode(self, piece: bytes) -> bytes:
        """Content as it goes over the wire, in pieces cut anywhere. Lines end with CRLF."""
        return self._stuffer.feed(piece)

    def end(self) -> bytes:
        """What ends the content; its reply decides on all accepted recipients."""
        assert self._stage == "content", "content was not asked for"
        self._stage = "end"
        self._expected.append("end")
        return self._stuffer.end()

    def lost(self, reason: str, code: int = 0) -> None:
        """The session is gone: connection lost, time over, or not SMTP. Undecided recipients are deferred."""
        self.must_close = True
        if not self.finished:
            self._settle_all(Reply(code, (reason,)), "deferred")

    # --- commands ---

    def _rcpt(self) -> bytes:
        recipient = self._recipients[self._next_recipient]
        self._next_recipient += 1
        self._expected.append("rcpt")
        return _line(f"RCPT TO:{render_path(recipient)}")

    def _data(self) -> bytes:
        self._expected.append("data")
        return b"DATA\r\n"

    def _go_on(self) -> bytes:
        """The next command where each waits for the reply before it; with PIPELINING all are sent."""
        if self._expected:
            self._stage = self._expected[0]
            return b""
        if self._next_recipient < len(self._recipients):
            return self._rcpt()
        if self._accepted:
            return self._data()
        self._stage = "finished"
        return b""

    # --- outcomes ---

    def _settle(self, index: int, reply: Reply, kind: Kind) -> None:
        if self._outcomes[index] is None:
            self._outcomes[index] = Outcome(index, reply.code, reply.lines, kind)

    def _settle_all(self, reply: Reply, kind: Kind) -> None:
        for index in range(len(self._recipients)):
            self._settle(index, reply, kind)
        self._stage = "finished"

    # --- steps: what a reply means at its stage ---

    def _out_of_step(self, reply: Reply) -> bytes:
        """A reply that has no meaning here. Nothing behind it can be trusted."""
        self.must_close = True
        self._settle_all(Reply(reply.code, (f"unexpected reply: {reply.text}",)), "deferred")
        return b""

    def _mail_taken(self, _reply: Reply) -> bytes:
        self.needs_reset = True
        return self._go_on()

    def _mail_refused(self, reply: Reply) -> bytes:
        for index in range(len(self._recipients)):
            self._settle(index, reply, _kind(reply))
        if not self._expected:
            self._stage = "finished"
            return b""
        # With PIPELINING the replies to RCPT and DATA are still to come.
        return self._go_on()

    def _answered(self) -> int:
        """The recipient that this reply to a RCPT is about."""
        self._replies += 1
        return self._replies - 1

    def _rcpt_taken(self, _reply: Reply) -> bytes:
        index = self._answered()
        if self._outcomes[index] is None:
            self._accepted.append(index)
        return self._go_on()

    def _rcpt_refused(self, reply: Reply) -> bytes:
        # RFC 5321 §4.5.3.1.10: 552 may mean too many recipients, then the rest goes with another transaction.
        full = reply.code == 552 and self._accepted
        self._settle(self._answered(), reply, "deferred" if full else _kind(reply))
        return self._go_on()

    def _data_taken(self, _reply: Reply) -> bytes:
        if self._accepted:
            self._stage = "content"
            return b""
        # RFC 2920 §3.1: DATA went out before it was known that no recipient is left; the server waits now.
        self._stage = "empty"
        self._expected.append("empty")
        return b".\r\n"

    def _data_refused(self, reply: Reply) -> bytes:
        for index in self._accepted:
            self._settle(index, reply, _kind(reply))
        self._stage = "finished"
        return b""

    def _given_up(self, reply: Reply) -> bytes:
        """The server answers before the content's end: the rest can't be sent any more."""
        self.must_close = True
        return self._data_refused(reply)

    def _delivered(self, reply: Reply) -> bytes:
        self.needs_reset = False
        for index in self._accepted:
            self._settle(index, reply, "delivered")
        self._stage = "finished"
        return b""

    def _not_delivered(self, reply: Reply) -> bytes:
        self.needs_reset = False
        return self._data_refused(reply)

    def _empty_done(self, _reply: Reply) -> bytes:
        self.needs_reset = False
        self._stage = "finished"
        return b""

    # fmt: off
    STEPS: ClassVar[dict[Stage, tuple[Step, Step, Step]]] = {
        # awaited    2yz            3yz            4yz, 5yz
        "mail":     (_mail_taken,   _out_of_step,  _mail_refused),
        "rcpt":     (_rcpt_taken,   _out_of_step,  _rcpt_refused),
        "data":     (_out_of_step,  _data_taken,   _data_refused),
        "content":  (_out_of_step,  _out_of_step,  _given_up),
        "end":      (_delivered,    _out_of_step,  _not_delivered),
        "empty":    (_empty_done,   _out_of_step,  _empty_done),
    }
    # fmt: on
