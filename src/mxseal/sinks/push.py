"""Logs to syslog servers: read from their files, sent in order, none left out in silence.

A push is a reader like `tail`: mail never waits for it, and what it has not sent waits on the disk. Where it
goes on is kept on disk too. Syslog has no acknowledgements, so that a line counts as received when the
server's system has had it for `Patience.settled` seconds and the connection still stands, or when the server
has closed in good order behind it; what is younger when a connection breaks is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from OpenSSL import SSL

from mxseal.clock import Clock
from mxseal.commands.services import PushState
from mxseal.config.model import SyslogPush
from mxseal.config.subscriptions import LogWanted, port_of
from mxseal.events.bus import Bus
from mxseal.events.types import LogLinesLost, LogPushConnected, LogPushFailed
from mxseal.logs.cursor import Cursor, Place, forget_place, keep_place, kept_place
from mxseal.logs.follow import polling
from mxseal.logs.retained import Retained
from mxseal.sinks.syslog import Messages
from mxseal.sinks.syslog_line import DatagramLine, Line, Server, Trouble, connect, open_datagrams
from mxseal.tls.diagnosis import OurSettings

log = logging.getLogger(__name__)
_AT_ONCE = 50
"""Datagrams in a row."""
LASTING_SECONDS = 300.0
_TOLD_EVERY = 3600.0


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds."""

    connect: float = 20.0
    """For the connection, and again for the handshake."""
    first_wait: float = 1.0
    """Until the second attempt; it doubles from there."""
    longest_wait: float = 60.0
    settled: float = 5.0
    look: float = 0.5
    """Between two looks at the files."""
    save: float = 2.0
    """Between two notes of the place on disk."""
    goodbye: float = 3.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes one push this one: another value is another push."""

    log: LogWanted
    push: SyslogPush
    hostname: str
    inputs: str = ""
    """Digest of what its TLS context was made of."""
    trust: str = ""
    ours: OurSettings | None = None

    @property
    def server(self) -> str:
        host = f"[{self.push.host}]" if ":" in self.push.host else self.push.host
        return f"{self.push.transport}://{host}:{port_of(self.push)}"


class _Sent(msgspec.Struct):
    """Lines on their way."""

    until: int
    """Bytes of the connection up to their end."""
    place: Place
    """Behind them."""
    lines: int
    taken_at: float | None = None
    """When the server's system was seen to have them."""


class Reader(msgspec.Struct):
    """Where a log was read up to, from before its files are opened."""

    folder: Path
    cursor: Cursor
    kept: Place | None
    """What stands on disk."""
    lost: int = 0
    """Lines of files that were deleted since."""

    @classmethod
    def of(cls, folder: Path) -> Reader:
        kept = kept_place(folder)
        return cls(folder=folder, cursor=Cursor(folder, kept), kept=kept)


