"""`mxseal shell`: the commands of the running gateway with history and completion (reference §6.1)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mxseal.commands.words import UnfinishedLine, join, quote, redact, split, split_for_completion
from mxseal.faces.client import FAILED, UNAVAILABLE, Call, Ended, NotRunning, Terminal, ask_gateway

try:
    import readline
except ImportError:  # a Python that was built without it: lines are plain then
    readline = None  # type: ignore[assignment]

_KEPT_LINES = 2000
_END = {"exit", "quit"}


class Shell:
    """Reads lines until 'exit', 'quit' or the end of the input, and runs each."""

    def __init__(self, home: Path, session: str = "") -> None:
        self._home = home
        self._session = session
        self._words = "mxseal> "
        """The prompt: the hostname, or in a cluster the level that is edited."""
        self._history = History() if sys.stdin.isatty() else None
        self._completions: list[str] = []

    def run(self) -> int:
        """The exit status of the last command."""
        status = 0
        if self._history is not None:
            self._history.open()
        while True:
            try:
                line = self._line()
            except EOFError:
                if self._history is not None:
                    sys.stdout.write("\n")
                return status
            except KeyboardInterrupt:
                sys.stdout.write("^C\n")
                continue
            if line.strip().lower() in _END:
                return status
            if line.strip() and not line.lstrip().startswith("#"):
                status = self._command(line)

    def _line(self) -> str:
        if self._history is not None:
            self._offer_completion()  # each time: a question has completion of its own
            return input(self._prompt())
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def _prompt(self) -> str:
        with contextlib.suppress(NotRunning):
            about = ask_gateway(self._home, {"about": True, "session": self._session}).get("about", {})
            self._words = about.get("prompt", f"{about.get('hostname', 'mxseal')}> ")
        return self._words

    def _command(self, line: str) -> int:
        try:
            words = split(line)
        except UnfinishedLine as error:
            sys.stderr.write(f"{error}.\n")
            return FAILED
        try:
            request = Terminal(session=self._session, face="shell").request(words)
            ended = Call(self._home, request).run()
        except NotRunning as error:
            sys.stderr.write(f"{error}\n")
            ended = Ended(UNAVAILABLE)
        if self._history is not None:  # without passphrases: the gateway knows all, we know pass: at least
            own = join(redact(words)) if redact(words) != words else line
            self._history.add(ended.line or own)
        return ended.status

    # --- completion -----------------------------------------------------------------------------------------

    def _offer_completion(self) -> None:
        if readline is None:
            return
        readline.set_completer(self._complete)
        readline.set_completer_delims("")  # the whole line is given, as names may have spaces and quotes
        readline.set_completion_display_matches_hook(self._display)
        readline.parse_and_bind("tab: complete")

    def _complete(self, line: str, state: int) -> str | None:
        if state == 0:
            self._completions = self._candidates(line)
        return self._completions[state] if state < len(self._completions) else None

    def _candidates(self, line: str) -> list[str]:
        """Whole lines: what is written, with its last word completed."""
        words, incomplete, start = split_for_completion(line)
        question = {"complete": {"words": words, "incomplete": incomplete}, "session": self._session}
        try:
            found = ask_gateway(self._home, question).get("completions", [])
        except NotRunning:
            return []
        values: list[str] = []
        for kind, value, _help in found:
            values += [value] if kind == "plain" else paths(incomplete)
        head = line[:start]
        return [f"{head}{quote(value)}{'' if value.endswith('/') else ' '}" for value in values]

    def _display(self, _line: str, matches: Sequence[str], _longest: int) -> None:
        shown = sorted({_last_word(match) for match in matches})
        sys.stdout.write("\n" + "  ".join(shown) + "\n" + f"{self._words}{readline.get_line_buffer()}")
        sys.stdout.flush()


def _last_word(line: str) -> str:
    words, incomplete, _ = split_for_completion(line)
    return incomplete or (words[-1] if words else "")


def paths(incomplete: str) -> list[str]:
    """Files of this side that begin so; folders with a slash behind them."""
    folder, _, start = incomplete.rpartition("/")
    written = f"{folder}/" if "/" in incomplete else ""
    where = Path(written or ".").expanduser()
    try:
        entries = sorted(where.iterdir())
    except OSError:
        return []
    return [
        f"{written}{entry.name}{'/' if entry.is_dir() else ''}"
        for entry in entries
        if entry.name.startswith(start) and (start or not entry.name.startswith("."))
    ]


class History:
    """The lines of earlier shells. Mode 0600; a line with a passphrase is kept without it."""

    def __init__(self) -> None:
        state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        self._path = Path(state).expanduser() / "mxseal" / "history"
        self._last = ""

    def open(self) -> None:
        """Read it, or begin without one where the folder can't be used."""
        if readline is None:
            return
        readline.set_auto_history(False)  # answers to questions are no commands, and keys may be pasted
        readline.set_history_length(_KEPT_LINES)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._path.chmod(0o600)
            readline.read_history_file(self._path)

    def add(self, line: str) -> None:
        if readline is None or line == self._last:
            return
        self._last = line
        readline.add_history(line)
        with contextlib.suppress(OSError):
            readline.append_history_file(1, self._path)


def shell(home: Path, session: str = "") -> int:
    """Run a shell on the gateway in `home`; gives the exit status."""
    try:
        ask_gateway(home, {"about": True})
    except NotRunning as error:
        sys.stderr.write(f"{error}\n")
        return UNAVAILABLE
    return Shell(home, session).run()
