"""`grep`: a regular expression over all retained files of a log, oldest first (reference §6.2).

Blocks of whole lines are searched for a literal of the pattern at the speed of memory; lines are cut out
and the expression is run only where it was found.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec

from mxseal.logs.follow import Follower
from mxseal.logs.offload import in_thread
from mxseal.logs.pattern import Pattern, compile_literal, compile_pattern
from mxseal.logs.retained import Retained, open_retained, retained, subscription
from mxseal.logs.system import SystemGrep, usable

BLOCK = 1 << 18
"""Bytes read at once: fits a processor's cache, and is searched in a fraction of a millisecond."""
LONGEST_LINE = 1 << 24
STEP_READS = 4 << 20
STEP_GIVES = 1 << 18
SPARSE = 1 << 13
"""Below one hit in so many bytes RE2's search for a literal beats bytes.find, which costs less a hit."""
NEWLINE = b"\n"
SEPARATOR = b"--\n"
Range = tuple[int, int]


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is searched for: the options of the command `grep`."""

    pattern: str
    ignore_case: bool = False
    invert: bool = False
    context: int = 0
    """Lines shown before and after each line that is found, -- between groups."""
    limit: int | None = None
    """Stop after so many lines that are found."""


def grep(
    home: Path,
    name: str,
    query: Query,
    *,
    wait: Callable[[], Awaitable[object]] | None = None,
    lines: int = 10,
) -> AsyncIterator[bytes]:
    """Lines of the log `name` that the query selects, in chunks of whole lines.

    With `wait` the last `lines` lines are searched, then what is written from now on; it is awaited
    whenever all has been read (`polling`, `Bell.listener`). Raises UnknownLog and PatternError at once,
    OSError while reading.
    """
    entry = subscription(home, name)
    selector = Selector(query)
    if wait is not None:
        return in_thread(_Watch(Follower(entry.folder, lines), selector), wait)
    if selector.wants_help and usable(query.pattern):
        reader = SystemGrep(
            retained(entry.folder), query.pattern, ignore_case=query.ignore_case, invert=query.invert
        )
        return in_thread(reader)
    return in_thread(Scan(retained(entry.folder), selector))


class Selector:
    """Cuts what a query selects out of blocks of whole lines, which it is given in order."""

    def __init__(self, query: Query) -> None:
        self._pattern = compile_pattern(query.pattern, ignore_case=query.ignore_case)
        self._invert = query.invert
        self._left = query.limit
        self._context = _Context(query.context) if query.context > 0 else None
        self._hits = _Hits(self._pattern)
        plain = not query.invert and self._context is None and query.limit is None
        self._plain = plain and not self._pattern.ignore_case

    def select(self, block: bytes, end: int) -> bytes:
        """What is selected of `block[:end]`, which ends in a newline."""
        if self._plain and self._pattern.needle is not None and not self._hits.sparse:
            return self._dense(block, end, self._pattern.needle)
        ranges = self._hits.ranges(block, end)
        if self._invert:
            ranges = _gaps(ranges, end)
        if self._left is not None:
            ranges = self._limited(block, ranges)
        if self._context is not None:
            return b"".join(self._context.around(block, end, ranges))
        return b"".join([block[start:stop] for start, stop in ranges])

    def _dense(self, block: bytes, end: int, needle: bytes) -> bytes:
        """The same for hits on many lines: fewer steps a line, none of which knows where the line was."""
        pieces = self._pattern.pieces
        if pieces is not None and len(pieces) == 2 and pieces[1] == needle:
            return _lines_with_both(block, end, pieces[0], needle, self._hits)
        candidates = _lines_with(block, end, needle, self._hits)
        if not candidates or (pieces is not None and len(pieces) == 1):
            return candidates
        lines = candidates.split(NEWLINE)
        lines.pop()
        if pieces is None:
            seek = self._pattern.seek
            kept = [line for line in lines if seek(line, 0, len(line)) >= 0]
        else:
            kept = [line for line in lines if _in_order(line, pieces, 0, len(line))]
        return NEWLINE.join([*kept, b""])

    @property
    def wants_help(self) -> bool:
        """Whether each line that is found costs a step here: for more than a single literal."""
        pieces = self._pattern.pieces
        plain = self._context is None and self._left is None
        return plain and (self._invert or self._pattern.ignore_case or pieces is None or len(pieces) > 1)

    @property
    def finished(self) -> bool:
        """Whether the limit is reached and nothing more will be selected."""
        return self._left == 0 and (self._context is None or not self._context.owed)

    def _limited(self, block: bytes, ranges: list[Range]) -> list[Range]:
        kept: list[Range] = []
        assert self._left is not None
        for start, stop in ranges:
            if not self._left:
                break
            cut = _forward(block, start, stop, self._left)
            self._left -= block.count(NEWLINE, start, cut)
            kept.append((start, cut))
        return kept


class _Hits:
    """Finds the lines that match. Remembers how dense they were, to choose the faster way next time."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self.sparse = pattern.needle is not None
        self._seek_literal = None if pattern.needle is None else compile_literal(pattern.needle)

    def note(self, count: int, end: int) -> None:
        self.sparse = self._seek_literal is not None and count * SPARSE < end

    def ranges(self, block: bytes, end: int) -> list[Range]:
        """(start, stop) of each line that matches, in order."""
        pattern, needle = self._pattern, self._pattern.needle
        if needle is None:
            return self._without_needle(block, end)
        searched = block[:end].lower() if pattern.ignore_case else block
        found: list[Range] = []
        hits = position = 0
        while (hit := self._seek(searched, needle, position, end)) >= 0:
            start = block.rfind(NEWLINE, position, hit) + 1 or position
            position = block.find(NEWLINE, hit, end) + 1
            hits += 1
            if self._confirmed(block, start, position):
                found.append((start, position))
        self.note(hits, end)
        return found

    def _seek(self, searched: bytes, needle: bytes, position: int, end: int) -> int:
        if not self.sparse or self._seek_literal is None:
            return searched.find(needle, position, end)
        return self._seek_literal(searched, position, end)

    def _confirmed(self, block: bytes, start: int, stop: int) -> bool:
        pieces = self._pattern.pieces
        if pieces is None:
            return self._pattern.seek(block, start, stop - 1) >= 0
        return len(pieces) == 1 or _in_order(block, pieces, start, stop)

    def _without_needle(self, block: bytes, end: int) -> list[Range]:
        seek = self._pattern.seek
        found: list[Range] = []
        position = 0
        while position < end and (hit := seek(block, position, end - 1)) >= 0:
            start = block.rfind(NEWLINE, position, hit) + 1 or position
            position = block.find(NEWLINE, hit, end) + 1
            found.append((start, position))
        return found


