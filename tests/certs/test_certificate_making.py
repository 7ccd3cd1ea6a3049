"""Keys, self-signed certificates, requests, the authority's answer, export."""

from __future__ import annotations

import subprocess
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mxseal.certs.facts import PrivateKey, Problem, alternative_names, fingerprint, key_name, spki_sha256
from mxseal.certs.judge import describe, judge
from mxseal.certs.make import (
    DEMO_COMMON_NAME,
    KeyKind,
    Made,
    Order,
    Subject,
    demo_certificate,
    key_kind,
    make_key,
    make_profile,
    request_again,
)
from mxseal.certs.profiles import (
    Accepted,
    accept,
    accept_signed,
    export_pkcs12,
    parse,
    repaired,
    sent,
    services,
    uses,
)
from mxseal.certs.x509 import Bundle, read_pem
from mxseal.config.model import Certificate, Delivery, Document, Listener
from tests.certs.authority import (
    DAY,
    NOW,
    authority,
    cert_pem,
    codes,
    ec_key,
    issue,
    key_pem,
    openssl,
    path3,
    severities,
)

ORDER = Order(
    name="partner",
    subject=Subject(
        common_name="MX.example.com",
        organization="Example",
        organizational_unit="Mail",
        locality="Bonn",
        state="NRW",
        country="de",
    ),
    names=("mail.example.com", "mx.example.com", "192.0.2.7", "bücher.example"),
    days=90,
    key="ecdsa-p256",
)


def made(order: Order = ORDER, key: PrivateKey | None = None) -> Made:
    result = make_profile(order, NOW, key or ec_key("made"))
    assert isinstance(result, Made), result
    return result


def parsed(profile: Certificate) -> Bundle:
    bundle = parse(profile)
    assert isinstance(bundle, Bundle), bundle
    return bundle


def accepted(result: Accepted | list[Problem]) -> Accepted:
    assert isinstance(result, Accepted), result
    return result


def refused(order: Order) -> list[str]:
    result = make_profile(order, NOW, ec_key("made"))
    assert isinstance(result, list)
    return codes(result)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("rsa-2048", "RSA 2048"), ("ecdsa-p256", "ECDSA P-256"), ("ecdsa-p384", "ECDSA P-384")],
)
def test_keys_of_each_kind_make_certificates_that_are_fit_to_serve(kind: KeyKind, name: str) -> None:
    key = make_key(kind)
    assert key_name(key) == name
    profile = made(msgspec.structs.replace(ORDER, key=kind), key)
    assert severities(judge(Bundle(parsed(profile.certificate).leaf, key), NOW)) == {"self-signed": "warning"}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("rsa-2048", "rsa-2048"), ("2048", "rsa-2048"), ("RSA 3072", "rsa-3072"), ("4096", "rsa-4096"),
        ("P-256", "ecdsa-p256"), ("ecdsa p384", "ecdsa-p384"),
    ],
)  # fmt: skip
def test_kinds_of_keys_are_understood_as_people_write_them(text: str, kind: str) -> None:
    assert key_kind(text) == kind


@pytest.mark.parametrize(("text", "code"), [("1024", "weak-key"), ("ed25519", "unknown-key-kind")])
def test_weak_and_unknown_kinds_of_keys_are_refused(text: str, code: str) -> None:
    problem = key_kind(text)
    assert isinstance(problem, Problem)
    assert problem.code == code


def test_the_common_name_is_always_among_the_alternative_names() -> None:
    leaf = parsed(made().certificate).leaf
    assert alternative_names(leaf) == (
        "mx.example.com",
        "mail.example.com",
        "xn--bcher-kva.example",
        "192.0.2.7",
    )


def test_a_new_certificate_lasts_as_long_as_ordered_and_is_valid_at_once() -> None:
    info = describe(parsed(made().certificate).leaf, NOW)
    assert info.days_left(NOW) == 90
    assert info.status == "Valid"
    assert info.not_before < NOW - 60
    assert info.self_signed


def test_openssl_reads_the_request_with_its_subject_and_names() -> None:
    csr = made().certificate.csr
    assert csr is not None
    text = openssl("req", "-verify", "-noout", "-text", "-nameopt", "RFC2253", given=csr.encode()).decode()
    assert "CN=mx.example.com,OU=Mail,O=Example,L=Bonn,ST=NRW,C=DE" in text
    assert "DNS:mx.example.com, DNS:mail.example.com" in text
    assert "IP Address:192.0.2.7" in text
    assert "TLS Web Server Authentication, TLS Web Client Authentication" in text


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subject": Subject(common_name="")}, "common-name"),
        ({"subject": Subject(common_name="mailhost")}, "name-not-fqdn"),
        ({"subject": Subject(common_name="192.0.2.1")}, "name-not-fqdn"),
        ({"subject": Subject(common_name="mx.example.com", country="GER")}, "country"),
        ({"subject": Subject(common_name="mx.example.com", organization="x" * 65)}, "subject-too-long"),
        ({"subject": Subject(common_name="a." * 31 + "example.com")}, "subject-too-long"),
        ({"names": ("not a name",)}, "name-not-fqdn"),
        ({"days": 0}, "days"),
        ({"days": 40_000}, "days"),
    ],
)
def test_orders_that_make_no_sense_are_refused(change: dict[str, object], code: str) -> None:
    assert refused(msgspec.structs.replace(ORDER, **change)) == [code]


