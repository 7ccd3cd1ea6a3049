"""The throw-away authority: what it issues is what OpenSSL accepts or refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from lab.ca import Authority, Issued, KeyType, Validity, key_pem, new_key, self_signed


def verify(issued: Issued, folder: Path, *options: str) -> str:
    files = issued.write(folder)
    words = ["openssl", "verify", "-CAfile", str(files.root), "-untrusted", str(files.chain), *options]
    done = subprocess.run([*words, str(files.certificate)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["ec256", "ec384", "rsa2048"])
def test_openssl_verifies_what_an_intermediate_issued(
    kind: KeyType, intermediate: Authority, tmp_path: Path
) -> None:
    issued = intermediate.issue("mx.example.test", "127.0.0.1", kind=kind)
    found = verify(
        issued, tmp_path, "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "mx.example.test"
    )
    assert found.endswith(": OK\n")


def test_openssl_refuses_an_expired_certificate(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("mx.example.test", validity=Validity(expired=True))
    assert "certificate has expired" in verify(issued, tmp_path)


def test_openssl_refuses_a_certificate_of_the_future(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("mx.example.test", validity=Validity(future=True))
    assert "certificate is not yet valid" in verify(issued, tmp_path)


def test_openssl_refuses_a_client_certificate_as_a_server(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("mx.example.test", usages=("client",))
    assert "unsuitable certificate purpose" in verify(issued, tmp_path, "-purpose", "sslserver")


def test_the_chain_is_leaf_then_intermediate_without_the_root(authority: Authority) -> None:
    intermediate = authority.intermediate()
    issued = intermediate.issue("mx.example.test")
    assert issued.chain == (issued.certificate, intermediate.certificate)
    assert issued.root == authority.certificate


def test_the_key_file_is_only_for_its_owner(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("mx.example.test").write(tmp_path)
    assert files.key.stat().st_mode & 0o777 == 0o600


def test_a_self_signed_certificate_is_its_own_issuer() -> None:
    issued = self_signed("mx.example.test")
    issued.certificate.verify_directly_issued_by(issued.certificate)


def test_a_signing_request_gets_a_certificate_for_its_key_and_names(authority: Authority) -> None:
    key = new_key("ec256")
    names = x509.SubjectAlternativeName([x509.DNSName("mx.example.test")])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = authority.sign_request(request.public_bytes(serialization.Encoding.PEM))
    assert certificate.public_key() == key.public_key()
    assert certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == names
    assert key_pem(key).startswith(b"-----BEGIN PRIVATE KEY-----")
