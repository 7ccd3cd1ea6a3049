"""The record of TLS by peer as a file: many writers, bounds, age, versions, damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import pytest

from mxseal.storage.home import Home, HomeRefused
from mxseal.storage.peers import JUDGED, KEPT_SECONDS, Facts, Peer, PeersFile

AT = 1_771_096_828.0
_NONE = dict.fromkeys(JUDGED, 0)


def peer(domain: str = "bank.example", at: float = AT, **more: Any) -> Peer:
    known: dict[str, Any] = {"direction": "out", "host": f"mx.{domain}", "passed": _NONE, "refused": _NONE}
    return Peer(domain=domain, first=at, last=at, **(known | more))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "peers.db"
    PeersFile(path).prepare()
    return path


def test_what_is_written_can_be_read_again(path: Path) -> None:
    facts = Facts(outcome="tls", protocol="TLSv1.3", passes=("off", "required"), names="differs", expires=AT)
    passed = _NONE | {"required": 2}
    written = peer(tls=2, messages_tls=3, passed=passed, facts=facts, facts_at=AT)
    PeersFile(path).write([written], AT)
    assert PeersFile(path).read() == [written]


def test_counts_of_processes_that_write_at_the_same_time_add_up(path: Path) -> None:
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            file = PeersFile(path)
            for turn in range(40):
                at = AT + turn * 3 + number
                refused = _NONE | {"required": 1}
                file.write([peer(at=at, clear=1, refused=refused), peer(f"d{number}.example", at=at)], at)
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    found = PeersFile(path).read()
    assert [each.domain for each in found] == ["bank.example", "d0.example", "d1.example", "d2.example"]
    assert (found[0].clear, found[0].refused["required"], found[0].passed["required"]) == (120, 120, 0)
    assert (found[0].first, found[0].last) == (AT, AT + 119)


def test_the_facts_are_those_of_the_latest_connection_whoever_writes_first(path: Path) -> None:
    file = PeersFile(path)
    file.write([peer(facts=Facts(outcome="tls", protocol="TLSv1.3"), facts_at=AT + 9)], AT)
    file.write([peer(facts=Facts(outcome="tls", protocol="TLSv1.2"), facts_at=AT + 1)], AT)
    file.write([peer(at=AT + 20, broken=1)], AT)
    (found,) = file.read()
    assert found.facts is not None
    assert (found.facts.protocol, found.facts_at, found.last, found.broken) == ("TLSv1.3", AT + 9, AT + 20, 1)


def test_strangers_who_make_up_domains_push_out_the_oldest_of_their_own_direction(path: Path) -> None:
    file = PeersFile(path, most=100)
    file.write([peer("partner.example", direction="out")], AT)
    for turn in range(5):
        made_up = [peer(f"d{turn}-{n}.example", AT + turn, direction="in", host="") for n in range(60)]
        file.write(made_up, AT)
        assert len(file.read(direction="in")) <= 100
    assert {each.domain[:3] for each in file.read(direction="in")} == {"d3-", "d4-"}
    assert [each.domain for each in file.read(direction="out")] == ["partner.example"]


def test_peers_of_more_than_a_year_ago_are_forgotten(path: Path) -> None:
    file = PeersFile(path)
    file.write([peer("old.example"), peer("new.example", AT + 90_000)], AT)
    file.write([peer("other.example", AT + KEPT_SECONDS + 1)], AT + KEPT_SECONDS + 1)
    assert [each.domain for each in file.read()] == ["new.example", "other.example"]


def test_a_domain_is_found_by_its_name_and_by_that_of_its_host(path: Path) -> None:
    file = PeersFile(path)
    file.write([peer("a.example"), peer("b.example"), peer("b.example", direction="in", host="")], AT)
    assert [each.domain for each in file.read("a.example")] == ["a.example"]
    assert [each.domain for each in file.read("mx.b.example")] == ["b.example"]
    assert [each.direction for each in file.read("b.example")] == ["out", "in"]
    assert [each.direction for each in file.read("b.example", "in")] == ["in"]
    assert file.read("c.example") == []


def test_a_damaged_file_is_set_aside_and_another_begun(path: Path) -> None:
    path.write_bytes(b"this was a database" * 400)
    PeersFile(path).prepare()
    PeersFile(path).write([peer()], AT)
    assert len(PeersFile(path).read()) == 1
    assert path.with_name("peers.db.damaged").read_bytes().startswith(b"this was")


def test_a_start_keeps_what_was_recorded(path: Path) -> None:
    PeersFile(path).write([peer()], AT)
    PeersFile(path).prepare()
    assert len(PeersFile(path).read()) == 1


def test_without_a_file_there_is_nothing_to_read_and_nothing_is_written(tmp_path: Path) -> None:
    file = PeersFile(tmp_path / "peers.db")
    assert file.read() == []
    with pytest.raises(apsw.Error, match="is missing"):
        file.write([peer()], AT)
    assert list(tmp_path.iterdir()) == []


def test_where_the_disk_refuses_the_gateway_starts_without_a_record(tmp_path: Path) -> None:
    PeersFile(tmp_path / "nowhere" / "peers.db").prepare()
    assert list(tmp_path.iterdir()) == []


def test_a_record_of_a_newer_program_keeps_this_one_from_starting(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.open_state().close()
    PeersFile(home.peers_file).prepare()
    home.upgrade()
    with apsw.Connection(str(home.peers_file)) as connection:
        connection.execute("PRAGMA user_version=7")
    connection.close()
    with pytest.raises(HomeRefused, match=r"peers\.db has version 7"):
        home.upgrade()
