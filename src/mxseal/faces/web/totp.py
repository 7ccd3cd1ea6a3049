"""Second factors that are typed: codes of an authenticator app (RFC 6238), recovery codes.

A code is good for its step of 30 seconds and the ones beside it, once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote

import segno
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from markupsafe import Markup

STEP = 30
DIGITS = 6
_SECRET_BYTES = 20
"""RFC 4226 §4: 160 bits."""
_DRIFT = 1
"""Steps that clocks may be apart."""
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without letters and digits that look alike: 4.95 bits each."""
_RECOVERY_LENGTH = 16


def new_secret() -> bytes:
    return secrets.token_bytes(_SECRET_BYTES)


def spelled(secret: bytes) -> str:
    """As apps take it when it is typed."""
    return base64.b32encode(secret).decode()


def address(secret: bytes, user: str, host: str) -> str:
    """What the QR code says: otpauth:, as apps read it."""
    issuer = f"MXSeal {host}"
    return f"otpauth://totp/{quote(issuer)}:{quote(user)}?secret={spelled(secret)}&issuer={quote(issuer)}"


def picture(text: str) -> Markup:
    """The QR code as SVG, black on white in any scheme: cameras want it so."""
    code = segno.make(text, error="m", micro=False)
    return Markup(code.svg_inline(scale=5, border=3, dark="#000", light="#fff", omitsize=True))  # noqa: S704


def code_at(secret: bytes, step: int) -> str:
    # SHA-1 is what all apps have; HMAC does not suffer from its collisions (RFC 6238 §1.2).
    return TOTP(secret, DIGITS, SHA1(), STEP).generate(step * STEP).decode()  # noqa: S303


def step_of(secret: bytes, code: str, now: float) -> int | None:
    """The time step whose code it is; None when it is none of now. Each is compared: no time is told."""
    typed = "".join(code.split())
    here = int(now // STEP)
    found = None
    for step in range(here - _DRIFT, here + _DRIFT + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), typed.encode()):
            found = step
    return found


def new_recovery() -> list[str]:
    """Codes for when the second factor is lost: 'abcd-efgh-jkmn-pqrs', 79 bits each."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def _recovery_code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_LENGTH))
    return "-".join(letters[at : at + 4] for at in range(0, _RECOVERY_LENGTH, 4))


def recovery_digest(user: str, code: str) -> bytes:
    """What is stored. However it is typed: spaces, dashes and capitals do not count."""
    plain = "".join(letter for letter in code.lower() if letter.isalnum())
    return hashlib.sha256(f"{user}\0{plain}".encode()).digest()


def looks_like_recovery(code: str) -> bool:
    return sum(letter.isalnum() for letter in code) == _RECOVERY_LENGTH
