"""Problems, and facts about one certificate or key. PURE."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mxseal.tls.strength import issued

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
"""The key types that can sign a TLS handshake of RFC 8446 §4.2.3 with the engine in use."""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a certificate, a key or a chain, for a postmaster to read.

    error: it can't be stored or served; warning: it can, and the reader should know.
    """

    code: str
    """Stable short identifier, e.g. 'key-mismatch'."""
    severity: Literal["error", "warning"]
    text: str
    """One sentence that names the thing."""
    remedy: str
    """One sentence: what to do."""
    path: str = ""
    """Key path in the configuration document, e.g. 'listeners.IncomingMail.certificate'; empty on import."""

    def sentence(self) -> str:
        place = f"{self.path}: " if self.path else ""
        return f"{place}{self.text} {self.remedy}"


def error(code: str, text: str, remedy: str) -> Problem:
    return Problem(code, "error", text, remedy)


def warning(code: str, text: str, remedy: str) -> Problem:
    return Problem(code, "warning", text, remedy)


def has_errors(problems: Sequence[Problem]) -> bool:
    return any(problem.severity == "error" for problem in problems)


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER form, colon-separated upper-case hex as browsers and openssl show it."""
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest().upper()
    return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def spki_sha256(holder: x509.Certificate | x509.CertificateSigningRequest | PrivateKey) -> str:
    """SHA-256 over SubjectPublicKeyInfo, lower-case hex: what TLSA 3 1 1 holds, and a key's name here."""
    spki = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def key_name(holder: x509.Certificate | x509.CertificateSigningRequest | PrivateKey) -> str:
    """'RSA 2048', 'ECDSA P-256', 'Ed25519'; the class name for types that can't be used."""
    public = holder.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        return f"RSA {public.key_size}"
    if isinstance(public, ec.EllipticCurvePublicKey):
        curve = public.curve.name
        return f"ECDSA {_CURVES.get(curve, curve)}"
    return type(public).__name__.removesuffix("PublicKey")


_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


def key_type(holder: x509.Certificate | PrivateKey) -> str:
    """'RSA', 'ECDSA', 'Ed25519': OpenSSL keeps one certificate of each in a context."""
    return key_name(holder).split(" ")[0]


def common_name(name: x509.Name) -> str:
    """The last CN of a name, '' without one."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def title(certificate: x509.Certificate) -> str:
    """How messages call a certificate: its CN, else its first name, else its subject."""
    return (
        common_name(certificate.subject)
        or next(iter(dns_names(certificate)), "")
        or name_text(certificate.subject)
    )


def name_text(name: x509.Name) -> str:
    return common_name(name) or name.rfc4514_string() or "(empty name)"


def dns_names(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """The DNS names of the subject alternative name extension, as they stand there."""
    names = _alternative_names(certificate)
    return tuple(names.get_values_for_type(x509.DNSName)) if names else ()


def alternative_names(certificate: x509.Certificate | x509.CertificateSigningRequest) -> tuple[str, ...]:
    """DNS names and IP addresses of the subject alternative name extension."""
    names = _alternative_names(certificate)
    addresses = names.get_values_for_type(x509.IPAddress) if names else []
    return (*dns_names(certificate), *(str(address) for address in addresses))


def _alternative_names(
    certificate: x509.Certificate | x509.CertificateSigningRequest,
) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def is_ca(certificate: x509.Certificate) -> bool:
    """RFC 5280 §4.2.1.9: basicConstraints says CA; keyUsage, if there, has keyCertSign (§4.2.1.3)."""
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def self_signed(certificate: x509.Certificate) -> bool:
    return issued(certificate, certificate)


def pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)
