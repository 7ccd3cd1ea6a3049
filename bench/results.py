"""Readings, rows and the table that is printed and kept."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Better = Literal["more", "less"]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One run of one server. Shares are of one core's time: 1.0 is a core that is busy all the time."""

    value: float
    messages: int = 0
    seconds: float = 0.0
    server_share: float = 0.0
    load_share: float = 0.0
    sink_share: float = 0.0
    foreign_share: float = 0.0
    """What programs that do not belong to the benchmark used meanwhile."""
    cpu_per_message: float = 0.0
    """Processor seconds of the server for a message."""
    latency_ms: dict[str, float] = field(default_factory=dict)
    protocol: str = ""
    handshakes: int = 0
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `rival` is Postfix, or what `versus` names; empty: no comparison."""

    key: str
    title: str
    layout: str
    unit: str
    ours: Sequence[Reading]
    rival: Sequence[Reading] = ()
    versus: str = "Postfix"
    better: Better = "more"
    goal: float | None = None
    """More: at least; less: at most."""
    goal_of: Literal["ratio", "ours"] = "ratio"
    """What the goal is about: ours divided by the rival's, or our own value."""
    digits: int = 0

    @property
    def our_value(self) -> float:
        return statistics.median(reading.value for reading in self.ours)

    @property
    def rival_value(self) -> float | None:
        return statistics.median(reading.value for reading in self.rival) if self.rival else None

    @property
    def ratio(self) -> float | None:
        """Ours divided by the rival's."""
        return self.our_value / self.rival_value if self.rival_value else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None when there is none."""
        if self.goal is None:
            return None
        measured = self.ratio if self.goal_of == "ratio" else self.our_value
        if measured is None:
            return None
        return measured >= self.goal if self.better == "more" else measured <= self.goal

    def cells(self) -> tuple[str, ...]:
        rival, ratio, verdict = self.rival_value, self.ratio, {True: "yes", False: "NO", None: ""}[self.met]
        sign = "≥" if self.better == "more" else "≤"
        of_what = "×" if self.goal_of == "ratio" else self.unit
        return (
            self.title,
            self.layout,
            f"{self.our_value:,.{self.digits}f}",
            f"{rival:,.{self.digits}f}{'' if self.versus == 'Postfix' else f' ({self.versus})'}"
            if rival is not None
            else "-",
            self.unit,
            "-" if ratio is None else f"{ratio:.2f} ×" if ratio >= 0.1 else f"1/{1 / ratio:.1f}",
            "" if self.goal is None else f"{sign} {self.goal:g} {of_what}",
            verdict,
        )


HEAD = ("load", "server on", "MXSeal", "Postfix", "unit", "ratio", "goal", "met")


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0, 1)) -> str:
    """Columns as wide as their widest cell; those of `left` lean to the left."""
    wide = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(wide[column]) if column in left else cell.rjust(wide[column])
            for column, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """The comparison."""
    return aligned([HEAD, *(row.cells() for row in rows)])


def checks(rows: Sequence[Row]) -> str:
    """How busy server, generator and next hop were (median of the runs), and what other programs took."""
    head = ("load", "server on", "", "server", "generator", "next hop", "others", "CPU/message", "p50", "p99")
    found: list[tuple[str, ...]] = [head]
    for row in rows:
        for name, readings in (("MXSeal", row.ours), (row.versus, row.rival)):
            if readings and readings[0].messages:
                found.append((row.title, row.layout, name, *_check_cells(readings)))
    return aligned(found, left=(0, 1, 2)) if len(found) > 1 else ""


def _check_cells(readings: Sequence[Reading]) -> tuple[str, ...]:
    middle = statistics.median
    latencies = [reading.latency_ms for reading in readings if reading.latency_ms]
    return (
        f"{middle(r.server_share for r in readings):.0%}",
        f"{middle(r.load_share for r in readings):.0%}",
        f"{middle(r.sink_share for r in readings):.0%}",
        f"{middle(r.foreign_share for r in readings):.0%}",
        f"{middle(r.cpu_per_message for r in readings) * 1e6:,.0f} µs",
        *(f"{middle(each[p] for each in latencies):,.1f} ms" if latencies else "" for p in ("p50", "p99")),
    )


def keep(folder: Path, machine: str, rows: Sequence[Row], direct: dict[str, float]) -> Path:
    """Write latest.json and a copy with the time in its name; gives the copy's path."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine,
        "direct": direct,
        "rows": [
            asdict(row)
            | {
                "our_median": row.our_value,
                "rival_median": row.rival_value,
                "ratio": row.ratio,
                "met": row.met,
            }
            for row in rows
        ],
    }
    text = json.dumps(content, indent=1)
    path = folder / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    for each in (path, folder / "latest.json"):
        each.write_text(text + "\n")
    return path
