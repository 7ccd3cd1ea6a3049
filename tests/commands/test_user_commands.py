"""userconfig, passwd, last, sshconfig: who may come in, and who did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from argon2 import PasswordHasher

from mxseal.commands import configuration, sshconfig, users
from mxseal.commands.context import Role
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result
from mxseal.commands.running import AuditRecord, Runner
from mxseal.faces.render import Style, as_text
from mxseal.storage.state import State
from mxseal.storage.users import User
from tests.commands.gateway import NOW, FakeClient, FakeServices, context
from tests.storage.test_state import open_state

COMMANDS = Registry((users, sshconfig, configuration))
PASSWORD = "four quite random words"
LINE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4 anna@desk"


class Services(FakeServices):
    """The fake gateway with users and secrets."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.users = state.users
        self.secrets = state.secrets


class Desk:
    """An administrator at work, on a real store."""

    def __init__(self, folder: Path) -> None:
        self.state = open_state(folder)
        self.services = Services(self.state)
        self.users = self.state.users
        self.audit: list[AuditRecord] = []
        self.users.put(User(name="admin", role="administrator", password=PasswordHasher().hash(PASSWORD)))

    async def run(
        self,
        *words: str,
        answers: tuple[str, ...] = (),
        role: Role = "administrator",
        who: dict[str, str] | None = None,
    ) -> tuple[str, str]:
        """(outcome, what is shown) of a command."""
        shown: list[str] = []

        async def keep(result: Result) -> None:
            shown.append(as_text(result, Style()))

        client = FakeClient({"key.pub": LINE.encode(), "-": b"no key"}, answers)
        caller = context(self.services, client, COMMANDS, role)
        caller = msgspec.structs.replace(caller, **(who or {}))
        ended = await Runner(COMMANDS, self.audit.append).run(words, caller, keep)
        return ended.outcome, "".join(shown) or ended.message


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.state.close()


def _right(stored: str, password: str) -> bool:
    return PasswordHasher().verify(stored, password)


async def test_a_user_is_made_in_a_dialogue(desk: Desk) -> None:
    answers = ("anna", "operator", PASSWORD, "Anna Example")
    outcome, shown = await desk.run("userconfig", "new", answers=answers)
    assert (outcome, shown) == (
        "ok", "User anna was created with the role operator. It is in force at once.\n",
    )  # fmt: skip
    made = desk.users.get("anna")
    assert made is not None
    assert (made.role, made.full_name) == ("operator", "Anna Example")
    assert _right(made.password, PASSWORD)


async def test_a_user_is_made_by_words_and_the_password_stays_out_of_the_audit(desk: Desk) -> None:
    await desk.run("userconfig", "new", "anna", "read-only", "--password", f"pass:{PASSWORD}")
    assert "userconfig new anna read-only --password pass:***" in " ".join(desk.audit[-1].words)
    assert PASSWORD not in str(desk.audit)
    outcome, shown = await desk.run("userconfig", "new", "bert", "read-only")
    assert outcome == "ok"
    assert "It can't log in yet: 'userconfig sshkey add bert'" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("Anna", "operator"), "can't be a name"),
        (("../x", "operator"), "can't be a name"),
        (("admin", "operator"), "There is a user admin already"),
        (("anna", "emperor"), "is not one of"),
        (("anna", "operator", "--password", "pass:short"), "12 to 1024 characters"),
        (("anna", "operator", "--password", "pass:aaaaaaaaaaaaaaaa"), "too easy to guess"),
        (("anna", "operator", "--password", "pass:anna-is-my-name"), "too easy to guess"),
    ],
)
async def test_what_is_no_user_is_refused(desk: Desk, words: tuple[str, ...], said: str) -> None:
    outcome, shown = await desk.run("userconfig", "new", *words)
    assert outcome in {"failed", "usage"}
    assert said in shown
    assert [user.name for user in desk.users.all()] == ["admin"]


async def test_the_last_administrator_stays_one(desk: Desk) -> None:
    for words in (("edit", "admin", "--role", "operator"), ("delete", "admin", "--yes")):
        outcome, shown = await desk.run("userconfig", *words)
        assert outcome == "failed"
        assert "the only administrator" in shown
    await desk.run("userconfig", "new", "anna", "administrator")
    assert (await desk.run("userconfig", "edit", "admin", "--role", "operator"))[0] == "ok"
    assert (await desk.run("userconfig", "delete", "admin", answers=("y",)))[0] == "ok"
    assert desk.users.get("admin") is None


async def test_a_question_is_asked_before_a_user_is_deleted(desk: Desk) -> None:
    await desk.run("userconfig", "new", "anna", "operator")
    outcome, shown = await desk.run("userconfig", "delete", "anna", answers=("",))
    assert (outcome, shown) == ("ok", "Nothing was deleted.\n")
    assert desk.users.get("anna") is not None


