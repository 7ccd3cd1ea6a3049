"""tokenconfig: who may make which token, what is kept of it, and who sees and revokes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from mxseal.commands import tokenconfig, tokens
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import Ended, Runner
from mxseal.commands.services import Services
from mxseal.storage.ports import Candidate
from mxseal.storage.state import State
from mxseal.storage.users import User
from tests.commands.gateway import NOW, FakeClient, FakeServices, context
from tests.storage.test_state import open_state

COMMANDS = Registry((tokenconfig,))


class Desk:
    """Users at work on a real store."""

    def __init__(self, folder: Path) -> None:
        self.state: State = open_state(folder)
        self.services = FakeServices()
        self.services.users, self.services.tokens = self.state.users, self.state.tokens  # type: ignore[attr-defined]
        for name, role in (("admin", "administrator"), ("olga", "operator"), ("rhea", "read-only")):
            self.state.users.put(User(name=name, role=role))
        self.result: Any = None

    async def run(self, *words: str, user: str = "", face: str = "ssh") -> Ended:
        """As `user` over SSH, or on the gateway's own machine."""

        async def keep(result: Result) -> None:
            self.result = result.to_json()

        around = context(self.services, FakeClient(), COMMANDS)
        if user:
            found = self.state.users.get(user)
            assert found is not None
            around = msgspec.structs.replace(
                around,
                user=user,
                role=cast("Role", found.role),
                face=face,
                remote="192.0.2.7",
                owner=f"user:{user}",
            )
        return await Runner(COMMANDS, lambda _record: None).run(words, around, keep)

    async def make(self, *words: str, user: str = "") -> str:
        ended = await self.run("tokenconfig", "new", *words, user=user)
        assert ended.outcome == "ok", ended.message
        return str(self.result["token"])

    def counts(self, text: str) -> bool:
        return tokens.find(cast("Services", self.services), text) is not None


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_a_token_is_shown_once_and_only_its_hash_is_kept(desk: Desk, tmp_path: Path) -> None:
    text = await desk.make("grafana")
    secret = text.rpartition("_")[2]
    assert desk.counts(text)
    desk.state.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"grafana" in stored
    assert secret.encode() not in stored


async def test_a_token_is_read_only_for_ninety_days_unless_somebody_says_otherwise(desk: Desk) -> None:
    await desk.make("grafana")
    token = desk.state.tokens.named("grafana")
    assert token is not None
    assert (token.role, token.user, token.expires) == ("read-only", "", NOW + 90 * 86_400)


@pytest.mark.parametrize(
    ("words", "seconds"), [("12h", 12 * 3600), ("1d", 86_400), ("never", None), ("2026-02-17", 138_538)]
)
async def test_times_of_expiry(desk: Desk, words: str, seconds: int | None) -> None:
    await desk.make("one", "--expires", words)
    token = desk.state.tokens.named("one")
    assert token is not None
    assert token.expires == (None if seconds is None else NOW + seconds)


@pytest.mark.parametrize("words", ["", "0d", "90", "90m", "999999d", "2026-02-15", "2026-13-01", "soon"])
async def test_what_is_no_time_of_expiry(desk: Desk, words: str) -> None:
    assert (await desk.run("tokenconfig", "new", "one", "--expires", words)).outcome == "failed"
    assert desk.state.tokens.all() == []


async def test_a_users_token_may_do_at_most_what_the_user_may(desk: Desk) -> None:
    text = await desk.make("own", "--role", "operator", user="olga")
    assert desk.state.tokens.named("own").user == "olga"  # type: ignore[union-attr]
    for role in ("administrator", "certificate-officer"):
        ended = await desk.run("tokenconfig", "new", "more", "--role", role, user="olga")
        assert "can't have" in ended.message
    desk.state.users.delete("olga")
    assert not desk.counts(text)


async def test_only_administrators_make_tokens_for_others(desk: Desk) -> None:
    ended = await desk.run("tokenconfig", "new", "x", "--user", "olga", user="rhea")
    assert ended.outcome == "refused"
    await desk.make("x", "--user", "olga", "--role", "operator", user="admin")
    assert desk.state.tokens.named("x").user == "olga"  # type: ignore[union-attr]
    assert "no user" in (await desk.run("tokenconfig", "new", "y", "--user", "nobody", user="admin")).message


async def test_everybody_sees_and_revokes_their_own_and_administrators_all(desk: Desk) -> None:
    text = await desk.make("one", user="olga")
    await desk.make("two", user="rhea")
    await desk.run("tokenconfig", "list", user="rhea")
    assert [row["name"] for row in desk.result] == ["two"]
    await desk.run("tokenconfig", "list", user="admin")
    assert [row["name"] for row in desk.result] == ["one", "two"]
    assert (desk.result[0]["expires"], desk.result[0]["last_used"]) == ("2026-05-17T09:31:02Z", None)
    assert (await desk.run("tokenconfig", "revoke", "one", user="rhea")).outcome == "failed"
    assert desk.counts(text)
    assert (await desk.run("tokenconfig", "revoke", "one", user="admin")).outcome == "ok"
    assert not desk.counts(text)


async def test_a_token_can_not_make_tokens(desk: Desk) -> None:
    ended = await desk.run("tokenconfig", "new", "x", user="admin", face="api")
    assert "can't make tokens" in ended.message


@pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 64, "a/b"])
async def test_names_of_tokens(desk: Desk, name: str) -> None:
    assert (await desk.run("tokenconfig", "new", "--", name)).outcome == "failed"


async def test_a_name_is_given_once(desk: Desk) -> None:
    await desk.make("one")
    assert "already" in (await desk.run("tokenconfig", "new", "one")).message


def test_who_gets_a_name_again_gets_nothing_of_who_had_it(desk: Desk) -> None:
    for owner in ("user:olga", "user:rhea"):
        desk.state.save_candidate(Candidate(owner=owner, based_on=1, toml=""))
    desk.state.users.delete("olga")
    assert desk.state.candidate("user:olga") is None
    assert desk.state.candidate("user:rhea") is not None
