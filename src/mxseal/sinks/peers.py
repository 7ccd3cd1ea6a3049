"""The record of TLS by peer, as a worker gathers it: from events into memory, and now and then to the file.

`PeerNotes` counts; `PeerRecord` is the sink, which writes in a thread of its own: no delivery waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import apsw

from mxseal.clock import Clock, Timer
from mxseal.events import types
from mxseal.events.types import Event
from mxseal.sinks.peerfacts import (
    Judged,
    from_clear,
    from_client,
    from_client_clear,
    from_client_failure,
    from_failure,
    from_success,
    plain,
    sender_domain,
)
from mxseal.storage.peers import JUDGED, Direction, Facts, Outcome, Peer, PeersFile

WRITE_SECONDS = 5.0
MOST_PEERS = 2000
"""Peers between two writes; those beyond are not noted."""
MOST_CONNECTIONS = 20_000


class _Note:
    """What was seen of a peer since the last write."""

    __slots__ = ("counts", "facts", "facts_at", "first", "last", "verdicts")

    def __init__(self, at: float) -> None:
        self.first = self.last = at
        self.counts: dict[str, int] = {}
        self.verdicts: dict[Judged, int] = {}
        self.facts: Facts | None = None
        self.facts_at = 0.0

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def peer(self, direction: Direction, domain: str, host: str) -> Peer:
        passed: dict[str, int] = dict.fromkeys(JUDGED, 0)
        refused: dict[str, int] = dict.fromkeys(JUDGED, 0)
        for verdict, count in self.verdicts.items():
            for level in JUDGED:
                if level in verdict.passes:
                    passed[level] += count
                elif level not in verdict.undecided:
                    refused[level] += count
        return Peer(
            direction=direction,
            domain=domain,
            host=host,
            first=self.first,
            last=self.last,
            passed=passed,
            refused=refused,
            facts_at=self.facts_at,
            facts=self.facts,
            **self.counts,
        )


_Key = tuple[Direction, str, str]


class _Coming:
    """An incoming connection, until it is closed."""

    __slots__ = ("asked", "key", "level", "secure", "state")

    def __init__(self, key: _Key) -> None:
        self.key = key
        self.level = ""
        self.state: Literal["", "tls", "failed"] = ""
        self.secure: types.InboundTlsSucceeded | None = None
        self.asked = False
        """Mail was begun, or refused for the lack of TLS."""


class PeerNotes:
    """Counts by peer. Bounded: by peers, and by connections that are open."""

    def __init__(self, most: int = MOST_PEERS) -> None:
        self._most = most
        self._notes: dict[_Key, _Note] = {}
        self._going: dict[int, tuple[_Key, Outcome]] = {}
        self._coming: dict[int, _Coming] = {}
        self._takes: dict[type[Event], Callable[[Any], None]] = {
            types.OutboundTlsSucceeded: self._secured,
            types.OutboundTlsFailed: self._insecure,
            types.DeliveryInClear: self._in_clear,
            types.DeliveryFailed: self._broke,
            types.RecipientsDelivered: self._delivered,
            types.DeliveryClosed: self._ended,
            types.ConnectionOpened: self._came,
            types.ConnectionJudged: self._judged,
            types.InboundTlsSucceeded: self._came_secure,
            types.InboundTlsFailed: self._came_insecure,
            types.InboundTlsMissing: self._asks,
            types.MessageStarted: self._asks,
            types.MessageQueued: self._received,
            types.ConnectionClosed: self._left,
        }

    def note(self, event: Event) -> None:
        """Take what the event says; most events say nothing here."""
        taking = self._takes.get(type(event))
        if taking is not None:
            taking(event)

    def take(self) -> list[Peer]:
        """What was noted since the last time."""
        notes, self._notes = self._notes, {}
        return [note.peer(*key) for key, note in notes.items()]

    def __len__(self) -> int:
        return len(self._notes)

    def _at(self, key: _Key, at: float) -> _Note | None:
        note = self._notes.get(key)
        if note is None:
            if len(self._notes) >= self._most:
                return None
            note = self._notes[key] = _Note(at)
        note.last = at
        return note

    def _tell(self, key: _Key, at: float, outcome: Outcome, told: tuple[Judged, Facts]) -> None:
        note = self._at(key, at)
        if note is not None:
            verdict, note.facts = told
            note.facts_at = at
            note.count(outcome)
            note.verdicts[verdict] = note.verdicts.get(verdict, 0) + 1

    # --- deliveries -----------------------------------------------------------------------------------------

    def _goes(self, event: Any, outcome: Outcome, told: tuple[Judged, Facts]) -> None:
        key: _Key = "out", plain(event.domain).lower(), plain(event.host).lower()
        if len(self._going) < MOST_CONNECTIONS:
            self._going[event.dcid] = key, outcome
        self._tell(key, event.at, outcome, told)

    def _secured(self, event: types.OutboundTlsSucceeded) -> None:
        self._goes(event, "tls", from_success(event))

    def _insecure(self, event: types.OutboundTlsFailed) -> None:
        self._goes(event, "failed", from_failure(event))

    def _in_clear(self, event: types.DeliveryInClear) -> None:
        self._goes(event, "clear", from_clear(event))

    def _broke(self, event: types.DeliveryFailed) -> None:
        if event.dcid in self._going:  # what it had to say about TLS was said before
            return
        note = self._at(("out", plain(event.domain).lower(), plain(event.host).lower()), event.at)
        if note is not None:
            note.count("broken")

    def _delivered(self, event: types.RecipientsDelivered) -> None:
        known = self._going.get(event.dcid)
        if known is not None:
            self._carried(known[0], event.at, secure=known[1] == "tls")

    def _carried(self, key: _Key, at: float, *, secure: bool) -> None:
        note = self._at(key, at)
        if note is not None:
            note.count("messages_tls" if secure else "messages_clear")

    def _ended(self, event: types.DeliveryClosed) -> None:
        self._going.pop(event.dcid, None)

    # --- who sends ------------------------------------------------------------------------------------------

    def _came(self, event: types.ConnectionOpened) -> None:
        if len(self._coming) < MOST_CONNECTIONS:
            name = event.reverse_dns if event.verified else None
            domain = sender_domain(name) if name else event.remote_ip
            self._coming[event.icid] = _Coming(("in", plain(domain).lower(), ""))

    def _judged(self, event: types.ConnectionJudged) -> None:
        if (coming := self._coming.get(event.icid)) is not None:
            coming.level = event.level

    def _came_secure(self, event: types.InboundTlsSucceeded) -> None:
        if (coming := self._coming.get(event.icid)) is not None:
            coming.state, coming.secure = "tls", event

    def _came_insecure(self, event: types.InboundTlsFailed) -> None:
        coming = self._coming.get(event.icid)
        if coming is not None and not coming.state:
            coming.state = "failed"
            self._tell(coming.key, event.at, "failed", from_client_failure(event, coming.level))

    def _asks(self, event: types.MessageStarted | types.InboundTlsMissing) -> None:
        coming = self._coming.get(event.icid)
        if coming is None:
            return
        coming.asked = True
        if coming.secure is not None:
            self._tell(coming.key, event.at, "tls", from_client(coming.secure, coming.level))
            coming.secure = None

    def _received(self, event: types.MessageQueued) -> None:
        coming = self._coming.get(event.icid) if event.icid is not None else None
        if coming is not None:
            self._carried(coming.key, event.at, secure=coming.state == "tls")

    def _left(self, event: types.ConnectionClosed) -> None:
        coming = self._coming.pop(event.icid, None)
        # Who begins no mail is not a peer: ports are looked at by many, and by this gateway itself.
        if coming is not None and coming.asked and not coming.state:
            self._tell(coming.key, event.at, "clear", from_client_clear(coming.level))


class PeerRecord:
    """The sink. `close` writes what is left. A disk that refuses costs the record, never the mail."""

    def __init__(self, path: Path, clock: Clock, trouble: Callable[[str], object]) -> None:
        """`trouble` hears of the first write that fails, and with "" of the first that works again."""
        self._file = PeersFile(path)
        self._clock = clock
        self._trouble = trouble
        self._failing = self._closed = False
        self._notes = PeerNotes()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="peers")
        self._timer: Timer | None = None
        self._writing: asyncio.Task[None] | None = None

    def handle(self, event: Event) -> None:
        if self._closed:
            return
        self._notes.note(event)
        if self._timer is None and len(self._notes):
            self._timer = self._clock.call_later(WRITE_SECONDS, self._due)

    def ready(self) -> bool:
        return True

    def _due(self) -> None:
        self._timer = None
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write())
        # Else the disk is slow: what was noted waits for the next event, within its bounds.

    async def flush(self) -> None:
        """Return when all that was noted is in the file, or could not be written."""
        if self._writing is not None:
            await self._writing
        await self._write()

    async def _write(self) -> None:
        found = self._notes.take()
        if not found:
            return
        now = self._clock.now()
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._file.write, found, now)
        except (apsw.Error, OSError) as error:
            self._file.close()
            if not self._failing:
                self._failing = True
                self._trouble(f"{type(error).__name__}: {error}")
        else:
            if self._failing:
                self._failing = False
                self._trouble("")

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self.flush()
        self._thread.shutdown(wait=True)
        self._file.close()
