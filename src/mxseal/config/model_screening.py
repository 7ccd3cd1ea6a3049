"""The tables of the document about the analysis of files in messages, and the quarantine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mxseal.config.table import Table
from mxseal.config.values import FileType, HeaderName, Name

FileAction = Literal["deliver", "quarantine", "drop"]
HeldAction = Literal["deliver", "hold", "quarantine", "drop"]


class Analysis(Table):
    """`[analysis]`: the analysis of files in messages. Seconds, bytes, counts."""

    enabled: bool = False
    """Whether mail from outside is looked at for files; a mail flow policy may say otherwise."""
    servers: tuple[Name, ...] = ()
    """Analysis servers, asked about each file in this order. The gravest answer counts."""
    types: tuple[FileType, ...] = ()
    """Which files: 'application/pdf', 'application/*', '.exe'; empty: all. A type is what the message says,
    and what the file's first bytes tell."""
    max_size: Annotated[int, Field(ge=1024, le=1 << 30)] = 25 << 20
    """Larger files are not analysed: unscannable."""
    malicious: FileAction = "quarantine"
    unknown: FileAction = "deliver"
    unscannable: FileAction = "deliver"
    """Of files that are too large, and of messages that can't be taken apart."""
    pending: HeldAction = "hold"
    """While a server analyses a file. hold: the message waits, up to hold_time."""
    fault: HeldAction = "hold"
    """When a server does not answer. hold: it is asked again, up to hold_time."""
    late: FileAction = "deliver"
    """When hold_time is over without a verdict."""
    hold_time: Annotated[float, Field(ge=0, le=86_400)] = 900.0
    """Counted from the arrival of a message."""
    threshold: Annotated[int, Field(ge=1, le=100)] = 95
    """A score from here on is malicious."""
    header: HeaderName = "X-MXSeal-Analysis"
    """The field that tells the result. Mail comes in without the fields of this name that it has."""
    questions: Annotated[int, Field(ge=1, le=200)] = 8
    """Messages about which servers are asked at the same time, in each worker."""


class Quarantine(Table):
    """`[quarantine]`: messages that the analysis of files keeps back. Days, bytes."""

    keep_days: Annotated[int, Field(ge=1, le=365)] = 14
    """Then they are deleted."""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """All of them together; with more the oldest are deleted."""
