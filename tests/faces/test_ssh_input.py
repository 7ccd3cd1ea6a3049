"""What is typed or piped in is kept, in order and within bounds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.faces.ssh_input import MOST_KEPT, Input, Interrupted


class Caller:
    """A caller that can be stopped."""

    def __init__(self) -> None:
        self.paused = False
        self.rested = 0
        self.input = Input(self.pause, self.go_on, self.rest)

    def pause(self) -> None:
        self.paused = True

    def go_on(self) -> None:
        self.paused = False

    def rest(self) -> None:
        self.rested += 1


async def test_lines_come_one_by_one_and_then_the_end() -> None:
    caller = Caller()
    caller.input.feed(b"one\r\ntwo\nhal")
    caller.input.feed(b"f")
    caller.input.end()
    assert [await caller.input.line() for _ in range(3)] == ["one", "two", "half"]
    with pytest.raises(EOFError):
        await caller.input.line()


@given(st.lists(st.binary(max_size=20)))
def test_however_it_is_cut_all_of_it_comes_out(pieces: list[bytes]) -> None:
    async def read() -> bytes:
        caller = Caller()
        for piece in pieces:
            caller.input.feed(piece)
        caller.input.end()
        return await caller.input.rest(1000)

    assert asyncio.run(read()) == b"".join(pieces)


async def test_who_waits_is_woken_by_a_line() -> None:
    caller = Caller()
    waiting = asyncio.create_task(caller.input.line())
    await asyncio.sleep(0)
    assert caller.input.waiting
    assert caller.rested == 1
    caller.input.feed(b"now\n")
    assert await waiting == "now"
    assert not caller.input.waiting


async def test_a_typed_end_is_for_one_who_waits_only() -> None:
    caller = Caller()
    caller.input.end_once()
    with pytest.raises(EOFError):
        await caller.input.line()
    caller.input.feed(b"again\n")
    assert await caller.input.line() == "again"


async def test_ctrl_c_gives_up_the_wait_and_what_was_typed_ahead() -> None:
    caller = Caller()
    caller.input.feed(b"half")
    waiting = asyncio.create_task(caller.input.line())
    await asyncio.sleep(0)
    caller.input.interrupt()
    with pytest.raises(Interrupted):
        await waiting
    caller.input.feed(b"whole\n")
    assert await caller.input.line() == "whole"


async def test_a_caller_who_sends_without_end_is_stopped() -> None:
    caller = Caller()
    caller.input.feed(bytes(MOST_KEPT + 1))
    assert caller.paused
    assert len(await caller.input.rest(4 << 20)) == MOST_KEPT + 1
    waiting = asyncio.create_task(caller.input.line())
    await asyncio.sleep(0)
    assert not caller.paused
    waiting.cancel()


async def test_a_line_without_end_is_given_out_at_the_bound() -> None:
    caller = Caller()
    caller.input.feed(b"x" * (MOST_KEPT + 1))
    assert len(await caller.input.line()) == MOST_KEPT + 1
