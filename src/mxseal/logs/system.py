"""The system's own grep, for expressions that mean the same to it and to us: it needs half our time where
many lines match, and runs beside the gateway instead of in it.

GNU grep is part of every Debian; where it is missing, nothing is lost but time. Its expressions without
back-references and repetition counts run in linear time, like ours.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from mxseal.logs.retained import Retained, open_retained

_PROGRAM = shutil.which("grep")
_CHUNK = 1 << 18
_SAME = re.compile(
    r"""\^?(?:
        [A-Za-z0-9\ _:,;'"<>@=/#%&!~`-] [*+?]?   # a character, perhaps repeated
      | \.[*+]                                    # anything; a single '.' is a byte there and a letter here
      | \[[A-Za-z0-9\ _:,;@=/.-]+\] [*+?]?        # a choice of characters
      | \((?![|)]) | (?<!\() \| (?![|)]) | (?<![|(]) \) [*+?]?
    )+\$?""",
    re.VERBOSE | re.ASCII,
)


def usable(pattern: str) -> bool:
    """Whether the system's grep is there and selects the same lines for `pattern`."""
    if _PROGRAM is None or _SAME.fullmatch(pattern) is None:
        return False
    depth = 0
    for character in re.sub(r"\[[^]]*\]", "", pattern):
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return depth == 0


class SystemGrep:
    """Runs it over one file after the other; the steps of `offload.in_thread`."""

    def __init__(self, entries: list[Retained], pattern: str, *, ignore_case: bool, invert: bool) -> None:
        flags = "-aE" + ("i" if ignore_case else "") + ("v" if invert else "")
        self._command = [str(_PROGRAM), flags, "-e", pattern]
        self._entries = list(reversed(entries))
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def step(self) -> bytes | None:
        if self._process is None and not self._next():
            return None
        assert self._process is not None
        assert self._process.stdout is not None
        piece = os.read(self._process.stdout.fileno(), _CHUNK)
        if not piece:
            self._end()
            piece, self._rest = self._rest, b""
            return piece
        end = piece.rfind(b"\n") + 1
        found = self._rest + piece[:end] if end else b""
        self._rest = piece[end:] if end else self._rest + piece
        return found

    def _next(self) -> bool:
        while self._entries:
            descriptor = open_retained(self._entries.pop())
            if descriptor is None:
                continue
            try:
                self._process = subprocess.Popen(  # noqa: S603 - no shell, and the pattern stands behind -e
                    self._command,
                    stdin=descriptor,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={"LC_ALL": "C"},
                )
            finally:
                os.close(descriptor)
            return True
        return False

    def _end(self) -> None:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdout is not None
        process.stdout.close()
        if process.wait() > 1:
            raise OSError("the system's grep failed")

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process.wait()
            self._process = None
