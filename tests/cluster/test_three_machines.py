"""Three gateways of one cluster on a real engine: what is committed on one holds for all, or is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from lab import Unavailable
from lab.ca import Authority
from lab.client import Envelope, send
from lab.place import LOOPBACK
from lab.process import until
from mxseal.faces.client import ask_gateway
from tests.cluster.estate import Estate, Failed, Machine, estate

pytest.importorskip("nats")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """One cluster for all of these tests, which leave it whole: it takes long to make."""
    try:
        with estate(tmp_path_factory.mktemp("cluster")) as made:
            yield made
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))


@pytest.fixture
def three(site: Estate) -> tuple[Machine, Machine, Machine]:
    first, second, third = site.machines
    for machine in site.machines:
        machine.run("clustermode", "cluster")
        machine.run("clearchanges", "--yes")
    return first, second, third


Three = tuple[Machine, Machine, Machine]


def routed(machine: Machine) -> dict[str, list[str]]:
    return dict(machine.document().get("smtp_routes", {}))


def route(machine: Machine, domain: str, comment: str = "a route") -> None:
    """Change something at the level that is edited, and commit it."""
    machine.run("smtproutes", "new", domain, "127.0.0.1:2526")
    machine.run("commit", comment)


# --- members ----------------------------------------------------------------------------------------------


def test_all_machines_list_each_other_with_the_same_fingerprints(site: Estate, three: Three) -> None:
    lists = [machine.run("clusterconfig", "list") for machine in three]
    shown = [{(row["machine"], row["group"], row["fingerprint"]) for row in each} for each in lists]
    assert shown[0] == shown[1] == shown[2]
    assert {name for name, _, _ in shown[0]} == {machine.name for machine in three}
    assert {row["machine"] for each in lists for row in each if row["own"]} == {m.name for m in three}


def test_a_member_makes_and_joins_no_other_cluster(three: Three) -> None:
    _, second, _ = three
    said = second.refused("clusterconfig", "join", "--token", "pass:mxseal-join-x", *second.way)
    assert "is in the cluster americas" in said
    assert "is in the cluster americas" in second.refused("clusterconfig", "create", "other", *second.way)


def test_the_prompt_shows_the_level_that_is_edited(three: Three) -> None:
    first, _, third = three
    assert ask_gateway(first.gateway.home, {"about": True})["about"]["prompt"] == "(Cluster americas)> "
    first.run("clustermode", "group", "Main_Group")
    assert ask_gateway(first.gateway.home, {"about": True})["about"]["prompt"] == "(Group Main_Group)> "
    first.run("clustermode", "machine", third.name)
    assert ask_gateway(first.gateway.home, {"about": True})["about"]["prompt"] == "(Machine mx3.lab.test)> "


def test_groups_are_made_renamed_and_deleted_and_machines_moved(site: Estate, three: Three) -> None:
    first, second, third = three
    first.run("clusterconfig", "addgroup", "far")
    site.converged()
    second.run("clusterconfig", "setgroup", third.name, "far")
    site.converged()
    assert "has machines" in first.refused("clusterconfig", "deletegroup", "far")
    first.run("clusterconfig", "renamegroup", "far", "away")
    site.converged()
    second.run("clustermode", "group", "away")
    route(second, "away.test")
    site.converged()
    assert ["away.test" in routed(machine) for machine in three] == [False, False, True]
    third.run("clusterconfig", "setgroup", third.name, "Main_Group")
    third.run("clusterconfig", "deletegroup", "away")
    site.converged()
    assert "away.test" not in routed(third)


# --- commits ----------------------------------------------------------------------------------------------


def test_a_commit_on_any_machine_is_one_revision_for_all(site: Estate, three: Three) -> None:
    before = three[0].number
    for machine in three:
        route(machine, f"{machine.name}.example")
        site.converged()
    assert [machine.number for machine in three] == [before + 3] * 3
    assert routed(three[0]) == routed(three[1]) == routed(three[2])
    listed = three[2].run("rollbackconfig")[0]
    assert (listed["revision"], listed["comment"]) == (before + 3, "a route")
    assert listed["user"].endswith("on mx3.lab.test")


def test_of_two_commits_at_once_one_is_told_and_can_go_on(site: Estate, three: Three) -> None:
    first, second, _ = three
    first.run("smtproutes", "new", "one.test", "127.0.0.1:2526")
    second.run("smtproutes", "new", "two.test", "127.0.0.1:2526")
    first.run("commit", "the first")
    said = second.refused("commit", "the second")
    assert "on mx1.lab.test" in said
    assert '"the first"' in said
    assert "rebasechanges" in said
    second.run("rebasechanges")
    second.run("commit", "the second")
    site.converged()
    assert {"one.test", "two.test"} <= set(routed(first))


def test_a_setting_of_one_machine_is_its_own_until_it_is_cleared(site: Estate, three: Three) -> None:
    first, second, third = three
    first.run("clustermode", "machine", third.name)
    said = first.refused("destconfig", "new", "own.test", "--tls", "required")
    assert "'destinations' comes from Cluster americas" in said
    first.run("clusterset", "copy", "destinations", "--to", f"machine {third.name}")
    first.run("destconfig", "new", "own.test", "--tls", "required")
    first.run("commit", "for mx3 only")
    site.converged()
    domains = [[entry["domain"] for entry in machine.document()["destinations"]] for machine in three]
    assert ["own.test" in each for each in domains] == [False, False, True]
    rows = {row["setting"]: row for row in second.run("clusterset", "list", "--at", f"machine {third.name}")}
    assert rows["destinations"]["origin"] == "Machine mx3.lab.test"
    assert rows["delivery"]["origin"] == "Cluster americas"
    second.run("clusterset", "clear", "destinations", "--at", f"machine {third.name}")
    second.run("commit", "as the others")
    site.converged()
    assert third.document()["destinations"] == first.document()["destinations"]


def test_what_one_machine_can_not_do_is_refused_for_all(three: Three) -> None:
    first, second, _ = three
    first.run("clusterset", "new", "senders", "--at", f"machine {second.name}")
    said = first.refused("commit", "wrong")
    assert "default_policy" in said
    assert "(on mx2.lab.test)" in said


# --- certificates -----------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_served_by_all_and_its_key_travels_sealed(
    site: Estate, three: Three, tmp_path: Path
) -> None:
    first, second, third = three
    renewed = Authority("MXSeal Lab Renewed Root").issue("mx.lab.test")
    bundle = tmp_path / "renewed.pem"
    bundle.write_bytes(renewed.key_pem + renewed.chain_pem)
    second.run("certconfig", "replace", "mail", str(bundle))
    second.run("commit", "renewed")
    site.converged()
    until(
        lambda: all(row["state"] == "served" for row in first.run("certconfig", "rollout", "mail")),
        lambda: first.text("certconfig", "rollout", "mail"),
    )
    rows = third.run("certconfig", "rollout", "mail")
    assert {row["fingerprint"].replace(":", "").lower() for row in rows} == {renewed.sha256}
    assert "served by 3 of 3 machines" in third.text("certconfig", "rollout", "mail")
    sent = send((LOOPBACK, third.port), Envelope(sender="a@example.org", recipients=("b@example.test",)))
    assert sent.server_certificate == renewed.certificate.public_bytes(Encoding.DER)
    secret = renewed.key.private_numbers().private_value.to_bytes(32, "big")  # type: ignore[union-attr]
    stored = [path.read_bytes() for path in site.engine.folder.rglob("*") if path.is_file()]
    assert any(b"key." in each for each in stored)
    assert not any(secret in each for each in stored)


# --- the engine is away -----------------------------------------------------------------------------------


def test_without_the_engine_mail_goes_on_and_commits_are_refused_until_it_is_back(
    site: Estate, three: Three
) -> None:
    first, second, third = three
    route(first, "before.test")
    site.engine.away()
    first.gateway.kill9()
    first.gateway.start()
    assert "before.test" in routed(first)
    first.run("smtproutes", "new", "later.test", "127.0.0.1:2526")
    said = first.refused("commit", "too early")
    assert "Nothing was committed, and your changes are kept" in said
    assert "engine" in said
    for machine in three:
        send((LOOPBACK, machine.port), Envelope(sender="a@example.org", recipients=("b@example.test",)))
    assert "Not connected to the engine" in second.text("clusterconfig", "connstatus")
    site.engine.start()
    until(
        lambda: "Connected to" in first.text("clusterconfig", "connstatus"),
        lambda: first.text("clusterconfig", "connstatus"),
    )
    first.run("commit", "now")
    site.converged()
    assert "later.test" in routed(third)


def test_a_server_of_the_engine_that_dies_costs_no_commit(site: Estate, three: Three) -> None:
    first, _, third = three
    site.engine.kill(0)
    route(first, "one-server-less.test")
    site.converged()
    assert "one-server-less.test" in routed(third)
    site.engine.start()


def test_a_machine_that_was_away_takes_what_was_committed_meanwhile(site: Estate, three: Three) -> None:
    first, second, _ = three
    second.run("clusterconfig", "disconnect")
    assert "detached" in second.refused("clusterconfig", "addgroup", "never")
    route(first, "meanwhile.test")
    assert "meanwhile.test" not in routed(second)
    second.run("clusterconfig", "reconnect")
    site.converged()
    assert "meanwhile.test" in routed(second)


def test_a_gateway_that_is_killed_comes_back_with_what_it_had_and_then_with_all(
    site: Estate, three: Three
) -> None:
    first, second, _ = three
    second.gateway.kill9()
    route(first, "killed.test")
    second.gateway.start()
    site.converged()
    assert "killed.test" in routed(second)


# --- leaving ----------------------------------------------------------------------------------------------


def test_a_machine_that_is_removed_goes_on_alone_and_may_come_back(site: Estate, three: Three) -> None:
    first, second, third = three
    before = third.document()
    said = first.refused("clusterconfig", "removemachine", third.name)
    assert "The cluster loses the settings of mx3.lab.test: " in said
    assert "listeners" in said
    first.run("clusterconfig", "removemachine", third.name, "--yes")
    until(lambda: "is in no cluster" in _listed(third), lambda: _listed(third))
    assert third.document() == before
    third.run("smtproutes", "new", "alone.test", "127.0.0.1:2526")
    third.run("commit", "alone")
    assert "alone.test" not in routed(first)
    site.converged([first, second])
    assert third.name not in {row["machine"] for row in second.run("clusterconfig", "list")}
    third.join(second.run("clusterconfig", "token")["token"], "listeners")
    site.converged()
    assert "alone.test" not in routed(third)
    route(third, "back.test")
    site.converged()
    assert "back.test" in routed(first)


def test_a_machine_that_can_not_do_what_the_cluster_says_does_not_join(site: Estate, three: Three) -> None:
    first, second, third = three
    third.run("clusterconfig", "removemachine", third.name, "--yes")
    alone = third.document()
    token = first.run("clusterconfig", "token")["token"]
    said = third.refused("clusterconfig", "join", "--token", f"pass:{token[:-4]}", *third.way)
    assert "is no token" in said
    said = third.refused("clusterconfig", "join", "--token", f"pass:{token}", *third.way)  # mx1 has the port
    assert "did not join" in said
    assert "listeners.In" in said
    assert third.document() == alone
    until(lambda: third.name not in _listed(second), lambda: _listed(second), 30.0)
    site.converged([first, second])
    said = third.refused("clusterconfig", "join", "--token", f"pass:{token}", *third.way)
    assert "was used already" in said
    third.join(first.run("clusterconfig", "token")["token"], "listeners")
    site.converged()


def _listed(machine: Machine) -> str:
    try:
        return machine.text("clusterconfig", "list")
    except Failed as error:
        return str(error)
