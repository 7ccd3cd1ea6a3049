"""Who comes in over SSH, who does not, and for how long."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mxseal.certs.sshkeys import host_public_keys
from mxseal.events.types import LoggedOut, LoginFailed, LoginsHeldBack, LoginSucceeded
from mxseal.faces.ssh import SshFace
from mxseal.faces.ssh_connection import Connection
from tests.faces.ssh_serving import PASSWORD, Screen, SshServing, ssh_serving
from tests.faces.terminal import PATIENCE

PROMPT = "mx.example.com> "
BY_PASSWORD = ["-o", "PubkeyAuthentication=no", "-o", "KbdInteractiveAuthentication=no"]
ONCE = [*BY_PASSWORD, "-o", "NumberOfPasswordPrompts=1"]


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SshServing]:
    with ssh_serving(tmp_path, new_keys=getattr(request, "param", False)) as running:
        yield running


def _try(server: SshServing, password: str, user: str = "admin") -> bool:
    """Whether a login with this password is let in."""
    with server.terminal("version", user=user, options=ONCE) as screen:
        screen.expect("password: ")
        screen.type(f"{password}\n")
        return screen.status() == 0


def _stranger(server: SshServing) -> tuple[socket.socket, bytes]:
    """A connection that says nothing, and what it is greeted with."""
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
    try:
        return sock, sock.recv(100)
    except ConnectionResetError:
        return sock, b""


def test_a_password_or_a_key_lets_in_and_both_are_told(server: SshServing) -> None:
    assert _try(server, PASSWORD)
    assert server.run("version").returncode == 0
    events = [event for event in server.services.events if isinstance(event, LoginSucceeded)]
    assert [(e.user, e.role, e.remote, e.face, e.method) for e in events] == [
        ("admin", "administrator", "127.0.0.1", "ssh", "password"),
        ("admin", "administrator", "127.0.0.1", "ssh", "publickey"),
    ]
    assert server.await_event(LoggedOut).user == "admin"
    done = server.run("last --json")
    assert b'"logout":null' in done.stdout
    assert done.stdout.count(b'"user":"admin"') == 3


def test_a_password_is_taken_from_a_client_that_only_knows_questions(server: SshServing) -> None:
    options = ["-o", "PubkeyAuthentication=no", "-o", "PreferredAuthentications=keyboard-interactive"]
    with server.terminal("version", options=options) as screen:
        screen.expect("Password:")
        screen.type(f"{PASSWORD}\n")
        assert screen.status() == 0


def test_a_wrong_password_and_an_unknown_user_are_refused_alike(server: SshServing) -> None:
    assert not _try(server, "wrong")
    assert not _try(server, PASSWORD, user="nobody")
    failed = [event for event in server.services.events if isinstance(event, LoginFailed)]
    assert [(event.user, event.method) for event in failed] == [("admin", "password"), ("nobody", "password")]
    assert failed[0].reason == failed[1].reason


def test_three_wrong_passwords_end_the_connection(server: SshServing) -> None:
    with server.terminal("version", options=[*BY_PASSWORD, "-o", "NumberOfPasswordPrompts=9"]) as screen:
        for _ in range(3):
            screen.expect("password: ")
            screen.type("wrong\n")
        screen.expect("Too many wrong passwords")
        assert screen.status() == 255


def test_who_has_guessed_too_often_waits_and_keys_still_open(server: SshServing) -> None:
    server.put_in_force(login_attempts=2, login_wait=300.0)
    assert not _try(server, "wrong")
    assert not _try(server, "wrong")
    assert not _try(server, PASSWORD)
    held = server.await_event(LoginsHeldBack)
    assert (held.user, held.remote, held.seconds) == ("", "127.0.0.1", 300.0)
    assert server.run("version").returncode == 0
    server.advance(301)
    assert _try(server, PASSWORD)


def test_a_key_that_nobody_knows_is_told_once(server: SshServing) -> None:
    other = server.root / "other"
    server.make_key(other)
    options = ["-o", "PasswordAuthentication=no", "-o", "KbdInteractiveAuthentication=no", "-i", str(other)]
    server.key = other
    assert server.run("version", options=options).returncode == 255
    failed = server.await_event(LoginFailed)
    assert (failed.user, failed.method) == ("admin", "publickey")
    assert server.do(lambda: server.services.users.keys("rhea")) == []
    server.do(lambda: server.trust(other, "rhea"))
    assert server.run("version", user="rhea").returncode == 0
    assert server.run("version", options=options).returncode == 255  # the key of another user


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_all_usual_types_open(server: SshServing, kind: str) -> None:
    server.key = server.root / kind
    server.make_key(server.key, kind)
    server.do(lambda: server.trust(server.key))
    assert server.run("version").returncode == 0


def test_passwords_can_be_switched_off(server: SshServing) -> None:
    server.put_in_force(passwords=False)
    done = server.run("version", options=BY_PASSWORD)
    assert b"Permission denied (publickey)" in done.stderr
    assert server.run("version").returncode == 0


def test_a_role_limits_what_can_be_done_and_a_new_one_counts_at_once(server: SshServing) -> None:
    server.do(lambda: server.trust(server.key, "rhea"))
    with server.terminal(user="rhea") as screen:
        screen.expect(PROMPT)
        screen.type("userconfig list\n")
        screen.expect("needs the role administrator; yours is read-only")
        screen.expect(PROMPT)
        server.run("userconfig edit rhea --role administrator")
        screen.type("userconfig list\n")
        screen.expect("Full Name")
        screen.expect(PROMPT)
        assert server.run("userconfig delete rhea --yes").returncode == 0
        screen.type("version\n")
        screen.expect("This user is no longer there")
        assert screen.status() == 77
    assert server.run("version", user="rhea", options=["-o", "BatchMode=yes"]).returncode == 255


def test_strangers_who_do_not_log_in_have_few_places_and_little_time(server: SshServing) -> None:
    server.put_in_force(max_unauthenticated=8, login_time=60.0)
    strangers = [_stranger(server) for _ in range(3)]
    assert [bool(greeting) for _, greeting in strangers] == [True, True, False]  # a quarter, at least 2
    server.advance(61)
    for sock, _ in strangers:
        with sock:
            while sock.recv(4096):
                pass
    assert server.run("version").returncode == 0


def test_the_server_calls_itself_what_openssh_needs_to_hear(server: SshServing) -> None:
    sock, greeting = _stranger(server)
    sock.close()
    assert greeting.startswith(b"SSH-2.0-OpenSSH_compatible_MXSeal\r\n")


def test_there_are_no_more_sessions_than_the_document_says(server: SshServing) -> None:
    server.put_in_force(max_sessions=1)
    with server.terminal() as screen:
        screen.expect(PROMPT)
        done = server.run("version")
        assert done.returncode == 255
        assert b"1 sessions are open" in done.stderr


def _wait_for_end(screen: Screen) -> int:
    return screen.process.wait(PATIENCE)


def test_a_session_that_nobody_uses_ends_and_a_command_that_runs_does_not(server: SshServing) -> None:
    with server.terminal() as idle, server.terminal("tail mail_logs", options=["-tt"]) as busy:
        idle.expect(PROMPT)
        busy.expect("ICID 30 TLS failed")
        server.advance(1000)
        idle.type("version\n")
        idle.expect(PROMPT)
        server.advance(1000)
        idle.type("version\n")
        idle.expect("1.2.3")
        idle.expect(PROMPT)
        server.advance(1801)
        idle.expect("Nothing was typed for 1800 seconds: this session ends.")
        assert _wait_for_end(idle) != 0
        assert server.await_event(LoggedOut).ending == "idle"
        server.do(lambda: server.services.write_log("Info: still here"))
        busy.expect("Info: still here")


def test_a_new_port_takes_effect_and_sessions_stay(server: SshServing) -> None:
    before = server.port
    with server.terminal() as screen:
        screen.expect(PROMPT)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            problems = server.put_in_force(port=port)
            assert [problem.path for problem in problems] == ["ssh.port"]
            assert "can't be opened for SSH: address already in use" in problems[0].text
        assert server.run("version").returncode == 0
        assert server.put_in_force(port=port) == []
        server.port = port
        assert server.run("version").returncode == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", before), timeout=PATIENCE)
        assert server.put_in_force(address="0.0.0.0") == []
        assert server.run("version").returncode == 0
        assert server.put_in_force(address=None) == []
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        screen.type("version\n")
        screen.expect("1.2.3")


def test_a_port_that_is_taken_at_the_start_is_tried_again(server: SshServing) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server.services.set(server.services.document(port=port))
        assert len(server.do(server.face.start)) == 1
    server.advance(31)
    server.port = port
    server.await_listening()
    assert server.run("version").returncode == 0


def test_a_full_disk_keeps_nobody_out(server: SshServing) -> None:
    server.put_in_force(address=None)
    server.services.state._db.execute("PRAGMA query_only=1").fetchall()
    server.services.set(server.services.document(address="127.0.0.1"))
    assert server.do(server.face.start) == []
    assert server.run("version").returncode == 0
    assert _try(server, PASSWORD)


@pytest.mark.parametrize("server", [True], indirect=True, ids=["a new home"])
def test_the_keys_of_the_gateway_are_made_once_and_sealed(server: SshServing) -> None:
    assert server.run("version").returncode == 0
    first = server.do(lambda: host_public_keys(server.services.secrets))
    assert [key.kind for key in first] == ["ssh-ed25519", "ssh-rsa"]
    server.put_in_force(address=None)

    async def another() -> None:
        server.face = SshFace(server.face.runner, server.face.services)
        server.services.set(server.services.document(address="127.0.0.1"))
        assert await server.face.start() == []

    server.do(another)
    assert server.run("version").returncode == 0  # the client has kept the key, and would notice another
    assert server.do(lambda: host_public_keys(server.services.secrets)) == first
    shown = server.run("sshconfig show").stdout.decode()
    scanned = subprocess.run(
        [str(server.ssh.with_name("ssh-keygen")), "-l", "-f", str(server.root / "known_hosts")],
        capture_output=True, text=True, check=True, env=server.environment(),
    ).stdout  # fmt: skip
    assert scanned.split()[1] in shown
    for path in server.services.logs_home.rglob("*"):
        assert not path.is_file() or b"PRIVATE" not in path.read_bytes()


def test_a_gateway_that_stops_says_so(server: SshServing) -> None:
    with server.terminal() as screen:
        screen.expect(PROMPT)
        server.do(server.face.stop)
        screen.expect("The gateway is stopping.")
        _wait_for_end(screen)
    assert server.await_event(LoggedOut).ending == "stop"


def test_a_name_that_is_swapped_while_its_password_is_looked_at_opens_nothing(server: SshServing) -> None:
    """Another user's name behind a right password must never be let in, whatever the library does."""
    connection = server.do(lambda: _Half(server.face))
    assert server.do(lambda: connection.validate_password("rhea", PASSWORD))
    connection._conn.name = "admin"
    server.do(connection.auth_completed)
    assert connection._conn.aborted
    assert connection.seat is None


class _Half(Connection):
    def __init__(self, face: SshFace) -> None:
        super().__init__(face)
        self._conn = _Wire()
        self.remote = "192.0.2.1"


class _Wire:
    """The library's connection, as far as a login needs it."""

    def __init__(self) -> None:
        self.name = ""
        self.aborted = False

    def get_extra_info(self, _name: str) -> str:
        return self.name

    def abort(self) -> None:
        self.aborted = True
