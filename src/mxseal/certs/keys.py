"""Private keys in the sealed store, one for each public key. Nothing here is ever logged."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from mxseal.certs.facts import PrivateKey, spki_sha256
from mxseal.storage.ports import Secrets

_PREFIX = "key/"


class KeyDamaged(Exception):
    """What the store gave back is not the key that was put in under this name."""


class KeyStore:
    """Keys by the SHA-256 of their SubjectPublicKeyInfo (lower-case hex), as PKCS#8 DER.

    Keyed by the public key and not by a profile's name: renaming, rolling back and loading a document find
    the keys that belong to their certificates, and a renewed certificate on the same key stores nothing
    twice. Errors of the store itself (StorageRefused) pass through.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def put(self, key: PrivateKey) -> str:
        """Seal and store; gives the name. Storing a key that is there is no error."""
        spki = spki_sha256(key)
        self._secrets.put(
            _PREFIX + spki, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
        return spki

    def load(self, spki: str) -> PrivateKey | None:
        """None when there is no such key. Raises KeyDamaged."""
        sealed = self._secrets.get(_PREFIX + spki)
        if sealed is None:
            return None
        try:
            key = load_der_private_key(sealed, None)
        except (ValueError, TypeError):
            raise KeyDamaged(f"The stored key {spki[:16]}… can't be read.") from None
        if not isinstance(key, PrivateKey) or spki_sha256(key) != spki:
            raise KeyDamaged(f"The stored key {spki[:16]}… is another key than its name says.")
        return key

    def key_of(self, certificate: x509.Certificate) -> PrivateKey | None:
        """The key of a certificate, None when it is not here. Raises KeyDamaged."""
        return self.load(spki_sha256(certificate))

    def fits(self, certificate: x509.Certificate | x509.CertificateSigningRequest) -> bool:
        """Whether a key for this certificate or request is here, without opening it."""
        return self._secrets.get(_PREFIX + spki_sha256(certificate)) is not None

    def delete(self, spki: str) -> None:
        """No error when it is gone already. Revisions to roll back to may still need it: ask them first."""
        self._secrets.delete(_PREFIX + spki)

    def names(self) -> list[str]:
        """The SPKI digests of all keys."""
        return sorted(
            name.removeprefix(_PREFIX) for name in self._secrets.names() if name.startswith(_PREFIX)
        )
