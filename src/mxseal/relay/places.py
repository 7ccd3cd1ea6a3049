"""How many connections there are to each destination, in all processes together (reference §3.6).

Where a destination allows fewer connections than there are processes, they take turns: who wants a place and
finds none says so, and whoever gives one back does not take it again at once.
"""

from __future__ import annotations

from mxseal.relay.routing import Target
from mxseal.storage.board import Row


class Places:
    """One process's connections, and its wishes, on the board."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._wishes: set[str] = set()

    def take(self, target: Target) -> bool:
        """Count one more connection; False, and nothing is counted, when all places are taken."""
        key = _key(target)
        if self._row.enter(key) > target.concurrency:
            self._row.leave(key)
            if key not in self._wishes:
                self._wishes.add(key)
                self._row.enter("want " + key)
            return False
        if key in self._wishes:
            self._wishes.discard(key)
            self._row.leave("want " + key)
        return True

    def give_back(self, target: Target) -> None:
        self._row.leave(_key(target))

    def wanted(self, target: Target) -> bool:
        """Whether another process waits for a place."""
        key = _key(target)
        return self._row.inside("want " + key) > (key in self._wishes)


def _key(target: Target) -> str:
    return "out " + target.name
