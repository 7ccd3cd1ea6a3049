"""History and completion at the prompt: what the arrow keys and Tab do to the line that is being typed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from asyncssh.editor import SSHLineEditor

from mxseal.commands.registry import Completion
from mxseal.commands.words import quote, split_for_completion

KEPT_LINES = 200
_MOST_SHOWN = 200
Handler = Callable[[str, int], bool | tuple[str, int]]
"""(line, position) to what they become; False rings the bell."""


class History:
    """Lines of one user, without secrets. Kept as long as the gateway runs."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def add(self, line: str) -> None:
        if line and (not self.lines or self.lines[-1] != line):
            self.lines.append(line)


class Recall:
    """One prompt's place in the history."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._back = 0
        self._draft = ""

    def start(self) -> None:
        """A new line begins."""
        self._back, self._draft = 0, ""

    def previous(self, line: str, _position: int) -> bool | tuple[str, int]:
        return self._move(line, 1)

    def following(self, line: str, _position: int) -> bool | tuple[str, int]:
        return self._move(line, -1)

    def _move(self, line: str, step: int) -> bool | tuple[str, int]:
        lines = self._history.lines
        if not 0 <= self._back + step <= len(lines):
            return False
        if self._back == 0:
            self._draft = line
        self._back += step
        found = lines[-self._back] if self._back else self._draft
        return found, len(found)


class Completed:
    """What Tab makes of a line: `line` and `position`, and the words to show when it can't decide."""

    def __init__(self, line: str, position: int, choices: Sequence[str] = ()) -> None:
        self.line = line
        self.position = position
        self.choices = choices


def complete(
    line: str, position: int, find: Callable[[list[str], str], Sequence[Completion]]
) -> Completed | None:
    """None when nothing can stand there. `find` gives what can stand behind words."""
    head, tail = line[:position], line[position:]
    words, incomplete, start = split_for_completion(head)
    # There are no files over SSH, but standard input.
    found = (entry.value if entry.kind == "plain" else "-" for entry in find(words, incomplete))
    values = list(dict.fromkeys(found))
    if not values:
        return None
    if len(values) == 1:
        head = f"{head[:start]}{quote(values[0])} "
        return Completed(head + tail, len(head))
    shared = _shared(values)
    if len(shared) > len(incomplete):
        quoted = quote(shared)
        # a quotation stays open: the word is not complete yet
        head = head[:start] + (quoted if quoted == shared else quoted[:-1])
        return Completed(head + tail, len(head))
    return Completed(line, position, values)


def _shared(values: Sequence[str]) -> str:
    """What all of them begin with."""
    least, most = min(values), max(values)
    same = next(
        (at for at, pair in enumerate(zip(least, most, strict=False)) if pair[0] != pair[1]), len(least)
    )
    return least[:same]


def columns(words: Sequence[str], width: int) -> str:
    """The words side by side, as far as they fit into a line."""
    shown = list(words[:_MOST_SHOWN])
    wide = max(map(len, shown)) + 2
    each = max(1, width // wide)
    rows = [shown[at : at + each] for at in range(0, len(shown), each)]
    more = f"… and {len(words) - len(shown)} more\n" if len(words) > len(shown) else ""
    return "".join("".join(word.ljust(wide) for word in row).rstrip() + "\n" for row in rows) + more


def bind(channel: Any, keys: Mapping[str, Handler]) -> None:
    """Let these keys call these handlers.

    Not by `register_key`: it goes through all characters that there are, 65 ms for each key, to find out that
    control characters can't be printed.
    """
    editor = channel._editor  # noqa: SLF001
    assert isinstance(editor, SSHLineEditor)
    for key, handler in keys.items():
        call = partial(SSHLineEditor._handle_key, key=key, handler=handler)  # noqa: SLF001
        editor._add_key(key, call)  # noqa: SLF001
