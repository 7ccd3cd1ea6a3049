"""Passkeys (WebAuthn level 2) as a second factor: what the browser is asked, and whether it answered right.

The library checks signatures, origin, challenge and flags; here is what it is told to expect.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationConveyancePreference,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from mxseal.storage.web import Passkey

MOST = 10
"""Of one user."""


class PasskeyRefused(Exception):
    """What the browser sent is not what was asked for."""


class Asked(msgspec.Struct, frozen=True):
    """What a browser was asked, and from where: the answer has to fit."""

    challenge: bytes
    host: str
    origin: str
    at: float


def ask_new(asked: Asked, user: str, known: list[Passkey]) -> str:
    """Options of navigator.credentials.create, JSON. `known`: the user's own, which are not made twice."""
    options = generate_registration_options(
        rp_id=asked.host,
        rp_name=f"MXSeal {asked.host}",
        user_name=user,
        # A handle that tells nothing, the same each time: authenticators keep one passkey for it.
        user_id=hashlib.sha256(f"mxseal\0{user}".encode()).digest(),
        challenge=asked.challenge,
        attestation=AttestationConveyancePreference.NONE,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each.credential) for each in known],
    )
    return options_to_json(options)


def take_new(asked: Asked, answer: dict[str, Any], user: str, name: str) -> Passkey:
    """The passkey that was made. Raises PasskeyRefused."""
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=asked.challenge,
            expected_rp_id=asked.host,
            expected_origin=asked.origin,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused(str(error)) from None
    return Passkey(
        credential=made.credential_id, user=user, host=asked.host, key=made.credential_public_key,
        count=made.sign_count, name=name, added=asked.at, used=None,
    )  # fmt: skip


def ask_known(asked: Asked, known: list[Passkey]) -> str:
    """Options of navigator.credentials.get, JSON."""
    options = generate_authentication_options(
        rp_id=asked.host,
        challenge=asked.challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=each.credential) for each in known],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    return options_to_json(options)


def take_known(asked: Asked, answer: dict[str, Any], known: list[Passkey]) -> tuple[Passkey, int]:
    """The passkey that signed, and its new count. Raises PasskeyRefused."""
    try:
        credential = base64url_to_bytes(str(answer["rawId"]))
        passkey = next((each for each in known if each.credential == credential), None)
        if passkey is None or passkey.host != asked.host:
            raise PasskeyRefused("this passkey is not one of this user")
        # A count that went back is a copy of the authenticator (WebAuthn §6.1.1); the library refuses it.
        found = verify_authentication_response(
            credential=answer,
            expected_challenge=asked.challenge,
            expected_rp_id=asked.host,
            expected_origin=asked.origin,
            credential_public_key=passkey.key,
            credential_current_sign_count=passkey.count,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise PasskeyRefused(str(error)) from None
    return passkey, found.new_sign_count
