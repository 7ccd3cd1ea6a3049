"""The table, first half: how chains are built, dated, constrained, used and signed."""

from __future__ import annotations

import ipaddress
from typing import Any

from cryptography import x509

from tests.chains import making
from tests.chains.estate import Estate, Make, Row, Sent, excluded, permitted
from tests.chains.making import CLIENT, CODE, HOST, SERVER, Wish, like, made

POSTFIX_LENGTH = (
    "Postfix takes chains of ten certificates at most (smtp_tls_scert_verifydepth); OpenSSL takes a hundred."
)
POSTFIX_LEVEL = (
    "Postfix sets OpenSSL's security level 1 (80 bits); ours has level 2 (112 bits), OpenSSL's own since 3.2."
)

# --- order and content of what is sent ----------------------------------------------------------------------


def _two_of_a_name(e: Estate, *, right: bool, ids: bool = True) -> Sent:
    """Two intermediates with one subject and different keys, the wrong one first."""
    name = f"Twin {right} {ids}"
    wrong = e.authority(e.root, common=name, own_id=ids)
    good = e.authority(e.root, common=name, own_id=ids)
    leaf = e.leaf(good, issuer_id="right" if ids else "none")
    return (leaf, wrong, good) if right else (leaf, wrong)


def _renewed(e: Estate, *, old_first: bool) -> Sent:
    """An intermediate that has expired beside the one with the same key and name that took its place."""
    wish = like(making.AUTHORITY, common=f"Renewed {old_first}")
    good = made(wish, e.root)
    old = made(like(wish, days=(-50, -5)), e.root, key=good.key)
    leaf = e.leaf(good)
    return (leaf, old, good) if old_first else (leaf, good, old)


def _crossed(e: Estate, *, shown: str, days: tuple[float, float] = (-10, 300)) -> Sent:
    """A root that nobody knows, whose name and key the known root has signed too."""
    wish = like(making.AUTHORITY, common=f"New Root {shown} {days}")
    new = made(wish)
    cross = made(like(wish, days=days), e.root, key=new.key)
    middle = e.authority(new, common=f"Below New Root {shown} {days}")
    between = {"cross": (cross,), "none": (), "both": (new, cross), "both-turned": (cross, new)}[shown]
    return e.leaf(middle), middle, *between


def _crossed_and_trusted(e: Estate) -> Sent:
    """The other way round: the known root also has an expired signature of an old one."""
    old = e.authority(common="Old Root", days=(-300, -5))
    cross = made(like(making.AUTHORITY, common="Chain Root", days=(-100, -5)), old, key=e.root.key)
    return e.leaf(), e.middle, cross, old


def _shuffled(e: Estate) -> Sent:
    first, second, third = e.deep(3)
    return e.leaf(third), first, third, second


def _without_middle(e: Estate) -> Sent:
    _first, second, third = e.deep(3)
    return e.leaf(third), third, second


def _unknown_root(e: Estate, *, shown: bool) -> Sent:
    root = e.authority(common=f"Unknown Root {shown}")
    chain = e.below(root, common=f"Unknown Middle {shown}")
    return (*chain, root) if shown else chain


def _self_signed(e: Estate, *, trusted: bool) -> Sent:
    own = made(like(Wish(), common=f"self-signed {trusted}"))
    if trusted:
        e.trusted.append(own)
    return (own,)


def _anchor_in_the_middle(e: Estate) -> Sent:
    """The list of trusted authorities holds an intermediate, whose root nobody knows."""
    chain = e.below(e.authority(common="Root Of Anchor"), common="Anchor In The Middle")
    e.trusted.append(chain[1])
    return chain


def _deep(e: Estate, count: int) -> Sent:
    line = e.deep(count)
    return (e.leaf(line[-1]), *reversed(line))


def _leaf_twice(e: Estate) -> Sent:
    leaf = e.leaf()
    return leaf, leaf, e.middle


