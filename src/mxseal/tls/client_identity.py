"""Who a client's certificate says that it is: names and fingerprint of a leaf. PURE, never raises.

A name means something only where the chain was verified (`TlsFacts.verified`); an unverified one is told in
`Received` with the word that it was not.
"""

from __future__ import annotations

import hashlib

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

_MOST_NAMES = 100
_LONGEST_NAME = 255


class ClientIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Of one certificate."""

    sha256: str
    """Fingerprint, 64 hexadecimal digits."""
    dns_names: tuple[str, ...] = ()
    """Subject alternative names, lower case, at most a hundred."""
    common_name: str = ""
    issuer: str = ""
    """The issuer's common name, else its whole name."""

    @property
    def label(self) -> str:
        """One line for events: 'relay.partner.example sha256:…'."""
        name = self.dns_names[0] if self.dns_names else self.common_name
        return f"{name} sha256:{self.sha256}" if name else f"sha256:{self.sha256}"

    def carries(self, wanted: str) -> bool:
        """Whether this is the certificate meant by 'sha256:…' or by a DNS name (lower case, A-labels).

        A wildcard stands for no name here: it vouches for hosts that answer under it, and a client is to be
        one certain host. Nor does the common name count (RFC 9525 §2).
        """
        if wanted.startswith("sha256:"):
            return wanted[7:] == self.sha256
        return wanted in self.dns_names


def client_identity(leaf: bytes) -> ClientIdentity:
    """Of a certificate in DER; of one that can't be read no more than its fingerprint."""
    sha256 = hashlib.sha256(leaf).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        return ClientIdentity(
            sha256=sha256,
            dns_names=_dns_names(certificate),
            common_name=_common_name(certificate.subject),
            issuer=_common_name(certificate.issuer) or _whole(certificate.issuer),
        )
    except ValueError:
        return ClientIdentity(sha256=sha256)


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    # Each of these may be 100 KB long, and stands in the log.
    found = [name.lower() for name in names.get_values_for_type(x509.DNSName) if len(name) <= _LONGEST_NAME]
    return tuple(found[:_MOST_NAMES])


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _text(values[0].value) if values else ""


def _whole(name: x509.Name) -> str:
    return _text(name.rfc4514_string())


def _text(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode("latin-1")
    return "".join(char if char.isprintable() else "?" for char in text[:_LONGEST_NAME])
