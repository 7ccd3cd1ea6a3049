"""Documents by compare-and-set, counters that only grow, secrets that open nowhere else."""

from __future__ import annotations

import threading
from pathlib import Path

import apsw
import pytest

from mxseal.storage.home import Home, HomeInUse
from mxseal.storage.ports import Candidate, StorageRefused
from mxseal.storage.sealing import Seal, SealBroken, make_key_file
from mxseal.storage.state import State


def open_state(folder: Path) -> State:
    key = folder / "seal.key"
    if not key.exists():
        make_key_file(key)
    return State(folder / "state.db", Seal.from_file(key))


def test_a_document_is_stored_only_on_top_of_the_latest(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    assert state.latest() is None
    first = state.put(0, "a = 1", "anna", "first", 10.0)
    assert state.put(1, "a = 2", "bert", "second", 11.0).number == 2
    with pytest.raises(StorageRefused) as refused:
        state.put(1, "a = 3", "carl", "too late", 12.0)
    assert refused.value.kind == "conflict"
    assert state.get(1) == first
    assert [revision.number for revision in state.history()] == [2, 1]


def test_each_owner_has_a_candidate_of_its_own(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.save_candidate(Candidate(owner="anna", based_on=1, toml="x"))
    state.save_candidate(Candidate(owner="bert", based_on=1, toml="y"))
    state.save_candidate(Candidate(owner="anna", based_on=2, toml="z"))
    state.drop_candidate("bert")
    assert state.candidate("anna") == Candidate(owner="anna", based_on=2, toml="z")
    assert state.candidate("bert") is None


def test_secrets_are_not_readable_in_the_file_and_open_with_the_key_file_only(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.secrets.put("key/abc", b"PRIVATE-BYTES")
    assert state.secrets.get("key/abc") == b"PRIVATE-BYTES"
    assert state.secrets.names() == ["key/abc"]
    state.close()
    assert b"PRIVATE-BYTES" not in (tmp_path / "state.db").read_bytes()
    (tmp_path / "seal.key").unlink()
    with pytest.raises(SealBroken, match="key/abc"):
        open_state(tmp_path).secrets.get("key/abc")


def test_a_sealed_value_cannot_be_moved_to_another_name(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.secrets.put("key/good", b"one")
    raw = apsw.Connection(str(tmp_path / "state.db"))
    raw.execute("UPDATE secrets SET name='key/evil'")
    with pytest.raises(SealBroken):
        state.secrets.get("key/evil")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "seal.key"
    make_key_file(key)
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod 600"):
        Seal.from_file(key)
    with pytest.raises(FileExistsError):
        make_key_file(key)


def test_a_home_belongs_to_one_process(tmp_path: Path) -> None:
    home, other = Home(tmp_path / "home"), Home(tmp_path / "home")
    home.make()
    assert (tmp_path / "home").stat().st_mode & 0o777 == 0o700
    home.lock()
    with pytest.raises(HomeInUse, match="in use by process"):
        other.lock()
    home.unlock()
    other.lock()
    other.unlock()


def test_a_state_can_be_opened_while_another_process_writes_it(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            state.put_fact("last", str(number) * 500)
            if number % 7 == 0:
                state._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(60):
            open_state(tmp_path).close()
    finally:
        stop.set()
        writer.join()
