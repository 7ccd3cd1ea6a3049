"""Single commands through the OpenSSH client: `ssh admin@gateway COMMAND`."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator

import pytest

from tests.faces.ssh_serving import BRICK, SshServing, ssh_serving
from tests.faces.terminal import PATIENCE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServing]:
    with ssh_serving(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture(autouse=True)
def _no_reports(request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("server").forget_reports()


def _piped(server: SshServing, *words: str, behind: str) -> subprocess.Popen[bytes]:
    line = f"{shlex.join(server.command(*words))} | {behind}"
    return subprocess.Popen(["/bin/sh", "-c", line], stdout=subprocess.PIPE, env=server.environment())


def test_the_grep_of_the_reference_runs_as_it_is_typed(server: SshServing) -> None:
    done = server.run('grep "ICID.*TLS failed" mail_logs')
    assert done.returncode == 0
    assert done.stdout.count(b"TLS failed\n") == 30
    assert done.stderr == b""


def test_a_failure_is_on_standard_error_and_in_the_exit_status(server: SshServing) -> None:
    done = server.run("pto")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"There is no command 'pto'. Did you mean 'pot'?\n"
    assert server.run('grep "TLS mail_logs').stderr.endswith(b"left open: close it.\n")


def test_json_is_json_and_nothing_else(server: SshServing) -> None:
    assert json.loads(server.run("whoami --json").stdout) == {
        "user": "admin", "role": "administrator", "session": "user:admin", "face": "ssh from 127.0.0.1",
        "uncommitted_changes": 0,
    }  # fmt: skip
    done = server.run("saveconfig --json out.toml")
    assert done.returncode == 1
    assert "has no place for" in json.loads(done.stdout)["error"]


def test_standard_input_is_what_a_dash_stands_for(server: SshServing) -> None:
    assert server.run("pot fill K -", stdin=b"gr\xc3\xbcn").stdout.decode() == "K: grün in 0 bytes\n"
    done = server.run("pot fill K - --water -", stdin=bytes(range(128)))
    assert b"in 0 bytes" in done.stdout  # the first took all of it
    assert server.run("pot fill K -", stdin=b"x" * (5 << 20)).stderr.startswith(
        b"Standard input has more than"
    )


def test_no_file_is_reached_by_its_name_on_either_side(server: SshServing) -> None:
    done = server.run("loadconfig /etc/passwd")
    assert done.returncode == 1
    assert b"can't be reached over SSH: write '-'" in done.stderr
    assert b"can't be reached over SSH" in server.run("pot lock --passphrase env:HOME").stderr


def test_what_would_be_a_file_is_standard_output(server: SshServing) -> None:
    done = server.run("saveconfig mine.toml")
    assert done.stdout == server.run("saveconfig").stdout
    assert done.stderr.startswith(b"mine.toml was not written, as there are no files over SSH")


def test_what_is_not_text_goes_to_a_pipe_byte_for_byte_and_to_no_terminal(server: SshServing) -> None:
    done = server.run("press brick.bin")
    assert done.stdout == BRICK
    assert b"Keep it where nobody else can read it." in done.stderr
    with server.terminal("press brick.bin", options=["-tt"]) as screen:
        screen.expect("brick.bin is not text")
        assert screen.status() == 1


def test_a_pipe_that_breaks_ends_the_command(server: SshServing) -> None:
    process = _piped(server, "tail mail_logs", behind="head -n 1")
    assert process.stdout is not None
    assert process.stdout.readline() == b"Info: ICID 21 TLS failed\n"
    for _ in range(100):  # as with tail -f, it is noticed with the next lines
        if process.poll() is not None:
            break
        server.do(lambda: server.services.write_log("one more line"))
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
    process.stdout.close()
    assert server.ended().outcome == "cancelled"


def test_a_client_that_is_killed_ends_its_command(server: SshServing) -> None:
    process = subprocess.Popen(server.command("drip"), stdout=subprocess.PIPE, env=server.environment())
    assert process.stdout is not None
    assert process.stdout.readline() == b"drop 1\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert server.ended().outcome == "cancelled"


def test_ctrl_c_ends_a_command_at_a_terminal_with_130(server: SshServing) -> None:
    with server.terminal("tail mail_logs", options=["-tt"]) as screen:
        screen.expect("Press Ctrl-C to stop.")
        screen.expect("ICID 30 TLS failed")
        screen.type("\x03")
        assert screen.status() == 130
    assert server.ended().outcome == "cancelled"


def test_a_client_that_does_not_read_holds_up_nobody_else(server: SshServing) -> None:
    slow = subprocess.Popen(server.command("pour"), stdout=subprocess.PIPE, env=server.environment())
    assert slow.stdout is not None
    assert slow.stdout.read(1) == b"t"
    assert server.run("version").returncode == 0
    assert server.ended().words == ("version",)  # the other waits, and nothing of it piles up
    slow.kill()
    slow.wait(PATIENCE)
    slow.stdout.close()
    assert server.ended().outcome == "cancelled"


def test_much_output_comes_whole(server: SshServing) -> None:
    assert server.run("flood").stdout == b"tea " * 500_000 + b"\n"


def test_commands_from_a_pipe_run_one_after_the_other(server: SshServing) -> None:
    script = b"# three\nversion\npto\npot fill K -\npasted\n.\nexit\nwhoami\n"
    done = server.run(stdin=script)
    assert b"> " not in done.stdout
    assert b"1.2.3" in done.stdout
    assert b"K: pasted\n" in done.stdout
    assert b"Reached by" not in done.stdout
    assert b"Did you mean 'pot'?" in done.stderr
    assert done.returncode == 0
    assert server.run(stdin=b"pto\n").returncode == 2


def test_each_command_is_reported_with_who_from_where_and_what(server: SshServing) -> None:
    server.run("pot lock --passphrase pass:hunter2")
    record = server.ended()
    assert (record.user, record.role, record.face, record.remote) == (
        "admin", "administrator", "ssh", "127.0.0.1",
    )  # fmt: skip
    assert record.words == ("pot", "lock", "--passphrase", "pass:***")


def test_there_is_nothing_but_commands(server: SshServing) -> None:
    assert b"subsystem request failed" in server.run("sftp", options=["-s"]).stderr
    assert server.run("scp -t /tmp").returncode == 2
    through = server.run(options=["-W", f"127.0.0.1:{server.port}"])
    assert through.returncode == 255
    assert b"SSH-2.0" not in through.stdout
    for forward in ("-R", "-L"):
        place = f"127.0.0.1:0:127.0.0.1:{server.port}" if forward == "-R" else f"{server.root}/s:/tmp/x"
        done = server.run("version", options=[forward, place, "-o", "ExitOnForwardFailure=yes"])
        assert (done.returncode == 255) == (forward == "-R")
    asked = server.run("whoami", options=["-A", "-X"])
    assert asked.returncode == 0


@pytest.mark.parametrize(
    "option",
    [
        "HostKeyAlgorithms=ssh-rsa", "KexAlgorithms=diffie-hellman-group14-sha1", "Ciphers=aes128-cbc",
        "MACs=hmac-sha1,hmac-md5",
    ],
)  # fmt: skip
def test_algorithms_of_old_are_not_there(server: SshServing, option: str) -> None:
    options = ["-o", option] + (["-o", "Ciphers=aes128-ctr"] if option.startswith("MACs") else [])
    done = server.run("version", options=[*options, "-o", "LogLevel=INFO"])
    assert done.returncode == 255
    assert b"no matching" in done.stderr
