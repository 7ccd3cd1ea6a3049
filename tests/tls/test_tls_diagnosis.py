"""Diagnoses: causes from real handshakes that fail, wherever one can be made to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib

from mxseal.tls.causes import CAUSES
from mxseal.tls.diagnosis import (
    OurSettings,
    diagnose_inbound,
    diagnose_outbound,
    diagnose_unavailable,
)
from mxseal.tls.engine import Engine
from mxseal.tls.facts import ClientOffer, Diagnosis, TlsFault
from tests.tls.pairs import Pair, Pki, client_hello, raw_client

T12, T13 = SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION
RSA_ONLY = OurSettings(key_types=("RSA",), certificate="Main")
EC_ONLY = OurSettings(key_types=("ECDSA",), certificate="Main")
BOTH = OurSettings(key_types=("RSA", "ECDSA"), certificate="Main")


def _inbound(server: SSL.Context, client: SSL.Context, ours: OurSettings = BOTH) -> Diagnosis:
    fault = Pair(server, client).handshake().server.fault
    assert fault is not None
    return diagnose_inbound(fault, ours)


def _outbound(server: SSL.Context, client: SSL.Context) -> Diagnosis:
    fault = Pair(server, client).handshake().client.fault
    assert fault is not None
    return diagnose_outbound(fault, host="mx.test", ours=BOTH)


def _heard(context: SSL.Context, *received: bytes, then: str = "", server: bool = True) -> TlsFault:
    engine = Engine(context, server_side=server)
    engine.start()
    for data in received:
        engine.receive(data)
    if then == "eof":
        engine.eof()
    elif then:
        engine.broken(then)  # type: ignore[arg-type]
    assert engine.fault is not None
    return engine.fault


def _sigalgs(context: SSL.Context, names: bytes) -> SSL.Context:
    assert lib.SSL_CTX_set1_sigalgs_list(context._context, names) == 1
    return context


INBOUND: dict[str, Callable[[Pki], Diagnosis]] = {
    "client-too-old": lambda pki: _inbound(
        pki.server(),
        raw_client(lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_1_VERSION, ciphers=b"ALL:@SECLEVEL=0"),
    ),
    "no-common-version": lambda pki: _inbound(
        pki.server(min_version="TLSv1.3"), raw_client(highest=T12), OurSettings(versions=("TLSv1.3",))
    ),
    "only-rsa-key-exchange": lambda pki: _inbound(
        pki.server(), raw_client(highest=T12, ciphers=b"AES128-SHA:AES256-GCM-SHA384")
    ),
    "only-dhe": lambda pki: _inbound(pki.server(), raw_client(highest=T12, ciphers=b"DHE+AESGCM")),
    "only-broken-ciphers": lambda pki: _inbound(
        pki.server(), raw_client(highest=T12, ciphers=b"aNULL:NULL-SHA256:@SECLEVEL=0")
    ),
    "only-ecdsa": lambda pki: _inbound(
        pki.server(pki.rsa), raw_client(highest=T12, ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256"), RSA_ONLY
    ),
    "only-rsa-certificates": lambda pki: _inbound(
        pki.server(pki.ecdsa), raw_client(highest=T12, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256"), EC_ONLY
    ),
    "no-shared-cipher": lambda pki: _inbound(
        pki.server(ciphers="ECDHE+AESGCM"), raw_client(highest=T12, ciphers=b"ECDHE-RSA-AES128-SHA")
    ),
    "no-common-group": lambda pki: _inbound(
        pki.server(groups=("P-384",)), pki.client(post_quantum=False, groups=("X25519",))
    ),
    "no-common-signature": lambda pki: _inbound(
        pki.server(pki.rsa), _sigalgs(raw_client(), b"ECDSA+SHA256"), RSA_ONLY
    ),
    "our-certificate-untrusted": lambda pki: _inbound(
        pki.server(), raw_client(verify=True, trust=str(pki.alone.path))
    ),
    "demonstration-certificate": lambda pki: _inbound(
        pki.server(pki.alone), raw_client(verify=True, trust=pki.trust), OurSettings(demonstration=True)
    ),
    "our-certificate-expired": lambda pki: _inbound(
        pki.server(pki.expired), raw_client(verify=True, trust=pki.trust)
    ),
    "peer-gone": lambda pki: diagnose_inbound(
        _heard(pki.server(), client_hello(pki.client()), then="eof"), BOTH
    ),
    "peer-gone-silent": lambda pki: diagnose_inbound(_heard(pki.server(), then="eof"), BOTH),
    "reset": lambda pki: diagnose_inbound(_heard(pki.server(), then="reset"), BOTH),
    "timeout": lambda pki: diagnose_inbound(
        _heard(pki.server(), client_hello(pki.client()), then="timeout"), BOTH
    ),
    "timeout-silent": lambda pki: diagnose_inbound(_heard(pki.server(), then="timeout"), BOTH),
    "timeout-in-hello": lambda pki: diagnose_inbound(
        _heard(pki.server(), client_hello(pki.client())[:500], then="timeout"), BOTH
    ),
    "peer-gone-in-hello": lambda pki: diagnose_inbound(
        _heard(pki.server(), client_hello(pki.client())[:500], then="eof"), BOTH
    ),
    "our-certificate-self-signed": lambda pki: _inbound(
        pki.server(pki.alone), raw_client(verify=True, trust=pki.trust), _with_faults("self-signed")
    ),
    "our-chain-incomplete": lambda pki: _inbound(
        pki.server(pki.short), raw_client(verify=True, trust=pki.trust), _with_faults("missing-intermediate")
    ),
    "our-chain-disordered": lambda pki: _inbound(
        pki.server(pki.short), raw_client(verify=True, trust=pki.trust), _with_faults("unrelated")
    ),
    "clear-text": lambda pki: diagnose_inbound(_heard(pki.server(), b"EHLO a.test\r\n"), BOTH),
    "http-request": lambda pki: diagnose_inbound(_heard(pki.server(), b"GET / HTTP/1.1\r\n\r\n"), BOTH),
    "sslv2-hello": lambda pki: diagnose_inbound(
        _heard(pki.server(), bytes.fromhex("801c 01 0301 0003 0000 0010 000005") + b"c" * 16), BOTH
    ),
    "malformed-message": lambda pki: diagnose_inbound(
        _heard(pki.server(), b"\x16\x03\x01\x00\x10" + b"\x00" * 16), BOTH
    ),
    "no-client-certificate": lambda pki: _inbound(_strict(pki), pki.client()),
    "peer-certificate-rejected": lambda pki: _inbound(_strict(pki), pki.client(certificate=pki.alone.files)),
}


def _with_faults(*codes: str) -> OurSettings:
    """As the check of our own certificate finds them."""
    return OurSettings(certificate="Main", chain_faults=codes)


def _strict(pki: Pki) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate_chain_file(pki.ecdsa.files.chain_path)
    context.use_privatekey(pki.ecdsa.key)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def _damaged(pki: Pki) -> Diagnosis:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.client.write(b"x")
    record = bytearray(pair.client.output())
    record[-1] ^= 1
    pair.server.receive(bytes(record))
    assert pair.server.fault is not None
    return diagnose_inbound(pair.server.fault, BOTH)


INBOUND["damaged-record"] = _damaged


@pytest.mark.parametrize("cause", INBOUND)
def test_an_inbound_failure_has_its_cause(pki: Pki, cause: str) -> None:
    diagnosis = INBOUND[cause](pki)
    assert diagnosis.cause == cause
    assert diagnosis.side == CAUSES[cause].side
    _is_readable(diagnosis)


def _closed_later(pki: Pki) -> Diagnosis:
    pair = Pair(pki.server(), pki.client()).handshake()
    pair.client.broken("peer-gone")
    assert pair.client.fault is not None
    return diagnose_outbound(pair.client.fault, host="mx.test", ours=BOTH)


def _answered(pki: Pki, alert: int) -> Diagnosis:
    fault = _heard(pki.client(), bytes((21, 3, 3, 0, 2, 2, alert)), server=False)
    return diagnose_outbound(fault, host="mx.test", ours=BOTH)


OUTBOUND: dict[str, Callable[[Pki], Diagnosis]] = {
    "handshake-failure": lambda pki: _outbound(
        pki.server(ciphers="ECDHE+AESGCM", max_version="TLSv1.2"), raw_client(ciphers=b"AES128-SHA")
    ),
    "version-refused": lambda pki: _outbound(
        pki.server(min_version="TLSv1", max_version="TLSv1.1"), pki.client()
    ),
    "client-certificate-required": lambda pki: _outbound(_strict(pki), pki.client()),
    "our-certificate-untrusted": lambda pki: _outbound(_strict(pki), pki.client(certificate=pki.ecdsa.files)),
    "peer-certificate-rejected": lambda pki: _outbound(
        pki.server(), raw_client(verify=True, trust=str(pki.alone.path))
    ),
    "clear-text-answer": lambda pki: diagnose_outbound(
        _heard(pki.client(), b"454 TLS not available\r\n", server=False), host="mx.test"
    ),
    "server-gone-silent": lambda pki: diagnose_outbound(
        _heard(pki.client(), then="eof", server=False), host="mx.test"
    ),
    "peer-closed": lambda pki: diagnose_outbound(
        _heard(pki.client(), bytes((21, 3, 3, 0, 2, 1, 0)), server=False), host="mx.test"
    ),
    "timeout-silent": lambda pki: diagnose_outbound(
        _heard(pki.client(), then="timeout", server=False), host="mx.test"
    ),
    "insufficient-security": lambda pki: _answered(pki, 71),
    "name-refused": lambda pki: _answered(pki, 112),
    "peer-internal-error": lambda pki: _answered(pki, 80),
    "peer-cannot-read-us": lambda pki: _answered(pki, 50),
    "peer-cannot-decrypt": lambda pki: _answered(pki, 51),
    "our-certificate-revoked": lambda pki: _answered(pki, 44),
    "our-certificate-rejected": lambda pki: _answered(pki, 42),
    "our-certificate-unsupported": lambda pki: _answered(pki, 43),
    "inappropriate-fallback": lambda pki: _answered(pki, 86),
    "cancelled": lambda pki: _answered(pki, 90),
    "alert": lambda pki: _answered(pki, 120),
}


OUTBOUND["peer-closed-later"] = _closed_later


@pytest.mark.parametrize("cause", OUTBOUND)
def test_an_outbound_failure_has_its_cause(pki: Pki, cause: str) -> None:
    diagnosis = OUTBOUND[cause](pki)
    assert diagnosis.cause == cause
    assert "mx.test" in diagnosis.summary
    _is_readable(diagnosis)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("dh key too small", "weak-key-exchange"),
        ("unsafe legacy renegotiation disabled", "legacy-renegotiation"),
        ("unsupported protocol", "server-too-old"),
        ("bad signature", "bad-signature"),
        ("no protocols available", "our-settings"),
        ("internal error", "our-internal-error"),
        ("length mismatch", "malformed-message"),
        ("something nobody has seen", "unexplained"),
        ("", "unexplained"),
    ],
)
def test_what_openssl_says_of_a_server_has_its_cause(reason: str, cause: str) -> None:
    fault = TlsFault(kind="local-error", library="SSL routines", reason=reason)
    diagnosis = diagnose_outbound(fault, host="mx.test", ours=BOTH)
    assert diagnosis.cause == cause
    _is_readable(diagnosis)


def test_evidence_tells_what_the_client_offered(pki: Pki) -> None:
    evidence = INBOUND["only-rsa-key-exchange"](pki).evidence
    assert evidence.startswith(
        "This gateway ended the handshake with the alert “handshake failure”. "
        "The client offered TLSv1.2 with 2 cipher suites "
        "(TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_GCM_SHA384). "
    )
    assert "It asked for the name mx.test." in evidence


def test_evidence_tells_what_came_instead_of_tls(pki: Pki) -> None:
    assert INBOUND["clear-text"](pki).evidence.startswith("It sent: EHLO a.test")
    assert OUTBOUND["clear-text-answer"](pki).evidence.startswith("It sent: 454 TLS not available")


def test_evidence_tells_whose_certificate_a_server_showed(pki: Pki) -> None:
    evidence = OUTBOUND["peer-certificate-rejected"](pki).evidence
    assert "It showed a certificate for CN=mx.test, issued by CN=" in evidence


def test_a_certificate_that_can_not_be_read_is_said_to_be_so() -> None:
    fault = TlsFault(kind="local-error", reason="bad signature", peer_certificates=(b"nonsense",))
    assert diagnose_outbound(fault).evidence == "It showed a certificate that can't be read."


def test_the_certificate_is_named_where_it_is_ours_to_change(pki: Pki) -> None:
    assert "the certificate Main" in INBOUND["our-certificate-untrusted"](pki).summary
    assert INBOUND["our-certificate-untrusted"](pki).side == "ours"


def test_signatures_alone_can_explain_no_shared_cipher_in_tls_1_2() -> None:
    offer = ClientOffer(
        versions=("TLSv1.2",),
        ciphers=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
        signature_algorithms=("rsa_pkcs1_sha1", "ecdsa_sha1"),
    )
    fault = TlsFault(kind="local-error", reason="no shared cipher", offer=offer)
    assert diagnose_inbound(fault, RSA_ONLY).cause == "no-common-signature"


def test_groups_alone_can_explain_no_shared_cipher_in_tls_1_2(pki: Pki) -> None:
    client = pki.client(post_quantum=False, groups=("P-521",), max_version="TLSv1.2")
    assert _inbound(pki.server(pki.rsa), client, RSA_ONLY).cause == "no-common-group"


@pytest.mark.parametrize("condition", ["no-esmtp", "no-starttls", "starttls-refused"])
def test_the_three_conditions_without_tls_are_told_apart(condition: Any) -> None:
    diagnosis = diagnose_unavailable(condition, "mx.example.com", reply="554 5.7.0 no\r\nTLS")
    assert diagnosis.cause == condition
    assert "mx.example.com" in diagnosis.summary
    assert diagnosis.evidence == "It answered: 554 5.7.0 no  TLS."
    assert diagnose_unavailable(condition, "").evidence == ""
    _is_readable(diagnosis)


def test_an_offer_without_anything_known_is_still_a_sentence() -> None:
    fault = TlsFault(kind="local-error", reason="no shared cipher", offer=ClientOffer(versions=("TLSv1.2",)))
    diagnosis = diagnose_inbound(fault, BOTH)
    assert diagnosis.cause == "no-shared-cipher"
    assert "The client offered TLSv1.2 and no cipher suite. It asked for no name." in diagnosis.evidence


def _is_readable(diagnosis: Diagnosis) -> None:
    sentence = diagnosis.sentence()
    assert "{" not in sentence
    assert sentence.isprintable()
    assert diagnosis.summary[0].isupper()
    assert diagnosis.remedy
