"""ICID, MID and DCID: all processes draw from one row of numbers, and none is given twice."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from mxseal.storage.board import Board
from mxseal.storage.home import Home
from mxseal.storage.numbers import Numbers
from mxseal.storage.ports import StorageRefused


@pytest.fixture
def state(tmp_path: Path) -> Path:
    home = Home(tmp_path / "home")
    home.make()
    home.open_state().close()
    return home.state_file


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.make(3)
    yield made
    made.close()


def test_processes_that_draw_at_the_same_time_get_each_number_once_and_leave_none_out(
    state: Path, board: Board
) -> None:
    reading, writing = os.pipe()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            numbers = Numbers(state, Board(board.descriptor, 3, board.seed))
            drawn = []
            for _ in range(900):
                drawn.append(numbers.allocate("mid"))
                numbers.allocate("icid")
            assert drawn == sorted(drawn)
            for start in range(0, 900, 100):
                os.write(writing, "".join(f"{n} " for n in drawn[start : start + 100]).encode())
            os._exit(0)
        children.append(child)
    os.close(writing)
    told = b""
    while piece := os.read(reading, 1 << 16):
        told += piece
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert sorted(int(word) for word in told.split()) == list(range(1, 2701))


def test_numbers_go_on_without_a_gap_after_an_orderly_end(state: Path, board: Board) -> None:
    first = Numbers(state, board)
    assert [first.allocate("icid") for _ in range(3)] == [1, 2, 3]
    first.give_back()
    assert Numbers(state, Board.make(1)).allocate("icid") == 4


def test_after_a_kill_numbers_are_skipped_and_none_comes_again(state: Path, board: Board) -> None:
    killed = Numbers(state, board)
    given = {killed.allocate("dcid") for _ in range(700)}
    assert Numbers(state, Board.make(1)).allocate("dcid") > max(given)


def test_what_was_reserved_lasts_while_the_store_can_not_be_written(state: Path, board: Board) -> None:
    numbers = Numbers(state, board)
    numbers.reserve("mid")
    numbers.close()
    numbers._db = apsw.Connection(str(state), flags=apsw.SQLITE_OPEN_READONLY)
    assert [numbers.allocate("mid") for _ in range(1000)] == list(range(1, 1001))
    with pytest.raises(StorageRefused):
        numbers.allocate("mid")


def test_a_restored_state_gives_no_number_that_the_queue_has(state: Path, board: Board) -> None:
    numbers = Numbers(state, board)
    numbers.begin_beyond("mid", 5000)
    assert numbers.allocate("mid") == 5001
    numbers.give_back()
    again = Numbers(state, Board.make(1))
    again.begin_beyond("mid", 10)
    assert again.allocate("mid") == 5002
