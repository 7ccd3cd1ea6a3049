"""The caller's side of the local face: sends a command's words, shows what comes, answers from its terminal.

Imports little, as it is what starts with every command that is typed. Trusts little too: root may call into
the home of somebody else, so what is read, written and shown is what root has typed, not what a socket wants.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import socket
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

FAILED, UNAVAILABLE, CANCELLED, BROKEN_PIPE = 1, 69, 130, 141
"""Exit statuses: 69 as in sysexits(3), 130 and 141 as a shell gives them for SIGINT and SIGPIPE."""
_LONGEST_NAME = 100
"""Bytes that surely fit into sun_path."""
_UNSAFE = re.compile(
    r"(\x1b\[[0-9;]{0,20}m)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""What can steer a terminal or turn its text around; a colour, which the gateway may use, is the group."""
_BEGUN = re.compile(r"\x1b(?:\[[0-9;]{0,20})?\Z")
Message = dict[str, Any]


class NotRunning(Exception):
    """No gateway that can be talked to listens in this home; the text says so and what to do."""


class NotTyped(Exception):
    """The gateway wants what nobody gave it; the text says what."""


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
    # Whoever can write into a home can put a socket there, and root would tell it passphrases.
    if os.geteuid() == 0 and _peer_uid(connection) not in (0, home.stat().st_uid):
        who = f"user {_peer_uid(connection)}, who is neither root nor its owner"
        connection.close()
        raise NotRunning(f"What listens in {home} is of {who}: not the gateway. Find out who put it there.")
    return connection


def _peer_uid(connection: socket.socket) -> int:
    size = struct.calcsize("3i")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])


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


class Typed:
    """What a person gave the gateway leave to ask for: the words of the command, and answers to questions."""

    def __init__(self, words: list[str]) -> None:
        self._given: set[str] = set()
        for word in words:
            self.add(word)

    def add(self, text: str) -> None:
        """`--key=value` gives leave for the value too."""
        self._given |= {text, text.partition("=")[2]} - {""}

    def answered(self, answer: str) -> None:
        """An answer may be a list, or the words that a menu lacked."""
        for text in (answer, *answer.split(), *answer.replace(",", " ").split()):
            self.add(text)

    def file(self, path: str) -> str:
        """`path`, when it was typed, also as the source of a passphrase. Raises NotTyped."""
        sources = {"-", "stdin"} if path == "-" else {path, f"file:{path}"}
        if self._given.isdisjoint(sources):
            raise NotTyped(f"the gateway asked for the file {path!r}, which was not named")
        return path

    def variable(self, name: str) -> str:
        """Raises NotTyped."""
        if f"env:{name}" not in self._given:
            raise NotTyped(f"the gateway asked for the environment's variable {name!r}, which was not named")
        return name


def visible(text: str) -> str:
    """Control characters but tabs, line ends and colours become \\xNN."""
    return _UNSAFE.sub(lambda found: found[1] or ascii(found[0])[1:-1], text)


class Screen:
    """One of the caller's outputs; on a terminal nothing steers it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._guarded = stream.isatty()
        self._begun = ""
        """A colour that the end of a piece has cut."""

    def show(self, text: str) -> None:
        if self._guarded:
            text = self._begun + text
            begun = _BEGUN.search(text)
            self._begun = begun[0] if begun else ""
            text = visible(text.removesuffix(self._begun))
        self._stream.write(text)
        self._stream.flush()


class Call:
    """One command: from its request to its exit status. Ctrl-C cancels it; a second one does not wait."""

    def __init__(self, home: Path, request: Message) -> None:
        self._line = Line(connect(home))
        self._request = request
        self._typed = Typed(request["words"])
        self._out, self._err = Screen(sys.stdout), Screen(sys.stderr)
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
                self._out.show(message["out"])
            elif "err" in message:
                self._err.show(message["err"])
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
        except NotTyped as refusal:
            reply = {"error": str(refusal)}
        self._line.send(reply)

    def _reply(self, message: Message) -> Message:
        if "read" in message:
            return _read(self._typed.file(message["read"]["path"]), int(message["read"]["limit"]))
        if "write" in message:
            return _write(self._typed.file(message["write"]["path"]), message["write"])
        if "environment" in message:
            return _environment(self._typed.variable(message["environment"]))
        if not self._request["interactive"]:
            # standard input may be a key on its way to somewhere else
            return {"error": "the gateway asked a question, and nobody is at a terminal"}
        self._prompting = True
        try:
            if "ask" in message:
                answer = _ask(message["ask"])
                self._typed.answered(answer)
                return {"answer": answer}
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


def _write(typed: str, wish: Message) -> Message:
    # O_EXCL: no file is overwritten, and no link is followed, whatever the gateway asks
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    path = Path(typed).expanduser()
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
    sys.stdout.write(f"{visible(question['question'].rstrip())}\n")
    prompt = f"[{visible(question['default'])}]> "
    with _completing([visible(str(word)) for word in question.get("offered", ())], prompt):
        return input(prompt)


@contextlib.contextmanager
def _completing(words: list[str], prompt: str) -> Iterator[None]:
    """Tab completes to one of `words` meanwhile, and to nothing else."""
    try:
        import readline  # noqa: PLC0415 - keeps the start quick
    except ImportError:  # a Python that was built without it
        yield
        return
    before, delimiters = readline.get_completer(), readline.get_completer_delims()

    def complete(begun: str, state: int) -> str | None:
        found = [word for word in words if word.lower().startswith(begun.lower())]
        return found[state] if state < len(found) else None

    def display(_begun: str, matches: Sequence[str], _longest: int) -> None:
        sys.stdout.write("\n" + "  ".join(matches) + "\n" + prompt + readline.get_line_buffer())
        sys.stdout.flush()

    readline.set_completer(complete)
    readline.set_completer_delims("")
    readline.set_completion_display_matches_hook(display)
    readline.parse_and_bind("tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_completer_delims(delimiters)


def _secret(question: Message) -> str:
    import getpass  # noqa: PLC0415 - keeps the start quick

    while True:
        first = getpass.getpass(f"{visible(question['question'].rstrip())} ")
        if not question["repeat"] or getpass.getpass("Once more: ") == first:
            return first
        sys.stdout.write("The two are not the same. Try again.\n")


def _paste(question: Message) -> str:
    sys.stdout.write(f"{visible(question['question'].rstrip())} (end with a line that has only '.')\n")
    lines = []
    while (line := input()) != ".":
        lines.append(line)
    return "\n".join(lines) + "\n"


def _silence_stdout() -> None:
    """After a reader such as head went away: keep the interpreter's last flush from complaining."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
