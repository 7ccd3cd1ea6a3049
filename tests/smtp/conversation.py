"""A small policy around the server core: answers every request and keeps the messages, so that tests can say
what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from mxseal.smtp import replies
from mxseal.smtp.server import Server, ServerSettings
from mxseal.smtp.wire import (
    ChunkDone,
    Content,
    Data,
    EndOfMessage,
    Fault,
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

HOST = "mx.example.com"
BUFFER_BOUND = 2048
FIXED: dict[type[Request], Reply] = {
    StartTls: replies.START_TLS,
    Quit: replies.goodbye(HOST),
    Verify: replies.VERIFY,
    Help: replies.HELP,
    Reset: replies.RESET,
    Noop: replies.OK,
}


def settings(**changes: object) -> ServerSettings:
    return ServerSettings(**{"hostname": HOST, "message_size": 100_000, **changes})  # type: ignore[arg-type]


class Conversation:
    """Refuses sender later@…, recipient nobody@…, and content for sender nodata@…, takes the rest."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.requests: list[Request] = []
        """Adjacent pieces of content are joined: how they are cut is no part of the meaning."""
        self.messages: list[bytes] = []
        self.sent = b""
        self._sender = ""
        self._content = b""

    def feed(self, *pieces: bytes) -> bytes:
        """Everything that the server says to the pieces."""
        said = b""
        for piece in pieces:
            self.server.receive(piece)
            while (request := self.server.next()) is not None:
                self._take(request)
            assert self.server.buffered <= BUFFER_BOUND
            said += self.server.output()
        self.sent += said
        return said

    def _take(self, request: Request) -> None:
        if isinstance(request, Content):
            assert request.data, "an empty piece"
            self._content += request.data
            if self.requests and isinstance(self.requests[-1], Content):
                self.requests[-1] = Content(self.requests[-1].data + request.data)
                return
        self.requests.append(request)
        if not isinstance(request, Content):
            self.server.answer(self._reply(request))

    def _reply(self, request: Request) -> Reply:
        match request:
            case Fault(reply=reply):
                return reply
            case Hello():
                return self.server.welcome(request)
            case Mail(sender=sender):
                self._sender, self._content = sender, b""
                return replies.TEMPORARY_ERROR if sender.startswith("later@") else replies.sender_ok(sender)
            case Rcpt(recipient=recipient):
                if recipient.startswith("nobody@"):
                    return replies.RECIPIENT_REJECTED
                return replies.recipient_ok(recipient)
            case Data():
                refused = self._sender.startswith("nodata@")
                return replies.TEMPORARY_ERROR if refused else replies.GO_AHEAD
            case ChunkDone(size=size):
                refused = self._sender.startswith("nodata@")
                return replies.TEMPORARY_ERROR if refused else replies.chunk_ok(size)
            case EndOfMessage(bare_newlines=bare):
                return self._end(bare)
        return FIXED[type(request)]

    def _end(self, bare: bool) -> Reply:
        if bare and not self.server.settings.clean_newlines:
            return replies.BARE_NEWLINES
        if len(self._content) > self.server.settings.message_size:
            return replies.MESSAGE_TOO_LARGE
        self.messages.append(self._content)
        return replies.accepted(213 + len(self.messages))


def converse(stream: bytes | Iterable[bytes], **changes: object) -> Conversation:
    """A whole conversation with the bytes, or the pieces, of a client."""
    conversation = Conversation(Server(settings(**changes)))
    conversation.feed(*([stream] if isinstance(stream, bytes) else stream))
    return conversation


def cut(stream: bytes, *places: int) -> list[bytes]:
    """`stream` cut at the places."""
    bounds = [0, *places, len(stream)]
    return [stream[start:stop] for start, stop in pairwise(bounds)]


def bytewise(stream: bytes) -> list[bytes]:
    return [stream[index : index + 1] for index in range(len(stream))]
