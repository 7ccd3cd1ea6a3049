"""The home: one folder that holds everything of a gateway, and the lock that makes it one process's."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from mxseal.storage import layout, peers, queuefile, state
from mxseal.storage.captures import Captures
from mxseal.storage.schema import HomeRefused, check_version
from mxseal.storage.sealing import Seal, make_key_file
from mxseal.storage.spool import Limits
from mxseal.storage.state import State

__all__ = ["Home", "HomeInUse", "HomeRefused", "Limits"]


class HomeInUse(Exception):
    """Another process holds the home; the text names it."""


class Home:
    """Where things are. All folders are for the owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state_file = root / "state.db"
        self.peers_file = root / "peers.db"
        self.key_file = root / "seal.key"
        self.spool = root / "spool"
        self.logs = root / "logs"
        self.captures = root / "captures"
        self.run = root / "run"
        self.socket = self.run / "mxseal.sock"
        self._lock_file = root / "lock"
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        return self.state_file.exists()

    def make(self) -> None:
        """Make the folders and a new key file. FileExistsError when the home has one."""
        for folder in (self.root, self.spool, self.logs, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        make_key_file(self.key_file)
        layout.write_layout(self.root)

    def upgrade(self) -> list[str]:
        """Make an older program's home this one's; what was done, in sentences. Call it once the home is
        locked and before anything in it is opened. The databases are brought up to date when they are opened.

        HomeRefused, and nothing is changed, when a newer program has used the home.
        """
        layout.read_layout(self.root)
        check_version(self.state_file, state.SCHEMA.version)
        check_version(self.peers_file, peers.SCHEMA.version)
        for folder in (self.spool, *sorted(self.spool.glob("*/"))):
            check_version(folder / queuefile.NAME, queuefile.SCHEMA.version)
        return layout.upgrade(self.root, self.spool)

    def open_state(self) -> State:
        """The home's state, with its secrets sealed under the key file."""
        return State(self.state_file, Seal.from_file(self.key_file))

    def open_captures(self) -> Captures:
        """The home's recordings, sealed under the key file."""
        return Captures(self.captures, Seal.from_file(self.key_file))

    def share(self, number: int) -> Path:
        """The folder of one worker's share of the queue; made when it is missing."""
        folder = self.spool / str(number)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def shares(self) -> list[int]:
        """The shares that are there, also those of workers that the configuration no longer has."""
        return sorted(int(each.name) for each in self.spool.iterdir() if each.name.isdecimal())

    def drop_share(self, number: int) -> None:
        """Remove an empty share. One in which damaged messages were set aside stays: an operator needs it."""
        if not any(self.share(number).glob("damaged-*")):
            shutil.rmtree(self.share(number))

    def lock_share(self, number: int) -> None:
        """Hold a share until the process ends; waits for a predecessor that is dying."""
        path = self.share(number) / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def lock(self) -> None:
        """Hold the home until the process ends. HomeInUse when another process does, HomeRefused when the
        disk does not let it be held."""
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeRefused(
                f"{self._lock_file} can't be written: {error.strerror}. See that the file system can be "
                "written (mount, dmesg) and that the home belongs to the user that the gateway runs as."
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise HomeInUse(
                f"The home {self.root} is in use by process {pid}: stop it, or choose another with --home."
            ) from None
        self._lock = descriptor
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the number is for people, the lock holds without

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