def test_all_faults_of_an_order_are_told_at_once() -> None:
    assert refused(Order(name="x", subject=Subject(common_name="", country="X"), days=0)) == [
        "common-name",
        "country",
        "days",
    ]


def test_each_demonstration_certificate_has_a_key_of_its_own() -> None:
    first, second = (demo_certificate("mx.example.com", NOW) for _ in range(2))
    leaf = parsed(first.certificate).leaf
    assert first.certificate.name == "Demo"
    assert first.certificate.csr is None
    info = describe(leaf, NOW)
    assert (info.common_name, info.issuer, info.names) == (
        DEMO_COMMON_NAME,
        DEMO_COMMON_NAME,
        ("mx.example.com",),
    )
    assert info.days_left(NOW) == 3650
    assert spki_sha256(first.key) == spki_sha256(leaf) != spki_sha256(second.key)


def sign(csr_pem: str) -> bytes:
    """As an authority does: the request's subject, names and key, signed by Test Near."""
    csr = x509.load_pem_x509_csr(csr_pem.encode())
    near = path3().near
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(near.name)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(path3().leaf.certificate.not_valid_before_utc)
        .not_valid_after(path3().leaf.certificate.not_valid_after_utc)
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return cert_pem(builder.sign(near.key, hashes.SHA256()))


def test_the_signed_certificate_keeps_the_name_and_replaces_the_intermediates() -> None:
    profile = made().certificate
    leftover = cert_pem(authority("Old Issuing CA", authority("Old Root", None)).certificate).decode()
    profile = profile.model_copy(update={"intermediates": (leftover,)})
    assert profile.csr is not None
    answer = read_pem([cert_pem(*path3().path), sign(profile.csr)])
    result = accepted(accept_signed(profile, answer, NOW))
    assert result.certificate.name == "partner"
    assert result.certificate.csr is None
    assert result.warnings == ()
    fresh = parsed(result.certificate)
    assert fresh.intermediates == path3().path
    assert spki_sha256(fresh.leaf) == spki_sha256(ec_key("made"))


def test_the_answer_to_another_request_is_refused() -> None:
    other = made(key=ec_key("other request")).certificate.csr
    assert other is not None
    result = accept_signed(made().certificate, read_pem(sign(other)), NOW)
    assert isinstance(result, list)
    assert severities(result) == {"not-for-this-request": "error"}


def test_a_certificate_is_renewed_on_its_key_without_a_pending_request() -> None:
    profile = made().certificate.model_copy(update={"csr": None})
    request = request_again(parsed(profile).leaf, ec_key("made"))
    result = accepted(accept_signed(profile, read_pem(sign(request)), NOW))
    assert codes(result.warnings) == ["missing-intermediate"]
    assert alternative_names(parsed(result.certificate).leaf) == alternative_names(parsed(profile).leaf)


def test_a_spoiled_request_in_the_document_is_named_by_its_path() -> None:
    profile = made().certificate.model_copy(update={"csr": "nonsense"})
    result = accept_signed(profile, read_pem(cert_pem(path3().leaf.certificate)), NOW)
    assert isinstance(result, list)
    assert [(problem.code, problem.path) for problem in result] == [("not-a-csr", "certificates.partner.csr")]


def test_import_stores_what_works_with_its_warnings() -> None:
    chain = path3()
    given = read_pem(
        cert_pem(chain.leaf.certificate, chain.far.certificate, chain.near.certificate)
        + key_pem(chain.leaf.key)
    )
    result = accepted(accept("mx", given, NOW))
    assert codes(result.warnings) == ["wrong-order"]
    assert result.key is not None
    assert "PRIVATE" not in result.certificate.model_dump_json()


def test_import_refuses_what_can_not_work_and_passes_on_what_could_not_be_read() -> None:
    chain = path3()
    refusal = accept("mx", read_pem(cert_pem(chain.leaf.certificate)), NOW)
    assert isinstance(refusal, list)
    assert "key-missing" in codes(refusal)
    refusal = accept("mx", read_pem(b"nonsense"), NOW)
    assert isinstance(refusal, list)
    assert codes(refusal) == ["not-pem"]


def stored(*intermediates: x509.Certificate, exact: bool = True) -> Certificate:
    return Certificate(
        name="mx",
        certificate=cert_pem(path3().leaf.certificate).decode(),
        intermediates=tuple(cert_pem(entry).decode() for entry in intermediates),
        send_exact_path=exact,
    )


