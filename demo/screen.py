"""What the demonstration shows: headings, commands, log lines as they come, the table at the end.

Colours are used on a terminal only; log lines are never broken, so that they can be copied and searched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from rich.box import HORIZONTALS
from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.story import Row
from lab.process import PATIENCE, plain_environment, until

_LOG_STYLES = (
    (" TLS diagnosis: ", "bold yellow"),
    (" TLS failed: ", "red"),
    (" TLS success ", "green"),
    (" queued for delivery", "cyan"),
    ("Message finished MID ", "cyan"),
)


class Screen:
    """Lines for somebody who reads along. May be written to from several threads."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def heading(self, text: str) -> None:
        self._line(Text(f"\n{text}", "bold"))

    def say(self, text: str) -> None:
        self._line(Text(f"  {text}"))

    def good(self, text: str) -> None:
        self._line(Text(f"  {text}", "green"))

    def bad(self, text: str) -> None:
        self._line(Text(f"  {text}", "bold red"))

    def command(self, words: str) -> None:
        self._line(Text.assemble(("  $ ", "dim"), (words, "bold")))

    def log(self, line: str) -> None:
        """A line of mail_logs."""
        style = next((style for mark, style in _LOG_STYLES if mark in line), "")
        # 'Sat Feb 14 19:20:28 2026 ' is the same on nearly all lines.
        self._line(Text.assemble(("  | ", "dim"), (line[:25], "dim"), (line[25:], style)))

    def table(self, rows: Sequence[Row]) -> None:
        """What became of each message; 80 columns are enough for it."""
        table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), show_lines=True)
        for title in ("Message", "In", "Out", "Delivered"):
            table.add_column(title, overflow="fold")
        for row in rows:
            style = "green" if row.as_expected else "bold red"
            cells = (row.title, "\n".join(row.arrived), "\n".join(row.left), Text(row.outcome, style))
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
        self.console.print()
        self.console.print(table)
        self.console.print()

    def _line(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True)


class Follower:
    """`mxseal tail mail_logs` in a process of its own: each line is shown as it comes, and kept."""

    def __init__(self, home: Path, show: Callable[[str], None]) -> None:
        self._words = [
            *(sys.executable, "-m", "mxseal", "--home", str(home)),
            *("tail", "mail_logs", "--lines", "2"),
        ]
        self._show = show
        self._lines: list[str] = []

    def __enter__(self) -> Self:
        # In a session of its own, so that Ctrl-C reaches the demonstration alone, which then ends it.
        self._process = subprocess.Popen(
            self._words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=dict(os.environ) | plain_environment() | {"PYTHONUNBUFFERED": "1"},
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5.0)

    def count(self, mark: str) -> int:
        """Lines shown so far that have `mark` in them."""
        return sum(mark in line for line in tuple(self._lines))

    def wait(self, mark: str, count: int) -> None:
        """Return once so many lines with `mark` were shown. Raises Trouble when they don't come."""
        until(
            lambda: self.count(mark) >= count,
            lambda: f"mail_logs shows no line with '{mark.strip()}' after {PATIENCE:g} s",
        )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.rstrip("\r\n")
            self._lines.append(text)
            self._show(text)
