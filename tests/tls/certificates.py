"""Certificates with just the names and faults that a test needs, and lists of revoked ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from lab.ca import Authority, Issued, Usage, Validity, new_key, pem


def certificate(
    authority: Authority | None,
    *,
    common: str = "",
    names: Sequence[str] | None = (),
    validity: Validity | None = None,
    usages: Sequence[Usage] = ("server",),
    issuer_at: str = "",
) -> Issued:
    """A server certificate with just this common name (empty: none) and these SAN names (None: no SAN).
    Without an authority it is self-signed."""
    key = new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
    start, end = (validity or Validity()).span()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names is not None:
        san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(san, critical=not common)
    if issuer_at:
        place = x509.UniformResourceIdentifier(issuer_at)
        access = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, place)
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
    oids = {"server": "1.3.6.1.5.5.7.3.1", "client": "1.3.6.1.5.5.7.3.2", "code": "1.3.6.1.5.5.7.3.3"}
    usage = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oids[each]) for each in usages])
    builder = builder.add_extension(usage, critical=False)
    if authority is None:
        signed = builder.issuer_name(subject).sign(key, hashes.SHA256())
        return Issued(certificate=signed, key=key, chain=(signed,), root=signed)
    signed = authority.sign(builder)
    return Issued(
        certificate=signed, key=key, chain=(signed, *authority.path), root=authority.root.certificate
    )


def leaf_alone(issued: Issued) -> Issued:
    """The same without the intermediates."""
    return Issued(
        certificate=issued.certificate, key=issued.key, chain=(issued.certificate,), root=issued.root
    )


def revocation_list(authority: Authority, *revoked: x509.Certificate) -> x509.CertificateRevocationList:
    """A list of an authority, in force for a day."""
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - timedelta(hours=1))
        .next_update(now + timedelta(days=1))
    )
    for each in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(each.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(now - timedelta(hours=2)).build())
    return builder.sign(authority.key, hashes.SHA256())


def pem_of(issued: Issued) -> str:
    return pem(issued.certificate).decode()
