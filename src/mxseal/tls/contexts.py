"""TLS contexts from values: certificates side by side, SNI, versions, groups, sessions.

A context must not be changed once a connection used it; a new configuration builds new ones. Everything that
can be wrong with a certificate, a key or a cipher string is found here, as a ContextProblem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
from OpenSSL import SSL, crypto
from OpenSSL._util import lib

from mxseal.tls import keylog, strength, tickets

Version = Literal["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]

_VERSIONS: dict[str, int] = {
    "TLSv1": SSL.TLS1_VERSION,
    "TLSv1.1": SSL.TLS1_1_VERSION,
    "TLSv1.2": SSL.TLS1_2_VERSION,
    "TLSv1.3": SSL.TLS1_3_VERSION,
}
_WEAK_VERSIONS = ("TLSv1", "TLSv1.1")
_ALWAYS = SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION
"""CVE-2009-3555, CVE-2011-1473 (renegotiation); CVE-2012-4929 (compression). No setting brings them back."""
_CLIENT_DEPTH = 8
"""Authorities above a client's certificate: a stranger may send 100 KB of them, and each costs a check."""
_NEVER = "!aNULL:!eNULL:!PSK:!SRP"
"""Suites without authentication or encryption, or with keys that nobody has: whatever a string says."""
_CIPHER_STRING = re.compile(r"[A-Za-z0-9:+!@=_., -]+")
_NO_AUTO_CHAIN = 0x8
"""SSL_MODE_NO_AUTO_CHAIN: send the chain that was given, never one completed from the trust list."""

SERVER_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!AESCCM"
"""TLS 1.2 suites offered to clients: forward secrecy only (RFC 9325 §4.1), CBC last for old Exchange."""
CLIENT_CIPHERS = "DEFAULT:!PSK:!SRP"
"""TLS 1.2 suites offered to servers: broad, since the alternative to an old suite is often clear text."""
CLASSIC_GROUPS = ("X25519", "P-256", "P-384")
POST_QUANTUM_GROUPS = ("X25519MLKEM768",)


class ContextProblem(ValueError):
    """A context can't be built; the message is a sentence for the administrator."""


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate as OpenSSL reads it: a PEM file (or memory file) with leaf, then path; and its key."""

    chain_path: str
    key: Any
    """A private key object of `cryptography`."""


class SniCertificates(msgspec.Struct, frozen=True, kw_only=True):
    """Certificates for clients that ask for one of `names`: host names, or '*.' and a parent (one label)."""

    names: tuple[str, ...]
    certificates: tuple[CertificateFiles, ...]


class ServerTls(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener serves. `certificates`: at most one per key type, RSA and ECDSA side by side."""

    certificates: tuple[CertificateFiles, ...]
    sni: tuple[SniCertificates, ...] = ()
    verifies_clients: bool = False
    """Whether connections may ask for the client's certificate (`Engine`, `ask_certificate`). Only then the
    three keys of trust count."""
    trust: str | None = None
    """PEM file of trusted authorities; None: the system's list."""
    system: bool = True
    """Whether `trust` counts; without it and without `authorities` no chain verifies."""
    authorities: tuple[str, ...] = ()
    """The custom list: PEM, one certificate each."""
    min_version: Version = "TLSv1.2"
    max_version: Version | None = None
    ciphers: str = SERVER_CIPHERS
    """OpenSSL cipher string for TLS 1.2 and below."""
    groups: tuple[str, ...] = POST_QUANTUM_GROUPS + CLASSIC_GROUPS
    session_id: bytes = b"mxseal"
    """Sessions resume only among contexts with the same one; at most 32 bytes."""
    configuration: str = ""
    """Stands for all the rest: processes with the same one honour each other's tickets (`tickets`)."""


