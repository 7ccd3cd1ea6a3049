"""A ClientHello of our own making, for asking a server what it takes. PURE.

It is never carried on into a handshake: nothing in it is secret, and no key is behind it. RFC 8446 §4.1.2;
RFC 7685 for the padding; RFC 5746 §3.3 for the signal among the suites.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from mxseal.tls.clienthello import CIPHER_NAMES

Version = Literal["TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3"]
VERSIONS: tuple[Version, ...] = ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1", "SSLv3")
_NUMBERS: dict[Version, int] = {
    "TLSv1.3": 0x0304,
    "TLSv1.2": 0x0303,
    "TLSv1.1": 0x0302,
    "TLSv1": 0x0301,
    "SSLv3": 0x0300,
}
RANDOM = 32
"""Octets of chance that a hello needs."""
_RENEGOTIATION_SIGNAL = 0x00FF
_TLS13_SUITES = (0x1302, 0x1303, 0x1301, 0x1304, 0x1305)
GROUPS = (0x11EC, 0x001D, 0x0017, 0x0018, 0x0019, 0x001E, 0x0100, 0x0101, 0x0102, 0x001A, 0x001B, 0x001C)
"""X25519MLKEM768 and classic ones; an empty list of key shares makes a TLS 1.3 server name its choice."""
_SIGNATURES = (
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B,
    0x0401, 0x0501, 0x0601, 0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0302, 0x0202, 0x0101,
)  # fmt: skip

_BROKEN = ("_NULL_", "_EXPORT_", "_RC4_", "_RC2_", "_DES_", "_DES40_", "_3DES_", "_IDEA_", "_SEED_")
_STATIC = ("TLS_RSA_", "TLS_DH_", "TLS_ECDH_")
_NEWER = ("_GCM_", "_CCM", "_POLY1305", "_SHA256", "_SHA384")
"""Suites that exist from TLS 1.2 on only (RFC 5246 §1.2, RFC 5288 §4)."""

Grade = Literal["good", "old", "no forward secrecy", "anonymous", "broken"]


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What one hello offers. TLS 1.3 is offered alone, an older version as the highest one."""

    version: Version
    ciphers: tuple[int, ...]


@lru_cache(maxsize=8)
def suites(version: Version) -> tuple[int, ...]:
    """All that can be offered with `version`, the good ones first."""
    if version == "TLSv1.3":
        return _TLS13_SUITES
    order: tuple[Grade, ...] = ("good", "old", "no forward secrecy", "anonymous", "broken")
    known = [number for number in CIPHER_NAMES if not 0x1300 < number < 0x1306]
    if version != "TLSv1.2":
        known = [number for number in known if not any(mark in CIPHER_NAMES[number] for mark in _NEWER)]
    return tuple(sorted(known, key=lambda number: (order.index(grade(number)), -number)))


def suite_name(number: int) -> str:
    """IANA's name, else 0xC0FF style."""
    return CIPHER_NAMES.get(number, f"0x{number:04X}")


def grade(number: int) -> Grade:
    """broken: RFC 9325 §4.1 MUST NOT; no forward secrecy: SHOULD NOT; old: CBC or a truncated tag. Anonymous
    ones protect against listeners as well as a certificate that nobody checks (RFC 7435 §3)."""
    name = suite_name(number)
    if any(mark in f"{name}_" for mark in _BROKEN):
        return "broken"
    if "_anon_" in name:
        return "anonymous"
    if name.startswith(_STATIC):
        return "no forward secrecy"
    return "old" if "_CBC_" in name or name.endswith("_CCM_8") else "good"


def client_hello(offer: Offer, server_name: str | None, random: bytes) -> bytes:
    """The record. `server_name`: a host name in ASCII, for SNI; `random`: 32 octets."""
    number = _NUMBERS[offer.version]
    body = min(number, 0x0303).to_bytes(2, "big") + random[:RANDOM]
    # RFC 8446 appendix D.4: a session id keeps middleboxes quiet.
    body += _block(1, random[::-1][:RANDOM] if number == 0x0304 else b"")
    body += _block(2, _pairs((*offer.ciphers, _RENEGOTIATION_SIGNAL))) + b"\x01\x00"
    if number > 0x0300:
        extensions = _extensions(offer, server_name)
        body += _block(2, extensions + _padding(4 + len(body) + 2 + len(extensions)))
    record_version = 0x0300 if number == 0x0300 else 0x0301
    return b"\x16" + record_version.to_bytes(2, "big") + _block(2, b"\x01" + _block(3, body))


def _extensions(offer: Offer, server_name: str | None) -> bytes:
    found = b""
    if server_name:
        entry = b"\x00" + _block(2, server_name.encode("ascii", "ignore"))
        found += _extension(0, _block(2, entry))
    found += _extension(10, _block(2, _pairs(GROUPS)))
    found += _extension(11, _block(1, b"\x00"))
    if offer.version in ("TLSv1.2", "TLSv1.3"):
        found += _extension(13, _block(2, _pairs(_SIGNATURES)))
    found += _extension(23, b"")
    if offer.version == "TLSv1.3":
        found += _extension(43, _block(1, _pairs((0x0304,))))
        found += _extension(51, _block(2, b""))
    return found


def _padding(size: int) -> bytes:
    """RFC 7685 §1: some load balancers hang on hellos of 256 to 511 octets."""
    if not 256 <= size < 512:
        return b""
    return _extension(21, bytes(max(0, 512 - size - 4)))


def _extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _block(2, content)


def _block(size_of_length: int, content: bytes) -> bytes:
    return len(content).to_bytes(size_of_length, "big") + content


def _pairs(numbers: tuple[int, ...]) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in numbers)
