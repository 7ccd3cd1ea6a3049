"""Listing, making, exporting, deleting and assigning certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mxseal.certs.facts import PrivateKey, fingerprint, spki_sha256
from mxseal.config.model import Certificate
from mxseal.relay.probe import Seen
from tests.certs.authority import DAY, NOW, cert_pem, issue, key_pem, openssl, path3, rsa_key
from tests.commands.certificate_desk import DEMO, UNRELATED, CertificateServices, Officer
from tests.commands.gateway import FakeClient

P = path3()
ECDSA = {"mx.pem": cert_pem(P.leaf.certificate, *P.path) + key_pem(P.leaf.key)}
RSA_SIGNED = issue("mx.example.com", rsa_key("rsa leaf"), P.near)
RSA = {"rsa.pem": cert_pem(RSA_SIGNED.certificate, *P.path) + key_pem(RSA_SIGNED.key)}
FILES = {**ECDSA, **RSA}
PASSPHRASE = "correct horse battery"


async def with_both() -> Officer:
    """An officer with an ECDSA certificate `ec` and an RSA certificate `rsa`."""
    officer = Officer(files=dict(FILES))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    await officer.ok("certconfig", "import", "rsa", "rsa.pem")
    return officer


# --- list and show ----------------------------------------------------------------------------------------


async def test_the_list_of_a_fresh_home_has_the_demonstration_certificate() -> None:
    officer = Officer()
    await officer.ok("certconfig", "list")
    assert officer.text.splitlines() == [
        "List of Certificates",
        "Name  Common Name         Issued By       Status  Remaining  Expires",
        "----  ------------------  --------------  ------  ---------  ----------",
        "Demo  MXSeal demonstrati  MXSeal demonst  Active  3650 days  2036-02-12",
    ]


async def test_the_list_fits_a_terminal_of_80_columns_and_widens_with_it() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "a very long name for a certificate", "mx.pem")
    await officer.ok(
        "certconfig", "new", "waits", "--common-name", "long-host-name.example.com", "--days", "36500"
    )
    await officer.ok("certconfig", "list")
    assert max(map(len, officer.text.splitlines())) <= 80
    assert len(officer.text.splitlines()) == 6
    assert "Awaiting" in officer.text
    officer.context = msgspec.structs.replace(officer.context, width=120)
    await officer.ok("certconfig", "list")
    assert "Key" in officer.text
    assert "ECDSA P-256" in officer.text


async def test_programs_get_everything_about_each_certificate() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "partner", "mx.pem")
    demo, partner = await officer.ok("certconfig", "list")
    assert demo["uses"] == ["listener IncomingMail (inbound TLS)", "outbound delivery"]
    assert partner["status"] == "Valid"
    assert partner["names"] == ["mx.example.com"]
    assert partner["fingerprint"] == fingerprint(P.leaf.certificate)
    assert partner["key"] == "ECDSA P-256"
    assert partner["key_stored"] is True
    assert partner["days_left"] == 300
    assert partner["remaining"] == "300 days"
    assert [link["common_name"] for link in partner["chain"]] == ["Test Near", "Test Far"]


async def test_a_list_shows_what_has_expired() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "partner", "mx.pem")
    officer.services.at = NOW + 400 * DAY
    rows = await officer.ok("certconfig", "list")
    assert (rows[1]["status"], rows[1]["remaining"]) == ("Expired", "Expired")


async def test_a_certificate_spoiled_by_hand_is_listed_and_told_by_show() -> None:
    officer = Officer()
    spoiled = Certificate(
        name="hand", certificate="-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"
    )
    officer.services.edit(officer.context.owner, certificates=(DEMO.certificate, spoiled))
    assert (await officer.ok("certconfig", "list"))[1]["status"] == "Unreadable"
    assert "can't be read as an X.509 certificate" in await officer.refused("certconfig", "show", "hand")
    assert "certificates.hand.certificate" in await officer.refused("certconfig", "check")
    assert "can't be read" in await officer.refused("certconfig", "assign", "hand", "delivery")


async def test_show_tells_everything_in_text_and_json() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "partner", "mx.pem")
    shown = await officer.ok("certconfig", "show", "partner")
    assert shown["serial"] == f"{P.leaf.certificate.serial_number:x}"
    assert shown["spki_sha256"] == spki_sha256(P.leaf.certificate)
    assert shown["certificate"].startswith("-----BEGIN CERTIFICATE-----")
    assert shown["problems"] == []
    for part in (
        "mx.example.com",
        shown["fingerprint"][:40],
        "Test Near",
        "ECDSA P-256",
        "300 days",
        "Test Far, issued",
    ):
        assert part in officer.text


async def test_show_tells_a_missing_key_and_problems() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "partner", "mx.pem")
    officer.services.secrets.kept.clear()
    shown = await officer.ok("certconfig", "show", "partner")
    assert shown["key_stored"] is False
    assert "not in the key store" in officer.text
    demo = await officer.ok("certconfig", "show", "demo")
    assert [problem["code"] for problem in demo["problems"]] == ["demonstration"]


async def test_an_unknown_name_is_answered_with_the_near_one_or_all() -> None:
    officer = Officer()
    assert "Did you mean Demo?" in await officer.refused("certconfig", "show", "Deno")
    assert "There are: Demo." in await officer.refused("certconfig", "show", "elephant")


# --- new and csr ------------------------------------------------------------------------------------------


async def test_new_makes_a_working_certificate_and_prints_its_request() -> None:
    officer = Officer()
    made = await officer.ok(
        "certconfig", "new", "partner", "--common-name", "mx.example.com", "--organization", "Example GmbH",
        "--unit", "Mail", "--locality", "Berlin", "--state", "Berlin", "--country", "de",
        "--name", "mail.example.com", "--name", "192.0.2.25", "--days", "90", "--key", "ecdsa-p384",
    )  # fmt: skip
    csr = x509.load_pem_x509_csr(made["csr"].encode())
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=mx.example.com,OU=Mail,O=Example GmbH,L=Berlin,ST=Berlin,C=DE"
    assert made["certificate"]["names"] == ["mx.example.com", "mail.example.com", "192.0.2.25"]
    assert made["certificate"]["key"] == "ECDSA P-384"
    assert made["certificate"]["status"] == "Awaiting signed certificate"
    assert made["certificate"]["days_left"] == 90
    assert made["uncommitted_changes"] == 1
    assert officer.services.keys.fits(csr)
    assert made["csr"] in officer.text
    assert "It takes effect with 'commit'." in officer.text


@pytest.mark.parametrize("kind", ["rsa-2048", "ecdsa-p256"])
async def test_new_makes_the_kind_of_key_that_is_asked_for(kind: str) -> None:
    officer = Officer()
    made = await officer.ok("certconfig", "new", "x", "--common-name", "mx.example.com", "--key", kind)
    assert made["certificate"]["key"].upper().replace("P-", "P").replace(" ", "-").lower() == kind


async def test_new_asks_at_a_terminal_in_the_order_of_the_field() -> None:
    answers = [
        "partner",
        "mx.example.com",
        "mail.example.com a.example.com",
        "Example",
        "",
        "",
        "",
        "DE",
        "",
        "ecdsa-p256",
        "",
    ]
    officer = Officer(answers=answers)
    made = await officer.ok("certconfig", "new")
    assert [question.split(" [")[0] for question in officer.client.questions][:5] == [
        "Enter a name for this certificate profile:", "Enter Common Name:", "Further host names, if any:",
        "Enter Organization:", "Enter Organizational Unit:",
    ]  # fmt: skip
    assert made["certificate"]["subject"] == "CN=mx.example.com,O=Example,C=DE"
    assert made["certificate"]["names"] == ["mx.example.com", "mail.example.com", "a.example.com"]


async def test_new_without_a_terminal_says_what_is_missing() -> None:
    assert "Missing: --common-name" in await Officer().refused("certconfig", "new", "partner")


async def test_new_tells_all_that_is_wrong_at_once() -> None:
    told = await Officer().refused(
        "certconfig", "new", "x", "--common-name", "mailhost", "--country", "GER", "--organization", "o" * 65,
        "--days", "40000",
    )  # fmt: skip
    for part in ("'mailhost' is not a fully qualified", "'GER'", "organization has 65", "40000 days"):
        assert part in told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("demo", "Demo is the demonstration certificate"),
        ("EC", "'certconfig replace ec FILE'"),
        ("a/b", "can't be a name"),
    ],
)
async def test_a_name_that_is_taken_or_impossible_is_refused(name: str, told: str) -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    assert told in await officer.refused("certconfig", "new", name, "--common-name", "mx.example.com")
    assert told in await officer.refused("certconfig", "import", name, "mx.pem")
    assert told in await officer.refused("certconfig", "paste", name, "mx.pem")


async def test_a_store_that_takes_no_key_leaves_everything_as_it_was() -> None:
    officer = Officer(files=dict(ECDSA))
    officer.services.secrets.full = True
    told = await officer.refused(
        "certconfig", "new", "x", "--common-name", "mx.example.com", "--key", "ecdsa-p256"
    )
    assert "the key store takes no key (no space left)" in told
    assert "takes no key" in await officer.refused("certconfig", "import", "x", "mx.pem")


async def test_csr_prints_the_stored_request_or_writes_it_to_a_file() -> None:
    officer = Officer()
    made = await officer.ok(
        "certconfig", "new", "x", "--common-name", "mx.example.com", "--key", "ecdsa-p256"
    )
    assert (await officer.ok("certconfig", "csr", "x"))["text"] == made["csr"]
    await officer.ok("certconfig", "csr", "x", "--output", "x.csr")
    assert officer.client.files["x.csr"].decode() == made["csr"]


async def test_csr_makes_one_for_a_renewal_with_the_key_that_is_there() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    before = officer.document
    csr = x509.load_pem_x509_csr((await officer.ok("certconfig", "csr", "ec"))["text"].encode())
    assert spki_sha256(csr) == spki_sha256(P.leaf.certificate)
    assert officer.document == before


async def test_csr_without_a_key_or_of_the_demonstration_certificate_is_refused() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    officer.services.secrets.kept.clear()
    assert "holds no key for ec" in await officer.refused("certconfig", "csr", "ec")
    assert "can't be signed by an authority" in await officer.refused("certconfig", "csr", "Demo")


async def test_a_damaged_key_is_told_with_its_remedy() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    for name in officer.services.secrets.kept:
        officer.services.secrets.kept[name] = b"spoiled"
    assert "can't be read. Put the certificate in again" in await officer.refused("certconfig", "csr", "ec")
    assert "can't be read" in await officer.refused("certconfig", "check", "ec")


# --- export and delete ------------------------------------------------------------------------------------


async def test_an_export_is_read_back_by_openssl_and_private(tmp_path: Path) -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    await officer.ok("certconfig", "export", "ec", "out.p12", "--passphrase", f"pass:{PASSPHRASE}")
    assert officer.client.modes["out.p12"] == 0o600
    file = tmp_path / "out.p12"
    file.write_bytes(officer.client.files["out.p12"])
    text = openssl("pkcs12", "-in", file, "-passin", f"pass:{PASSPHRASE}", "-nodes")
    assert text.count(b"BEGIN CERTIFICATE") == 3
    key = openssl("pkey", "-pubout", given=text)
    assert key == openssl("x509", "-pubkey", "-noout", given=cert_pem(P.leaf.certificate))


async def test_an_export_asks_for_its_passphrase_twice_at_a_terminal() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    officer.client.answers = [PASSPHRASE]
    await officer.ok("certconfig", "export", "ec", "out.p12")
    assert officer.client.questions == ["Passphrase: [twice]"]


async def test_an_export_is_refused_for_a_short_passphrase_a_missing_key_and_demo() -> None:
    officer = Officer(files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    arguments = ("out.p12", "--passphrase", f"pass:{PASSPHRASE}")
    told = await officer.refused("certconfig", "export", "ec", "out.p12", "--passphrase", "pass:short")
    assert "Use at least 8" in told
    assert "can't be exported" in await officer.refused("certconfig", "export", "Demo", *arguments)
    officer.services.secrets.kept.clear()
    assert "holds no key" in await officer.refused("certconfig", "export", "ec", *arguments)
    assert "out.p12" not in officer.client.files


async def test_a_certificate_in_use_is_not_deleted_and_its_services_are_named() -> None:
    officer = await with_both()
    await officer.ok("certconfig", "assign", "ec", "listener:IncomingMail")
    await officer.ok("certconfig", "assign", "ec", "delivery")
    told = await officer.refused("certconfig", "delete", "ec")
    assert "listener IncomingMail (inbound TLS). Assign another" in told
    assert "outbound delivery." in told


async def test_a_certificate_is_deleted_and_its_key_kept_for_older_revisions() -> None:
    officer = await with_both()
    await officer.ok("certconfig", "delete", "ec")
    assert officer.document.certificate("ec") is None
    assert officer.services.keys.fits(P.leaf.certificate)


async def test_demo_is_not_deleted_replaced_or_given_intermediates() -> None:
    officer = Officer(files={**ECDSA, "other.pem": UNRELATED})
    assert "can't be deleted" in await officer.refused("certconfig", "delete", "Demo")
    assert "can't be replaced" in await officer.refused("certconfig", "replace", "Demo", "mx.pem")
    assert "can't be given" in await officer.refused(
        "certconfig", "intermediates", "add", "Demo", "other.pem"
    )
    assert "can't be changed" in await officer.refused("certconfig", "intermediates", "remove", "Demo", "1")


# --- assign, print, served --------------------------------------------------------------------------------


async def test_print_shows_each_service_with_its_certificate() -> None:
    officer = await with_both()
    await officer.ok("certconfig", "assign", "ec", "listener:incomingmail")
    await officer.ok("certconfig", "assign", "rsa", "listener:IncomingMail", "--second")
    await officer.ok("certconfig", "assign", "Demo", "delivery", "--remove")
    assert await officer.ok("certconfig", "print") == [
        {"service": "listener IncomingMail (inbound TLS)", "certificate": "ec"},
        {"service": "listener IncomingMail (inbound TLS)", "certificate": "rsa"},
        {"service": "outbound delivery", "certificate": None},
    ]


async def test_assigning_demo_warns() -> None:
    officer = await with_both()
    await officer.ok("certconfig", "assign", "ec", "listener:IncomingMail")
    assert officer.codes == []
    await officer.ok("certconfig", "assign", "Demo", "listener:IncomingMail")
    assert officer.codes == ["demonstration"]
    assert "Warning: The demonstration certificate encrypts" in officer.text
    await officer.ok("certconfig", "assign", "Demo", "delivery")
    assert officer.codes == ["demonstration"]


async def test_assigning_warns_of_what_peers_will_not_like() -> None:
    officer = await with_both()
    await officer.ok("certconfig", "assign", "ec", "delivery")
    assert officer.codes == ["no-client-auth"]
    await officer.ok("certconfig", "new", "own", "--common-name", "other.example.com", "--key", "ecdsa-p256")
    await officer.ok("certconfig", "assign", "own", "listener:IncomingMail")
    assert officer.codes == ["self-signed", "other-name"]
    officer.services.at = NOW + 400 * DAY
    await officer.ok("certconfig", "assign", "ec", "listener:IncomingMail")
    assert officer.codes == ["expired"]


async def test_a_listener_takes_one_certificate_of_each_kind_of_key() -> None:
    officer = await with_both()
    listener = "listener:IncomingMail"
    assert "both have RSA keys" in await officer.refused("certconfig", "assign", "rsa", listener, "--second")
    await officer.ok("certconfig", "assign", "ec", listener, "--second")
    assert officer.document.listeners[0].second_certificate == "ec"
    told = await officer.refused("certconfig", "assign", "ec", listener)
    assert "ec is the second certificate of listener IncomingMail already" in told
    await officer.ok("certconfig", "new", "ec2", "--common-name", "mx.example.com", "--key", "ecdsa-p384")
    told = await officer.refused("certconfig", "assign", "ec2", listener)
    assert "'certconfig assign ec listener:IncomingMail --second --remove'" in told


async def test_further_certificates_are_assigned_by_server_name_and_taken_off() -> None:
    officer = await with_both()
    listener = "listener:IncomingMail"
    await officer.ok("certconfig", "assign", "ec", listener, "--sni")
    assert list(officer.document.listeners[0].sni_certificates) == ["ec"]
    assert "already" in await officer.refused("certconfig", "assign", "ec", listener, "--sni")
    assert "does not use ec so" in await officer.refused(
        "certconfig", "assign", "ec", listener, "--second", "--remove"
    )
    await officer.ok("certconfig", "assign", "ec", listener, "--sni", "--remove")
    assert list(officer.document.listeners[0].sni_certificates) == []


async def test_a_listener_without_its_first_certificate_falls_back() -> None:
    officer = await with_both()
    listener = "listener:IncomingMail"
    await officer.ok("certconfig", "assign", "ec", listener)
    await officer.ok("certconfig", "assign", "rsa", listener, "--second")
    await officer.ok("certconfig", "assign", "ec", listener, "--remove")
    assert (officer.document.listeners[0].certificate, officer.document.listeners[0].second_certificate) == (
        "rsa",
        None,
    )
    await officer.ok("certconfig", "assign", "rsa", listener, "--remove")
    assert officer.document.listeners[0].certificate == "Demo"
    assert officer.codes == ["demonstration"]
    assert "needs a certificate" in await officer.refused(
        "certconfig", "assign", "Demo", listener, "--remove"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ec", "listener:Nowhere"), "There are: delivery, ldap, listener:IncomingMail"),
        (("ec", "delivery", "--sni"), "leave out --second and --sni"),
        (("ec", "delivery", "--remove"), "delivery does not use ec"),
        (("ec", "listener:IncomingMail", "--second", "--sni"), "one of --second and --sni"),
        (("ec", "listener:IncomingMail", "--remove"), "does not use ec so"),
    ],
)
async def test_what_can_not_be_assigned_is_refused(words: tuple[str, ...], told: str) -> None:
    assert told in await (await with_both()).refused("certconfig", "assign", *words)


async def test_a_certificate_without_its_key_is_not_assigned() -> None:
    officer = await with_both()
    officer.services.secrets.kept.clear()
    assert "holds no key for ec" in await officer.refused(
        "certconfig", "assign", "ec", "listener:IncomingMail"
    )
    assert "holds no key for ec" in await officer.refused("certconfig", "assign", "ec", "delivery")


async def test_served_fails_when_a_listener_shows_something_else() -> None:
    officer = Officer()
    officer.services.seen = [
        Seen(listener="IncomingMail", server_name=None, sha256="AA:BB", expected=True, protocol="TLSv1.2")
    ]
    assert await officer.ok("certconfig", "served") == [
        {
            "listener": "IncomingMail", "server_name": None, "expected": True, "protocol": "TLSv1.2",
            "fingerprint": "AA:BB", "problem": "",
        }
    ]  # fmt: skip
    officer.services.seen += [
        Seen(listener="Other", server_name="a.example.com", sha256="CC:DD"),
        Seen(listener="Third", server_name=None, sha256=None, problem="connection refused"),
    ]
    told = await officer.refused("certconfig", "served")
    assert "listeners.Other.certificate: another certificate is shown, CC:DD" in told
    assert "listeners.Third.certificate: connection refused" in told


# --- who may, and what is never shown ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("new", "x", "--common-name", "mx.example.com"),
        ("csr", "ec"),
        ("import", "x", "mx.pem"),
        ("paste", "x", "mx.pem"),
        ("replace", "ec", "mx.pem"),
        ("export", "ec", "out.p12", "--passphrase", "pass:long enough"),
        ("delete", "ec"),
        ("assign", "ec", "delivery"),
        ("intermediates", "add", "ec", "mx.pem"),
        ("intermediates", "remove", "ec", "1"),
        ("check", "--repair"),
    ],
)
async def test_changes_need_the_role_of_a_certificate_officer(words: tuple[str, ...]) -> None:
    officer = Officer((await with_both()).services, files=dict(FILES), role="read-only")
    ended = await officer.run("certconfig", *words)
    assert (ended.outcome, ended.status) == ("refused", 77)
    assert "certificate-officer" in ended.message


@pytest.mark.parametrize(
    "words", [("list",), ("show", "ec"), ("print",), ("served",), ("intermediates", "list", "ec")]
)
async def test_looking_needs_no_more_than_read_only(words: tuple[str, ...]) -> None:
    officer = Officer((await with_both()).services, role="read-only")
    await officer.ok("certconfig", *words)


async def test_keys_and_passphrases_appear_in_no_output_and_no_audit_record() -> None:
    officer = await with_both()
    officer.client.files["locked.key"] = key_pem(P.leaf.key, PASSPHRASE.encode())
    officer.client.files["leaf.pem"] = cert_pem(P.leaf.certificate)
    secret = f"pass:{PASSPHRASE}"
    await officer.ok("certconfig", "new", "own", "--common-name", "mx.example.com", "--key", "ecdsa-p256")
    await officer.ok("certconfig", "import", "locked", "leaf.pem", "locked.key", "--passphrase", secret)
    await officer.run(
        "certconfig", "import", "fails", "leaf.pem", "locked.key", "--passphrase", "pass:wrong guess"
    )
    await officer.ok("certconfig", "replace", "ec", "mx.pem")
    await officer.ok("certconfig", "export", "ec", "out.p12", "--passphrase", secret)
    for words in (["list"], ["show", "own"], ["csr", "own"], ["print"], ["check"], ["delete", "own"]):
        await officer.run("certconfig", *words)
    everything = "".join([*officer.shown, *map(repr, officer.audit), repr(officer.document)])
    assert "PRIVATE" not in everything
    assert PASSPHRASE not in everything
    assert "wrong guess" not in everything
    for sealed in officer.services.secrets.kept:
        key = officer.services.keys.load(sealed.removeprefix("key/"))
        assert key is not None
        assert not set(_lines(key)) & set(everything.replace("\\n", "\n").split("\n"))


def _lines(key: PrivateKey) -> list[str]:
    """Lines of the key in PEM that hold secret bits: not the first, which others of the type share."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode().splitlines()[2:-1]


