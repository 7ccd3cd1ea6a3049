"""What a server answers to a ClientHello, from its first bytes: its choice, or why not. PURE, never raises.

Sources: RFC 8446 §4.1.3, §4.1.4, §5.1 and §6; RFC 5246 §7.4.1.3; RFC 4492 §5.4 and RFC 5246 §7.4.3 for the
key exchange that older versions send in clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from mxseal.tls.clienthello import CIPHER_NAMES, GROUP_NAMES, VERSION_NAMES, Reader, Short, printable

_ALERT, _HANDSHAKE = 21, 22
_RECORD_TYPES = range(20, 25)
_SERVER_HELLO, _SERVER_KEY_EXCHANGE, _SERVER_HELLO_DONE = 2, 12, 14
_SUPPORTED_VERSIONS, _KEY_SHARE, _RENEGOTIATION = 43, 51, 0xFF01
_RETRY = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")
"""SHA-256 of "HelloRetryRequest", in the place of the random (RFC 8446 §4.1.3)."""
_LARGEST_FRAGMENT = (1 << 14) + 2048
LARGEST_FLIGHT = 128 * 1024
"""Bytes that are read of an answer: certificate chains of real servers stay below a tenth."""
_NAMED_CURVE = 3
_LINE = 80
_EXCHANGES = ("TLS_DHE_", "TLS_ECDHE_", "TLS_DH_anon_", "TLS_ECDH_anon_")

ALERTS = {
    0: "close notify",
    10: "unexpected message",
    20: "bad record mac",
    21: "decryption failed",
    22: "record overflow",
    30: "decompression failure",
    40: "handshake failure",
    41: "no certificate",
    42: "bad certificate",
    43: "unsupported certificate",
    44: "certificate revoked",
    45: "certificate expired",
    46: "certificate unknown",
    47: "illegal parameter",
    48: "unknown ca",
    49: "access denied",
    50: "decode error",
    51: "decrypt error",
    60: "export restriction",
    70: "protocol version",
    71: "insufficient security",
    80: "internal error",
    86: "inappropriate fallback",
    90: "user cancelled",
    100: "no renegotiation",
    109: "missing extension",
    110: "unsupported extension",
    111: "certificate unobtainable",
    112: "unrecognized name",
    113: "bad certificate status response",
    114: "bad certificate hash value",
    115: "unknown psk identity",
    116: "certificate required",
    120: "no application protocol",
}
_WARNINGS = frozenset((112,))
"""RFC 6066 §3: this one may be a warning, behind which the handshake goes on."""

Kind = Literal["hello", "retry", "alert", "closed", "clear-text", "malformed", "untested"]


class ServerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """hello and retry: the server chose. alert, closed: it refused. untested: it could not be asked."""

    kind: Kind
    version: str = ""
    """OpenSSL's name of the version chosen, else 0x7F1C style."""
    cipher: int = 0
    group: str | None = None
    """Key exchange group by its IANA name, where the answer shows one."""
    dh_bits: int | None = None
    """Size of the prime of a Diffie-Hellman exchange over numbers."""
    renegotiation: bool = False
    """RFC 5746 is supported."""
    text: str = ""
    """The alert's name, the first line of clear text, or why nothing was asked."""

    @property
    def chose(self) -> bool:
        return self.kind in ("hello", "retry")

    @property
    def refused(self) -> bool:
        """The server said no to just this offer, in words of TLS or by hanging up."""
        return self.kind in ("alert", "closed")


def parse(data: bytes, *, ended: bool = False) -> ServerAnswer | None:
    """The answer in the bytes that have come so far; None: more are needed.

    With `ended` no more will come, and there is an answer whatever has come.
    """
    if not data:
        return ServerAnswer(kind="closed") if ended else None
    if data[0] not in _RECORD_TYPES or (len(data) > 1 and data[1] != 3):
        line, found, _ = data.partition(b"\n")
        if not found and not ended and len(line) < _LINE:
            return None
        return ServerAnswer(kind="clear-text", text=printable(line)[:_LINE])
    try:
        return _answer(data, ended=ended or len(data) >= LARGEST_FLIGHT)
    except Short:
        return ServerAnswer(kind="malformed", text="the answer is not a ServerHello")


