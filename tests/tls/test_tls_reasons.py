"""Reasons in the mail log, from real handshakes wherever they can be produced."""

from __future__ import annotations

import errno

import pytest
from OpenSSL import SSL

from mxseal.tls.engine import Engine
from mxseal.tls.facts import TlsFault
from mxseal.tls.reasons import (
    STARTTLS_UNAVAILABLE,
    STARTTLS_UNEXPECTED,
    inbound_reason,
    outbound_reason,
    verify_reason,
)
from tests.tls.pairs import Pair, Pki, raw_client

T12, T13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION


def _both(pair: Pair) -> tuple[str, str]:
    server, client = pair.server.fault, pair.client.fault
    return (inbound_reason(server) if server else "", outbound_reason(client) if client else "")


FAILURE = "('SSL routines:ssl3_read_bytes:sslv3 alert handshake failure')"
VERSION = "('SSL routines:ssl3_read_bytes:tlsv1 alert protocol version')"


def test_no_shared_cipher_reads_as_in_the_reference(pki: Pki) -> None:
    pair = Pair(pki.server(), raw_client(highest=T12, ciphers=b"AES128-SHA")).handshake()
    assert _both(pair) == (
        "('SSL routines:tls_early_post_process_client_hello:no shared cipher')",
        FAILURE,
    )


def test_versions_that_do_not_meet(pki: Pki) -> None:
    unsupported = "('SSL routines:tls_early_post_process_client_hello:unsupported protocol')"
    old = raw_client(lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_1_VERSION, ciphers=b"ALL:@SECLEVEL=0")
    assert _both(Pair(pki.server(), old).handshake()) == (unsupported, VERSION)
    pair = Pair(pki.server(max_version="TLSv1.2"), raw_client(lowest=T13)).handshake()
    assert _both(pair) == (unsupported, VERSION)


def test_groups_that_do_not_meet(pki: Pki) -> None:
    client = pki.client(post_quantum=False, groups=("X25519",), min_version="TLSv1.3")
    pair = Pair(pki.server(groups=("P-384",)), client).handshake()
    assert _both(pair) == ("('SSL routines:final_key_share:no suitable key share')", FAILURE)


@pytest.mark.parametrize("highest", [T12, T13])
def test_a_client_that_does_not_trust_us(pki: Pki, highest: int) -> None:
    client = raw_client(highest=highest, verify=True, trust=str(pki.alone.path))
    assert _both(Pair(pki.server(), client).handshake()) == (
        "('SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca')",
        "('SSL routines:tls_process_server_certificate:certificate verify failed')",
    )


def test_a_client_that_finds_our_certificate_expired(pki: Pki) -> None:
    client = raw_client(verify=True, trust=pki.trust)
    inbound, _ = _both(Pair(pki.server(pki.expired), client).handshake())
    assert inbound == "('SSL routines:ssl3_read_bytes:sslv3 alert certificate expired')"


def test_a_server_that_demands_a_certificate(pki: Pki) -> None:
    strict = SSL.Context(SSL.TLS_SERVER_METHOD)
    strict.use_certificate_chain_file(pki.ecdsa.files.chain_path)
    strict.use_privatekey(pki.ecdsa.key)
    strict.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    assert _both(Pair(strict, pki.client()).handshake()) == (
        "('SSL routines:tls_process_client_certificate:peer did not return a certificate')",
        "('SSL routines:ssl3_read_bytes:tlsv13 alert certificate required')",
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"EHLO a.test\r\n", "('SSL routines:ssl3_get_record:wrong version number')"),
        (b"GET / HTTP/1.0\r\n\r\n", "('SSL routines:ssl3_get_record:http request')"),
        (b"CONNECT a:25 HTTP/1.0\r\n\r\n", "('SSL routines:ssl3_get_record:https proxy request')"),
        (
            b"\x17\x03\x03\x00\x10" + b"a" * 16,
            "('SSL routines:ossl_statem_server_read_transition:unexpected message')",
        ),
        (b"\x16\x03\x01\xff\xff" + b"a" * 9, "('SSL routines:ssl3_get_record:data length too long')"),
    ],
)
def test_what_is_no_handshake(pki: Pki, sent: bytes, expected: str) -> None:
    engine = Engine(pki.server(), server_side=True)
    engine.receive(sent)
    assert engine.fault is not None
    assert inbound_reason(engine.fault) == expected


def test_clear_text_from_a_server(pki: Pki) -> None:
    engine = Engine(pki.client(), server_side=False)
    engine.start()
    engine.receive(b"454 TLS not available\r\n")
    assert engine.fault is not None
    assert outbound_reason(engine.fault) == "('SSL routines:ssl3_get_record:wrong version number')"


def test_an_alert_that_no_standard_knows(pki: Pki) -> None:
    engine = Engine(pki.client(), server_side=False)
    engine.start()
    engine.receive(bytes((21, 3, 3, 0, 2, 2, 201)))
    assert engine.fault is not None
    assert outbound_reason(engine.fault) == "('SSL routines:ssl3_read_bytes:unknown alert type')"


def test_a_damaged_record(pki: Pki) -> None:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.client.write(b"x")
    record = bytearray(pair.client.output())
    record[-1] ^= 1
    pair.server.receive(bytes(record))
    pair.client.receive(pair.server.output())
    assert _both(pair) == (
        "('SSL routines:ssl3_get_record:decryption failed or bad record mac')",
        "('SSL routines:ssl3_read_bytes:sslv3 alert bad record mac')",
    )


@pytest.mark.parametrize(
    ("kind", "number", "expected"),
    [
        ("peer-gone", 0, "[Errno 0] Error"),
        ("reset", errno.ECONNRESET, "[Errno 54] Connection reset by peer"),
        ("reset", 0, "[Errno 54] Connection reset by peer"),
        ("reset", errno.EPIPE, "[Errno 32] Broken pipe"),
        ("timeout", 0, "[Errno 60] Operation timed out"),
        ("timeout", errno.ETIMEDOUT, "[Errno 60] Operation timed out"),
    ],
)
def test_socket_failures_carry_the_numbers_of_the_reference(kind: str, number: int, expected: str) -> None:
    fault = TlsFault(kind=kind, errno=number)  # type: ignore[arg-type]
    assert inbound_reason(fault) == outbound_reason(fault) == expected


def test_an_unknown_reason_has_an_empty_function() -> None:
    fault = TlsFault(kind="local-error", library="SSL routines", reason="something new")
    assert inbound_reason(fault) == "('SSL routines::something new')"


@pytest.mark.parametrize("prefix", ["tls alert", "ssl/tls alert", "sslv3 alert"])
def test_alerts_read_alike_whatever_openssl_calls_them(prefix: str) -> None:
    fault = TlsFault(kind="alert-received", library="SSL routines", reason=f"{prefix} handshake failure")
    assert outbound_reason(fault) == FAILURE


def test_fixed_texts() -> None:
    assert STARTTLS_UNAVAILABLE == "TLS required, STARTTLS unavailable, destination is TLS disabled"
    assert STARTTLS_UNEXPECTED == "STARTTLS unexpected response"
    assert verify_reason("self-signed certificate") == "verify error: self signed certificate"


def test_a_client_that_is_turned_away_for_its_certificate_reads_like_a_delivery_that_fails() -> None:
    def told(error: str) -> str:
        return inbound_reason(
            TlsFault(kind="local-error", reason="certificate verify failed", verify_error=error)
        )

    assert told("certificate has expired") == "verify error: certificate has expired"
    assert told("self-signed certificate") == "verify error: self signed certificate"
    assert told("no certificate from client") == "verify error: no certificate from client"
