"""Certificates of every make, also those that no builder makes: X.509 version 1, MD5, serials below zero."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

HOST = "mx.chain.test"
NOW = datetime.now(UTC).replace(microsecond=0)
Usage = Literal["signature", "encipherment", "agreement", "certificates", "lists"]
ANY, SERVER, CLIENT, CODE = "2.5.29.37.0", "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3"
"""Extended key usages."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate is to hold; as it stands, that of a well made server certificate for HOST."""

    common: str | tuple[str, ...] = HOST
    """Common names of the subject; () for an empty subject."""
    names: tuple[str | x509.GeneralName, ...] | None = (HOST,)
    """Subject alternative names; None: no such extension."""
    names_critical: bool = False
    days: tuple[float, float] = (-1, 30)
    """From and to, counted from now."""
    ca: bool | None = False
    """None: no basic constraints."""
    ca_critical: bool = True
    path_length: int | None = None
    usage: tuple[Usage, ...] | None = ("signature",)
    extended: tuple[str, ...] | None = (SERVER, CLIENT)
    constraints: x509.NameConstraints | None = None
    extra: tuple[tuple[str, bytes, bool], ...] = ()
    """Further extensions: number, content, critical."""
    key: str = "ec256"
    digest: str = "sha256"
    """With which the issuer signs: sha256, sha1, md5 (RSA only), pss, or "" for Ed25519."""
    own_id: bool = True
    """Whether the subject key identifier is there."""
    issuer_id: str = "right"
    """Authority key identifier: right, wrong, wrong-serial, none."""
    serial: int | None = None


AUTHORITY = Wish(
    common="Chain Authority",
    names=None,
    days=(-10, 300),
    ca=True,
    usage=("certificates", "lists"),
    extended=None,
)


class Made(msgspec.Struct, frozen=True):
    """A certificate, its key and its subject."""

    der: bytes
    key: Any
    subject: x509.Name


def like(wish: Wish, **changes: Any) -> Wish:
    return msgspec.structs.replace(wish, **changes)


def new_key(kind: str) -> Any:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))
    curves = {"ec256": ec.SECP256R1(), "ec384": ec.SECP384R1(), "ec521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


def made(wish: Wish, by: Made | None = None, *, key: Any = None) -> Made:
    """What was wished for, signed by `by` or by itself; with a `key` that is there already or a new one."""
    key = key or new_key(wish.key)
    commons = (wish.common,) if isinstance(wish.common, str) else wish.common
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common) for common in commons])
    signer = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(wish.serial or x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=wish.days[0]))
        .not_valid_after(NOW + timedelta(days=wish.days[1]))
    )
    for extension, critical in _extensions(wish, key.public_key(), by):
        builder = builder.add_extension(extension, critical)
    signed = _signed(builder, signer, wish.digest)
    return Made(signed, key, subject)


def _extensions(wish: Wish, public: Any, by: Made | None) -> list[tuple[x509.ExtensionType, bool]]:
    found: list[tuple[x509.ExtensionType, bool]] = []
    if wish.ca is not None:
        found.append((x509.BasicConstraints(wish.ca, wish.path_length), wish.ca_critical))
    if wish.names is not None:
        names = [x509.DNSName(name) if isinstance(name, str) else name for name in wish.names]
        found.append((x509.SubjectAlternativeName(names), wish.names_critical))
    if wish.usage is not None:
        found.append((_usage(wish.usage), True))
    if wish.extended is not None:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in wish.extended]), False))
    if wish.constraints is not None:
        found.append((wish.constraints, True))
    if wish.own_id:
        found.append((x509.SubjectKeyIdentifier.from_public_key(public), False))
    if by is not None and wish.issuer_id != "none":
        found.append((_issuer_id(wish.issuer_id, by), False))
    found += [
        (x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), content), critical)
        for oid, content, critical in wish.extra
    ]
    return found


def _issuer_id(how: str, by: Made) -> x509.AuthorityKeyIdentifier:
    right = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
    if how == "wrong":
        return x509.AuthorityKeyIdentifier(b"\x01" * 20, None, None)
    if how == "wrong-serial":
        return x509.AuthorityKeyIdentifier(None, [x509.DirectoryName(by.subject)], 4711)
    return right


