"""What may go into the custom list of authorities, and what is told about what may not (reference §1.5)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mxseal.certs.authorities import Admitted, Wish, admit, dependents, free_name
from mxseal.certs.facts import Problem
from mxseal.config.model import Authority
from tests.certs.authority import (
    CA,
    NOW,
    Path3,
    authority,
    cert_pem,
    codes,
    ec_key,
    issue,
    key_pem,
    path3,
)

NO_ROOTS: Sequence[x509.Certificate] = ()
TREE: Path3 = path3()


def taken(
    text: bytes,
    known: Sequence[Authority] = (),
    roots: Sequence[x509.Certificate] = NO_ROOTS,
    *,
    name: str = "",
    strict_names: bool = False,
) -> Admitted | list[Problem]:
    return admit(text, known, roots, NOW, Wish(name=name, strict_names=strict_names))


def admitted(text: bytes, known: Sequence[Authority] = (), **more: object) -> Admitted:
    found = taken(text, known, **more)  # type: ignore[arg-type]
    assert isinstance(found, Admitted), found
    return found


def refused(text: bytes, known: Sequence[Authority] = (), **more: object) -> list[Problem]:
    found = taken(text, known, **more)  # type: ignore[arg-type]
    assert isinstance(found, list), found
    return found


def listed(name: str, certificate: x509.Certificate) -> Authority:
    return Authority(name=name, certificate=cert_pem(certificate).decode())


def test_a_file_with_several_authorities_is_taken_whole_with_names_from_the_common_names() -> None:
    text = b"Our partners\n" + cert_pem(*TREE.path, TREE.root.certificate)
    found = admitted(text)
    assert [entry.name for entry in found.authorities] == ["Test Near", "Test Far", "Test Root"]
    assert found.authorities[2].certificate == cert_pem(TREE.root.certificate).decode()
    assert found.warnings == ()


def test_a_name_of_ones_own_is_for_one_authority() -> None:
    assert admitted(cert_pem(TREE.root.certificate), name="Mine").authorities[0].name == "Mine"
    both = cert_pem(TREE.root.certificate, TREE.far.certificate)
    assert codes(refused(both, name="Mine")) == ["one-name"]


@pytest.mark.parametrize("text", [b"", b"hello", TREE.root.certificate.public_bytes(Encoding.DER)])
def test_what_is_no_pem_text_is_refused(text: bytes) -> None:
    assert codes(refused(text)) == ["not-pem"]


def test_a_key_alone_is_no_authority() -> None:
    assert codes(refused(key_pem(ec_key("x")))) == ["no-authority"]


def test_blocks_that_cant_be_read_are_named_by_their_place() -> None:
    whole = cert_pem(TREE.root.certificate)
    cut = whole[: len(whole) // 2]
    spoilt = whole.replace(b"MII", b"MIJ", 1)
    problems = refused(whole + spoilt + cut)
    assert [problem.text for problem in problems] == [
        "Certificate 2 of the file can't be read, or is cut off.",
        "Certificate 3 of the file can't be read, or is cut off.",
    ]


def test_all_problems_are_told_at_once() -> None:
    expired = authority("Old Root", None, msgspec.structs.replace(CA, begin=-400, end=-1))
    leaf = issue("mx.example.com", ec_key("leaf"), TREE.root)
    lost = authority("Lost", authority("Nobody", None))
    text = cert_pem(
        expired.certificate, leaf.certificate, lost.certificate, TREE.root.certificate, TREE.root.certificate
    )
    known = [listed("root", TREE.root.certificate)]
    assert set(codes(refused(text, known))) == {
        "expired", "not-an-authority", "root-missing", "known", "duplicate",
    }  # fmt: skip


def test_a_duplicate_is_told_once_however_often_it_comes() -> None:
    assert codes(refused(cert_pem(TREE.root.certificate) * 3)) == ["duplicate"]


def test_an_authority_without_certificate_signing_is_none() -> None:
    odd = authority("Odd", None, msgspec.structs.replace(CA, sign_usage=False))
    (problem,) = refused(cert_pem(odd.certificate))
    assert problem.code == "not-an-authority"
    assert "CA:TRUE" in problem.text


def test_an_intermediate_needs_its_root_in_the_file_in_the_list_or_in_the_systems_list() -> None:
    text = cert_pem(*TREE.path)
    problems = refused(text)
    assert codes(problems) == ["root-missing", "root-missing"]
    assert "the issuer Test Root is in no list that is on" in problems[0].text
    assert admitted(text + cert_pem(TREE.root.certificate))
    assert admitted(text, [listed("root", TREE.root.certificate)])
    assert admitted(text, roots=[TREE.root.certificate])
    assert codes(refused(cert_pem(TREE.near.certificate), roots=[TREE.root.certificate])) == ["root-missing"]


def test_names_must_be_host_names_only_when_that_is_asked_for() -> None:
    assert codes(refused(cert_pem(TREE.root.certificate), strict_names=True)) == ["name-not-fqdn"]
    proper = authority("ca.example.com", None)
    assert admitted(cert_pem(proper.certificate), strict_names=True)


def test_one_that_is_not_valid_yet_is_taken_with_a_warning() -> None:
    early = authority("Next Root", None, msgspec.structs.replace(CA, begin=5, end=400))
    assert codes(admitted(cert_pem(early.certificate)).warnings) == ["not-yet-valid"]


def test_names_are_made_free_of_what_a_name_cant_have_and_of_those_that_are_taken() -> None:
    assert free_name("Größte CA (G2), 2024", set()) == "Gr te CA G2 2024"
    assert free_name("  *.example.com ", set()) == "example.com"
    assert free_name("日本", set()) == "Authority"
    assert free_name("Root", {"root"}) == "Root 2"
    assert free_name("Root", {"root", "root 2"}) == "Root 3"
    assert len(free_name("x" * 200, {"x" * 63})) <= 63
    again = authority("Test Root", None, key=ec_key("another"))
    known = [listed("Test Root", TREE.root.certificate)]
    assert admitted(cert_pem(again.certificate), known).authorities[0].name == "Test Root 2"


def test_intermediates_that_lose_their_root_are_named() -> None:
    root, far = listed("root", TREE.root.certificate), listed("far", TREE.far.certificate)
    near = listed("near", TREE.near.certificate)
    assert dependents(root, [root, far, near], NOW) == ["far", "near"]
    assert dependents(far, [root, far, near], NOW) == ["near"]
    assert dependents(near, [root, far, near], NOW) == []