def _in_order(block: bytes, pieces: tuple[bytes, ...], start: int, stop: int) -> bool:
    for piece in pieces:
        at = block.find(piece, start, stop)
        if at < 0:
            return False
        start = at + len(piece)
    return True


def _lines_with(block: bytes, end: int, literal: bytes, hits: _Hits) -> bytes:
    """All lines that contain `literal`: one split and two partitions a line, the least that Python can do."""
    parts = (block if literal not in block[end:] else block[:end]).split(literal)
    hits.note(len(parts) - 1, end)
    if len(parts) == 1:
        return b""
    # Between two hits: the rest of one line, lines without a hit, the beginning of the next line with one.
    parts[0] = NEWLINE + parts[0].rpartition(NEWLINE)[2]
    parts[-1] = parts[-1].partition(NEWLINE)[0] + NEWLINE
    pieces = []
    for part in parts:
        rest, newline, following = part.partition(NEWLINE)
        pieces.append(rest + newline + following.rpartition(NEWLINE)[2] if newline else rest)
    return literal.join(pieces)[1:]


def _lines_with_both(block: bytes, end: int, first: bytes, second: bytes, hits: _Hits) -> bytes:
    """All lines in which `second` comes behind `first`, such as 'ICID.*TLS success'."""
    parts = block[:end].split(second)
    hits.note(len(parts) - 1, end)
    front = parts[0].rpartition(NEWLINE)[2]
    pieces: list[bytes] = []
    for part in parts[1:]:
        rest, newline, following = part.partition(NEWLINE)
        if not newline:
            # Twice in one line: the last one has the most before it.
            front += second + rest
            continue
        if first in front:
            pieces += (front, second, rest, newline)
        front = following.rpartition(NEWLINE)[2]
    return b"".join(pieces)


def _gaps(ranges: list[Range], end: int) -> list[Range]:
    gaps: list[Range] = []
    position = 0
    for start, stop in ranges:
        if start > position:
            gaps.append((position, start))
        position = stop
    if end > position:
        gaps.append((position, end))
    return gaps


def _forward(block: bytes, start: int, stop: int, lines: int) -> int:
    """The end of the `lines`th line from `start`, at most `stop`."""
    while lines and start < stop:
        start = block.find(NEWLINE, start, stop) + 1
        lines -= 1
    return start


