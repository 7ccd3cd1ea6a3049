"""Intermediates, the check of chains and its repair, and a certificate's story from request to service."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from mxseal.certs.facts import fingerprint
from tests.certs.authority import DAY, NOW, Wish, authority, cert_pem, ec_key, issue, key_pem, path3
from tests.commands.certificate_desk import UNRELATED, Officer
from tests.commands.test_certificates_import import answered, chain_of, requested

P = path3()
NEAR, FAR = P.path
AIA = issue(
    "mx.example.com", ec_key("leaf"), P.near, Wish(aia="http://ca.example.com/near.cer")
)  # fmt: skip


@pytest.fixture
def officer(tmp_path: Path) -> Officer:
    """With the list of trusted authorities that the tests' root is in."""
    (tmp_path / "roots.pem").write_bytes(cert_pem(P.root.certificate))
    found = Officer(
        files={
            "all.pem": cert_pem(P.leaf.certificate, *P.path) + key_pem(P.leaf.key),
            "leaf.pem": cert_pem(AIA.certificate) + key_pem(AIA.key),
            "near.pem": cert_pem(NEAR),
            "far.pem": cert_pem(FAR),
            "other.pem": UNRELATED,
            "root.pem": cert_pem(P.root.certificate),
            "key.pem": key_pem(P.leaf.key),
        }
    )
    found.trust(tmp_path / "roots.pem")
    return found


async def test_a_certificate_from_request_to_repaired_chain(tmp_path: Path) -> None:
    officer, csr = await requested()
    (tmp_path / "roots.pem").write_bytes(cert_pem(P.root.certificate))
    officer.trust(tmp_path / "roots.pem")
    officer.client.files |= {"signed.pem": cert_pem(answered(csr), *P.path), "chain.pem": cert_pem(*P.path)}
    done = await officer.ok("certconfig", "replace", "partner", "signed.pem")
    assert done["warnings"] == []
    await officer.ok("certconfig", "assign", "partner", "listener:IncomingMail")
    assert (await officer.ok("certconfig", "check", "partner"))["problems"] == []
    assert officer.text == "partner is in order.\n"
    await officer.ok("certconfig", "intermediates", "add", "partner", "chain.pem")
    assert officer.codes == ["duplicate-intermediate", "duplicate-intermediate"]
    told = await officer.refused("certconfig", "check", "partner")
    assert "certificates.partner: The intermediate Test Near is stored 2 times. Keep it once." in told
    repaired = await officer.ok("certconfig", "check", "partner", "--repair")
    assert repaired["repaired"] == ["partner"]
    assert repaired["uncommitted_changes"] > 0
    assert chain_of(officer, "partner") == ["Test Near", "Test Far"]
    await officer.ok("certconfig", "check", "partner")
    await officer.ok("commit", "a signed certificate")


# --- intermediates ----------------------------------------------------------------------------------------


