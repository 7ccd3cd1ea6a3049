"""Versions and cipher lists by use: the named profiles, and what each would refuse in plain words. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from mxseal.tls.contexts import CLIENT_CIPHERS, SERVER_CIPHERS, Version

Use = Literal["gui", "inbound", "outbound"]
USES: tuple[Use, ...] = ("gui", "inbound", "outbound")
VERSIONS: tuple[Version, ...] = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
"""Lowest first."""
OLD_VERSIONS: frozenset[str] = frozenset(("TLSv1", "TLSv1.1"))
"""Deprecated (RFC 8996); they sign with MD5 and SHA-1."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A choice of versions and TLS 1.2 suites; `server` for inbound and GUI, `client` for outbound."""

    versions: tuple[Version, ...]
    server: str
    client: str
    summary: str
    refuses: str
    """Whom it shuts out, and what that means."""

    def ciphers(self, use: Use) -> str:
        return self.client if use == "outbound" else self.server


_AEAD = "ECDHE+AESGCM:ECDHE+CHACHA20"
_CURRENT: tuple[Version, ...] = ("TLSv1.2", "TLSv1.3")

PROFILES: dict[str, Profile] = {
    "modern": Profile(
        versions=("TLSv1.3",),
        server=_AEAD,
        client=_AEAD,
        summary="TLS 1.3 only",
        refuses="Peers without TLS 1.3: Exchange on Windows Server 2019 and older, OpenSSL before 1.1.1 "
        "(2018), Java before 11, most appliances from before 2019. Inbound, such a client falls back to "
        "clear text where the policy is “preferred”, and can't send where it is “required”. Outbound, mail "
        "to such a server waits until it expires.",
    ),
    "intermediate": Profile(
        versions=_CURRENT,
        server=SERVER_CIPHERS,
        client=CLIENT_CIPHERS,
        summary="TLS 1.2 and 1.3, the default",
        refuses="Peers that know nothing newer than TLS 1.1: Windows Server 2008 and Exchange 2007 to 2013 "
        "without updates, OpenSSL before 1.0.1 (2012), Java 7 and older, many scanners and printers. Inbound "
        "also clients without forward secrecy (RSA key exchange only) and those whose only Diffie-Hellman is "
        "over large numbers (DHE); outbound both are served, as the alternative is often clear text.",
    ),
    "old": Profile(
        versions=("TLSv1", "TLSv1.1", *_CURRENT),
        server=f"{SERVER_CIPHERS}:kRSA+AESGCM:kRSA+AES",
        client=CLIENT_CIPHERS,
        summary="TLS 1.0 to 1.3, for peers that can't be renewed",
        refuses="Peers that know nothing newer than SSL 3.0, and those that offer only RC4, DES, 3DES or "
        "export ciphers (Windows Server 2003): the TLS library has none of these any more. The price: "
        "OpenSSL's security level becomes 0, without which TLS 1.0 and 1.1 can't sign, and certificates of "
        "peers with short keys or SHA-1 signatures then end no handshake; none ever counts as verified.",
    ),
}


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force for one use."""

    lowest: Version
    highest: Version
    ciphers: str

    @property
    def versions(self) -> tuple[Version, ...]:
        """Highest first, as logs and explanations have them."""
        return VERSIONS[VERSIONS.index(self.lowest) : VERSIONS.index(self.highest) + 1][::-1]


def chosen(
    use: Use, profile: str, protocols: Sequence[Version] | None = None, ciphers: str | None = None
) -> Chosen:
    """The profile's values, or those that stand in their place. `protocols`: without a gap, see `gap`."""
    values = PROFILES[profile]
    versions = sorted(protocols or values.versions, key=VERSIONS.index)
    return Chosen(
        lowest=versions[0], highest=versions[-1], ciphers=values.ciphers(use) if ciphers is None else ciphers
    )


def gap(protocols: Sequence[Version]) -> Version | None:
    """The version that lies between others and is missing: TLS offers a range (reference §6.5)."""
    places = sorted(VERSIONS.index(version) for version in protocols)
    return next((VERSIONS[place] for place in range(places[0], places[-1]) if place not in places), None)