def _backward(block: bytes, start: int, lowest: int, lines: int) -> int:
    """The beginning of the `lines`th line before `start`, at least `lowest`."""
    while lines and start > lowest:
        start = max(block.rfind(NEWLINE, lowest, start - 1) + 1, lowest)
        lines -= 1
    return start


class _Context:
    """Adds the lines around what was found, also across blocks and files, as GNU grep's -C shows them."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self.owed = 0
        self._before = b""
        """The last lines that were not shown, at most `lines`."""
        self._skipped = False
        """Whether lines were left out since the last one that was shown."""
        self._begun = False

    def around(self, block: bytes, end: int, ranges: list[Range]) -> list[bytes]:
        shown: list[bytes] = []
        position = 0
        for start, stop in ranges:
            position = self._after(block, position, start, shown)
            self._lead_in(block, position, start, shown)
            shown.append(block[start:stop])
            position, self.owed, self._begun = stop, self._lines, True
        position = self._after(block, position, end, shown)
        if position < end:
            begin = _backward(block, end, position, self._lines)
            whole = self._before + block[begin:end]
            first = _backward(whole, len(whole), 0, self._lines)
            self._skipped = self._skipped or begin > position or first > 0
            self._before = whole[first:]
        return shown

    def _after(self, block: bytes, position: int, stop: int, shown: list[bytes]) -> int:
        """Lines that are still owed behind the last find."""
        if not self.owed or position >= stop:
            return position
        cut = _forward(block, position, stop, self.owed)
        self.owed -= block.count(NEWLINE, position, cut)
        shown.append(block[position:cut])
        return cut

    def _lead_in(self, block: bytes, position: int, start: int, shown: list[bytes]) -> None:
        """Lines before a find, of this block and, where it has too few, of the ones before."""
        begin = _backward(block, start, position, self._lines)
        earlier = self._before if begin == position else b""
        missing = self._lines - block.count(NEWLINE, begin, start)
        first = _backward(earlier, len(earlier), 0, missing)
        left_out = self._skipped or begin > position or first > 0
        if self._begun and left_out:
            shown.append(SEPARATOR)
        shown += (earlier[first:], block[begin:start])
        self._before, self._skipped = b"", False


class Scan:
    """Reads retained files from the oldest to the newest and selects, a few megabytes a step."""

    def __init__(self, entries: list[Retained], selector: Selector) -> None:
        self._entries = list(reversed(entries))
        self._selector = selector
        self._descriptor: int | None = None
        self._offset = self._size = 0

    def step(self) -> bytes | None:
        gathered: list[bytes] = []
        read = given = 0
        while read < STEP_READS and given < STEP_GIVES:
            if self._selector.finished or not self._opened():
                return b"".join(gathered) if gathered else None
            block, end = self._block()
            found = self._selector.select(block, end)
            read += end
            if found:
                gathered.append(found)
                given += len(found)
        return b"".join(gathered)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> bool:
        """Whether a file is open in which something is left to read."""
        while self._descriptor is None or self._offset >= self._size:
            self.close()
            if not self._entries:
                return False
            self._descriptor = open_retained(self._entries.pop())
            if self._descriptor is not None:
                # What is written from now on is left out: a busy log would never end.
                self._offset, self._size = 0, os.fstat(self._descriptor).st_size
        return True

    def _block(self) -> tuple[bytes, int]:
        """Bytes from the offset on, and how many of them are whole lines; moves the offset behind these."""
        assert self._descriptor is not None
        length = BLOCK
        while True:
            left = self._size - self._offset
            block = os.pread(self._descriptor, min(length, left), self._offset)
            end = block.rfind(NEWLINE) + 1
            if end == 0 and len(block) < min(left, LONGEST_LINE) and block:
                length *= 4
                continue
            if end == 0:
                # The last line of a file that a crash cut, or what is no line at all.
                self._offset = self._offset + len(block) if block else self._size
                return block + NEWLINE, len(block) + 1
            self._offset += end
            return block, end


class _Watch:
    """Selects from the lines that a follower gives."""

    def __init__(self, follower: Follower, selector: Selector) -> None:
        self._follower = follower
        self._selector = selector

    def step(self) -> bytes | None:
        while not self._selector.finished:
            lines = self._follower.step()
            if not lines:
                return b""
            if found := self._selector.select(lines, len(lines)):
                return found
        return None

    def close(self) -> None:
        self._follower.close()