class ClientTls(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered to servers. Verification is recorded, never enforced: policy judges afterwards."""

    trust: str | None = None
    """PEM file of trusted authorities; None: the system's list."""
    system: bool = True
    """Whether `trust` counts; without it and without `authorities` no chain verifies."""
    authorities: tuple[str, ...] = ()
    """The custom list: PEM, one certificate each."""
    partial: bool = False
    """A chain may end in any of them, also in one that is no root."""
    certificate: CertificateFiles | None = None
    min_version: Version = "TLSv1.2"
    max_version: Version | None = None
    ciphers: str = CLIENT_CIPHERS
    groups: tuple[str, ...] = CLASSIC_GROUPS
    signatures: tuple[str, ...] = ()
    """Names of the signature schemes that a server may use; empty: OpenSSL's own list."""
    post_quantum: bool = True
    """Offer X25519MLKEM768 first; its key share makes the ClientHello larger than some middleboxes bear."""


def server_context(values: ServerTls) -> SSL.Context:
    """The listener's context, with its SNI contexts behind it. Raises ContextProblem."""
    context = _one_server_context(values, values.certificates, tickets.context_for(values.configuration))
    exact: dict[str, SSL.Context] = {}
    wildcard: dict[str, SSL.Context] = {}
    for entry in values.sni:
        # The ticket keys of the first context count, whichever SNI chooses.
        named = _one_server_context(values, entry.certificates, SSL.Context(SSL.TLS_SERVER_METHOD))
        for name in entry.names:
            name = name.lower().rstrip(".")
            if name.startswith("*."):
                wildcard.setdefault(name[2:], named)
            else:
                exact.setdefault(name, named)
    if exact or wildcard:
        context.set_tlsext_servername_callback(_chooser(exact, wildcard))
    return context


def client_context(values: ClientTls) -> SSL.Context:
    """The context for deliveries. Raises ContextProblem.

    With VERIFY_NONE an OpenSSL client still verifies the server's chain, keeps the first reason in the
    session, where it survives resumption, and goes on: no callback is needed but for weak certificates.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_options(_ALWAYS)
    # At security level 0 OpenSSL would believe certificates of any weakness.
    context.set_verify(SSL.VERIFY_NONE, _strong if values.min_version in _WEAK_VERSIONS else None)
    _set_versions(context, values.min_version, values.max_version, values.ciphers)
    if values.system:
        _trust(context, values.trust)
    store = context.get_cert_store()
    add_authorities(store, values.authorities)
    if values.partial and store is not None:
        store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    if values.certificate is not None:
        _use_certificate(context, values.certificate)
    # '*' sends a key share at once: one for each kind, so that classic servers need no second round.
    classic = [f"*{name}" if index == 0 else name for index, name in enumerate(values.groups)]
    modern = [f"*{name}" for name in POST_QUANTUM_GROUPS] if values.post_quantum else []
    _set_groups(context, modern + classic)
    if values.signatures:
        _set_signatures(context, values.signatures)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    return context


def _one_server_context(
    values: ServerTls, certificates: Sequence[CertificateFiles], context: SSL.Context
) -> SSL.Context:
    """`context`, which is empty, set up."""
    if not certificates:
        raise ContextProblem("A TLS listener needs a certificate: assign one with its private key.")
    context.set_options(_ALWAYS | SSL.OP_CIPHER_SERVER_PREFERENCE)
    _set_versions(context, values.min_version, values.max_version, values.ciphers)
    for certificate in certificates:
        _use_certificate(context, certificate)
    _set_groups(context, values.groups)
    context.set_session_id(values.session_id)
    # Tickets only: sessions of strangers take no memory here. OpenSSL makes the ticket key per context.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    if values.verifies_clients:
        if values.system:
            _trust(context, values.trust)
        add_authorities(context.get_cert_store(), values.authorities)
        context.set_verify_depth(_CLIENT_DEPTH)
        # The callback only: connections that ask switch the asking on.
        weak = values.min_version in _WEAK_VERSIONS
        context.set_verify(SSL.VERIFY_NONE, _collect_weak_too if weak else _collect)
    return context


def _collect(connection: SSL.Connection, _certificate: object, code: int, _depth: int, ok: int) -> bool:
    """Verify callback: note the error code in the connection's app data (the engine's list) and go on."""
    if not ok:
        errors = connection.get_app_data()
        if isinstance(errors, list):
            errors.append(code)
    return True


def _collect_weak_too(
    connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int
) -> bool:
    return _collect(connection, certificate, *_judged(certificate, code, depth, ok))


def _strong(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Verify callback: stop at the first fault as OpenSSL does without one, and at weak certificates too.
    The number of a weakness is noted beside: the session keeps only that there was one."""
    code, depth, still = _judged(certificate, code, depth, ok)
    if ok and not still:
        _collect(connection, certificate, code, depth, still)
    return bool(still)


def _judged(certificate: crypto.X509, code: int, depth: int, ok: int) -> tuple[int, int, int]:
    """(code, depth, ok), not ok for a certificate that is too weak."""
    if not ok:
        return code, depth, ok
    try:
        read = certificate.to_cryptography()
        weak = strength.weakness(read, depth, anchor=bool(depth) and strength.issued(read, read))
    except (ValueError, TypeError):
        weak = strength.UNREADABLE
    return (weak, depth, 0) if weak else (code, depth, ok)


