"""The shell on a pseudo terminal, and with its input from a pipe."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.faces.serving import Serving
from tests.faces.terminal import run, terminal

PROMPT = "mx.example.com> "


def _history(server: Serving) -> Path:
    return server.home / "state" / "mxseal" / "history"


def test_commands_are_typed_at_a_prompt_with_the_host_name(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("whoami\n")
        assert "Reached by:           shell" in screen.expect(PROMPT)
        screen.type("pto\n")
        assert "Did you mean 'pot'?" in screen.expect(PROMPT)
        screen.type("exit\n")
        assert screen.status() == 2


def test_tab_completes_commands_and_names_with_spaces(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot li\t")
        screen.expect("pot list ")
        screen.type("\n")
        screen.expect("Brown Bet")
        screen.expect(PROMPT)
        (server.home / "leaves.txt").write_text("green")
        screen.type("pot fill Bro\t")
        screen.expect('"Brown Betty" ')
        screen.type("lea\t")
        screen.expect("leaves.txt ")
        screen.type("\n")
        screen.expect("Brown Betty: green in 0 bytes")


def test_two_tabs_show_what_can_stand_here(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot \t\t")
        screen.expect("fill  list  lock  new")
        screen.expect(f"{PROMPT}pot ")


def test_ctrl_c_ends_the_running_command_only(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("drip\n")
        screen.expect("drop 1")
        screen.interrupt(PROMPT)
        assert server.ended().outcome == "cancelled"
        screen.type("half a li")
        screen.expect("half a li")  # a Ctrl-C that flushes unread keys is not seen by readline
        screen.interrupt(PROMPT)
        screen.type("version\n")
        screen.expect("1.2.3")
        screen.expect(PROMPT)
        screen.type("\x04")
        assert screen.status() == 0


def test_ctrl_c_at_a_question_leaves_without_change(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot new\n")
        screen.expect("Enter a name for this pot:")
        screen.expect("[]> ")
        screen.interrupt(PROMPT)
        assert server.ended().outcome == "cancelled"


def test_tab_completes_the_answer_to_a_question_and_then_commands_again(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot\n")
        screen.expect("[]> ")
        screen.type("l\t\t")
        screen.expect("list  lock")
        screen.expect("[]> l")
        screen.type("oc\t\n")
        screen.expect("Passphrase: ")
        screen.interrupt(PROMPT)
        screen.type("pot li\t")
        screen.expect("pot list ")


def test_a_dialogue_asks_for_what_is_missing(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot\n")
        screen.expect("- NEW - Make a pot")
        screen.expect("[]> ")
        screen.type("new\n")
        screen.expect("Enter a name for this pot:")
        screen.type("Kyusu\n")
        screen.expect("[1]> ")
        screen.type("\n")
        screen.expect("Marks on its foot:")
        screen.type("\n")
        assert "Kyusu" in screen.expect("Choose the operation")
        screen.expect("[]> ")
        screen.type("\n")
        screen.expect(PROMPT)


def test_history_keeps_commands_and_no_passphrases_and_no_answers(server: Serving) -> None:
    with terminal(server.home, "shell") as screen:
        screen.expect(PROMPT)
        screen.type("pot lock --passphrase pass:hunter2\n")
        screen.expect("Locked with 7 characters.")
        screen.expect(PROMPT)
        screen.type("pot lock --passphrase hunter2\n")
        screen.expect(PROMPT)
        screen.type("pot lock\n")
        screen.expect("Passphrase: ")
        screen.type("hunter2\n")
        screen.expect("Once more: ")
        screen.type("hunter2\n")
        screen.expect("Locked with 7 characters.")
        screen.expect(PROMPT)
        screen.type("pot new\n")
        screen.expect("[]> ")
        screen.type("Secretpot\n")
        screen.expect("]> ")
        screen.type("2\n")
        screen.expect("Marks on its foot:")
        screen.type("\n")
        screen.expect(PROMPT)
        screen.type("\x1b[A\x1b[A\x1b[A\x1b[A")
        screen.expect("pass:***")
        screen.interrupt(PROMPT)
    path = _history(server)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().splitlines() == [
        "pot lock --passphrase pass:***", "pot lock --passphrase ***", "pot lock", "pot new",
    ]  # fmt: skip


def test_lines_from_a_pipe_run_one_after_the_other_without_prompts(server: Serving) -> None:
    done = run(
        server.home, "shell", stdin=b'# two commands\n\npot fill "Brown Betty" -\npto\nwhoami --json\n'
    )
    assert b"> " not in done.stdout
    assert b'"face":"shell"' in done.stdout
    assert b"Did you mean 'pot'?" in done.stderr
    assert done.returncode == 0
    assert run(server.home, "shell", stdin=b"pto\nexit\nversion\n").returncode == 2
    assert not _history(server).exists()


def test_an_open_quotation_is_told(server: Serving) -> None:
    done = run(server.home, "shell", stdin=b'grep "TLS mail_logs\n')
    assert b"left open: close it" in done.stderr
    assert done.returncode == 1


def test_without_a_gateway_the_shell_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "shell")
    assert done.returncode == 69
    assert b"No gateway is running" in done.stderr
