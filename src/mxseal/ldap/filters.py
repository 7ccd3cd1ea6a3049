"""Filters from templates: every value that comes from an address is escaped (RFC 4515 §3). PURE.

An address is a stranger's: without the escaping `*@example.com` would be found in any directory, and
`x)(objectClass=*` would be another question than the one that was configured.
"""

from __future__ import annotations

import re

import msgspec
from sansldap import LDAPFilter

LONGEST_FILTER = 8192
_DEEPEST = 40
"""Brackets in brackets: the parser works recursively, and no question needs more."""
_TOKEN = re.compile(r"\{([A-Za-z]{1,10})\}")
_PLAIN = re.compile(r"[A-Za-z0-9@.+=_:/ ,'&~^%$#!?|{}-]*")
"""Values that need no escaping; the letters that do are found one by one."""
_SPECIAL = frozenset(b"*()\\")

ADDRESS, USER, DOMAIN, SENDER, GROUP, NAME = "a", "u", "d", "f", "g", "dn"
TOKENS = {
    ADDRESS: "the address, user@example.com",
    USER: "its part before the @",
    DOMAIN: "its domain",
    SENDER: "the envelope sender (accept queries)",
    GROUP: "the group that is asked about (group queries)",
    NAME: "the DN that an earlier step found (group queries)",
}


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """What fills the tokens of a template."""

    address: str
    sender: str = ""
    group: str = ""
    name: str = ""

    def of(self, token: str) -> str:
        user, at, domain = self.address.rpartition("@")
        return {
            ADDRESS: self.address,
            USER: user if at else domain,
            DOMAIN: domain if at else "",
            SENDER: self.sender,
            GROUP: self.group,
            NAME: self.name,
        }[token]


def escape(value: str) -> str:
    """A value as it can stand in a filter: what is not plain ASCII becomes backslash and two digits for each
    byte. Bytes that were no UTF-8 come as lone surrogates, and go as they came."""
    if _PLAIN.fullmatch(value):
        return value
    raw = value.encode("utf-8", "surrogateescape")
    return "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in _SPECIAL else f"\\{byte:02x}" for byte in raw
    )


def fill(template: str, values: Values) -> str:
    """The filter of a template. Only the template's own tokens are looked at: what is put in is not read
    again, so that an address like `{g}@example.com` stays one."""
    return _TOKEN.sub(lambda found: escape(values.of(found[1])), template)


def tokens(template: str) -> list[str]:
    """The tokens in a template, known or not."""
    return _TOKEN.findall(template)


def parse(text: str) -> LDAPFilter:
    """A filter as it is sent. ValueError for what is none."""
    if len(text) > LONGEST_FILTER:
        raise ValueError(f"the filter is longer than {LONGEST_FILTER} characters")
    if _depth(text) > _DEEPEST:
        raise ValueError(f"more than {_DEEPEST} brackets stand in each other")
    try:
        return LDAPFilter.from_string(text)
    except (ValueError, NotImplementedError, IndexError) as error:
        raise ValueError(str(error) or "it can't be read") from None


def fault_of(template: str, allowed: frozenset[str]) -> str | None:
    """What is wrong with a template, as a part of a sentence; None: nothing."""
    for token in tokens(template):
        if token not in allowed:
            known = ", ".join(f"{{{each}}}" for each in TOKENS if each in allowed)
            return f"{{{token}}} is no token here, there are {known}"
    if not template.startswith("("):
        return "a filter begins with '(', such as (mail={a})"
    try:
        parse(fill(template, Values(address="user@example.com", sender="s@example.com", group="g", name="n")))
    except ValueError as error:
        return f"it is no LDAP filter: {error}"
    return None


def _depth(text: str) -> int:
    deepest = depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return deepest