async def test_a_password_is_set_and_taken_away(desk: Desk) -> None:
    await desk.run("userconfig", "password", "admin", answers=("another good password",))
    changed = desk.users.get("admin")
    assert changed is not None
    assert _right(changed.password, "another good password")
    outcome, shown = await desk.run("userconfig", "password", "admin", "--password", "pass:")
    assert (outcome, "keys only" in shown) == ("ok", True)
    assert desk.users.get("admin") == User(name="admin", role="administrator")


async def test_everybody_changes_their_own_password_by_knowing_it(desk: Desk) -> None:
    words = ("passwd", "--old", f"pass:{PASSWORD}", "--new", "pass:a new one that is long")
    who = {"user": "admin", "remote": "192.0.2.1", "face": "ssh"}
    outcome, shown = await desk.run("passwd", "--old", "pass:wrong", *words[3:], role="read-only", who=who)
    assert (outcome, "not your password until now" in shown) == ("failed", True)
    assert (await desk.run(*words, role="read-only", who=who))[0] == "ok"
    assert "works locally" in (await desk.run(*words))[1]


async def test_keys_are_added_listed_and_taken_away(desk: Desk) -> None:
    outcome, shown = await desk.run("userconfig", "sshkey", "add", "admin", "key.pub")
    assert (outcome, "(anna@desk)" in shown) == ("ok", True)
    assert (await desk.run("userconfig", "sshkey", "add", "admin", "-"))[0] == "failed"
    listed = (await desk.run("userconfig", "sshkey", "list"))[1]
    fingerprint = desk.users.keys("admin")[0].fingerprint
    assert fingerprint in listed
    assert "There are no keys." in (await desk.run("userconfig", "list"))[1] or "1" in listed
    assert "no key nothing" in (await desk.run("userconfig", "sshkey", "delete", "admin", "nothing"))[1]
    assert (await desk.run("userconfig", "sshkey", "delete", "admin", "anna@desk"))[0] == "ok"
    assert desk.users.keys("admin") == []


async def test_a_deleted_user_leaves_no_key_for_the_next_of_that_name(desk: Desk) -> None:
    await desk.run("userconfig", "new", "anna", "operator")
    await desk.run("userconfig", "sshkey", "add", "anna", "key.pub")
    await desk.run("userconfig", "delete", "anna", "--yes")
    await desk.run("userconfig", "new", "anna", "operator")
    assert desk.users.keys("anna") == []


async def test_last_tells_who_came_from_where_and_for_how_long(desk: Desk) -> None:
    assert (await desk.run("last"))[1] == "Nobody has logged in yet.\n"
    admin = User(name="admin", role="administrator")
    number = desk.users.began(admin, "ssh", "192.0.2.1", "password", NOW - 7500)
    desk.users.ended(number, NOW - 7500 + 3725, "idle")
    desk.users.began(User(name="anna", role="operator"), "ssh", "192.0.2.2", "publickey", NOW - 120)
    lines = (await desk.run("last"))[1].splitlines()
    assert lines[2].split()[:4] == ["anna", "192.0.2.2", "ssh", "publickey"]
    assert lines[2].endswith("still logged in                      0:02")
    assert lines[3].endswith("(idle)  1:02")
    assert len((await desk.run("last", "anna"))[1].splitlines()) == 3
    assert len((await desk.run("last", "-n", "1"))[1].splitlines()) == 3


@pytest.mark.parametrize("role", ["operator", "certificate-officer", "read-only"])
async def test_only_administrators_say_who_may_come_in(desk: Desk, role: Role) -> None:
    for words in (
        ("userconfig", "list"),
        ("userconfig", "new", "eve", "administrator"),
        ("userconfig", "edit", "admin", "--role", "read-only"),
        ("userconfig", "password", "admin", "--password", "pass:eve's own password"),
        ("userconfig", "delete", "admin"),
        ("userconfig", "sshkey", "add", "admin", "key.pub"),
        ("userconfig", "sshkey", "list"),
        ("userconfig", "sshkey", "delete", "admin", "x"),
        ("sshconfig", "setup", "0.0.0.0"),
    ):
        assert (await desk.run(*words, role=role))[0] == "refused", words
    assert (await desk.run("last", role=role))[0] == "ok"


async def test_where_ssh_listens_is_a_change_like_any_other(desk: Desk) -> None:
    outcome, shown = await desk.run("sshconfig", "setup", "192.0.2.25", "--passwords", "no")
    assert outcome == "ok"
    assert shown.startswith("SSH will listen on 192.0.2.25 port 8022. It takes effect with 'commit'.")
    assert "192.0.2.25 port 8022" in (await desk.run("sshconfig", "show"))[1]
    assert "ssh.address" in (await desk.run("showchanges"))[1]
    assert (await desk.run("sshconfig", "setup", "here"))[0] == "failed"
    assert "SSH will be off." in (await desk.run("sshconfig", "setup", "off"))[1]
    outcome, shown = await desk.run("sshconfig", "setup", "127.0.0.1", "--port", "2525")
    assert outcome == "ok"
    outcome, shown = await desk.run("commit")
    assert outcome == "failed"
    assert "ssh.port: 127.0.0.1 port 2525 is already taken by listener 'IncomingMail'" in shown
