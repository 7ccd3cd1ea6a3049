"""The cipher suites whose records can be written anew: what each is made of. PURE.

Sources: RFC 8446 §B.4, RFC 5246 §A.5, RFC 5288, RFC 5289, RFC 6655, RFC 7251, RFC 7905.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Mode = Literal["gcm", "ccm", "ccm8", "chacha20", "cbc"]
Hash = Literal["sha1", "sha256", "sha384"]


class Suite(msgspec.Struct, frozen=True):
    """`key` in bytes. `mac`: the hash of CBC's record MAC; `prf`: that of the key schedule since TLS 1.2."""

    mode: Mode
    key: int
    prf: Hash = "sha256"
    mac: Hash = "sha1"


SUITES: dict[int, Suite] = {
    0x1301: Suite("gcm", 16),
    0x1302: Suite("gcm", 32, "sha384"),
    0x1303: Suite("chacha20", 32),
    0x1304: Suite("ccm", 16),
    0x1305: Suite("ccm8", 16),
    **dict.fromkeys((0x009C, 0x009E, 0xC02B, 0xC02F), Suite("gcm", 16)),
    **dict.fromkeys((0x009D, 0x009F, 0xC02C, 0xC030), Suite("gcm", 32, "sha384")),
    **dict.fromkeys((0xCCA8, 0xCCA9, 0xCCAA), Suite("chacha20", 32)),
    **dict.fromkeys((0xC09C, 0xC09E, 0xC0AC), Suite("ccm", 16)),
    **dict.fromkeys((0xC09D, 0xC09F, 0xC0AD), Suite("ccm", 32)),
    **dict.fromkeys((0xC0A0, 0xC0A2, 0xC0AE), Suite("ccm8", 16)),
    **dict.fromkeys((0xC0A1, 0xC0A3, 0xC0AF), Suite("ccm8", 32)),
    **dict.fromkeys((0x002F, 0x0033, 0xC009, 0xC013), Suite("cbc", 16)),
    **dict.fromkeys((0x0035, 0x0039, 0xC00A, 0xC014), Suite("cbc", 32)),
    **dict.fromkeys((0x003C, 0x0067, 0xC023, 0xC027), Suite("cbc", 16, mac="sha256")),
    **dict.fromkeys((0x003D, 0x006B), Suite("cbc", 32, mac="sha256")),
    **dict.fromkeys((0xC024, 0xC028), Suite("cbc", 32, "sha384", "sha384")),
}
"""By number. What is missing (ARIA, Camellia) is offered by nobody who has one of these."""
