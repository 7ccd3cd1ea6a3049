"""A real mxseal process in a home of its own, driven through its command line as an operator would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import tomli_w

from lab import Trouble
from lab.mailbox import wait_for_log
from lab.place import free_port, new_folder
from lab.process import PATIENCE, Child, Program, looks, until

STARTING = 60.0
"""Seconds that a gateway may take until it is ready."""


class Gateway:
    """`with Gateway(document) as gateway:` or start(), stop(), start() again on the same home."""

    def __init__(
        self,
        document: str | None = None,
        *,
        home: Path | None = None,
        prepare: Sequence[Sequence[str]] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """`document`: TOML put in force at the first start; `prepare`: commands run and committed before it,
        such as ("certconfig", "import", ...). `home` is kept, and may be one that exists; without it one is
        made and removed. `environment` is added to the process's.
        """
        self._folder = new_folder("gateway")
        self.home = home or self._folder / "home"
        self._document = document
        self._prepare = list(prepare)
        self._environment = dict(environment or {})
        self._child: Child | None = None
        self._loaded = False
        self._notified: socket.socket | None = None
        self.first_words = ""
        """What `mxseal init` printed: the administrator's password is in it."""

    @property
    def pid(self) -> int:
        """Process id of the running gateway."""
        return self._running().pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self) -> Self:
        """Make the home if need be, serve it, put the document in force. Trouble with what it wrote."""
        if not self.home.exists():
            ports = ("--smtp-port", str(free_port()), "--https-port", str(free_port()))
            first = ("--hostname", "mx.lab.test", *ports)
            self.first_words = self._run("init", "--home", str(self.home), *first)
        self._serve()
        if not self._loaded:
            for words in self._prepare:
                self.text(*words)
            if self._prepare:
                self.text("commit", "prepared by the laboratory")
            if self._document is not None:
                self.load(self._document)
            self._loaded = True
        return self

    def stop(self, seconds: float = PATIENCE) -> int | None:
        """SIGTERM, wait; its exit status. The home stays until `close`."""
        status = self._child.stop(seconds) if self._child is not None else None
        self._child = None
        self._stop_listening()
        return status

    def kill9(self) -> None:
        """SIGKILL, as the power cut that a crash test needs; `start` serves the same home again.

        The kernel ends its workers with it, a moment later: returns when they are gone.
        """
        family = _below(self.pid)
        self._running().kill()
        until(lambda: not any(map(_runs, family)), self.output)
        self._child = None
        self._stop_listening()

    def hang_up(self) -> None:
        """SIGHUP."""
        self._running().signal(signal.SIGHUP)

    def close(self) -> None:
        """Stop, and remove the home unless it was given."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def command(self, *words: str) -> Any:
        """Run an administration command with --json and give back what it printed, decoded."""
        text = self._run("--home", str(self.home), "--json", *words)
        try:
            return json.loads(text)
        except ValueError:
            raise Trouble(f"mxseal {' '.join(words)} --json printed what is not JSON: {text[:500]}") from None

    def text(self, *words: str, stdin: str = "") -> str:
        """Run an administration command and give back what it printed. Raises Trouble when it fails."""
        return self._run("--home", str(self.home), *words, stdin=stdin)

    def load(self, document: str, comment: str = "loaded by the laboratory") -> None:
        """Put a whole TOML document in force: loadconfig, commit.

        A document without certificates keeps those that the gateway has: only it knows their public parts.
        """
        kept = tomllib.loads(self.text("showconfig")).get("certificates", [])
        if kept and "certificates" not in tomllib.loads(document):
            document = f"{document}\n{tomli_w.dumps({'certificates': kept})}"
        path = self._folder / "document.toml"
        path.write_text(document)
        self.text("loadconfig", str(path))
        self.text("commit", comment)

    def log(self, name: str = "mail_logs") -> str:
        """All lines of a log, rotated files too, in order."""
        files = (self.home / "logs" / name).glob("*.@*")
        # The stamp between @ and the status orders the files.
        ordered = sorted(files, key=lambda path: path.name.partition("@")[2])
        return "".join(path.read_text(errors="replace") for path in ordered)

    def wait_log(self, pattern: str, seconds: float = PATIENCE, name: str = "mail_logs") -> str:
        """The first match of a regular expression in a log, waiting for it."""
        return wait_for_log(lambda: self.log(name), pattern, seconds)

    def output(self) -> str:
        """What the process wrote on its standard output and error."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    def _running(self) -> Child:
        if self._child is None or not self._child.running:
            raise Trouble(f"the gateway of {self.home} is not running. It wrote: {self.output()[-2000:]}")
        return self._child

    def _words(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "mxseal", *words]

    def _run(self, *words: str, stdin: str = "") -> str:
        done = subprocess.run(
            self._words(*words),
            input=stdin,
            env=dict(os.environ) | self._environment,
            capture_output=True,
            text=True,
            timeout=STARTING,
            check=False,
        )
        if done.returncode:
            said = (done.stderr + done.stdout).strip()
            raise Trouble(f"mxseal {' '.join(words)} ended with status {done.returncode}: {said}")
        return done.stdout

    def _serve(self) -> None:
        path = self._folder / "notify"
        path.unlink(missing_ok=True)
        self._stop_listening()
        self._notified = ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(str(path))
        ready.settimeout(0.05)
        program = Program(
            name="mxseal",
            words=self._words("serve", "--home", str(self.home)),
            output=self._output,
            environment=dict(os.environ) | self._environment | {"NOTIFY_SOCKET": str(path)},
        )
        self._child = child = Child(program)
        self._wait_ready(ready, child)

    def _stop_listening(self) -> None:
        # Open as long as the gateway runs, as systemd's is: it also says there that it is stopping.
        if self._notified is not None:
            self._notified.close()
            self._notified = None

    def _wait_ready(self, ready: socket.socket, child: Child) -> None:
        for _ in looks(STARTING):
            try:
                # sd_notify(3): lines of NAME=value in one datagram.
                if "READY=1" in ready.recv(4096).decode(errors="replace").split("\n"):
                    return
            except TimeoutError:
                pass
            if not child.running:
                raise Trouble(f"mxseal serve ended with status {child.status}. {child.tail(40)}")
        raise Trouble(f"mxseal serve is not ready after {STARTING:g} s. {child.tail(40)}")


def _below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    try:
        children = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*children, *(deeper for child in children for deeper in _below(child))]


def _runs(pid: int) -> bool:
    """Whether a process still has its files open: a zombie has none once its last thread has ended."""
    try:
        return any(_lives(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False


def _lives(thread: str) -> bool:
    """Whether a thread, named by its number, is more than a zombie."""
    try:
        return Path(f"/proc/{thread}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False
