"""SQLite's files read by our own eyes: for what must be known before SQLite opens them, and once it can't.

SQLite takes a log that is damaged in the middle for one that ends there, and deletes a log beside an empty
database: what is lost in this way is lost without a word. Formats: https://sqlite.org/fileformat2.html (§1
pages and records, §4 the log), https://sqlite.org/walformat.html (§2 the log's index).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import msgspec

MAGIC = b"SQLite format 3\0"
_LOG_HEADER, _FRAME_HEADER = 32, 24
_LOG_MAGIC = 0x377F0682
_PAGE_SIZES = frozenset(1 << power for power in range(9, 17))
_MASK = 0xFFFF_FFFF


def log_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def index_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def _u32(data: bytes | memoryview, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _sum(data: bytes | memoryview, seed: tuple[int, int], order: str) -> tuple[int, int]:
    """The log's checksum: an even number of 32-bit words, added up in two entangled sums."""
    first, second = seed
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & _MASK
        second = (second + other + first) & _MASK
    return first, second


class LogIndex(msgspec.Struct, frozen=True):
    """What the index beside a log says of it. SQLite writes it behind the fsync of each commit and after a
    crash leaves it where it is: the only witness of how long the log was."""

    frames: int
    """Frames that were committed."""
    copied: int
    """Of these, frames that are in the database as well."""
    salts: bytes
    page_size: int

    @classmethod
    def read(cls, path: Path) -> LogIndex | None:
        """The index of a database's log, None when there is none or it is not whole."""
        try:
            with index_path(path).open("rb") as file:
                data = file.read(136)
        except FileNotFoundError:
            return None
        if len(data) < 136 or data[:48] != data[48:96] or not data[12]:
            return None
        if _sum(data[:40], (0, 0), "=") != struct.unpack("=2I", data[40:48]):
            return None
        frames, copied = struct.unpack("=I", data[16:20])[0], struct.unpack("=I", data[96:100])[0]
        size = struct.unpack("=H", data[14:16])[0]
        return cls(frames, copied, bytes(data[32:40]), 65536 if size == 1 else size)


class Frame(msgspec.Struct, frozen=True):
    """A page in the log."""

    page: int
    commit: int
    """Pages in the database after the transaction that this frame ends; 0 within a transaction."""
    offset: int
    """Where the page's bytes begin in the file."""
    good: bool
    """Whether its checksum agrees."""


