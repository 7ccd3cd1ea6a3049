"""A folder for what is damaged: nothing is thrown away, and an operator can send again what is whole."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from mxseal.storage.schema import sync_folder


class Aside:
    """`damaged-<time>/` in a spool folder, made when the first thing is put into it.

    Of each message there is MID.json, its envelope as far as it is known and what is wrong with it, and
    MID.eml, what is left of its content.
    """

    def __init__(self, spool: Path, at: float) -> None:
        self._spool = spool
        self._name = time.strftime("damaged-%Y%m%dT%H%M%SZ", time.gmtime(at))
        self._folder: Path | None = None
        self.mids: list[int] = []
        """The messages that were put here."""

    @property
    def folder(self) -> Path:
        if self._folder is None:
            for number in range(1, 10_000):
                folder = self._spool / (self._name if number == 1 else f"{self._name}-{number}")
                try:
                    folder.mkdir(mode=0o700)
                except FileExistsError:
                    continue
                self._folder = folder
                break
            else:
                raise OSError(17, f"too many folders {self._name}")
        return self._folder

    @property
    def told(self) -> str:
        """The folder's path, "" when nothing was put into it."""
        return str(self._folder) if self._folder is not None else ""

    def message(self, mid: int, facts: Mapping[str, object], content: bytes | Path | None) -> None:
        """Keep what is known of a message; a content file is moved here."""
        self.mids.append(mid)
        told: dict[str, object] = {"mid": mid, **facts, "content": None}
        if isinstance(content, Path) and content.exists():
            content.rename(self.folder / f"{mid}.eml")
            told["content"] = f"{mid}.eml"
        elif isinstance(content, bytes):
            self._write(f"{mid}.eml", content)
            told["content"] = f"{mid}.eml"
        self._write(f"{mid}.json", json.dumps(told, indent=1, ensure_ascii=False).encode())

    def take(self, path: Path) -> None:
        """Move a file here as it is."""
        if path.exists():
            path.rename(self.folder / path.name)

    def link(self, path: Path, name: str) -> None:
        """Keep a second name of a content file that stays in use."""
        (self.folder / name).hardlink_to(path)

    def sync(self) -> None:
        if self._folder is not None:
            sync_folder(self._folder)
            sync_folder(self._spool)

    def _write(self, name: str, data: bytes) -> None:
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
