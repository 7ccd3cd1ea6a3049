"""Client certificates held against the lists of revoked ones."""

from __future__ import annotations

import msgspec

from mxseal.certs.sent import read_sent
from mxseal.relay.verification import Revoking
from mxseal.tls.facts import TlsFacts
from mxseal.tls.verification import Revocation

REVOKED = "certificate revoked"
"""OpenSSL's words."""


def held_against(facts: TlsFacts, revoking: Revoking | None, now: float) -> tuple[TlsFacts, Revocation]:
    """The facts of a handshake after a look into the lists, and what those say; `revoking` None: the look-up
    is off.

    A client whose certificate was revoked is not verified; one without a list in date stays what it was.
    """
    if revoking is None or not facts.verified or not facts.peer_certificates:
        return facts, "not-checked"
    chain = facts.peer_certificates
    path = read_sent(chain, now, "client").path
    found = revoking.check(tuple(chain[at] for at in path))
    if found != "revoked":
        return facts, found
    return msgspec.structs.replace(facts, verified=False, verify_error=REVOKED), found
