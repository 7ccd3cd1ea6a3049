"""The local face over a real unix socket."""

from __future__ import annotations

import base64
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from mxseal.config.model import Listener, RecipientAccess
from mxseal.faces.client import Line, NotRunning, ask_gateway, connect, socket_path
from mxseal.faces.local import LARGEST_LINE
from tests.faces.serving import Serving, serving


def exchange(
    server: Serving, request: dict[str, Any], answers: list[dict[str, Any]] | None = None
) -> list[Any]:
    """All messages of one request; questions are answered from `answers`."""
    line = Line(connect(server.home))
    line.send(request)
    got = []
    waiting = list(answers or [])
    while (message := line.receive()) is not None:
        got.append(message)
        if not message.keys() & {"out", "err", "exit", "about", "completions"}:
            line.send(waiting.pop(0))
    line.close()
    return got


def output(messages: list[Any], channel: str = "out") -> str:
    return "".join(message.get(channel, "") for message in messages)


def test_words_give_text_and_an_exit_status(server: Serving) -> None:
    assert exchange(server, {"words": ["pot", "list"]}) == [
        {"out": "List of Pots\nName       Glaze  Litres  Signed\n---------  -----  ------  ------\n"
                "Brown Bet  brown     1.5  yes\nKyusu      -        0.35  no\n"},
        {"exit": 0},
    ]  # fmt: skip


def test_the_socket_is_for_the_owner_only(server: Serving) -> None:
    path = socket_path(server.home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_others_are_refused_even_when_they_reach_the_socket(server: Serving) -> None:
    path = socket_path(server.home)
    for folder in (path.parent, *path.parent.parents):
        if folder.stat().st_uid == 0 and folder not in (Path("/"), Path("/tmp")):
            folder.chmod(0o755)
    path.chmod(0o666)
    child = os.fork()
    if child == 0:  # a process of its own, as the right to be root is not taken back
        try:
            os.setuid(65534)
            got = exchange(server, {"words": ["version"]})
            os._exit(0 if got[-1] == {"exit": 77} and "owner" in output(got, "err") else 1)
        except OSError:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_json_is_wanted_by_the_request_or_by_a_word(server: Serving) -> None:
    for request in ({"words": ["version"], "json": True}, {"words": ["version", "--json"]}):
        assert json.loads(output(exchange(server, request)))["version"] == "1.2.3"


def test_failures_go_to_the_error_channel_or_are_json(server: Serving) -> None:
    got = exchange(server, {"words": ["pto"]})
    assert got == [{"err": "There is no command 'pto'. Did you mean 'pot'?\n"}, {"exit": 2}]
    got = exchange(server, {"words": ["pto"], "json": True})
    assert json.loads(output(got)) == {"error": "There is no command 'pto'. Did you mean 'pot'?"}
    server.services.edit("local:root", default_policy="NONE")
    got = exchange(server, {"words": ["commit"], "session": ""})
    assert output(got, "err").startswith(
        "Nothing was committed:\n- default_policy: there is no mail flow policy"
    )


def test_files_are_asked_from_the_caller_and_given_to_it(server: Serving) -> None:
    leaves = {"content": base64.b64encode("grün".encode()).decode()}
    got = exchange(server, {"words": ["pot", "fill", "K", "leaves", "--save", "out"]}, [leaves, {}])
    assert got[0] == {"read": {"path": "leaves", "limit": 4 << 20}}
    assert base64.b64decode(got[1]["write"].pop("content")).decode() == "K: grün in 0 bytes"
    assert got[1:] == [
        {"write": {"path": "out", "private": True}}, {"out": "Poured into out.\n"}, {"exit": 0},
    ]  # fmt: skip
    got = exchange(server, {"words": ["pot", "fill", "K", "leaves"]}, [{"error": "leaves: Is a directory"}])
    assert got[1:] == [{"err": "leaves: Is a directory.\n"}, {"exit": 1}]


def test_passphrases_are_asked_and_never_come_back(server: Serving) -> None:
    got = exchange(server, {"words": ["pot", "lock"], "interactive": True}, [{"answer": "hunter2"}])
    assert got[0] == {"secret": {"question": "Passphrase:", "repeat": True}}
    got = exchange(server, {"words": ["pot", "lock", "--passphrase", "pass:hunter2"]})
    assert got[-1] == {"exit": 0, "line": "pot lock --passphrase pass:***"}
    assert "hunter2" not in str(server.records)


def test_a_stream_comes_piece_by_piece_and_cancel_ends_it(server: Serving) -> None:
    line = Line(connect(server.home))
    line.send({"words": ["drip"]})
    assert line.receive() == {"out": "drop 1\n"}
    line.send({"cancel": True})
    assert line.receive() == {"exit": 130}
    assert server.ended().outcome == "cancelled"
    line.close()


def test_a_caller_that_goes_away_ends_its_command(server: Serving) -> None:
    line = Line(connect(server.home))
    line.send({"words": ["drip"]})
    line.receive()
    line.close()
    assert server.ended().outcome == "cancelled"


def test_a_caller_that_does_not_read_is_not_waited_for_in_memory_and_may_go(server: Serving) -> None:
    connection = connect(server.home)
    connection.sendall(b'{"words": ["flood"]}\n')
    connection.recv(10)
    connection.close()
    assert server.ended().outcome == "cancelled"


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"GET / HTTP/1.0\n", "this is not a request"),
        (b'{"words": "version"}\n', "this is not a request"),
        (b'{"words": ["version"], "session": "a/b"}\n', "a session's name"),
        (b"\xff\xfe\n", "this is not a request"),
    ],
)
def test_what_is_not_a_request_is_refused(server: Serving, sent: bytes, said: str) -> None:
    connection = connect(server.home)
    connection.sendall(sent)
    line = Line(connection)
    told = line.receive()
    assert told is not None
    assert said in told["err"]
    assert line.receive() == {"exit": 2}
    connection.close()


