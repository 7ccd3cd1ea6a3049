"""Certificates made on the spot, and two engines that talk to each other in memory."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from mxseal.tls.contexts import CertificateFiles, ClientTls, ServerTls, client_context, server_context
from mxseal.tls.engine import Engine

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
NOW = dt.datetime.now(dt.UTC)


class Issued(msgspec.Struct, frozen=True):
    certificate: x509.Certificate
    key: Any
    files: CertificateFiles

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def path(self) -> Path:
        return Path(self.files.chain_path)


class Pki:
    """A root, and a different intermediate for each key type, as files below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = self.issue("root", ec.generate_private_key(ec.SECP256R1()), ca=True)
        self.ec_ca = self.issue(
            "EC authority", ec.generate_private_key(ec.SECP256R1()), by=self.root, ca=True
        )
        self.rsa_ca = self.issue("RSA authority", _rsa(), by=self.root, ca=True)
        self.ecdsa = self.issue(
            "mx.test", ec.generate_private_key(ec.SECP256R1()), by=self.ec_ca, chain=(self.ec_ca,)
        )
        self.rsa = self.issue("mx.test", _rsa(), by=self.rsa_ca, chain=(self.rsa_ca,))
        self.other = self.issue(
            "other.test", ec.generate_private_key(ec.SECP256R1()), by=self.ec_ca, chain=(self.ec_ca,)
        )
        self.expired = self.issue(
            "old.test", ec.generate_private_key(ec.SECP256R1()), by=self.ec_ca, chain=(self.ec_ca,), days=-1
        )
        self.short = self.issue("mx.test", ec.generate_private_key(ec.SECP256R1()), by=self.ec_ca)
        self.alone = self.issue("self.test", ec.generate_private_key(ec.SECP256R1()))

    @property
    def trust(self) -> str:
        return str(self.root.path)

    def issue(
        self,
        name: str,
        key: Key,
        *,
        by: Issued | None = None,
        chain: tuple[Issued, ...] = (),
        ca: bool = False,
        days: int = 30,
    ) -> Issued:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(by.certificate.subject if by else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(days=10))
            .not_valid_after(NOW + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        certificate = builder.sign(by.key if by else key, hashes.SHA256())
        file = self.folder / f"{name.replace(' ', '-')}-{certificate.serial_number}.pem"
        pem = [certificate, *(each.certificate for each in chain)]
        file.write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in pem))
        return Issued(certificate, key, CertificateFiles(chain_path=str(file), key=key))

    def server(self, *certificates: Issued, **settings: Any) -> SSL.Context:
        files = tuple(each.files for each in certificates or (self.ecdsa, self.rsa))
        return server_context(ServerTls(certificates=files, **settings))

    def client(self, **settings: Any) -> SSL.Context:
        return client_context(ClientTls(**{"trust": self.trust, **settings}))


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Pair:
    """A client and a server engine; `pump` carries bytes until both are silent."""

    def __init__(
        self,
        server: SSL.Context,
        client: SSL.Context,
        *,
        name: str | None = "mx.test",
        session: object = None,
        ask: bool = False,
    ) -> None:
        self.server = Engine(server, server_side=True, ask_certificate=ask)
        self.client = Engine(client, server_side=False, server_name=name, session=session)
        self.at_server = b""
        self.at_client = b""

    def handshake(self) -> Pair:
        self.client.start()
        self.pump()
        return self

    def pump(self, *, piece: int = 1 << 30) -> None:
        """`piece`: bytes per receive call."""
        while True:
            up, down = self.client.output(), self.server.output()
            if not up and not down:
                return
            for at in range(0, len(up), piece):
                self.at_server += self.server.receive(up[at : at + piece])
            for at in range(0, len(down), piece):
                self.at_client += self.client.receive(down[at : at + piece])


def raw_client(
    *,
    lowest: int = 0,
    highest: int = 0,
    ciphers: bytes | None = None,
    trust: str | None = None,
    verify: bool = False,
) -> SSL.Context:
    """A client that is not ours: whatever a stranger may be set to."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(lowest)
    context.set_max_proto_version(highest)
    if ciphers is not None:
        context.set_cipher_list(ciphers)
    if trust is not None:
        context.load_verify_locations(trust)
    context.set_verify(SSL.VERIFY_PEER if verify else SSL.VERIFY_NONE)
    return context


def client_hello(context: SSL.Context, name: str | None = "mx.test") -> bytes:
    engine = Engine(context, server_side=False, server_name=name)
    engine.start()
    return engine.output()