class Log:
    """The log of a database, all frames of its present generation, also those behind a damaged one."""

    def __init__(self, data: bytes, index: LogIndex | None) -> None:
        self.data = data
        self.index = index
        self.frames: list[Frame] = []
        self.whole = 0
        """Frames up to the last commit that SQLite will see."""
        self.header_good = False
        told = _u32(data, 8) if len(data) >= _LOG_HEADER else 0
        if told not in _PAGE_SIZES and index is not None:
            told = index.page_size
        self.page_size = told if told in _PAGE_SIZES else 0
        if self.page_size:
            self._read()

    def _read(self) -> None:
        data, size = self.data, self.page_size
        told = _u32(data, 0) & ~1 == _LOG_MAGIC
        order = ">" if told and data[3] & 1 else "<"
        head = _sum(data[:24], (0, 0), order)
        self.header_good = told and head == (_u32(data, 24), _u32(data, 28))
        salts = data[16:24]
        if self.index is not None and self.index.frames > self.index.copied:
            salts = self.index.salts
        running: tuple[int, int] | None = head if self.header_good else None
        unbroken = self.header_good and salts == data[16:24]
        for at in range(_LOG_HEADER, len(data) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
            body = at + _FRAME_HEADER
            ours = data[at + 8 : at + 16] == salts
            stored = (_u32(data, at + 16), _u32(data, at + 20))
            good = False
            if ours and running is not None:
                begun = _sum(data[at : at + 8], running, order)
                good = _sum(data[body : body + size], begun, order) == stored
            # Each sum goes on from the one before: behind a damaged page the stored one still leads on.
            running = stored if ours else None
            frame = Frame(_u32(data, at), _u32(data, at + 4) if ours else 0, body, good)
            self.frames.append(frame)
            unbroken = unbroken and good
            if unbroken and frame.commit:
                self.whole = len(self.frames)

    def lost(self) -> str | None:
        """What SQLite would silently leave out, in words; None when the log is as a crash leaves it."""
        index = self.index
        if index is not None:
            promised = index.frames if index.frames > index.copied else 0
            if self.whole >= promised:
                return None
            return f"of {promised} committed pages in its log {promised - self.whole} are damaged or gone"
        if len(self.data) > _LOG_HEADER and not self.header_good:
            return "its log has no head that makes sense"
        behind = sum(frame.good for frame in self.frames[self.whole :][1:])
        committed = any(frame.good and frame.commit for frame in self.frames[self.whole :])
        if behind and committed:
            return f"its log is damaged after page {self.whole}, and {behind} whole pages follow"
        return None

    def pages(self) -> tuple[dict[int, int], int]:
        """({page: where its last committed bytes are}, pages in the database or 0 when the log doesn't
        say)."""
        found: dict[int, int] = {}
        count = 0
        promised = self.index.frames if self.index is not None else 0
        open_pages: dict[int, int] = {}
        for number, frame in enumerate(self.frames, 1):
            if frame.good:
                open_pages[frame.page] = frame.offset
            if (frame.commit and frame.good) or number == promised:
                found |= open_pages
                open_pages = {}
                count = frame.commit if frame.good else count
        if len(self.frames) < promised:
            found |= open_pages
        return found, count


def read_log(path: Path) -> Log:
    """The log of the database at `path`, empty when there is none."""
    try:
        data = log_path(path).read_bytes()
    except FileNotFoundError:
        data = b""
    return Log(data, LogIndex.read(path))


def lost_in_log(path: Path) -> str | None:
    """What of a database's log SQLite would leave out without a word (see `Log.lost`). Another process may be
    writing it: what was read counts if the index is the same before and after."""
    for _ in range(20):
        index = LogIndex.read(path)
        if index is not None and index.frames <= index.copied:
            return None
        try:
            data = log_path(path).read_bytes()
        except FileNotFoundError:
            data = b""
            if index is None:
                return None
        found = Log(data, index).lost()
        if found is None or LogIndex.read(path) == index:
            return found
    return None


def stored_version(path: Path) -> int | None:
    """`PRAGMA user_version` of a database as its last commit left it, without opening it.

    None when there is no such file or it is no database: that is for others to judge.
    """
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return None
    if head[:16] != MAGIC:
        return None
    try:
        with log_path(path).open("rb") as file:
            return _version_in_log(file.fileno(), file.read(_LOG_HEADER)) or _u32(head, 60)
    except FileNotFoundError:
        return _u32(head, 60)


def _version_in_log(descriptor: int, header: bytes) -> int | None:
    size = _u32(header, 8) if len(header) == _LOG_HEADER else 0
    found = latest = None
    if size not in _PAGE_SIZES:
        return None
    at = _LOG_HEADER
    while len(frame := os.pread(descriptor, _FRAME_HEADER, at)) == _FRAME_HEADER:
        if frame[8:16] != header[16:24]:
            break
        if _u32(frame, 0) == 1:
            page = os.pread(descriptor, 100, at + _FRAME_HEADER)
            latest = _u32(page, 60) if page[:16] == MAGIC else latest
        if _u32(frame, 4):
            found = latest
        at += _FRAME_HEADER + size
    return found


class Row(msgspec.Struct, frozen=True):
    """A record of a table or an index."""

    rowid: int | None
    values: tuple[object, ...]
    whole: bool
    """Whether all of its bytes were found."""


class RawDatabase:
    """The pages of a database, completed by its log; reads whatever is left of its trees."""

    def __init__(self, path: Path, page_size: int) -> None:
        """`page_size` is used where neither file tells it."""
        try:
            self._data = path.read_bytes()
        except FileNotFoundError:
            self._data = b""
        self._log = read_log(path)
        self._pages, count = self._log.pages()
        self.page_size = _told_page_size(self._data) or self._log.page_size or page_size
        if self._log.page_size != self.page_size:
            self._pages = {}
        self.count = max(len(self._data) // self.page_size, count, *self._pages, 0)
        self.visited: set[int] = set()
        self.faults = 0
        """Pages and records that made no sense."""

    def page(self, number: int) -> bytes | None:
        if number in self._pages:
            return self._log.data[self._pages[number] : self._pages[number] + self.page_size]
        start = (number - 1) * self.page_size
        data = self._data[start : start + self.page_size] if number > 0 else b""
        return data if len(data) == self.page_size else None

    def free(self) -> set[int] | None:
        """Pages on the list of free ones; None when the list is not whole, so that any page may be on it."""
        first = self.page(1)
        if first is None or first[:16] != MAGIC:
            return None
        trunk, wanted = _u32(first, 32), _u32(first, 36)
        found: set[int] = set()
        while trunk:
            page = self.page(trunk)
            if page is None or trunk in found:
                return None
            found.add(trunk)
            leaves = _u32(page, 4)
            if leaves > self.page_size // 4 - 2:
                return None
            found.update(_u32(page, 8 + 4 * i) for i in range(leaves))
            trunk = _u32(page, 0)
        return found if len(found) == wanted else None

    def roots(self) -> dict[str, int]:
        """{name: root page} of what the database's own list of tables and indices holds."""
        return {
            str(row.values[1]): row.values[3]
            for row in self.tree(1)
            if len(row.values) == 5 and isinstance(row.values[3], int)
        }

    def tree(self, root: int) -> Iterator[Row]:
        """The records of a table or index below a root page; branches that make no sense are left out."""
        waiting = [root]
        while waiting:
            number = waiting.pop()
            if number in self.visited:
                self.faults += number != root
                continue
            self.visited.add(number)
            children, rows = self._read_page(number)
            waiting += reversed(children)
            yield from rows

    def lone(self, number: int) -> Iterator[Row]:
        """The records of one page, whose way from the root was lost."""
        page = self.page(number)
        if page is not None and page[100 if number == 1 else 0] in (2, 5, 10, 13):
            self.visited.add(number)
            yield from self._read_page(number)[1]

    def _read_page(self, number: int) -> tuple[list[int], Iterator[Row]]:
        page = self.page(number)
        at = 100 if number == 1 else 0
        kind = page[at] if page is not None else 0
        if page is None or kind not in (2, 5, 10, 13):
            self.faults += 1
            return [], iter(())
        inner = kind in (2, 5)
        cells = int.from_bytes(page[at + 3 : at + 5], "big")
        start = at + (12 if inner else 8)
        if start + 2 * cells > self.page_size:
            self.faults += 1
            return [], iter(())
        pointers = struct.unpack(f">{cells}H", page[start : start + 2 * cells])
        children: list[int] = []
        if inner:
            children = [_u32(page, pointer) for pointer in pointers] + [_u32(page, at + 8)]
            pointers = tuple(pointer + 4 for pointer in pointers)
        if kind == 5:
            return children, iter(())
        return children, self._rows(page, pointers, table=kind == 13)

    def _rows(self, page: bytes, pointers: tuple[int, ...], *, table: bool) -> Iterator[Row]:
        for pointer in pointers:
            try:
                row = self._cell(page, pointer, table=table)
            except (IndexError, ValueError, struct.error):
                self.faults += 1
                continue
            self.faults += not row.whole
            yield row

    def _cell(self, page: bytes, at: int, *, table: bool) -> Row:
        length, at = _varint(page, at)
        rowid: int | None = None
        if table:
            rowid, at = _varint(page, at)
        if length > len(self._data) + len(self._log.data):
            raise ValueError(length)
        local = self._local(length, table=table)
        payload = page[at : at + local]
        if local < length:
            payload += self._overflow(_u32(page, at + local), length - local)
        return Row(rowid, tuple(_record(payload)), len(payload) == length)

    def _local(self, length: int, *, table: bool) -> int:
        """Bytes of a payload that are in the cell itself (§1.6)."""
        usable = self.page_size
        most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return length
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        return local if local <= most else least

    def _overflow(self, number: int, length: int) -> bytes:
        found = bytearray()
        while len(found) < length and number and number not in self.visited:
            page = self.page(number)
            if page is None:
                break
            self.visited.add(number)
            found += page[4 : 4 + length - len(found)]
            number = _u32(page, 0)
        return bytes(found)


def _told_page_size(data: bytes) -> int:
    """What a database's header says, 0 where it says nothing that can be."""
    size = int.from_bytes(data[16:18], "big")
    size = 65536 if size == 1 else size
    return size if data[:16] == MAGIC and size in _PAGE_SIZES else 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = data[at + count]
        if count == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            break
    return value, at + count + 1


_INTEGERS = (0, 1, 2, 3, 4, 6, 8)


def _record(payload: bytes) -> Iterator[object]:
    """The values of a record (§2.1). Of the one at which the bytes end, what is there; none behind it."""
    header, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < header:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at = header
    for kind in kinds:
        if kind >= 12:
            size = (kind - 12) // 2
            raw = payload[at : at + size]
            if kind % 2:
                yield raw.decode() if len(raw) == size else raw.decode(errors="replace")
            else:
                yield raw
        else:
            size = 8 if kind == 7 else _INTEGERS[kind] if kind < 7 else 0
            raw = payload[at : at + size]
            if len(raw) < size:
                return
            if kind == 0:
                yield None
            elif kind == 7:
                yield struct.unpack(">d", raw)[0]
            else:
                yield kind - 8 if kind >= 8 else int.from_bytes(raw, "big", signed=True)
        at += size
        if len(raw) < size:
            return
