"""An SSH face in a thread of its own, on a home of its own, and the OpenSSH client as its caller."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import pytest
import uvloop
from argon2 import PasswordHasher

from lab import Unavailable
from lab.debs import unpacked
from mxseal.certs.sshkeys import keep_host_key, make_host_key, read_public_key
from mxseal.clock import ManualClock
from mxseal.commands import configuration, logs, sshconfig, system, users
from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument, OutputFile
from mxseal.commands.registry import Registry, command
from mxseal.commands.results import File, Result, Stream
from mxseal.commands.running import AuditRecord, Runner
from mxseal.config.history import History
from mxseal.config.model import Document, Ssh
from mxseal.config.problem import Problem
from mxseal.events.bus import Bus
from mxseal.events.types import Event
from mxseal.faces.ssh import SshFace, SshServices
from mxseal.logs.follow import Bell, Wait
from mxseal.logs.retained import file_path, logs_folder
from mxseal.storage.home import Home
from mxseal.storage.users import User, UserKey
from tests.commands import gateway
from tests.commands.gateway import NOW, FakeServices
from tests.config.documents import document
from tests.config.memory import MemoryDocuments
from tests.faces.terminal import PATIENCE, Terminal

Heard = TypeVar("Heard", bound=Event)
BRICK = bytes(range(256)) * 1000
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
"""Hashes that are made at once."""


@command("press", role="read-only", summary="Press leaves into a file that is not text")
def press(ctx: Context, file: Annotated[OutputFile, Argument("File to write")]) -> Result:
    return File(file.path, BRICK, f"Pressed into {file.path}.", private=True)


@command("pour", role="read-only", summary="More than any buffer holds")
def pour(ctx: Context) -> Result:
    async def cups() -> AsyncIterator[str]:
        for _ in range(3000):
            yield "tea " * 5000 + "\n"

    return Stream(cups())


class Services(FakeServices):
    """The fake gateway with a real state, a clock that stands, a bus and a log."""

    def __init__(self, root: Path, ssh: Ssh) -> None:
        super().__init__()
        home = Home(root)
        home.make()
        self.state = home.open_state()
        self.users = self.state.users
        self.secrets = self.state.secrets
        self.clock = ManualClock(NOW)
        self.bus = Bus()
        self.bus.add(self)
        self.events: list[Event] = []
        self._heard = threading.Condition()
        self.bell = Bell()
        self.logs_home = root
        folder = logs_folder(root) / "mail_logs"
        folder.mkdir(parents=True)
        self.log = file_path(folder, "mail", "20260214T190000", "current")
        self.log.write_text("".join(f"Info: ICID {n} TLS failed\n" for n in range(1, 31)))
        self.set(document(ssh=ssh))

    def set(self, new: Document) -> None:
        """Another document in force."""
        self.documents = MemoryDocuments()
        self.history = History(self.documents)
        self.history.begin(new, "admin", NOW)

    def document(self, **changes: Any) -> Document:
        """The one in force with these changes in [ssh]."""
        return document(ssh=self.history.current().document.ssh.model_copy(update=changes))

    def write_log(self, line: str) -> None:
        with self.log.open("a") as file:
            file.write(line + "\n")
        self.bell.ring()

    def handle(self, event: Event) -> None:
        with self._heard:
            self.events.append(event)
            self._heard.notify_all()

    def await_event(self, kind: type[Heard]) -> Heard:
        with self._heard:
            assert self._heard.wait_for(lambda: any(isinstance(e, kind) for e in self.events), PATIENCE)
            return next(event for event in reversed(self.events) if isinstance(event, kind))

    def ready(self) -> bool:
        return True

    def now(self) -> float:
        return self.clock.now()

    def log_wait(self) -> Wait:
        return self.bell.listener()


class SshServing:
    """A face that serves on a free port, and what it reported."""

    def __init__(self, root: Path, *, new_keys: bool) -> None:
        self.root = root
        self._new_keys = new_keys
        self.port = _free_port()
        self.services: Services
        self.face: SshFace
        self.problems: list[Problem] = []
        self.records: list[AuditRecord] = []
        self._reported = threading.Semaphore(0)
        self._ready = threading.Event()
        self._stop: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._work)
        self.ssh, self._libraries = client()
        self.key = root / "id_ed25519"
        self.make_key(self.key)

    def make_key(self, path: Path, kind: str = "ed25519") -> None:
        words = ["-q", "-t", kind, "-N", "", "-C", "anna@desk", "-f", str(path)]
        program = str(self.ssh.with_name("ssh-keygen"))
        subprocess.run([program, *words], check=True, env=self.environment())

    # --- the server ---------------------------------------------------------------------------------------

    def _work(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.services = services = Services(self.root / "home", Ssh(address="127.0.0.1", port=self.port))
        for name, role in (("admin", "administrator"), ("rhea", "read-only")):
            services.users.put(User(name=name, role=role, password=CHEAP.hash(PASSWORD)))
        self.trust(self.key)
        if not self._new_keys:
            keep_host_key(services.secrets, "rsa", _slow_key())
        here = sys.modules[__name__]
        commands = Registry((configuration, logs, system, users, sshconfig, gateway, here))
        self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
        self.face = SshFace(Runner(commands, self._audit), cast("SshServices", services))
        self.face.login._hasher = CHEAP
        self.face.login._nobody = CHEAP.hash("")
        self.problems = await self.face.start()
        self._ready.set()
        await self._stop.wait()
        await self.face.stop()
        services.state.close()

    def _audit(self, record: AuditRecord) -> None:
        self.records.append(record)
        self._reported.release()

    def trust(self, key: Path, name: str = "admin") -> None:
        read = read_public_key(key.with_suffix(".pub").read_text())
        entry = UserKey(
            fingerprint=read.fingerprint, kind=read.kind, blob=read.blob, comment=read.comment, added=NOW
        )
        self.services.users.put_key(name, entry)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def do(self, what: Callable[[], Any]) -> Any:
        """Call it on the server's loop, and wait."""

        async def call() -> Any:
            found = what()
            return await found if inspect.isawaitable(found) else found

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(PATIENCE)

    def advance(self, seconds: float) -> None:
        self.do(lambda: self.services.clock.advance(seconds))

    def forget_reports(self) -> None:
        self.records.clear()
        while self._reported.acquire(blocking=False):
            pass

    def await_listening(self) -> None:
        """Until the face has a port."""

        async def wait() -> None:
            while self.face._place is None:
                await asyncio.sleep(0.005)

        self.do(wait)

    def await_width(self, columns: int) -> None:
        """Until the face knows of a terminal so wide."""

        async def wait() -> None:
            while not any(s._width == columns for c in self.face.connections for s in c._sessions):
                await asyncio.sleep(0.005)

        self.do(wait)

    def ended(self) -> AuditRecord:
        """The next report of a command, waited for."""
        assert self._reported.acquire(timeout=PATIENCE)
        return self.records[-1]

    def await_event(self, kind: type[Heard]) -> Heard:
        """The newest event of a kind, waited for."""
        return self.services.await_event(kind)

    def put_in_force(self, **changes: Any) -> list[Problem]:
        """A document whose table [ssh] has these changes, prepared and configured as a commit does."""

        async def swap() -> list[Problem]:
            new = self.services.document(**changes)
            if problems := self.face.prepare(new):
                return problems
            self.services.set(new)
            return await self.face.configure(new)

        return list(self.do(swap))

    # --- the client ---------------------------------------------------------------------------------------

    def command(self, *words: str, user: str = "admin", options: Sequence[str] = ()) -> list[str]:
        known = self.root / "known_hosts"
        fixed = [
            "-F", "none", "-p", str(self.port), "-o", f"UserKnownHostsFile={known}", "-o",
            "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o",
            "IdentityAgent=none",
        ]  # fmt: skip
        keys = ["-i", str(self.key)] if "PubkeyAuthentication=no" not in options else []
        # the client takes the first value that it is given
        return [str(self.ssh), *options, *fixed, *keys, f"{user}@127.0.0.1", *words]

    def run(
        self, *words: str, stdin: bytes = b"", user: str = "admin", options: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        """One `ssh` on pipes."""
        return subprocess.run(
            self.command(*words, user=user, options=options), input=stdin, capture_output=True,
            timeout=PATIENCE, check=False, env=self.environment(),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return dict(os.environ) | {"TERM": "xterm", "LC_ALL": "C.UTF-8"} | self._libraries

    @contextmanager
    def terminal(
        self, *words: str, user: str = "admin", options: Sequence[str] = (), size: tuple[int, int] = (40, 120)
    ) -> Iterator[Screen]:
        """`ssh` on a pseudo terminal of its own."""
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, size)
        process = subprocess.Popen(
            self.command(*words, user=user, options=options), stdin=slave, stdout=slave, stderr=slave,
            env=self.environment(), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        os.close(slave)
        try:
            yield Screen(master, process)
        finally:
            process.kill()
            process.wait()
            os.close(master)


class Screen(Terminal):
    """What somebody at `ssh` types and sees."""

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._master, (rows, columns))
        os.killpg(self.process.pid, signal.SIGWINCH)


def client() -> tuple[Path, dict[str, str]]:
    """The OpenSSH client of this system, or its Debian package, unpacked; and what it needs to run."""
    found = shutil.which("ssh")
    if found is not None and shutil.which("ssh-keygen") is not None:
        return Path(found), {}
    try:
        tree = unpacked("openssh-client")
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))
    return tree.path("usr/bin/ssh"), tree.environment()


@cache
def _slow_key() -> bytes:
    """One for all servers that do not need one of their own."""
    return make_host_key("rsa")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def ssh_serving(root: Path, *, new_keys: bool = False) -> Iterator[SshServing]:
    server = SshServing(root, new_keys=new_keys)
    server.start()
    try:
        yield server
    finally:
        server.stop()
