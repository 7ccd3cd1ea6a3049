"""What is known about a TLS connection, as frozen values: success, fault, findings, diagnosis. PURE."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Literal

import msgspec

from mxseal.tls import telling
from mxseal.tls.causes import CAUSES, Side
from mxseal.tls.evidence import OBSERVATIONS
from mxseal.tls.verification import Link

__all__ = [
    "ChainFault",
    "ChainFinding",
    "ClientOffer",
    "Diagnosis",
    "FaultKind",
    "IdentityFinding",
    "Observation",
    "Side",
    "StageTimes",
    "TlsFacts",
    "TlsFault",
]

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
    """IANA names where known, else 0xC0FF style; SCSV values left out. At most the first hundred."""
    groups: tuple[str, ...] = ()
    signature_algorithms: tuple[str, ...] = ()
    server_name: str | None = None
    cipher_count: int = 0
    """How many suites were offered; 0 in logs from before this was counted."""


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
    alert_sent: str | None = None
    """Name of the TLS alert that this gateway sent, where it could still be read on its way out."""
    offer: ClientOffer | None = None
    """Inbound: what the client offered, when its ClientHello could be read."""
    verify_error: str | None = None
    """Inbound, of a client that the policy turns away for its certificate: OpenSSL's reason, or that there
    was none."""
    heard: int = 0
    """Bytes that the peer had sent when the handshake failed, counted up to what is kept of them."""
    peer_certificates: tuple[bytes, ...] = ()
    during: Literal["handshake", "transfer"] = "handshake"
    clear_text: str = ""
    """Kind 'not-tls': the first line that came in place of TLS, printable, at most 80 characters."""


class StageTimes(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Seconds that each stage of a connection took; null: it was not reached. The last is where it ended."""

    lookup: float | None = None
    """Names and addresses of the hosts."""
    connect: float | None = None
    """The TCP connection."""
    banner: float | None = None
    """Until the greeting."""
    ehlo: float | None = None
    """From EHLO, or HELO after it, to the reply."""
    starttls: float | None = None
    """From the command to its reply."""
    handshake: float | None = None
    """From our first TLS message to the last one, or to the failure."""
    ehlo_again: float | None = None
    """RFC 3207 §4.2: the EHLO under TLS."""


class IdentityFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Whose certificate it is, and whose was wanted."""

    wanted: tuple[str, ...] = ()
    """Names that would have been accepted, in the order in which they were compared."""
    names: tuple[str, ...] = ()
    """Names in the certificate that count, as they stand there."""
    matched: str | None = None
    """The wanted name that was found; null: none."""
    nearest: str | None = None
    """Where none matched: the certificate's name that resembles a wanted one most."""


ChainFaultKind = Literal[
    "unreadable",
    "expired",
    "not-yet-valid",
    "self-signed",
    "wrong-order",
    "duplicate",
    "unrelated",
    "key-identifier",
    "root-sent",
    "not-a-ca",
    "weak-key",
    "weak-signature",
    "wrong-usage",
]


class ChainFault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with a chain."""

    kind: ChainFaultKind
    at: int = 0
    """Position in the chain as it was sent, 0 is the leaf."""
    detail: str = ""
    """What it is about: a key, a signature, a usage."""


class ChainFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The chain that a peer sent, read without trusting it."""

    certificates: tuple[Link, ...] = ()
    """In the order in which they were sent, at most ten."""
    path: tuple[int, ...] = ()
    """Positions of those that lead from the leaf upwards, each issued by the next."""
    faults: tuple[ChainFault, ...] = ()
    """The ones that matter most first."""
    issuer: str = ""
    """Who issued the highest of the path, where that was not sent."""
    issuer_at: str = ""
    """Where that one's certificate can be had, as the highest of the path says itself."""


class Observation(msgspec.Struct, frozen=True):
    """One piece of evidence: a text of the catalogue, and what fills its places."""

    key: str
    """A stable identifier of the text."""
    words: dict[str, str] = {}
    """What fills its places."""

    def text(self, translate: Callable[[str], str] = str) -> str:
        return telling.fill(translate(OBSERVATIONS.get(self.key, "")), self.words, translate)


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Why TLS failed or could not be verified: a cause with its parameters, told in any language on demand.

    `translate` is gettext's: an English text of the catalogue in, the text in the reader's language out.
    """

    cause: str
    """A stable short identifier, e.g. 'no-shared-cipher', for counting and for tests."""
    side: Side
    words: dict[str, str] = {}
    """What fills the places of the cause's sentences."""
    seen: tuple[Observation, ...] = ()
    """What was observed, most telling first; empty when nothing is known."""

    def tell_summary(self, translate: Callable[[str], str] = str) -> str:
        """One sentence: what failed."""
        entry = CAUSES.get(self.cause)
        return telling.fill(translate(entry.summary), self.words, translate) if entry else self.cause

    def tell_evidence(self, translate: Callable[[str], str] = str) -> str:
        """What both sides offered or did; empty when nothing is known."""
        return " ".join(text for each in self.seen if (text := each.text(translate)))

    def tell_remedy(self, translate: Callable[[str], str] = str) -> str:
        """One sentence: what to do, by whom."""
        entry = CAUSES.get(self.cause)
        return telling.fill(translate(entry.remedy), self.words, translate) if entry else ""

    @property
    def summary(self) -> str:
        return self.tell_summary()

    @property
    def evidence(self) -> str:
        return self.tell_evidence()

    @property
    def remedy(self) -> str:
        return self.tell_remedy()

    def sentence(self, translate: Callable[[str], str] = str) -> str:
        """The whole diagnosis as one line of text for logs."""
        parts = (self.tell_summary(translate), self.tell_evidence(translate), self.tell_remedy(translate))
        return " ".join(filter(None, parts))
