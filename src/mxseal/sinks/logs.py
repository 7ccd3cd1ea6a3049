"""All logs of a gateway together: opened, configured, flushed and closed as one."""

from __future__ import annotations

from mxseal import __version__
from mxseal.clock import Clock
from mxseal.config.model import Logs
from mxseal.events.bus import Sink
from mxseal.events.types import Event
from mxseal.logs.follow import Bell
from mxseal.sinks.files import LogFile, Schedule, Surroundings
from mxseal.sinks.jsonlog import JsonLog
from mxseal.sinks.maillog import MailLog
from mxseal.storage.home import Home

_RETRY_SECONDS = 1.0


class LogSinks:
    """The mail log and its JSON twin, which `[logs]` switches on and off."""

    def __init__(self, home: Home, clock: Clock, schedule: Schedule, serial: str, logs: Logs) -> None:
        self.bell = Bell()
        self._clock = clock
        around = Surroundings(home=home.root, clock=clock, schedule=schedule, written=self.bell.ring)
        self._mail = MailLog(around, logs, version=__version__, serial=serial)
        self._json = JsonLog(around, logs)
        self._wants_json = logs.json_log
        self._files: tuple[LogFile, ...] = (self._mail.file, self._json.file)
        self.sinks: tuple[Sink, ...] = (self._mail, _Switched(self))
        self._closed = False

    def open(self) -> None:
        """Begin or go on with the files. OSError: a gateway without its logs does not start."""
        for file in self._files:
            file.open()
        self._watch()

    def _watch(self) -> None:
        """A disk that refused a line is asked again, also when no further event comes."""
        if self._closed:
            return
        for file in self._files:
            if not file.ready():
                file.retry()
        self._clock.call_later(_RETRY_SECONDS, self._watch)

    def configure(self, logs: Logs) -> None:
        self._wants_json = logs.json_log
        self._mail.configure(logs)
        self._json.configure(logs)

    @property
    def json(self) -> JsonLog | None:
        return self._json if self._wants_json else None

    def flush(self) -> None:
        for file in self._files:
            file.flush()

    def reopen(self) -> None:
        """After a file was moved away by hand."""
        for file in self._files:
            file.reopen()

    def close(self) -> None:
        self._closed = True
        for file in self._files:
            file.close()


class _Switched:
    """The JSON log while the configuration wants it."""

    def __init__(self, logs: LogSinks) -> None:
        self._logs = logs

    def handle(self, event: Event) -> None:
        if (log := self._logs.json) is not None:
            log.handle(event)

    def ready(self) -> bool:
        log = self._logs.json
        return log is None or log.ready()
