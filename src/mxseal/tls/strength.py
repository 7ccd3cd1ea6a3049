"""Keys and signatures that are too weak to believe a certificate: below 112 bits (RFC 9325 §4.5). PURE.

OpenSSL looks at this too, by its security level. But TLS 1.0 and 1.1 need level 0, at which it takes MD5 and
RSA keys of 512 bits for certificates as well, and a store outside a handshake has no level at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding, rsa

SERVER_KEY, AUTHORITY_KEY, SIGNATURE = 66, 67, 68
"""X509_V_ERR_EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK: the numbers of OpenSSL's words."""
UNREADABLE = 1
"""X509_V_ERR_UNSPECIFIED, for what can't be read and therefore not be judged."""
_RSA_MINIMUM, _CURVE_MINIMUM = 2048, 224


def weak_key(certificate: x509.Certificate) -> bool:
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey | dsa.DSAPublicKey):
        return public.key_size < _RSA_MINIMUM
    return isinstance(public, ec.EllipticCurvePublicKey) and public.curve.key_size < _CURVE_MINIMUM


def weak_digest(certificate: x509.Certificate) -> str:
    """The digest of its signature where collisions of it can be made: MD5 or SHA1; else empty."""
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return digest.name.upper() if isinstance(digest, hashes.MD5 | hashes.SHA1) else ""


def weakness(certificate: x509.Certificate, depth: int, *, anchor: bool) -> int:
    """OpenSSL's number for what is too weak, 0 for nothing. `depth`: 0 is the peer's own certificate.
    `anchor`: the chain ends here, and the signature proves nothing."""
    try:
        if weak_key(certificate):
            return AUTHORITY_KEY if depth else SERVER_KEY
    except UnsupportedAlgorithm:
        pass  # a kind of key that is younger than the weak ones; OpenSSL could use it
    except (ValueError, TypeError):
        return UNREADABLE
    return SIGNATURE if not anchor and weak_digest(certificate) else 0


def weakest(path: Sequence[x509.Certificate]) -> int:
    """The same for a verified path, the peer's own certificate first and its anchor last."""
    found = (weakness(each, at, anchor=at == len(path) - 1) for at, each in enumerate(path))
    return next(filter(None, found), 0)


def issued(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """Whether `issuer` signed `subject`: names chain and the signature verifies. Says nothing about trust."""
    if issuer.subject != subject.issuer:
        return False
    try:
        if not _verify_old_hash(issuer, subject):
            subject.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _verify_old_hash(issuer: x509.Certificate, subject: x509.Certificate) -> bool:
    """SHA-1 and MD5, which `verify_directly_issued_by` refuses: many trusted roots are signed with SHA-1.

    False: another hash, not looked at. Raises InvalidSignature.
    """
    public, algorithm = issuer.public_key(), subject.signature_hash_algorithm
    if not isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        return False
    if isinstance(subject.signature_algorithm_parameters, padding.PSS):
        return False
    signature, content = subject.signature, subject.tbs_certificate_bytes
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(signature, content, padding.PKCS1v15(), algorithm)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, content, ec.ECDSA(algorithm))
    else:
        return False
    return True
