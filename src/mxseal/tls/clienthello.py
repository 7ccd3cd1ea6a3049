"""A client's first handshake message, read from the first bytes: what the client offers. PURE, never raises.

Sources: RFC 8446 §4.1.2 and §5.1, RFC 5246 §7.4.1.2 and appendix E.2 (SSL 2.0 form); names from the IANA
registries "TLS Cipher Suites", "TLS Supported Groups" and "TLS SignatureScheme". Suites with pre-shared
keys or passwords, which mail never uses, are shown by number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from mxseal.tls.facts import ClientOffer

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _SUPPORTED_GROUPS, _SIGNATURE_ALGORITHMS, _SUPPORTED_VERSIONS = 0, 10, 13, 43
_MOST_NAMES = 100
"""Of a list that are told: a padded ClientHello holds 8,000 suites, and each stands in the JSON log."""
_LONGEST_HOST = 255
_SCSV = frozenset((0x00FF, 0x5600))
"""Signals dressed as cipher suites: RFC 5746 (renegotiation) and RFC 7507 (fallback)."""

VERSION_NAMES = {
    0x0002: "SSLv2",
    0x0300: "SSLv3",
    0x0301: "TLSv1",
    0x0302: "TLSv1.1",
    0x0303: "TLSv1.2",
    0x0304: "TLSv1.3",
}
_ORDER = (0x0304, 0x0303, 0x0302, 0x0301, 0x0300, 0x0002)

GROUP_NAMES = {
    19: "secp192r1",
    21: "secp224r1",
    22: "secp256k1",
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
    29: "x25519",
    30: "x448",
    31: "brainpoolP256r1tls13",
    32: "brainpoolP384r1tls13",
    33: "brainpoolP512r1tls13",
    41: "curveSM2",
    256: "ffdhe2048",
    257: "ffdhe3072",
    258: "ffdhe4096",
    259: "ffdhe6144",
    260: "ffdhe8192",
    0x0200: "MLKEM512",
    0x0201: "MLKEM768",
    0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x11EE: "curveSM2MLKEM768",
    0x6399: "X25519Kyber768Draft00",
}
_HASHES = {1: "md5", 2: "sha1", 3: "sha224", 4: "sha256", 5: "sha384", 6: "sha512"}
_KEYS = {1: "rsa_pkcs1", 2: "dsa", 3: "ecdsa"}
_SIGNATURE_NAMES = {
    0x0403: "ecdsa_secp256r1_sha256",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0708: "sm2sig_sm3",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
}
_CIPHERS = """
0001 RSA_WITH_NULL_MD5, 0002 RSA_WITH_NULL_SHA, 0003 RSA_EXPORT_WITH_RC4_40_MD5,
0004 RSA_WITH_RC4_128_MD5, 0005 RSA_WITH_RC4_128_SHA, 0006 RSA_EXPORT_WITH_RC2_CBC_40_MD5,
0007 RSA_WITH_IDEA_CBC_SHA, 0008 RSA_EXPORT_WITH_DES40_CBC_SHA, 0009 RSA_WITH_DES_CBC_SHA,
000A RSA_WITH_3DES_EDE_CBC_SHA, 000B DH_DSS_EXPORT_WITH_DES40_CBC_SHA, 000C DH_DSS_WITH_DES_CBC_SHA,
000D DH_DSS_WITH_3DES_EDE_CBC_SHA, 000E DH_RSA_EXPORT_WITH_DES40_CBC_SHA, 000F DH_RSA_WITH_DES_CBC_SHA,
0010 DH_RSA_WITH_3DES_EDE_CBC_SHA, 0011 DHE_DSS_EXPORT_WITH_DES40_CBC_SHA, 0012 DHE_DSS_WITH_DES_CBC_SHA,
0013 DHE_DSS_WITH_3DES_EDE_CBC_SHA, 0014 DHE_RSA_EXPORT_WITH_DES40_CBC_SHA,
0015 DHE_RSA_WITH_DES_CBC_SHA, 0016 DHE_RSA_WITH_3DES_EDE_CBC_SHA, 0017 DH_anon_EXPORT_WITH_RC4_40_MD5,
0018 DH_anon_WITH_RC4_128_MD5, 0019 DH_anon_EXPORT_WITH_DES40_CBC_SHA, 001A DH_anon_WITH_DES_CBC_SHA,
001B DH_anon_WITH_3DES_EDE_CBC_SHA, 002F RSA_WITH_AES_128_CBC_SHA, 0030 DH_DSS_WITH_AES_128_CBC_SHA,
0031 DH_RSA_WITH_AES_128_CBC_SHA, 0032 DHE_DSS_WITH_AES_128_CBC_SHA, 0033 DHE_RSA_WITH_AES_128_CBC_SHA,
0034 DH_anon_WITH_AES_128_CBC_SHA, 0035 RSA_WITH_AES_256_CBC_SHA, 0036 DH_DSS_WITH_AES_256_CBC_SHA,
0037 DH_RSA_WITH_AES_256_CBC_SHA, 0038 DHE_DSS_WITH_AES_256_CBC_SHA, 0039 DHE_RSA_WITH_AES_256_CBC_SHA,
003A DH_anon_WITH_AES_256_CBC_SHA, 003B RSA_WITH_NULL_SHA256, 003C RSA_WITH_AES_128_CBC_SHA256,
003D RSA_WITH_AES_256_CBC_SHA256, 003E DH_DSS_WITH_AES_128_CBC_SHA256,
003F DH_RSA_WITH_AES_128_CBC_SHA256, 0040 DHE_DSS_WITH_AES_128_CBC_SHA256,
0041 RSA_WITH_CAMELLIA_128_CBC_SHA, 0044 DHE_DSS_WITH_CAMELLIA_128_CBC_SHA,
0045 DHE_RSA_WITH_CAMELLIA_128_CBC_SHA, 0046 DH_anon_WITH_CAMELLIA_128_CBC_SHA,
0067 DHE_RSA_WITH_AES_128_CBC_SHA256, 0068 DH_DSS_WITH_AES_256_CBC_SHA256,
0069 DH_RSA_WITH_AES_256_CBC_SHA256, 006A DHE_DSS_WITH_AES_256_CBC_SHA256,
006B DHE_RSA_WITH_AES_256_CBC_SHA256, 006C DH_anon_WITH_AES_128_CBC_SHA256,
006D DH_anon_WITH_AES_256_CBC_SHA256, 0084 RSA_WITH_CAMELLIA_256_CBC_SHA,
0087 DHE_DSS_WITH_CAMELLIA_256_CBC_SHA, 0088 DHE_RSA_WITH_CAMELLIA_256_CBC_SHA,
0089 DH_anon_WITH_CAMELLIA_256_CBC_SHA, 0096 RSA_WITH_SEED_CBC_SHA, 0099 DHE_DSS_WITH_SEED_CBC_SHA,
009A DHE_RSA_WITH_SEED_CBC_SHA, 009B DH_anon_WITH_SEED_CBC_SHA, 009C RSA_WITH_AES_128_GCM_SHA256,
009D RSA_WITH_AES_256_GCM_SHA384, 009E DHE_RSA_WITH_AES_128_GCM_SHA256,
009F DHE_RSA_WITH_AES_256_GCM_SHA384, 00A0 DH_RSA_WITH_AES_128_GCM_SHA256,
00A1 DH_RSA_WITH_AES_256_GCM_SHA384, 00A2 DHE_DSS_WITH_AES_128_GCM_SHA256,
00A3 DHE_DSS_WITH_AES_256_GCM_SHA384, 00A4 DH_DSS_WITH_AES_128_GCM_SHA256,
00A5 DH_DSS_WITH_AES_256_GCM_SHA384, 00A6 DH_anon_WITH_AES_128_GCM_SHA256,
00A7 DH_anon_WITH_AES_256_GCM_SHA384, 00BA RSA_WITH_CAMELLIA_128_CBC_SHA256,
00BD DHE_DSS_WITH_CAMELLIA_128_CBC_SHA256, 00BE DHE_RSA_WITH_CAMELLIA_128_CBC_SHA256,
00BF DH_anon_WITH_CAMELLIA_128_CBC_SHA256, 00C0 RSA_WITH_CAMELLIA_256_CBC_SHA256,
00C3 DHE_DSS_WITH_CAMELLIA_256_CBC_SHA256, 00C4 DHE_RSA_WITH_CAMELLIA_256_CBC_SHA256,
00C5 DH_anon_WITH_CAMELLIA_256_CBC_SHA256, 1301 AES_128_GCM_SHA256, 1302 AES_256_GCM_SHA384,
1303 CHACHA20_POLY1305_SHA256, 1304 AES_128_CCM_SHA256, 1305 AES_128_CCM_8_SHA256,
C001 ECDH_ECDSA_WITH_NULL_SHA, C002 ECDH_ECDSA_WITH_RC4_128_SHA, C003 ECDH_ECDSA_WITH_3DES_EDE_CBC_SHA,
C004 ECDH_ECDSA_WITH_AES_128_CBC_SHA, C005 ECDH_ECDSA_WITH_AES_256_CBC_SHA,
C006 ECDHE_ECDSA_WITH_NULL_SHA, C007 ECDHE_ECDSA_WITH_RC4_128_SHA,
C008 ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA, C009 ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
C00A ECDHE_ECDSA_WITH_AES_256_CBC_SHA, C00B ECDH_RSA_WITH_NULL_SHA, C00C ECDH_RSA_WITH_RC4_128_SHA,
C00D ECDH_RSA_WITH_3DES_EDE_CBC_SHA, C00E ECDH_RSA_WITH_AES_128_CBC_SHA,
C00F ECDH_RSA_WITH_AES_256_CBC_SHA, C010 ECDHE_RSA_WITH_NULL_SHA, C011 ECDHE_RSA_WITH_RC4_128_SHA,
C012 ECDHE_RSA_WITH_3DES_EDE_CBC_SHA, C013 ECDHE_RSA_WITH_AES_128_CBC_SHA,
C014 ECDHE_RSA_WITH_AES_256_CBC_SHA, C015 ECDH_anon_WITH_NULL_SHA, C016 ECDH_anon_WITH_RC4_128_SHA,
C017 ECDH_anon_WITH_3DES_EDE_CBC_SHA, C018 ECDH_anon_WITH_AES_128_CBC_SHA,
C019 ECDH_anon_WITH_AES_256_CBC_SHA, C023 ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
C024 ECDHE_ECDSA_WITH_AES_256_CBC_SHA384, C025 ECDH_ECDSA_WITH_AES_128_CBC_SHA256,
C026 ECDH_ECDSA_WITH_AES_256_CBC_SHA384, C027 ECDHE_RSA_WITH_AES_128_CBC_SHA256,
C028 ECDHE_RSA_WITH_AES_256_CBC_SHA384, C029 ECDH_RSA_WITH_AES_128_CBC_SHA256,
C02A ECDH_RSA_WITH_AES_256_CBC_SHA384, C02B ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
C02C ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, C02D ECDH_ECDSA_WITH_AES_128_GCM_SHA256,
C02E ECDH_ECDSA_WITH_AES_256_GCM_SHA384, C02F ECDHE_RSA_WITH_AES_128_GCM_SHA256,
C030 ECDHE_RSA_WITH_AES_256_GCM_SHA384, C031 ECDH_RSA_WITH_AES_128_GCM_SHA256,
C032 ECDH_RSA_WITH_AES_256_GCM_SHA384, C050 RSA_WITH_ARIA_128_GCM_SHA256,
C051 RSA_WITH_ARIA_256_GCM_SHA384, C052 DHE_RSA_WITH_ARIA_128_GCM_SHA256,
C053 DHE_RSA_WITH_ARIA_256_GCM_SHA384, C056 DHE_DSS_WITH_ARIA_128_GCM_SHA256,
C057 DHE_DSS_WITH_ARIA_256_GCM_SHA384, C05C ECDHE_ECDSA_WITH_ARIA_128_GCM_SHA256,
C05D ECDHE_ECDSA_WITH_ARIA_256_GCM_SHA384, C060 ECDHE_RSA_WITH_ARIA_128_GCM_SHA256,
C061 ECDHE_RSA_WITH_ARIA_256_GCM_SHA384, C072 ECDHE_ECDSA_WITH_CAMELLIA_128_CBC_SHA256,
C073 ECDHE_ECDSA_WITH_CAMELLIA_256_CBC_SHA384, C076 ECDHE_RSA_WITH_CAMELLIA_128_CBC_SHA256,
C077 ECDHE_RSA_WITH_CAMELLIA_256_CBC_SHA384, C09C RSA_WITH_AES_128_CCM, C09D RSA_WITH_AES_256_CCM,
C09E DHE_RSA_WITH_AES_128_CCM, C09F DHE_RSA_WITH_AES_256_CCM, C0A0 RSA_WITH_AES_128_CCM_8,
C0A1 RSA_WITH_AES_256_CCM_8, C0A2 DHE_RSA_WITH_AES_128_CCM_8, C0A3 DHE_RSA_WITH_AES_256_CCM_8,
C0AC ECDHE_ECDSA_WITH_AES_128_CCM, C0AD ECDHE_ECDSA_WITH_AES_256_CCM,
C0AE ECDHE_ECDSA_WITH_AES_128_CCM_8, C0AF ECDHE_ECDSA_WITH_AES_256_CCM_8,
CCA8 ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, CCA9 ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
CCAA DHE_RSA_WITH_CHACHA20_POLY1305_SHA256
"""
CIPHER_NAMES = {
    int(number, 16): f"TLS_{name}" for number, name in (row.split() for row in _CIPHERS.split(","))
}


class Short(Exception):
    """The message ends before what it announces."""


class Reader:
    """Big-endian numbers and length-prefixed blocks; raises Short past the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        block = self._data[self._at : self._at + size]
        if len(block) != size:
            raise Short
        self._at += size
        return block

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size_of_length: int) -> bytes:
        return self.take(self.number(size_of_length))

    @property
    def done(self) -> bool:
        return self._at >= len(self._data)


