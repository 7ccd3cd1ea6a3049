"""Log files: framing, rotation, retention, crashes and disks that refuse."""

from __future__ import annotations

import base64
import errno
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from mxseal.clock import ManualClock
from mxseal.config.model import Document, Logs
from mxseal.config.subscriptions import wanted
from mxseal.events import types as facts
from mxseal.logs.retained import retained
from mxseal.sinks.files import KEPT_BYTES, LogFile, Surroundings
from mxseal.sinks.jsonlog import JsonLog, encode
from mxseal.sinks.maillog import TextLog
from mxseal.tls.facts import TlsFault

UTC = Logs(time="utc", rotate_bytes=4096)


class Turn:
    """The end of an event loop's turn, when the test says so."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def __call__(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def end(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Framed:
    """A head and a foot that a test can tell from lines."""

    def head(self, at: float) -> bytes:
        return b"HEAD %d\n" % at

    def foot(self, at: float) -> bytes:
        return b"FOOT %d\n" % at


class Place:
    """A home with a log file."""

    def __init__(self, home: Path, logs: Logs = UTC) -> None:
        self.home, self.logs = home, logs
        self.clock, self.turn = ManualClock(), Turn()
        self.around = Surroundings(home, self.clock, self.turn)
        self.file = self.started()

    def started(self) -> LogFile:
        file = LogFile("mail_logs", "mail", Framed(), self.logs, self.around)
        file.open()
        return file

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.file.write(line)
        self.turn.end()

    @property
    def names(self) -> list[str]:
        return [entry.path.name for entry in retained(self.file.folder)]

    def contents(self) -> list[bytes]:
        return [entry.path.read_bytes() for entry in retained(self.file.folder)]

    def lines(self) -> list[bytes]:
        """All lines of all files without heads and feet."""
        found = b"".join(self.contents()).splitlines()
        return [line for line in found if not line.startswith((b"HEAD", b"FOOT"))]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.file.close()


def test_a_new_log_is_a_current_file_named_by_its_moment_and_beginning_with_its_head(place: Place) -> None:
    assert place.names == ["mail.@20260214T192028.current"]
    assert place.contents() == [b"HEAD 1771096828\n"]


def test_lines_of_one_turn_are_written_together_at_its_end(place: Place) -> None:
    place.file.write(b"one\n")
    place.file.write(b"two\n")
    assert place.lines() == []
    assert len(place.turn.calls) == 1
    place.turn.end()
    assert place.lines() == [b"one", b"two"]


def test_a_file_that_is_full_is_ended_saved_and_followed_by_a_new_one(place: Place) -> None:
    place.say(b"x" * 5000 + b"\n")
    place.clock.advance(60)
    place.say(b"next\n")
    assert place.names == ["mail.@20260214T192028.s", "mail.@20260214T192029.current"]
    full, current = place.contents()
    assert full == b"HEAD 1771096828\n" + b"x" * 5000 + b"\nFOOT 1771096828\n"
    assert current == b"HEAD 1771096828\nnext\n"


def test_files_keep_their_order_when_the_clock_is_set_back(place: Place) -> None:
    place.say(b"first\n")
    place.clock.advance(-7200)
    place.file.rotate()
    place.say(b"second\n")
    place.file.rotate()
    place.say(b"third\n")
    assert place.lines() == [b"first", b"second", b"third"]
    assert [name.split(".")[-1] for name in place.names] == ["s", "s", "current"]


def test_only_so_many_files_are_kept(place: Place) -> None:
    place.file.configure(Logs(time="utc", keep_files=3))
    for number in range(6):
        place.say(b"%d\n" % number)
        place.file.rotate()
    assert len(place.names) == 3
    assert place.lines() == [b"4", b"5"]


def test_files_that_were_last_written_too_long_ago_are_deleted_but_never_the_current_one(
    place: Place,
) -> None:
    place.say(b"old\n")
    place.file.rotate()
    for entry in retained(place.file.folder):
        os.utime(entry.path, (0, place.clock.now() - 91 * 86400))
    place.file.configure(UTC)
    assert len(place.names) == 1
    assert place.lines() == []


def test_a_restart_goes_on_with_the_current_file(place: Place) -> None:
    place.say(b"before\n")
    place.file.close()
    place.file = place.started()
    place.say(b"after\n")
    assert place.contents() == [b"HEAD 1771096828\nbefore\nafter\n"]


def test_a_line_that_a_crash_cut_is_ended_so_that_the_next_stands_alone(place: Place) -> None:
    place.file.close()
    path = retained(place.file.folder)[0].path
    path.write_bytes(b"HEAD 1\nwhole\nto")
    place.file = place.started()
    place.say(b"after\n")
    assert place.lines() == [b"whole", b"to", b"after"]


def test_a_crash_between_saving_and_beginning_leaves_a_log_that_starts(place: Place) -> None:
    place.say(b"before\n")
    place.file.close()
    path = retained(place.file.folder)[0].path
    path.rename(path.with_suffix(".s"))
    place.file = place.started()
    place.say(b"after\n")
    assert place.lines() == [b"before", b"after"]
    assert [name.split(".")[-1] for name in place.names] == ["s", "current"]


def test_a_log_that_was_moved_away_is_begun_anew_when_it_is_reopened(place: Place) -> None:
    place.say(b"before\n")
    path = retained(place.file.folder)[0].path
    path.rename(place.home / "moved")
    place.file.reopen()
    place.say(b"after\n")
    assert place.lines() == [b"after"]
    assert b"before\n" in (place.home / "moved").read_bytes()


def test_a_home_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("not a folder")
    with pytest.raises(OSError, match="logs"):
        Place(tmp_path)


def test_a_disk_that_refuses_keeps_the_lines_and_says_that_the_log_is_not_ready(place: Place) -> None:
    place.say(b"one\n")
    writable = place.file._descriptor
    # /dev/full answers each write with ENOSPC.
    place.file._descriptor = os.open("/dev/full", os.O_WRONLY)
    place.say(b"two\n")
    assert place.file.error is not None
    assert place.file.error.errno == errno.ENOSPC
    assert not place.file.ready()
    place.file.write(b"three\n")
    os.close(place.file._descriptor)
    place.file._descriptor = writable
    place.file.retry()
    assert place.file.ready()
    assert place.lines() == [b"one", b"two", b"three"]


def test_a_line_of_which_a_part_was_written_comes_again_whole(place: Place) -> None:
    place.say(b"one\n")
    size = retained(place.file.folder)[0].path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        place.say(b"two which is longer than ten bytes\n", b"three\n")
        assert place.file.error is not None
        assert place.lines() == [b"one", b"two which "]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    place.say(b"four\n")
    assert place.file.ready()
    assert place.lines() == [
        b"one",
        b"two which ",
        b"two which is longer than ten bytes",
        b"three",
        b"four",
    ]


def test_a_log_that_holds_too_much_is_not_ready_until_it_is_written(place: Place) -> None:
    place.file.write(b"x" * KEPT_BYTES + b"\n")
    assert not place.file.ready()
    place.turn.end()
    assert place.file.ready()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs privileges that this machine does not give")
    yield folder
    # Lazily, for a test that failed with a file open.
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_and_is_emptied_loses_no_line_and_doubles_none(small_disk: Path) -> None:
    place = Place(small_disk, Logs(time="utc", rotate_bytes=16384, keep_files=100))
    expected: list[bytes] = []
    refused = 0
    for number in range(3000):
        line = b"%06d %s" % (number, b"x" * 40)
        expected.append(line)
        place.say(line + b"\n")
        if not place.file.ready():
            refused += 1
            if refused % 50 == 0:
                # An operator makes room: all saved files but the newest go elsewhere.
                for entry in retained(place.file.folder)[:-1]:
                    moved = place.home.parent / entry.path.name
                    moved.write_bytes(entry.path.read_bytes())
                    entry.path.unlink()
                place.file.retry()
    assert refused >= 100
    for entry in retained(place.file.folder):
        if not entry.current:
            (place.home.parent / entry.path.name).write_bytes(entry.path.read_bytes())
            entry.path.unlink()
    place.file.retry()
    place.file.rotate()
    assert place.file.ready()
    place.file.close()
    files = sorted(
        [*place.home.parent.glob("mail.@*"), *place.file.folder.iterdir()], key=lambda path: path.name
    )
    lines = b"".join(path.read_bytes() for path in files).splitlines()
    assert [line for line in lines if not line.startswith((b"HEAD", b"FOOT"))] == expected
    # No line is cut: each file holds whole lines between its head and its foot.
    for path in files[:-1]:
        assert path.read_bytes().startswith(b"HEAD ")
        assert path.read_bytes().splitlines()[-1].startswith(b"FOOT ")


def test_mail_logs_begin_and_end_as_the_reference_s(tmp_path: Path) -> None:
    place = Place(tmp_path / "unused")
    place.file.close()
    around = Surroundings(tmp_path, place.clock, place.turn)
    log = TextLog(
        around, wanted(Document(logs=UTC))[0], version="0.1.0", serial="421F6D8FB9C75E19C425-C9AEA81B2B70"
    )
    log.file.open()
    log.handle(facts.ConnectionLost(at=place.clock.now(), icid=7))
    log.file.rotate()
    log.file.close()
    assert retained(log.file.folder)[0].path.read_text().splitlines() == [
        "Sat Feb 14 19:20:28 2026 Info: Begin Logfile",
        "Sat Feb 14 19:20:28 2026 Info: Version: 0.1.0 SN: 421F6D8FB9C75E19C425-C9AEA81B2B70",
        "Sat Feb 14 19:20:28 2026 Info: Time offset from UTC: 0 seconds",
        "Sat Feb 14 19:20:28 2026 Info: ICID 7 lost",
        "Sat Feb 14 19:20:28 2026 Info: End Logfile",
    ]


def test_each_line_of_the_json_log_is_an_event(tmp_path: Path) -> None:
    place = Place(tmp_path / "unused")
    place.file.close()
    json_log = wanted(Document(logs=Logs(headers=False)))[1]
    log = JsonLog(Surroundings(tmp_path, place.clock, place.turn), json_log)
    log.file.open()
    log.handle(facts.ConnectionLost(at=1.5, icid=7))
    log.handle(
        facts.MessageReceived(
            at=2.0, mid=1, icid=7, size=3, sender="", message_id=None, subject="secret", direction="inbound"
        )
    )
    assert log.ready()
    log.file.rotate()
    log.file.close()
    events = [json.loads(line) for line in retained(log.file.folder)[0].path.read_text().splitlines()]
    assert events[0] == {"event": "ConnectionLost", "at": 1.5, "icid": 7}
    assert events[1]["subject"] is None


def test_of_a_faults_certificates_the_json_log_has_the_leaf_unless_it_is_huge() -> None:
    def told(*certificates: bytes) -> list[str]:
        fault = TlsFault(kind="local-error", peer_certificates=certificates)
        event = facts.OutboundTlsFailed(
            at=1.0, dcid=1, domain="lab.test", host="mx", required=True, reason="handshake", fault=fault
        )
        inbound = facts.InboundTlsFailed(at=1.0, icid=1, fault=fault)
        found = [json.loads(encode(one))["fault"]["peer_certificates"] for one in (event, inbound)]
        assert found[0] == found[1]
        return cast("list[str]", found[0])

    assert told(b"leaf", b"x" * 100_000) == [base64.b64encode(b"leaf").decode()]
    assert told(b"x" * 4097, b"issuer") == []
    assert told() == []


def test_those_who_follow_are_told_when_lines_are_on_disk(tmp_path: Path) -> None:
    seen: list[bytes] = []
    place = Place(tmp_path)
    place.file.close()
    place.around = Surroundings(
        tmp_path, place.clock, place.turn, written=lambda: seen.append(b"".join(place.contents()))
    )
    place.file = place.started()
    place.say(b"line\n")
    assert seen[-1].endswith(b"line\n")
    place.file.close()
