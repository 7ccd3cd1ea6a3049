"""A throw-away certificate authority: roots, intermediates and certificates with faults that tests need."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyType = Literal["ec256", "ec384", "rsa1024", "rsa2048", "rsa3072", "rsa4096"]
Usage = Literal["server", "client", "code"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_USAGES = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code": ExtendedKeyUsageOID.CODE_SIGNING,
}


def new_key(kind: KeyType = "ec256") -> PrivateKey:
    """A fresh private key."""
    if kind == "ec256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ec384":
        return ec.generate_private_key(ec.SECP384R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def key_pem(key: PrivateKey) -> bytes:
    """PKCS#8, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem(certificate: x509.Certificate) -> bytes:
    """One certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Files:
    """Where `Issued.write` put things: the leaf, its key (mode 0600), leaf with intermediates, the root."""

    certificate: Path
    key: Path
    chain: Path
    root: Path


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A certificate with its key. `chain` is what a server sends: leaf, then the intermediates, no root."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...]
    root: x509.Certificate

    @property
    def cert_pem(self) -> bytes:
        return pem(self.certificate)

    @property
    def key_pem(self) -> bytes:
        return key_pem(self.key)

    @property
    def chain_pem(self) -> bytes:
        return b"".join(map(pem, self.chain))

    @property
    def root_pem(self) -> bytes:
        return pem(self.root)

    @property
    def sha256(self) -> str:
        """Fingerprint in lower case hexadecimal digits, without colons."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def write(self, folder: Path, name: str = "cert") -> Files:
        """Files `name`.pem, -key.pem, -chain.pem and -root.pem in `folder`, which is made when missing."""
        folder.mkdir(parents=True, exist_ok=True)
        files = Files(*(folder / f"{name}{part}.pem" for part in ("", "-key", "-chain", "-root")))
        files.key.touch(mode=0o600)
        parts = (files.certificate, files.key, files.chain, files.root)
        contents = (self.cert_pem, self.key_pem, self.chain_pem, self.root_pem)
        for path, content in zip(parts, contents, strict=True):
            path.write_bytes(content)
        return files


@dataclass(frozen=True, kw_only=True)
class Validity:
    """How long, counted from now; `expired`: it ended yesterday; `future`: it begins tomorrow."""

    days: float = 30
    expired: bool = False
    future: bool = False

    def span(self) -> tuple[datetime, datetime]:
        now = datetime.now(UTC).replace(microsecond=0)
        if self.expired:
            return now - timedelta(days=self.days + 1), now - timedelta(days=1)
        start = now + timedelta(days=1) if self.future else now - timedelta(hours=1)
        return start, start + timedelta(days=self.days)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)


def _name(common: str) -> x509.Name:
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "MXSeal Lab"),
        x509.NameAttribute(NameOID.COMMON_NAME, common),
    ]
    return x509.Name(attributes)


def _builder(subject: x509.Name, key: PrivateKey, validity: Validity) -> x509.CertificateBuilder:
    start, end = validity.span()
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


class Authority:
    """A root (`parent` None) or an intermediate that signs."""

    def __init__(
        self,
        name: str = "MXSeal Lab Root",
        *,
        parent: Authority | None = None,
        kind: KeyType = "ec256",
        validity: Validity | None = None,
    ) -> None:
        self.parent = parent
        self.key = new_key(kind)
        subject = _name(name)
        builder = (
            _builder(subject, self.key, validity or Validity(days=365))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
        )
        self.certificate = (
            builder.issuer_name(subject).sign(self.key, hashes.SHA256())
            if parent is None
            else parent.sign(builder)
        )

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)

    @property
    def root(self) -> Authority:
        return self if self.parent is None else self.parent.root

    @property
    def path(self) -> tuple[x509.Certificate, ...]:
        """This authority's certificate and those above it, without the root."""
        return () if self.parent is None else (self.certificate, *self.parent.path)

    def intermediate(
        self, name: str = "MXSeal Lab Intermediate", *, validity: Validity | None = None
    ) -> Authority:
        """An authority below this one."""
        return Authority(name, parent=self, validity=validity)

    def sign(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """Issue what `builder` describes under this authority's name and key."""
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            builder.issuer_name(self.certificate.subject)
            .add_extension(identifier, critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self,
        *names: str,
        kind: KeyType = "ec256",
        validity: Validity | None = None,
        usages: Sequence[Usage] = ("server", "client"),
    ) -> Issued:
        """A certificate for DNS names and addresses (IP or mail), the first its common name; no `usages`: no
        EKU."""
        key = new_key(kind)
        certificate = self.sign(_leaf(names, key, validity or Validity(), usages))
        return Issued(
            certificate=certificate, key=key, chain=(certificate, *self.path), root=self.root.certificate
        )

    def sign_request(self, csr_pem: bytes, *, validity: Validity | None = None) -> x509.Certificate:
        """The certificate for a signing request, with its subject, key and alternative names."""
        request = x509.load_pem_x509_csr(csr_pem)
        start, end = (validity or Validity()).span()
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USAGES["server"], _USAGES["client"]]), critical=False)
        )
        for extension in request.extensions:
            if isinstance(extension.value, x509.SubjectAlternativeName):
                builder = builder.add_extension(extension.value, critical=False)
        return self.sign(builder)


def _leaf(
    names: Sequence[str], key: PrivateKey, validity: Validity, usages: Sequence[Usage]
) -> x509.CertificateBuilder:
    builder = (
        _builder(_name(names[0]), key, validity)
        .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
    )
    if usages:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([_USAGES[usage] for usage in usages]), critical=False
        )
    return builder


def self_signed(*names: str, kind: KeyType = "ec256", validity: Validity | None = None) -> Issued:
    """A certificate that vouches for itself."""
    key = new_key(kind)
    certificate = (
        _leaf(names, key, validity or Validity(), ("server", "client"))
        .issuer_name(_name(names[0]))
        .sign(key, hashes.SHA256())
    )
    return Issued(certificate=certificate, key=key, chain=(certificate,), root=certificate)
