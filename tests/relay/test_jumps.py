"""The age of mail when the wall clock is not to be trusted."""

from __future__ import annotations

from mxseal.clock import ManualClock
from mxseal.relay.jumps import Ages

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
