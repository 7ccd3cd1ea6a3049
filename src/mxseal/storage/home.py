"""The home: one folder that holds everything of a gateway, and the lock that makes it one process's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from mxseal.storage.sealing import Seal, make_key_file
from mxseal.storage.spool import Limits
from mxseal.storage.state import State

__all__ = ["Home", "HomeInUse", "Limits"]


class HomeInUse(Exception):
    """Another process holds the home; the text names it."""


class Home:
    """Where things are. All folders are for the owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state_file = root / "state.db"
        self.key_file = root / "seal.key"
        self.spool = root / "spool"
        self.logs = root / "logs"
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

    def open_state(self) -> State:
        """The home's state, with its secrets sealed under the key file."""
        return State(self.state_file, Seal.from_file(self.key_file))

    def lock(self) -> None:
        """Hold the home until the process ends. HomeInUse when another process does."""
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise HomeInUse(
                f"The home {self.root} is in use by process {pid}: stop it, or choose another with --home."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor

    def unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