def _answer(data: bytes, *, ended: bool) -> ServerAnswer | None:
    handshake, alert = _layers(data)
    chosen: ServerAnswer | None = None
    for kind, body in _messages(handshake):
        if chosen is None:
            if kind != _SERVER_HELLO:
                raise Short
            chosen = _server_hello(body)
            if not _shows_key_exchange(chosen):
                return chosen
        elif kind == _SERVER_KEY_EXCHANGE:
            return _key_exchange(chosen, body)
        elif kind == _SERVER_HELLO_DONE:
            return chosen
    if alert is not None:
        return chosen or ServerAnswer(kind="alert", text=ALERTS.get(alert, f"number {alert}"))
    if not ended:
        return None
    return chosen or ServerAnswer(kind="malformed", text="the answer breaks off")


def _layers(data: bytes) -> tuple[bytes, int | None]:
    """Handshake bytes of all whole records, and the first fatal alert."""
    handshake: list[bytes] = []
    at = 0
    while len(data) - at >= 5:
        kind, major, size = data[at], data[at + 1], int.from_bytes(data[at + 3 : at + 5], "big")
        if kind not in _RECORD_TYPES or major != 3 or size > _LARGEST_FRAGMENT:
            raise Short
        fragment = data[at + 5 : at + 5 + size]
        if len(fragment) < size:
            break
        at += 5 + size
        if kind == _ALERT:
            if len(fragment) < 2:
                raise Short
            if fragment[0] != 1 or fragment[1] not in _WARNINGS:
                return b"".join(handshake), fragment[1]
        elif kind == _HANDSHAKE:
            handshake.append(fragment)
    return b"".join(handshake), None


def _messages(handshake: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, body) of the whole messages."""
    at = 0
    while len(handshake) - at >= 4:
        size = int.from_bytes(handshake[at + 1 : at + 4], "big")
        if len(handshake) - at - 4 < size:
            return
        yield handshake[at], handshake[at + 4 : at + 4 + size]
        at += 4 + size


def _server_hello(body: bytes) -> ServerAnswer:
    hello = Reader(body)
    version = hello.number(2)
    retry = hello.take(32) == _RETRY
    hello.block(1)
    cipher = hello.number(2)
    hello.take(1)
    extensions: dict[int, bytes] = {}
    if not hello.done:
        reader = Reader(hello.block(2))
        while not reader.done:
            kind = reader.number(2)
            extensions[kind] = reader.block(2)
    if _SUPPORTED_VERSIONS in extensions:
        version = Reader(extensions[_SUPPORTED_VERSIONS]).number(2)
    share = extensions.get(_KEY_SHARE)
    return ServerAnswer(
        kind="retry" if retry else "hello",
        version=VERSION_NAMES.get(version, f"0x{version:04X}"),
        cipher=cipher,
        group=None if share is None else group_name(Reader(share).number(2)),
        renegotiation=_RENEGOTIATION in extensions,
    )


def _shows_key_exchange(chosen: ServerAnswer) -> bool:
    """Whether a ServerKeyExchange follows in clear: not from TLS 1.3 on, nor with RSA key exchange."""
    name = CIPHER_NAMES.get(chosen.cipher, "")
    return chosen.version != "TLSv1.3" and name.startswith(_EXCHANGES)


def _key_exchange(chosen: ServerAnswer, body: bytes) -> ServerAnswer:
    reader = Reader(body)
    if CIPHER_NAMES[chosen.cipher].startswith("TLS_ECDH"):
        if reader.number(1) != _NAMED_CURVE:
            return chosen
        return msgspec.structs.replace(chosen, group=group_name(reader.number(2)))
    prime = int.from_bytes(reader.block(2), "big")
    return msgspec.structs.replace(chosen, dh_bits=prime.bit_length())


def group_name(number: int) -> str:
    """IANA's name of a key exchange group, else its number."""
    return GROUP_NAMES.get(number, f"0x{number:04X}")
