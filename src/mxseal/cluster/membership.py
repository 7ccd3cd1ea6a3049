"""What a machine keeps about its membership, sealed in its home; and the token with which another joins."""

from __future__ import annotations

import base64
import binascii

import msgspec

from mxseal.storage.ports import Secrets

_PLACE = "cluster/membership"
_MARK = "mxseal-join-"
ACTIVE = "cluster/active"
"""Fact of the home: the number of the revision that is in force here."""
TOKEN_LIFE = 3600.0
"""Seconds."""


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """This machine as a member."""

    cluster: str
    machine: str
    servers: tuple[str, ...]
    """Of the engine: tls://host:port."""
    authority: str
    """PEM of the authorities that the engine's certificates are believed from."""
    certificate: str
    """Name of the certificate by which this machine is known to the engine."""
    identity: bytes
    """Secret: see `keys.Identity`."""
    keys: dict[int, bytes]
    """Secret: the cluster's key, by generation."""
    connected: bool = True
    """False: detached by `clusterconfig disconnect`."""


def load(secrets: Secrets) -> Membership | None:
    """None: this machine is no member of a cluster."""
    sealed = secrets.get(_PLACE)
    return None if sealed is None else msgspec.json.decode(sealed, type=Membership)


def save(secrets: Secrets, membership: Membership) -> None:
    secrets.put(_PLACE, msgspec.json.encode(membership))


def forget(secrets: Secrets) -> None:
    secrets.delete(_PLACE)


class Token(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An invitation. Whoever has it can join once, until it expires."""

    cluster: str
    ticket: str
    secret: bytes
    inviter: str
    """Machine that made it."""
    fingerprint: str
    """Of that machine."""

    def encode(self) -> str:
        return _MARK + base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def read_token(text: str) -> Token | None:
    """None when it is none."""
    text = text.strip()
    if not text.startswith(_MARK) or len(text) > 4096:
        return None
    body = text.removeprefix(_MARK)
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=Token)
    except (binascii.Error, ValueError):  # msgspec's errors are ValueErrors
        return None


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What members know about a token that was given out; it rests sealed under the cluster's key."""

    secret: bytes
    group: str
    by: str
    expires: float


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine that wants to join says. `machine` and all that follows is in `proof`."""

    ticket: str
    about: bytes
    """JSON of an `Applicant`."""
    proof: bytes


class Applicant(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that wants to join, with the settings that it brings."""

    machine: str
    signing: bytes
    sealing: bytes
    settings: str
    """TOML of a document with only those settings."""
    keep: tuple[str, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a member answers: the revision in which the machine is a member, or why there is none."""

    refusal: str = ""
    record: bytes = b""
    proof: bytes = b""
