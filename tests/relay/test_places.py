"""Connections to a destination are counted over all processes, which take turns where there are too few."""

from __future__ import annotations

from mxseal.relay.places import Places
from mxseal.relay.routing import Target
from mxseal.storage.board import Board


def target(concurrency: int) -> Target:
    return Target(
        domain="bank.example", hosts=(), tls="required", concurrency=concurrency, messages_per_connection=50
    )


def test_all_processes_together_get_no_more_than_the_destination_allows() -> None:
    board = Board.make(3)
    one, two = Places(board.row(0)), Places(board.row(1))
    bank = target(3)
    assert [one.take(bank), two.take(bank), one.take(bank), two.take(bank)] == [True, True, True, False]
    one.give_back(bank)
    assert two.take(bank)
    board.close()


def test_who_finds_no_place_is_heard_by_the_one_that_has_it() -> None:
    board = Board.make(3)
    one, two = Places(board.row(0)), Places(board.row(1))
    bank = target(1)
    assert one.take(bank)
    assert not one.wanted(bank)
    assert not two.take(bank)
    assert not two.take(bank)  # a wish is one, however often it is tried
    assert one.wanted(bank)
    assert not two.wanted(bank)
    one.give_back(bank)
    assert two.take(bank)
    assert not one.wanted(bank)
    board.close()


def test_a_process_that_died_leaves_its_places_and_wishes() -> None:
    board = Board.make(3)
    one, two = Places(board.row(0)), Places(board.row(1))
    bank = target(1)
    assert two.take(bank)
    assert not one.take(bank)
    board.row(0).clear([])
    assert not two.wanted(bank)
    board.row(1).clear([])
    assert one.take(bank)
    board.close()
