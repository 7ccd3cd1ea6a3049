"""Each sentence about a certificate, from a real certificate that deserves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from mxseal.certs.facts import Problem, fingerprint
from mxseal.certs.judge import describe, is_fqdn, judge, judge_for_delivery, key_strength
from mxseal.certs.x509 import Bundle
from tests.certs.authority import (
    DAY,
    NOW,
    Wish,
    cert_pem,
    codes,
    ec_key,
    issue,
    key_pem,
    openssl,
    path3,
    rsa_key,
    severities,
)


def judged(wish: Wish, common: str = "mx.example.com", **options: bool) -> list[Problem]:
    signer = issue(common, ec_key("leaf"), path3().near, wish)
    return judge(Bundle(signer.certificate, signer.key), NOW, **options)


def test_a_good_certificate_has_nothing_against_it() -> None:
    assert judged(Wish()) == []
    assert judged(Wish(names=("mx.example.com", "*.example.com"))) == []


def test_a_missing_key_is_an_error_unless_the_store_has_it() -> None:
    bundle = Bundle(path3().leaf.certificate)
    assert severities(judge(bundle, NOW)) == {"key-missing": "error"}
    assert judge(bundle, NOW, key_kept=True) == []


def test_a_key_of_another_certificate_is_an_error() -> None:
    bundle = Bundle(path3().leaf.certificate, ec_key("stranger"))
    assert severities(judge(bundle, NOW)) == {"key-mismatch": "error"}


@pytest.mark.parametrize(("wish", "code"), [(Wish(end=-1), "expired"), (Wish(begin=3), "not-yet-valid")])
def test_a_certificate_out_of_date_is_a_warning(wish: Wish, code: str) -> None:
    (problem,) = judged(wish)
    assert (problem.code, problem.severity) == (code, "warning")
    assert "2026-02-1" in problem.text


def test_a_self_signed_certificate_is_a_warning() -> None:
    own = issue("mx.example.com", ec_key("leaf"), None)
    assert severities(judge(Bundle(own.certificate, own.key), NOW)) == {"self-signed": "warning"}


@pytest.mark.parametrize(
    ("key", "code", "severity"),
    [
        (lambda: rsa_key("weak", 1024), "weak-key", "error"),
        (lambda: ec_key("weak", ec.SECP224R1), "weak-key", "error"),
        (lambda: ec_key("koblitz", ec.SECP256K1), "key-unsupported", "error"),
        (ed25519.Ed25519PrivateKey.generate, "rare-key", "warning"),
    ],
)
def test_keys_that_are_weak_or_rare_are_named(key: object, code: str, severity: str) -> None:
    assert callable(key)
    own = key()
    signer = issue("mx.example.com", own, path3().near)
    (problem,) = judge(Bundle(signer.certificate, own), NOW)
    assert (problem.code, problem.severity) == (code, severity)
    assert "P-256" in problem.text + problem.remedy or severity == "warning"


@pytest.mark.parametrize("curve", [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_the_curves_of_tls_are_strong_enough(curve: type[ec.EllipticCurve]) -> None:
    assert key_strength(ec_key("strong", curve)) == []
    assert key_strength(rsa_key("leaf")) == []


def test_a_certificate_that_is_not_for_servers_is_an_error() -> None:
    (problem,) = judged(Wish(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)))
    assert (problem.code, problem.severity) == ("no-server-auth", "error")


def test_without_restriction_every_usage_is_allowed() -> None:
    assert judged(Wish(eku=None)) == []


def test_any_usage_is_a_warning_as_openssl_refuses_it() -> None:
    wish = Wish(eku=(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,))
    assert severities(judged(wish)) == {"any-usage-only": "warning"}
    leaf = issue("mx.example.com", ec_key("leaf"), None, wish).certificate
    assert codes(judge_for_delivery(leaf)) == ["no-client-auth"]


def test_a_key_usage_without_digital_signature_is_a_warning() -> None:
    assert severities(judged(Wish(digital_signature=False))) == {"no-digital-signature": "warning"}


def test_for_delivery_a_certificate_without_client_usage_is_a_warning() -> None:
    assert codes(judge_for_delivery(path3().leaf.certificate)) == ["no-client-auth"]
    both = Wish(eku=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH))
    assert judge_for_delivery(issue("mx.example.com", ec_key("leaf"), None, both).certificate) == []


@pytest.mark.parametrize(
    "name", ["mailhost", "192.0.2.1", "mx..example.com", "Mail Gateway", "*.*.example.com"]
)
def test_a_common_name_that_is_no_fqdn_is_an_error_unless_the_check_is_off(name: str) -> None:
    wish = Wish(names=("mx.example.com",))
    (problem,) = judged(wish, name)
    assert (problem.code, problem.severity) == ("name-not-fqdn", "error")
    assert repr(name) in problem.text
    assert severities(judged(wish, name, strict_names=False)) == {"name-not-fqdn": "warning"}


@pytest.mark.parametrize("name", ["mailhost", "mx.example.com.", "m*.example.com", "-a.example.com"])
def test_an_alternative_name_that_is_no_fqdn_is_an_error(name: str) -> None:
    (problem,) = judged(Wish(names=("mx.example.com", name)))
    assert (problem.code, problem.severity) == ("name-not-fqdn", "error")
    assert "alternative name" in problem.text


def test_a_certificate_without_any_name_is_an_error() -> None:
    assert codes(judged(Wish(names=()), "")) == ["no-name"]


def test_a_common_name_alone_is_a_warning() -> None:
    assert severities(judged(Wish(names=()))) == {"no-alternative-name": "warning"}


def test_an_empty_subject_with_alternative_names_is_good() -> None:
    assert judged(Wish(names=("mx.example.com",)), "") == []


def test_a_sha1_signature_is_an_error(tmp_path: Path) -> None:
    chain = path3()
    (tmp_path / "ca.pem").write_bytes(cert_pem(chain.near.certificate))
    (tmp_path / "ca.key").write_bytes(key_pem(chain.near.key))
    (tmp_path / "leaf.key").write_bytes(key_pem(chain.leaf.key))
    (tmp_path / "ext").write_text("subjectAltName=DNS:mx.example.com\nbasicConstraints=CA:FALSE\n")
    openssl(
        "req", "-new", "-key", tmp_path / "leaf.key", "-subj", "/CN=mx.example.com", "-out", tmp_path / "r"
    )
    text = openssl(  # only the program still signs with SHA-1
        "x509", "-req", "-sha1", "-in", tmp_path / "r", "-CA", tmp_path / "ca.pem",
        "-CAkey", tmp_path / "ca.key", "-set_serial", "7", "-extfile", tmp_path / "ext",
    )  # fmt: skip
    certificate = x509.load_pem_x509_certificate(text)
    then = certificate.not_valid_before_utc.timestamp() + 60
    (problem,) = judge(Bundle(certificate, chain.leaf.key), then)
    assert (problem.code, problem.severity) == ("weak-signature", "error")
    assert "SHA1" in problem.text


def test_a_description_names_everything_that_lists_show() -> None:
    certificate = path3().leaf.certificate
    info = describe(certificate, NOW)
    assert (info.common_name, info.names, info.issuer) == ("mx.example.com", ("mx.example.com",), "Test Near")
    assert (info.key, info.self_signed, info.status) == ("ECDSA P-256", False, "Valid")
    assert info.fingerprint == fingerprint(certificate)
    assert len(info.fingerprint) == 95
    assert int(info.serial, 16) == certificate.serial_number
    assert info.days_left(NOW) == 300
    assert info.remaining(NOW) == f"{info.days_left(NOW)} days"
    assert info.remaining(NOW + 400 * DAY) == "Expired"
    assert info.days_left(NOW + 400 * DAY) < 0


@pytest.mark.parametrize(
    ("wish", "active", "awaiting", "status"),
    [
        (Wish(), False, False, "Valid"),
        (Wish(), True, False, "Active"),
        (Wish(), False, True, "Awaiting signed certificate"),
        (Wish(), True, True, "Active"),
        (Wish(end=-1), True, True, "Expired"),
        (Wish(begin=1), False, False, "Not yet valid"),
    ],
)
def test_the_status_follows_date_and_use(wish: Wish, active: bool, awaiting: bool, status: str) -> None:
    certificate = issue("mx.example.com", ec_key("leaf"), None, wish).certificate
    assert describe(certificate, NOW, active=active, awaiting=awaiting).status == status


def test_an_rsa_key_is_described_with_its_size() -> None:
    certificate = issue("mx.example.com", rsa_key("leaf"), None).certificate
    assert describe(certificate, NOW).key == "RSA 2048"
    assert isinstance(certificate.public_key(), rsa.RSAPublicKey)


@given(st.text(max_size=300))
def test_is_fqdn_answers_for_any_text(text: str) -> None:
    assert is_fqdn(text) in (True, False)


def test_an_authority_is_judged_without_a_fall() -> None:
    root = path3().root
    assert "self-signed" in codes(judge(Bundle(root.certificate, root.key), NOW))
