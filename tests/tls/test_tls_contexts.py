"""Contexts: certificates side by side, SNI, versions, groups, client certificates, problems in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from mxseal.tls import tickets
from mxseal.tls.contexts import CertificateFiles, ContextProblem, ServerTls, SniCertificates, server_context
from tests.tls.pairs import Issued, Pair, Pki, raw_client

T12 = SSL.TLS1_2_VERSION


@pytest.mark.parametrize(
    ("ciphers", "which", "authority"),
    [
        (b"ECDHE-ECDSA-AES128-GCM-SHA256", "ecdsa", "ec_ca"),
        (b"ECDHE-RSA-AES128-GCM-SHA256", "rsa", "rsa_ca"),
    ],
)
def test_rsa_and_ecdsa_are_served_side_by_side_each_with_its_own_chain(
    pki: Pki, ciphers: bytes, which: str, authority: str
) -> None:
    client = raw_client(highest=T12, ciphers=ciphers, trust=pki.trust)
    facts = Pair(pki.server(pki.rsa, pki.ecdsa), client).handshake().client.facts()
    assert facts.peer_certificates == (getattr(pki, which).der, getattr(pki, authority).der)
    assert facts.verified


def test_nothing_is_added_to_the_chain_that_was_given(pki: Pki) -> None:
    leaf = _leaf_only(pki)
    server = pki.server(leaf, verifies_clients=True, trust=pki.trust)
    facts = Pair(server, pki.client()).handshake().client.facts()
    assert facts.peer_certificates == (leaf.der,)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("other.test", "other"),
        ("OTHER.test", "other"),
        ("a.wild.test", "alone"),
        ("a.b.wild.test", "ecdsa"),
        ("wild.test", "ecdsa"),
        ("unknown.test", "ecdsa"),
        ("exact.wild.test", "other"),
        (None, "ecdsa"),
    ],
)
def test_sni_chooses_the_certificate_and_unknown_names_get_the_default(
    pki: Pki, asked: str | None, expected: str
) -> None:
    server = pki.server(
        pki.ecdsa,
        sni=(
            SniCertificates(names=("Other.test", "exact.wild.test"), certificates=(pki.other.files,)),
            SniCertificates(names=("*.wild.test",), certificates=(pki.alone.files,)),
        ),
    )
    pair = Pair(server, pki.client(), name=asked).handshake()
    assert pair.client.facts().peer_certificates[0] == getattr(pki, expected).der
    assert pair.server.facts().server_name == asked


def test_each_context_laid_in_is_given_out_once_and_then_there_are_new_ones() -> None:
    tickets.lay_in()
    given = [tickets.context_for("IncomingMail") for _ in range(40)]
    assert len(set(map(id, given))) == 40


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_resume_below_a_name_chosen_by_sni(pki: Pki, version: str) -> None:
    server = pki.server(
        pki.ecdsa, sni=(SniCertificates(names=("other.test",), certificates=(pki.other.files,)),)
    )
    client = pki.client(max_version=version)
    first = Pair(server, client, name="other.test").handshake()
    session = first.client.session()
    first.client.close()
    second = Pair(server, client, name="other.test", session=session).handshake()
    assert second.server.facts().resumed
    assert second.client.facts().peer_certificates[0] == pki.other.der


@pytest.mark.parametrize(
    ("offered", "group"),
    [
        ({}, "X25519MLKEM768"),
        ({"post_quantum": False}, "x25519"),
        ({"post_quantum": False, "groups": ("P-256",)}, "secp256r1"),
        ({"post_quantum": False, "groups": ("P-384", "P-256")}, "secp384r1"),
    ],
)
def test_the_group_is_negotiated_and_told_by_its_iana_name(
    pki: Pki, offered: dict[str, object], group: str
) -> None:
    pair = Pair(pki.server(), pki.client(**offered)).handshake()
    assert pair.client.facts().group == pair.server.facts().group == group


def test_a_server_without_post_quantum_groups_needs_no_second_round(pki: Pki) -> None:
    pair = Pair(pki.server(groups=("X25519", "P-256")), pki.client())
    pair.client.start()
    pair.server.receive(pair.client.output())
    pair.client.receive(pair.server.output())
    assert pair.client.established
    assert pair.client.facts().group == "x25519"


def test_the_server_prefers_its_own_order_of_ciphers(pki: Pki) -> None:
    client = raw_client(
        highest=T12, ciphers=b"ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-GCM-SHA384", trust=pki.trust
    )
    facts = Pair(pki.server(pki.rsa), client).handshake().server.facts()
    assert facts.cipher == "ECDHE-RSA-AES256-GCM-SHA384"


def test_tls_below_1_2_is_refused_unless_allowed(pki: Pki) -> None:
    old = raw_client(
        lowest=SSL.TLS1_VERSION, highest=SSL.TLS1_VERSION, ciphers=b"ALL:@SECLEVEL=0", trust=pki.trust
    )
    refused = Pair(pki.server(), old).handshake()
    assert refused.server.fault is not None
    assert refused.server.fault.reason == "unsupported protocol"
    allowed = Pair(pki.server(min_version="TLSv1"), old).handshake()
    assert allowed.server.facts().protocol == "TLSv1"


def test_versions_can_be_bounded_above(pki: Pki) -> None:
    assert (
        Pair(pki.server(max_version="TLSv1.2"), pki.client()).handshake().client.facts().protocol == "TLSv1.2"
    )


def test_key_exchange_without_forward_secrecy_is_not_served_by_default(pki: Pki) -> None:
    client = raw_client(highest=T12, ciphers=b"AES256-GCM-SHA384")
    assert Pair(pki.server(), client).handshake().server.fault is not None
    served = Pair(pki.server(ciphers="ECDHE+AESGCM:AES256-GCM-SHA384"), client).handshake()
    assert served.server.facts().cipher == "AES256-GCM-SHA384"
    assert served.server.facts().group is None


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("which", "error"),
    [
        ("ecdsa", None),
        ("rsa", None),
        ("expired", "certificate has expired"),
        ("alone", "self-signed certificate"),
    ],
)
def test_a_client_certificate_is_asked_for_and_judged_later(
    pki: Pki, version: str, which: str, error: str | None
) -> None:
    shown: Issued = getattr(pki, which)
    server = pki.server(verifies_clients=True, trust=pki.trust)
    client = pki.client(certificate=shown.files, max_version=version)
    facts = Pair(server, client, ask=True).handshake().server.facts()
    assert facts.peer_certificates[0] == shown.der
    assert len(facts.peer_certificates) == (1 if which == "alone" else 2)
    assert facts.verify_error == error
    assert facts.verified is (error is None)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_verdicts_on_client_certificates_are_never_resumed(pki: Pki, version: str) -> None:
    server = pki.server(verifies_clients=True, trust=pki.trust)
    client = pki.client(certificate=pki.alone.files, max_version=version)
    first = Pair(server, client, ask=True).handshake()
    session = first.client.session()
    first.client.close()
    facts = Pair(server, client, session=session, ask=True).handshake().server.facts()
    assert not facts.resumed
    assert facts.verify_error == "self-signed certificate"


def test_a_client_without_certificate_is_let_in_unverified(pki: Pki) -> None:
    server = pki.server(verifies_clients=True, trust=pki.trust)
    facts = Pair(server, pki.client(), ask=True).handshake().server.facts()
    assert facts.peer_certificates == ()
    assert not facts.verified
    assert facts.verify_error is None


def test_the_system_list_of_authorities_is_the_default(pki: Pki) -> None:
    facts = Pair(pki.server(pki.ecdsa), pki.client(trust=None)).handshake().client.facts()
    assert facts.verify_error == "unable to get local issuer certificate"


def test_a_key_that_does_not_fit_is_a_sentence(pki: Pki) -> None:
    for key in (ec.generate_private_key(ec.SECP256R1()), pki.rsa.key):
        files = CertificateFiles(chain_path=pki.ecdsa.files.chain_path, key=key)
        with pytest.raises(ContextProblem, match=r"^The private key does not fit the certificate: .+\.$"):
            server_context(ServerTls(certificates=(files,)))


def test_every_other_mistake_is_a_sentence_too(pki: Pki, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate\n")
    with pytest.raises(ContextProblem, match="needs a certificate"):
        server_context(ServerTls(certificates=()))
    with pytest.raises(ContextProblem, match="can't be used"):
        server_context(
            ServerTls(certificates=(CertificateFiles(chain_path=str(nothing), key=pki.ecdsa.key),))
        )
    with pytest.raises(ContextProblem, match="'NONSENSE' names no cipher"):
        pki.server(ciphers="NONSENSE")
    with pytest.raises(ContextProblem, match="unknown name"):
        pki.server(groups=("X25519", "P-1"))
    with pytest.raises(ContextProblem, match="trusted authorities"):
        pki.client(trust=str(nothing))


def _leaf_only(pki: Pki) -> Issued:
    return pki.issue("leaf.test", ec.generate_private_key(ec.SECP256R1()), by=pki.root)
