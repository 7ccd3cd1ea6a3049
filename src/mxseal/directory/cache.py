"""Answers that are kept for a while, bounded in number and in time, also those that say "not found". PURE."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from mxseal.ldap.values import Found, Search

_BYTES_EACH = 16_384
"""An answer larger than this is not kept."""


class CacheState(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache holds and did."""

    entries: int = 0
    negative: int = 0
    """Of the entries, those that say that nothing was found."""
    most: int = 0
    hits: int = 0
    misses: int = 0
    dropped: int = 0
    """Given up for a newer one before their time was over."""


class Cache:
    """Answers of one profile. `now` is on the monotonic clock."""

    def __init__(self, entries: int, seconds: float, negative_seconds: float) -> None:
        """No entries or no seconds: nothing is kept."""
        self._most = entries
        self._seconds = seconds
        self._negative_seconds = negative_seconds
        self._answers: OrderedDict[Search, tuple[float, Found]] = OrderedDict()
        self._hits = self._misses = self._dropped = 0

    def get(self, search: Search, now: float) -> Found | None:
        entry = self._answers.get(search)
        if entry is None or entry[0] <= now:
            if entry is not None:
                del self._answers[search]
            self._misses += 1
            return None
        self._hits += 1
        self._answers.move_to_end(search)
        return entry[1]

    def put(self, search: Search, found: Found, now: float) -> None:
        """Strangers choose what is asked: the answer that nobody has asked for the longest makes room."""
        seconds = self._seconds if found.count else self._negative_seconds
        if not self._most or seconds <= 0 or _size(found) > _BYTES_EACH:
            return
        self._answers[search] = (now + seconds, found)
        self._answers.move_to_end(search)
        while len(self._answers) > self._most:
            self._answers.popitem(last=False)
            self._dropped += 1

    def clear(self) -> int:
        """Forget all; gives how many there were."""
        count = len(self._answers)
        self._answers.clear()
        return count

    def state(self, now: float) -> CacheState:
        """Those whose time is over are not counted; they go when they are asked for, or make room."""
        living = [found for until, found in self._answers.values() if until > now]
        return CacheState(
            entries=len(living),
            negative=sum(not found.count for found in living),
            most=self._most,
            hits=self._hits,
            misses=self._misses,
            dropped=self._dropped,
        )


def _size(found: Found) -> int:
    return sum(
        len(entry.name) + sum(len(value) for values in entry.values.values() for value in values)
        for entry in found.entries
    )
