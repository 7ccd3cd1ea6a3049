"""What strangers can bring in front of an administrator at `ssh`, and what a caller can reach there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.faces.ssh_serving import SshServing, ssh_serving
from tests.faces.terminal import PATIENCE

PROMPT = "mx.example.com> "
STEERING = "Subject '\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil' of a stranger"
SHOWN = r"Subject '\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil' of a stranger"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServing]:
    with ssh_serving(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_reports(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("server").forget_reports()


@pytest.mark.parametrize(
    "command", ["grep stranger mail_logs", "tail -n 1 mail_logs", "grep -t stranger mail_logs"]
)
def test_a_line_of_a_log_steers_no_terminal(server: SshServing, command: str) -> None:
    server.do(lambda: server.services.write_log(STEERING))
    with server.terminal() as screen:
        screen.expect(PROMPT)
        screen.type(f"{command}\n")
        shown = screen.expect("of a stranger")
        assert SHOWN in shown
        assert not set("\x07\x9b\u202e") & set(shown)


def test_a_line_of_a_log_steers_no_terminal_behind_a_pipe_either(server: SshServing) -> None:
    server.do(lambda: server.services.write_log(STEERING))
    assert SHOWN in server.run("grep stranger mail_logs").stdout.decode()


def test_what_a_caller_types_comes_back_without_power_over_a_terminal(server: SshServing) -> None:
    done = server.run("pot new '\x1b[2Jevil'")
    assert r"\x1b[2Jevil" in done.stdout.decode()
    assert b"\x1b" not in done.stdout + server.run("'\x1b[2Jpto'").stderr


@pytest.mark.parametrize(
    "name",
    [
        "../home/state.db", "../../etc/passwd", "/etc/passwd", "mail_logs/../mail_logs", "..", ".",
        "mail_logs\\0", "mail_logs/mail.current", "~/.ssh/id_rsa", "", "%2e%2e/state.db",
    ],
)  # fmt: skip
def test_the_name_of_a_log_is_no_way_to_a_file(server: SshServing, name: str) -> None:
    for command in (f"tail '{name}'", f"grep root '{name}'", f"grep -e root '{name}'"):
        done = server.run(command)
        assert (done.returncode, done.stdout) == (2, b""), command
        assert b"root:" not in done.stderr


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../etc/passwd", "file:///etc/passwd", "/proc/self/environ"]
)
def test_no_path_is_opened_on_the_gateway_for_reading_or_writing(server: SshServing, path: str) -> None:
    assert b"can't be reached over SSH" in server.run(f"pot fill K {path}").stderr
    assert b"can't be reached over SSH" in server.run(f"pot lock --passphrase file:{path}").stderr
    done = server.run(f"saveconfig {path}")
    assert b"was not written" in done.stderr
    assert b"hostname" in done.stdout


def test_who_reads_a_tail_slowly_holds_up_neither_the_log_nor_anybody_else(server: SshServing) -> None:
    slow = subprocess.Popen(
        server.command("tail", "mail_logs"), stdout=subprocess.PIPE, env=server.environment()
    )
    assert slow.stdout is not None
    assert slow.stdout.read(1)
    lines = "\n".join(["x" * 4000] * 200)
    for _ in range(20):  # 16 MB: far beyond what the client, the connection and the session can hold
        server.do(lambda: server.services.write_log(lines))
    done = server.run("version")
    assert done.returncode == 0
    assert server.ended().words == ("version",)  # the slow one waits
    slow.kill()
    slow.wait(PATIENCE)
    slow.stdout.close()
    assert server.ended().outcome == "cancelled"


def test_who_asks_for_help_in_a_dialogue_or_floods_it_harms_nobody(server: SshServing) -> None:
    with server.terminal() as screen:
        screen.expect(PROMPT)
        screen.type("pot\n")
        screen.expect("[]> ")
        screen.type("\x1b[2Jnonsense\n")
        assert "\x1b[2J" not in screen.expect("There is no operation")
        screen.expect("[]> ")
        for _ in range(50):
            screen.type("?\n" * 20)
        screen.type("\x03")
        screen.expect(f"^C\r\n{PROMPT}")