class Pusher:
    """One log to one server."""

    def __init__(
        self,
        wanted: Wanted,
        context: SSL.Context | None,
        reader: Reader,
        bus: Bus,
        around: tuple[Clock, Patience],
    ) -> None:
        self.wanted = wanted
        self._folder = reader.folder
        self._bus = bus
        self._clock, self._patience = around
        push = wanted.push
        name = push.server_name or push.host
        self._server = Server(
            host=push.host, port=port_of(push), name=name, context=context, trust=wanted.trust,
            ours=wanted.ours,
        )  # fmt: skip
        self._messages = Messages(wanted.log, push, wanted.hostname)
        self._cursor = reader.cursor
        self._safe = self._cursor.place
        """Up to here nothing has to be sent again."""
        self._saved = reader.kept
        self._saving: asyncio.Task[None] | None = None
        self._save_after = 0.0
        self._way: deque[_Sent] = deque()
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self.sent = 0
        self.lost = reader.lost
        self._state = "connecting"
        self._since = self._clock.now()
        self._failing: LogPushFailed | None = None
        """The failure that was told last, until it is over."""
        self._well = False

    # --- life -----------------------------------------------------------------------------------------------

    def note(self) -> None:
        """Note where it goes on, for a start after a crash. What the disk refuses is tried again."""
        try:
            keep_place(self._folder, self._safe)
            self._saved = self._safe
        except OSError:
            self._saved = None

    def start(self) -> None:
        self.note()
        if self.lost:
            self._tell_lost(self.lost, "files that were too old")
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(_raise_outside)

    async def stop(self) -> None:
        """Send what there is, if the server takes it at once; the rest is for the next start."""
        task = self._task
        if task is not None:
            self._stopping = True
            if self._line is None:
                task.cancel()
            timer = self._clock.call_later(self._patience.goodbye, task.cancel)
            await asyncio.wait([task])
            timer.cancel()
        if self._saving is not None:
            await asyncio.wait([self._saving])
        self._cursor.close()
        self.note()

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._become("connecting")
            self._well = False
            trouble = await self._tried()
            if trouble is not None:
                failures = 1 if self._well else failures + 1
                self._failed(trouble)
            if not self._stopping:
                self._become("waiting")
                wait = self._patience.first_wait * 2.0 ** min(failures - 1, 16)
                await polling(self._clock, min(wait, self._patience.longest_wait))()

    async def _tried(self) -> Trouble | None:
        """One connection, to its end; why it ended."""
        try:
            try:
                await self._session()
            finally:
                self._line = None
                self._go_back()
        except Trouble as trouble:
            return trouble
        except OSError as error:
            return Trouble(f"the log's files can't be read: {error.strerror or error}")
        except Exception as error:  # nobody would hear of lines that are not sent
            log.exception("sending the log %s failed", self.wanted.log.name)
            return Trouble(f"this is a fault of the gateway, told in its system log: {error!r}")
        return None

    def _become(self, state: str) -> None:
        self._state, self._since = state, self._clock.now()

    def _go_back(self) -> None:
        """What was on its way when the connection ended is sent again."""
        if self._way or self._cursor.place != self._safe:
            self._way.clear()
            self._cursor.go(self._safe)

    # --- one connection -------------------------------------------------------------------------------------

    async def _session(self) -> None:
        opening = open_datagrams if self.wanted.push.transport == "udp" else connect
        line: Line = await opening(self._server, self._patience.connect, self._clock)
        self._line = line
        self._become("connected")
        begun = self._clock.monotonic()
        look = polling(self._clock, self._patience.look)
        finished = False
        try:
            while line.broken is None and not finished:
                if lines := self._step():
                    await self._send(line, lines)
                elif self._stopping:
                    finished = True
                else:
                    await look()
                self._settle(line, begun)
            if line.broken is not None:
                raise line.broken
            if await line.close(self._patience.goodbye):
                self._received(list(self._way))
        finally:
            line.abort()

    def _step(self) -> bytes:
        """Lines to send. Where somebody deleted a file, or wrote it anew, that is told."""
        lines = self._cursor.step()
        if self._cursor.gap:
            self._cursor.gap = False
            self._tell_lost(None, "a file that somebody deleted")
        return lines

    async def _send(self, line: Line, lines: bytes) -> None:
        now = self._clock.now()
        place = self._cursor.place
        if isinstance(line, DatagramLine):
            messages = self._messages.datagrams(lines, now)
            count = len(messages)
            for at, message in enumerate(messages, 1):
                line.send(message)
                if at % _AT_ONCE == 0:
                    await line.drain()
        else:
            data, count = self._messages.frames(lines, now)
            line.send(data)
        self._way.append(_Sent(until=line.written, place=place, lines=count))
        await line.drain()

    def _settle(self, line: Line, begun: float) -> None:
        """See what the server's system has taken, and count as received what it has had for long enough."""
        if line.broken is not None:
            return
        now = self._clock.monotonic()
        if not self._well and now - begun >= self._patience.settled:
            self._well = True
            self._works(line)
        taken = line.written - line.unacknowledged()
        received = []
        for sent in self._way:
            if sent.until > taken:
                break
            if sent.taken_at is None:
                sent.taken_at = now
            if now - sent.taken_at < self._patience.settled:
                continue
            received.append(sent)
        self._received(received)

    def _received(self, sent: list[_Sent]) -> None:
        for each in sent:
            self._way.popleft()
            self._safe = each.place
            self.sent += each.lines
        self._save()

    def _save(self) -> None:
        """Note the place on disk, in a thread: a slow disk must not hold up the program."""
        now = self._clock.monotonic()
        if self._safe == self._saved or self._saving is not None or now < self._save_after:
            return
        self._save_after = now + self._patience.save
        self._saving = asyncio.get_running_loop().create_task(self._noted(self._safe))

    async def _noted(self, place: Place) -> None:
        try:
            await asyncio.to_thread(keep_place, self._folder, place)
            self._saved = place
        except OSError:
            self._saved = None  # a full disk: it is tried again; a crash meanwhile sends lines twice
        finally:
            self._saving = None

    # --- telling --------------------------------------------------------------------------------------------

    def _works(self, line: Line) -> None:
        self._failing = None
        facts = line.facts
        self._bus.publish(
            LogPushConnected(
                at=self._clock.now(),
                log=self.wanted.log.name,
                server=self.wanted.server,
                protocol=facts.protocol if facts else "",
                cipher=facts.cipher if facts else "",
                peer_subject=facts.peer_subject if facts else None,
            )
        )

    def _failed(self, trouble: Trouble) -> None:
        now = self._clock.now()
        told = self._failing
        since = told.since if told is not None else now
        event = LogPushFailed(
            at=now,
            log=self.wanted.log.name,
            server=self.wanted.server,
            reason=trouble.reason,
            since=since,
            lasting=now - since >= LASTING_SECONDS,
            waiting=self._cursor.waiting(),
            diagnosis=trouble.diagnosis,
        )
        same = told is not None and (told.reason, told.lasting) == (event.reason, event.lasting)
        if told is not None and same and now - told.at < _TOLD_EVERY:
            return
        self._failing = event
        self._bus.publish(event)

    def expiring(self, entry: Retained) -> None:
        """A file of the log is about to be deleted."""
        if not (lost := self._cursor.skip(entry)):
            return
        self.lost += lost
        if self._safe.stamp <= entry.stamp and not self._way:
            self._safe = self._cursor.place
        self._tell_lost(lost, entry.path.name)

    def _tell_lost(self, lines: int | None, file: str) -> None:
        event = LogLinesLost(
            at=self._clock.now(), log=self.wanted.log.name, server=self.wanted.server, lines=lines, file=file
        )
        # Later: this may be in the midst of a log's own rotation.
        asyncio.get_running_loop().call_soon(self._bus.publish, event)

    def state(self) -> PushState:
        failing = self._failing
        return PushState(
            log=self.wanted.log.name,
            server=self.wanted.server,
            state=self._state,
            since=self._since,
            sent=self.sent,
            waiting=self._cursor.waiting(),
            lost=self.lost,
            problem="" if failing is None or self._well else failing.reason,
        )


