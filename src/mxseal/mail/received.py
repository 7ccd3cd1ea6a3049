"""The Received line that this gateway adds (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3, RFC 8314 §4.3). PURE."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache

import msgspec

from mxseal.tls.client_identity import ClientIdentity
from mxseal.tls.facts import TlsFacts

_COLUMNS = 77
_INDENT = " " * 8
_WORD_LIMIT = 255

# The HELO name and the PTR record are written by strangers: whatever could end the line, open a comment or
# pass for another clause is replaced.
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_NOT_IN_COMMENT = re.compile(r"[^A-Za-z0-9 .,:=+@*_/'-]")
_SHOWN_NAME = 64
_NOT_A_PATH = re.compile(r"[\x00-\x20()<>\\,;\x7f-\xa0]")

# RFC 8314 §4.3 wants the names of the IANA registries, OpenSSL has its own for TLS 1.2.
_SUITES = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305": "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-CHACHA20-POLY1305": "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "ECDHE-RSA-AES128-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "ECDHE-RSA-AES256-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
    "DHE-RSA-AES128-GCM-SHA256": "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256",
    "DHE-RSA-AES256-GCM-SHA384": "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
}
_GROUPS = {
    "p-256": "secp256r1",
    "prime256v1": "secp256r1",
    "p-384": "secp384r1",
    "p-521": "secp521r1",
    "x25519": "x25519",
    "x448": "x448",
}


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """How a message came to this gateway."""

    hello: str
    """The client's own name for itself, of EHLO or HELO."""
    client_name: str | None
    """Name of the client's PTR record, None when it has none or does not deserve to be shown."""
    client_ip: str
    hostname: str
    """This gateway's."""
    server_ip: str | None = None
    extended: bool = True
    """The client said EHLO."""
    smtputf8: bool = False
    tls: TlsFacts | None = None
    certificate: ClientIdentity | None = None
    """The client's, verified or not: `tls` says which."""
    mid: int | None = None
    recipient: str | None = None
    """Only for a message with one: others must not be told (RFC 5321 §7.2)."""


def render(hop: Received, now: float) -> bytes:
    """The header line, folded below 78 columns, with its CRLF. `now`: seconds since the epoch."""
    lines, line, clause = _connection(
        hello=hop.hello,
        client_name=hop.client_name,
        client_ip=hop.client_ip,
        hostname=hop.hostname,
        server_ip=hop.server_ip,
        tls=hop.tls,
        certificate=hop.certificate,
    )
    words = [protocol(hop)]
    if hop.mid is not None:
        words += ["id", str(hop.mid)]
    if hop.recipient is not None and (hop.smtputf8 or hop.recipient.isascii()):
        words += ["for", f"<{_path(hop.recipient)}>"]
    words += clause
    words[-1] += ";"
    words.append(_date(int(now)))
    return (lines + "\r\n".join(_fold(line, words)) + "\r\n").encode("utf-8", "replace")


@lru_cache(maxsize=4)
def _date(now: int) -> str:
    """RFC 5322 §3.3; many messages share a second."""
    return format_datetime(datetime.fromtimestamp(now, UTC))


@lru_cache(maxsize=256)
def _connection(
    *,
    hello: str,
    client_name: str | None,
    client_ip: str,
    hostname: str,
    server_ip: str | None,
    tls: TlsFacts | None,
    certificate: ClientIdentity | None,
) -> tuple[str, str, tuple[str, ...]]:
    """What the messages of a connection share: folded lines, the line that is begun, the tls clause."""
    words = ["from", _name(hello), f"({_name(client_name)}", f"{_literal(client_ip)})"]
    words += _comment(tls, certificate) if tls is not None else []
    words += ["by", _name(hostname)]
    if server_ip is not None:
        words.append(f"({_literal(server_ip)})")
    words.append("with")
    *lines, line = _fold("Received:", words)
    return "".join(f"{full}\r\n" for full in lines), line, tuple(_clause(tls)) if tls is not None else ()


def protocol(hop: Received) -> str:
    """The name of the registry 'Mail Transmission Types' (RFC 3848, RFC 6531 §4.3)."""
    if hop.smtputf8:
        return "UTF8SMTPS" if hop.tls is not None else "UTF8SMTP"
    # The registry has no SMTPS: STARTTLS needs EHLO, but with implicit TLS a client may still say HELO.
    if hop.tls is not None:
        return "ESMTPS"
    return "ESMTP" if hop.extended else "SMTP"


def _comment(tls: TlsFacts, certificate: ClientIdentity | None) -> list[str]:
    """The details of the connection, in words that can be folded."""
    words = ["(using", tls.protocol, "with", "cipher", tls.cipher, f"({tls.bits}", "bits)"]
    if tls.group is not None:
        words += ["group", tls.group]
    if tls.resumed:
        words.append("resumed")
    if certificate is None:
        words[-1] += ","
        return [*words, "no", "client", "certificate)"]
    words[-1] += ")"
    return words + _client(tls, certificate)


def _client(tls: TlsFacts, certificate: ClientIdentity) -> list[str]:
    """(Client CN "…", Issuer "…" (verified OK)): what the certificate says, and whether to believe it."""
    name = _quoted(certificate.common_name or next(iter(certificate.dns_names), ""))
    words = ["(Client", "CN", *name[:-1], f"{name[-1]},", "Issuer", *_quoted(certificate.issuer)]
    if tls.verified:
        return [*words, "(verified", "OK))"]
    reason = re.sub(r"[^A-Za-z0-9 ,._-]", "", tls.verify_error or "unknown reason")[:80]
    words += ["(not", "verified:", *reason.split()]
    words[-1] += "))"
    return words


def _clause(tls: TlsFacts) -> list[str]:
    """RFC 8314 §4.3: tls cipher [group name]; left out where the registry's name is not known."""
    cipher = _SUITES.get(tls.cipher, tls.cipher)
    if not cipher.startswith("TLS_"):
        return []
    return ["tls", cipher] + (["group", _GROUPS.get(tls.group.lower(), tls.group)] if tls.group else [])


def _name(text: str | None) -> str:
    return _NOT_A_NAME.sub("?", text[:_WORD_LIMIT]) if text else "unknown"


def _quoted(text: str) -> list[str]:
    """A stranger's words in quotation marks, within a comment: nothing in them may end either."""
    return f'"{_NOT_IN_COMMENT.sub("?", text[:_SHOWN_NAME])}"'.split()


def _path(text: str) -> str:
    text = _NOT_A_PATH.sub("?", text)
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _literal(ip: str) -> str:
    """RFC 5321 §4.1.3."""
    return f"[IPv6:{_name(ip)}]" if ":" in ip else f"[{_name(ip)}]"


def _fold(line: str, words: list[str]) -> list[str]:
    """`line` and the words behind it as lines of at most 77 columns, where no single word is longer."""
    lines = []
    for word in words:
        if len(line) + 1 + len(word) > _COLUMNS:
            lines.append(line)
            line = _INDENT + word
        else:
            line += " " + word
    lines.append(line)
    return lines