def looks_like_tls(data: bytes) -> bool:
    """Whether the first bytes are a TLS record header (RFC 8446 §5.1) or a hello in the form of SSL 2.0."""
    return (len(data) >= 2 and 20 <= data[0] <= 24 and data[1] == 3) or _is_sslv2(data)


def printable(raw: bytes) -> str:
    """A stranger's bytes as they may stand in a log line: printable ASCII, '?' for the rest, one line."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw.strip(b"\r\n"))


def parse(data: bytes) -> ClientOffer | None:
    """The offer in the first bytes of a connection; None if they hold no whole ClientHello."""
    try:
        if _is_sslv2(data):
            return _sslv2_offer(data)
        message = _first_message(data)
        return _offer(message)
    except Short:
        return None


def _is_sslv2(data: bytes) -> bool:
    # Two length bytes with the top bit set, type CLIENT-HELLO, then the version wanted: 2.0 or 3.x.
    return len(data) >= 5 and data[0] & 0x80 != 0 and data[2] == 1 and (data[3] == 3 or data[3:5] == b"\0\2")


def _first_message(data: bytes) -> bytes:
    """The body of a ClientHello that may be spread over several records."""
    records = Reader(data)
    message = b""
    while True:
        if records.number(1) != _HANDSHAKE or records.number(1) != 3:
            raise Short
        records.take(1)
        fragment = records.block(2)
        if not fragment:
            raise Short  # RFC 8446 §5.1: no empty fragments of handshake messages
        message += fragment
        if message[0] != _CLIENT_HELLO:
            raise Short
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return message[4 : 4 + int.from_bytes(message[1:4], "big")]


def _offer(message: bytes) -> ClientOffer:
    hello = Reader(message)
    legacy_version = hello.number(2)
    hello.take(32)
    hello.block(1)
    suites = hello.block(2)
    hello.block(1)
    extensions = dict(_extensions(b"" if hello.done else hello.block(2)))
    versions = (
        _versions(_numbers(Reader(extensions[_SUPPORTED_VERSIONS]).block(1)))
        if _SUPPORTED_VERSIONS in extensions
        # Without the extension the client names its highest version and does not say how low it would go.
        else _versions([min(legacy_version, 0x0303)])
    )
    return ClientOffer(
        versions=versions,
        ciphers=_ciphers(_numbers(suites)),
        cipher_count=len(_real(_numbers(suites))),
        groups=_cut(
            GROUP_NAMES.get(number, f"0x{number:04X}")
            for number in _list(extensions, _SUPPORTED_GROUPS)
            if not _is_grease(number)
        ),
        signature_algorithms=_cut(
            _signature(number)
            for number in _list(extensions, _SIGNATURE_ALGORITHMS)
            if not _is_grease(number)
        ),
        server_name=_server_name(extensions.get(_SERVER_NAME)),
    )


def _sslv2_offer(data: bytes) -> ClientOffer:
    hello = Reader(data)
    hello.take(3)
    version = hello.number(2)
    size = hello.number(2)
    hello.take(4)
    specs = hello.take(size)
    codes = [int.from_bytes(specs[at : at + 3], "big") for at in range(0, len(specs) - 2, 3)]
    # Three-byte codes below 0x010000 are the suites of SSL 3.0 and later, the others are of SSL 2.0 alone.
    return ClientOffer(
        versions=_versions([2, min(version, 0x0303)]),
        ciphers=_ciphers([code for code in codes if code < 0x10000]),
        cipher_count=len(_real([code for code in codes if code < 0x10000])),
    )


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    reader = Reader(data)
    while not reader.done:
        yield reader.number(2), reader.block(2)


def _numbers(data: bytes) -> list[int]:
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2)]


def _list(extensions: dict[int, bytes], kind: int) -> list[int]:
    return _numbers(Reader(extensions[kind]).block(2)) if kind in extensions else []


def _is_grease(number: int) -> bool:
    """RFC 8701: 0x0A0A, 0x1A1A … 0xFAFA are there to keep servers honest."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _versions(numbers: list[int]) -> tuple[str, ...]:
    return tuple(VERSION_NAMES[number] for number in _ORDER if number in numbers)


def _cut(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(names, _MOST_NAMES))


def _real(numbers: list[int]) -> list[int]:
    return [number for number in numbers if number not in _SCSV and not _is_grease(number)]


def _ciphers(numbers: list[int]) -> tuple[str, ...]:
    return _cut(CIPHER_NAMES.get(number, f"0x{number:04X}") for number in _real(numbers))


def _signature(number: int) -> str:
    if number in _SIGNATURE_NAMES:
        return _SIGNATURE_NAMES[number]
    # RFC 5246 §7.4.1.4.1: hash and key type, a byte each.
    digest, key = _HASHES.get(number >> 8), _KEYS.get(number & 0xFF)
    return f"{key}_{digest}" if digest and key else f"0x{number:04X}"


def _server_name(data: bytes | None) -> str | None:
    """RFC 6066 §3: the first entry of type host_name."""
    if data is None:
        return None
    entries = Reader(Reader(data).block(2))
    while not entries.done:
        kind, name = entries.number(1), entries.block(2)
        if kind == 0:
            return printable(name[:_LONGEST_HOST])
    return None
