"""PEM and PKCS#12 in, values or problems out. PURE: no files, no clock.

What an administrator hands in is never trusted to be what its name says: sizes are bounded, and whatever
can't be read becomes a `Problem` that names the thing and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs7, pkcs12

from mxseal.certs.facts import (
    PrivateKey,
    Problem,
    error,
    fingerprint,
    is_ca,
    key_name,
    self_signed,
    spki_sha256,
    title,
)
from mxseal.tls.strength import issued

INPUT_LIMIT = 1 << 20
"""Bytes, over all inputs of one import."""
CERTIFICATE_LIMIT = 50


class Bundle(msgspec.Struct, frozen=True):
    """A leaf, its key if one was given, and the other certificates in the order in which they came."""

    leaf: x509.Certificate
    key: PrivateKey | None = None
    intermediates: tuple[x509.Certificate, ...] = ()


class _Block(msgspec.Struct, frozen=True):
    label: str
    body: bytes
    where: str


_CERTIFICATE_LABELS = {"CERTIFICATE", "X509 CERTIFICATE"}
_KEY_LABELS = {"PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
_IGNORED_LABELS = {"EC PARAMETERS", "DH PARAMETERS", "X509 CRL", "PUBLIC KEY"}
_PKCS7_LABELS = {"PKCS7", "CMS"}


def read_pem(text: bytes | Sequence[bytes], passphrase: bytes | None = None) -> Bundle | list[Problem]:
    """Certificates and at most one key out of one or several PEM texts, in any order in them.

    Text between the blocks is skipped; PKCS#7 blocks (.p7b) count as the certificates in them. The leaf is
    the certificate that fits the key, or without a key the one that is no CA.
    """
    texts = [text] if isinstance(text, bytes) else list(text)
    if sum(map(len, texts)) > INPUT_LIMIT:
        return [_too_large()]
    blocks: list[_Block] = []
    problems: list[Problem] = []
    for number, part in enumerate(texts, 1):
        where = f"input {number}" if len(texts) > 1 else "the input"
        found = _blocks(part, where)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            blocks += found
    certificates: list[x509.Certificate] = []
    keys: dict[str, PrivateKey] = {}
    for block in blocks:
        value = _open_block(block, passphrase)
        if isinstance(value, Problem):
            problems.append(value)
        elif isinstance(value, list):
            certificates += value
        elif value is not None:
            keys.setdefault(spki_sha256(value), value)
        if len(certificates) > CERTIFICATE_LIMIT:
            return [_too_many()]
    if len(keys) > 1:
        problems.append(
            error(
                "several-keys",
                f"The input holds {len(keys)} different private keys.",
                "Give the one key that belongs to the certificate.",
            )
        )
    return problems or _assemble(certificates, next(iter(keys.values()), None))


def read_pkcs12(data: bytes, passphrase: bytes | None) -> Bundle | list[Problem]:
    """A PKCS#12 file (.p12, .pfx), old RC2 and 3DES ones too. The leaf is what fits the key."""
    if len(data) > INPUT_LIMIT:
        return [_too_large()]
    try:
        store = pkcs12.load_pkcs12(data, passphrase)
    except UnsupportedAlgorithm as fault:
        return [
            error(
                "pkcs12-unsupported",
                f"The PKCS#12 file is encrypted in a way that can't be read ({fault}).",
                "Export it again with AES-256.",
            )
        ]
    except (ValueError, TypeError, x509.InvalidVersion) as fault:
        return [_pkcs12_fault(data, str(fault))]
    certificates = [entry.certificate for entry in (store.cert, *store.additional_certs) if entry is not None]
    if len(certificates) > CERTIFICATE_LIMIT:
        return [_too_many()]
    problems = [
        problem for certificate in certificates if (problem := _unreadable(certificate, "the PKCS#12 file"))
    ]
    key = store.key
    if key is not None and not isinstance(key, PrivateKey):
        problems.append(_key_unsupported(type(key).__name__, "the PKCS#12 file"))
        key = None
    return problems or _assemble(certificates, key)


