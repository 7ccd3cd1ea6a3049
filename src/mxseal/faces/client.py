"""The caller's side of the local face: sends a command's words, shows what comes, answers from its terminal.

Imports little, as it is what starts with every command that is typed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

FAILED, UNAVAILABLE, CANCELLED, BROKEN_PIPE = 1, 69, 130, 141
"""Exit statuses: 69 as in sysexits(3), 130 and 141 as a shell gives them for SIGINT and SIGPIPE."""
_LONGEST_NAME = 100
"""Bytes that surely fit into sun_path."""
Message = dict[str, Any]


class NotRunning(Exception):
    """No gateway listens in this home; the text says so and what to do."""


class Ended:
    """Exit status of a command, and its words without secrets when they had any."""

    def __init__(self, status: int, line: str | None = None) -> None:
        self.status = status
        self.line = line


def socket_path(home: Path) -> Path:
    return home / "run" / "mxseal.sock"


@contextlib.contextmanager
def bindable(path: Path) -> Iterator[str]:
    """A name for the socket that fits into 108 bytes, however long the home's path is."""
    if len(os.fsencode(path)) <= _LONGEST_NAME:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connect(home: Path) -> socket.socket:
    """Raises NotRunning."""
    path = socket_path(home)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with bindable(path) as name:
            connection.connect(name)
    except OSError as error:
        connection.close()
        raise NotRunning(_sentence(home, error)) from None
    return connection


def _sentence(home: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"You may not use the gateway in {home}: only its owner and root may. Try it as that user."
    if not (home / "run").is_dir() and not home.is_dir():
        return (
            f"There is no home in {home}. Make one with 'mxseal init', or name another with --home DIR or "
            "MXSEAL_HOME."
        )
    return f"No gateway is running in {home}. Start it with 'mxseal --home {home} serve'."


class Line:
    """Messages over one connection. Reading can't be torn by a signal: its handler does not raise."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()

    def send(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Message | None:
        """None when the gateway closed the connection."""
        while True:
            end = self._buffer.find(b"\n")
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                return dict(json.loads(line))
            try:
                data = self._socket.recv(1 << 18)
            except ConnectionError:
                return None
            if not data:
                return None
            self._buffer += data

    def close(self) -> None:
        self._socket.close()


def ask_gateway(home: Path, request: Message) -> Message:
    """One short question (`about`, `complete`): all messages of the answer in one. Raises NotRunning."""
    line = Line(connect(home))
    line.send(request)
    answer: Message = {}
    while (message := line.receive()) is not None and "exit" not in message:
        answer.update(message)
    line.close()
    return answer


class Terminal:
    """What the caller's terminal can do, and how it wants to see results."""

    def __init__(self, *, wants_json: bool = False, session: str = "", face: str = "local") -> None:
        self._json = wants_json
        self._session = session
        self._face = face

    def request(self, words: list[str]) -> Message:
        screen = sys.stdout.isatty()
        return {
            "words": words,
            "json": self._json,
            "session": self._session,
            "face": self._face,
            "width": _columns() if screen else None,
            "colour": screen and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
            "interactive": screen and sys.stdin.isatty() and not self._json,
        }


def _columns() -> int:
    with contextlib.suppress(OSError):
        return max(20, os.get_terminal_size(sys.stdout.fileno()).columns)
    return 80


class Call:
    """One command: from its request to its exit status. Ctrl-C cancels it; a second one does not wait."""

    def __init__(self, home: Path, request: Message) -> None:
        self._line = Line(connect(home))
        self._request = request
        self._prompting = False
        self._interrupted = False

    def run(self) -> Ended:
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            self._line.send(self._request)
            return self._listen()
        except KeyboardInterrupt:
            return Ended(CANCELLED)
        except BrokenPipeError:
            _silence_stdout()
            return Ended(BROKEN_PIPE)
        finally:
            signal.signal(signal.SIGINT, before)
            self._line.close()

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._prompting or self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True
        self._line.send({"cancel": True})

    def _listen(self) -> Ended:
        while (message := self._line.receive()) is not None:
            if "exit" in message:
                return Ended(int(message["exit"]), message.get("line"))
            if "out" in message:
                sys.stdout.write(message["out"])
                sys.stdout.flush()
            elif "err" in message:
                sys.stderr.write(message["err"])
                sys.stderr.flush()
            else:
                self._answer(message)
        if self._interrupted:
            return Ended(CANCELLED)
        sys.stderr.write("The gateway closed the connection before the command was finished.\n")
        return Ended(UNAVAILABLE)

    def _answer(self, message: Message) -> None:
        try:
            reply = self._reply(message)
        except (KeyboardInterrupt, EOFError):
            sys.stdout.write("\n")
            self._interrupted = True
            reply = {"cancel": True}
        except OSError as error:
            reply = {"error": f"{error.filename or 'the file'}: {error.strerror or error}"}
        self._line.send(reply)

    def _reply(self, message: Message) -> Message:
        if "read" in message:
            return _read(message["read"]["path"], int(message["read"]["limit"]))
        if "write" in message:
            return _write(message["write"])
        if "environment" in message:
            return _environment(message["environment"])
        self._prompting = True
        try:
            if "ask" in message:
                return {"answer": _ask(message["ask"])}
            if "secret" in message:
                return {"answer": _secret(message["secret"])}
            if "paste" in message:
                return {"answer": _paste(message["paste"])}
        finally:
            self._prompting = False
        return {"error": "this program is older than the gateway and does not know what it asks"}


def _read(path: str, limit: int) -> Message:
    if path == "-":
        content = sys.stdin.buffer.read(limit + 1)
    else:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(limit + 1)
    if len(content) > limit:
        return {"error": f"{path} is larger than {limit >> 10} KiB, which is more than a command takes"}
    return {"content": base64.b64encode(content).decode()}


def _write(wish: Message) -> Message:
    # O_EXCL: no file is overwritten, and no link is followed, whatever the gateway asks
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    path = Path(wish["path"]).expanduser()
    try:
        number = os.open(path, flags, 0o600 if wish["private"] else 0o644)
    except FileExistsError:
        return {"error": f"{path} exists already: choose another name, or move it away"}
    with os.fdopen(number, "wb") as file:
        file.write(base64.b64decode(wish["content"]))
    return {}


def _environment(name: str) -> Message:
    value = os.environ.get(name)
    if value is None:
        return {"error": f"the environment has no variable {name}"}
    return {"answer": value}


def _ask(question: Message) -> str:
    sys.stdout.write(f"{question['question'].rstrip()}\n")
    return input(f"[{question['default']}]> ")


def _secret(question: Message) -> str:
    import getpass  # noqa: PLC0415 - keeps the start quick

    while True:
        first = getpass.getpass(f"{question['question'].rstrip()} ")
        if not question["repeat"] or getpass.getpass("Once more: ") == first:
            return first
        sys.stdout.write("The two are not the same. Try again.\n")


def _paste(question: Message) -> str:
    sys.stdout.write(f"{question['question'].rstrip()} (end with a line that has only '.')\n")
    lines = []
    while (line := input()) != ".":
        lines.append(line)
    return "\n".join(lines) + "\n"


def _silence_stdout() -> None:
    """After a reader such as head went away: keep the interpreter's last flush from complaining."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
