"""Logs that come and go with the document, their rotation by time, and the log of what administrators do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mxseal.clock import ManualClock
from mxseal.config.model import Document, SyslogPush
from mxseal.config.subscriptions import wanted
from mxseal.events import EVENT_TYPES
from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.logs.retained import retained
from mxseal.sinks.auditlog import TABLE
from mxseal.sinks.files import Surroundings
from mxseal.sinks.logs import LogSinks
from mxseal.sinks.maillog import Renderer
from mxseal.sinks.syslog import LONGEST, Messages

AT = 1_771_096_828.0
LOST = facts.ConnectionLost(at=AT, icid=7)


class Home:
    def __init__(self, root: Path, *subscriptions: dict[str, Any], keeper: bool = True) -> None:
        self.root = root
        self.clock = ManualClock(AT)
        around = Surroundings(root, self.clock, lambda call: call(), keeper=keeper)
        self.logs = LogSinks(around, "SN", document(*subscriptions))
        self.logs.open()

    def say(self, event: Event = LOST) -> None:
        for sink in self.logs.sinks:
            sink.handle(event)

    def text(self, log: str) -> str:
        return "".join(entry.path.read_text() for entry in retained(self.root / "logs" / log))

    def files(self, log: str) -> int:
        return len(retained(self.root / "logs" / log))


def document(*subscriptions: dict[str, Any]) -> Document:
    return Document.model_validate({"logs": {"time": "utc"}, "log_subscriptions": subscriptions})


def test_a_log_is_written_from_the_commit_that_adds_it_to_the_one_that_removes_it(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.say()
    second = document({"name": "second", "kind": "mail", "filename": "other", "level": "Warning"})
    assert home.logs.prepare(second) == []
    home.logs.configure(second)
    home.say()
    home.say(facts.StorageTrouble(at=AT, what="queue", error="No space left"))
    home.logs.configure(document())
    home.say(facts.StorageTrouble(at=AT, what="again", error="No space left"))
    assert home.text("mail_logs").count("ICID 7 lost") == 2
    assert "ICID" not in home.text("second")
    assert home.text("second").count("No space left") == 1
    assert [entry.path.name for entry in retained(tmp_path / "logs" / "second")] == [
        "other.@20260214T192028.current"
    ]


def test_a_log_whose_kind_changes_begins_anew_in_the_same_folder(tmp_path: Path) -> None:
    home = Home(tmp_path, {"name": "second", "kind": "mail"})
    home.logs.configure(document({"name": "second", "kind": "json"}))
    home.say()
    assert '"event":"ConnectionLost"' in home.text("second")


def test_a_log_whose_folder_can_not_be_made_is_a_problem_of_the_commit(tmp_path: Path) -> None:
    home = Home(tmp_path)
    (tmp_path / "logs" / "taken").write_text("a file")
    (problem,) = home.logs.prepare(document({"name": "taken", "kind": "mail"}))
    assert problem.path == "log_subscriptions.taken"


def test_a_file_that_is_old_enough_is_saved_unless_it_is_empty(tmp_path: Path) -> None:
    home = Home(tmp_path, {"name": "mail_logs", "kind": "mail", "rotate_seconds": 3600})
    home.clock.advance(7200)
    assert home.files("mail_logs") == 1
    home.say()
    assert home.files("mail_logs") == 2  # the line found that it is time
    home.say()
    home.clock.advance(3500)
    assert home.files("mail_logs") == 2
    home.clock.advance(200)
    assert home.files("mail_logs") == 3
    assert home.files("json_logs") == 1


def test_one_log_is_rolled_over_or_all_are(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.say()
    assert home.logs.rotate("mail_logs") == ["mail_logs"]
    assert (home.files("mail_logs"), home.files("json_logs")) == (2, 1)
    assert len(home.logs.rotate()) == 4
    assert (home.files("mail_logs"), home.files("json_logs")) == (3, 2)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            facts.CommandRun(
                at=AT, user="eve", role="operator", face="ssh", remote="192.0.2.7",
                words=("commit", "two words"), outcome="ok",
            ),
            (
                "Info: User: eve, Privilege: operator, Source: 192.0.2.7, Face: ssh, Command: commit 'two "
                "words', Outcome: ok"
            ),
        ),
        (
            facts.CommandRun(
                at=AT, user="eve", role="read-only", face="ssh", remote="192.0.2.7", words=("restart",),
                outcome="refused", message="not allowed",
            ),
            (
                "Warning: User: eve, Privilege: read-only, Source: 192.0.2.7, Face: ssh, Command: restart, "
                "Outcome: refused (not allowed)"
            ),
        ),
        (
            facts.ConfigurationCommitted(at=AT, revision=7, user="eve", comment="for the bank"),
            "Info: User: eve, Configuration revision 7 is in force: for the bank",
        ),
        (
            facts.LoginFailed(
                at=AT, user="x\n" * 99, remote="192.0.2.7", face="ssh", method="password", reason="wrong"
            ),
            "Warning: User: " + "x\\n" * 31 + ", Login by password failed: wrong",
        ),
    ],
)  # fmt: skip
def test_who_did_what_from_where_is_a_line_of_the_audit_log(event: Event, line: str) -> None:
    rendered = Renderer(document().logs, TABLE).render(event).decode()
    assert rendered.count("\n") == 1
    assert rendered.startswith(f"Sat Feb 14 19:20:28 2026 {line[:80]}")
    assert rendered.endswith(f"{line[-20:]}\n")


def test_whatever_administrators_do_is_in_the_audit_log_and_stays_when_the_json_log_is_off(
    tmp_path: Path,
) -> None:
    about_people = {
        kind for kind in EVENT_TYPES if {"user", "face"} <= set(kind.__struct_fields__)
    } | {facts.ConfigurationCommitted}  # fmt: skip
    assert about_people == set(TABLE)
    home = Home(tmp_path)
    off = Document.model_validate({"logs": {"json_log": False}})
    home.logs.configure(off)
    home.say(facts.ConfigurationCommitted(at=AT, revision=2, user="eve", comment=""))
    assert "User: eve, Configuration revision 2 is in force" in home.text("audit_logs")
    assert "Configuration" not in home.text("json_logs")


def test_workers_write_no_log_about_administrators(tmp_path: Path) -> None:
    Home(tmp_path, {"name": "more", "kind": "audit"}, keeper=False)
    assert not (tmp_path / "logs" / "audit_logs").exists()
    assert not (tmp_path / "logs" / "more").exists()


# --- messages ---------------------------------------------------------------------------------------------


def messages(line: str, kind: str = "mail", **push: Any) -> bytes:
    log = wanted(document({"name": "a_log", "kind": kind}))[-1]
    made = Messages(log, SyslogPush.model_validate({"host": "h.example"} | push), "esa.example.com")
    data, count = made.frames(line.encode(), AT)
    assert count == 1
    return data


def test_a_json_line_has_the_time_of_its_event() -> None:
    sent = messages('{"event":"ConnectionLost","at":1771096829.5,"icid":7}\n', "json", transport="tcp")
    assert sent == (
        b"<166>1 2026-02-14T19:20:29Z esa.example.com mxseal - a_log - "
        b'{"event":"ConnectionLost","at":1771096829.5,"icid":7}\n'
    )


def test_no_sign_of_a_stranger_begins_another_message() -> None:
    line = '{"event":"MessageReceived","at":1771096829.5,"subject":"a\u2028b\u0085c\x0cd"}\n'
    assert messages(line, "json", transport="tcp").count(b"<166>") == 1


@pytest.mark.parametrize("kind", ["mail", "json"])
def test_what_is_left_of_a_line_that_was_cut_is_sent_with_the_time_of_now(kind: str) -> None:
    sent = messages("the end of a line\n", kind, transport="tcp")
    assert sent == b"<166>1 2026-02-14T19:20:28Z esa.example.com mxseal - a_log - the end of a line\n"


def test_no_message_is_longer_than_receivers_take() -> None:
    stamp = "Sat Feb 14 19:20:28 2026 Info: "
    sent = messages(stamp + "ü" * LONGEST + "\n", transport="tcp").rstrip(b"\n")
    assert LONGEST - 2 <= len(sent) <= LONGEST
    assert sent.decode().endswith("ü...")


def test_severities_follow_levels() -> None:
    stamp = "Sat Feb 14 19:20:28 2026"
    found = [
        messages(f"{stamp} {level}: x\n", transport="tcp", format="esa")[:5]
        for level in ("Critical", "Warning", "Info", "Debug", "Trace")
    ]
    assert found == [b"<162>", b"<164>", b"<166>", b"<167>", b"<167>"]
