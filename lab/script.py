"""What an SMTP server of our own is told to do, and what it has seen. Plain values.

Keys of `replies`, `raw` and `drop` are steps: CONNECT, EHLO, HELO, STARTTLS, MAIL, RCPT, DATA, CONTENT
(within it, drop only), END (after it), RSET, NOOP, QUIT; with "/tls" appended they hold only inside TLS and
come first;
"RCPT:user@example.test" holds for one recipient and comes before both.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Handshake = Literal[
    "normal",
    "close",  # closes the connection once the ClientHello has come
    "reset",  # resets it (RST) once the ClientHello has come
    "close-at-once",  # closes it right behind the 220
    "garbage",  # answers the ClientHello with bytes that are not TLS
    "cleartext",  # goes on in clear text, as servers do whose TLS is broken
    "alert",  # answers with a fatal alert (`Behaviour.alert`)
    "stall",  # reads the ClientHello and never answers
    "choke-on-size",  # closes if the ClientHello has more than 1200 bytes, else normal
    "choke-on-post-quantum",  # closes if group X25519MLKEM768 (0x11EC) is offered, else normal
]

EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "ENHANCEDSTATUSCODES", "SMTPUTF8")


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """How to answer. The default is polite: all is accepted, STARTTLS works if there is a certificate."""

    replies: Mapping[str, str] = field(default_factory=dict)
    """Step to reply in place of the usual one, lines separated by newlines: "550 5.1.1 no such user"."""
    raw: Mapping[str, bytes] = field(default_factory=dict)
    """Step to the very bytes to send; the dialogue goes on as if the usual reply had been sent."""
    drop: Mapping[str, Literal["close", "reset", "stall"]] = field(default_factory=dict)
    """Step at which no answer comes: the connection is closed, reset, or left open in silence."""
    extensions: Sequence[str] = EXTENSIONS
    starttls: bool = True
    """Whether EHLO lists STARTTLS (still only with a certificate and outside TLS)."""
    handshake: Handshake = "normal"
    alert: int = 40
    """RFC 8446 §6 number of the alert for handshake "alert"; 40 is handshake_failure."""
    tls: Callable[[ssl.SSLContext], None] | None = None
    """Changes the server's context before use: versions, ciphers, curves."""
    client_roots: bytes = b""
    """PEM roots: a client certificate is asked for (not insisted upon) and checked against them."""
    trickle: bool = False
    """Each byte of a reply in a segment of its own."""
    endless_banner: bool = False
    """A banner that never ends: 220-lines until the peer closes (at most 64 MiB)."""
    endless: str = ""
    """A step whose reply never ends: lines of it until the peer closes (at most 64 MiB)."""
    connections: int | None = None
    """On how many connections it behaves so; polite afterwards. None: on all."""


POLITE = Behaviour()


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A TLS session as the server saw it."""

    protocol: str
    cipher: str
    resumed: bool
    server_name: str | None
    client_certificate: bytes | None
    """DER; only when `Behaviour.client_roots` asked for one."""


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The ClientHello: length of its first record in bytes, and the key exchange groups offered."""

    size: int
    groups: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """Content that arrived whole, whatever was answered to it."""

    sender: str
    parameters: str
    """What stood behind the path of MAIL FROM, e.g. "SIZE=120 BODY=8BITMIME"."""
    recipients: tuple[str, ...]
    content: bytes
    """Dots unstuffed, CRLF line ends as they came."""
    reply: str
    """What was answered to it; empty when the connection was dropped instead."""
    tls: Tls | None


@dataclass(kw_only=True)
class Session:
    """One connection, filled in while it lasts."""

    number: int
    commands: list[str] = field(default_factory=list)
    hello: Hello | None = None
    tls: Tls | None = None
    tls_error: str | None = None
    taken: list[Taken] = field(default_factory=list)
    ended: str = ""
    """quit, gone (the peer closed), dropped (by the script), stopped, or the text of an error."""
