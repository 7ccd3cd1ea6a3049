"""Chains held against authorities after the handshake: a destination's trust anchors, revocation. PURE.

The lists that hold for everybody are in the contexts, where OpenSSL looks at them in the handshake. Here is
what only some destinations ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal

from cryptography import x509
from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from mxseal.tls.contexts import ContextProblem, add_authorities
from mxseal.tls.strength import weakest
from mxseal.tls.verification import Revocation

Peer = Literal["server", "client"]
_REVOKED = 23
"""X509_V_ERR_CERT_REVOKED."""


def store_of(authorities: Sequence[str], peer: Peer = "server") -> crypto.X509Store:
    """A store of authorities (PEM, one certificate each) that vouch for servers, or clients. What can't be
    read vouches for nobody."""
    store = crypto.X509Store()
    purpose = lib.X509_PURPOSE_SSL_SERVER if peer == "server" else lib.X509_PURPOSE_SSL_CLIENT
    lib.X509_STORE_set_purpose(store._store, purpose)  # noqa: SLF001
    for text in authorities:
        try:
            add_authorities(store, [text])
        except ContextProblem:
            continue
    return store


class Anchors:
    """Authorities that a peer's chain may end in, each for itself: an intermediate is one too, and so is a
    self-signed certificate of a server."""

    def __init__(self, authorities: Sequence[str], peer: Peer = "server", now: float | None = None) -> None:
        """PEM, one certificate each. `now`: seconds since the epoch; None: the system's time."""
        self._store = store_of(authorities, peer)
        self._store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
        if now is not None:
            self._store.set_time(datetime.fromtimestamp(now, UTC))

    def error(self, chain: Sequence[bytes]) -> str | None:
        """OpenSSL's first reason why a chain (DER, leaf first) does not end here; None: it does."""
        found = _problem(self._store, chain, strong=True)
        return None if found is None else found[1]


class Revocations:
    """Lists of revoked certificates, with the authorities that their signatures are held against."""

    def __init__(
        self, authorities: crypto.X509Store, lists: Sequence[x509.CertificateRevocationList]
    ) -> None:
        """`authorities`: a store of its own, which gets the lists."""
        self._store = authorities
        self._context: SSL.Context | None = None
        self._store.set_flags(crypto.X509StoreFlags.CRL_CHECK)
        for entry in lists:
            self._store.add_crl(entry)

    @classmethod
    def beside(cls, context: SSL.Context, lists: Sequence[x509.CertificateRevocationList]) -> Revocations:
        """With the authorities of a context that was made for this and serves no handshake: in one, a missing
        list would end the verification before dates and signatures are looked at."""
        store = context.get_cert_store()
        assert store is not None, "every context has a store"
        made = cls(store, lists)
        made._context = context  # the store is the context's and ends with it
        return made

    def check(self, chain: Sequence[bytes]) -> Revocation:
        """What the lists say about the certificates of a chain (DER, leaf first) that was found trusted.

        One after the other: where one has no list, the next may be revoked all the same.
        """
        covered = True
        for at in range(len(chain)):
            rest = chain[at:]
            if at and _is_root(rest[0]):
                continue  # nobody above it could revoke it
            found = _problem(self._store, rest)
            if found is not None:
                if found[0] == _REVOKED:
                    return "revoked"
                covered = False
        return "good" if covered else "no-list"


def reason(code: int) -> str:
    """OpenSSL's words for a number."""
    return bytes(ffi.string(lib.X509_verify_cert_error_string(code))).decode("ascii", "replace")


def _is_root(der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
        return certificate.subject == certificate.issuer
    except (ValueError, TypeError):
        return False


def _problem(
    store: crypto.X509Store, chain: Sequence[bytes], *, strong: bool = False
) -> tuple[int, str] | None:
    """(OpenSSL's number, its words) of the first thing that is wrong. `strong`: what is weak is wrong."""
    try:
        leaf, *others = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in chain)
    except (crypto.Error, ValueError):
        return 1, "certificate can't be read"
    context = crypto.X509StoreContext(store, leaf, others)
    try:
        if not strong:
            context.verify_certificate()
            return None
        weak = weakest([each.to_cryptography() for each in context.get_verified_chain()])
    except crypto.X509StoreContextError as error:
        return int(error.errors[0]), str(error.errors[2])
    except (ValueError, TypeError):
        return 1, "certificate can't be read"
    return (weak, reason(weak)) if weak else None
