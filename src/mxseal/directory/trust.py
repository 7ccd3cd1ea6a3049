"""What a directory server's certificate is worth, with the engine and the words of mail servers'. PURE.

The name is compared by RFC 4513 §3.1.3: the host that was configured with the DNS names of the certificate,
an address with its addresses; the common name counts where there is no DNS name.
"""

from __future__ import annotations

import ipaddress
from typing import Protocol

import msgspec
from cryptography import x509

from mxseal.certs.sent import read_sent
from mxseal.tls.facts import Diagnosis, TlsFacts
from mxseal.tls.identity import Expected, NameVerdict, by_hosted, by_verify, names_of
from mxseal.tls.policy import Level
from mxseal.tls.unverified import diagnose_verification
from mxseal.tls.verification import Revocation, Verification, links, plain

_LEVEL: Level = "required-verify-hosted"
"""The level whose rules are those of a client that knows its host by name."""


class Revoking(Protocol):
    """The lists of revoked certificates in force."""

    def check(self, chain: tuple[bytes, ...]) -> Revocation: ...


class Checked(msgspec.Struct, frozen=True):
    """The findings about one handshake."""

    verification: Verification
    error: str | None
    """Why it is not trusted, in OpenSSL's words; None: it is."""
    diagnosis: Diagnosis | None

    @property
    def words(self) -> str:
        """The verdict for a log line."""
        if self.error is not None:
            return f"not verified: {self.error}"
        name = self.verification.hosted
        place = "the subject alternative name" if name.source == "san" else "the common name"
        return f"verified, {name.name} ({place}) matches the host of the profile"


def check(
    facts: TlsFacts, host: str, trust: tuple[str, ...], revoking: Revoking | None, now: float
) -> Checked:
    """`trust`: names of the lists that the context was made with; `now`: seconds since the epoch."""
    chain = facts.peer_certificates
    error = None if facts.verified else plain(facts.verify_error)
    shown = links(chain)
    trusted = bool(chain) and error is None
    names = names_of(chain[0]) if chain else names_of(b"")
    close = read_sent(chain, now)
    revocation: Revocation = "not-checked"
    if trusted and revoking is not None:
        revocation = revoking.check(tuple(chain[at] for at in close.path))
    expected = Expected(email_domain="", route_host=host)
    found = Verification(
        trusted=trusted,
        chain_error=error,
        trust=trust,
        chain=shown,
        names=names.shown(),
        revocation=revocation,
        verify=by_verify(names, expected),
        hosted=_by_address(chain[0], host) if chain and _is_address(host) else by_hosted(names, expected),
        missing_issuer=close.issuer,
        issuer_urls=(close.issuer_at,) if close.issuer_at else (),
    )
    event = found.judge(_LEVEL).event
    diagnosis = diagnose_verification(found, _LEVEL, host, close) if event is not None else None
    return Checked(found, found.error(event) if event is not None else None, diagnosis)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _by_address(leaf: bytes, host: str) -> NameVerdict:
    """Addresses are compared with addresses, never with names (RFC 6125 §1.7.2)."""
    try:
        extension = x509.load_der_x509_certificate(leaf).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        found = [str(address) for address in extension.value.get_values_for_type(x509.IPAddress)]
    except (ValueError, TypeError, x509.ExtensionNotFound, x509.DuplicateExtension):
        found = []
    except x509.UnsupportedGeneralNameType:
        found = []
    wanted = str(ipaddress.ip_address(host))
    if wanted in found:
        return NameVerdict(matched=True, name=wanted, against="route-host", expected=wanted)
    return NameVerdict(matched=False, name=next(iter(found), ""), expected=wanted, wanted=(wanted,))
