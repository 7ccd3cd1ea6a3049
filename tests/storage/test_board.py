"""The board: each process writes its own row, everybody reads all."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mxseal.storage.board import Board


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.make(3)
    yield made
    made.close()


def test_counts_under_a_key_are_those_of_all_rows(board: Board) -> None:
    one, two = board.row(0), board.row(1)
    assert [one.enter("host"), two.enter("host"), two.enter("other")] == [1, 2, 1]
    one.leave("host")
    assert (one.inside("host"), two.inside("host"), two.inside("other")) == (1, 1, 1)


def test_two_processes_see_the_same_memory(board: Board) -> None:
    row = board.row(0)
    child = os.fork()
    if child == 0:
        there = Board(board.descriptor, 3, board.seed).row(1)
        there.add(5, 40)
        there.enter("host")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    row.add(5, 2)
    assert board.total(5) == 42
    assert row.elsewhere(5) == 40
    assert row.inside("host") == 1


def test_what_a_dead_process_held_is_forgotten_and_what_it_counted_is_kept(board: Board) -> None:
    dead, alive = board.row(0), board.row(1)
    dead.add(5, 7)
    dead.put(1, 3)
    for row in (dead, alive):
        row.enter("host")
    dead.clear([1])
    assert (board.total(5), board.total(1), alive.inside("host")) == (7, 0, 1)


def test_ten_thousand_hosts_do_not_make_each_other_seem_more(board: Board) -> None:
    row = board.row(0)
    for number in range(10_000):
        row.enter(f"in 25 192.0.2.{number}")
    surplus = sum(row.inside(f"in 25 192.0.2.{number}") > 1 for number in range(10_000))
    assert surplus < 500  # both slots shared: about one in fifty at this number, and by one
    fresh = sum(row.inside(f"elsewhere {number}") > 0 for number in range(1000))
    assert fresh < 60


def test_slots_can_not_be_foretold_without_the_seed(board: Board) -> None:
    other = Board.make(1)
    assert [board.slots(f"host {n}") for n in range(4)] != [other.slots(f"host {n}") for n in range(4)]
    other.close()
