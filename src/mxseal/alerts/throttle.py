"""Duplicates held back: which alert goes out now, and which is summed up later (reference §5). PURE.

The gap doubles until the maximum, then each maximum has one alert: with 5 and 60 seconds an alert that comes
all the time goes out at once and after 5, 15, 35, 60, 120, … seconds. Strangers choose domain names and so
keys: of one kind only so many are told apart, the others share a series.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from mxseal.alerts.alert import Alert, Outgoing

TOLD_APART = 20
"""Series of one kind at the same time; alerts beyond share one."""
_SLACK = 0.001
"""Timers may fire this much early, in seconds."""


class Series(msgspec.Struct, kw_only=True):
    """The alerts of one key. Times in seconds since the epoch."""

    key: str
    kind: str
    since: float
    due: float
    """From when on the next may go out."""
    last: float
    """When the last one came, sent or not."""
    alert: Alert
    """The last one."""
    held: int = 0
    crowd: bool = False


def following(first: float, longest: float, elapsed: float) -> float:
    """The first moment of the series behind `elapsed`, all in seconds since its beginning."""
    gap = moment = first
    while moment <= elapsed + _SLACK:
        if moment >= longest:
            break
        gap *= 2
        moment += gap
    if moment < longest:
        return moment
    return longest * (max(0.0, elapsed + _SLACK) // longest + 1)


class Throttle:
    """All series. Bounded: at most one more than `TOLD_APART` for each kind."""

    def __init__(self, first: float, longest: float) -> None:
        """`first`, `longest`: seconds; 0: nothing is held back."""
        self._first = first
        self._longest = longest
        self._series: dict[str, Series] = {}

    def configure(self, first: float, longest: float) -> None:
        """New waits hold from each series' next alert on; without waits what is held is due at once."""
        self._first, self._longest = first, longest
        if not self._waits:
            for series in self._series.values():
                series.due = series.since

    @property
    def _waits(self) -> bool:
        return self._first > 0 and self._longest > 0

    def offer(self, alert: Alert, now: float) -> Outgoing | None:
        """The alert as it goes out now; None: it is held back, and counted."""
        self._forget(now)
        series = self._series.get(alert.key)
        if series is None and self._told_apart(alert.kind) >= TOLD_APART:
            series = self._series.get(_crowd_key(alert.kind))
            if series is None:
                return self._begin(alert, now, crowd=True)
        if series is None:
            return self._begin(alert, now)
        series.alert, series.last = alert, now
        if now + _SLACK < series.due or (series.held and self._waits):
            series.held += 1
            return None
        return self._send(series, now)

    def _begin(self, alert: Alert, now: float, *, crowd: bool = False) -> Outgoing:
        if self._waits:
            key = _crowd_key(alert.kind) if crowd else alert.key
            due = now + following(self._first, self._longest, 0.0)
            self._series[key] = Series(
                key=key, kind=alert.kind, since=now, due=due, last=now, alert=alert, crowd=crowd
            )
        return Outgoing(alert=alert, at=now, crowd=crowd)

    def _send(self, series: Series, now: float) -> Outgoing:
        outgoing = Outgoing(
            alert=series.alert, at=now, held_back=series.held, since=series.since, crowd=series.crowd
        )
        series.held = 0
        if self._waits:
            series.due = series.since + following(self._first, self._longest, now - series.since)
        else:
            series.due = now
        return outgoing

    def summaries(self, now: float) -> list[Outgoing]:
        """What was held back and is due."""
        self._forget(now)
        return [
            self._send(series, now)
            for series in self._series.values()
            if series.held and series.due <= now + _SLACK
        ]

    def next_wake(self) -> float | None:
        """When `summaries` has something to give."""
        return min((series.due for series in self._series.values() if series.held), default=None)

    def release(self, key: str) -> int:
        """The trouble is over: how many were held back, which will not be told by themselves any more."""
        series = self._series.get(key)
        if series is None:
            return 0
        held, series.held = series.held, 0
        return held

    def _told_apart(self, kind: str) -> int:
        return sum(series.kind == kind and not series.crowd for series in self._series.values())

    def _forget(self, now: float) -> None:
        """Series in which nothing came for the longest wait. A clock that was set back ends them all."""
        quiet = max(self._first, self._longest)
        for series in list(self._series.values()):
            over = now >= max(series.last + quiet, series.due) and not series.held
            if over or now + _SLACK < series.since:
                del self._series[series.key]

    # --- across a restart ---------------------------------------------------------------------------------

    def kept(self) -> Sequence[Series]:
        return tuple(self._series.values())

    def restore(self, kept: Sequence[Series]) -> None:
        self._series = {series.key: series for series in kept}


def _crowd_key(kind: str) -> str:
    return f"{kind}:*"
