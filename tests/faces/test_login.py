"""Who guesses is held back, within bounds, and who knows is let in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import apsw
import pytest
from argon2 import PasswordHasher

from mxseal.clock import ManualClock
from mxseal.events.types import Event, LoggedOut, LoginFailed, LoginsHeldBack, LoginSucceeded
from mxseal.faces.login import PER_USER, Bounds, Failures, Login, matches, network_of
from mxseal.storage.state import State
from mxseal.storage.users import User
from tests.storage.test_state import open_state

PASSWORD = "correct horse battery"
HERE, THERE = "192.0.2.1", "198.51.100.7"


class CountingHasher(PasswordHasher):
    """Cheap, and counts what it looks at."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.looked = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2's own name
        self.looked += str(hash).startswith("$argon2id$")  # anything else costs nothing
        return super().verify(hash, password)


class Desk:
    """A login with a real store, a clock that stands, and what was told."""

    def __init__(self, state: State) -> None:
        self.users = state.users
        self.clock = ManualClock()
        self.told: list[Event] = []
        self.hasher = CountingHasher()
        self.login = Login(state.users, self.clock, self.told.append, self.hasher)
        self.login.bounds = Bounds(3, 300.0)
        self.users.put(User(name="anna", role="operator", password=self.hasher.hash(PASSWORD)))

    async def tries(self, password: str, *, name: str = "anna", remote: str = HERE, times: int = 1) -> bool:
        user = None
        for _ in range(times):
            user = await self.login.password(name, password, remote, "ssh")
        return user is not None

    def heard(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.told)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    state = open_state(tmp_path)
    yield Desk(state)
    state.close()


async def test_the_right_password_lets_in_and_a_wrong_one_does_not(desk: Desk) -> None:
    assert await desk.tries(PASSWORD)
    assert not await desk.tries(PASSWORD + "!")
    assert not await desk.tries("")
    assert desk.heard(LoginFailed) == 2


async def test_an_unknown_user_costs_as_much_as_a_known_one(desk: Desk) -> None:
    desk.users.put(User(name="keys", role="operator"))
    desk.users.put(User(name="odd", role="emperor", password=desk.hasher.hash(PASSWORD)))
    for count, name in enumerate(("nobody", "keys"), 1):
        assert not await desk.tries("", name=name, remote=f"192.0.2.{count}")
        assert desk.hasher.looked == count
    assert not await desk.tries(PASSWORD, name="odd", remote="192.0.2.9")  # a role of a later version


async def test_an_address_that_fails_too_often_waits_and_is_told_of_once(desk: Desk) -> None:
    assert not await desk.tries("wrong", times=3)
    looked = desk.hasher.looked
    assert not await desk.tries(PASSWORD, times=5)
    assert desk.hasher.looked == looked
    assert (desk.heard(LoginFailed), desk.heard(LoginsHeldBack)) == (3, 1)
    assert await desk.tries(PASSWORD, remote=THERE)
    desk.clock.advance(299)
    assert not await desk.tries(PASSWORD)
    desk.clock.advance(1)
    assert await desk.tries(PASSWORD)


async def test_guesses_at_the_same_time_count_as_many(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.tries("wrong") for _ in range(20)))
    assert not any(found)
    assert desk.hasher.looked == 3


async def test_a_right_password_does_not_forgive_an_address_its_other_guesses(desk: Desk) -> None:
    desk.users.put(User(name="bert", role="read-only", password=desk.hasher.hash("bert's own words")))
    for _ in range(2):
        assert not await desk.tries("wrong")
        assert await desk.tries("bert's own words", name="bert")
    assert not await desk.tries("wrong")
    assert not await desk.tries("bert's own words", name="bert")


async def test_a_thousand_addresses_guess_at_one_user_in_vain_and_its_owner_comes_in(desk: Desk) -> None:
    home = "203.0.113.5"
    seat = desk.login.began(User(name="anna", role="operator"), home, "ssh", "publickey")
    desk.login.ended(seat)
    for count in range(40):
        assert not await desk.tries("wrong", remote=f"198.51.100.{count}")
    assert desk.hasher.looked == 3 * PER_USER
    assert not await desk.tries(PASSWORD, remote="198.51.100.99")
    assert await desk.tries(PASSWORD, remote=home)


async def test_a_login_is_noted_and_told_and_so_is_its_end(desk: Desk) -> None:
    seat = desk.login.began(User(name="anna", role="operator"), HERE, "ssh", "password")
    desk.clock.advance(60)
    desk.login.ended(seat, "idle")
    assert (desk.heard(LoginSucceeded), desk.heard(LoggedOut)) == (1, 1)
    noted = desk.users.logins(5)[0]
    assert (noted.user, noted.remote, noted.ended, noted.ending) == (
        "anna", HERE, noted.began + 60, "idle",
    )  # fmt: skip


async def test_a_store_that_refuses_keeps_nobody_out(desk: Desk) -> None:
    desk.users._db.execute("PRAGMA query_only=1").fetchall()
    with pytest.raises(apsw.ReadOnlyError):
        desk.users._db.execute("DELETE FROM logins")
    seat = desk.login.began(User(name="anna", role="operator"), HERE, "ssh", "password")
    assert seat.number is None
    desk.login.ended(seat)
    assert await desk.tries(PASSWORD)


def test_what_is_remembered_of_strangers_is_bounded() -> None:
    failures = Failures(ManualClock(), most=100)
    for count in range(1000):
        failures.add(str(count))
    assert len(failures) == 100
    assert failures.held("999", 1, 300.0)
    assert not failures.held("0", 1, 300.0)


@pytest.mark.parametrize(
    ("remote", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_failures_count_for_what_one_host_has(remote: str, network: str) -> None:
    assert network_of(remote) == network


def test_a_password_without_end_and_a_broken_hash_are_just_wrong() -> None:
    hasher = CountingHasher()
    assert not matches(hasher, hasher.hash("x" * 2000), "x" * 2000)
    assert not matches(hasher, "no hash", PASSWORD)


async def test_who_guesses_at_two_doors_in_turn_is_counted_once(desk: Desk) -> None:
    other = Login(desk.users, desk.clock, desk.told.append, desk.hasher, counted=desk.login)
    other.bounds = desk.login.bounds
    for face in (desk.login, other, desk.login):
        assert await face.password("anna", "guess", HERE, "web") is None
    assert await other.password("anna", PASSWORD, HERE, "web") is None
    assert desk.heard(LoginsHeldBack) == 1
    desk.clock.advance(300.0)
    assert await other.password("anna", PASSWORD, HERE, "web") is not None
