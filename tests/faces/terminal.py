"""`mxseal` as a process: on pipes, or on a pseudo terminal as a person has it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mxseal

SOURCE = Path(mxseal.__file__).parent.parent
PATIENCE = 20.0


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(SOURCE),
        "MXSEAL_HOME": str(home),
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "TERM": "xterm",
        "INPUTRC": "/dev/null",
        "LC_ALL": "C.UTF-8",
    }


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mxseal", *words]


def run(home: Path, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """One `mxseal` on pipes."""
    return subprocess.run(
        command(*words), input=stdin, capture_output=True, env=environment(home), timeout=PATIENCE,
        check=False, cwd=home,
    )  # fmt: skip


class Terminal:
    """What somebody types, and what they see."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self._master = master
        self.process = process
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def expect(self, text: str) -> str:
        """Read until `text` is seen; gives all up to its end and forgets it."""
        while text not in self.seen:
            assert self._readable(PATIENCE), f"{text!r} did not come, this did: {self.seen!r}"
            try:
                self.seen += os.read(self._master, 65536).decode()
            except OSError:
                raise AssertionError(f"{text!r} did not come before the end: {self.seen!r}") from None
        end = self.seen.index(text) + len(text)
        before, self.seen = self.seen[:end], self.seen[end:]
        return before

    def _readable(self, seconds: float) -> bool:
        poll = select.poll()  # select(2) knows no descriptor above 1023
        poll.register(self._master, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def interrupt(self, text: str) -> str:
        """Press Ctrl-C until `text` is seen.

        Once is not always enough: a signal that comes after a question was printed, and before readline waits
        for the answer, is only noticed at the next key.
        """
        for _ in range(int(PATIENCE)):
            self.type("\x03")
            while text not in self.seen and self._readable(1.0):
                self.seen += os.read(self._master, 65536).decode()
            if text in self.seen:
                break
        return self.expect(text)

    def status(self) -> int:
        return self.process.wait(PATIENCE)


@contextmanager
def terminal(home: Path, *words: str) -> Iterator[Terminal]:
    """`mxseal` on a pseudo terminal that is its own, so that Ctrl-C reaches it."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (40, 120))
    process = subprocess.Popen(
        command(*words), stdin=slave, stdout=slave, stderr=slave, env=environment(home), cwd=home,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)
