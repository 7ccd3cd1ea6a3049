"""What is said about stored intermediates, and the path that is sent."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from mxseal.certs.chain import as_stored, check_chain, repair
from mxseal.certs.facts import Problem, self_signed
from mxseal.certs.judge import in_date
from mxseal.tls.strength import issued
from tests.certs.authority import (
    CA,
    NOW,
    Signer,
    Wish,
    authority,
    codes,
    ec_key,
    issue,
    key_pem,
    openssl,
    path3,
    rsa_key,
)

EXPIRED = msgspec.structs.replace(CA, end=-1.0)
FUTURE = msgspec.structs.replace(CA, begin=5.0)


def check(*stored: x509.Certificate, roots: list[x509.Certificate] | None = None) -> list[Problem]:
    found = check_chain(path3().leaf.certificate, stored, NOW, roots)
    for problem in found:
        assert problem.text.endswith(".") or problem.text.endswith(" refuse the chain."), problem
        assert problem.remedy, problem
    return found


def only(problems: list[Problem], code: str) -> Problem:
    assert codes(problems) == [code]
    return problems[0]


def test_the_exact_path_has_nothing_against_it() -> None:
    assert check(*path3().path) == []
    assert check(*path3().path, roots=[path3().root.certificate]) == []


def test_a_self_signed_certificate_needs_no_path() -> None:
    own = issue("mx.example.com", ec_key("own"), None).certificate
    assert check_chain(own, (), NOW) == []
    assert check_chain(own, (), NOW, [path3().root.certificate]) == []
    assert codes(check_chain(own, path3().path, NOW)) == ["unrelated", "unrelated"]
    assert repair(own, path3().path, NOW) == ()


def test_an_intermediate_stored_twice_is_named_with_its_count() -> None:
    near, far = path3().path
    problem = only(check(near, far, near, near), "duplicate-intermediate")
    assert "Test Near is stored 3 times" in problem.text


def test_a_renewed_intermediate_beside_the_old_one_is_told() -> None:
    near, far = path3().path
    renewed = authority("Test Near", path3().far, msgspec.structs.replace(CA, end=900.0)).certificate
    problem = only(check(near, far, renewed), "same-subject-same-key")
    assert "Test Near" in problem.text
    assert f"{renewed.serial_number:x}" in problem.remedy


def test_an_intermediate_of_the_same_name_with_another_key_is_told() -> None:
    near, far = path3().path
    other = authority("Test Near", path3().far, key=ec_key("other generation")).certificate
    problem = only(check(other, near, far), "same-subject-other-key")
    assert f"{near.serial_number:x}" in problem.remedy


def test_the_wrong_order_is_told_with_the_right_one() -> None:
    near, far = path3().path
    problem = only(check(far, near), "wrong-order")
    assert problem.remedy == "The order is: Test Near, Test Far."


def test_an_unrelated_authority_is_named_with_its_issuer() -> None:
    stranger = authority("Old Issuing CA", authority("Old Root", None)).certificate
    problem = only(check(*path3().path, stranger), "unrelated")
    assert "Old Issuing CA, issued by Old Root" in problem.text


def test_a_server_certificate_among_the_intermediates_is_unrelated() -> None:
    other = issue("www.example.com", ec_key("www"), path3().near).certificate
    problem = only(check(*path3().path, other), "unrelated")
    assert "no authority" in problem.text


def test_an_unrelated_root_is_told_once() -> None:
    assert codes(check(*path3().path, authority("Old Root", None).certificate)) == ["unrelated"]


def test_the_root_is_superfluous() -> None:
    problem = only(check(*path3().path, path3().root.certificate), "superfluous-root")
    assert "Test Root" in problem.text


def test_a_root_that_signed_itself_with_sha1_is_known_as_a_root(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(key_pem(rsa_key("leaf")))
    text = openssl(
        "req", "-x509", "-sha1", "-key", tmp_path / "key", "-subj", "/CN=Sha1 Root", "-days", "9000"
    )
    root = Signer(x509.load_pem_x509_certificate(text), rsa_key("leaf"))
    near = authority("Test Near", root).certificate
    assert self_signed(root.certificate)
    assert repair(path3().leaf.certificate, (root.certificate, near), NOW) == (near,)
    assert codes(check(near, root.certificate)) == ["superfluous-root"]
    assert check(near, roots=[root.certificate]) == []
    other = x509.load_pem_x509_certificate(
        openssl(
            "req", "-x509", "-sha1", "-newkey", "rsa:2048", "-nodes", "-keyout", "-", "-subj", "/CN=Sha1 Root"
        )
    )
    assert not issued(root.certificate, other)


def test_the_leaf_among_its_intermediates_is_told() -> None:
    assert codes(check(path3().leaf.certificate, *path3().path)) == ["leaf-among-intermediates"]


def test_an_older_leaf_on_the_same_key_is_told() -> None:
    older = issue("mx.example.com", path3().leaf.key, path3().near, Wish(end=30)).certificate
    assert codes(check(*path3().path, older)) == ["leaf-among-intermediates"]


@pytest.mark.parametrize(
    ("wish", "code"), [(EXPIRED, "expired-intermediate"), (FUTURE, "intermediate-not-yet-valid")]
)
def test_an_intermediate_out_of_date_is_told(wish: Wish, code: str) -> None:
    near = authority("Test Near", path3().far, wish).certificate
    problem = only(check(near, path3().far.certificate), code)
    assert "Test Near" in problem.text
    assert "current one" in problem.remedy


@pytest.mark.parametrize(
    "wish", [Wish(ca=False, names=(), eku=None), Wish(ca=True, sign_usage=False, names=(), eku=None)]
)
def test_an_issuer_that_may_not_sign_is_told(wish: Wish) -> None:
    near = authority("Test Near", path3().far, wish).certificate
    assert codes(check(near, path3().far.certificate)) == ["not-a-ca"]


def test_a_missing_intermediate_is_named_with_the_address_where_it_can_be_had() -> None:
    url = "http://ca.example.com/near.crt"
    leaf = issue("mx.example.com", ec_key("leaf"), path3().near, Wish(aia=url)).certificate
    problem = only(check_chain(leaf, (), NOW), "missing-intermediate")
    assert "Test Near" in problem.text
    assert url in problem.remedy


def test_with_a_trust_list_every_gap_in_the_path_is_found() -> None:
    near, far = path3().path
    roots = [path3().root.certificate]
    assert "Test Far" in only(check(near, roots=roots), "missing-intermediate").text
    assert check(near, far, roots=roots) == []
    stranger = [authority("Old Root", None).certificate]
    assert "Test Root" in only(check(near, far, roots=stranger), "missing-intermediate").text


def test_without_a_trust_list_the_issuer_of_the_last_intermediate_passes_for_a_root() -> None:
    assert check(path3().near.certificate) == []


def test_a_leaf_issued_by_a_known_root_misses_nothing() -> None:
    leaf = issue("mx.example.com", ec_key("leaf"), path3().root).certificate
    assert check_chain(leaf, (), NOW, [path3().root.certificate]) == []


def test_everything_wrong_is_told_at_once() -> None:
    near, far = path3().path
    stranger = authority("Old Issuing CA", authority("Old Root", None)).certificate
    found = check(path3().root.certificate, far, near, near, stranger, path3().leaf.certificate)
    assert codes(found) == [
        "leaf-among-intermediates",
        "duplicate-intermediate",
        "superfluous-root",
        "unrelated",
        "wrong-order",
    ]


class Forest(msgspec.Struct, frozen=True):
    leaf: Signer
    pool: tuple[x509.Certificate, ...]
    wanted: tuple[x509.Certificate, ...]


@functools.cache
def forest() -> Forest:
    """A path with renewed, cross-signed, expired and foreign company. The leaf is signed by Test Near."""
    chain = path3()
    old_root = authority("Ancient Root", None)
    far_cross_expired = authority("Test Far", old_root, EXPIRED)
    near_shorter = authority("Test Near", chain.far, msgspec.structs.replace(CA, end=20.0))
    near_expired = authority("Test Near", chain.far, EXPIRED)
    near_other_key = authority("Test Near", chain.far, key=ec_key("other generation"))
    root_cross = authority("Test Root", old_root, key=chain.root.key)
    loop = authority("Ancient Root", chain.near, key=old_root.key)
    pool = (
        chain.near, chain.far, chain.root, far_cross_expired, near_shorter, near_expired, near_other_key,
        root_cross, loop, chain.leaf, authority("Old Root", None),
    )  # fmt: skip
    wanted = (chain.near.certificate, chain.far.certificate, root_cross.certificate, loop.certificate)
    return Forest(chain.leaf, tuple(member.certificate for member in pool), wanted)


@given(st.data())
def test_repair_gives_the_same_path_whatever_the_order_and_the_duplicates(data: st.DataObject) -> None:
    pool = forest().pool
    shuffled = data.draw(st.permutations(pool))
    again = data.draw(st.lists(st.sampled_from(pool), max_size=6))
    path = repair(forest().leaf.certificate, [*shuffled, *again], NOW)
    assert path == forest().wanted


@given(st.lists(st.integers(0, 10), max_size=14))
def test_what_is_sent_is_always_a_path_without_duplicates_roots_or_leaf(picks: list[int]) -> None:
    leaf = forest().leaf.certificate
    path = repair(leaf, [forest().pool[at] for at in picks], NOW)
    assert len(set(path)) == len(path)
    assert leaf not in path
    for below, above in zip((leaf, *path), path, strict=False):
        assert issued(above, below)
        assert not issued(above, above)


@given(st.lists(st.integers(0, 10), max_size=14))
def test_after_repair_only_what_needs_another_certificate_is_left_to_say(picks: list[int]) -> None:
    leaf = forest().leaf.certificate
    path = repair(leaf, [forest().pool[at] for at in picks], NOW)
    left = set(codes(check_chain(leaf, path, NOW)))
    assert left <= {"expired-intermediate", "missing-intermediate"}
    assert repair(leaf, path, NOW) == path


def test_a_cross_signed_authority_in_date_goes_before_an_expired_one() -> None:
    chain = path3()
    other_root = authority("Other Root", None)
    expired = authority("Test Near", chain.root, EXPIRED).certificate
    fresh = authority("Test Near", other_root).certificate
    for pool in ((expired, fresh), (fresh, expired)):
        assert repair(chain.leaf.certificate, pool, NOW) == (fresh,)
    assert not in_date(expired, NOW)
    found = check(fresh, expired)
    assert codes(found) == ["same-subject-same-key", "expired-intermediate"]
    assert "Remove it" in found[1].remedy


def test_of_two_in_date_the_one_that_leads_to_a_known_root_is_taken() -> None:
    chain = path3()
    lost = authority(
        "Test Near", authority("Nowhere", None), msgspec.structs.replace(CA, end=900.0)
    ).certificate
    pool = (lost, chain.near.certificate, chain.far.certificate, chain.root.certificate)
    assert repair(chain.leaf.certificate, pool, NOW) == chain.path


def test_an_expired_intermediate_is_still_sent_when_there_is_no_other() -> None:
    near = authority("Test Near", path3().far, EXPIRED).certificate
    assert repair(path3().leaf.certificate, (near,), NOW) == (near,)


def test_two_authorities_that_sign_each_other_end_the_path() -> None:
    first = authority("Loop A", authority("Loop B", None))
    second = authority("Loop B", first, key=ec_key("Loop B"))
    leaf = issue("mx.example.com", ec_key("leaf"), first).certificate
    path = repair(leaf, (first.certificate, second.certificate), NOW)
    assert path == (first.certificate, second.certificate)


def test_leftovers_can_be_kept_behind_the_path() -> None:
    near, far = path3().path
    stranger = authority("Old Issuing CA", authority("Old Root", None)).certificate
    leaf = path3().leaf.certificate
    assert as_stored(leaf, (stranger, far, near, leaf, stranger), NOW) == (near, far, stranger)


def test_fifty_certificates_of_one_name_are_judged_in_bounded_work() -> None:
    one_name = [authority("Test Near", path3().far, key=ec_key(f"many {at}")).certificate for at in range(49)]
    assert repair(path3().leaf.certificate, [*one_name, path3().near.certificate], NOW) == (
        path3().near.certificate,
    )
