"""One child process of the laboratory: started in its own process group, waited for, ended by its own id."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab import Trouble
from lab.place import LOOPBACK

PAUSE = 0.01
"""Seconds between two looks at something that another process does."""
PATIENCE = 30.0
"""Seconds that a peer may take for anything before it counts as failed."""

_living: set[Child] = set()


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to start. `output` takes standard output and error; `account` is (uid, gid) to become, if root."""

    name: str
    words: Sequence[str]
    output: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    account: tuple[int, int] | None = None
    folder: Path | None = None


def plain_environment() -> dict[str, str]:
    """The environment less what would change how a server behaves or speaks."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C",
        "LC_ALL": "C",
    }


class Child:
    """A running program and the process group that it leads. `stop` may be called twice."""

    def __init__(self, program: Program) -> None:
        self.program = program
        uid, gid = program.account or (None, None)
        with program.output.open("ab") as output:
            self._process = subprocess.Popen(
                list(program.words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=plain_environment() | dict(program.environment),
                cwd=program.folder,
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=None if uid is None else [],
            )
        self.pid = self._process.pid
        _living.add(self)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit status. Raises Trouble when the program still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Trouble(f"{self.program.name} has not ended after {seconds:g} s. {self.tail()}") from None

    def signal(self, number: int) -> None:
        """Send a signal to the program alone."""
        if self.running:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the whole group, at once: the machine's power cut, as far as the program can tell."""
        self._signal_group(signal.SIGKILL)
        self._process.wait()
        _living.discard(self)

    def stop(self, seconds: float = 10.0) -> int | None:
        """SIGTERM, then, after `seconds`, SIGKILL; nothing of the group is left. The exit status."""
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        self.kill()
        return self.status

    def tail(self, lines: int = 15) -> str:
        """The last lines that the program wrote, for a message."""
        text = self.program.output.read_text(errors="replace").strip().splitlines()[-lines:]
        return "It wrote nothing." if not text else "It wrote:\n  " + "\n  ".join(text)

    def _signal_group(self, number: int) -> None:
        # The group's number is the leader's id, which stays taken while any member of the group lives.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


@atexit.register
def _stop_all() -> None:
    for child in list(_living):
        child.stop(2.0)


def looks(seconds: float) -> Iterator[None]:
    """Yield, with a pause between, until `seconds` are over: the one place where the laboratory waits."""
    end = time.monotonic() + seconds
    yield
    while time.monotonic() < end:
        time.sleep(PAUSE)
        yield


def until(look: Callable[[], bool], failed: Callable[[], str], seconds: float = PATIENCE) -> None:
    """Return as soon as `look()` is true. Raises Trouble with the text of `failed()` after `seconds`."""
    for _ in looks(seconds):
        if look():
            return
    raise Trouble(failed())


def answers(port: int) -> bool:
    """Whether something takes TCP connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def wait_for_port(child: Child, port: int, seconds: float = PATIENCE) -> None:
    """Return when `child` takes connections on `port`. Raises Trouble when it has ended or takes too long."""
    name = child.program.name

    def ready() -> bool:
        if not child.running:
            raise Trouble(f"{name} ended with status {child.status} instead of listening. {child.tail()}")
        return answers(port)

    until(
        ready, lambda: f"{name} does not listen on port {port} after {seconds:g} s. {child.tail()}", seconds
    )
