"""Real certificates for tests: keys made once a run, ECDSA wherever the type does not matter."""

from __future__ import annotations

import datetime
import functools
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from mxseal.certs.facts import PrivateKey, Problem

NOW = 1_771_096_828.0
DAY = 86400.0


@functools.cache
def ec_key(_label: str, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve())


@functools.cache
def rsa_key(_label: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


class Signer(msgspec.Struct, frozen=True):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def name(self) -> x509.Name:
        return self.certificate.subject


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate of a test shall be like. Days count from NOW."""

    names: tuple[str, ...] | None = None
    """None: the common name."""
    ca: bool = False
    sign_usage: bool = True
    begin: float = -10
    end: float = 300
    eku: tuple[x509.ObjectIdentifier, ...] | None = (ExtendedKeyUsageOID.SERVER_AUTH,)
    digital_signature: bool = True
    aia: str | None = None


PLAIN = Wish()
CA = Wish(ca=True, names=(), eku=None)


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])


def issue(common: str, key: PrivateKey, signer: Signer | None, wish: Wish = PLAIN) -> Signer:
    """A certificate for `common`, signed by `signer`, by itself when there is none."""
    at = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    subject = named(common)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.name if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at + datetime.timedelta(days=wish.begin))
        .not_valid_after(at + datetime.timedelta(days=wish.end))
        .add_extension(x509.BasicConstraints(ca=wish.ca, path_length=None), critical=True)
        .add_extension(_usage(wish), critical=True)
    )
    names = (common,) if wish.names is None else wish.names
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    if wish.eku:
        builder = builder.add_extension(x509.ExtendedKeyUsage(wish.eku), critical=False)
    if wish.aia:
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(wish.aia)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    return Signer(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


def _usage(wish: Wish) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=wish.digital_signature,
        key_encipherment=not wish.digital_signature,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=wish.ca and wish.sign_usage,
        crl_sign=wish.ca,
        encipher_only=False,
        decipher_only=False,
    )


def authority(common: str, signer: Signer | None, wish: Wish = CA, key: PrivateKey | None = None) -> Signer:
    return issue(common, key or ec_key(common), signer, wish)


class Path3(msgspec.Struct, frozen=True):
    """leaf <- near <- far <- root."""

    leaf: Signer
    near: Signer
    far: Signer
    root: Signer

    @property
    def path(self) -> tuple[x509.Certificate, ...]:
        return self.near.certificate, self.far.certificate


@functools.cache
def path3() -> Path3:
    root = authority("Test Root", None)
    far = authority("Test Far", root)
    near = authority("Test Near", far)
    leaf = issue("mx.example.com", ec_key("leaf"), near)
    return Path3(leaf, near, far, root)


def key_pem(key: PrivateKey, passphrase: bytes | None = None, *, traditional: bool = False) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL if traditional else PrivateFormat.PKCS8
    return key.private_bytes(
        Encoding.PEM, form, BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    )


def cert_pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def codes(problems: Sequence[Problem]) -> list[str]:
    return [problem.code for problem in problems]


def severities(problems: Sequence[Problem]) -> dict[str, str]:
    return {problem.code: problem.severity for problem in problems}


def openssl(*arguments: str | Path, given: bytes = b"") -> bytes:
    """Run the openssl program; its output. Fails with what it said."""
    run = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout


class MemorySecrets:
    """Secrets as the ports describe them, kept in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        return self.kept.get(name)

    def put(self, name: str, value: bytes) -> None:
        self.kept[name] = value

    def delete(self, name: str) -> None:
        self.kept.pop(name, None)

    def names(self) -> list[str]:
        return list(self.kept)
