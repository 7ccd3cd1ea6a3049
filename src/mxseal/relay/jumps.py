"""The age of a message by a wall clock that may be put forward.

A clock that is set a year ahead would make all waiting mail too old at once. What it was put forward while
the gateway ran is known from the monotonic clock, and does not count; after a suspend, which looks the same,
mail gets the time again in which nobody could have delivered it.
"""

from __future__ import annotations

from mxseal.clock import Clock

_JUMP = 600.0
"""Less than this is a correction that makes no message too old."""
_KEPT = 100


def farthest(now: float, longest_retry: float) -> tuple[float, float]:
    """(the moment beyond which no attempt can have been set unless the clock was put back, and the one that
    such attempts are called back to). Retries vary by a tenth, and mail may be postponed for a minute."""
    return now + 1.1 * longest_retry + 60.0, now + longest_retry


class Ages:
    """Sees jumps if it is asked often."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart = clock.now() - clock.monotonic()
        self._jumps: list[tuple[float, float]] = []
        """(wall clock before it, seconds) of each jump forward."""

    def age(self, since: float) -> float:
        """Seconds since a moment of the wall clock, less those that it was put forward after it."""
        now = self.look()
        return now - since - sum(seconds for before, seconds in self._jumps if since <= before)

    def look(self) -> float:
        """Notice a jump; the wall clock's time."""
        now = self._clock.now()
        apart = now - self._clock.monotonic()
        jump, self._apart = apart - self._apart, apart
        if jump > _JUMP:
            self._jumps = [*self._jumps[-_KEPT:], (now - jump, jump)]
        return now
