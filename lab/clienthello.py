"""Just enough of a ClientHello for a server that dislikes some of them (RFC 8446 §4.1.2, §5.1)."""

from __future__ import annotations

import socket

from lab.script import Hello

_LARGEST_RECORD = 5 + 16384
SUPPORTED_GROUPS = 10
X25519MLKEM768 = 0x11EC


def peek(connection: socket.socket) -> Hello | None:
    """The ClientHello waiting in the socket, left there for the TLS library; None if the peer sends none."""
    seen = 0
    while True:
        record = connection.recv(_LARGEST_RECORD, socket.MSG_PEEK)
        if len(record) >= 5 and (record[0] != 22 or len(record) >= 5 + int.from_bytes(record[3:5])):
            return _read(record[: 5 + int.from_bytes(record[3:5])]) if record[0] == 22 else None
        if len(record) == seen:
            return None  # nothing came: the peer has closed
        seen = len(record)
        # MSG_PEEK gives the same bytes again at once: let the kernel wait until there is one more.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)
        connection.recv(1, socket.MSG_PEEK)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _read(record: bytes) -> Hello:
    try:
        return Hello(size=len(record), groups=_groups(record[9:]))
    except IndexError:
        return Hello(size=len(record), groups=())


def _groups(body: bytes) -> tuple[int, ...]:
    at = 34  # legacy_version, random
    at += 1 + body[at]  # legacy_session_id
    at += 2 + int.from_bytes(body[at : at + 2])  # cipher_suites
    at += 1 + body[at]  # legacy_compression_methods
    at += 2
    while at + 4 <= len(body):
        kind, length = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        if kind == SUPPORTED_GROUPS:
            values = body[at + 6 : at + 4 + length]
            return tuple(int.from_bytes(values[i : i + 2]) for i in range(0, len(values), 2))
        at += 4 + length
    return ()
