"""`grep` and `tail` as commands: their options, their questions at a terminal, their pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mxseal.commands import logs
from mxseal.commands.registry import Registry
from mxseal.commands.results import Result, Stream
from mxseal.commands.running import Ended, Runner
from mxseal.logs.retained import file_path, logs_folder
from tests.commands.gateway import FakeClient, FakeServices, context

LINES = [f"line {number}" for number in range(1, 61)]


class LogServices(FakeServices):
    """Services with a home that has logs; nothing is written to them any more, so following ends."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.logs_home = home

    def log_wait(self) -> Callable[[], Awaitable[object]]:
        async def over() -> object:
            raise EOFError

        return over


class Desk:
    """Somebody who greps: at a terminal when there are answers."""

    def __init__(self, home: Path, *answers: str) -> None:
        self.client = FakeClient(answers=answers)
        self.chunks: list[str] = []
        self.shown: list[object] = []
        self._services = LogServices(home)

    async def run(self, *words: str) -> Ended:
        commands = Registry((logs,))
        caller = context(self._services, self.client, commands)
        return await Runner(commands, lambda _record: None).run(words, caller, self._deliver)

    async def _deliver(self, result: Result) -> None:
        assert isinstance(result, Stream)
        async for chunk in result.chunks:
            self.client.questions.append(f"shown {chunk.count(chr(10))}")
            self.chunks.append(chunk)
            self.shown.append(result.encode(chunk))

    @property
    def lines(self) -> list[str]:
        return "".join(self.chunks).splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, lines in (("json_logs", ["{}"]), ("mail_logs", [*LINES, "LINE LAST"])):
        folder = logs_folder(tmp_path) / name
        folder.mkdir(parents=True)
        file_path(folder, "mail", "20260216T093102", "current").write_text("".join(f"{x}\n" for x in lines))
    return tmp_path


@pytest.mark.parametrize("option", ["-C", "-c", "--context"])
async def test_context_is_given_in_upper_or_lower_case(home: Path, option: str) -> None:
    desk = Desk(home)
    assert (await desk.run("grep", option, "1", "line 30$", "mail_logs")).status == 0
    assert desk.lines == LINES[28:31]


async def test_options_combine_and_the_expression_may_begin_with_a_dash(home: Path) -> None:
    desk = Desk(home)
    assert (await desk.run("grep", "-i", "-v", "-e", "-|line [1-9]", "mail_logs")).status == 0
    assert desk.lines == ["LINE LAST"]


async def test_pages_stop_after_each_screenful_at_a_terminal(home: Path) -> None:
    desk = Desk(home, "", "", "")
    assert (await desk.run("grep", "-p", "line", "mail_logs")).status == 0
    assert desk.lines == LINES
    more = "-Press Any Key For More- []"
    assert desk.client.questions == ["shown 24", more, "shown 24", more, "shown 12"]


async def test_nothing_is_asked_behind_the_last_page(home: Path) -> None:
    desk = Desk(home, "unused")
    assert (await desk.run("grep", "-p", "line ([1-9]|1.|2[0-4])$", "mail_logs")).status == 0
    assert desk.client.questions == ["shown 24"]


async def test_pages_are_for_terminals_alone(home: Path) -> None:
    desk = Desk(home)
    assert (await desk.run("grep", "-p", "line", "mail_logs")).status == 0
    assert desk.lines == LINES


@pytest.mark.parametrize("log", ["2", "mail_logs"])
async def test_grep_alone_asks_for_the_log_and_how_to_search_it(home: Path, log: str) -> None:
    desk = Desk(home, log, "last", "", "", "", "")
    assert (await desk.run("grep")).status == 0
    assert desk.lines == ["LINE LAST"]
    table, *others = desk.client.questions
    assert table == (
        "     Log Name   Log Type         Retrieval        Interval\n"
        "  1. json_logs  JSON Event Logs  Manual Download  None\n"
        "  2. mail_logs  Text Mail Logs   Manual Download  None\n"
        "Enter the number of the log you wish to grep. []"
    )
    assert others[:5] == [
        "Enter the regular expression to grep. []",
        "Do you want this search to be case insensitive? [Y]",
        "Do you want to search for non-matching lines? [N]",
        "Do you want to tail the logs? [N]",
        "Do you want to paginate the output? [N]",
    ]


async def test_the_answers_of_grep_are_obeyed(home: Path) -> None:
    desk = Desk(home, "2", "line", "n", "y", "n", "y", "unused")
    assert (await desk.run("grep")).status == 0
    assert desk.lines == ["LINE LAST"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [("0", "no log number 0"), ("3", "1 to 2"), ("no_logs", "no_logs"), ("9" * 40, "no log number 999")],
)
async def test_a_log_that_there_is_not_is_told_and_asked_again(home: Path, answer: str, said: str) -> None:
    desk = Desk(home, answer, "2", "unused")
    await desk.run("tail", "-n", "1")
    assert said in desk.client.questions[1]
    assert desk.lines[-1] == "LINE LAST"


async def test_an_empty_line_chooses_no_log(home: Path) -> None:
    ended = await Desk(home, "", "unused").run("tail")
    assert (ended.status, ended.message) == (2, "No log was chosen")


async def test_a_search_that_finds_nothing_ends_with_status_1_and_no_word(home: Path) -> None:
    desk = Desk(home)
    ended = await desk.run("grep", "no such thing", "mail_logs")
    assert (ended.status, ended.outcome, ended.message, desk.chunks) == (1, "ok", "", [])


async def test_without_any_log_there_is_nothing_to_choose(tmp_path: Path) -> None:
    ended = await Desk(tmp_path, "1").run("tail")
    assert ended.message == "There are no logs yet"


@pytest.mark.parametrize("words", ["grep", "grep x", "grep -e x", "tail"])
async def test_without_a_terminal_missing_words_are_a_usage_error(home: Path, words: str) -> None:
    ended = await Desk(home).run(*words.split())
    assert (ended.status, ended.outcome) == (2, "usage")


async def test_tail_says_at_a_terminal_how_it_is_stopped(home: Path) -> None:
    desk = Desk(home, "2", "unused")
    await desk.run("tail", "-n", "2")
    assert desk.lines == ["Press Ctrl-C to stop.", "line 60", "LINE LAST"]
    assert desk.client.questions[0].endswith("Enter the number of the log you wish to tail. []")
    assert desk.shown[:2] == [{"note": "Press Ctrl-C to stop."}, {"lines": ["line 60", "LINE LAST"]}]


async def test_tail_in_a_pipe_has_the_lines_of_the_log_alone(home: Path) -> None:
    desk = Desk(home)
    await desk.run("tail", "-n", "1", "mail_logs")
    assert desk.lines == ["LINE LAST"]
