"""Users, their keys and their logins in the state."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.storage.ports import StorageRefused
from mxseal.storage.users import KEPT_LOGINS, User, UserKey
from tests.storage.test_state import open_state

ANNA = User(name="anna", role="operator", password="hash", full_name="Anna Example")


def _key(name: str, blob: bytes) -> UserKey:
    return UserKey(fingerprint=name, kind="ssh-ed25519", blob=blob, comment="", added=1.0)


def test_users_and_keys_outlive_a_restart(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.users.put(ANNA)
    state.users.put_key("anna", _key("SHA256:x", b"blob"))
    state.put_user("admin", "hash", "administrator")
    state.close()
    state = open_state(tmp_path)
    assert [user.name for user in state.users.all()] == ["admin", "anna"]
    assert state.users.get("anna") == ANNA
    assert state.users.has_key("anna", b"blob")
    assert not state.users.has_key("admin", b"blob")
    state.users.delete("anna")
    assert not state.users.has_key("anna", b"blob")
    state.close()


def test_only_the_last_logins_are_kept(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    for number in range(KEPT_LOGINS + 5):
        state.users.began(ANNA, "ssh", f"192.0.2.{number % 250}", "password", float(number))
    kept = state.users.logins(KEPT_LOGINS * 2)
    assert len(kept) == KEPT_LOGINS
    assert kept[0].began == KEPT_LOGINS + 4
    state.close()


def test_after_a_crash_nobody_is_logged_in_any_more(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    number = state.users.began(ANNA, "ssh", "192.0.2.1", "password", 1.0)
    state.users.ended(number, 2.0)
    state.users.began(ANNA, "ssh", "192.0.2.1", "password", 3.0)
    state.users.all_ended(9.0)
    assert [(login.ended, login.ending) for login in state.users.logins(9)] == [(9.0, "gone"), (2.0, "")]
    assert state.users.came_from("anna", "192.0.2.1")
    assert not state.users.came_from("anna", "192.0.2.2")
    state.close()


def test_a_disk_that_refuses_is_told_as_such_and_nothing_is_changed(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    state.users.put(ANNA)
    state.users._db.execute("PRAGMA query_only=1").fetchall()
    for change in (
        lambda: state.users.put(ANNA),
        lambda: state.users.delete("anna"),
        lambda: state.users.put_key("anna", _key("SHA256:x", b"blob")),
        lambda: state.users.began(ANNA, "ssh", "192.0.2.1", "password", 1.0),
    ):
        with pytest.raises(StorageRefused):
            change()
    assert state.users.get("anna") == ANNA
