"""The authorities that the chains are made with, and the shape of the table's rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from cryptography import x509

from tests.chains.making import AUTHORITY, HOST, Made, Wish, like, made, new_key
from tests.chains.verdicts import Word

Sent = tuple[Made, ...]
"""What a server shows, its own certificate first."""
Make = Callable[["Estate"], Sent]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One chain with what is expected: of ours by the rules of required-verify-hosted (reference §3.4), and
    of each judge that has no field of its own. One that differs has, and `why` says the reason."""

    make: Make
    host: str = HOST
    """The email domain, and the only MX host of it."""
    fault: str = ""
    """OpenSSL's words for what is wrong with the chain; empty: it is trusted."""
    named: bool = True
    """Whether a name of the certificate is the host's; counts where the chain is trusted."""
    cause: str = ""
    """Of the explanation, where ours does not deliver; empty with a wrong name alone: name-mismatch."""
    verify: Word | None = None
    """Ours by the rules of required-verify."""
    openssl: Word | None = None
    postfix: Word | None = None
    why: str = ""

    @property
    def ours(self) -> Word:
        return "untrusted" if self.fault else "verified" if self.named else "trusted"

    @property
    def explained_as(self) -> str:
        return self.cause or ("" if self.ours == "verified" else "name-mismatch")


class Estate:
    """One root and one intermediate for most chains; others are made where a chain needs them."""

    def __init__(self) -> None:
        self.trusted: list[Made] = []
        """All of these are in the list of every judge."""
        self.root = self.trust(common="Chain Root", days=(-100, 3000))
        self.middle = self.authority(self.root, common="Chain Middle")
        self.rsa_key = new_key("rsa2048")
        self.rsa_root = self.trust(common="RSA Root", key=new_key("rsa2048"))
        self.rsa_middle = self.authority(self.rsa_root, common="RSA Middle", key=self.rsa_key)

    def trust(self, key: Any = None, **changes: Any) -> Made:
        """A new root that everybody trusts."""
        root = made(like(AUTHORITY, **changes), key=key)
        self.trusted.append(root)
        return root

    def authority(self, by: Made | None = None, key: Any = None, **changes: Any) -> Made:
        """An intermediate below `by`; a root that nobody knows without."""
        return made(like(AUTHORITY, **changes), by, key=key)

    def leaf(self, by: Made | None = None, key: Any = None, **changes: Any) -> Made:
        return made(like(Wish(), **changes), by or self.middle, key=key)

    def plain(self, **changes: Any) -> Sent:
        """A server certificate as wished for, and its intermediate."""
        return self.leaf(**changes), self.middle

    def below(self, root: Made | None = None, /, **changes: Any) -> Sent:
        """A faultless server certificate below an intermediate as wished for."""
        middle = self.authority(root or self.root, **changes)
        return self.leaf(middle), middle

    def deep(self, count: int, top: Made | None = None) -> list[Made]:
        """Intermediates, each below the one before it."""
        line, by = [], top or self.root
        for at in range(count):
            by = self.authority(by, common=f"Floor {at} of {count}")
            line.append(by)
        return line


def permitted(*names: str) -> x509.NameConstraints:
    return x509.NameConstraints([x509.DNSName(name) for name in names], None)


def excluded(*names: str) -> x509.NameConstraints:
    return x509.NameConstraints(None, [x509.DNSName(name) for name in names])