async def test_intermediates_are_listed_with_their_numbers(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    listed = await officer.ok("certconfig", "intermediates", "list", "x")
    assert [(link["number"], link["common_name"], link["issuer"]) for link in listed] == [
        (1, "Test Near", "Test Far"),
        (2, "Test Far", "Test Root"),
    ]
    assert listed[0]["fingerprint"] == fingerprint(NEAR)
    assert await officer.ok("certconfig", "intermediates", "list", "Demo") == []
    assert officer.text == "Demo has no intermediates.\n"


async def test_an_intermediate_that_was_missing_is_added(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "leaf.pem")
    assert officer.codes == ["missing-intermediate"]
    added = await officer.ok("certconfig", "intermediates", "add", "x", "near.pem", "far.pem")
    assert added["warnings"] == []
    assert [link["common_name"] for link in added["chain"]] == ["Test Near", "Test Far"]


async def test_unrelated_intermediates_of_one_file_are_added_with_a_warning(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    third = cert_pem(authority("Third Authority", None).certificate)
    officer.client.files["two.pem"] = UNRELATED + third
    await officer.ok("certconfig", "intermediates", "add", "x", "two.pem")
    assert officer.codes == ["unrelated", "unrelated"]


async def test_what_is_no_intermediate_is_not_added(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    officer.client.files |= {"text": b"hello", "near.der": NEAR.public_bytes(Encoding.DER)}
    told = await officer.refused("certconfig", "intermediates", "add", "x", "key.pem", "all.pem", "text")
    assert "key.pem: The input holds a private key and no certificate" in told
    assert "all.pem holds a private key, which has no place among intermediates" in told
    assert "text: The input holds no PEM block" in told
    await officer.ok("certconfig", "intermediates", "add", "x", "near.der")
    officer.client.files["many.pem"] = cert_pem(NEAR) * 48
    assert "more than 50" in await officer.refused("certconfig", "intermediates", "add", "x", "many.pem")


@pytest.mark.parametrize(
    "which",
    ["1", "test near", "CN=Test Near", fingerprint(NEAR), fingerprint(NEAR)[:11].lower()],
    ids=["number", "common name", "subject", "fingerprint", "its beginning"],  # the same in every process
)
async def test_an_intermediate_is_removed_by_number_name_or_fingerprint(officer: Officer, which: str) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    removed = await officer.ok("certconfig", "intermediates", "remove", "x", which)
    assert chain_of(officer, "x") == ["Test Far"]
    assert "missing-intermediate" in [warning["code"] for warning in removed["warnings"]]


async def test_an_intermediate_that_is_not_there_or_there_twice_is_not_removed(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    await officer.ok("certconfig", "intermediates", "add", "x", "near.pem")
    told = await officer.refused("certconfig", "intermediates", "remove", "x", "Test Near")
    assert "Test Near is the name of the intermediates 1 and 3. Write the number" in told
    for nothing in ("9", "0", "Some Authority", "²", "ab"):
        assert "has no intermediate" in await officer.refused(
            "certconfig", "intermediates", "remove", "x", nothing
        )
    await officer.ok("certconfig", "intermediates", "remove", "x", "3")
    assert chain_of(officer, "x") == ["Test Near", "Test Far"]


# --- check ------------------------------------------------------------------------------------------------


async def test_a_missing_intermediate_is_told_with_the_place_where_it_can_be_had(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "leaf.pem")
    told = await officer.refused("certconfig", "check", "x")
    assert "The certificate of Test Near, which signed mx.example.com, is missing" in told
    assert "It can be had at http://ca.example.com/near.cer" in told
    told = await officer.refused("certconfig", "check", "x", "--repair")
    assert "There was nothing to repair. Not all is in order" in told
    assert officer.json["repaired"] == []


async def test_all_certificates_are_checked_without_a_name(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "good", "all.pem")
    checked = await officer.ok("certconfig", "check")
    assert checked["checked"] == ["Demo", "good"]
    assert officer.codes == ["demonstration"]
    assert "Note: certificates.Demo: The demonstration certificate" in officer.text
    await officer.ok("certconfig", "import", "bad", "leaf.pem")
    await officer.refused("certconfig", "check")
    assert [
        problem["path"] for problem in officer.json["problems"] if problem["code"] != "demonstration"
    ] == ["certificates.bad"]


async def test_one_repair_mends_all_chains_and_tells_what_is_left(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "one", "all.pem", "other.pem")
    await officer.ok("certconfig", "import", "two", "all.pem", "root.pem")
    await officer.ok("certconfig", "import", "three", "leaf.pem", "other.pem")
    ended = await officer.run("certconfig", "check", "--repair")
    assert ended.outcome == "failed"
    assert "Repaired: one, two, three." in officer.text
    assert "What is left" in officer.text
    assert officer.json["repaired"] == ["one", "two", "three"]
    assert set(officer.codes) == {"missing-intermediate", "demonstration"}
    assert chain_of(officer, "one") == chain_of(officer, "two") == ["Test Near", "Test Far"]
    assert chain_of(officer, "three") == []


async def test_a_repair_of_what_is_in_order_changes_nothing(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    before = officer.document
    checked = await officer.ok("certconfig", "check", "--repair")
    assert checked["repaired"] == []
    assert "uncommitted_changes" not in checked
    assert officer.document == before


async def test_a_certificate_without_its_key_fails_the_check(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    officer.services.secrets.kept.clear()
    told = await officer.refused("certconfig", "check", "x")
    assert "The key store holds no key that fits x" in told
    assert officer.json["problems"][0]["severity"] == "error"


async def test_a_certificate_that_expires_soon_or_has_expired_fails_the_check(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    officer.services.at = NOW + 290 * DAY
    assert "expires in 10 days. Renew it" in await officer.refused("certconfig", "check", "x")
    officer.services.at = NOW + 301 * DAY
    await officer.refused("certconfig", "check", "x")
    assert "expired" in officer.codes


async def test_a_certificate_that_waits_for_its_signature_is_no_failure(officer: Officer) -> None:
    await officer.ok("certconfig", "new", "own", "--common-name", "mx.example.com", "--key", "ecdsa-p256")
    await officer.ok("certconfig", "check", "own")
    assert officer.codes == ["self-signed"]


async def test_delivery_with_a_certificate_for_servers_only_is_noted(officer: Officer) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    await officer.ok("certconfig", "assign", "x", "delivery")
    await officer.ok("certconfig", "check", "x")
    assert officer.codes == ["no-client-auth"]


async def test_a_whole_chain_to_an_authority_of_ones_own_is_noted_only(
    officer: Officer, tmp_path: Path
) -> None:
    (tmp_path / "roots.pem").write_bytes(UNRELATED)
    await officer.ok("certconfig", "import", "x", "all.pem")
    assert officer.codes == ["root-not-trusted"]
    await officer.ok("certconfig", "check", "x")
    assert officer.codes == ["root-not-trusted"]


async def test_the_list_of_trusted_authorities_is_read_again_when_it_changed(
    officer: Officer, tmp_path: Path
) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    assert (await officer.ok("certconfig", "check", "x"))["problems"] == []
    (tmp_path / "roots.pem").write_bytes(UNRELATED + b"\n")
    await officer.ok("certconfig", "check", "x")
    assert officer.codes == ["root-not-trusted"]


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), (b"nothing", "holds no certificate")])
async def test_a_list_of_trusted_authorities_that_can_not_be_read_is_told(
    officer: Officer, tmp_path: Path, content: bytes | None, told: str
) -> None:
    officer.trust(tmp_path / "elsewhere.pem")
    if content is not None:
        (tmp_path / "elsewhere.pem").write_bytes(content)
    assert told in await officer.refused("certconfig", "check")


async def test_one_odd_entry_does_not_spoil_a_list_of_trusted_authorities(
    officer: Officer, tmp_path: Path
) -> None:
    await officer.ok("certconfig", "import", "x", "all.pem")
    odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "roots.pem").write_bytes(odd + cert_pem(P.root.certificate))
    assert (await officer.ok("certconfig", "check", "x"))["problems"] == []


async def test_without_a_list_in_the_document_the_systems_is_used() -> None:
    officer = Officer(files={"all.pem": cert_pem(P.leaf.certificate, *P.path) + key_pem(P.leaf.key)})
    await officer.ok("certconfig", "import", "x", "all.pem")
    assert officer.codes in ([], ["root-not-trusted"])  # none where the machine has no list