async def test_names_and_services_are_completed() -> None:
    officer = await with_both()

    def complete(*words: str) -> list[str]:
        found: list[Any] = officer.context.catalogue.complete(list(words[:-1]), words[-1], officer.context)  # type: ignore[attr-defined]
        return [entry.value for entry in found]

    assert complete("certconfig", "show", "") == ["Demo", "ec", "rsa"]
    assert complete("certconfig", "check", "r") == ["rsa"]
    assert complete("certconfig", "assign", "ec", "l") == ["ldap", "listener:IncomingMail"]
    assert complete("certconfig", "intermediates", "remove", "ec", "") == ["1", "2"]


async def test_nothing_is_in_force_before_a_commit() -> None:
    services = CertificateServices()
    officer = Officer(services, files=dict(ECDSA))
    await officer.ok("certconfig", "import", "ec", "mx.pem")
    assert services.history.current().document.certificate("ec") is None
    await officer.ok("commit", "a certificate of our own")
    assert services.history.current().document.certificate("ec") is not None


async def test_what_changed_while_a_key_was_made_is_not_lost() -> None:
    officer = Officer(files=dict(ECDSA))
    other = Officer(officer.services, files=dict(ECDSA))

    class Quicker(FakeClient):
        """Its file takes its time, in which the same person does something elsewhere."""

        async def read(self, path: str, limit: int) -> bytes:
            await other.ok(
                "certconfig", "new", "first", "--common-name", "mx.example.com", "--key", "ecdsa-p256"
            )
            return await super().read(path, limit)

    officer.context = msgspec.structs.replace(officer.context, client=Quicker(dict(ECDSA)))
    await officer.ok("certconfig", "import", "second", "mx.pem")
    assert [entry.name for entry in officer.document.certificates] == ["Demo", "first", "second"]
