"""Lists of revoked certificates (RFC 5280 §5): bytes in, a list or what is wrong with it. PURE.

`now` is in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mxseal.certs.facts import name_text

EARLY_SECONDS = 300.0
"""By so much an authority's clock may be ahead of ours."""
_BEGIN = b"-----BEGIN X509 CRL-----"
_BEGIN_ANY = b"-----BEGIN "


class Refused(Exception):
    """A list can't be used; the text is a sentence with the remedy, without a full stop."""


class CrlSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list says about itself. Times in seconds since the epoch."""

    issuer: str
    this_update: float
    next_update: float
    count: int
    """Revoked certificates."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One revoked certificate."""

    serial: str
    """Hexadecimal digits."""
    revoked_at: float
    reason: str = ""


def read_crl(content: bytes) -> x509.CertificateRevocationList:
    """DER or PEM, one list. Raises Refused."""
    try:
        if _BEGIN in content:
            if content.count(_BEGIN) > 1:
                raise Refused("the file holds several lists; make a source for each of them")
            return _readable(x509.load_pem_x509_crl(content))
        if content.lstrip()[:1] == b"<":
            raise Refused("what came is a web page and not a list; see that the address is right")
        if _BEGIN_ANY in content[:4096]:
            raise Refused("what came is PEM text of another kind; see that the address is that of a list")
        return _readable(x509.load_der_x509_crl(content))
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise Refused("what came is no list of revoked certificates, or is damaged") from None


def _readable(crl: x509.CertificateRevocationList) -> x509.CertificateRevocationList:
    """The parser is lazy: what may fail fails here."""
    _ = crl.issuer, crl.last_update_utc, crl.next_update_utc, crl.extensions
    return crl


def summary(crl: x509.CertificateRevocationList) -> CrlSummary:
    """Raises Refused for a list that does not say until when it holds (RFC 5280 §5.1.2.5): it would count for
    ever."""
    if crl.next_update_utc is None:
        raise Refused("the list does not say when the next one is due, as it must (RFC 5280 §5.1.2.5)")
    return CrlSummary(
        issuer=name_text(crl.issuer),
        this_update=crl.last_update_utc.timestamp(),
        next_update=crl.next_update_utc.timestamp(),
        count=len(crl),
    )


def refuse_partial(crl: x509.CertificateRevocationList) -> None:
    """Raises Refused for lists that only make sense beside others: changes to another list (RFC 5280 §5.2.4),
    and those in which one authority speaks for others (§5.2.5)."""
    try:
        crl.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    except x509.ExtensionNotFound:
        pass
    else:
        raise Refused(
            "the list holds changes to another list only (a delta); use the address of the whole one"
        )
    try:
        scope = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return
    if scope.indirect_crl:
        raise Refused("the list speaks for several authorities (an indirect list), which is not supported")


def refuse_untimely(found: CrlSummary, now: float) -> None:
    """Raises Refused for a list that is not of today."""
    if found.this_update > now + EARLY_SECONDS:
        raise Refused("the list is of a time to come; see whether this gateway's clock is right")
    if found.next_update <= now:
        raise Refused("the list is out of date: the authority has not published a newer one")


def signer(crl: x509.CertificateRevocationList, authorities: Iterable[x509.Certificate]) -> x509.Certificate:
    """The authority that signed the list. Raises Refused: nobody among `authorities` did."""
    same_name = [each for each in authorities if each.subject == crl.issuer]
    for each in same_name:
        if _may_sign(each) and _signed(crl, each):
            return each
    issuer = name_text(crl.issuer)
    if same_name:
        raise Refused(f"the signature of the list is not that of {issuer}, whose name it has")
    raise Refused(
        f"its issuer {issuer} is in no list of authorities; put its certificate into the custom list with "
        "'certconfig certauthority custom import'"
    )


def _may_sign(authority: x509.Certificate) -> bool:
    """RFC 5280 §4.2.1.3: cRLSign, where the key's usage is limited."""
    try:
        return authority.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign
    except (x509.ExtensionNotFound, ValueError):
        return True


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return crl.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False


def entries(crl: x509.CertificateRevocationList) -> Iterator[Entry]:
    """The revoked certificates in the list's own order; what is odd about one is left out."""
    for each in crl:
        yield Entry(
            serial=f"{each.serial_number:X}",
            revoked_at=each.revocation_date_utc.timestamp(),
            reason=_reason(each),
        )


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
    except (x509.ExtensionNotFound, ValueError):
        return ""