SENT = {
    "leaf and intermediate": Row(make=Estate.plain),
    "leaf of the root itself": Row(make=lambda e: (e.leaf(e.root),)),
    "root sent along": Row(make=lambda e: (*e.plain(), e.root)),
    "three intermediates": Row(make=lambda e: _deep(e, 3)),
    "three intermediates, shuffled": Row(make=_shuffled),
    "twelve intermediates": Row(
        make=lambda e: _deep(e, 12),
        postfix="untrusted",
        why=POSTFIX_LENGTH,
    ),
    "intermediate missing": Row(
        make=lambda e: (e.leaf(),),
        fault="unable to get local issuer certificate",
        cause="intermediate-missing",
    ),
    "topmost of three missing": Row(
        make=_without_middle, fault="unable to get local issuer certificate", cause="authority-unknown"
    ),
    "intermediate twice": Row(make=lambda e: (*e.plain(), e.middle)),
    "leaf twice": Row(make=_leaf_twice),
    "unrelated authority sent along": Row(make=lambda e: (*e.plain(), e.authority(common="Leftover"))),
    "unrelated authority in between": Row(make=lambda e: (e.leaf(), e.authority(common="Between"), e.middle)),
    "another server's certificate sent along": Row(make=lambda e: (*e.plain(), e.leaf(common="other.test"))),
    "expired intermediate before its successor": Row(make=lambda e: _renewed(e, old_first=True)),
    "expired intermediate behind its successor": Row(make=lambda e: _renewed(e, old_first=False)),
    "two authorities of one name": Row(make=lambda e: _two_of_a_name(e, right=True)),
    "two authorities of one name without key identifiers": Row(
        make=lambda e: _two_of_a_name(e, right=True, ids=False),
        fault="certificate signature failure",
        cause="certificate-signature-wrong",
    ),
    "only the other authority of that name": Row(
        make=lambda e: _two_of_a_name(e, right=False),
        fault="unable to get local issuer certificate",
        cause="chain-leftover",
    ),
    "only the other authority of that name without key identifiers": Row(
        make=lambda e: _two_of_a_name(e, right=False, ids=False),
        fault="certificate signature failure",
        cause="certificate-signature-wrong",
    ),
    "unknown root signed by a known one": Row(make=lambda e: _crossed(e, shown="cross")),
    "unknown root signed by a known one, that left out": Row(
        make=lambda e: _crossed(e, shown="none"),
        fault="unable to get local issuer certificate",
        cause="authority-unknown",
    ),
    "unknown root sent before its cross-signed twin": Row(
        make=lambda e: _crossed(e, shown="both"),
        fault="self-signed certificate in certificate chain",
        cause="authority-unknown",
    ),
    "unknown root sent behind its cross-signed twin": Row(make=lambda e: _crossed(e, shown="both-turned")),
    "cross-signed certificate has expired": Row(
        make=lambda e: _crossed(e, shown="cross", days=(-50, -5)),
        fault="certificate has expired",
        cause="intermediate-expired",
    ),
    "known root with an expired cross signature": Row(make=_crossed_and_trusted),
    "unknown root left out": Row(
        make=lambda e: _unknown_root(e, shown=False),
        fault="unable to get local issuer certificate",
        cause="authority-unknown",
    ),
    "unknown root sent along": Row(
        make=lambda e: _unknown_root(e, shown=True),
        fault="self-signed certificate in certificate chain",
        cause="authority-unknown",
    ),
    "self-signed": Row(
        make=lambda e: _self_signed(e, trusted=False),
        fault="self-signed certificate",
        cause="certificate-self-signed",
    ),
    "self-signed and trusted": Row(make=lambda e: _self_signed(e, trusted=True)),
    "trusted intermediate of an unknown root": Row(
        make=_anchor_in_the_middle, fault="unable to get issuer certificate", cause="authority-unknown"
    ),
}

# --- dates --------------------------------------------------------------------------------------------------


def _backwards(e: Estate) -> Sent:
    swapped = making.again(e.leaf(), e.middle, lambda f: [*f[:4], _turned(f[4]), *f[5:]])
    return swapped, e.middle


