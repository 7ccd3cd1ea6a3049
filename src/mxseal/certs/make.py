"""Make keys, self-signed certificates and signing requests. `now` is in seconds since the epoch."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from typing import Literal, cast, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mxseal.certs.facts import PrivateKey, Problem, alternative_names, common_name, error, pem
from mxseal.certs.judge import is_fqdn
from mxseal.config.model import Certificate
from mxseal.config.values import domain_name

KeyKind = Literal["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384"]
DEFAULT_DAYS = 3650
DEMO = "Demo"
DEMO_COMMON_NAME = "MXSeal demonstration certificate"
_BACKDATE = datetime.timedelta(hours=1)
"""Peers whose clock is a little behind must not see a certificate of the future."""
_LAST = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280 §4.1.2.5: the latest date that a certificate can hold."""
_NAME_LIMIT = 64
"""Characters of CN, O and OU (RFC 5280, appendix A.1)."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who a certificate is for; empty parts are left out."""

    common_name: str
    organization: str = ""
    organizational_unit: str = ""
    locality: str = ""
    state: str = ""
    country: str = ""
    """Two letters, ISO 3166."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What `make_profile` is to make."""

    name: str
    """Of the profile."""
    subject: Subject
    names: tuple[str, ...] = ()
    """Further DNS names and IP addresses; the common name is among them in any case."""
    days: int = DEFAULT_DAYS
    key: KeyKind = "rsa-2048"


class Made(msgspec.Struct, frozen=True):
    """A profile for the document, and the key that belongs into the key store."""

    certificate: Certificate
    key: PrivateKey


def key_kind(text: str) -> KeyKind | Problem:
    """'rsa-2048', '2048', 'RSA 2048', 'p256', 'ECDSA P-256' … to a kind; a problem for other texts."""
    plain = "".join(character for character in text.lower() if character.isalnum())
    for kind in get_args(KeyKind):
        full = kind.replace("-", "")
        if plain in {full, full.removeprefix("rsa").removeprefix("ecdsa")}:
            return cast("KeyKind", kind)
    if plain in {"1024", "rsa1024", "512", "rsa512"}:
        return error(
            "weak-key", f"{text!r}: RSA keys below 2048 bits can be broken.", "Choose rsa-2048 or ecdsa-p256."
        )
    return error(
        "unknown-key-kind", f"{text!r} is not a kind of key.", f"Choose {', '.join(get_args(KeyKind))}."
    )


def make_key(kind: KeyKind) -> PrivateKey:
    """A new private key. RSA 4096 may take seconds: call it in a thread."""
    family, size = kind.split("-")
    if family == "rsa":
        return rsa.generate_private_key(65537, int(size))
    return ec.generate_private_key(ec.SECP256R1() if size == "p256" else ec.SECP384R1())


def make_profile(order: Order, now: float, key: PrivateKey | None = None) -> Made | list[Problem]:
    """A self-signed certificate that works at once, with the signing request for an authority."""
    names = _with_common_name(order.subject.common_name, order.names)
    problems = [*_check_subject(order.subject), *_check_names(order.subject.common_name, names)]
    if not 1 <= order.days <= 36_500:
        problems.append(error("days", f"{order.days} days is no usable duration.", "Choose 1 to 36500 days."))
    if problems:
        return problems
    key = key or make_key(order.key)
    subject = _name(order.subject)
    alternatives = _alternatives(names)
    return Made(
        Certificate(
            name=order.name,
            certificate=pem(_self_sign(subject, alternatives, key, now, order.days)),
            csr=_request(subject, alternatives, key),
        ),
        key,
    )


def demo_certificate(hostname: str, now: float) -> Made:
    """This installation's own demonstration certificate: it encrypts, and can't be verified (reference §1.2).

    RSA 2048, slower than ECDSA, because it serves whatever asks: old peers exist that know RSA only, and a
    failed handshake looks like a broken gateway. It has no signing request: nobody should sign it.
    """
    key = make_key("rsa-2048")
    subject = _name(Subject(common_name=DEMO_COMMON_NAME))
    certificate = _self_sign(subject, _alternatives([hostname]), key, now, DEFAULT_DAYS)
    return Made(Certificate(name=DEMO, certificate=pem(certificate)), key)


