"""Public keys that are taken and those that are not; the gateway's own, made once."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mxseal.certs.sshkeys import (
    KeyRefused,
    host_key,
    host_public_keys,
    keep_host_key,
    make_host_key,
    read_public_key,
)
from tests.certs.authority import MemorySecrets

KEY = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def _line(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def test_a_pub_file_is_read_with_its_comment() -> None:
    read = read_public_key(f"# a comment\n{_line(KEY)} anna at her desk\n")
    assert (read.kind, read.comment) == ("ssh-ed25519", "anna at her desk")
    assert read.fingerprint == "SHA256:lbmsoA0yIEcEiVDRnMWuzm+nV+3ZEEpVIURqFoeSspg"


def test_elliptic_curves_and_rsa_from_2048_bits_are_taken() -> None:
    assert read_public_key(_line(ec.generate_private_key(ec.SECP256R1()))).kind == "ecdsa-sha2-nistp256"
    assert read_public_key(_line(rsa.generate_private_key(65537, 2048))).kind == "ssh-rsa"
    with pytest.raises(KeyRefused, match="1024 bits is too short"):
        read_public_key(_line(rsa.generate_private_key(65537, 1024)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "One public key is one line"),
        (f"{_line(KEY)}\n{_line(KEY)}", "One public key is one line"),
        (f'command="x" {_line(KEY)}', "no type of key"),
        ("ssh-dss AAAA", "no type of key"),
        ("ssh-ed25519", "no type of key"),
        ("ssh-ed25519 ####", "can't be read"),
        ("ssh-ed25519 AAAA", "can't be read"),
        (_line(KEY)[:-8], "can't be read"),
        ("ecdsa-sha2-nistp256" + _line(KEY)[len("ssh-ed25519") :], "can't be read"),
        (
            KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode(),
            "This is a private key",
        ),
    ],
)
def test_what_is_no_public_key_is_refused_with_a_sentence(text: str, said: str) -> None:
    with pytest.raises(KeyRefused, match=said):
        read_public_key(text)


def test_the_gateways_keys_are_kept_and_told_by_their_public_parts() -> None:
    secrets = MemorySecrets()
    assert host_public_keys(secrets) == []
    for kind in ("ed25519", "rsa"):
        keep_host_key(secrets, kind, make_host_key(kind))
    assert [key.kind for key in host_public_keys(secrets)] == ["ssh-ed25519", "ssh-rsa"]
    stored = host_key(secrets, "ed25519")
    assert stored is not None
    assert base64.b64encode(stored).startswith(b"MC4CAQAwBQYDK2Vw")  # PKCS#8 of an ed25519 key
