"""Certificates that could be forged are believed nowhere, whatever the TLS versions in use allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mxseal.tls import strength
from mxseal.tls.contexts import CertificateFiles, ClientTls, ServerTls, client_context, server_context
from mxseal.tls.facts import TlsFacts
from tests.chains.estate import Estate, Sent
from tests.chains.making import AUTHORITY, Made, Wish, damaged, like, made, new_key, pem
from tests.chains.verdicts import Files
from tests.chains.verdicts import server_context as showing
from tests.tls.pairs import Pair, raw_client

FORGEABLE = "CA signature digest algorithm too weak"


@pytest.fixture(scope="module")
def estate() -> Estate:
    return Estate()


@pytest.fixture
def trust(estate: Estate, tmp_path: Path) -> str:
    path = tmp_path / "roots.pem"
    path.write_bytes(b"".join(pem(each.der) for each in estate.trusted))
    return str(path)


def weak(estate: Estate) -> Sent:
    return estate.leaf(estate.rsa_middle, digest="md5"), estate.rsa_middle


def read(made_: Made) -> x509.Certificate:
    return x509.load_der_x509_certificate(made_.der)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_a_resumed_session_does_not_forget_that_the_certificate_was_weak(
    version: str, estate: Estate, trust: str, tmp_path: Path
) -> None:
    server = showing(Files.write(tmp_path / "weak", weak(estate)))
    client = client_context(ClientTls(trust=trust, min_version="TLSv1", max_version=version))  # type: ignore[arg-type]
    first = Pair(server, client).handshake()
    assert first.client.facts().verify_error == FORGEABLE
    session = first.client.session()
    first.client.close()
    facts = Pair(server, client, session=session).handshake().client.facts()
    assert facts.resumed
    assert not facts.verified


def test_openssls_own_reason_comes_first_also_where_tls_1_0_is_allowed(
    estate: Estate, trust: str, tmp_path: Path
) -> None:
    stranger = estate.authority(common="Stranger")
    server = showing(Files.write(tmp_path / "unknown", (estate.leaf(stranger), stranger)))
    client = client_context(ClientTls(trust=trust, min_version="TLSv1"))
    facts = Pair(server, client).handshake().client.facts()
    assert facts.verify_error == "self-signed certificate in certificate chain"


def _client_seen(chain: Sent, trust: str, folder: Path) -> TlsFacts:
    """What a listener that also speaks TLS 1.0 finds about a client that shows this chain."""
    shown, own = Files.write(folder / "client", chain), made(Wish())
    (folder / "listener.pem").write_bytes(pem(own.der))
    files = CertificateFiles(chain_path=str(folder / "listener.pem"), key=own.key)
    server = server_context(
        ServerTls(certificates=(files,), verifies_clients=True, trust=trust, min_version="TLSv1")
    )
    client = raw_client(ciphers=b"ALL:@SECLEVEL=0")
    client.use_certificate_chain_file(shown.path("chain"))
    client.use_privatekey_file(shown.path("key"))
    return Pair(server, client, ask=True).handshake().server.facts()


def test_a_client_with_a_weak_certificate_is_not_verified_either(
    estate: Estate, trust: str, tmp_path: Path
) -> None:
    assert _client_seen(weak(estate), trust, tmp_path).verify_error == FORGEABLE


def test_a_client_with_a_sound_certificate_is_verified_where_tls_1_0_is_allowed(
    estate: Estate, trust: str, tmp_path: Path
) -> None:
    assert _client_seen(estate.plain(), trust, tmp_path).verified


def test_the_signature_of_an_anchor_is_not_looked_at_and_its_key_is() -> None:
    old = made(like(AUTHORITY, digest="sha1"), key=new_key("rsa2048"))
    assert strength.weakest([read(old)]) == 0
    assert strength.weakest([read(made(Wish(), old)), read(old)]) == 0
    assert strength.weakest([read(made(like(Wish(), digest="sha1"), old)), read(old)]) == strength.SIGNATURE
    small = made(AUTHORITY, key=new_key("rsa1024"))
    assert strength.weakest([read(made(Wish(), small)), read(small)]) == strength.AUTHORITY_KEY
    assert strength.weakest([read(small)]) == strength.SERVER_KEY


def test_keys_of_a_curve_below_224_bits_are_weak() -> None:
    assert strength.weak_key(read(made(Wish(), key=ec.generate_private_key(ec.SECP192R1()))))
    assert not strength.weak_key(read(made(Wish(), key=ec.generate_private_key(ec.SECP224R1()))))


@pytest.mark.parametrize(
    ("key", "digest"),
    [("rsa2048", "sha256"), ("rsa2048", "sha1"), ("rsa2048", "md5"), ("ec256", "sha256"), ("ec256", "sha1")],
)
def test_a_certificate_is_issued_by_whoever_signed_it_with_whatever_digest(key: str, digest: str) -> None:
    root = made(AUTHORITY, key=new_key(key))
    leaf = made(like(Wish(), digest=digest), root)
    assert strength.issued(read(root), read(leaf))
    assert not strength.issued(read(root), read(damaged(leaf)))
    assert not strength.issued(read(made(AUTHORITY, key=new_key(key))), read(leaf))


def test_one_that_another_key_signed_for_its_own_name_is_no_root(
    estate: Estate, trust: str, tmp_path: Path
) -> None:
    """Else MD5 would do for whoever gives an intermediate the name of its issuer."""
    rolled = made(like(AUTHORITY, common="RSA Root", digest="md5"), estate.rsa_root)
    server = showing(Files.write(tmp_path / "rolled", (estate.leaf(rolled), rolled)))
    client = client_context(ClientTls(trust=trust, min_version="TLSv1"))
    assert Pair(server, client).handshake().client.facts().verify_error == FORGEABLE
