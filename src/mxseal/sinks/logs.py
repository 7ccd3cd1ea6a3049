"""All logs together, as one process writes them: opened, configured, flushed and closed as one.

Which logs there are is the document's to say (`config.subscriptions`). The keeper begins their files and
takes a new document before the other processes do, so that these find what they write to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from mxseal import __version__
from mxseal.config.model import Document, LogKind
from mxseal.config.problem import Problem, key_path
from mxseal.config.subscriptions import LEADER_ONLY, LogWanted, wanted
from mxseal.events.bus import Sink
from mxseal.events.types import Event
from mxseal.logs.retained import logs_folder
from mxseal.sinks import amplines, auditlog, authlog, ldaplines, maillog
from mxseal.sinks.files import LogFile, Surroundings
from mxseal.sinks.jsonlog import JsonLog
from mxseal.sinks.maillog import Line, TextLog

_RETRY_SECONDS = 1.0
TABLES: Mapping[LogKind, Mapping[type[Event], Callable[[Any], list[Line]]]] = {
    "mail": maillog.TABLE,
    "authentication": authlog.TABLE,
    "audit": auditlog.TABLE,
    "ldap": ldaplines.TABLE,
    "amp": amplines.TABLE,
}
"""What the text logs tell, by kind."""


class Log(Sink, Protocol):
    """One log: a sink with a file."""

    @property
    def file(self) -> LogFile: ...

    def configure(self, log: LogWanted) -> None:
        """Take a new document's settings without losing a line."""
        ...


class LogSinks:
    """The logs of a document. One sink for all, since documents come and go while it is on the bus."""

    def __init__(self, around: Surroundings, serial: str, document: Document) -> None:
        """`serial` stands in the heads of the files that the keeper begins."""
        self._around = around
        self._serial = serial
        self._kinds: dict[str, LogKind] = {}
        self._logs: dict[str, Log] = {}
        for log in self._mine(document):
            self._add(log)
        self.sinks: tuple[Sink, ...] = (self,)
        self._closed = False

    def _mine(self, document: Document) -> list[LogWanted]:
        keeper = self._around.keeper
        return [log for log in wanted(document) if keeper or log.kind not in LEADER_ONLY]

    def _add(self, log: LogWanted) -> Log:
        made = self._logs[log.name] = self._made(log)
        self._kinds[log.name] = log.kind
        return made

    def _made(self, log: LogWanted) -> Log:
        if log.kind == "json":
            return JsonLog(self._around, log)
        return TextLog(self._around, log, TABLES[log.kind], version=__version__, serial=self._serial)

    # --- the bus's side -------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        for log in self._logs.values():
            log.handle(event)

    def ready(self) -> bool:
        return all(log.ready() for log in self._logs.values())

    # --- the owner's side -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin or go on with the files. OSError: a gateway without its logs does not start."""
        for log in self._logs.values():
            log.file.open()
        self._watch()

    def _watch(self) -> None:
        """A disk that refused a line is asked again, also when no further event comes."""
        if self._closed:
            return
        for log in self._logs.values():
            log.file.look()
        self._around.clock.call_later(_RETRY_SECONDS, self._watch)

    def prepare(self, document: Document) -> list[Problem]:
        """Make the folders that a document's new logs need; what can't be made."""
        problems = []
        for log in self._mine(document):
            folder = logs_folder(self._around.home) / log.name
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            except OSError as error:
                text = f"the folder {folder} can't be made: {error.strerror}"
                problems.append(
                    Problem(
                        key_path("log_subscriptions", log.name), text, "Choose another name, or remove it"
                    )
                )
        return problems

    def configure(self, document: Document) -> None:
        """Write the logs of this document from now on. Files of those that it lacks stay where they are."""
        logs = self._mine(document)
        kept = {log.name for log in logs if self._kinds.get(log.name) == log.kind}
        for name in [name for name in self._logs if name not in kept]:
            self._logs.pop(name).file.close()
            del self._kinds[name]
        for log in logs:
            known = self._logs.get(log.name)
            if known is not None:
                known.configure(log)
                continue
            file = self._add(log).file
            try:
                file.open()
            except OSError as error:
                file.error = error  # it is tried again, and no mail is taken until then

    def flush(self) -> None:
        for log in self._logs.values():
            log.file.flush()

    def rotate(self, name: str | None = None) -> Sequence[str]:
        """Begin new files, of the log called `name` or of all; the names of those that were."""
        chosen = [each for each in self._logs if name is None or each == name]
        for each in chosen:
            self._logs[each].file.rotate()
        return chosen

    def reopen(self) -> None:
        """After a file was moved away by hand, or another process began a new one."""
        for log in self._logs.values():
            log.file.reopen()

    def close(self) -> None:
        self._closed = True
        for log in self._logs.values():
            log.file.close()
