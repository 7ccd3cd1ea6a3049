"""Recordings of connections on disk: sealed, bounded, each made by exactly one worker.

A file holds two sealed values: what the recording is of, and the recording. Nothing is written before it is
sealed. A worker that begins a recording claims a place of its order by making a file, which the file system
lets only one do; the leading process takes back what a worker leaves behind when it dies.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

from mxseal.storage.ports import StorageRefused
from mxseal.storage.sealing import Seal, SealBroken

_MAGIC = b"MXSealC1"
_LENGTH = struct.Struct("!I")
_LARGEST_HEAD = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")
_SUFFIX = ".sealed"
_DONE = b"done"


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a recording is of. Times in seconds since the epoch, UTC; `size` in bytes, as downloaded."""

    name: str
    kind: str
    """session, or packets."""
    made_at: float
    size: int
    user: str
    """Who asked for it."""
    wanted: str
    """What was asked for, in words."""
    content: bool = False
    number: str = ""
    """ICID 12, DCID 34."""
    peer: str = ""
    remarks: tuple[str, ...] = ()


class Captures:
    """The folder of recordings. Any number of processes may have it open."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self.folder = folder
        self._seal = seal

    # --- recordings -----------------------------------------------------------------------------------------

    def store(self, about: About, content: bytes, *, mark: str) -> None:
        """Keep a recording. `mark` names who writes. StorageRefused when the disk does not take it."""
        head = self._seal.seal(_place(about.name, "about"), msgspec.msgpack.encode(about))
        body = self._seal.seal(_place(about.name, "file"), content)
        unfinished = self.folder / f".{mark}-{about.name}"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(_MAGIC + _LENGTH.pack(len(head)) + head + body)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._file(about.name))
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise StorageRefused("sick", f"{self.folder}: {error.strerror}") from None

    def all(self) -> list[About]:
        """All that can be read, oldest first."""
        found = [self._about(path) for path in self._paths()]
        return sorted((each for each in found if each is not None), key=lambda each: each.made_at)

    def find(self, name: str) -> About | None:
        """One of them."""
        return self._about(self._file(name)) if _NAME.fullmatch(name) else None

    def read(self, name: str) -> bytes:
        """A recording as it is downloaded. StorageRefused when it is not there or does not open."""
        if not _NAME.fullmatch(name):
            raise StorageRefused("sick", f"there is no recording {name}")
        try:
            data = self._file(name).read_bytes()
            start = len(_MAGIC) + _LENGTH.size
            (size,) = _LENGTH.unpack_from(data, len(_MAGIC))
            return self._seal.open(_place(name, "file"), data[start + size :])
        except OSError as error:
            raise StorageRefused("sick", f"{name}: {error.strerror}") from None
        except (SealBroken, struct.error) as broken:
            raise StorageRefused("sick", str(broken)) from None

    def delete(self, name: str) -> bool:
        """Remove one; False when there is none."""
        if not _NAME.fullmatch(name):
            return False
        try:
            self._file(name).unlink()
        except OSError:
            return False
        return True

    def expire(self, before: float) -> list[str]:
        """Remove those that were made before this moment, and those that can't be read any more."""
        gone = [path for path in self._paths() if _made(self._about(path), path) < before]
        for path in gone:
            path.unlink(missing_ok=True)
        return [path.name.removesuffix(_SUFFIX) for path in gone]

    def used(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._paths())

    def _paths(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.glob(f"*{_SUFFIX}")) if path.is_file())

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}{_SUFFIX}"

    def _about(self, path: Path) -> About | None:
        name = path.name.removesuffix(_SUFFIX)
        try:
            with path.open("rb") as file:
                if file.read(len(_MAGIC)) != _MAGIC:
                    return None
                (size,) = _LENGTH.unpack(file.read(_LENGTH.size))
                head = file.read(min(size, _LARGEST_HEAD))
            return msgspec.msgpack.decode(self._seal.open(_place(name, "about"), head), type=About)
        except (OSError, struct.error, SealBroken, msgspec.DecodeError, msgspec.ValidationError):
            return None

    # --- claims ---------------------------------------------------------------------------------------------

    def claim(self, order: str, count: int, mark: str) -> int | None:
        """Take one of an order's places; None when all are taken. OSError counts as none."""
        mine = self.folder / f".{mark}-claim"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            mine.write_text(mark)
        except OSError:
            return None
        for number in range(count):
            try:
                os.link(mine, self._claim(order, number))  # with its content, or not at all
            except OSError:
                continue
            return number
        return None

    def fulfil(self, order: str, number: int, mark: str) -> None:
        """The recording of a claim is stored."""
        # A name of its own: a worker stores several recordings side by side.
        path, done = self._claim(order, number), self.folder / f".{mark}-done-{order}-{number}"
        with contextlib.suppress(OSError):
            if path.exists():  # an order that is disarmed has no claims any more
                done.write_bytes(_DONE)
                done.replace(path)

    def give_back(self, order: str, number: int) -> None:
        """The claim led to no recording."""
        self._claim(order, number).unlink(missing_ok=True)

    def progress(self, order: str, count: int) -> tuple[int, int]:
        """(recordings that are being made, recordings that are stored)."""
        states = [self._state(order, number) for number in range(count)]
        done = states.count(_DONE)
        return len(states) - states.count(None) - done, done

    def forget(self, order: str) -> None:
        """Drop an order's claims."""
        for path in self.folder.glob(f".claim-{order}-*"):
            path.unlink(missing_ok=True)

    def take_back(self, mark: str) -> bool:
        """A worker died: what it had begun is as if it had not. True when there was something."""
        found = False
        for path in self.folder.glob(".claim-*"):
            if path.read_bytes() == mark.encode():
                path.unlink(missing_ok=True)
                found = True
        for path in self.folder.glob(f".{mark}-*"):
            path.unlink(missing_ok=True)
        return found

    def sweep(self) -> None:
        """At the start: drop what an earlier run did not finish."""
        for path in self.folder.glob(".*"):
            path.unlink(missing_ok=True)

    def _claim(self, order: str, number: int) -> Path:
        return self.folder / f".claim-{order}-{number}"

    def _state(self, order: str, number: int) -> bytes | None:
        try:
            return self._claim(order, number).read_bytes()
        except OSError:
            return None


def _place(name: str, part: str) -> str:
    return f"capture/{name}/{part}"


def _made(about: About | None, path: Path) -> float:
    return about.made_at if about is not None else path.stat().st_mtime