def _usage(usage: Sequence[Usage]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="signature" in usage,
        content_commitment=False,
        key_encipherment="encipherment" in usage,
        data_encipherment=False,
        key_agreement="agreement" in usage,
        key_cert_sign="certificates" in usage,
        crl_sign="lists" in usage,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(builder: x509.CertificateBuilder, signer: Any, digest: str) -> bytes:
    if digest == "pss":
        how = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return _der(builder.sign(signer, hashes.SHA256(), rsa_padding=how))
    if isinstance(signer, ed25519.Ed25519PrivateKey):
        return _der(builder.sign(signer, None))
    plain = _der(builder.sign(signer, hashes.SHA256()))
    return plain if digest == "sha256" else _weakly(plain, signer, digest)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


# --- what no builder makes: the DER is taken apart and signed again -----------------------------------------

_WITH_RSA = {"sha256": 11, "sha1": 5, "md5": 4}
"""Last number of 1.2.840.113549.1.1.x (RFC 8017 A.2.4): all of one length, so that nothing moves."""
_RSA_OID = bytes.fromhex("06092a864886f70d0101")
_DIGESTS: dict[str, hashes.HashAlgorithm] = {"sha1": hashes.SHA1(), "md5": hashes.MD5()}


def parts(content: bytes) -> list[bytes]:
    """The elements (tag, length, content) that stand one after the other."""
    found: list[bytes] = []
    while content:
        size, head = content[1], 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(content[2:head], "big")
        found.append(content[: head + size])
        content = content[head + size :]
    return found


def inside(element: bytes) -> bytes:
    """An element's content."""
    return element[2 + (element[1] & 0x7F) if element[1] & 0x80 else 2 :]


def element(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def again(made_: Made, by: Made, change: Callable[[list[bytes]], list[bytes]]) -> Made:
    """The same certificate with the elements of its signed part changed, signed again with an EC key.
    They are: version, serial, algorithm, issuer, validity, subject, key, extensions."""
    signed, algorithm, _ = parts(inside(made_.der))
    to_sign = element(0x30, b"".join(change(parts(inside(signed)))))
    signature = by.key.sign(to_sign, ec.ECDSA(hashes.SHA256()))
    der = element(0x30, to_sign + algorithm + element(0x03, b"\0" + signature))
    return msgspec.structs.replace(made_, der=der)


def version_1(made_: Made, by: Made) -> Made:
    """Without version and extensions, which came with versions 3 and 2 (RFC 5280 §4.1.2.1)."""
    return again(made_, by, lambda fields: fields[1:7])


def numbered(made_: Made, by: Made, serial: bytes) -> Made:
    """With a serial of these content octets."""
    return again(made_, by, lambda fields: [fields[0], element(0x02, serial), *fields[2:]])


def twice_named(made_: Made, by: Made) -> Made:
    """With its last extension there twice (RFC 5280 §4.2 forbids it)."""

    def change(fields: list[bytes]) -> list[bytes]:
        extensions = parts(inside(inside(fields[7])))
        doubled = element(0xA3, element(0x30, b"".join([*extensions, extensions[1]])))
        return [*fields[:7], doubled]

    return again(made_, by, change)


def replaced(made_: Made, by: Made, old: bytes, new: bytes) -> Made:
    """With other octets of the same length somewhere."""
    assert len(old) == len(new)
    return again(made_, by, lambda fields: [field.replace(old, new) for field in fields])


def damaged(made_: Made) -> Made:
    """With a signature that is wrong."""
    signed, algorithm, signature = parts(inside(made_.der))
    other = signature[:-1] + bytes([signature[-1] ^ 1])
    return msgspec.structs.replace(made_, der=element(0x30, signed + algorithm + other))


def _weakly(der: bytes, signer: Any, digest: str) -> bytes:
    signed, algorithm, _ = parts(inside(der))
    if not isinstance(signer, rsa.RSAPrivateKey):
        # ecdsa-with-SHA1 (RFC 3279 §2.2.3) is shorter than ecdsa-with-SHA256, and has no parameters either.
        other = element(0x30, bytes.fromhex("06072a8648ce3d0401"))
        fields = parts(inside(signed))
        to_sign = element(0x30, b"".join([*fields[:2], other, *fields[3:]]))
        signature = signer.sign(to_sign, ec.ECDSA(_DIGESTS[digest]))
        return element(0x30, to_sign + other + element(0x03, b"\0" + signature))
    old, new = (_RSA_OID + bytes([_WITH_RSA[name]]) for name in ("sha256", digest))
    to_sign = signed.replace(old, new)
    signature = signer.sign(to_sign, padding.PKCS1v15(), _DIGESTS[digest])
    return element(0x30, to_sign + algorithm.replace(old, new) + element(0x03, b"\0" + signature))


def pem(der: bytes) -> bytes:
    """PEM without reading it: some can't be read by `cryptography`."""
    lines = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n" + lines + b"-----END CERTIFICATE-----\n"


def key_pem(key: Any) -> bytes:
    plain = serialization.NoEncryption()
    found: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return found
