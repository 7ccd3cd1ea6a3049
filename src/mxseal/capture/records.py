"""TLS records, opened with a session's keys and sealed again with others. PURE.

Recordings that leave content out are written with keys of their own: who has the file, and even who has the
ciphertext of the wire besides, learns nothing of what was left out. Only for recordings: no connection is
ever protected by what is here. Sources: RFC 8446 §5 and §7, RFC 5246 §5 and §6, RFC 7366.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Callable
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM, AESGCM, ChaCha20Poly1305

from mxseal.capture.suites import Suite

APPLICATION = 23
TLS13 = 0x0304
_TLS12 = 0x0303
_TLS10 = 0x0301
_BLOCK = 16
_TAG = {"ccm8": 8}


class Unreadable(Exception):
    """A record does not open with these keys."""


class Aead(Protocol):
    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Protection(Protocol):
    """One direction's keys and count. `open` gives (type, plaintext), `seal` a whole record."""

    def open(self, kind: int, version: bytes, body: bytes) -> tuple[int, bytes]: ...

    def seal(self, kind: int, version: bytes, plaintext: bytes) -> bytes: ...


class Negotiated(msgspec.Struct, frozen=True):
    """What the key schedule needs of the ServerHello. `version` as on the wire: 0x0304 is TLS 1.3."""

    version: int
    suite: Suite | None
    """None: one whose records can't be written anew."""
    encrypt_then_mac: bool
    client_random: bytes
    server_random: bytes


def record(kind: int, version: bytes, body: bytes) -> bytes:
    """A record from its parts; `version` the two bytes of its header."""
    return bytes((kind,)) + version + struct.pack("!H", len(body)) + body


def expand_label(secret: bytes, label: str, size: int, prf: str) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 §7.1)."""
    name = b"tls13 " + label.encode()
    info = struct.pack("!HB", size, len(name)) + name + b"\0"
    out, block = b"", b""
    for number in range(1, 256):
        if len(out) >= size:
            break
        block = hmac.digest(secret, block + info + bytes((number,)), prf)
        out += block
    return out[:size]


def prf12(master: bytes, seed: bytes, size: int, prf: str | None) -> bytes:
    """The pseudorandom function of TLS 1.2 (RFC 5246 §5); `prf` None: that of those before (RFC 4346 §5)."""
    if prf is not None:
        return _p_hash(master, seed, size, prf)
    half = (len(master) + 1) // 2
    one = _p_hash(master[:half], seed, size, "md5")
    two = _p_hash(master[-half:], seed, size, "sha1")
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def _p_hash(secret: bytes, seed: bytes, size: int, name: str) -> bytes:
    out, chained = b"", seed
    while len(out) < size:
        chained = hmac.digest(secret, chained, name)
        out += hmac.digest(secret, chained + seed, name)
    return out[:size]


def _aead(suite: Suite, key: bytes) -> Aead:
    if suite.mode == "chacha20":
        return ChaCha20Poly1305(key)
    if suite.mode == "gcm":
        return AESGCM(key)
    return AESCCM(key, tag_length=_TAG.get(suite.mode, 16))


class Modern:
    """TLS 1.3 (RFC 8446 §5.2), from a traffic secret."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self._suite = suite
        self.secret = secret
        self._begin()

    def _begin(self) -> None:
        prf = self._suite.prf
        self._cipher = _aead(self._suite, expand_label(self.secret, "key", self._suite.key, prf))
        self._iv = int.from_bytes(expand_label(self.secret, "iv", 12, prf), "big")
        self._count = 0

    def renew(self) -> None:
        """The next key (RFC 8446 §7.2), behind a KeyUpdate."""
        size = hashlib.new(self._suite.prf).digest_size
        self.secret = expand_label(self.secret, "traffic upd", size, self._suite.prf)
        self._begin()

    def _nonce(self) -> bytes:
        return (self._iv ^ self._count).to_bytes(12, "big")

    def open(self, kind: int, version: bytes, body: bytes) -> tuple[int, bytes]:
        """Raises Unreadable, and then does not count the record."""
        head = record(kind, version, body)[:5]
        try:
            inner = self._cipher.decrypt(self._nonce(), body, head).rstrip(b"\0")
        except (InvalidTag, ValueError):
            raise Unreadable from None
        self._count += 1
        return (inner[-1], inner[:-1]) if inner else (0, b"")

    def seal(self, kind: int, version: bytes, plaintext: bytes) -> bytes:
        inner = plaintext + bytes((kind,))
        size = len(inner) + _TAG.get(self._suite.mode, 16)
        head = bytes((APPLICATION,)) + version + struct.pack("!H", size)
        body = self._cipher.encrypt(self._nonce(), inner, head)
        self._count += 1
        return head + body