class Pushes:
    """All pushes of the document in force."""

    def __init__(
        self, folder: Callable[[str], Path], bus: Bus, clock: Clock, patience: Patience | None = None
    ) -> None:
        """`folder`: of a log, by its name."""
        self._folder = folder
        self._bus = bus
        self._clock = clock
        self._patience = patience or Patience()
        self._pushers: dict[str, Pusher] = {}
        self._readers: dict[str, Reader] = {}

    def load(self, logs: Sequence[str]) -> None:
        """Before the logs are opened, which may delete old files: so that it is known what they held."""
        self._readers = {name: Reader.of(self._folder(name)) for name in logs}

    async def configure(self, wanted: Sequence[tuple[Wanted, SSL.Context | None]]) -> None:
        """Another document is in force. A push that did not change keeps its connection."""
        named = {each.log.name: (each, context) for each, context in wanted}
        same = {
            name
            for name, pusher in self._pushers.items()
            if name in named and named[name][0] == pusher.wanted
        }
        gone = {name: pusher for name, pusher in self._pushers.items() if name not in same}
        await asyncio.gather(*(pusher.stop() for pusher in gone.values()))
        for name in gone:
            del self._pushers[name]
            if name not in named:
                with contextlib.suppress(
                    OSError
                ):  # a disk that refuses: an old place is better than no commit
                    forget_place(self._folder(name))
        for name, (each, context) in named.items():
            if name not in same:
                self._begin(each, context)

    def _begin(self, wanted: Wanted, context: SSL.Context | None) -> None:
        name = wanted.log.name
        try:
            reader = self._readers.pop(name, None) or Reader.of(self._folder(name))
        except OSError as error:
            reason = f"the log's files can't be read: {error.strerror or error}"
            now = self._clock.now()
            self._bus.publish(
                LogPushFailed(
                    at=now, log=name, server=wanted.server, reason=reason, since=now, lasting=True, waiting=0
                )
            )
            return
        pusher = Pusher(wanted, context, reader, self._bus, (self._clock, self._patience))
        self._pushers[name] = pusher
        pusher.start()

    def expiring(self, log: str, entry: Retained) -> None:
        """See `sinks.files.Surroundings.expiring`."""
        if (pusher := self._pushers.get(log)) is not None:
            pusher.expiring(entry)
        elif (reader := self._readers.get(log)) is not None:
            reader.lost += reader.cursor.skip(entry)

    def states(self) -> list[PushState]:
        return [pusher.state() for pusher in self._pushers.values()]

    async def stop(self) -> None:
        """Send what there is, within bounds, all at the same time."""
        await asyncio.gather(*(pusher.stop() for pusher in self._pushers.values()))


def _raise_outside(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": "sending a log failed", "exception": error})
