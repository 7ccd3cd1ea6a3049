"""What is asked of a server that analyses files, and what it answers. PURE."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

Disposition = Literal["clean", "malicious", "unknown"]

FaultKind = Literal["unreachable", "tls", "silent", "refused", "protocol", "busy"]
"""`refused`: it answered, and it is no (a wrong key, a service that it lacks); `protocol`: it said what it
may not say; `busy`: it asks for patience, or it rests after a failure."""


class Item(msgspec.Struct, frozen=True):
    """One file, as it came out of a message."""

    name: str
    media_type: str
    size: int
    sha256: str
    """Hexadecimal, lower case."""
    content: bytes


class Verdict(msgspec.Struct, frozen=True):
    """What a server found."""

    disposition: Disposition
    score: int | None
    """0 (harmless) to 100; None: the server gives none."""
    threat: str
    """The name of what was found; "": none."""
    server: str
    """The name of the analysis server in the configuration."""
    reference: str
    """The server's own name of the sample; "": none."""


class Pending(msgspec.Struct, frozen=True):
    """The server has the file, and has not finished: ask again later."""

    server: str
    reference: str
    sha256: str


class AnalysisFault(msgspec.Struct, frozen=True):
    """No answer: never to be read as "clean"."""

    kind: FaultKind
    text: str
    """What happened, for a log line and for whoever mends it."""
    server: str


class Analyser(Protocol):
    """One analysis server, whatever it speaks. Nothing is raised for what a server does."""

    async def judge(self, item: Item) -> Verdict | Pending | AnalysisFault:
        """Look the file up; what is unknown is submitted (Threat Grid) or scanned (ICAP)."""
        ...

    async def poll(self, pending: Pending) -> Verdict | Pending | AnalysisFault:
        """Ask how far a submitted file is."""
        ...