def test_a_request_without_end_is_refused_and_bounded(server: Serving) -> None:
    connection = connect(server.home)
    line = Line(connection)
    try:
        connection.sendall(b"x" * (LARGEST_LINE * 2 + 10))
    except ConnectionError:
        pass  # the gateway need not take it to the end
    told = line.receive()
    assert told is None or "larger than 8 MiB" in told["err"]
    connection.close()
    assert exchange(server, {"words": ["version"]})[-1] == {"exit": 0}


def test_an_answer_that_nobody_asked_for_ends_the_command(server: Serving) -> None:
    line = Line(connect(server.home))
    line.send({"words": ["drip"]})
    line.receive()
    line.send({"answer": "yes"})
    assert line.receive() == {"exit": 130}
    line.close()


def test_many_callers_are_served_at_once(server: Serving) -> None:
    lines = [Line(connect(server.home)) for _ in range(20)]
    for line in lines:
        line.send({"words": ["drip"]})
    assert [line.receive() for line in lines] == [{"out": "drop 1\n"}] * 20
    assert exchange(server, {"words": ["version"]})[-1] == {"exit": 0}
    for line in lines:
        line.close()


def test_two_sessions_of_one_person_have_their_own_changes_and_meet_at_commit(server: Serving) -> None:
    user = json.loads(output(exchange(server, {"words": ["whoami", "--json"]})))["user"]
    server.services.edit(f"local:{user}/a", recipient_access=RecipientAccess(domains=("example.com",)))
    server.services.edit(f"local:{user}/b", listeners=(Listener(name="IncomingMail", port=2600),))

    def run(session: str, *words: str) -> list[Any]:
        return exchange(server, {"words": list(words), "session": session})

    assert "recipient_access.domains" in output(run("a", "showchanges"))
    assert "no uncommitted changes" in output(run("", "showchanges"))
    assert run("b", "commit", "port")[-1] == {"exit": 0}
    got = run("a", "commit")
    assert got[-1] == {"exit": 1}
    assert f'came revision 2 by {user} "port"' in output(got, "err")
    assert run("a", "rebasechanges")[-1] == run("a", "commit")[-1] == {"exit": 0}
    assert server.services.history.current().document.listeners[0].port == 2600


def test_completions_and_the_host_name_are_told(server: Serving) -> None:
    assert ask_gateway(server.home, {"about": True})["about"] == {
        "hostname": "mx.example.com", "version": "1.2.3",
    }  # fmt: skip
    found = ask_gateway(server.home, {"complete": {"words": ["pot", "fill"], "incomplete": "K"}})
    assert found["completions"] == [["plain", "Kyusu", ""]]


def test_no_gateway_is_a_sentence_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"No gateway is running in .* Start it with"):
        connect(tmp_path)
    with pytest.raises(NotRunning, match=r"There is no home in .* 'mxseal init'"):
        connect(tmp_path / "absent")


def test_a_socket_that_a_killed_gateway_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with serving(tmp_path) as server:
        assert exchange(server, {"words": ["version"]})[-1] == {"exit": 0}
    assert not path.exists()


def test_a_home_with_a_long_path_works_all_the_same(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 40)
    home.mkdir()
    with serving(home) as server:
        assert exchange(server, {"words": ["version"]})[-1] == {"exit": 0}


def test_stopping_ends_the_commands_that_run_and_tells_their_callers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path) as server:
        line = Line(connect(tmp_path))
        line.send({"words": ["drip"]})
        assert line.receive() == {"out": "drop 1\n"}
    assert server.records[-1].outcome == "cancelled"
    assert [line.receive(), line.receive()] == [{"err": "The gateway is stopping.\n"}, {"exit": 69}]
    assert line.receive() is None
    assert caplog.text == ""
    line.close()
