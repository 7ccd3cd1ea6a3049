"""What the engine keeps is signed by members, and what is meant for one machine opens nowhere else."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.cluster import record as records
from mxseal.cluster.desk import purpose_of
from mxseal.cluster.keys import Distrust, Identity, Proof, seal_to, signed
from mxseal.cluster.levels import Cluster, Member, new_cluster
from mxseal.cluster.membership import Token, read_token
from mxseal.cluster.record import Author, Record, follow, write
from tests.config.documents import document

ONE, TWO, STRANGER = Identity.make(), Identity.make(), Identity.make()
AT = 1_771_000_000.0


def _member(identity: Identity) -> Member:
    return Member(group="Main_Group", settings={}, signing=identity.signing, sealing=identity.sealing)


def cluster(number: int = 1, **machines: Identity) -> Cluster:
    made = new_cluster("americas", "mx1", _member(ONE), document())
    members = {name: _member(identity) for name, identity in machines.items()}
    return msgspec.structs.replace(
        made, id="one", number=number, machines={**made.machines, **members} if machines else made.machines
    )


def by(name: str) -> Author:
    return Author(name, "admin", "a comment", AT)


def test_a_revision_that_a_member_signed_is_taken() -> None:
    record = write(cluster(2, mx2=TWO), by("mx1"), ONE)
    assert follow(cluster(1), records.decode(record.encode())) == cluster(2, mx2=TWO)


@pytest.mark.parametrize(
    ("name", "identity"),
    [("mx1", STRANGER), ("mx2", TWO), ("stranger", STRANGER)],
    ids=["mx1", "mx2", "stranger"],
)
def test_a_revision_of_nobody_that_was_a_member_before_is_not_taken(name: str, identity: Identity) -> None:
    record = write(cluster(2, mx2=TWO, stranger=STRANGER), by(name), identity)
    with pytest.raises(Distrust, match="no machine of that name"):
        follow(cluster(1), record)


def test_a_machine_that_was_removed_writes_no_more() -> None:
    after = cluster(2, mx2=TWO)
    without = msgspec.structs.replace(cluster(3), machines={"mx1": after.machine("mx1")})
    record = write(msgspec.structs.replace(without, number=4), by("mx2"), TWO)
    with pytest.raises(Distrust):
        follow(without, record)


@pytest.mark.parametrize(
    "changes",
    [{"number": 3}, {"user": "root"}, {"comment": "another"}, {"at": 0.0}, {"body": zlib.compress(b"{}")}],
    ids=lambda changes: next(iter(changes)),
)
def test_nothing_of_a_revision_can_be_changed(changes: dict[str, object]) -> None:
    record = write(cluster(2), by("mx1"), ONE)
    with pytest.raises(Distrust):
        follow(cluster(1), msgspec.structs.replace(record, **changes))


def test_an_older_revision_and_one_of_another_cluster_are_not_taken() -> None:
    with pytest.raises(Distrust, match="went back from revision 3 to 2"):
        follow(cluster(3), write(cluster(2), by("mx1"), ONE))
    other = msgspec.structs.replace(cluster(2), id="another")
    with pytest.raises(Distrust, match="another cluster"):
        follow(cluster(1), write(other, by("mx1"), ONE))


def test_what_unpacks_without_end_is_not_unpacked() -> None:
    body = zlib.compress(b" " * (records.LARGEST + 1))
    bare = Record(number=2, by="mx1", user="", comment="", at=AT, body=body)
    record = msgspec.structs.replace(bare, signature=ONE.sign(bare.signed_content()))
    with pytest.raises(Distrust, match="more than 32 MiB"):
        follow(cluster(1), record)


@given(st.binary(max_size=300))
def test_whatever_the_engine_gives_is_a_revision_or_distrusted(raw: bytes) -> None:
    with pytest.raises(Distrust):
        records.content(records.decode(raw))


def test_the_clusters_key_opens_for_its_machine_its_cluster_and_its_generation_only() -> None:
    made = cluster(1)
    sealed = seal_to(ONE.sealing, b"k" * 32, purpose_of(made))
    assert ONE.open(sealed, purpose_of(made)) == b"k" * 32
    later = msgspec.structs.replace(made, generation=2)
    for identity, purpose in ((TWO, purpose_of(made)), (ONE, purpose_of(later))):
        with pytest.raises(Distrust):
            identity.open(sealed, purpose)


def test_an_identity_is_the_same_when_it_is_read_again() -> None:
    again = Identity(ONE.secret)
    assert again.fingerprint == ONE.fingerprint != TWO.fingerprint
    assert signed(ONE.signing, again.sign(b"x"), b"x")
    assert not signed(TWO.signing, again.sign(b"x"), b"x")


def test_a_proof_holds_for_one_purpose_and_content() -> None:
    proof = Proof(b"s" * 32)
    made = proof.of("request", b"content")
    assert proof.holds(made, "request", b"content")
    assert not proof.holds(made, "answer", b"content")
    assert not proof.holds(made, "request", b"other")
    assert not Proof(b"t" * 32).holds(made, "request", b"content")


def test_a_token_is_one_word_that_can_be_read_again_and_nothing_else_is_one() -> None:
    token = Token(cluster="americas", ticket="1", secret=b"s" * 32, inviter="mx1", fingerprint="a:b")
    text = token.encode()
    assert read_token(f" {text}\n") == token
    assert " " not in text
    for wrong in (
        "",
        text[:-4],
        text[len("mxseal-join-") :],
        "mxseal-join-",
        text + "x" * 5000,
        "mxseal-join-é",
    ):
        assert read_token(wrong) is None
