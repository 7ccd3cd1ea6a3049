"""The log of logins, in the words of the reference (§4.8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mxseal.clock import ManualClock
from mxseal.config.model import Document, Logs
from mxseal.events.types import Event, LoggedOut, LoginFailed, LoginsHeldBack, LoginSucceeded
from mxseal.logs.retained import retained
from mxseal.sinks.authlog import TABLE
from mxseal.sinks.files import Surroundings
from mxseal.sinks.logs import LogSinks
from mxseal.sinks.maillog import SILENT, Renderer

AT = 1_771_096_828.0
UTC = Logs(time="utc")


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            LoginSucceeded(
                at=AT, user="eve", role="read-only", remote="1.2.3.4", face="web", method="password"
            ),
            (
                "Info: The user eve successfully logged on from 1.2.3.4 with privilege read-only using an "
                "HTTPS connection."
            ),
        ),
        (
            LoginFailed(at=AT, user="admin", remote="1.2.3.4", face="ssh", method="password", reason="wrong"),
            "Info: An authentication attempt by the user admin from 1.2.3.4 failed using an SSH connection.",
        ),
        (
            LoggedOut(at=AT, user="admin", remote="1.2.3.4", face="ssh", ending=""),
            "Info: User admin logged out of SSH session 1.2.3.4",
        ),
        (
            LoginsHeldBack(at=AT, user="", remote="1.2.3.4", face="ssh", seconds=300.0),
            "Warning: Too many failures: no password from 1.2.3.4 is looked at for 300 seconds.",
        ),
    ],
)
def test_each_line_is_that_of_the_reference(event: Event, line: str) -> None:
    assert Renderer(UTC, TABLE).render(event).decode() == f"Sat Feb 14 19:20:28 2026 {line}\n"


def test_what_a_stranger_types_as_a_name_stays_one_short_line() -> None:
    name = "x\nSat Feb 14 19:20:28 2026 Info: The user admin successfully logged on" * 3
    event = LoginFailed(at=AT, user=name, remote="1.2.3.4", face="ssh", method="password", reason="")
    line = Renderer(UTC, TABLE).render(event).decode()
    assert line.count("\n") == 1
    assert len(line) < 250


def test_logins_are_in_their_own_log_and_not_in_that_of_mail(tmp_path: Path) -> None:
    assert set(TABLE) <= SILENT
    logs = LogSinks(Surroundings(tmp_path, ManualClock(AT), lambda call: call()), "SN", Document(logs=UTC))
    logs.open()
    event = LoggedOut(at=AT, user="admin", remote="1.2.3.4", face="ssh", ending="idle")
    for sink in logs.sinks:
        sink.handle(event)
    logs.close()
    names = ("mail_logs", "json_logs", "authentication")
    texts = {name: retained(tmp_path / "logs" / name)[0].path.read_text() for name in names}
    assert texts["authentication"].endswith("User admin logged out of SSH session 1.2.3.4 (idle)\n")
    assert texts["authentication"].count("Begin Logfile") == 1
    assert "logged out" not in texts["mail_logs"]
    assert '"event":"LoggedOut"' in texts["json_logs"]


def test_a_process_that_keeps_no_logs_begins_no_log_of_logins(tmp_path: Path) -> None:
    around = Surroundings(tmp_path, ManualClock(AT), lambda call: call(), keeper=False)
    logs = LogSinks(around, "SN", Document(logs=UTC))
    logs.open()
    logs.close()
    assert not (tmp_path / "logs" / "authentication").exists()
