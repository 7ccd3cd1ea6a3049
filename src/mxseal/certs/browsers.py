"""Certificates of browsers: whom they name, and whether an authority vouches for them. PURE, never raises."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from mxseal.tls.anchors import Anchors

_MOST_NAMES = 100
_LONGEST = 255


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate says of its owner, verified or not."""

    sha256: str
    """Fingerprint, 64 hexadecimal digits."""
    emails: tuple[str, ...] = ()
    """Mail addresses of the subject alternative name, in lower case."""
    name: str = ""
    """The common name; empty where there is none, or several."""
    issuer: str = ""

    @property
    def label(self) -> str:
        """In one line, for the log and the page of the login."""
        called = self.name or (self.emails[0] if self.emails else "")
        return f"{called or 'a certificate without a name'} (sha256 {self.sha256[:16]}…)"


def person(leaf: bytes) -> Person:
    """Of a certificate in DER; of one that can't be read no more than its fingerprint."""
    sha256 = hashlib.sha256(leaf).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(leaf)
        return Person(
            sha256=sha256,
            emails=_emails(certificate),
            name=_name(certificate.subject),
            issuer=_name(certificate.issuer),
        )
    except ValueError:
        return Person(sha256=sha256)


def distrusted(chain: Sequence[bytes], authority: str, now: float) -> str | None:
    """Why a chain (DER, leaf first) does not end in an authority (PEM) at `now`, in OpenSSL's words; None: it
    does, as a client's, in date and of good strength."""
    return Anchors((authority,), "client", now).error(chain)


def _emails(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    found = [name.lower() for name in names.get_values_for_type(x509.RFC822Name) if len(name) <= _LONGEST]
    return tuple(found[:_MOST_NAMES])


def _name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    # Of two common names one reader takes the first, another the last: it is nobody's.
    text = values[0].value if len(values) == 1 else ""
    return text if isinstance(text, str) and len(text) <= _LONGEST and text.isprintable() else ""
