"""Sealing of what must not be read at rest: AES-256-GCM under the home's key file, bound to its name."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"\x01"


class SealBroken(Exception):
    """A sealed value does not open: another key file, or a changed value."""


def make_key_file(path: Path) -> None:
    """Write a new random key, readable by the owner only. FileExistsError when there is one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())


class Seal:
    """Seals and opens values. The name is authenticated: a value can't be moved to another name."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_file(cls, path: Path) -> Seal:
        """The seal of a home. PermissionError when others may read the key file."""
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise PermissionError(
                    f"{path} can be read by others: chmod 600 it, and renew the keys it seals"
                )
            key = file.read(_KEY_BYTES + 1)
        if len(key) != _KEY_BYTES:
            raise SealBroken(f"{path} is not a key file of {_KEY_BYTES} bytes: restore it from a backup")
        return cls(key)

    def seal(self, name: str, value: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        if sealed[:1] != _FORMAT:
            raise SealBroken(f"the sealed value {name} has an unknown format")
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, name.encode())
        except InvalidTag:
            raise SealBroken(
                f"the sealed value {name} does not open: was the home's key file replaced?"
            ) from None