def _turned(validity: bytes) -> bytes:
    return making.element(0x30, b"".join(reversed(making.parts(making.inside(validity)))))


def _endless(e: Estate) -> Sent:
    """RFC 5280 §4.1.2.5: 99991231235959Z for certificates with no end that is known."""
    end = making.element(0x18, b"99991231235959Z")

    def change(fields: list[bytes]) -> list[bytes]:
        begin, _ = making.parts(making.inside(fields[4]))
        return [*fields[:4], making.element(0x30, begin + end), *fields[5:]]

    return making.again(e.leaf(), e.middle, change), e.middle


def _both_expired(e: Estate) -> Sent:
    middle = e.authority(e.root, common="Expired Too", days=(-30, -1))
    return e.leaf(middle, days=(-30, -1)), middle


DATES = {
    "leaf expired": Row(
        make=lambda e: e.plain(days=(-30, -1)), fault="certificate has expired", cause="certificate-expired"
    ),
    "leaf not yet valid": Row(
        make=lambda e: e.plain(days=(1, 30)),
        fault="certificate is not yet valid",
        cause="certificate-not-yet-valid",
    ),
    "leaf valid for one more hour": Row(make=lambda e: e.plain(days=(-30, 1 / 24))),
    "leaf whose end lies before its beginning": Row(
        make=_backwards, fault="certificate is not yet valid", cause="certificate-not-yet-valid"
    ),
    "leaf without end": Row(make=_endless),
    "intermediate expired": Row(
        make=lambda e: e.below(common="Expired Middle", days=(-30, -1)),
        fault="certificate has expired",
        cause="intermediate-expired",
    ),
    "intermediate not yet valid": Row(
        make=lambda e: e.below(common="Future Middle", days=(1, 30)),
        fault="certificate is not yet valid",
        cause="intermediate-not-yet-valid",
    ),
    "leaf and intermediate expired": Row(
        make=_both_expired, fault="certificate has expired", cause="certificate-expired"
    ),
    "root expired": Row(
        make=lambda e: e.below(e.trust(common="Expired Root", days=(-30, -1)), common="M1"),
        fault="certificate has expired",
        cause="authority-unfit",
    ),
    "root not yet valid": Row(
        make=lambda e: e.below(e.trust(common="Future Root", days=(1, 30)), common="M2"),
        fault="certificate is not yet valid",
        cause="authority-unfit",
    ),
    "leaf outlives its authority": Row(make=lambda e: e.plain(days=(-1, 3000))),
}


# --- authorities and what they may do -----------------------------------------------------------------------


def _version_1_authority(e: Estate) -> Sent:
    middle = making.version_1(e.authority(e.root, common="Version 1 Middle"), e.root)
    return e.leaf(middle), middle


def _version_1_root(e: Estate) -> Sent:
    root = e.authority(common="Version 1 Root")
    root = making.version_1(root, root)
    e.trusted.append(root)
    return e.below(root, common="Below Version 1")


def _path_length(e: Estate, allowed: int, used: int) -> Sent:
    top = e.authority(e.root, common=f"Length {allowed} {used}", path_length=allowed)
    line = e.deep(used, top)
    return (e.leaf((line or [top])[-1]), *reversed(line), top)


