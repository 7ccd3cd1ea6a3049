"""One request and its answer on a connection that may have further ones: what all protocols have in common.
PURE.
"""

from __future__ import annotations

from typing import Protocol

CLOSED = "the server closed the connection"
PIECE = 64 * 1024
"""Octets of content that are handed to a connection at a time."""


class Exchange(Protocol):
    """Bytes in, bytes out. What the server does wrong is `fault`, in words; nothing is raised."""

    @property
    def done(self) -> bool:
        """The answer is complete, or there is a fault."""
        ...

    @property
    def fault(self) -> str | None: ...

    @property
    def reusable(self) -> bool:
        """Once it is done: whether the connection may have another one."""
        ...

    def output(self) -> bytes:
        """What is to be sent now; empty: nothing, until more was received."""
        ...

    def receive(self, data: bytes) -> None: ...

    def eof(self) -> None:
        """The server sends no more."""
        ...


def plain(text: str, longest: int = 200) -> str:
    """Words of a server on one line, without anything that a log or a terminal would act on."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[: longest * 4])
    shown = " ".join(shown.split())
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."


def decoded(data: bytes, longest: int = 200) -> str:
    """The same for octets, which may be anything."""
    return plain(data[: longest * 4].decode("utf-8", "replace"), longest)
