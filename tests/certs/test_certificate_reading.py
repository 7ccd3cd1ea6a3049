"""PEM and PKCS#12 as administrators bring them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from mxseal.certs.facts import Problem, spki_sha256
from mxseal.certs.make import Order, Subject, make_profile
from mxseal.certs.x509 import CERTIFICATE_LIMIT, INPUT_LIMIT, Bundle, read_pem, read_pkcs12
from tests.certs.authority import (
    NOW,
    cert_pem,
    codes,
    ec_key,
    issue,
    key_pem,
    openssl,
    path3,
    rsa_key,
)


def problems_of(result: Bundle | list[Problem]) -> list[Problem]:
    assert isinstance(result, list), "should have been refused"
    for problem in result:
        assert problem.text.endswith((".", ")")), problem
        assert problem.remedy, problem
    return result


def bundle_of(result: Bundle | list[Problem]) -> Bundle:
    assert isinstance(result, Bundle), result
    return result


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_leaf_is_found_whatever_the_order_in_the_file(order: tuple[int, ...]) -> None:
    chain = path3()
    parts = [
        cert_pem(chain.leaf.certificate),
        key_pem(chain.leaf.key),
        cert_pem(chain.near.certificate),
        cert_pem(chain.far.certificate),
    ]
    bundle = bundle_of(read_pem(b"".join(parts[at] for at in order)))
    assert bundle.leaf == chain.leaf.certificate
    assert bundle.key is not None
    assert spki_sha256(bundle.key) == spki_sha256(chain.leaf.certificate)
    assert set(bundle.intermediates) == set(chain.path)


def test_certificate_key_and_intermediates_may_come_in_several_files() -> None:
    chain = path3()
    files = [key_pem(chain.leaf.key), cert_pem(*chain.path), cert_pem(chain.leaf.certificate)]
    assert bundle_of(read_pem(files)).intermediates == chain.path


def test_without_a_key_the_certificate_that_is_no_authority_is_the_leaf() -> None:
    chain = path3()
    bundle = bundle_of(read_pem(cert_pem(*chain.path, chain.leaf.certificate, chain.root.certificate)))
    assert bundle.leaf == chain.leaf.certificate
    assert bundle.key is None


def test_of_two_certificates_on_the_same_key_the_signed_one_is_the_leaf() -> None:
    chain = path3()
    own = issue("mx.example.com", chain.leaf.key, None).certificate
    for pair in itertools.permutations((own, chain.leaf.certificate)):
        bundle = bundle_of(read_pem(cert_pem(*pair) + key_pem(chain.leaf.key)))
        assert bundle.leaf == chain.leaf.certificate
        assert bundle.intermediates == (own,)


def test_text_around_the_blocks_windows_line_ends_and_utf16_do_not_matter() -> None:
    chain = path3()
    text = b"Bag Attributes\n  friendlyName: x\nsubject=/CN=x\n" + cert_pem(chain.leaf.certificate)
    assert bundle_of(read_pem(text.replace(b"\n", b"\r\n"))).leaf == chain.leaf.certificate
    assert bundle_of(read_pem(text.decode().encode("utf-16"))).leaf == chain.leaf.certificate
    assert bundle_of(read_pem(b"\xef\xbb\xbf" + text)).leaf == chain.leaf.certificate


def test_a_pkcs7_bundle_counts_as_the_certificates_in_it() -> None:
    chain = path3()
    bag = pkcs7.serialize_certificates([chain.leaf.certificate, *chain.path], Encoding.PEM)
    bundle = bundle_of(read_pem([bag, key_pem(chain.leaf.key)]))
    assert bundle.leaf == chain.leaf.certificate
    assert set(bundle.intermediates) == set(chain.path)


@pytest.mark.parametrize("traditional", [False, True])
def test_an_encrypted_key_opens_with_its_passphrase_only(traditional: bool) -> None:
    chain = path3()
    text = cert_pem(chain.leaf.certificate) + key_pem(chain.leaf.key, b"right horse", traditional=traditional)
    assert bundle_of(read_pem(text, b"right horse")).key is not None
    assert codes(problems_of(read_pem(text, b"wrong horse"))) == ["wrong-passphrase"]
    assert codes(problems_of(read_pem(text))) == ["passphrase-needed"]


def test_every_wrong_passphrase_is_called_so_also_where_it_decrypts_to_garbage() -> None:
    text = cert_pem(path3().leaf.certificate) + openssl(
        "pkcs8", "-topk8", "-iter", "1", "-passout", "pass:right", given=key_pem(path3().leaf.key)
    )
    for attempt in range(600):
        assert codes(problems_of(read_pem(text, b"wrong %d" % attempt))) == ["wrong-passphrase"]


def test_a_passphrase_for_a_plain_key_does_no_harm() -> None:
    chain = path3()
    text = cert_pem(chain.leaf.certificate) + key_pem(chain.leaf.key)
    assert bundle_of(read_pem(text, b"needless")).key is not None


@pytest.mark.parametrize("arguments", [("-aes256",), ("-des3",)])
def test_keys_encrypted_by_openssl_are_read(arguments: tuple[str, ...]) -> None:
    chain = path3()
    plain = key_pem(chain.leaf.key)
    pkcs8 = openssl("pkcs8", "-topk8", "-v2", arguments[0][1:], "-passout", "pass:secret-9", given=plain)
    old = openssl("ec", *arguments, "-passout", "pass:secret-9", given=plain)
    assert b"Proc-Type: 4,ENCRYPTED" in old
    for key in (pkcs8, old):
        bundle = bundle_of(read_pem([cert_pem(chain.leaf.certificate), key], b"secret-9"))
        assert bundle.key is not None
        assert codes(problems_of(read_pem([cert_pem(chain.leaf.certificate), key], b"Secret-9"))) == [
            "wrong-passphrase"
        ]


def test_ec_parameters_that_openssl_writes_before_a_key_are_skipped() -> None:
    key = openssl("ecparam", "-name", "prime256v1", "-genkey")
    assert b"EC PARAMETERS" in key
    chain = path3()
    assert codes(problems_of(read_pem(key + cert_pem(chain.leaf.certificate)))) == ["key-mismatch"]


def test_a_key_that_does_not_fit_is_refused() -> None:
    chain = path3()
    (problem,) = problems_of(read_pem(cert_pem(chain.leaf.certificate) + key_pem(ec_key("stranger"))))
    assert (problem.code, problem.severity) == ("key-mismatch", "error")
    assert "mx.example.com" in problem.text


def test_two_different_keys_are_refused() -> None:
    chain = path3()
    text = cert_pem(chain.leaf.certificate) + key_pem(chain.leaf.key) + key_pem(ec_key("stranger"))
    assert codes(problems_of(read_pem(text))) == ["several-keys"]


def test_two_server_certificates_without_a_key_are_refused_by_name() -> None:
    other = issue("other.example.com", ec_key("other"), path3().near).certificate
    (problem,) = problems_of(read_pem(cert_pem(path3().leaf.certificate, other)))
    assert problem.code == "several-leaves"
    assert "mx.example.com" in problem.text
    assert "other.example.com" in problem.text


def test_a_key_alone_is_refused() -> None:
    assert codes(problems_of(read_pem(key_pem(ec_key("leaf"))))) == ["no-certificate"]


def test_a_signing_request_in_place_of_a_certificate_is_named() -> None:
    made = make_profile(
        Order(name="x", subject=Subject(common_name="mx.example.com"), key="ecdsa-p256"), NOW, ec_key("x")
    )
    assert not isinstance(made, list)
    assert made.certificate.csr is not None
    assert codes(problems_of(read_pem(made.certificate.csr.encode()))) == ["csr-given"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "not-pem"),
        (b"hello", "not-pem"),
        (b"\x30\x82\x01\x00binary", "not-pem"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not-a-certificate"),
        (b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "not-a-certificate"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB", "pem-cut-off"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END PRIVATE KEY-----", "pem-cut-off"),
        (b"-----BEGIN CERT", "pem-cut-off"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "key-unreadable"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", "pem-unknown"),
        (b"-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n", "not-a-certificate"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no-certificate"),
    ],
)
def test_what_is_no_pem_certificate_is_refused_with_its_reason(text: bytes, code: str) -> None:
    assert codes(problems_of(read_pem(text))) == [code]


def test_all_faults_of_several_files_are_told_at_once_with_the_file() -> None:
    found = problems_of(read_pem([b"hello", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]))
    assert codes(found) == ["not-pem", "not-a-certificate"]
    assert "Input 1" in found[0].text
    assert "input 2" in found[1].text


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_input_whatever_raises(junk: bytes, at: int) -> None:
    text = cert_pem(path3().leaf.certificate) + key_pem(path3().leaf.key)
    for hostile in (junk, text[:at] + junk + text[at:], text[:at] + junk):
        read_pem(hostile, b"x")
        read_pkcs12(hostile, b"x")


def test_the_size_of_an_input_and_the_number_of_certificates_are_bounded() -> None:
    one = cert_pem(path3().leaf.certificate)
    half = b" " * (INPUT_LIMIT // 2 + 1)
    assert codes(problems_of(read_pem([half, half]))) == ["too-large"]
    assert codes(problems_of(read_pkcs12(half + half, None))) == ["too-large"]
    assert codes(problems_of(read_pem(one * (CERTIFICATE_LIMIT + 1)))) == ["too-many"]
    assert len(bundle_of(read_pem(one * CERTIFICATE_LIMIT)).intermediates) == CERTIFICATE_LIMIT - 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    chain = path3()
    folder = tmp_path_factory.mktemp("p12")
    (folder / "key.pem").write_bytes(key_pem(chain.leaf.key))
    (folder / "leaf.pem").write_bytes(cert_pem(chain.leaf.certificate))
    (folder / "path.pem").write_bytes(cert_pem(*chain.path))
    return folder


def make_p12(files: Path, *options: str, password: str = "horse-1") -> bytes:
    return openssl(
        "pkcs12", "-export", "-in", files / "leaf.pem", "-certfile", files / "path.pem",
        "-passout", f"pass:{password}", *options,
    )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-legacy",),
        ("-legacy", "-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"),
        ("-legacy", "-keypbe", "PBE-SHA1-RC2-40", "-certpbe", "PBE-SHA1-RC2-40"),
        ("-keypbe", "AES-256-CBC", "-certpbe", "AES-256-CBC", "-iter", "10000"),
    ],
)
def test_pkcs12_files_of_openssl_are_read_old_ciphers_too(files: Path, options: tuple[str, ...]) -> None:
    data = make_p12(files, "-inkey", str(files / "key.pem"), *options)
    bundle = bundle_of(read_pkcs12(data, b"horse-1"))
    assert bundle.leaf == path3().leaf.certificate
    assert bundle.key is not None
    assert set(bundle.intermediates) == set(path3().path)
    for wrong in (b"horse-2", b"", None):
        assert codes(problems_of(read_pkcs12(data, wrong))) == ["wrong-passphrase"]


def test_a_pkcs12_file_without_key_gives_the_certificate_alone(files: Path) -> None:
    bundle = bundle_of(read_pkcs12(make_p12(files, "-nokeys"), b"horse-1"))
    assert bundle.leaf == path3().leaf.certificate
    assert bundle.key is None


@pytest.mark.parametrize(("data", "word"), [(b"", "cut off"), (b"\x30\x03\x02\x01\x03", "cut off")])
def test_what_is_no_pkcs12_is_refused(data: bytes, word: str) -> None:
    (problem,) = problems_of(read_pkcs12(data, b"x"))
    assert problem.code == "not-pkcs12"
    assert word in problem.text


def test_pem_given_as_pkcs12_is_named_as_such() -> None:
    (problem,) = problems_of(read_pkcs12(cert_pem(path3().leaf.certificate), b"x"))
    assert problem.code == "not-pkcs12"
    assert "PEM" in problem.text


def test_an_rsa_key_in_the_old_form_is_read() -> None:
    signer = issue("rsa.example.com", rsa_key("leaf"), path3().near)
    text = cert_pem(signer.certificate) + key_pem(signer.key, traditional=True)
    assert b"RSA PRIVATE KEY" in text
    assert bundle_of(read_pem(text)).key is not None


def test_a_key_that_can_not_sign_is_refused_with_its_type() -> None:
    key = openssl("genpkey", "-algorithm", "x25519")
    (problem,) = problems_of(read_pem([cert_pem(path3().leaf.certificate), key]))
    assert problem.code == "key-unsupported"
    assert "X25519" in problem.text


def test_explicit_curve_parameters_are_refused() -> None:
    key = openssl("ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", "-noout")
    found = codes(problems_of(read_pem([cert_pem(path3().leaf.certificate), key])))
    assert found in (["key-unreadable"], ["key-mismatch"])