def _chooser(
    exact: dict[str, SSL.Context], wildcard: dict[str, SSL.Context]
) -> Callable[[SSL.Connection], None]:
    """SNI callback: switch to the context of the name asked for; unknown names keep the default."""

    def choose(connection: SSL.Connection) -> None:
        raw = connection.get_servername()
        if raw is None:
            return
        name = raw.decode("latin-1").lower().rstrip(".")
        # RFC 6125 §6.4.3: '*' stands for exactly one label.
        context = exact.get(name) or wildcard.get(name.partition(".")[2])
        if context is not None:
            connection.set_context(context)
            keylog.follow(connection, context)

    return choose


def _set_versions(context: SSL.Context, lowest: Version, highest: Version | None, ciphers: str) -> None:
    context.set_mode(SSL.MODE_RELEASE_BUFFERS | _NO_AUTO_CHAIN)
    # Whole writes in one call: with memory buffers nothing ever blocks.
    context.clear_mode(int(lib.SSL_MODE_ENABLE_PARTIAL_WRITE))
    context.set_min_proto_version(_VERSIONS[lowest])
    context.set_max_proto_version(_VERSIONS[highest] if highest else 0)
    try:
        context.set_cipher_list(cipher_text(ciphers, lowest).encode("ascii", "replace"))
    except SSL.Error:
        raise ContextProblem(
            f"The cipher string {ciphers!r} names no cipher that this gateway has."
        ) from None


def cipher_text(ciphers: str, lowest: Version) -> str:
    """The string as OpenSSL gets it. Raises ContextProblem."""
    if not _CIPHER_STRING.fullmatch(ciphers):  # a NUL would cut off what is put behind it
        raise ContextProblem(f"The cipher string {ciphers!r} has a character that none may have.")
    # TLS below 1.2 signs with MD5 and SHA-1, which OpenSSL allows at security level 0 only.
    level = ":@SECLEVEL=0" if lowest in _WEAK_VERSIONS else ""
    return f"{ciphers}:{_NEVER}{level}"


def _set_groups(context: SSL.Context, groups: Sequence[str]) -> None:
    text = ":".join(groups).encode("ascii", "replace")
    if lib.SSL_CTX_set1_curves_list(context._context, text) != 1:  # noqa: SLF001 - no public name
        lib.ERR_clear_error()
        raise ContextProblem(f"The list of key exchange groups {':'.join(groups)!r} holds an unknown name.")


def _set_signatures(context: SSL.Context, names: Sequence[str]) -> None:
    text = ":".join(names).encode("ascii", "replace")
    if lib.SSL_CTX_set1_sigalgs_list(context._context, text) != 1:  # noqa: SLF001 - no public name
        lib.ERR_clear_error()
        raise ContextProblem(f"The list of signatures {':'.join(names)!r} holds an unknown name.")


def _trust(context: SSL.Context, path: str | None) -> None:
    if path is None:
        context.set_default_verify_paths()
        return
    try:
        context.load_verify_locations(path)
    except SSL.Error as error:
        raise ContextProblem(
            f"The list of trusted authorities {path} can't be read: {_words(error)}."
        ) from None


def add_authorities(store: crypto.X509Store | None, authorities: Sequence[str]) -> None:
    """Put authorities (PEM, one certificate each) into a store. Raises ContextProblem."""
    for text in authorities:
        try:
            certificate = crypto.load_certificate(crypto.FILETYPE_PEM, text.encode("utf-8", "replace"))
        except crypto.Error:
            raise ContextProblem("An authority of the custom list can't be read: import it again.") from None
        if store is not None:
            store.add_cert(certificate)


def _use_certificate(context: SSL.Context, files: CertificateFiles) -> None:
    """OpenSSL keeps one certificate, with its own chain, for each key type."""
    try:
        context.use_certificate_chain_file(files.chain_path)
    except SSL.Error as error:
        raise ContextProblem(f"The certificate can't be used: {_words(error)}.") from None
    try:
        context.use_privatekey(files.key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ContextProblem(f"The private key does not fit the certificate: {_words(error)}.") from None


def _words(error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return "; ".join(str(entry[2]) for entry in entries if entry[2]) or "OpenSSL gives no reason"
