"""`mxseal` as it is typed into a system's shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from mxseal import __version__
from mxseal.__main__ import Invocation, Wrong, default_home
from mxseal.config.toml import parse
from tests.config.documents import document
from tests.faces.serving import Serving
from tests.faces.terminal import command, environment, run, terminal


def test_words_are_answered_by_the_running_gateway(server: Serving) -> None:
    done = run(server.home, "version")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().splitlines() == [
        "MXSeal",
        "Version:                 1.2.3",
        "Hostname:                mx.example.com",
        "Configuration revision:  1",
    ]
    assert json.loads(run(server.home, "--json", "version").stdout)["revision"] == 1
    assert run(server.home, "--home", str(server.home), "whoami", "--json").returncode == 0


def test_an_exit_status_says_how_it_ended(server: Serving) -> None:
    assert run(server.home, "pto").returncode == 2
    assert run(server.home, "rollbackconfig", "9").returncode == 1
    assert run(server.home, "spill").returncode == 70


def test_configuration_goes_out_to_a_file_and_comes_back(server: Serving) -> None:
    assert run(server.home, "saveconfig", "gateway.toml").returncode == 0
    saved = server.home / "gateway.toml"
    assert parse(saved.read_text()) == document()
    again = run(server.home, "saveconfig", "gateway.toml")
    assert again.returncode == 1
    assert b"gateway.toml exists already" in again.stderr
    saved.write_text(saved.read_text().replace("2525", "2600"))
    assert run(server.home, "--session", "x", "loadconfig", "gateway.toml").returncode == 0
    assert run(server.home, "loadconfig", "-", stdin=saved.read_bytes()).returncode == 0
    missing = run(server.home, "loadconfig", "absent.toml")
    assert missing.stderr == b"absent.toml: No such file or directory.\n"


def test_a_passphrase_comes_from_the_callers_environment(server: Serving) -> None:
    done = run(server.home, "pot", "lock", "--passphrase", "env:MXSEAL_HOME")
    assert done.stdout == f"Locked with {len(str(server.home))} characters.\n".encode()
    assert b"has no variable NOTHING" in run(server.home, "pot", "lock", "--passphrase", "env:NOTHING").stderr


def test_ctrl_c_ends_the_command_with_status_130(server: Serving) -> None:
    with subprocess.Popen(command("drip"), stdout=subprocess.PIPE, env=environment(server.home)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"drop 1\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert server.ended().outcome == "cancelled"


def test_a_reader_that_goes_away_ends_it_quietly(server: Serving) -> None:
    read, write = os.pipe()
    with subprocess.Popen(
        command("flood"), stdout=write, stderr=subprocess.PIPE, env=environment(server.home)
    ) as process:
        os.close(write)
        os.read(read, 10)
        os.close(read)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(20) == 141


def test_on_a_terminal_tables_fit_and_questions_are_asked(server: Serving) -> None:
    with terminal(server.home, "pot", "new") as screen:
        screen.expect("Enter a name for this pot:")
        screen.type("Kyusu\n")
        screen.expect("[1]> ")
        screen.type("0.5\n")
        screen.expect("Marks on its foot:")
        screen.type("\n")
        screen.expect("Litres")
        assert screen.status() == 0


def test_without_a_gateway_there_is_a_sentence_and_status_69(tmp_path: Path) -> None:
    done = run(tmp_path, "status")
    assert done.returncode == 69
    assert done.stderr.startswith(b"No gateway is running in ")


@pytest.mark.parametrize(
    ("words", "said"),
    [("frobnicate", "There is no command 'frobnicate'"), ("comit", "Did you mean 'commit'?")],
)
def test_a_typo_is_told_without_a_gateway(tmp_path: Path, words: str, said: str) -> None:
    done = run(tmp_path, *words.split())
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert b"No gateway" not in done.stderr


def test_help_needs_no_gateway(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"mxseal {__version__}\n".encode()
    listed = run(tmp_path, "--help").stdout.decode()
    for line in ("  commit ", "  init ", "  --home DIR ", str(tmp_path)):
        assert line in listed
    for words in (("help", "commit"), ("commit", "--help"), ("commit", "?")):
        assert b"Put your changes in force" in run(tmp_path, *words).stdout
    assert run(tmp_path).returncode == 2
    assert run(tmp_path, "--colour").stderr.startswith(b"mxseal: there is no option --colour.")


def test_completion_scripts_ask_for_words(server: Serving) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert b"mxseal _complete" in run(server.home, "completion", shell).stdout
    assert run(server.home, "completion", "tcsh").returncode == 2
    assert run(server.home, "_complete", "pot", "fill", "K").stdout == b"plain\tKyusu\t\n"
    assert run(server.home, "_complete", "pot", "fill", "K", "le").stdout == b"file\tle\t\n"
    assert b"plain\tserve\tRun the gateway" in run(server.home, "_complete", "se").stdout
    assert b"plain\tpot\tTea pots" in run(server.home, "_complete", "").stdout


def test_bash_completes_with_the_script(server: Serving) -> None:
    script = run(server.home, "completion", "bash").stdout.decode()
    mxseal = " ".join(command())
    asked = (
        f'mxseal() {{ {mxseal} "$@"; }}\n{script}\n'
        'COMP_WORDS=(mxseal pot fill Br); COMP_CWORD=3; _mxseal; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["/bin/bash", "-c", asked], capture_output=True, env=environment(server.home), check=True, timeout=20
    )
    assert done.stdout == b"Brown\\ Betty\n"


def test_options_stand_in_front_of_the_words_which_keep_their_own() -> None:
    called = Invocation(["--home=/srv/mx", "--json", "--session", "s", "grep", "--home", "x"])
    assert (str(called.home), called.json, called.session) == ("/srv/mx", True, "s")
    assert called.words == ["grep", "--home", "x"]
    assert Invocation(["--", "--json"]).words == ["--json"]
    with pytest.raises(Wrong, match="--home needs a value"):
        Invocation(["--home"])


def test_the_home_is_named_or_the_systems_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MXSEAL_HOME", "/srv/mx")
    assert default_home() == Path("/srv/mx")
    monkeypatch.delenv("MXSEAL_HOME")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_home() == Path("/var/lib/mxseal")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/anna")
    assert default_home() == Path("/home/anna/.local/share/mxseal")
