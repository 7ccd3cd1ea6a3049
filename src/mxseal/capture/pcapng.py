"""Capture files: pcapng (draft-ietf-opsawg-pcapng), with the secrets that open what is in them. PURE."""

from __future__ import annotations

import struct

_SECTION, _INTERFACE, _PACKET, _SECRETS = 0x0A0D0D0A, 1, 6, 10
_LINKTYPE_RAW = 101
"""Packets begin with their IPv4 or IPv6 header."""
_TLS_KEY_LOG = 0x544C534B
_COMMENT, _SECTION_PROGRAM, _INTERFACE_NAME, _PACKET_FLAGS = 1, 4, 2, 2
INBOUND, OUTBOUND = 1, 2
_LONGEST_OPTION = 4000


def section(program: str, comment: str) -> bytes:
    """The head of a file. `comment` is what Wireshark shows under Capture File Properties."""
    options = _option(_COMMENT, comment) + _option(_SECTION_PROGRAM, program)
    return _block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _ended(options))


def interface(name: str) -> bytes:
    """The one interface; times are in microseconds."""
    return _block(
        _INTERFACE, struct.pack("<HHI", _LINKTYPE_RAW, 0, 0) + _ended(_option(_INTERFACE_NAME, name))
    )


def secrets(lines: list[str]) -> bytes:
    """Secrets in the format of SSLKEYLOGFILE; they have to stand before the packets. b"" for none."""
    if not lines:
        return b""
    text = "".join(f"{line}\n" for line in lines).encode()
    return _block(_SECRETS, struct.pack("<II", _TLS_KEY_LOG, len(text)) + text)


def packet(data: bytes, at: float, direction: int, comment: str = "") -> bytes:
    """`at` in seconds since the epoch, UTC; `direction` INBOUND or OUTBOUND."""
    micros = round(at * 1_000_000)
    head = struct.pack("<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, len(data), len(data))
    options = _raw_option(_PACKET_FLAGS, struct.pack("<I", direction))
    if comment:
        options += _option(_COMMENT, comment)
    return _block(_PACKET, head + _padded(data) + _ended(options))


def _block(kind: int, body: bytes) -> bytes:
    body = _padded(body)
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")[:_LONGEST_OPTION]
    return _raw_option(code, raw.decode("utf-8", "ignore").encode())


def _raw_option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _ended(options: bytes) -> bytes:
    return options + struct.pack("<HH", 0, 0) if options else b""
