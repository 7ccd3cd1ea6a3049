"""Why a client's certificate is refused: read as a client's, and told about the client."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued
from mxseal.clock import SystemClock
from mxseal.relay.clients import NO_CERTIFICATE, explain
from mxseal.tls.diagnosis import OurSettings
from mxseal.tls.facts import StageTimes, TlsFault


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def _refused(issued: Issued, error: str) -> TlsFault:
    sent = tuple(certificate.public_bytes(Encoding.DER) for certificate in issued.chain)
    return TlsFault(
        kind="local-error", reason="certificate verify failed", verify_error=error, peer_certificates=sent
    )


def test_a_certificate_for_servers_alone_is_told_as_that(authority: Authority) -> None:
    issued = authority.issue("out.partner.test", usages=("server",))
    diagnosis = explain(
        _refused(issued, "unsuitable certificate purpose"), OurSettings(), SystemClock().now()
    )
    assert diagnosis.cause == "wrong-usage"
    assert diagnosis.summary == (
        "The certificate of the client is not meant for this use (server authentication)."
    )


def test_one_for_clients_is_not_blamed_for_its_usage(authority: Authority) -> None:
    issued = authority.issue("out.partner.test", usages=("client",))
    error = "unable to get local issuer certificate"
    diagnosis = explain(_refused(issued, error), OurSettings(), SystemClock().now())
    assert diagnosis.cause == "intermediate-missing"
    assert "not meant for" not in diagnosis.sentence()


def test_a_client_without_a_certificate_is_told_to_need_one() -> None:
    fault = TlsFault(
        kind="local-error", reason="peer did not return a certificate", verify_error=NO_CERTIFICATE
    )
    assert explain(fault, OurSettings(), SystemClock().now()).cause == "no-client-certificate"


def test_how_long_the_handshake_took_is_told_with_or_without_a_certificate(authority: Authority) -> None:
    refused = _refused(authority.issue("out.partner.test"), "certificate has expired")
    for fault in (refused, TlsFault(kind="peer-gone")):
        told = explain(fault, OurSettings(), SystemClock().now(), StageTimes(handshake=1.25)).sentence()
        assert "Seconds for each stage: handshake 1.25." in told
        assert "Seconds" not in explain(fault, OurSettings(), SystemClock().now()).sentence()