def _pkcs12_fault(data: bytes, fault: str) -> Problem:
    if b"-----BEGIN " in data:
        return error("not-pkcs12", "The file is PEM text, not PKCS#12.", "Import it as PEM.")
    if "password" in fault.lower():
        return error(
            "wrong-passphrase",
            "The passphrase does not open the PKCS#12 file, or the file is damaged.",
            "Type the passphrase that was set when the file was exported, upper and lower case matter.",
        )
    return error(
        "not-pkcs12",
        "The file is not a PKCS#12 file, or was cut off on its way.",
        "Export certificate and key again as .p12 or .pfx, and copy the file in binary mode.",
    )


def _blocks(text: bytes, where: str) -> list[_Block] | Problem:
    text = _plain_bytes(text)
    blocks: list[_Block] = []
    at = 0
    # One pass with find: text that is hostile to a pattern costs no more than its length.
    while (begin := text.find(b"-----BEGIN ", at)) >= 0:
        label_end = text.find(b"-----", begin + 11)
        label = text[begin + 11 : label_end].decode("latin-1")
        closing = f"-----END {label}-----".encode("latin-1")
        end = text.find(b"-----END ", begin)
        following = text.find(b"-----BEGIN ", begin + 11)
        if label_end < 0 or not text.startswith(closing, end) or 0 <= following < end:
            return error(
                "pem-cut-off",
                f"A PEM block in {where} begins ({label[:40] or 'no label'!r}) and does not end.",
                f"Copy the whole block, from -----BEGIN to the line {closing.decode('latin-1')[:60]}.",
            )
        at = end + len(closing)
        blocks.append(_Block(label, text[begin:at] + b"\n", where))
    return blocks or _not_pem(text, where)


def _plain_bytes(text: bytes) -> bytes:
    """Windows editors write UTF-16 and byte order marks into what they are shown."""
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        return text.decode("utf-16", "replace").encode("utf-8")
    return text


def _not_pem(text: bytes, where: str) -> Problem:
    if text.startswith(b"\x30"):
        return error(
            "not-pem",
            f"{where.capitalize()} is binary (DER or PKCS#12), not PEM text.",
            "Import a .p12 or .pfx file as PKCS#12; convert a .cer or .der file with: openssl x509 "
            "-inform der.",
        )
    return error(
        "not-pem",
        f"{where.capitalize()} holds no PEM block.",
        "Give text with -----BEGIN CERTIFICATE----- and -----END CERTIFICATE----- lines.",
    )


def _open_block(
    block: _Block, passphrase: bytes | None
) -> list[x509.Certificate] | PrivateKey | Problem | None:
    label = block.label
    if label in _IGNORED_LABELS:
        return None
    if label in _CERTIFICATE_LABELS or label in _PKCS7_LABELS:
        return _open_certificates(block)
    if label in _KEY_LABELS:
        return _open_key(block, passphrase)
    if label in {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}:
        return error(
            "csr-given",
            f"{block.where.capitalize()} holds a signing request, not a certificate.",
            "Send the request to the authority and import the certificate that it gives back.",
        )
    return error(
        "pem-unknown",
        f"{block.where.capitalize()} holds a PEM block of type {label[:40]!r}, which is no certificate "
        "or key.",
        "Give CERTIFICATE and PRIVATE KEY blocks; convert a key with: openssl pkey -in FILE.",
    )


def _open_certificates(block: _Block) -> list[x509.Certificate] | Problem:
    try:
        if block.label in _PKCS7_LABELS:
            found = pkcs7.load_pem_pkcs7_certificates(block.body.replace(b" CMS-----", b" PKCS7-----"))
        else:
            found = [x509.load_pem_x509_certificate(block.body)]
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        return _not_a_certificate(block.where)
    if len(found) > CERTIFICATE_LIMIT:
        return _too_many()
    return next(
        (problem for certificate in found if (problem := _unreadable(certificate, block.where))), found
    )


def _unreadable(certificate: x509.Certificate, where: str) -> Problem | None:
    """The parser is lazy: names, extensions and key are read here so that nothing fails later."""
    try:
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
    except UnsupportedAlgorithm:
        return _key_unsupported("unknown", where)
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _not_a_certificate(where)
    return None


def _not_a_certificate(where: str) -> Problem:
    return error(
        "not-a-certificate",
        f"A CERTIFICATE block in {where} can't be read as an X.509 certificate.",
        "Copy it again as the authority sent it; a changed or missing character spoils it.",
    )