def request_again(leaf: x509.Certificate, key: PrivateKey) -> str:
    """A signing request (PEM) with subject and names of `leaf`: renewal with the key that is there."""
    return _request(
        leaf.subject,
        _alternatives(_with_common_name(common_name(leaf.subject), alternative_names(leaf))),
        key,
    )


def _self_sign(
    subject: x509.Name,
    alternatives: x509.SubjectAlternativeName | None,
    key: PrivateKey,
    now: float,
    days: int,
) -> x509.Certificate:
    at = datetime.datetime.fromtimestamp(int(now), datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _BACKDATE)
        .not_valid_after(min(at + datetime.timedelta(days=days), _LAST))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in _extensions(alternatives):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, _hash(key))


def _request(subject: x509.Name, alternatives: x509.SubjectAlternativeName | None, key: PrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in _extensions(alternatives):
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, _hash(key)).public_bytes(Encoding.PEM).decode()


def _extensions(alternatives: x509.SubjectAlternativeName | None) -> list[tuple[x509.ExtensionType, bool]]:
    """What certificate and request share: an end entity that signs handshakes, as server and as client."""
    usage = x509.KeyUsage(
        digital_signature=True,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage, True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False),
    ]
    if alternatives is not None:
        extensions.append((alternatives, False))
    return extensions


def _hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return hashes.SHA384() if key.curve.key_size > 256 else hashes.SHA256()
    return None


def _name(subject: Subject) -> x509.Name:
    parts = [
        (NameOID.COUNTRY_NAME, subject.country.upper()),
        (NameOID.STATE_OR_PROVINCE_NAME, subject.state),
        (NameOID.LOCALITY_NAME, subject.locality),
        (NameOID.ORGANIZATION_NAME, subject.organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, subject.organizational_unit),
        (NameOID.COMMON_NAME, _plain_name(subject.common_name)),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])


def _with_common_name(common: str, names: Sequence[str]) -> list[str]:
    """RFC 9525 §2: clients look at the alternative names only, so the common name has to be one of them."""
    return list(dict.fromkeys(_plain_name(name) for name in (common, *names) if name))


def _plain_name(name: str) -> str:
    """A-labels, lower case; what is no name is left as it is, for the checks to name."""
    if _address(name) is not None:
        return name
    star, rest = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    try:
        return star + domain_name(rest)
    except ValueError:
        return name


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName | None:
    values: list[x509.GeneralName] = []
    for name in names:
        address = _address(name)
        if address is not None:
            values.append(x509.IPAddress(address))
        elif name.isascii() and " " not in name:
            values.append(x509.DNSName(name))
    return x509.SubjectAlternativeName(values) if values else None


def _check_subject(subject: Subject) -> list[Problem]:
    problems = []
    if not subject.common_name:
        problems.append(
            error(
                "common-name",
                "The common name is empty.",
                "Give this gateway's host name, such as mx.example.com.",
            )
        )
    limits = {
        "common name": (subject.common_name, _NAME_LIMIT),
        "organization": (subject.organization, _NAME_LIMIT),
    }
    limits |= {"organizational unit": (subject.organizational_unit, _NAME_LIMIT)}
    limits |= {"locality": (subject.locality, 128), "state": (subject.state, 128)}
    problems += [
        error("subject-too-long", f"The {field} has {len(text)} characters.", f"Use at most {limit}.")
        for field, (text, limit) in limits.items()
        if len(text) > limit
    ]
    country = subject.country
    if country and not (len(country) == 2 and country.isascii() and country.isalpha()):
        problems.append(
            error(
                "country",
                f"The country {country!r} is not a two-letter code.",
                "Write one such as DE, GB or US.",
            )
        )
    return problems


def _check_names(common: str, names: Sequence[str]) -> list[Problem]:
    return [
        error(
            "name-not-fqdn",
            f"The {'common name' if name == _plain_name(common) else 'name'} {name!r} is not a fully "
            "qualified domain name.",
            "Use a name with its domain, such as mx.example.com or *.example.com.",
        )
        for name in names
        if not is_fqdn(name) and (_address(name) is None or name == common)
    ]
