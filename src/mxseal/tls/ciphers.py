"""What a cipher string selects in the TLS library at hand (`sslconfig verify`). PURE.

Key exchange, encryption and age are read from OpenSSL's names, whose grammar is old and fixed.
"""

from __future__ import annotations

import re

import msgspec
from OpenSSL import SSL

from mxseal.tls.contexts import ClientTls, ContextProblem, Version, cipher_text, client_context

TLS13_SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")
"""Always on with TLS 1.3; no string changes them (reference §6.5)."""
_EXCHANGE = re.compile(r"(ECDHE|DHE)-(ECDSA|RSA|DSS)-")
_ENCRYPTION = re.compile(r"(AES|CAMELLIA|ARIA)-?(128|256)|(CHACHA20)|(SEED|IDEA)|(DES-CBC3|3DES)|(RC4)")


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """A cipher suite of TLS 1.2 or older."""

    name: str
    since: Version
    """The lowest version that has it: one for TLS 1.2 only is no use to TLS 1.1."""
    exchange: str
    """ECDHE, DHE or RSA, the last without forward secrecy."""
    authentication: str
    encryption: str
    """Such as AES-256 GCM, AES-128 CBC."""

    @property
    def forward_secret(self) -> bool:
        return self.exchange in {"ECDHE", "DHE"}


def select(ciphers: str, lowest: Version = "TLSv1.2") -> tuple[Suite, ...]:
    """The suites of a string, in order of preference, as a context with these versions has them.

    Raises ContextProblem when there is none.
    """
    context = SSL.Context(SSL.TLS_METHOD)
    text = cipher_text(ciphers, lowest)
    try:
        context.set_cipher_list(text.encode())
    except SSL.Error as error:
        raise ContextProblem(_reason(ciphers, error)) from None
    names = SSL.Connection(context, None).get_cipher_list()
    return tuple(_suite(name) for name in names if not name.startswith("TLS_"))


def unknown_words(ciphers: str) -> tuple[str, ...]:
    """Words of a string that select nothing by themselves: a slip of the pen, or gone from the library."""
    words = [word for word in re.split(r"[:, ]+", ciphers) if word and word[0] not in "!-+@"]
    return tuple(word for word in words if not _known(word))


def available(version: Version) -> bool:
    """Whether the TLS library can still speak this version at all."""
    try:
        client_context(ClientTls(min_version=version, max_version=version, system=False))
    except (ContextProblem, SSL.Error):
        return False
    return True


def _known(word: str) -> bool:
    try:
        SSL.Context(SSL.TLS_METHOD).set_cipher_list(word.partition("@")[0].encode("ascii", "replace"))
    except SSL.Error:
        return False
    return True


def _reason(ciphers: str, error: SSL.Error) -> str:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    if any(entry[2] == "invalid command" for entry in entries):
        return f"The cipher string {ciphers!r} has an @ command that OpenSSL does not know."
    return f"The cipher string {ciphers!r} names no cipher that this gateway has."


def _suite(name: str) -> Suite:
    exchange = _EXCHANGE.match(name)
    kind, authentication = (exchange[1], exchange[2]) if exchange else ("RSA", "RSA")
    if name.startswith("ECDHE-ARIA"):  # the one family whose names leave the RSA out
        kind = "ECDHE"
    return Suite(
        name=name,
        # SHA-1 at the end, and nothing newer in the middle, means a suite from before TLS 1.2.
        since="TLSv1" if name.endswith(("-SHA", "-MD5")) else "TLSv1.2",
        exchange=kind,
        authentication=authentication,
        encryption=_encryption(name),
    )


def _encryption(name: str) -> str:
    found = _ENCRYPTION.search(name)
    if found is None:
        return "none" if "NULL" in name else "unknown"
    if found[3]:
        return "ChaCha20-Poly1305"
    base = f"{found[1]}-{found[2]}" if found[1] else next(group for group in found.groups()[3:] if group)
    mode = "GCM" if "-GCM-" in name else "CCM" if "-CCM" in name else "CBC"
    return base if base == "RC4" else f"{base} {mode}"
