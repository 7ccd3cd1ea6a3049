"""tail: the last lines, then each new one, across rotations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from mxseal.clock import ManualClock
from mxseal.config.model import Logs
from mxseal.logs.follow import CHUNK, Bell, Follower, polling, tail
from mxseal.logs.retained import UnknownLog
from mxseal.sinks.files import LogFile, Surroundings


class Bare:
    """No head and no foot."""

    def head(self, _at: float) -> bytes:
        return b""

    def foot(self, _at: float) -> bytes:
        return b""


class Place:
    """A home with a log that rings a bell."""

    def __init__(self, home: Path) -> None:
        self.home, self.clock, self.bell = home, ManualClock(), Bell()
        around = Surroundings(home, self.clock, lambda call: call(), self.bell.ring)
        self.file = LogFile("mail_logs", "mail", Bare(), Logs(time="utc", keep_files=4), around)
        self.file.open()

    def say(self, *lines: bytes) -> None:
        for line in lines:
            self.file.write(line + b"\n")

    def follow(self, lines: int = 10) -> AsyncIterator[bytes]:
        return tail(self.home, "mail_logs", wait=self.bell.listener(), lines=lines)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def test_the_last_lines_come_first_then_each_new_one(place: Place) -> None:
    place.say(*(b"%d" % number for number in range(20)))
    stream = place.follow(3)
    assert await anext(stream) == b"17\n18\n19\n"
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    place.say(b"20")
    assert await waiting == b"20\n"


async def test_the_last_lines_are_looked_for_in_older_files_too(place: Place) -> None:
    for number in range(3):
        place.say(b"%d" % number)
        place.file.rotate()
    assert await collected(place.follow(2), 2) == [b"1", b"2"]
    assert await collected(place.follow(50), 3) == [b"0", b"1", b"2"]


async def collected(stream: AsyncIterator[bytes], count: int) -> list[bytes]:
    lines: list[bytes] = []
    while len(lines) < count:
        lines += (await anext(stream)).splitlines()
    return lines


async def test_following_goes_on_in_the_next_file_and_misses_no_line(place: Place) -> None:
    place.say(b"0")
    stream = place.follow()
    assert await anext(stream) == b"0\n"
    waiting = asyncio.ensure_future(collected(stream, 4))
    await asyncio.sleep(0)
    place.say(b"1")
    place.file.rotate()
    place.say(b"2")
    place.file.rotate()
    place.file.rotate()
    place.say(b"3", b"4")
    assert await waiting == [b"1", b"2", b"3", b"4"]


async def test_a_reader_may_look_at_intervals_instead(place: Place) -> None:
    stream = tail(place.home, "mail_logs", wait=polling(place.clock, 0.5), lines=0)
    waiting = asyncio.ensure_future(anext(stream))
    while not place.clock._timers:
        await asyncio.sleep(0)
    place.say(b"new")
    assert not waiting.done()
    place.clock.advance(0.5)
    assert await waiting == b"new\n"


async def test_a_reader_that_leaves_is_gone_at_once(place: Place) -> None:
    place.say(b"0")
    stream = place.follow()
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_line_is_given_when_its_end_has_come(place: Place) -> None:
    place.say(b"whole")
    path = next(place.file.folder.iterdir())
    follower = Follower(place.file.folder, 1)
    with path.open("ab", buffering=0) as file:
        file.write(b"ha")
        assert follower.step() == b"whole\n"
        assert follower.step() == b""
        file.write(b"lf\n")
        assert follower.step() == b"half\n"
    follower.close()


def test_the_cut_end_of_a_file_that_is_over_is_given_before_the_next_file(place: Place) -> None:
    place.say(b"whole")
    path = next(place.file.folder.iterdir())
    with path.open("ab", buffering=0) as file:
        file.write(b"cut")
    follower = Follower(place.file.folder, 0)
    assert follower.step() == b""
    place.file.rotate()
    place.say(b"next")
    assert [follower.step(), follower.step(), follower.step()] == [b"cut\n", b"next\n", b""]
    follower.close()


class Busy(type(Path())):  # type: ignore[misc]
    """A folder in which something happens just before somebody looks into it."""

    happens: Callable[[], None] | None = None

    def iterdir(self) -> Iterator[Path]:
        happens, Busy.happens = Busy.happens, None
        if happens is not None:
            happens()
        return iter(list(super().iterdir()))


def test_lines_that_come_just_before_a_rotation_is_seen_are_not_missed(place: Place) -> None:
    follower = Follower(Busy(place.file.folder), 10)
    assert follower.step() == b""

    def rush() -> None:
        place.say(b"1", b"2")
        place.file.rotate()
        place.say(b"3")

    Busy.happens = rush
    assert [follower.step(), follower.step(), follower.step()] == [b"1\n2\n", b"3\n", b""]
    follower.close()


def test_a_file_that_somebody_emptied_is_read_from_its_beginning(place: Place) -> None:
    place.say(b"much that is gone")
    follower = Follower(place.file.folder, 10)
    assert follower.step() == b"much that is gone\n"
    path = next(place.file.folder.iterdir())
    path.write_bytes(b"")
    assert follower.step() == b""
    place.say(b"new")
    assert follower.step() == b"new\n"
    follower.close()


def test_lines_longer_than_a_read_are_whole(place: Place) -> None:
    long = b"x" * (2 * CHUNK)
    place.say(b"a", long, long)
    follower = Follower(place.file.folder, 2)
    assert follower.step() + follower.step() == (long + b"\n") * 2
    follower.close()


def test_more_lines_than_one_read_are_counted_back(place: Place) -> None:
    place.say(*(b"%06d" % number for number in range(200_000)))
    follower = Follower(place.file.folder, 100_000)
    lines: list[bytes] = []
    while step := follower.step():
        lines += step.splitlines()
    assert len(lines) == 100_000
    assert lines[0] == b"100000"
    follower.close()


def test_a_log_without_a_file_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownLog):
        tail(tmp_path, "mail_logs", wait=Bell().listener())
