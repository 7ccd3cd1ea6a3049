"""Every command: reachable, documented and authorised, on every face and for every role.

A face is a row of FACES: how it is asked to run each command with a parameter that no command has. Who may
run the command is told that there is no such parameter, who may not is refused before anything is looked at;
so nothing is carried out. A face that comes is one more row.
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from lab.client import ANY
from lab.gateway import Gateway
from lab.place import free_ports
from mxseal.commands import catalogue
from mxseal.commands.context import ROLES, Role, allowed
from mxseal.commands.registry import Command
from mxseal.faces.api.openapi import method
from tests.e2e.estate import document
from tests.e2e.remote import Remote
from tests.faces.terminal import PATIENCE, run

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = sorted(catalogue.registry().commands, key=lambda entry: entry.words)
NEVER = "--there-is-no-such-option"
_OPEN = re.compile(r"^No such option '?--there-is-no-such-option'?.* 'help (.+?)' shows how it is used\.$")
_REFUSED = re.compile(r"^'(.+?)' needs the role .+; yours is .+\.$")
Answers = Mapping[str, str]
"""The words of a command to 'open' or 'refused'."""


class Face(msgspec.Struct, frozen=True):
    """`ask`: what it answers to each command for a role."""

    name: str
    roles: tuple[Role, ...]
    ask: Callable[[Remote, Role], Answers]


def _script(commands: Sequence[Command]) -> str:
    return "".join(f"{' '.join(entry.words)} {NEVER}\n" for entry in commands)


def _read(complaints: str) -> Answers:
    found: dict[str, str] = {}
    for line in complaints.splitlines():
        for expression, meaning in ((_OPEN, "open"), (_REFUSED, "refused")):
            if match := expression.match(line):
                found[match[1]] = meaning
    return found


def _over_ssh(remote: Remote, role: Role) -> Answers:
    return _read(remote.run(user=f"the-{role}", stdin=_script(COMMANDS)).stderr)


def _on_the_machine(remote: Remote, _role: Role) -> Answers:
    return _read(run(remote.gateway.home, "shell", stdin=_script(COMMANDS).encode()).stderr.decode())


def _over_https(remote: Remote, role: Role) -> Answers:
    token = remote.gateway.command("tokenconfig", "new", f"of-{role}", "--role", role)["token"]
    connection = http.client.HTTPSConnection(
        "127.0.0.1", remote.other, timeout=PATIENCE, context=ANY.context()
    )
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    found: dict[str, str] = {}
    for entry in COMMANDS:
        path = "/api/v1/" + "/".join(entry.words)
        if method(entry) == "GET":
            connection.request("GET", f"{path}?nonsense=1", headers=headers)
        else:
            connection.request("POST", path, body='{"nonsense": 1}', headers=headers)
        answer = connection.getresponse()
        answer.read()
        found[" ".join(entry.words)] = {422: "open", 403: "refused"}.get(answer.status, str(answer.status))
    connection.close()
    return found


FACES = (
    Face("ssh", ROLES, _over_ssh),
    Face("api", ROLES, _over_https),
    Face("local", ("administrator",), _on_the_machine),  # who owns the home is one
)


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    port, ssh, https = free_ports(3)
    parts = {
        "ssh": {"address": "127.0.0.1", "port": ssh},
        "interfaces": [{"name": "Management", "https_port": https}],
    }
    with ExitStack() as stack:
        gateway = stack.enter_context(Gateway(document(port, **parts)))
        site = Remote(gateway, (port, ssh, https), tmp_path_factory.mktemp("remote"))
        for role in ROLES:
            site.user(f"the-{role}", role)
        yield site


@pytest.mark.parametrize(
    ("face", "role"),
    [pytest.param(face, role, id=f"{face.name}-{role}") for face in FACES for role in face.roles],
)
def test_every_command_is_reached_and_open_to_the_roles_that_it_says(
    remote: Remote, face: Face, role: Role
) -> None:
    before = remote.gateway.text("version")
    answers = face.ask(remote, role)
    expected = {
        " ".join(entry.words): "open" if allowed(role, entry.roles) else "refused" for entry in COMMANDS
    }
    assert answers == expected
    assert remote.gateway.text("version") == before


def test_every_command_says_what_it_does_and_who_may_on_its_page_and_in_its_help(remote: Remote) -> None:
    page = (DOCS / "cli.md").read_text()
    asked = "".join(f"help {' '.join(entry.words)}\n" for entry in COMMANDS)
    helps = remote.run(user="the-read-only", stdin=asked).stdout
    for entry in COMMANDS:
        words = " ".join(entry.words)
        assert re.search(rf"^##+ {re.escape(words)}$", page, re.MULTILINE), f"{words} is not on docs/cli.md"
        assert f"Usage: {words}" in helps
    assert helps.count("Role: ") == len(COMMANDS)


def test_no_role_but_the_administrators_makes_administrators() -> None:
    """Nor reads the whole document back in, nor ends the program."""
    closed = {
        "userconfig new", "userconfig edit", "userconfig password", "userconfig sshkey add", "loadconfig",
        "rollbackconfig", "restart", "sshconfig setup",
    }  # fmt: skip
    told = {" ".join(entry.words): entry.roles for entry in COMMANDS}
    assert {words: told[words] for words in closed} == dict.fromkeys(closed, ("administrator",))


def test_what_read_only_users_reach_changes_nothing(remote: Remote) -> None:
    """By what the commands say of themselves: none of them makes a candidate."""
    reading = [entry for entry in COMMANDS if entry.roles == ("read-only",) and not entry.parameters]
    skipped = {"tail", "certconfig served"}  # the one has no end, the other takes its time
    script = "".join(f"{' '.join(e.words)}\n" for e in reading if " ".join(e.words) not in skipped)
    remote.run(user="the-read-only", stdin=script)
    assert "There are no uncommitted changes." in remote.run("showchanges", user="the-read-only").stdout
