"""What is known about a TLS connection, as frozen values: success, fault, diagnosis. PURE."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Side = Literal["ours", "theirs", "network", "unknown"]
"""Who has to act: this gateway's administrator, the peer's, or whoever runs what lies between."""

FaultKind = Literal["alert-received", "local-error", "peer-gone", "reset", "timeout", "not-tls"]


class TlsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A TLS connection that stands."""

    protocol: str
    """OpenSSL's name: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3."""
    cipher: str
    """OpenSSL's cipher suite name, e.g. TLS_AES_256_GCM_SHA384."""
    bits: int
    """Secret bits of the cipher."""
    group: str | None = None
    """Key exchange group, e.g. X25519MLKEM768; None where the suite has none (RSA key exchange)."""
    resumed: bool = False
    server_name: str | None = None
    """SNI: asked of us (inbound) or by us (outbound)."""
    peer_certificates: tuple[bytes, ...] = ()
    """DER, leaf first, as the peer sent them; empty when it sent none."""
    verify_error: str | None = None
    """OpenSSL's first reason why the peer's chain does not verify; None = verified against the
    trust list, or nothing to verify (`verified` tells which)."""
    verified: bool = False
    """The peer's chain ends in a trusted authority, in date (the name is judged elsewhere)."""
    peer_subject: str | None = None
    """Subject of the peer's leaf, RFC 4514."""
    peer_sha256: str | None = None
    """Fingerprint of the peer's leaf (lower-case hex), in the place of the certificates where those would be
    too long: see `brief`."""

    def brief(self) -> TlsFacts:
        """The same with the leaf's fingerprint for the certificates: kilobytes for each connection are too
        much for a log."""
        if not self.peer_certificates:
            return self
        digest = hashlib.sha256(self.peer_certificates[0]).hexdigest()
        return msgspec.structs.replace(self, peer_certificates=(), peer_sha256=digest)


class ClientOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's first handshake message offers (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2)."""

    versions: tuple[str, ...] = ()
    """OpenSSL's names, highest first, from supported_versions or, without it, legacy_version."""
    ciphers: tuple[str, ...] = ()
    """IANA names where known, else 0xC0FF style; SCSV values left out."""
    groups: tuple[str, ...] = ()
    signature_algorithms: tuple[str, ...] = ()
    server_name: str | None = None


class TlsFault(msgspec.Struct, frozen=True, kw_only=True):
    """A TLS connection that failed. Faults of the peer are values, not exceptions."""

    kind: FaultKind
    library: str = ""
    """OpenSSL library of the first error, e.g. 'SSL routines'; empty for faults of the socket."""
    reason: str = ""
    """OpenSSL's reason in its own words, e.g. 'no shared cipher'; for sockets strerror's text."""
    errno: int = 0
    """The system's errno for kind 'reset' and other socket errors, else 0."""
    alert: str | None = None
    """Name of the TLS alert that the peer sent, e.g. 'unknown ca'."""
    offer: ClientOffer | None = None
    """Inbound: what the client offered, when its ClientHello could be read."""
    heard: int = 0
    """Bytes that the peer had sent when the handshake failed, counted up to what is kept of them."""
    peer_certificates: tuple[bytes, ...] = ()
    during: Literal["handshake", "transfer"] = "handshake"
    clear_text: str = ""
    """Kind 'not-tls': the first line that came in place of TLS, printable, at most 80 characters."""


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Why a TLS connection failed, in words that a postmaster can act upon."""

    cause: str
    """A stable short identifier, e.g. 'no-shared-cipher', for counting and for tests."""
    side: Side
    summary: str
    """One sentence: what failed."""
    evidence: str = ""
    """What the peer offered or did; empty when nothing is known."""
    remedy: str = ""
    """One sentence: what to do, by whom."""

    def sentence(self) -> str:
        """The whole diagnosis as one line of text for logs."""
        return " ".join(part for part in (self.summary, self.evidence, self.remedy) if part)
