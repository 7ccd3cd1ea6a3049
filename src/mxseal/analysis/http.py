"""HTTP/1.1 as a client speaks it, over h11, with bounds on all that a server sends (RFC 9112). PURE."""

from __future__ import annotations

from collections.abc import Iterator

import h11
import msgspec

from mxseal.analysis.exchange import CLOSED, PIECE, decoded, plain

LONGEST = 1 << 20
"""Octets of an answer's content; what is asked for is a few hundred."""
_LONGEST_TALK = 2 * LONGEST
"""With heads, sizes of chunks and answers in between."""


class Request(msgspec.Struct, frozen=True):
    """What is asked. `target` begins with a slash."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    content: bytes = b""


class Response(msgspec.Struct, frozen=True):
    """What is answered."""

    status: int = 0
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    content: bytes = b""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class HttpExchange:
    """One request and its answer (`Exchange`)."""

    def __init__(self, request: Request) -> None:
        self.done = False
        self.fault: str | None = None
        self.response = Response()
        self._talk = h11.Connection(h11.CLIENT)
        self._pieces = self._sent(request)
        self._heard = 0
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def reusable(self) -> bool:
        states = (self._talk.our_state, self._talk.their_state)
        return self.fault is None and states == (h11.DONE, h11.DONE) and not self._talk.trailing_data[0]

    def output(self) -> bytes:
        return b"" if self.done else next(self._pieces, b"")

    def receive(self, data: bytes) -> None:
        if self.done:
            if data:
                self.fault = self.fault or "the server said more than was asked"
            return
        if not data:  # to h11 that is the end
            return
        self._heard += len(data)
        if self._heard > _LONGEST_TALK:
            self._fail("the server's answer is too long")
            return
        self._read(data)

    def eof(self) -> None:
        if not self.done and self._heard:
            self._read(b"")
        if not self.done:
            self._fail(CLOSED)

    def _sent(self, request: Request) -> Iterator[bytes]:
        length = ("Content-Length", str(len(request.content)))
        headers = [*request.headers, length] if request.content else [*request.headers]
        yield (
            self._talk.send(h11.Request(method=request.method, target=request.target, headers=headers)) or b""
        )
        for at in range(0, len(request.content), PIECE):
            yield self._talk.send(h11.Data(data=request.content[at : at + PIECE])) or b""
        end = self._talk.send(h11.EndOfMessage())
        if end:
            yield end

    def _read(self, data: bytes) -> None:
        try:
            self._talk.receive_data(data)
            while not self.done and self._event(self._talk.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(f"the server does not speak HTTP as it should: {plain(str(error))}")

    def _event(self, event: h11.Event | type[h11.NEED_DATA | h11.PAUSED]) -> bool:
        if isinstance(event, h11.Response):
            headers = tuple((key.decode("ascii", "replace"), decoded(value)) for key, value in event.headers)
            self.response = Response(event.status_code, decoded(event.reason), headers)
        elif isinstance(event, h11.Data):
            self._size += len(event.data)
            if self._size > LONGEST:
                self._fail("the server's answer is too long")
                return False
            self._parts.append(bytes(event.data))
        elif isinstance(event, h11.EndOfMessage):
            self.response = msgspec.structs.replace(self.response, content=b"".join(self._parts))
            self._parts.clear()
            self.done = True
        elif isinstance(event, h11.ConnectionClosed):
            self._fail(CLOSED)
        else:
            return isinstance(event, h11.InformationalResponse)
        return True

    def _fail(self, text: str) -> None:
        self.fault = self.fault or text
        self.done = True
        self._parts.clear()
