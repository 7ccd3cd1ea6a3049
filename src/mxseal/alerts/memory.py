"""What alerts remember across a restart, as one fact of the home: series of duplicates, troubles that were
told, marks of expiry, and the last alerts for `displayalerts`.
"""

from __future__ import annotations

import logging
from typing import Protocol

import msgspec

from mxseal.alerts.throttle import Series
from mxseal.storage.ports import StorageRefused

FACT = "alerts"
_LONGEST_TEXT = 4000
log = logging.getLogger(__name__)


class Store(Protocol):
    """Where facts are kept; `storage.state.State` is one. Small and rare: calls block."""

    def fact(self, name: str) -> str | None: ...

    def put_fact(self, name: str, value: str) -> None:
        """StorageRefused when it can't be kept."""
        ...


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """One of the last alerts, as it was told."""

    at: float
    alert_class: str
    severity: str
    kind: str
    title: str
    text: str
    held_back: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered."""

    series: tuple[Series, ...] = ()
    troubles: dict[str, float] = {}
    """Key and since when."""
    told: dict[str, str] = {}
    """Standing conditions: key and the mark that was told of."""
    recent: tuple[Recent, ...] = ()


class Memory:
    """Loads and saves."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> Kept:
        """Nothing where there is nothing, or only what another release wrote."""
        raw = self._store.fact(FACT)
        if raw is None:
            return Kept()
        try:
            return msgspec.json.decode(raw, type=Kept)
        except msgspec.DecodeError as error:
            log.warning("what alerts remembered can't be read and is left aside: %s", error)
            return Kept()

    def save(self, kept: Kept) -> None:
        """A disk that takes nothing costs a repeated alert after the next start, and nothing else."""
        recent = tuple(
            msgspec.structs.replace(entry, text=entry.text[:_LONGEST_TEXT]) for entry in kept.recent
        )
        value = msgspec.json.encode(msgspec.structs.replace(kept, recent=recent)).decode()
        try:
            self._store.put_fact(FACT, value)
        except StorageRefused as refused:
            log.warning("alerts can't remember what was told: %s", refused)
