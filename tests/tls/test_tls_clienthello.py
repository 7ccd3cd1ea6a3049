"""Reading a ClientHello: what is offered, split anywhere, and never an exception."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from mxseal.tls import clienthello
from mxseal.tls.clienthello import looks_like_tls, parse, printable
from tests.tls.pairs import Pki, client_hello, raw_client


def test_a_current_client_is_read_completely(pki: Pki) -> None:
    offer = parse(client_hello(pki.client(), "mx.example.com"))
    assert offer is not None
    assert offer.versions == ("TLSv1.3", "TLSv1.2")
    assert offer.ciphers[:3] == (
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
    )
    assert offer.groups == ("X25519MLKEM768", "x25519", "secp256r1", "secp384r1")
    assert "rsa_pss_rsae_sha256" in offer.signature_algorithms
    assert "ecdsa_secp256r1_sha256" in offer.signature_algorithms
    assert offer.server_name == "mx.example.com"


def test_without_supported_versions_the_legacy_version_counts() -> None:
    context = raw_client(
        lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_1_VERSION, ciphers=b"ECDHE-RSA-AES128-SHA:@SECLEVEL=0"
    )
    offer = parse(client_hello(context, None))
    assert offer is not None
    assert offer.versions == ("TLSv1.1",)
    assert offer.ciphers == ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",)
    assert offer.server_name is None


def test_a_greeting_split_over_records_at_any_byte_is_the_same(pki: Pki) -> None:
    whole = client_hello(pki.client())
    body = whole[5:]
    expected = parse(whole)
    for at in range(1, len(body), 13):
        parts = (body[:at], body[at:])
        split = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in parts)
        assert parse(split) == expected


def test_a_greeting_cut_short_is_nothing_yet(pki: Pki) -> None:
    whole = client_hello(pki.client())
    assert all(parse(whole[:size]) is None for size in range(len(whole)))
    assert parse(whole) == parse(whole + b"\x14\x03\x03\x00\x01\x01")


def test_grease_and_signals_are_left_out() -> None:
    suites = bytes.fromhex("0a0a 1301 00ff 5600 c02f fafa 1234 0005")
    groups = _extension(10, _vector(bytes.fromhex("1a1a 001d 11eb 4242")))
    signatures = _extension(13, _vector(bytes.fromhex("0403 dada 0201 0401 0202 9999")))
    versions = _extension(43, bytes((6,)) + bytes.fromhex("7a7a 0304 0301"))
    offer = parse(_hello(suites, groups + signatures + versions))
    assert offer is not None
    assert offer.ciphers == (
        "TLS_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "0x1234",
        "TLS_RSA_WITH_RC4_128_SHA",
    )
    assert offer.groups == ("x25519", "SecP256r1MLKEM768", "0x4242")
    assert offer.signature_algorithms == (
        "ecdsa_secp256r1_sha256",
        "rsa_pkcs1_sha1",
        "rsa_pkcs1_sha256",
        "dsa_sha1",
        "0x9999",
    )
    assert offer.versions == ("TLSv1.3", "TLSv1")


def test_a_hostile_server_name_can_not_break_a_log_line() -> None:
    name = b"mx\r\nICID 1 TLS success\x1b[0m\xff"
    entry = b"\x00" + len(name).to_bytes(2, "big") + name
    offer = parse(_hello(b"\x13\x01", _extension(0, _vector(entry))))
    assert offer is not None
    assert offer.server_name == "mx??ICID 1 TLS success?[0m?"


def test_a_hello_without_extensions_is_read() -> None:
    offer = parse(_hello(b"\x00\x2f", None))
    assert offer is not None
    assert offer.ciphers == ("TLS_RSA_WITH_AES_128_CBC_SHA",)
    assert offer.versions == ("TLSv1.2",)
    assert offer.groups == ()


def test_an_ssl_2_hello_is_recognised() -> None:
    # RFC 5246 appendix E.2: suites of three bytes; 0x010080 is of SSL 2.0 alone.
    specs = bytes.fromhex("00002f 000005 010080 0000ff")
    body = b"\x01\x03\x01" + len(specs).to_bytes(2, "big") + b"\x00\x00\x00\x10" + specs + b"c" * 16
    data = (0x8000 | len(body)).to_bytes(2, "big") + body
    assert looks_like_tls(data)
    offer = parse(data)
    assert offer is not None
    assert offer.versions == ("TLSv1", "SSLv2")
    assert offer.ciphers == ("TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_RSA_WITH_RC4_128_SHA")


@pytest.mark.parametrize(
    "text", [b"EHLO a\r\n", b"GET / HTTP/1.1", b"", b"\x16", b"\x16\x02\x00", b"\x00" * 9]
)
def test_what_is_no_tls_does_not_look_like_it(text: bytes) -> None:
    assert not looks_like_tls(text)
    assert parse(text) is None


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program to compare names with")
def test_names_of_suites_are_those_of_the_registry() -> None:
    listing = subprocess.run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    compared = 0
    for line in listing.splitlines():
        code, _, name = line.split()[:3]
        number = int(code.replace(",0x", ""), 16)
        if number in clienthello.CIPHER_NAMES:
            assert clienthello.CIPHER_NAMES[number] == name
            compared += 1
    assert compared > 60


@given(st.binary(max_size=2000))
def test_garbage_never_raises(data: bytes) -> None:
    for start in (b"", b"\x16\x03\x01\x00\x80\x01\x00\x00\x7c\x03\x03", b"\x80\x40\x01\x03\x01"):
        parse(start + data)
        looks_like_tls(start + data)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_garbage_in_the_fields_never_raises(suites: bytes, extensions: bytes) -> None:
    parse(_hello(suites, extensions))


@given(st.binary())
def test_printable_text_is_one_line_of_ascii(raw: bytes) -> None:
    assert printable(raw).isascii()
    assert not set(printable(raw)) & set("\r\n\x1b\0")


def test_of_lists_without_end_a_hundred_entries_are_kept() -> None:
    numbers = b"".join((0x2000 + number).to_bytes(2, "big") for number in range(612))
    name = b"\x00" + _vector(b"a" * 3000)
    extensions = _extension(10, _vector(numbers)) + _extension(13, _vector(numbers))
    offer = parse(_hello(numbers, extensions + _extension(0, _vector(name))))
    assert offer is not None
    for names in (offer.ciphers, offer.groups, offer.signature_algorithms):
        assert len(names) == 100
        assert (names[0], names[99]) == ("0x2000", "0x2063")
    assert offer.cipher_count == 612
    assert offer.server_name == "a" * 255
    whole = parse(_hello(numbers[:200], None))
    assert whole is not None
    assert len(whole.ciphers) == 100


def _vector(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + _vector(data)


def _hello(suites: bytes, extensions: bytes | None) -> bytes:
    body = b"\x03\x03" + b"r" * 32 + b"\x00" + _vector(suites) + b"\x01\x00"
    if extensions is not None:
        body += _vector(extensions)
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + _vector(message)
