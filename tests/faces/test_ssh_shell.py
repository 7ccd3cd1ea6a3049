"""The shell over SSH, at a pseudo terminal: `ssh admin@gateway`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.faces.ssh_serving import Screen, SshServing, ssh_serving

PROMPT = "mx.example.com> "


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServing]:
    with ssh_serving(tmp_path_factory.mktemp("ssh")) as running:
        yield running


@pytest.fixture
def screen(server: SshServing) -> Iterator[Screen]:
    server.forget_reports()
    with server.terminal() as opened:
        opened.expect(PROMPT)
        yield opened


def test_commands_are_typed_at_a_prompt_with_the_host_name(screen: Screen) -> None:
    screen.type("whoami\n")
    assert "ssh from 127.0.0.1" in screen.expect(PROMPT)
    screen.type("pto\n")
    assert "Did you mean 'pot'?" in screen.expect(PROMPT)
    screen.type("exit\n")
    assert screen.status() == 2


def test_ctrl_d_ends_the_shell(screen: Screen) -> None:
    screen.type("\x04")
    assert screen.status() == 0


def test_tab_completes_commands_and_names_with_spaces(screen: Screen) -> None:
    screen.type("pot li\t")
    screen.expect("pot list ")
    screen.type("\n")
    screen.expect("Brown Bet")
    screen.expect(PROMPT)
    screen.type("pot fill Bro\t")
    screen.expect('"Brown Betty" ')
    screen.type("\t\n")
    screen.expect("Paste the content")
    screen.type("green\n.\n")
    screen.expect("Brown Betty: green")
    screen.expect(PROMPT)
    screen.type("tail mail\t\n")
    screen.expect("tail mail_logs")
    screen.expect("ICID 30 TLS failed")


def test_tab_shows_what_can_stand_here_and_keeps_what_was_typed(screen: Screen) -> None:
    screen.type("pot \t")
    screen.expect("fill  list  lock  new")
    screen.expect(f"{PROMPT}pot ")
    screen.type("list\n")
    screen.expect("Brown Bet")


def test_ctrl_c_ends_the_running_command_only(server: SshServing, screen: Screen) -> None:
    screen.type("tail mail_logs\n")
    screen.expect("ICID 30 TLS failed")
    server.do(lambda: server.services.write_log("Info: fresh line"))
    screen.expect("Info: fresh line")
    screen.type("\x03")
    screen.expect(f"^C\r\n{PROMPT}")
    assert server.ended().outcome == "cancelled"
    screen.type("half a li\x03")
    screen.expect(f"^C\r\n{PROMPT}")
    screen.type("version\n")
    screen.expect("1.2.3")


def test_ctrl_c_at_a_question_leaves_without_change(server: SshServing, screen: Screen) -> None:
    screen.type("pot new\n")
    screen.expect("Enter a name for this pot:")
    screen.expect("[]> ")
    screen.type("half\x03")
    screen.expect(PROMPT)
    assert server.ended().outcome == "cancelled"


def test_a_dialogue_asks_for_what_is_missing(screen: Screen) -> None:
    screen.type("pot\n")
    screen.expect("- NEW - Make a pot")
    screen.expect("[]> ")
    screen.type("new\n")
    screen.expect("Enter a name for this pot:")
    screen.type("\x1b[A\tKyusu\n")  # earlier commands are no answers
    screen.expect("[1]> ")
    screen.type("\n")
    screen.expect("Marks on its foot:")
    screen.type("\n")
    shown = screen.expect("Choose the operation")  # the menu, once more, behind what there is now
    assert "Name:    Kyusu\r\n" in shown
    assert "List of Pots" in shown
    screen.expect("[]> ")
    screen.type("\n")
    screen.expect(PROMPT)


def test_tab_completes_the_answer_to_a_question(screen: Screen) -> None:
    screen.type("pot\n")
    screen.expect("[]> ")
    screen.type("l\t")
    screen.expect("list  lock")
    screen.expect("[]> l")
    screen.type("oc\t\n")
    screen.expect("lock ")
    screen.expect("Passphrase: ")
    screen.type("\x03")
    screen.expect(PROMPT)
    screen.type("pot li\t")
    screen.expect("pot list ")


def test_passphrases_are_not_shown_and_not_in_the_history_and_neither_are_answers(screen: Screen) -> None:
    screen.type("pot lock\n")
    screen.expect("Passphrase: ")
    screen.type("hunter2\n")
    assert "hunter2" not in screen.expect("Once more: ")
    screen.type("hunter3\n")
    screen.expect("The two are not the same")
    screen.expect("Passphrase: ")
    screen.type("hunter2\n")
    screen.expect("Once more: ")
    screen.type("hunter2\n")
    assert "hunter2" not in screen.expect("Locked with 7 characters.")
    screen.expect(PROMPT)
    screen.type("pot lock --passphrase pass:hunter2\n")
    screen.expect(PROMPT)
    screen.type("pot lock --passphrase stdin\n")
    screen.expect("Passphrase: ")
    screen.type("secret99\n")
    assert "secret99" not in screen.expect(PROMPT)
    screen.type("pot new\n")
    screen.expect("[]> ")
    screen.type("Secretpot\n")
    screen.expect("]> ")
    screen.type("2\n")
    screen.expect("Marks on its foot:")
    screen.type("\n")
    screen.expect(PROMPT)
    screen.type("\x1b[A\x1b[A\x1b[A")
    screen.expect("pot lock --passphrase pass:***")
    screen.type("\x1b[A")
    screen.expect("pot lock")
    screen.type("\x1b[B\x1b[B\x1b[B")
    screen.expect("pot new")


def test_the_history_is_that_of_the_user_also_in_the_next_session(server: SshServing, screen: Screen) -> None:
    screen.type("grep 'ICID 30' mail_logs\n")
    screen.expect(PROMPT)
    screen.type("exit\n")
    assert screen.status() == 0
    with server.terminal() as later:
        later.expect(PROMPT)
        later.type("\x1b[A")
        later.expect("grep 'ICID 30' mail_logs")
        later.type("\n")
        later.expect("Info: ICID 30 TLS failed")


def test_tables_fit_into_the_window_also_after_it_was_resized(server: SshServing) -> None:
    with server.terminal(size=(40, 200)) as screen:
        screen.expect(PROMPT)
        screen.type("last\n")
        assert "Mon Feb 16 09:31:02 2026 UTC" in screen.expect(PROMPT)
        screen.resize(30, 60)
        server.await_width(60)
        screen.type("last\n")
        shown = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", screen.expect(PROMPT))
        assert max(map(len, shown.splitlines())) <= 60


def test_help_and_a_question_mark_say_what_there_is(screen: Screen) -> None:
    screen.type("?\n")
    assert "userconfig" in screen.expect(PROMPT)
    screen.type("help pot new\n")
    assert "How much it holds" in screen.expect(PROMPT)
    screen.type("pot new ?\n")
    assert "How much it holds" in screen.expect(PROMPT)


def test_a_file_to_be_written_is_shown(screen: Screen) -> None:
    screen.type("saveconfig mine.toml\n")
    shown = screen.expect("mine.toml was not written")
    assert 'hostname = "mx.example.com"' in shown
