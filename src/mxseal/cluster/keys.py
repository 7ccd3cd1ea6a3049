"""Keys of a cluster's members, and what is sealed or signed with them.

Every machine has two key pairs of its own, which never leave it: one that signs what it commits (Ed25519),
one to which others seal what is meant for it alone (HPKE, RFC 9180). The cluster's key, under which private
keys of certificates travel and rest, is sealed to each member.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_REFUSES = "What was sealed to this machine does not open with its key: remove the machine and join it again"


class Distrust(Exception):
    """Something in the engine is not what a member of the cluster wrote; the text says what."""


class Identity:
    """A machine's own key pairs."""

    def __init__(self, secret: bytes) -> None:
        """`secret`: 64 bytes, as `secret` gave them."""
        self.secret = secret
        self._signing = Ed25519PrivateKey.from_private_bytes(secret[:32])
        self._sealing = X25519PrivateKey.from_private_bytes(secret[32:])

    @classmethod
    def make(cls) -> Identity:
        signing, sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(signing.private_bytes_raw() + sealing.private_bytes_raw())

    @property
    def signing(self) -> bytes:
        """The public half of what it signs with."""
        return self._signing.public_key().public_bytes_raw()

    @property
    def sealing(self) -> bytes:
        """The public half of what is sealed to it."""
        return self._sealing.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.signing, self.sealing)

    def sign(self, content: bytes) -> bytes:
        return self._signing.sign(content)

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """What `seal_to` sealed for the same purpose. Raises Distrust."""
        try:
            return _SUITE.decrypt(sealed, self._sealing, purpose.encode())
        except Exception as error:
            raise Distrust(_REFUSES) from error


def fingerprint(signing: bytes, sealing: bytes) -> str:
    """By which people compare a machine's two public keys: SHA-256 in groups of four digits."""
    digits = hashlib.sha256(b"mxseal member" + signing + sealing).hexdigest()
    return ":".join(digits[start : start + 4] for start in range(0, 32, 4))


def seal_to(sealing: bytes, content: bytes, purpose: str) -> bytes:
    """Sealed so that only the owner of a key pair opens it."""
    return _SUITE.encrypt(content, X25519PublicKey.from_public_bytes(sealing), purpose.encode())


def signed(signing: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the owner of a key pair signed this."""
    try:
        Ed25519PublicKey.from_public_bytes(signing).verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return True


class Proof(msgspec.Struct, frozen=True):
    """A token's secret, with which both sides of a join prove that they know it without telling it."""

    secret: bytes

    def of(self, purpose: str, content: bytes) -> bytes:
        return hmac.digest(self.secret, purpose.encode() + b"\0" + content, "sha256")

    def holds(self, proof: bytes, purpose: str, content: bytes) -> bool:
        return hmac.compare_digest(proof, self.of(purpose, content))
