"""What a handshake is worth at each level, and chains held against anchors and lists of revoked ones."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab.ca import Authority, Issued, Validity
from mxseal.tls.anchors import Anchors, Revocations, store_of
from mxseal.tls.contexts import ClientTls, client_context
from mxseal.tls.identity import NameVerdict
from mxseal.tls.policy import LEVELS, Level
from mxseal.tls.verification import Revocation, Verification, link_of, links
from tests.tls.certificates import certificate, leaf_alone, pem_of, revocation_list

YES, NO = NameVerdict(matched=True), NameVerdict(matched=False)
OPEN = NameVerdict(matched=False, undecided=True)
LAX: tuple[Level, ...] = ("off", "preferred", "required", "preferred-verify")


def der(issued: Issued) -> tuple[bytes, ...]:
    return tuple(each.public_bytes(Encoding.DER) for each in issued.chain)


@pytest.mark.parametrize(
    ("trusted", "verify", "hosted", "revocation", "pinned", "strict"),
    [
        (True, YES, YES, "good", None, ("required-verify", "required-verify-hosted")),
        (True, YES, YES, "not-checked", None, ("required-verify", "required-verify-hosted")),
        (True, YES, YES, "no-list", None, ("required-verify", "required-verify-hosted")),
        (True, YES, YES, "good", True, ("required-verify", "required-verify-hosted")),
        (True, YES, NO, "good", None, ("required-verify",)),
        (True, NO, YES, "good", None, ("required-verify-hosted",)),
        (True, NO, NO, "good", None, ()),
        (True, YES, YES, "revoked", None, ()),
        (True, YES, YES, "good", False, ()),
        (False, YES, YES, "good", None, ()),
        (False, YES, YES, "good", True, ()),
    ],
)
def test_each_finding_decides_at_the_two_levels_that_require_verification(
    *,
    trusted: bool,
    verify: NameVerdict,
    hosted: NameVerdict,
    revocation: Revocation,
    pinned: bool | None,
    strict: tuple[Level, ...],
) -> None:
    found = Verification(
        trusted=trusted, verify=verify, hosted=hosted, revocation=revocation, pinned=pinned
    ).completed()
    assert found.would_deliver == LAX + strict
    for level in LEVELS:
        assert (found.judge(level).action == "deliver-encrypted") == (level in found.would_deliver)


def test_a_level_whose_verdict_hangs_on_the_reverse_name_is_told_as_undecided() -> None:
    assert Verification(trusted=True, verify=OPEN, hosted=NO).completed().undecided == ("required-verify",)
    assert Verification(trusted=False, verify=OPEN, hosted=NO).completed().undecided == ()


def test_every_certificate_has_a_link_also_one_that_cannot_be_read() -> None:
    issued = certificate(Authority("Root").intermediate("Between"), common="mx.example")
    leaf, between = links(der(issued))
    assert (leaf.subject, between.subject) == ("CN=mx.example", "CN=Between,O=MXSeal Lab")
    assert leaf.issuer == between.subject
    assert leaf.sha256 == issued.sha256
    assert link_of(b"nonsense").subject == ""
    assert len(links(der(issued) * 50)) == 10


class Tree:
    """A root, an intermediate, and a server's certificate."""

    def __init__(self) -> None:
        self.root = Authority()
        self.between = self.root.intermediate()
        self.leaf = certificate(self.between, names=["mx.example"])

    def revocations(self, *lists: object) -> Revocations:
        return Revocations(store_of([self.root.pem.decode()]), lists)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree()


def test_a_chain_may_end_in_any_of_the_anchors_and_nowhere_else(tree: Tree) -> None:
    chain = der(tree.leaf)
    assert Anchors([tree.root.pem.decode()]).error(chain) is None
    assert Anchors([Authority("Other").pem.decode(), tree.root.pem.decode()]).error(chain) is None
    assert Anchors([Authority("Other").pem.decode()]).error(chain) == "unable to get local issuer certificate"
    assert Anchors([]).error(chain) == "unable to get local issuer certificate"


def test_an_intermediate_is_an_anchor_for_what_it_issued_alone(tree: Tree) -> None:
    anchors = Anchors([tree.between.pem.decode()])
    assert anchors.error(der(leaf_alone(tree.leaf))) is None
    assert anchors.error(der(certificate(tree.root, names=["mx.example"]))) is not None


def test_a_servers_own_self_signed_certificate_can_be_an_anchor() -> None:
    own, other = certificate(None, names=["mx.example"]), certificate(None, names=["mx.example"])
    assert Anchors([pem_of(own)]).error(der(own)) is None
    assert Anchors([pem_of(own)]).error(der(other)) == "self-signed certificate"


def test_anchors_look_at_dates_and_usage_too(tree: Tree) -> None:
    anchors = Anchors([tree.root.pem.decode()])
    expired = certificate(tree.between, validity=Validity(expired=True))
    assert anchors.error(der(expired)) == "certificate has expired"
    assert (
        anchors.error(der(certificate(tree.between, usages=["client"]))) == "unsuitable certificate purpose"
    )


def test_what_cannot_be_read_vouches_for_nobody_and_is_never_trusted(tree: Tree) -> None:
    assert Anchors(["nonsense"]).error(der(tree.leaf)) is not None
    assert Anchors([tree.root.pem.decode()]).error((b"nonsense",)) is not None


def test_a_certificate_on_its_authoritys_list_is_revoked(tree: Tree) -> None:
    both = revocation_list(tree.between, tree.leaf.certificate), revocation_list(tree.root)
    assert tree.revocations(*both).check(der(tree.leaf)) == "revoked"
    other = certificate(tree.between, names=["other.example"])
    assert tree.revocations(*both).check(der(other)) == "good"


def test_a_revoked_intermediate_is_found_although_the_leaf_has_no_list(tree: Tree) -> None:
    lists = [revocation_list(tree.root, tree.between.certificate)]
    assert tree.revocations(*lists).check(der(tree.leaf)) == "revoked"


def test_without_a_list_for_each_certificate_it_is_not_said_to_be_good(tree: Tree) -> None:
    assert tree.revocations().check(der(tree.leaf)) == "no-list"
    assert tree.revocations(revocation_list(tree.between)).check(der(tree.leaf)) == "no-list"
    assert tree.revocations(revocation_list(tree.root)).check(der(tree.leaf)) == "no-list"


def test_the_lists_work_with_the_authorities_of_a_context_too(tree: Tree) -> None:
    context = client_context(ClientTls(system=False, authorities=(tree.root.pem.decode(),)))
    lists = [revocation_list(tree.between, tree.leaf.certificate), revocation_list(tree.root)]
    revocations = Revocations.beside(context, lists)
    del context
    assert revocations.check(der(tree.leaf)) == "revoked"
    assert revocations.check(der(certificate(tree.between, names=["other.example"]))) == "good"


def test_a_list_that_its_authority_did_not_sign_revokes_nothing(tree: Tree) -> None:
    forger = Authority("Forger")
    forger.certificate = tree.between.certificate
    forged = revocation_list(forger, tree.leaf.certificate)
    assert tree.revocations(forged, revocation_list(tree.root)).check(der(tree.leaf)) == "no-list"