AUTHORITIES = {
    "intermediate is no authority": Row(
        make=lambda e: e.below(common="No CA", ca=False),
        fault="invalid CA certificate",
        cause="authority-not-allowed",
    ),
    "intermediate without basic constraints": Row(
        make=lambda e: e.below(common="No Constraints", ca=None),
        fault="invalid CA certificate",
        cause="authority-not-allowed",
    ),
    "intermediate with basic constraints that are not critical": Row(
        make=lambda e: e.below(common="Not Critical", ca_critical=False)
    ),
    "intermediate that may not sign certificates": Row(
        make=lambda e: e.below(common="No Signing", usage=("signature", "lists")),
        fault="invalid CA certificate",
        cause="authority-not-allowed",
    ),
    "intermediate without key usage": Row(make=lambda e: e.below(common="No Usage", usage=None)),
    "path length 0 and none below": Row(make=lambda e: _path_length(e, 0, 0)),
    "path length 0 and one below": Row(
        make=lambda e: _path_length(e, 0, 1),
        fault="path length constraint exceeded",
        cause="authority-not-allowed",
    ),
    "path length 1 and one below": Row(make=lambda e: _path_length(e, 1, 1)),
    "path length 1 and two below": Row(
        make=lambda e: _path_length(e, 1, 2),
        fault="path length constraint exceeded",
        cause="authority-not-allowed",
    ),
    "root with path length 0 and an intermediate": Row(
        make=lambda e: e.below(e.trust(common="Short Root", path_length=0), common="M3"),
        fault="path length constraint exceeded",
        cause="authority-not-allowed",
    ),
    "server certificate that is an authority": Row(
        make=lambda e: e.plain(ca=True, usage=("signature", "certificates"))
    ),
    "server certificate without basic constraints": Row(make=lambda e: e.plain(ca=None)),
    "version 1 intermediate": Row(
        make=_version_1_authority, fault="invalid CA certificate", cause="authority-not-allowed"
    ),
    "version 1 root": Row(make=_version_1_root),
}

# --- name constraints ---------------------------------------------------------------------------------------


def _narrow(constraints: x509.NameConstraints, **leaf: Any) -> Make:
    """An intermediate with name constraints, and a server certificate as wished for below it."""

    def make(e: Estate) -> Sent:
        middle = e.authority(e.root, common="Narrow Middle", constraints=constraints)
        return e.leaf(middle, **leaf), middle

    return make