class Classic:
    """AEAD suites of TLS 1.2 (RFC 5288 §3, RFC 7905 §2)."""

    def __init__(self, suite: Suite, key: bytes, iv: bytes) -> None:
        self._suite = suite
        self._cipher = _aead(suite, key)
        self._iv = iv
        self._count = 0

    def _nonce(self, explicit: bytes) -> bytes:
        if self._suite.mode == "chacha20":
            return (int.from_bytes(self._iv, "big") ^ self._count).to_bytes(12, "big")
        return self._iv + explicit

    def _data(self, kind: int, version: bytes, size: int) -> bytes:
        return struct.pack("!QB", self._count, kind) + version + struct.pack("!H", size)

    def open(self, kind: int, version: bytes, body: bytes) -> tuple[int, bytes]:
        """Raises Unreadable."""
        skipped = 0 if self._suite.mode == "chacha20" else 8
        size = len(body) - skipped - _TAG.get(self._suite.mode, 16)
        if size < 0:
            raise Unreadable
        data = self._data(kind, version, size)
        try:
            plain = self._cipher.decrypt(self._nonce(body[:skipped]), body[skipped:], data)
        except InvalidTag:
            raise Unreadable from None
        self._count += 1
        return kind, plain

    def seal(self, kind: int, version: bytes, plaintext: bytes) -> bytes:
        explicit = b"" if self._suite.mode == "chacha20" else struct.pack("!Q", self._count)
        data = self._data(kind, version, len(plaintext))
        body = explicit + self._cipher.encrypt(self._nonce(explicit), plaintext, data)
        self._count += 1
        return record(kind, version, body)


class Blocks:
    """CBC suites (RFC 5246 §6.2.3.2), the MAC inside or, by RFC 7366, outside; TLS 1.0 chains its IVs."""

    def __init__(self, agreed: Negotiated, suite: Suite, mac_key: bytes, key: bytes, iv: bytes) -> None:
        self._agreed = agreed
        self._hash = suite.mac
        self._mac_key = mac_key
        self._key = key
        self._chained = iv if agreed.version <= _TLS10 else None
        self._mac_size = hashlib.new(suite.mac).digest_size
        self._count = 0

    def _cipher(self, iv: bytes) -> Cipher[modes.CBC]:
        return Cipher(algorithms.AES(self._key), modes.CBC(iv))

    def _mac(self, kind: int, version: bytes, content: bytes) -> bytes:
        head = struct.pack("!QB", self._count, kind) + version + struct.pack("!H", len(content))
        return hmac.digest(self._mac_key, head + content, self._hash)

    def open(self, kind: int, version: bytes, body: bytes) -> tuple[int, bytes]:
        """Raises Unreadable."""
        mac = b""
        covered = body
        if self._agreed.encrypt_then_mac:
            covered, mac = body[: -self._mac_size], body[-self._mac_size :]
        iv, text = (covered[:_BLOCK], covered[_BLOCK:]) if self._chained is None else (self._chained, covered)
        if not text or len(text) % _BLOCK or len(iv) != _BLOCK:
            raise Unreadable
        plain = self._cipher(iv).decryptor().update(text)
        plain = plain[: -1 - plain[-1]]
        if self._agreed.encrypt_then_mac:
            wanted = self._mac(kind, version, covered)
        else:
            plain, mac = plain[: -self._mac_size], plain[-self._mac_size :]
            wanted = self._mac(kind, version, plain)
        if not hmac.compare_digest(mac, wanted):
            raise Unreadable
        if self._chained is not None:
            self._chained = text[-_BLOCK:]
        self._count += 1
        return kind, plain

    def seal(self, kind: int, version: bytes, plaintext: bytes) -> bytes:
        inner = plaintext
        if not self._agreed.encrypt_then_mac:
            inner += self._mac(kind, version, plaintext)
        over = _BLOCK - len(inner) % _BLOCK
        inner += bytes((over - 1,)) * over
        # Nobody is protected by it: an IV that is new for each record is all that is needed here.
        made = hashlib.sha256(self._key + struct.pack("!Q", self._count)).digest()[:_BLOCK]
        iv = self._chained or made
        text = self._cipher(iv).encryptor().update(inner)
        body = text if self._chained is not None else iv + text
        if self._agreed.encrypt_then_mac:
            body += self._mac(kind, version, body)
        if self._chained is not None:
            self._chained = text[-_BLOCK:]
        self._count += 1
        return record(kind, version, body)


def protections(agreed: Negotiated, master: bytes) -> tuple[Protection, Protection]:
    """The client's and the server's, of TLS 1.2 and before (RFC 5246 §6.3)."""
    suite = agreed.suite
    assert suite is not None, "asked before"
    mac = hashlib.new(suite.mac).digest_size if suite.mode == "cbc" else 0
    iv = {"cbc": _BLOCK, "chacha20": 12}.get(suite.mode, 4)
    seed = b"key expansion" + agreed.server_random + agreed.client_random
    size = 2 * (mac + suite.key + iv)
    block = prf12(master, seed, size, suite.prf if agreed.version >= _TLS12 else None)
    parts: list[bytes] = []
    for length in (mac, mac, suite.key, suite.key, iv, iv):
        parts.append(block[:length])
        block = block[length:]
    make: Callable[[int], Protection] = (
        (lambda side: Blocks(agreed, suite, parts[side], parts[2 + side], parts[4 + side]))
        if suite.mode == "cbc"
        else (lambda side: Classic(suite, parts[2 + side], parts[4 + side]))
    )
    return make(0), make(1)
