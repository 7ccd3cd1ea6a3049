"""What is known about a question to a directory, as frozen values. PURE."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["accept", "routing", "masquerade", "group"]
Security = Literal["none", "starttls", "ldaps"]

FaultKind = Literal["unreachable", "tls", "bind", "silent", "lost", "protocol", "refused", "busy"]
"""lost: a connection that stood has ended; refused: the server answered with an error; busy: of ours."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a question has no answer. Never to be taken for "not found"."""

    kind: FaultKind
    text: str
    """In the words of the log."""
    host: str = ""
    """host:port, where it is about one."""


class Entry(msgspec.Struct, frozen=True):
    """One entry that a search found; attribute names in lower case."""

    name: str
    """Its DN."""
    values: dict[str, tuple[str, ...]]

    def of(self, attribute: str) -> tuple[str, ...]:
        return self.values.get(attribute.lower(), ())


class Search(msgspec.Struct, frozen=True):
    """One question."""

    base: str
    filter: str
    """RFC 4515, with all values escaped."""
    attributes: tuple[str, ...] = ()
    """None: entries are counted, not read."""
    whole: bool = True
    """The whole tree below `base`; False: the entry `base` itself."""


class Found(msgspec.Struct, frozen=True):
    """A server's complete answer."""

    entries: tuple[Entry, ...] = ()

    @property
    def count(self) -> int:
        return len(self.entries)
