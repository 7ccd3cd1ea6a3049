"""`logconfig` and `rollovernow`: logs of one's own, how long they are kept, where they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mxseal.commands import configuration, logconfig
from mxseal.commands.registry import Registry
from mxseal.commands.services import PushState
from mxseal.config.check import advice, check
from mxseal.config.subscriptions import wanted
from tests.commands.desk import Desk
from tests.commands.gateway import NOW, FakeServices

COMMANDS = Registry((logconfig, configuration))


class Services(FakeServices):
    def __init__(self) -> None:
        super().__init__()
        self.rolled: list[str] = []
        self.states: tuple[PushState, ...] = ()

    def roll_over(self, log: str) -> Sequence[str]:
        self.rolled.append(log)
        return [log]

    def pushes(self) -> Sequence[PushState]:
        return self.states


def desk(role: Any = "administrator", answers: Sequence[str] = ()) -> Desk:
    return Desk(COMMANDS, role, services=Services(), answers=answers)


async def test_the_logs_that_are_always_there_are_listed_with_what_holds_for_them() -> None:
    caller = desk("read-only")
    listed = await caller.ok("logconfig", "list")
    assert [(row["log_name"], row["level"], row["files"]) for row in listed] == [
        ("mail_logs", "Info", 10),
        ("json_logs", None, 10),
        ("authentication", "Info", 10),
        ("audit_logs", "Info", 10),
    ]


async def test_a_log_of_ones_own_is_made_changed_and_removed() -> None:
    caller = desk()
    await caller.ok("logconfig", "new", "debug_mail", "mail", "--level", "Debug", "--keep-files", "3")
    await caller.ok("logconfig", "edit", "debug_mail", "--filename", "debug", "--rotate-seconds", "86400")
    shown = await caller.ok("logconfig", "show", "debug_mail")
    assert (shown["level"], shown["files"]) == ("Debug", "logs/debug_mail/debug.@*")
    assert (shown["rotate_seconds"], shown["keep_files"], shown["keep_days"]) == ("1 days", 3, 90)
    assert check(caller.document) == []
    await caller.ok("logconfig", "delete", "debug_mail")
    assert "stay in logs/debug_mail" in caller.text
    assert caller.document.log_subscriptions == ()


async def test_a_log_that_is_always_there_is_changed_and_never_removed() -> None:
    caller = desk()
    await caller.ok("logconfig", "edit", "audit_logs", "--keep-days", "365")
    assert [entry.keep_days for entry in caller.document.log_subscriptions] == [365]
    await caller.ok("logconfig", "delete", "audit_logs")
    assert caller.document.log_subscriptions == ()
    assert "always there" in await caller.refused("logconfig", "delete", "audit_logs")
    assert {log.name for log in wanted(caller.document)} >= {"mail_logs", "authentication", "audit_logs"}


async def test_values_of_the_general_settings_come_back_with_default() -> None:
    caller = desk()
    await caller.ok("logconfig", "edit", "mail_logs", "--level", "Debug", "--keep-files", "2")
    await caller.ok("logconfig", "edit", "mail_logs", "--default")
    assert caller.document.log_subscriptions == ()
    await caller.ok("logconfig", "setup", "--keep-files", "5", "--json-log", "no", "--time", "utc")
    assert [(log.name, log.logs.keep_files) for log in wanted(caller.document)] == [
        ("mail_logs", 5), ("authentication", 5), ("audit_logs", 5),
    ]  # fmt: skip


async def test_the_dialogue_of_edit_asks_with_what_holds_now() -> None:
    caller = desk(answers=["debug", "", "", "", "20", ""])
    await caller.ok("logconfig", "edit", "mail_logs")
    (entry,) = caller.document.log_subscriptions
    assert (entry.level, entry.keep_files, entry.keep_days) == ("Debug", 20, None)
    assert caller.client.questions[0].endswith("3. Info\n4. Debug\n5. Trace [3]")


async def test_a_push_is_set_and_removed_and_changes_nothing_else_of_its_log() -> None:
    caller = desk()
    await caller.ok("logconfig", "edit", "mail_logs", "--keep-files", "4")
    await caller.ok("logconfig", "push", "set", "mail_logs", "Logs.Example.COM", "--format", "esa")
    assert "tls://logs.example.com:6514" in caller.text
    (entry,) = caller.document.log_subscriptions
    assert entry.push is not None
    assert (entry.keep_files, entry.push.format, entry.push.facility) == (4, "esa", "local4")
    assert advice(caller.document) == advice(FakeServices().history.current().document)
    await caller.ok("logconfig", "push", "remove", "mail_logs")
    assert [(entry.keep_files, entry.push) for entry in caller.document.log_subscriptions] == [(4, None)]
    assert "sent nowhere" in await caller.refused("logconfig", "push", "remove", "mail_logs")


async def test_what_is_sent_in_clear_text_beyond_this_machine_is_advised_against() -> None:
    caller = desk()
    await caller.ok("logconfig", "push", "set", "mail_logs", "192.0.2.9", "--transport", "udp")
    assert "clear text" in caller.text
    await caller.ok("logconfig", "push", "set", "mail_logs", "127.0.0.1", "--transport", "udp")
    assert "clear text" not in caller.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("logconfig", "new", "../../etc", "mail"), "can't be a log's name"),
        (("logconfig", "new", "mail_logs", "mail"), "already"),
        (("logconfig", "edit", "nothing", "--level", "Debug"), "There is no log called nothing"),
        (("logconfig", "edit", "mail_logs"), "Say what changes"),
        (("logconfig", "edit", "mail_logs", "--filename", "a/b"), "can't be a log's name"),
        (("logconfig", "push", "set", "mail_logs", "not a host"), "is not a domain name"),
        (("logconfig", "push", "set", "mail_logs", "h.example", "--facility", "mars"), "facility"),
        (("rollovernow", "nothing"), "There is no log called nothing"),
    ],
)
async def test_what_makes_no_sense_is_told_and_changes_nothing(words: tuple[str, ...], said: str) -> None:
    assert said in await desk().refused(*words)


async def test_rules_of_the_document_are_told_at_once() -> None:
    caller = desk()
    await caller.ok("logconfig", "push", "set", "mail_logs", "h.example", "--framing", "newline")
    assert "commit will refuse" in caller.text
    await caller.ok(
        "logconfig", "push", "set", "mail_logs", "h.example", "--transport", "tcp", "--certificate", "x"
    )
    paths = [problem.path for problem in check(caller.document)]
    assert paths == ["log_subscriptions.mail_logs.push.certificate"] * 2  # unknown, and no use without TLS


async def test_operators_roll_over_logs_of_mail_and_administrators_all() -> None:
    caller = desk("operator")
    done = await caller.ok("rollovernow")
    assert done["rolled_over"] == ["mail_logs", "json_logs"]
    assert "Only an administrator" in await caller.refused("rollovernow", "audit_logs")
    assert (await desk().ok("rollovernow"))["rolled_over"][-1] == "audit_logs"
    assert (await desk().ok("rollovernow", "AUDIT_logs"))["rolled_over"] == ["audit_logs"]


async def test_only_administrators_change_logs() -> None:
    assert await desk("operator").run("logconfig", "setup", "--keep-files", "1") == "refused"


async def test_the_status_says_how_sending_goes() -> None:
    caller = desk("read-only")
    await caller.ok("logconfig", "status")
    assert "No log is sent" in caller.text
    assert isinstance(caller.services, Services)
    caller.services.states = (
        PushState(
            log="mail_logs", server="tls://logs.example.com:6514", state="waiting", since=NOW, sent=10,
            waiting=4096, lost=7, problem="[Errno 61] Connection refused",
        ),
    )  # fmt: skip
    (row,) = await caller.ok("logconfig", "status")
    assert (row["lines_sent"], row["waiting_bytes"], row["lines_lost"]) == (10, 4096, 7)
    assert row["problem"] == "[Errno 61] Connection refused"
