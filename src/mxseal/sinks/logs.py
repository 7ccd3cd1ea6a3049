"""All logs together, as one process writes them: opened, configured, flushed and closed as one."""

from __future__ import annotations

from mxseal import __version__
from mxseal.config.model import Logs
from mxseal.events.bus import Sink
from mxseal.events.types import Event
from mxseal.sinks.authlog import AuthLog
from mxseal.sinks.files import LogFile, Surroundings
from mxseal.sinks.jsonlog import JsonLog
from mxseal.sinks.maillog import MailLog

_RETRY_SECONDS = 1.0


class LogSinks:
    """The mail log, its JSON twin, which `[logs]` switches on and off, and the log of logins."""

    def __init__(self, around: Surroundings, serial: str, logs: Logs) -> None:
        """`serial` stands in the heads of the files that the keeper begins."""
        self._clock = around.clock
        self._mail = MailLog(around, logs, version=__version__, serial=serial)
        self._json = JsonLog(around, logs)
        self._wants_json = logs.json_log
        # Who logs in does so at the process that keeps the logs: the others have nothing to write there.
        self._auth = AuthLog(around, logs, version=__version__, serial=serial) if around.keeper else None
        self._files: tuple[LogFile, ...] = (self._mail.file, self._json.file)
        self.sinks: tuple[Sink, ...] = (self._mail, _Switched(self))
        if self._auth is not None:
            self._files += (self._auth.file,)
            self.sinks += (self._auth,)
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
            file.look()
        self._clock.call_later(_RETRY_SECONDS, self._watch)

    def configure(self, logs: Logs) -> None:
        self._wants_json = logs.json_log
        self._mail.configure(logs)
        self._json.configure(logs)
        if self._auth is not None:
            self._auth.configure(logs)

    @property
    def json(self) -> JsonLog | None:
        return self._json if self._wants_json else None

    def flush(self) -> None:
        for file in self._files:
            file.flush()

    def rotate(self) -> None:
        for file in self._files:
            file.rotate()

    def reopen(self) -> None:
        """After a file was moved away by hand, or another process began a new one."""
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