def test_repair_leaves_exactly_the_path_in_the_profile() -> None:
    near, far = path3().path
    fixed = repaired(stored(path3().root.certificate, far, near, far), NOW)
    assert isinstance(fixed, Certificate)
    assert parsed(fixed).intermediates == (near, far)


def test_leaf_then_path_is_sent_whatever_is_stored() -> None:
    near, far = path3().path
    profile = stored(far, near, path3().root.certificate, near)
    assert sent(profile, parsed(profile), NOW) == (path3().leaf.certificate, near, far)
    loose = stored(far, near, path3().root.certificate, near, exact=False)
    assert sent(loose, parsed(loose), NOW) == (
        path3().leaf.certificate,
        near,
        far,
        path3().root.certificate,
    )


def test_faults_in_a_document_written_by_hand_are_named_by_their_path() -> None:
    profile = Certificate(
        name="mx",
        certificate=cert_pem(*path3().path).decode(),
        intermediates=("nonsense", cert_pem(path3().near.certificate).decode()),
    )
    found = parse(profile)
    assert isinstance(found, list)
    assert [(problem.code, problem.path) for problem in found] == [
        ("not-one-certificate", "certificates.mx.certificate"),
        ("not-pem", "certificates.mx.intermediates.0"),
    ]


def test_openssl_reads_the_exported_file_with_leaf_path_and_key(tmp_path: Path) -> None:
    profile = stored(path3().far.certificate, path3().near.certificate, path3().root.certificate)
    data = export_pkcs12(profile, path3().leaf.key, "päss-word", NOW)
    assert isinstance(data, bytes)
    file = tmp_path / "out.p12"
    file.write_bytes(data)
    text = openssl("pkcs12", "-in", file, "-passin", "pass:päss-word", "-nodes")
    bundle = read_pem(text)
    assert isinstance(bundle, Bundle)
    assert bundle.leaf == path3().leaf.certificate
    assert bundle.intermediates == path3().path
    assert bundle.key is not None
    info = subprocess.run(
        ["openssl", "pkcs12", "-in", file, "-passin", "pass:päss-word", "-noout", "-info"],
        capture_output=True,
        check=True,
    ).stderr.decode()
    assert info.count("PBES2, PBKDF2, AES-256-CBC") == 2
    assert "MAC: sha256" in info
    wrong = subprocess.run(
        ["openssl", "pkcs12", "-in", file, "-passin", "pass:other-word", "-nodes"],
        capture_output=True,
        check=False,
    )
    assert wrong.returncode != 0


@pytest.mark.parametrize("passphrase", ["", "seven77"])
def test_export_needs_a_passphrase_of_eight_characters(passphrase: str) -> None:
    result = export_pkcs12(stored(), path3().leaf.key, passphrase, NOW)
    assert isinstance(result, list)
    assert codes(result) == ["short-passphrase"]


def test_export_refuses_a_key_that_does_not_fit() -> None:
    result = export_pkcs12(stored(), ec_key("stranger"), "long enough", NOW)
    assert isinstance(result, list)
    assert codes(result) == ["key-mismatch"]


def test_the_services_that_use_a_certificate_are_listed() -> None:
    document = Document(
        listeners=(
            Listener(name="IncomingMail", certificate="mx", second_certificate="mx-ec"),
            Listener(name="Outgoing", sni_certificates=("mx",)),
        ),
        delivery=Delivery(certificate="mx"),
    )
    assert uses(document, "mx") == [
        "listener IncomingMail (inbound TLS)",
        "listener Outgoing (inbound TLS, by server name)",
        "outbound delivery",
    ]
    assert uses(document, "mx-ec") == ["listener IncomingMail (inbound TLS)"]
    assert uses(document, "unused") == []
    assert services(document) == [
        ("listener IncomingMail (inbound TLS)", "mx"),
        ("listener IncomingMail (inbound TLS)", "mx-ec"),
        ("listener Outgoing (inbound TLS)", "Demo"),
        ("listener Outgoing (inbound TLS, by server name)", "mx"),
        ("outbound delivery", "mx"),
    ]
    assert services(Document(delivery=Delivery(certificate=None))) == [("outbound delivery", "")]


def test_the_fingerprints_are_those_that_openssl_prints() -> None:
    leaf = path3().leaf.certificate
    printed = openssl("x509", "-noout", "-fingerprint", "-sha256", given=cert_pem(leaf)).decode()
    assert printed.strip().split("=")[1] == fingerprint(leaf)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert openssl("dgst", "-sha256", "-r", given=spki).decode().split()[0] == spki_sha256(leaf)
    assert (
        issue("mx.example.com", ec_key("leaf"), None).certificate.not_valid_after_utc.timestamp()
        == NOW + 300 * DAY
    )
