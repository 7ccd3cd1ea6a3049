"""Paths, addresses, parameters (RFC 5321 §4.1.2, RFC 6531 §3.3): text in, a value or a `Flaw` out. PURE.

A mailbox is a str: 'local@domain', without angle brackets. Its local part keeps the quotes where they are
needed and only there, its domain is as the peer wrote it. The null path is "".
"""

from __future__ import annotations

import ipaddress
import re

import idna
import msgspec

# RFC 5321 §4.5.3.1 asks for at least 64 octets of local part and 256 of path, and for no limits where they
# can be avoided: VERP and SRS senders are often longer. The command line's own limit is the true bound.
LOCAL_OCTETS = 255
DOMAIN_OCTETS = 255

_ATEXT = r"-A-Za-z0-9!#$%&'*+/=?^_`{|}~"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}(?<!-))?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*+")
_DOT_STRING = re.compile(rf"[{_ATEXT}\u0080-\U0010ffff]++(?:\.[{_ATEXT}\u0080-\U0010ffff]++)*+")
# The path of nearly all mail: an ASCII dot-string and a domain name. Everything else takes the long way.
_PLAIN = re.compile(rf"<([{_ATEXT}]++(?:\.[{_ATEXT}]++)*+@{_LABEL}(?:\.{_LABEL})*+)>")
_PATH = re.compile(
    r'<(?:(?P<route>@[^:>"\s]*+):)?+(?P<local>"(?:[^"\\]|\\.)*+"|[^"@<>\s\\]++)'
    r"(?:@(?P<domain>\[[^\]\s]*+\]|[^@<>\s\[\]]++))?+>"
)
_PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([^\x00-\x20=\x7f]++))?+")
_QUOTED_PAIR = re.compile(r"\\(.)")


class Flaw(msgspec.Struct, frozen=True):
    """What is wrong with a text, in words that finish the sentence 'syntax error: …'."""

    text: str


class Path(msgspec.Struct, frozen=True):
    """A path and what follows its closing bracket."""

    mailbox: str
    rest: str


def split_address(address: str) -> tuple[str, str]:
    """('local', 'domain'); the domain is "" for the null sender and for 'postmaster' alone."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def render_path(mailbox: str) -> str:
    return f"<{mailbox}>"


def path(text: str, *, null: bool = False, bare_postmaster: bool = False) -> Path | Flaw:
    """The path at the start of `text`. `null`: <> is allowed; `bare_postmaster`: <postmaster> is."""
    match = _PLAIN.match(text)
    if match is not None and match.end() <= DOMAIN_OCTETS:
        return Path(match[1], text[match.end() :])
    if text.startswith("<>"):
        return Path("", text[2:]) if null else Flaw("the address is empty")
    match = _PATH.match(text)
    if match is None:
        return Flaw("an address is written <user@example.com>")
    local, domain = _local_part(match["local"]), match["domain"]
    if isinstance(local, Flaw):
        return local
    rest = text[match.end() :]
    if domain is None:
        # RFC 5321 §4.5.1: postmaster without a domain has to be accepted, in any case.
        if bare_postmaster and local.lower() == "postmaster" and match["route"] is None:
            return Path(local, rest)
        return Flaw("the address has no domain")
    # RFC 5321 §4.1.2, appendix C: a source route is understood and dropped.
    for hop in (match["route"] or "").split(",") if match["route"] else ():
        if not hop.startswith("@") or (flaw := domain_flaw(hop[1:])) is not None:
            return Flaw("the source route is not a list of @domains")
    flaw = domain_flaw(domain)
    return flaw if flaw is not None else Path(f"{local}@{domain}", rest)


def mailbox(text: str) -> str | Flaw:
    """A mailbox without brackets, in the form that `path` gives."""
    found = path(f"<{text}>")
    if isinstance(found, Flaw):
        return found
    return found.mailbox if not found.rest else Flaw("something follows the address")


def _local_part(text: str) -> str | Flaw:
    """The local part with no more quoting than it needs (RFC 5321 §4.1.2: the two forms are equivalent)."""
    if text.startswith('"'):
        content = _QUOTED_PAIR.sub(r"\1", text[1:-1])
        if not content.isprintable():
            return Flaw("the local part has control characters")
        if _DOT_STRING.fullmatch(content) is not None:
            text = content
        else:
            text = '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'
    elif _DOT_STRING.fullmatch(text) is None or not text.isprintable():
        return Flaw("the local part needs quotes")
    if len(text.encode(errors="surrogatepass")) > LOCAL_OCTETS:
        return Flaw("the local part is too long")
    return text


def domain_flaw(text: str) -> Flaw | None:
    """What is wrong with a domain name (also in Unicode) or an address literal; None: nothing."""
    if text.startswith("["):
        return _literal_flaw(text)
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return Flaw("the domain is not a valid name")
    if _DOMAIN.fullmatch(text) is None:
        return Flaw("the domain is not a valid name")
    return Flaw("the domain is too long") if len(text) > DOMAIN_OCTETS else None


def _literal_flaw(text: str) -> Flaw | None:
    """RFC 5321 §4.1.3: [192.0.2.1] or [IPv6:2001:db8::1]; no other tag was ever registered."""
    inner = text[1:-1]
    if not text.endswith("]") or "%" in inner or not inner.isascii():
        return Flaw("the address literal is not valid")
    try:
        if inner[:5].lower() == "ipv6:":
            ipaddress.IPv6Address(inner[5:])
        else:
            ipaddress.IPv4Address(inner)
    except ValueError:
        return Flaw("the address literal is not valid")
    return None


def hello_name(text: str) -> str | Flaw:
    """The client's name for itself. It proves nothing and real clients write many odd things into it, so any
    single printable ASCII word is taken; whoever shows it sanitises it for the place."""
    if not text:
        return Flaw("the name is missing")
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > DOMAIN_OCTETS:
        return Flaw("the name is one word of at most 255 ASCII characters")
    return text


def parameters(text: str) -> dict[str, str | None] | Flaw:
    """ESMTP parameters: keyword in upper case -> value, None where there is no '='."""
    found: dict[str, str | None] = {}
    for word in text.split(" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            return Flaw("a parameter is written KEYWORD or KEYWORD=value")
        keyword = match[1].upper()
        if keyword in found:
            return Flaw(f"the parameter {keyword} is given twice")
        found[keyword] = match[2]
    return found
