"""Keys of SSH: those that users show, and those by which the gateway is known, which are made once.

Public keys come as the line that ssh-keygen writes into a .pub file, which is also that of authorized_keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_ssh_public_key,
)

from mxseal.storage.ports import Secrets

KINDS = (
    "ssh-ed25519", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-rsa",
)  # fmt: skip
"""Types that are taken; ssh-rsa is the key's type, its signatures are made with SHA-2 (RFC 8332)."""
SHORTEST_RSA = 2048
HOST_KINDS = ("ed25519", "rsa")
_RSA_BITS = 3072
_PREFIX = "ssh-host/"
_LONGEST_LINE = 20_000


class KeyRefused(ValueError):
    """It is no public key that can be taken; the text is a sentence with the remedy."""


class PublicKey(msgspec.Struct, frozen=True):
    """A public key: type, value as SSH sends it (RFC 4253 §6.6), comment."""

    kind: str
    blob: bytes
    comment: str

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen -l shows it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read_public_key(text: str) -> PublicKey:
    """The key of a .pub file. Raises KeyRefused."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if any("PRIVATE KEY" in line for line in lines):
        raise KeyRefused("This is a private key, which never leaves its owner: give the .pub file beside it")
    if len(lines) != 1 or len(lines[0]) > _LONGEST_LINE:
        raise KeyRefused("One public key is one line, such as: ssh-ed25519 AAAA… anna@example.com")
    words = lines[0].split(maxsplit=2)
    if len(words) < 2 or words[0] not in KINDS:
        raise KeyRefused(
            f"{words[0][:40]!r} is no type of key that is taken. Taken are: {', '.join(KINDS)}. "
            "Options in front of the type are not taken either"
        )
    kind, encoded = words[:2]
    try:
        blob = base64.b64decode(encoded, validate=True)
        # the type stands inside too, and the inner one is what SSH believes
        inner = blob[4 : 4 + struct.unpack(">I", blob[:4])[0]].decode("ascii")
        key = load_ssh_public_key(f"{kind} {encoded}".encode())
    except (binascii.Error, struct.error, UnicodeDecodeError, ValueError, UnsupportedAlgorithm):
        raise KeyRefused("The key can't be read: it was cut or changed on its way. Copy it again") from None
    if inner != kind:
        raise KeyRefused("The key can't be read: it says two different types. Copy it again")
    if isinstance(key, RSAPublicKey) and key.key_size < SHORTEST_RSA:
        raise KeyRefused(
            f"An RSA key of {key.key_size} bits is too short: make a new one with 'ssh-keygen -t ed25519'"
        )
    return PublicKey(kind, blob, words[2].strip()[:200] if len(words) > 2 else "")


# --- keys of the gateway ----------------------------------------------------------------------------------


def make_host_key(kind: str) -> bytes:
    """A new private key as PKCS#8 DER. Takes up to a second for RSA."""
    if kind == "rsa":
        rsa = generate_private_key(65537, _RSA_BITS)
        return rsa.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return Ed25519PrivateKey.generate().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def host_key(secrets: Secrets, kind: str) -> bytes | None:
    """The stored private key, None before it was made."""
    return secrets.get(_PREFIX + kind)


def keep_host_key(secrets: Secrets, kind: str, key: bytes) -> None:
    """StorageRefused when the disk does not take it."""
    secrets.put(_PREFIX + kind, key)


def host_public_keys(secrets: Secrets) -> list[PublicKey]:
    """Public parts of those that were made."""
    found: list[PublicKey] = []
    for kind in HOST_KINDS:
        stored = host_key(secrets, kind)
        if stored is not None:
            public = load_der_private_key(stored, None).public_key()
            line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
            found.append(read_public_key(line))
    return found
