"""The caller's side does not obey a socket: what it reads, writes and shows is what was typed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mxseal.faces.client import NotRunning, NotTyped, Typed, connect, socket_path
from tests.faces.terminal import run, terminal

CONTENT = base64.b64encode(b"* * * * * root id\n").decode()


@contextmanager
def impostor(home: Path, *messages: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Something that listens in a home, says `messages` to one caller, and keeps what it answers."""
    path = socket_path(home)
    path.parent.mkdir(exist_ok=True)
    answers: list[dict[str, Any]] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rwb") as lines:
                lines.readline()
                for message in messages:
                    lines.write(json.dumps(message).encode() + b"\n")
                    lines.flush()
                    if not message.keys() & {"out", "err", "exit"}:
                        answers.append(json.loads(lines.readline()))

        thread = threading.Thread(target=serve)
        thread.start()
        yield answers
        thread.join(20)


def test_files_and_variables_that_nobody_named_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("root's secret")
    target = tmp_path / "cron"
    with impostor(
        tmp_path,
        {"read": {"path": str(tmp_path / "secret"), "limit": 100}},
        {"read": {"path": "-", "limit": 100}},
        {"write": {"path": str(target), "content": CONTENT, "private": False}},
        {"environment": "HOME"},
        {"paste": {"question": "Key:"}},
        {"exit": 0},
    ) as answers:
        assert run(tmp_path, "status", stdin=b"a key on its way\n").returncode == 0
    assert [list(answer) for answer in answers] == [["error"]] * 5
    assert "which was not named" in answers[0]["error"]
    assert not target.exists()


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("a.pem", "a.pem"),
        ("--output=a.pem", "a.pem"),
        ("file:a.pem", "a.pem"),
        ("--passphrase=file:a.pem", "a.pem"),
        ("-", "-"),
        ("stdin", "-"),
        ("--passphrase=stdin", "-"),
    ],
)
def test_a_file_may_be_asked_for_in_every_way_in_which_it_is_typed(word: str, path: str) -> None:
    assert Typed(["command", word]).file(path) == path
    for other in ("b.pem", "./a.pem", "/etc/shadow", "", "-" if path != "-" else "stdin:"):
        with pytest.raises(NotTyped):
            Typed(["command", word]).file(other)


def test_answers_at_the_terminal_count_as_typed() -> None:
    typed = Typed(["certconfig"])
    typed.answered("import new a.pem, b.pem")
    assert [typed.file(name) for name in ("a.pem", "b.pem")] == ["a.pem", "b.pem"]


def test_a_variable_is_told_only_when_env_names_it() -> None:
    typed = Typed(["HOME", "--passphrase=env:WORD"])
    assert typed.variable("WORD") == "WORD"
    with pytest.raises(NotTyped, match="'HOME', which was not named"):
        typed.variable("HOME")


def test_what_comes_does_not_steer_the_terminal_but_may_have_colours(tmp_path: Path) -> None:
    with (
        impostor(
            tmp_path,
            {"out": "\x1b]0;title\x07\tgo\x1b[2J \x1b[1;3"},  # a colour cut by the end of a piece
            {"out": "1mred\x1b[0m\n"},
            {"err": "back\x9b2K\r\n"},
            {"exit": 0},
        ),
        terminal(tmp_path, "status") as screen,
    ):
        shown = screen.expect("back").replace("\r\n", "\n")
        assert "\\x1b]0;title\\x07" in shown
        assert "go\\x1b[2J \x1b[1;31mred\x1b[0m\n" in shown
        screen.expect("\\x9b2K\\r")
        assert screen.status() == 0


def test_on_a_pipe_everything_comes_as_it_is(tmp_path: Path) -> None:
    with impostor(tmp_path, {"out": "\x1b]0;title\x07\n"}, {"exit": 0}):
        assert run(tmp_path, "status").stdout == b"\x1b]0;title\x07\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_does_not_talk_to_a_stranger_who_listens_in_a_home() -> None:
    home = Path(tempfile.mkdtemp())
    try:
        home.chmod(0o755)
        (home / "run").mkdir()
        (home / "run").chmod(0o777)
        said, say = os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(socket_path(home)))
            listening.listen()
            os.write(say, b"!")
            listening.accept()
            os._exit(0)
        os.read(said, 1)
        with pytest.raises(NotRunning, match="is of user 65534, who is neither root nor its owner"):
            connect(home)
        os.waitpid(child, 0)
        os.close(said)
        os.close(say)
    finally:
        shutil.rmtree(home)


def test_the_command_goes_on_where_everything_was_typed(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("leaves")
    with impostor(
        tmp_path,
        {"read": {"path": "in", "limit": 100}},
        {"write": {"path": "out", "content": CONTENT, "private": True}},
        {"exit": 0},
    ) as answers:
        assert run(tmp_path, "pot", "fill", "K", "in", "--save=out").returncode == 0
    assert answers == [{"content": base64.b64encode(b"leaves").decode()}, {}]
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