_ADDRESSES = x509.NameConstraints([x509.IPAddress(ipaddress.ip_network("192.0.2.0/24"))], None)
_MAIL = x509.NameConstraints([x509.RFC822Name("chain.test")], None)
_REGISTERED = x509.NameConstraints([x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4"))], None)

CONSTRAINTS = {
    "name permitted": Row(make=_narrow(permitted("chain.test"))),
    "name permitted by a leading dot": Row(make=_narrow(permitted(".chain.test"))),
    "name permitted exactly": Row(make=_narrow(permitted(HOST))),
    "name permitted in other letters": Row(make=_narrow(permitted("CHAIN.Test"))),
    "name not permitted": Row(
        make=_narrow(permitted("other.test")),
        fault="permitted subtree violation",
        cause="authority-not-allowed",
    ),
    "only one of two names permitted": Row(
        make=_narrow(permitted("chain.test"), names=(HOST, "mx.other.test")),
        fault="permitted subtree violation",
        cause="authority-not-allowed",
    ),
    "name excluded": Row(
        make=_narrow(excluded("chain.test")),
        fault="excluded subtree violation",
        cause="authority-not-allowed",
    ),
    "other name excluded": Row(make=_narrow(excluded("other.test"))),
    "wildcard over an excluded name": Row(make=_narrow(excluded(HOST), names=("*.chain.test",))),
    "common name alone, not permitted": Row(
        make=_narrow(permitted("other.test"), names=None),
        fault="permitted subtree violation",
        cause="authority-not-allowed",
    ),
    "common name alone, permitted": Row(make=_narrow(permitted("chain.test"), names=None)),
    "common name not permitted beside a name that is": Row(
        make=_narrow(permitted("chain.test"), common="mx.other.test")
    ),
    "only addresses constrained": Row(make=_narrow(_ADDRESSES)),
    "address not permitted": Row(
        make=_narrow(_ADDRESSES, names=(HOST, x509.IPAddress(ipaddress.ip_address("198.51.100.1")))),
        fault="permitted subtree violation",
        cause="authority-not-allowed",
    ),
    "only mail addresses constrained": Row(make=_narrow(_MAIL)),
    "constraint of a kind that nobody knows": Row(make=_narrow(_REGISTERED)),
    "constraint in the root": Row(
        make=lambda e: e.below(
            e.trust(common="Narrow Root", constraints=permitted("other.test")), common="M4"
        ),
        fault="permitted subtree violation",
        cause="authority-not-allowed",
    ),
}

# --- usages -------------------------------------------------------------------------------------------------

USAGES = {
    "for servers": Row(make=lambda e: e.plain(extended=(SERVER,))),
    "for clients only": Row(
        make=lambda e: e.plain(extended=(CLIENT,)),
        fault="unsuitable certificate purpose",
        cause="wrong-usage",
    ),
    "for code only": Row(
        make=lambda e: e.plain(extended=(CODE,)), fault="unsuitable certificate purpose", cause="wrong-usage"
    ),
    "for any use": Row(
        make=lambda e: e.plain(extended=(making.ANY,)),
        fault="unsuitable certificate purpose",
        cause="wrong-usage",
    ),
    "no extended key usage": Row(make=lambda e: e.plain(extended=None)),
    "no key usage": Row(make=lambda e: e.plain(usage=None)),
    "key may encipher only": Row(make=lambda e: e.plain(usage=("encipherment",))),
    "key may agree only": Row(make=lambda e: e.plain(usage=("agreement",))),
    "key may sign lists only": Row(
        make=lambda e: e.plain(usage=("lists",)), fault="unsuitable certificate purpose", cause="wrong-usage"
    ),
    "intermediate for servers": Row(make=lambda e: e.below(common="Server Middle", extended=(SERVER,))),
    "intermediate for clients only": Row(
        make=lambda e: e.below(common="Client Middle", extended=(CLIENT,)),
        fault="unsuitable certificate purpose",
        cause="authority-not-allowed",
    ),
    "intermediate for any use": Row(
        make=lambda e: e.below(common="Any Middle", extended=(making.ANY,)),
        fault="unsuitable certificate purpose",
        cause="authority-not-allowed",
    ),
    "root for clients only": Row(
        make=lambda e: e.below(e.trust(common="Client Root", extended=(CLIENT,)), common="M5"),
        fault="unsuitable certificate purpose",
        cause="authority-not-allowed",
    ),
}

# --- keys and signatures ------------------------------------------------------------------------------------


def _rsa(e: Estate, **changes: Any) -> Sent:
    return e.leaf(e.rsa_middle, **changes), e.rsa_middle


def _signed_below(e: Estate, digest: str) -> Sent:
    """An intermediate with a signature of this kind."""
    middle = e.authority(e.rsa_root, common=f"Middle with {digest}", digest=digest)
    return e.leaf(middle), middle


def _damaged_middle(e: Estate) -> Sent:
    leaf, middle = e.below(common="Damaged Middle")
    return leaf, making.damaged(middle)


KEYS = {
    "RSA 2048": Row(make=lambda e: _rsa(e, key=e.rsa_key)),
    "RSA 1024": Row(
        make=lambda e: e.plain(key=making.new_key("rsa1024")),
        fault="EE certificate key too weak",
        cause="weak-key",
        postfix="verified",
        why=POSTFIX_LEVEL,
    ),
    "intermediate with RSA 1024": Row(
        make=lambda e: e.below(common="Weak Middle", key=making.new_key("rsa1024")),
        fault="CA certificate key too weak",
        cause="weak-key",
        postfix="verified",
        why=POSTFIX_LEVEL,
    ),
    "root with RSA 1024": Row(
        make=lambda e: e.below(e.trust(common="Weak Root", key=making.new_key("rsa1024")), common="M6"),
        fault="CA certificate key too weak",
        cause="authority-unfit",
        postfix="verified",
        why=POSTFIX_LEVEL,
    ),
    "P-384": Row(make=lambda e: e.plain(key=making.new_key("ec384"))),
    "P-521": Row(make=lambda e: e.plain(key=making.new_key("ec521"))),
    "Ed25519": Row(make=lambda e: e.plain(key=making.new_key("ed25519"))),
    "intermediate with Ed25519": Row(make=lambda e: e.below(common="Edwards", key=making.new_key("ed25519"))),
    "signed with PSS": Row(make=lambda e: _rsa(e, digest="pss")),
    "signed with SHA-1": Row(
        make=lambda e: _rsa(e, digest="sha1"),
        fault="CA signature digest algorithm too weak",
        cause="weak-signature",
    ),
    "signed with ECDSA and SHA-1": Row(
        make=lambda e: e.plain(digest="sha1"),
        fault="CA signature digest algorithm too weak",
        cause="weak-signature",
    ),
    "signed with MD5": Row(
        make=lambda e: _rsa(e, digest="md5"),
        fault="CA signature digest algorithm too weak",
        cause="weak-signature",
    ),
    "intermediate signed with SHA-1": Row(
        make=lambda e: _signed_below(e, "sha1"),
        fault="CA signature digest algorithm too weak",
        cause="weak-signature",
    ),
    "intermediate signed with MD5": Row(
        make=lambda e: _signed_below(e, "md5"),
        fault="CA signature digest algorithm too weak",
        cause="weak-signature",
    ),
    "root that signed itself with SHA-1": Row(
        make=lambda e: e.below(
            e.trust(common="Old Root With SHA-1", key=e.rsa_key, digest="sha1"), common="M7"
        )
    ),
    "signature wrong": Row(
        make=lambda e: (making.damaged(e.leaf()), e.middle),
        fault="certificate signature failure",
        cause="certificate-signature-wrong",
    ),
    "signature of the intermediate wrong": Row(
        make=_damaged_middle,
        fault="certificate signature failure",
        cause="certificate-signature-wrong",
    ),
}


# --- oddities -----------------------------------------------------------------------------------------------

_UNKNOWN = "1.3.6.1.4.1.99999.1"


def _odd(change: str, octets: bytes = b"") -> Make:
    """A server certificate that no builder makes."""

    def make(e: Estate) -> Sent:
        leaf = e.leaf()
        if change == "serial":
            return making.numbered(leaf, e.middle, octets), e.middle
        if change == "version":
            return making.version_1(leaf, e.middle), e.middle
        return making.twice_named(leaf, e.middle), e.middle

    return make


def _same_serial(e: Estate) -> Sent:
    middle = e.authority(e.root, common="Same Serial", serial=42)
    return e.leaf(middle, serial=42), middle


ODDITIES = {
    "unknown critical extension": Row(
        make=lambda e: e.plain(extra=((_UNKNOWN, b"\5\0", True),)),
        fault="unhandled critical extension",
        cause="authority-not-allowed",
    ),
    "unknown extension": Row(make=lambda e: e.plain(extra=((_UNKNOWN, b"\5\0", False),))),
    "unknown critical extension in the intermediate": Row(
        make=lambda e: e.below(common="Odd Middle", extra=((_UNKNOWN, b"\5\0", True),)),
        fault="unhandled critical extension",
        cause="authority-not-allowed",
    ),
    "identifier of another key for the issuer": Row(
        make=lambda e: e.plain(issuer_id="wrong"),
        fault="unable to get local issuer certificate",
        cause="authority-key-mismatch",
    ),
    "another serial for the issuer": Row(
        make=lambda e: e.plain(issuer_id="wrong-serial"),
        fault="unable to get local issuer certificate",
        cause="authority-key-mismatch",
    ),
    "no key identifiers": Row(make=lambda e: e.plain(own_id=False, issuer_id="none")),
    "empty subject": Row(make=lambda e: e.plain(common=(), names_critical=True)),
    "empty subject beside names that are not critical": Row(make=lambda e: e.plain(common=())),
    "serial 0": Row(make=_odd("serial", b"\0")),
    "serial below zero": Row(make=_odd("serial", b"\xff\x01")),
    "serial of 30 octets": Row(make=_odd("serial", b"\x11" * 30)),
    "serial of its own authority": Row(make=_same_serial),
    "version 1 server certificate": Row(make=_odd("version")),
    "an extension twice": Row(
        make=_odd("twice"), fault="unable to get local issuer certificate", cause="certificate-unreadable"
    ),
}


CHAINS = SENT | DATES | AUTHORITIES | CONSTRAINTS | USAGES | KEYS | ODDITIES
