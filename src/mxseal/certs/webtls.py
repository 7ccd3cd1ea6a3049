"""TLS of the HTTPS ports: contexts of the standard library, for a server that knows no others.

The mail's contexts (`live`) can do more and are pyOpenSSL's; event loops take only these. Versions and cipher
lists come from `sslconfig gui`.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mxseal.certs.facts import pem
from mxseal.certs.keys import KeyDamaged, KeyStore
from mxseal.certs.profiles import parse, sent
from mxseal.config.model import Document, Interface
from mxseal.config.problem import Problem, key_path
from mxseal.tls import profiles
from mxseal.tls.contexts import ContextProblem, cipher_text

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME."""


def web_context(document: Document, interface: Interface, keys: KeyStore, now: float) -> ssl.SSLContext:
    """What the HTTPS port of an interface presents. Raises WebTlsRefused.

    `now` (seconds since the epoch) decides among several certificates of one authority, nothing else.
    """
    path = key_path("interfaces", interface.name, "certificate")
    chain, key = _material(document, interface.certificate, keys, now, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # against the attacks on renegotiation (CVE-2009-3555) and on compression (CVE-2012-4929)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    settings = document.ssl.gui
    chosen = profiles.chosen("gui", settings.profile, settings.protocols, settings.ciphers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # who asks for TLS 1.0 was told by sslconfig
            context.minimum_version = _VERSIONS[chosen.lowest]
            context.maximum_version = _VERSIONS[chosen.highest]
        context.set_ciphers(cipher_text(chosen.ciphers, chosen.lowest))
    except ssl.SSLError as error:
        raise WebTlsRefused(_refused("ssl.gui.ciphers", error, "See 'sslconfig gui'")) from None
    except ContextProblem as problem:
        raise WebTlsRefused(Problem("ssl.gui.ciphers", str(problem).rstrip("."))) from None
    try:
        with _memory_file(chain) as chain_file, _memory_file(key) as key_file:
            context.load_cert_chain(chain_file, key_file)
    except ssl.SSLError as error:
        raise WebTlsRefused(_refused(path, error, "Assign another certificate")) from None
    if interface.client_certificates != "off":
        _ask_for_certificates(context, document, interface)
    return context


def client_authorities(document: Document, interface: Interface) -> tuple[str, ...]:
    """PEM of the authorities from which browsers' certificates must come on an interface."""
    wanted = set(interface.client_authorities)
    return tuple(entry.certificate for entry in document.trust.authorities if entry.name in wanted)


def _ask_for_certificates(context: ssl.SSLContext, document: Document, interface: Interface) -> None:
    """Who shows none goes on without. One of another authority ends the handshake: this library can not do
    otherwise. Dates are looked at behind it (`browsers`), where a page can say what is wrong."""
    try:
        context.load_verify_locations(cadata="\n".join(client_authorities(document, interface)))
    except (ssl.SSLError, ValueError):
        path = key_path("interfaces", interface.name, "client_authorities")
        raise WebTlsRefused(Problem(path, "an authority can't be read", "Import it again")) from None
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    # A resumed session would bring a certificate without the chain that it was judged by.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0


def engine_context(
    document: Document, certificate: str, authority: str, keys: KeyStore, now: float
) -> ssl.SSLContext:
    """For the connection to a cluster's engine: shows `certificate` (a name), believes the authorities in
    `authority` (PEM) alone. Raises WebTlsRefused."""
    path = key_path("certificates", certificate)
    chain, key = _material(document, certificate, keys, now, path)
    try:
        context = ssl.create_default_context(cadata=authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with _memory_file(chain) as chain_file, _memory_file(key) as key_file:
            context.load_cert_chain(chain_file, key_file)
    except ssl.SSLError as error:
        raise WebTlsRefused(
            _refused(path, error, "Look at the certificate and the authority's file")
        ) from None
    return context


class WebTlsRefused(Exception):
    """An HTTPS port can't present what is assigned to it; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def _refused(path: str, error: ssl.SSLError, remedy: str) -> Problem:
    return Problem(path, f"the TLS library refuses it for HTTPS ({_reason(error)})", remedy)


def _reason(error: ssl.SSLError) -> str:
    return str(getattr(error, "reason", None) or error).strip(".")


def _material(document: Document, name: str, keys: KeyStore, now: float, path: str) -> tuple[bytes, bytes]:
    """PEM of the chain, leaf first, and of its key. Raises WebTlsRefused."""
    profile = document.certificate(name)
    if profile is None:
        text, remedy = f"there is no certificate called {name!r}", "Assign one that there is"
        raise WebTlsRefused(Problem(path, text, remedy))
    bundle = parse(profile)
    if isinstance(bundle, list):
        raise WebTlsRefused(Problem(path, f"{name} can't be used: {bundle[0].text.rstrip('.')}"))
    try:
        key = keys.key_of(bundle.leaf)
    except KeyDamaged as damage:
        text, remedy = str(damage).rstrip("."), f"Import {name} again with its key"
        raise WebTlsRefused(Problem(path, text, remedy)) from None
    if key is None:
        text, remedy = f"the key store holds no key for {name}", "Import it with its key (certconfig import)"
        raise WebTlsRefused(Problem(path, text, remedy))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem(*sent(profile, bundle, now)).encode(), private


@contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    """A path that OpenSSL can open while the block runs; nothing touches a disk."""
    descriptor = os.memfd_create("tls")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
