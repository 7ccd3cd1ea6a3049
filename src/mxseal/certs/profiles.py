"""Certificate profiles of the document: to objects and back, renewing, exporting, and who uses which."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from mxseal.certs.chain import as_stored, check_chain, repair
from mxseal.certs.facts import PrivateKey, Problem, error, fingerprint, has_errors, pem, spki_sha256, title
from mxseal.certs.judge import judge
from mxseal.certs.x509 import Bundle, key_mismatch, read_pem, read_pkcs12
from mxseal.config.model import Certificate, Document, Interface

PASSPHRASE_MINIMUM = 8
_KDF_ROUNDS = 100_000
DELIVERY = "outbound delivery"
DIRECTORIES = "LDAP client"


class Accepted(msgspec.Struct, frozen=True):
    """A profile that can go into the document, what should be known about it, and its key if one came."""

    certificate: Certificate
    warnings: tuple[Problem, ...] = ()
    key: PrivateKey | None = None


def parse(profile: Certificate) -> Bundle | list[Problem]:
    """The certificates of a profile. People write documents by hand: anything may be in them."""
    place = f"certificates.{profile.name}"
    leaf = _one(profile.certificate, f"{place}.certificate")
    problems = [leaf] if isinstance(leaf, Problem) else []
    intermediates = []
    for index, text in enumerate(profile.intermediates):
        found = _one(text, f"{place}.intermediates.{index}")
        if isinstance(found, Problem):
            problems.append(found)
        else:
            intermediates.append(found)
    if isinstance(leaf, Problem) or problems:
        return problems
    return Bundle(leaf, None, tuple(intermediates))


def _one(text: str, path: str) -> x509.Certificate | Problem:
    found = read_pem(text.encode())
    if isinstance(found, list):
        return msgspec.structs.replace(found[0], path=path)
    if found.intermediates or found.key is not None:
        return Problem(
            "not-one-certificate",
            "error",
            "More than one PEM block stands here.",
            "Write exactly one certificate; its intermediates have their own list, its key belongs in "
            "the key store.",
            path,
        )
    return found.leaf


def profile_of(name: str, bundle: Bundle, csr: str | None = None) -> Certificate:
    """The public parts of `bundle` as the document's entry."""
    return Certificate(
        name=name,
        certificate=pem(bundle.leaf),
        intermediates=tuple(pem(certificate) for certificate in bundle.intermediates),
        csr=csr,
    )


def sent(profile: Certificate, bundle: Bundle, now: float) -> tuple[x509.Certificate, ...]:
    """What goes over the wire for a profile: leaf first, then the path, nothing twice."""
    rule = repair if profile.send_exact_path else as_stored
    return (bundle.leaf, *rule(bundle.leaf, bundle.intermediates, now))


def repaired(profile: Certificate, now: float) -> Certificate | list[Problem]:
    """The profile with exactly the path as its intermediates."""
    bundle = parse(profile)
    if isinstance(bundle, list):
        return bundle
    path = repair(bundle.leaf, bundle.intermediates, now)
    return profile.model_copy(
        update={"intermediates": tuple(pem(certificate) for certificate in path), "send_exact_path": True}
    )


def accept(
    name: str,
    given: Bundle | list[Problem],
    now: float,
    *,
    strict_names: bool = True,
    roots: Sequence[x509.Certificate] | None = None,
) -> Accepted | list[Problem]:
    """What was read becomes a profile; with errors all problems come back and nothing can be stored."""
    if isinstance(given, list):
        return given
    problems = [
        *judge(given, now, strict_names=strict_names),
        *check_chain(given.leaf, given.intermediates, now, roots),
    ]
    if has_errors(problems):
        return problems
    return Accepted(profile_of(name, given), tuple(problems), given.key)


def accept_signed(
    profile: Certificate,
    given: Bundle | list[Problem],
    now: float,
    *,
    strict_names: bool = True,
    roots: Sequence[x509.Certificate] | None = None,
) -> Accepted | list[Problem]:
    """The authority's answer to the profile's request: it keeps its name, and so all its assignments.

    The intermediates are replaced, never added to: leftovers of the last issue are how duplicate and wrong
    intermediates arise (reference §12). A certificate on another key than the request's is refused.
    """
    if isinstance(given, list):
        return given
    wanted = _wanted_key(profile)
    if isinstance(wanted, list):
        return wanted
    if spki_sha256(given.leaf) != wanted:
        return [_other_key(profile, given.leaf)]
    if given.key is not None and spki_sha256(given.key) != wanted:
        return [key_mismatch(given.leaf)]
    problems = [
        *judge(given, now, strict_names=strict_names, key_kept=True),
        *check_chain(given.leaf, given.intermediates, now, roots),
    ]
    if has_errors(problems):
        return problems
    fresh = profile_of(profile.name, given).model_copy(update={"send_exact_path": profile.send_exact_path})
    return Accepted(fresh, tuple(problems), given.key)


