"""The text of API tokens: `mxseal_ID_SECRET`, of which only ID and a hash of SECRET are kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

import msgspec

from mxseal.commands.context import ROLES, Role, allowed
from mxseal.commands.services import Services
from mxseal.storage.tokens import Token

_TEXT = re.compile(r"mxseal_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_NOTHING = bytes(32)


class Made(msgspec.Struct, frozen=True):
    """A new token's parts. `text` is shown once."""

    id: str
    text: str
    digest: bytes


def make() -> Made:
    """A new one, with 256 bits from the system's source of chance."""
    number, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return Made(number, f"mxseal_{number}_{secret}", _digest(secret))


def _digest(secret: str) -> bytes:
    # not a password: nothing has to be slow about it
    return hashlib.sha256(secret.encode()).digest()


def find(services: Services, text: str) -> Token | None:
    """The token with this text that counts now: not expired, and its user is there and may do what it may."""
    parts = _TEXT.fullmatch(text)
    token = services.tokens.get(parts[1]) if parts else None
    stored = token.digest if token is not None else _NOTHING
    fits = hmac.compare_digest(stored, _digest(parts[2] if parts else ""))
    if token is None or not fits or token.role not in ROLES:
        return None
    if token.expires is not None and token.expires <= services.now():
        return None
    return token if covered(services, token) else None


def lives(services: Services, token: Token) -> bool:
    """Whether a token that counted still does, for what takes long."""
    known = services.tokens.get(token.id)
    if known is None or known.digest != token.digest or known.role != token.role:
        return False
    return (known.expires is None or known.expires > services.now()) and covered(services, known)


def called(services: Services, text: str) -> str:
    """What a token is called that does not count: by its name where its id is known."""
    parts = _TEXT.fullmatch(text)
    token = services.tokens.get(parts[1]) if parts else None
    return f"token:{token.name if token is not None else 'unknown'}"


def covered(services: Services, token: Token) -> bool:
    """Whether its user, if it belongs to one, is there and may still do what the token may."""
    if not token.user:
        return True
    user = services.users.get(token.user)
    return user is not None and may_give(user.role, token.role)


def may_give(role: str, wanted: str) -> bool:
    """Whether somebody with a role may let a token have another."""
    roles: dict[str, Role] = {name: name for name in ROLES}
    return role in roles and wanted in roles and (role == wanted or allowed(roles[role], (roles[wanted],)))
