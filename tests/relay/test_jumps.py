"""The age of mail when the wall clock is not to be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from lab.place import free_port
from mxseal.clock import ManualClock, SystemClock, Timer
from mxseal.events.types import RecipientDelayed
from mxseal.relay.jumps import Ages
from mxseal.storage.ports import Outcome
from tests.relay.delivering import delivering

HOUR, YEAR = 3_600.0, 31_536_000.0


class Jumping(ManualClock):
    """A wall clock that can be set; the monotonic one can't."""

    off = 0.0

    def now(self) -> float:
        return super().now() + self.off


def test_a_clock_that_is_put_forward_makes_no_message_older() -> None:
    clock = Jumping()
    ages, queued_at = Ages(clock), clock.now()
    clock.advance(HOUR)
    ages.look()
    clock.off = YEAR
    assert ages.age(queued_at) == HOUR
    queued_then = clock.now()
    clock.advance(HOUR)
    assert ages.age(queued_then) == HOUR
    assert ages.age(queued_at) == 2 * HOUR


def test_a_clock_that_was_behind_and_is_set_right_makes_no_message_older() -> None:
    clock = Jumping()
    ages = Ages(clock)
    clock.off = -YEAR
    ages.look()
    queued_then = clock.now()
    clock.off = 0.0
    assert ages.age(queued_then) == 0.0


def test_time_that_passed_before_the_gateway_ran_counts() -> None:
    clock = Jumping()
    assert Ages(clock).age(clock.now() - YEAR) == YEAR


def test_small_corrections_count_as_time() -> None:
    clock = Jumping()
    ages, queued_at = Ages(clock), clock.now()
    clock.off = 60.0
    assert ages.age(queued_at) == 60.0


class Wrong(SystemClock):
    """A wall clock that can be set; timers go off fifty times as soon."""

    off = 0.0

    def now(self) -> float:
        return super().now() + self.off

    def call_later(self, delay: float, call: Callable[[], object]) -> Timer:
        return super().call_later(delay / 50, call)


async def test_a_clock_that_is_put_back_while_an_outcome_is_written_keeps_no_mail_waiting(
    tmp_path: Path,
) -> None:
    clock = Wrong()
    way = {"example.test": [f"127.0.0.1:{free_port()}"]}
    document = {"smtp_routes": way, "delivery": {"first_retry": 1, "longest_retry": 1}}
    async with delivering(tmp_path, document, clock=clock) as here:
        written = here.spool.settle

        async def settle(outcomes: Sequence[Outcome]) -> list[int]:
            done = await written(outcomes)
            clock.off = 0.0
            return done

        clock.off = YEAR
        here.spool.settle = settle  # type: ignore[method-assign]
        await here.submit("to@example.test")
        await here.told.until(RecipientDelayed, 2)