def _wanted_key(profile: Certificate) -> str | list[Problem]:
    """SPKI digest of the profile's request, or of its certificate when it is renewed on the same key."""
    if profile.csr is None:
        bundle = parse(profile)
        return bundle if isinstance(bundle, list) else spki_sha256(bundle.leaf)
    try:
        return spki_sha256(x509.load_pem_x509_csr(profile.csr.encode()))
    except ValueError:
        return [
            Problem(
                "not-a-csr",
                "error",
                f"The signing request of {profile.name} can't be read.",
                "Make a new profile with its own request.",
                f"certificates.{profile.name}.csr",
            )
        ]


def _other_key(profile: Certificate, leaf: x509.Certificate) -> Problem:
    return error(
        "not-for-this-request",
        f"The certificate {title(leaf)} was not made for the signing request of {profile.name}: it has "
        "another key.",
        "Choose the answer to this request, or import the certificate with its own key under a new name.",
    )


def export_pkcs12(
    profile: Certificate, key: PrivateKey, passphrase: str, now: float
) -> bytes | list[Problem]:
    """Certificate, key and the path, encrypted with AES-256 (PBES2) and read back before it is given away."""
    if len(passphrase) < PASSPHRASE_MINIMUM:
        return [
            error(
                "short-passphrase",
                f"The passphrase has {len(passphrase)} characters.",
                f"Use at least {PASSPHRASE_MINIMUM}: the file holds the private key.",
            )
        ]
    bundle = parse(profile)
    if isinstance(bundle, list):
        return bundle
    if spki_sha256(key) != spki_sha256(bundle.leaf):
        return [key_mismatch(bundle.leaf)]
    chain = sent(profile, bundle, now)
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(_KDF_ROUNDS)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(passphrase.encode())
    )
    data = pkcs12.serialize_key_and_certificates(
        profile.name.encode(), key, bundle.leaf, list(chain[1:]), encryption
    )
    again = read_pkcs12(data, passphrase.encode())
    if isinstance(again, list):
        return again
    assert list(map(fingerprint, (again.leaf, *again.intermediates))) == list(map(fingerprint, chain))
    return data


def https(interface: Interface) -> str:
    """What the HTTPS port of an interface is called among the services."""
    return f"interface {interface.name} (HTTPS)"


def analysis(name: str) -> str:
    """What the client of an analysis server is called among the services."""
    return f"analysis server {name} (client)"


def uses(document: Document, name: str) -> list[str]:
    """The services that a profile is assigned to; it can't be deleted while there are any."""
    found = []
    for listener in document.listeners:
        if name in (listener.certificate, listener.second_certificate):
            found.append(f"listener {listener.name} (inbound TLS)")
        if name in listener.sni_certificates:
            found.append(f"listener {listener.name} (inbound TLS, by server name)")
    found += [https(interface) for interface in document.interfaces if interface.certificate == name]
    if document.delivery.certificate == name:
        found.append(DELIVERY)
    if document.ldap_profiles and document.ldap.certificate == name:
        found.append(DIRECTORIES)
    found += [analysis(server.name) for server in document.analysis_servers if server.certificate == name]
    found += [
        f"log {entry.name} (syslog push)"
        for entry in document.log_subscriptions
        if entry.push is not None and entry.push.certificate == name
    ]
    return found


def services(document: Document) -> list[tuple[str, str]]:
    """(service, profile) for every use of a certificate, in the document's order; '' is none."""
    rows: list[tuple[str, str]] = []
    for listener in document.listeners:
        service = f"listener {listener.name} (inbound TLS)"
        rows.append((service, listener.certificate))
        if listener.second_certificate is not None:
            rows.append((service, listener.second_certificate))
        rows += [
            (f"listener {listener.name} (inbound TLS, by server name)", name)
            for name in listener.sni_certificates
        ]
    rows += [(https(interface), interface.certificate) for interface in document.interfaces]
    rows.append((DELIVERY, document.delivery.certificate or ""))
    if document.ldap_profiles:
        rows.append((DIRECTORIES, document.ldap.certificate or ""))
    rows += [(analysis(server.name), server.certificate or "") for server in document.analysis_servers]
    return rows
