"""What the explanation of a failed handshake knows about this gateway's own offer."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509

from mxseal.certs.ours import delivery_offer, listener_offer
from mxseal.config.model import Certificate, Delivery, Document, Listener, Ssl, TlsSettings
from mxseal.tls.diagnosis import OurSettings, diagnose_inbound
from mxseal.tls.facts import TlsFault
from tests.certs.authority import NOW, cert_pem, ec_key, issue, path3, rsa_key
from tests.config.documents import document

THREE = path3()
UNKNOWN = TlsFault(kind="alert-received", reason="tls alert unknown ca", alert="unknown ca")


def _document(
    *intermediates: x509.Certificate, leaf: x509.Certificate | None = None, **more: Any
) -> Document:
    profile = Certificate(
        name="Main",
        certificate=cert_pem(leaf or THREE.leaf.certificate).decode(),
        intermediates=tuple(cert_pem(each).decode() for each in intermediates),
        send_exact_path=more.pop("send_exact_path", True),
    )
    second = Certificate(
        name="Second", certificate=cert_pem(issue("b.test", rsa_key("b"), None).certificate).decode()
    )
    return document(certificates=(profile, second), **more)


def _listener(**more: Any) -> Listener:
    return Listener(name="IncomingMail", address="192.0.2.1", certificate="Main", **more)


def _offer(found: Document, **more: Any) -> OurSettings:
    return listener_offer(found, _listener(**more), NOW)


def test_key_types_are_those_of_all_certificates_of_the_listener() -> None:
    whole = _document(*THREE.path)
    assert _offer(whole).key_types == ("ECDSA",)
    assert _offer(whole, second_certificate="Second").key_types == ("ECDSA", "RSA")


def test_versions_are_those_that_are_set_for_the_direction() -> None:
    modern = _document(ssl=Ssl(inbound=TlsSettings(profile="modern"), outbound=TlsSettings(profile="old")))
    assert _offer(modern).versions == ("TLSv1.3",)
    assert delivery_offer(modern, NOW).versions == ("TLSv1.3", "TLSv1.2", "TLSv1.1", "TLSv1")


@pytest.mark.parametrize(
    ("intermediates", "exact", "cause"),
    [
        (THREE.path, True, "our-certificate-untrusted"),
        ((), True, "our-chain-incomplete"),
        (THREE.path[::-1], True, "our-certificate-untrusted"),
        (THREE.path[::-1], False, "our-chain-disordered"),
    ],
    ids=["whole", "missing", "repaired on the wire", "sent as stored"],
)
def test_where_a_peer_does_not_trust_our_chain_its_own_fault_is_the_cause(
    intermediates: tuple[x509.Certificate, ...], exact: bool, cause: str
) -> None:
    offer = _offer(_document(*intermediates, send_exact_path=exact))
    assert diagnose_inbound(UNKNOWN, offer).cause == cause


def test_a_certificate_that_vouches_for_itself_is_the_cause_where_it_is_not_trusted() -> None:
    alone = issue("a.test", ec_key("alone"), None).certificate
    assert diagnose_inbound(UNKNOWN, _offer(_document(leaf=alone))).cause == "our-certificate-self-signed"


def test_a_profile_that_is_not_there_or_can_not_be_read_is_no_reason_to_fail() -> None:
    assert _offer(document()).key_types == ()
    assert delivery_offer(document(delivery=Delivery(certificate=None)), NOW).certificate == ""


def test_deliveries_name_the_certificate_that_they_show() -> None:
    found = _document(*THREE.path, delivery=Delivery(certificate="Main"))
    offer = delivery_offer(found, NOW)
    assert (offer.certificate, offer.key_types, offer.demonstration) == ("Main", ("ECDSA",), False)
