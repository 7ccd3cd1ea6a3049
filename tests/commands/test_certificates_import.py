"""Certificates from files, from the clipboard and from authorities."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from mxseal.certs.facts import fingerprint, pem
from tests.certs.authority import (
    Signer,
    Wish,
    authority,
    cert_pem,
    ec_key,
    issue,
    key_pem,
    openssl,
    path3,
    rsa_key,
)
from tests.commands.certificate_desk import CertificateServices, Officer

P = path3()
LEAF, KEY = cert_pem(P.leaf.certificate), key_pem(P.leaf.key)
CHAIN = cert_pem(*P.path)
SECRET = "correct horse battery"
LOCKED = key_pem(P.leaf.key, SECRET.encode())


def chain_of(officer: Officer, name: str) -> list[str]:
    """Common names of the stored intermediates."""
    texts = officer.profile(name).intermediates
    return [
        x509.load_pem_x509_certificate(text.encode()).subject.rfc4514_string().removeprefix("CN=")
        for text in texts
    ]


@pytest.fixture
def pkcs12(tmp_path: Path) -> bytes:
    """As openssl writes it."""
    (tmp_path / "in.pem").write_bytes(LEAF + KEY + CHAIN)
    return openssl("pkcs12", "-export", "-in", tmp_path / "in.pem", "-passout", f"pass:{SECRET}")


# --- import -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "files",
    [
        {"all.pem": LEAF + CHAIN + KEY},
        {"all.pem": KEY + CHAIN + LEAF},
        {"chain.pem": CHAIN, "key.pem": KEY, "cert.pem": LEAF},
        {"cert.cer": P.leaf.certificate.public_bytes(Encoding.DER), "rest.pem": KEY + CHAIN},
    ],
)
async def test_parts_are_taken_in_any_order_from_any_files(files: dict[str, bytes]) -> None:
    officer = Officer(files=files)
    await officer.ok("certconfig", "import", "partner", *files)
    assert officer.profile("partner").certificate == pem(P.leaf.certificate)
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]
    assert officer.services.keys.fits(P.leaf.certificate)


async def test_a_pkcs12_file_of_openssl_is_imported(pkcs12: bytes) -> None:
    officer = Officer(files={"mx.p12": pkcs12})
    done = await officer.ok("certconfig", "import", "partner", "mx.p12", "--passphrase", f"pass:{SECRET}")
    assert done["certificate"]["fingerprint"] == fingerprint(P.leaf.certificate)
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]
    assert "partner was imported (ECDSA P-256, 2 intermediates)" in officer.text


async def test_a_pkcs12_file_without_its_chain_is_completed_by_a_pem_file(tmp_path: Path) -> None:
    (tmp_path / "in.pem").write_bytes(LEAF + KEY)
    bare = openssl("pkcs12", "-export", "-in", tmp_path / "in.pem", "-passout", f"pass:{SECRET}")
    officer = Officer(files={"mx.p12": bare, "chain.pem": CHAIN})
    await officer.ok("certconfig", "import", "x", "mx.p12", "chain.pem", "--passphrase", f"pass:{SECRET}")
    assert chain_of(officer, "x") == ["Test Near", "Test Far"]


async def test_a_passphrase_is_asked_for_only_when_it_is_needed(pkcs12: bytes) -> None:
    officer = Officer(files={"mx.p12": pkcs12}, answers=[SECRET])
    await officer.ok("certconfig", "import", "partner", "mx.p12")
    assert officer.client.questions == ["Passphrase of mx.p12: [once]"]
    officer = Officer(files={"cert.pem": LEAF, "key.pem": LOCKED}, answers=[SECRET])
    await officer.ok("certconfig", "import", "partner", "cert.pem", "key.pem")
    assert len(officer.client.questions) == 1
    officer = Officer(files={"all.pem": LEAF + KEY}, answers=["never asked"])
    await officer.ok("certconfig", "import", "partner", "all.pem")
    assert officer.client.questions == []


async def test_a_passphrase_that_is_not_needed_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "in.pem").write_bytes(LEAF + KEY)
    open_store = openssl(
        "pkcs12", "-export", "-in", tmp_path / "in.pem", "-passout", "pass:", "-keypbe", "NONE"
    )
    officer = Officer(files={"open.p12": open_store, "all.pem": LEAF + KEY})
    await officer.ok("certconfig", "import", "one", "open.p12", "--passphrase", f"pass:{SECRET}")
    await officer.ok("certconfig", "import", "two", "all.pem", "--passphrase", f"pass:{SECRET}")


async def test_a_locked_file_without_a_terminal_says_how_to_give_the_passphrase(pkcs12: bytes) -> None:
    officer = Officer(files={"mx.p12": pkcs12, "key.pem": LOCKED, "cert.pem": LEAF})
    assert "--passphrase pass:TEXT" in await officer.refused("certconfig", "import", "x", "mx.p12")
    assert "--passphrase" in await officer.refused("certconfig", "import", "x", "cert.pem", "key.pem")


async def test_a_wrong_passphrase_is_told(pkcs12: bytes) -> None:
    officer = Officer(files={"mx.p12": pkcs12, "key.pem": LOCKED, "cert.pem": LEAF})
    wrong = ("--passphrase", "pass:wrong")
    assert "does not open the PKCS#12" in await officer.refused("certconfig", "import", "x", "mx.p12", *wrong)
    told = await officer.refused("certconfig", "import", "x", "cert.pem", "key.pem", *wrong)
    assert "The passphrase does not open the private key in key.pem" in told
    assert officer.codes == ["wrong-passphrase"]


async def test_import_asks_for_files_passphrase_and_name_at_a_terminal() -> None:
    officer = Officer(files={"cert.pem": LEAF, "key.pem": KEY}, answers=["cert.pem key.pem", "", "partner"])
    await officer.ok("certconfig", "import")
    assert officer.profile("partner").certificate == pem(P.leaf.certificate)


CLIENT_ONLY = issue("mx.example.com", ec_key("leaf"), P.near, Wish(eku=(ExtendedKeyUsageOID.CLIENT_AUTH,)))
WEAK = issue("mx.example.com", rsa_key("weak", 1024), P.near)
SHORT = issue("mailhost", ec_key("leaf"), P.near)


def both(signer: Signer) -> bytes:
    return cert_pem(signer.certificate) + key_pem(signer.key)


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (LEAF + key_pem(ec_key("another")), "key-mismatch", "does not fit the certificate mx.example.com"),
        (LEAF, "key-missing", "private key of the certificate mx.example.com is missing"),
        (b"Dear postmaster", "not-pem", "Give text with -----BEGIN CERTIFICATE-----"),
        (b"\x30\x82garbage", "not-pkcs12", "not a PKCS#12 file"),
        (LEAF[:300], "pem-cut-off", "does not end"),
        (KEY, "no-certificate", "Add the certificate"),
        (both(WEAK), "weak-key", "Make a new key with RSA 2048"),
        (both(CLIENT_ONLY), "no-server-auth", "Ask the authority for a TLS server certificate"),
        (both(SHORT), "name-not-fqdn", "Use a name with its domain"),
        (LEAF + KEY + key_pem(ec_key("another")), "several-keys", "2 different private keys"),
    ],
)  # fmt: skip
async def test_what_can_not_work_is_not_stored(content: bytes, code: str, told: str) -> None:
    officer = Officer(files={"given": content})
    assert told in await officer.refused("certconfig", "import", "x", "given")
    assert code in officer.codes
    assert officer.json["error"] == "Nothing was stored: given can't be used"


async def test_a_name_of_one_label_is_taken_on_demand_with_a_warning() -> None:
    officer = Officer(files={"given": both(SHORT)})
    await officer.ok("certconfig", "import", "x", "given", "--any-names")
    assert "name-not-fqdn" in officer.codes


async def test_an_expired_certificate_is_imported_with_a_warning() -> None:
    old = issue("mx.example.com", ec_key("leaf"), P.near, Wish(begin=-400, end=-1))
    officer = Officer(files={"given": both(old) + CHAIN})
    await officer.ok("certconfig", "import", "x", "given")
    assert "expired" in officer.codes
    assert "Warning: The certificate mx.example.com expired on" in officer.text


async def test_a_problem_names_the_file_that_it_is_in() -> None:
    officer = Officer(files={"cert.pem": LEAF, "key.pem": b"nothing in here"})
    assert "key.pem holds no PEM block" in await officer.refused(
        "certconfig", "import", "x", "cert.pem", "key.pem"
    )


async def test_a_missing_file_is_told() -> None:
    assert "No such file" in await Officer().refused("certconfig", "import", "x", "nowhere.pem")


# --- paste ------------------------------------------------------------------------------------------------


async def test_all_parts_are_pasted_at_once_or_given_as_a_file() -> None:
    officer = Officer(answers=["partner", (LEAF + KEY + CHAIN).decode()])
    await officer.ok("certconfig", "paste")
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]
    officer = Officer(files={"-": LEAF + KEY + CHAIN})
    await officer.ok("certconfig", "paste", "partner", "-")
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]


async def test_key_and_intermediates_are_asked_one_after_the_other_as_in_the_field() -> None:
    near, far = (cert_pem(link).decode() for link in P.path)
    officer = Officer(answers=[LEAF.decode(), KEY.decode(), "y", near, "yes", far, ""])
    officer.client.answers.append("left over")  # somebody is still there
    await officer.ok("certconfig", "paste", "partner")
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]
    assert [question.split(" [")[0] for question in officer.client.questions[1:4]] == [
        "Subject: CN=mx.example.com\nPaste private key in PEM format:",
        "Do you want to add an intermediate certificate?",
        "Paste intermediate certificate in PEM format:",
    ]


async def test_a_pasted_key_that_is_locked_asks_for_its_passphrase() -> None:
    officer = Officer(answers=[(LEAF + LOCKED + CHAIN).decode(), SECRET])
    await officer.ok("certconfig", "paste", "partner")
    assert officer.client.questions[-1] == "Passphrase of what was pasted: [once]"


async def test_pasted_text_without_a_certificate_is_refused() -> None:
    officer = Officer(files={"-": b"hello"})
    assert "holds no PEM block" in await officer.refused("certconfig", "paste", "x", "-")


# --- replace ----------------------------------------------------------------------------------------------


async def requested(*, common_name: str = "mx.example.com") -> tuple[Officer, x509.CertificateSigningRequest]:
    officer = Officer()
    made = await officer.ok(
        "certconfig", "new", "partner", "--common-name", common_name, "--key", "ecdsa-p256"
    )
    return officer, x509.load_pem_x509_csr(made["csr"].encode())


def answered(csr: x509.CertificateSigningRequest, signer: Signer = P.near) -> x509.Certificate:
    """What an authority makes of a request."""
    template = issue("mx.example.com", ec_key("template"), signer).certificate
    builder = x509.CertificateBuilder(
        issuer_name=signer.name,
        subject_name=csr.subject,
        public_key=csr.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=template.not_valid_before_utc,
        not_valid_after=template.not_valid_after_utc,
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(signer.key, template.signature_hash_algorithm)  # type: ignore[arg-type]


async def test_the_answer_to_a_request_keeps_name_and_assignments() -> None:
    officer, csr = await requested()
    await officer.ok("certconfig", "assign", "partner", "listener:IncomingMail")
    officer.client.files["signed.pem"] = cert_pem(answered(csr), *P.path)
    done = await officer.ok("certconfig", "replace", "partner", "signed.pem")
    assert done["certificate"]["status"] == "Active"
    assert done["certificate"]["issuer"] == "Test Near"
    assert officer.profile("partner").csr is None
    assert officer.document.listeners[0].certificate == "partner"
    assert "partner was replaced for listener IncomingMail (inbound TLS)" in officer.text


async def test_a_renewal_replaces_the_intermediates() -> None:
    officer, csr = await requested()
    officer.client.files["signed.pem"] = cert_pem(answered(csr), *P.path)
    await officer.ok("certconfig", "replace", "partner", "signed.pem")
    other = authority("New Near", P.root)
    officer.client.files["renewed.pem"] = cert_pem(answered(csr, other), other.certificate)
    await officer.ok("certconfig", "replace", "partner", "renewed.pem")
    assert chain_of(officer, "partner") == ["New Near"]


async def test_another_key_is_taken_only_when_it_comes_along() -> None:
    officer, _ = await requested()
    officer.client.files |= {"cert.pem": LEAF + CHAIN, "key.pem": KEY}
    told = await officer.refused("certconfig", "replace", "partner", "cert.pem")
    assert "was not made for the signing request of partner" in told
    await officer.ok("certconfig", "replace", "partner", "cert.pem", "key.pem")
    assert officer.profile("partner").certificate == pem(P.leaf.certificate)
    assert officer.profile("partner").csr is None
    assert officer.services.keys.fits(P.leaf.certificate)


async def test_a_replacement_keeps_how_the_chain_is_sent() -> None:
    officer, csr = await requested()
    loose = officer.profile("partner").model_copy(update={"send_exact_path": False})
    certificates = (officer.document.certificates[0], loose)
    officer.services.edit(officer.context.owner, certificates=certificates)
    officer.client.files |= {"signed.pem": cert_pem(answered(csr), *P.path), "other.pem": LEAF + KEY + CHAIN}
    await officer.ok("certconfig", "replace", "partner", "signed.pem")
    assert officer.profile("partner").send_exact_path is False
    await officer.ok("certconfig", "replace", "partner", "other.pem")
    assert officer.profile("partner").send_exact_path is False


async def test_the_answer_is_refused_when_the_key_of_its_request_is_gone() -> None:
    officer, csr = await requested()
    officer.services.secrets.kept.clear()
    officer.client.files["signed.pem"] = cert_pem(answered(csr), *P.path)
    told = await officer.refused("certconfig", "replace", "partner", "signed.pem")
    assert "The key store holds no key for mx.example.com (ECDSA P-256). Give the private key" in told


async def test_a_replacement_that_can_not_work_changes_nothing() -> None:
    officer = Officer(files={"all.pem": LEAF + KEY + CHAIN, "weak.pem": both(WEAK), "csr.pem": b""})
    await officer.ok("certconfig", "import", "partner", "all.pem")
    assert "1024" in await officer.refused("certconfig", "replace", "partner", "weak.pem")
    officer.client.files["csr.pem"] = (await officer.ok("certconfig", "csr", "partner"))["text"].encode()
    told = await officer.refused("certconfig", "replace", "partner", "csr.pem")
    assert "partner is as it was: csr.pem can't be used" in told
    assert "holds a signing request, not a certificate" in told


async def test_a_replacement_under_which_the_certificate_changed_is_refused() -> None:
    services = CertificateServices()
    officer = Officer(services, files={"all.pem": LEAF + KEY, "mx.p12": b""})
    await officer.ok("certconfig", "import", "partner", "all.pem")
    officer.client.files["locked.pem"] = LEAF + LOCKED
    officer.client.answers = [SECRET]
    asked = officer.client.secret

    async def delete_meanwhile(question: str, repeat: bool) -> str:
        await Officer(services).ok("certconfig", "delete", "partner")
        return await asked(question, repeat)

    officer.client.secret = delete_meanwhile  # type: ignore[method-assign]
    ended = await officer.run("certconfig", "replace", "partner", "locked.pem")
    assert "partner was changed while this went on" in ended.message
    assert officer.document.certificate("partner") is None
