"""What one connection said, as far as a recording keeps it: bytes and secrets in, a capture file out. PURE.

Without content every record of TLS is opened, its plaintext goes through a `Masking`, and what that lets
through is sealed again under secrets that are made up for the file. The handshake stays as it was, with its
own secrets, which open nothing beyond it (RFC 8446 §7.1). With content all is kept as it was on the wire.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from mxseal.capture import pcapng
from mxseal.capture.masking import Masking
from mxseal.capture.packets import Endpoint, Stream
from mxseal.capture.session import Resealed

End = Literal["closed", "reset", "open"]
_PER_PIECE = 150
"""What a piece costs beside its bytes: headers, an acknowledgement, the file's blocks."""


class Piece(msgspec.Struct, frozen=True):
    """Bytes of one side, as the file shows them."""

    at: float
    ours: bool
    data: bytes


class Ending(msgspec.Struct, frozen=True):
    """`ours`: it was the gateway that ended it. None of it when the recording ended first."""

    at: float
    ours: bool
    how: End


class Tape:
    """Records one connection. Times in seconds since the epoch, UTC.

    `most`: bytes that it may hold; beyond them the recording ends, and the file says so.
    """

    def __init__(
        self,
        began: float,
        *,
        we_are_client: bool,
        masking: Masking | None,
        fresh: Callable[[int], bytes],
        most: int,
        tls_first: bool = False,
    ) -> None:
        """`masking` None: with content. `fresh` gives random bytes. `tls_first`: there is no clear text."""
        self.began = began
        self.full = False
        self.ending: Ending | None = None
        self.size = 0
        self.remarks: list[str] = []
        self._we_are_client = we_are_client
        self._masking = masking
        self._fresh = fresh
        self._most = most
        self._pieces: list[Piece] = []
        self._heard: list[Piece] = []
        self._secrets: list[str] = []
        self._session: Resealed | None = None
        self._held = tls_first

    @property
    def with_content(self) -> bool:
        return self._masking is None

    @property
    def over(self) -> bool:
        """Nothing more is taken."""
        return self.full or self.ending is not None

    def note(self, at: float, data: bytes, *, ours: bool) -> None:
        """Bytes of the wire. `settle` follows when the gateway has seen them."""
        if data and not self.over:
            self._heard.append(Piece(at, ours, bytes(data)))

    def allow(self, most: int) -> None:
        """It may hold so many bytes from now on."""
        self._most = most

    def secure(self) -> None:
        """What follows is TLS."""
        self.settle()
        self._held = False
        if self._masking is not None:
            self._masking.restarted()
            self._session = Resealed(self._masking, self._fresh)

    def secret(self, line: str) -> None:
        """A line of the session's key log."""
        if self._session is not None:
            self._session.secret(line)
        elif self._masking is None and not self.over:
            self._secrets.append(line)

    def settle(self) -> None:
        """Work on what was noted: the secrets that open it are known now."""
        if self._held:
            return
        heard, self._heard = self._heard, []
        for piece in heard:
            if not self.full:
                self._take(piece)

    def _take(self, piece: Piece) -> None:
        if self._masking is None:
            self._keep(piece)
            return
        by_client = piece.ours == self._we_are_client
        if self._session is not None:
            shown = self._session.take(piece.data, by_client=by_client)
        elif by_client:
            shown = [(True, self._masking.client(piece.data))]
        else:
            # The reply first: what a client has said before it can be judged then.
            shown = [(False, self._masking.server(piece.data)), (True, self._masking.client(b""))]
        for of_client, data in shown:
            self._keep(Piece(piece.at, of_client == self._we_are_client, data))

    def _keep(self, piece: Piece) -> None:
        if not piece.data or self.full:
            return
        self.size += len(piece.data) + _PER_PIECE
        if self.size > self._most:
            self.full = True
            self.remarks.append(
                f"The recording ends here: it may hold {self._most} bytes. The connection went on"
            )
            return
        self._pieces.append(piece)

    def end(self, at: float, how: End, *, ours: bool) -> None:
        """The connection, or with `open` only the recording of it, is over."""
        if self.over:
            return
        self.settle()
        if self._masking is not None:
            last = self._session.ended() if self._session is not None else self._masking.ended()
            self._keep(Piece(at, self._we_are_client, last))
        self.ending = Ending(at, ours, how)

    def secrets(self) -> list[str]:
        """The lines that go into the file."""
        return self._session.secrets() if self._session is not None else self._secrets

    def file(self, local: Endpoint, remote: Endpoint, program: str, comment: str) -> bytes:
        """The capture as a pcapng file. `comment` says what it is of."""
        if self._session is not None:
            self.remarks += self._session.remarks
        told = ". ".join([comment, *self.remarks])
        out = [pcapng.section(program, f"{told}."), pcapng.interface("mxseal")]
        out.append(pcapng.secrets(self.secrets()))
        # Numbers that tell nothing and are the same in each run of the same recording.
        stream = Stream(local, remote, first=(1_000_000, 2_000_000))
        packets = list(stream.opened(self.began, by_us=self._we_are_client))
        for piece in self._pieces:
            packets += stream.sent(piece.at, piece.data, ours=piece.ours)
        if self.ending is not None and self.ending.how == "closed":
            packets += stream.finished(self.ending.at, ours=self.ending.ours)
            packets += stream.finished(self.ending.at, ours=not self.ending.ours)
        elif self.ending is not None and self.ending.how == "reset":
            packets += stream.reset(self.ending.at, ours=self.ending.ours)
        for index, packet in enumerate(packets):
            said = f"{told}." if index == 0 else ""
            direction = pcapng.OUTBOUND if packet.ours else pcapng.INBOUND
            out.append(pcapng.packet(packet.data, packet.at, direction, said))
        return b"".join(out)