def _open_key(block: _Block, passphrase: bytes | None) -> PrivateKey | Problem:
    try:
        try:
            key = load_pem_private_key(block.body, passphrase or None)
        except TypeError:
            if not passphrase:
                return error(
                    "passphrase-needed",
                    f"The private key in {block.where} is encrypted.",
                    "Give the passphrase that was set when the key was made.",
                )
            key = load_pem_private_key(block.body, None)  # a plain key needs no passphrase
    except (ValueError, UnsupportedAlgorithm) as fault:
        # PKCS#8 encryption has no checksum: one wrong passphrase in 256 gives garbage and not an error.
        if passphrase and _encrypted(block) and not isinstance(fault, UnsupportedAlgorithm):
            return error(
                "wrong-passphrase",
                f"The passphrase does not open the private key in {block.where}.",
                "Type the passphrase that was set when the key was made, upper and lower case matter.",
            )
        return error(
            "key-unreadable",
            f"The private key in {block.where} can't be read.",
            "Copy it again; convert an unusual format with: openssl pkey -in FILE.",
        )
    return key if isinstance(key, PrivateKey) else _key_unsupported(type(key).__name__, block.where)


def _encrypted(block: _Block) -> bool:
    return block.label == "ENCRYPTED PRIVATE KEY" or b"ENCRYPTED" in block.body.partition(b"\n\n")[0]


def _key_unsupported(kind: str, where: str) -> Problem:
    return error(
        "key-unsupported",
        f"{where.capitalize()} holds a key of a type that TLS can't use here "
        f"({kind.removesuffix('PrivateKey')}).",
        "Use RSA with at least 2048 bits, or ECDSA P-256 or P-384.",
    )


def _too_large() -> Problem:
    return error(
        "too-large",
        f"The input is larger than {INPUT_LIMIT >> 20} MiB.",
        "Give the files of one certificate: itself, its key and its intermediates.",
    )


def _too_many() -> Problem:
    return error(
        "too-many",
        f"The input holds more than {CERTIFICATE_LIMIT} certificates.",
        "Give one certificate and its intermediates, not a list of authorities.",
    )


# --- which one is the leaf


def _assemble(certificates: list[x509.Certificate], key: PrivateKey | None) -> Bundle | list[Problem]:
    if not certificates:
        return [
            error(
                "no-certificate",
                "The input holds a private key and no certificate."
                if key
                else "The input holds no certificate.",
                "Add the certificate, the CERTIFICATE block that the authority gave back.",
            )
        ]
    leaf = pick_leaf(certificates, key)
    if isinstance(leaf, Problem):
        return [leaf]
    others = list(certificates)
    others.remove(leaf)
    return Bundle(leaf, key, tuple(others))


def pick_leaf(certificates: Sequence[x509.Certificate], key: PrivateKey | None) -> x509.Certificate | Problem:
    """The certificate that fits `key`; without a key the one that is no authority.

    Of several for the same key the one signed by an authority goes before a self-signed one, then the newest.
    """
    if key is not None:
        spki = spki_sha256(key)
        fitting = [certificate for certificate in certificates if spki_sha256(certificate) == spki]
        return _newest(fitting) if fitting else key_mismatch(certificates[0])
    candidates = [certificate for certificate in certificates if not is_ca(certificate)] or [
        certificate
        for certificate in certificates
        if not any(issued(certificate, other) for other in certificates if other != certificate)
    ]
    if len({spki_sha256(certificate) for certificate in candidates}) == 1:
        return _newest(candidates)
    names = ", ".join(sorted({title(certificate) for certificate in candidates})[:5])
    return error(
        "several-leaves",
        f"It is not clear which certificate is meant: {names}."
        if names
        else "No certificate is a server's own.",
        "Give one server certificate with its key, and its intermediates.",
    )


def _newest(certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    return max(
        certificates,
        key=lambda entry: (not self_signed(entry), entry.not_valid_before_utc, fingerprint(entry)),
    )


def key_mismatch(certificate: x509.Certificate) -> Problem:
    return error(
        "key-mismatch",
        f"The private key does not fit the certificate {title(certificate)} ({key_name(certificate)}).",
        "Give the key that the signing request of this certificate was made with, or make a new request.",
    )
