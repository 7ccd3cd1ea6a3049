"""The table, second half: faultless chains whose certificate has names of every kind."""

from __future__ import annotations

import ipaddress

from cryptography import x509

from tests.chains import making
from tests.chains.estate import Estate, Make, Row, Sent
from tests.chains.making import HOST


def _named(*names: str | x509.GeneralName, common: str | tuple[str, ...] = "Some Server") -> Make:
    """A server certificate with these alternative names; without any there is no such extension."""
    return lambda e: e.plain(common=common, names=names or None)


def _octets(old: str, new: bytes, *, in_name: bool = True) -> Make:
    """A name that no builder takes: put in place of another of its length."""

    def make(e: Estate) -> Sent:
        names = (old,) if in_name else None
        leaf = e.leaf(common="Some Server" if in_name else old, names=names)
        return making.replaced(leaf, e.middle, old.encode(), new), e.middle

    return make


DOT = (
    "A dot at the end names the same host (RFC 1034 §3.1) and ours leaves it out; OpenSSL, which Postfix "
    "asks, compares it as a letter."
)
FRAGMENT = (
    "'*' stands for a whole label in ours and in Postfix (RFC 9525 §6.3); the command follows RFC 2818 §3.1, "
    "by which it may stand for a part of one."
)
COMMON_NAMES = (
    "Of several common names ours takes the last, the most specific (RFC 2818 §3.1); OpenSSL takes any."
)
BESIDE = "The rules of required-verify take the common name also beside alternative names (reference §3.4)."

_LOOPBACK = ipaddress.ip_address("192.0.2.1")
_IDN = "bücher.chain.test"
_ALABEL = "xn--bcher-kva.chain.test"

NAMES = {
    "name in other letters": Row(make=_named("MX.Chain.TEST")),
    "name with a dot at its end": Row(
        make=_named("mx.chain.test."), openssl="trusted", postfix="trusted", why=DOT
    ),
    "name with a dot at its beginning": Row(make=_named(".chain.test"), named=False),
    "name of another host": Row(make=_named("mx.other.test"), named=False),
    "name of the parent domain": Row(make=_named("chain.test"), named=False),
    "name of a host below": Row(make=_named("a.mx.chain.test"), named=False),
    "last of forty names": Row(make=_named(*(f"mx{n}.chain.test" for n in range(39)), HOST)),
    "wildcard": Row(make=_named("*.chain.test")),
    "wildcard in other letters": Row(make=_named("*.CHAIN.test")),
    "wildcard with a dot at its end": Row(
        make=_named("*.chain.test."), openssl="trusted", postfix="trusted", why=DOT
    ),
    "wildcard for two labels": Row(make=_named("*.test"), named=False),
    "wildcard below the name": Row(make=_named("*.mx.chain.test"), named=False),
    "wildcard within a label": Row(
        make=_named("m*.chain.test"), named=False, openssl="verified", why=FRAGMENT
    ),
    "wildcard at the end of a label": Row(
        make=_named("*x.chain.test"), named=False, openssl="verified", why=FRAGMENT
    ),
    "wildcard in the middle": Row(make=_named("mx.*.test"), named=False),
    "two wildcards": Row(make=_named("*.*.test"), named=False),
    "wildcard alone": Row(make=_named("*"), named=False),
    "wildcard right below the top": Row(make=_named("*.test"), host="chain.test", named=False),
    "wildcard over an A-label": Row(make=_named("*.chain.test"), host=_ALABEL),
    "wildcard within an A-label": Row(make=_named("xn--*.chain.test"), host=_ALABEL, named=False),
    "A-label": Row(make=_named(_ALABEL), host=_ALABEL),
    "A-label for a domain in letters": Row(make=_named(_ALABEL), host=_IDN),
    "A-label in other letters": Row(make=_named(_ALABEL.upper()), host=_ALABEL),
    "letters that are not ASCII": Row(
        make=_octets("bxxcher.chain.test", "bücher.chain.test".encode()), named=False
    ),
    "underscore": Row(make=_named("mx_1.chain.test"), host="mx_1.chain.test"),
    "common name alone": Row(make=_named(common=HOST)),
    "common name alone in other letters": Row(make=_named(common="MX.chain.TEST")),
    "common name alone with a dot at its end": Row(
        make=_named(common="mx.chain.test."), openssl="trusted", postfix="trusted", why=DOT
    ),
    "common name alone, a wildcard": Row(make=_named(common="*.chain.test")),
    "common name of another host alone": Row(make=_named(common="mx.other.test"), named=False),
    "first of two common names": Row(
        make=_named(common=(HOST, "mx.other.test")),
        named=False,
        openssl="verified",
        postfix="verified",
        why=COMMON_NAMES,
    ),
    "last of two common names": Row(make=_named(common=("mx.other.test", HOST))),
    "common name beside another host's name": Row(
        make=_named("mx.other.test", common=HOST),
        named=False,
        verify="verified",
        why=BESIDE,
    ),
    "another host's common name beside the name": Row(make=_named(HOST, common="mx.other.test")),
    "common name beside an address": Row(make=_named(x509.IPAddress(_LOOPBACK), common=HOST)),
    "common name beside a mail address": Row(
        make=_named(x509.RFC822Name("postmaster@chain.test"), common=HOST)
    ),
    "common name beside a URI": Row(
        make=_named(x509.UniformResourceIdentifier("smtp://mx.chain.test"), common=HOST)
    ),
    "address written as a name": Row(make=_named("192.0.2.1", common="192.0.2.1"), named=False),
    "NUL in the name": Row(
        make=_octets("mx.chain.test.other.test", b"mx.chain.test\0other.test"), named=False
    ),
    "NUL in the common name": Row(
        make=_octets("mx.chain.test.other.test", b"mx.chain.test\0other.test", in_name=False), named=False
    ),
    "space before the name": Row(make=_octets("xmx.chain.test", b" mx.chain.test"), named=False),
    "no name at all": Row(
        make=lambda e: e.plain(common=(), names=None), named=False, cause="certificate-without-names"
    ),
}
