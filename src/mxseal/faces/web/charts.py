"""Charts as geometry: columns over time and shares of a whole, at most four series each. PURE.

Templates draw them as SVG with presentation attributes only, since the policy of pages forbids styles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

WIDTH, HEIGHT = 600, 160
"""Of a chart over time; it is stretched to the page's width."""
MOST = 4
_GAP = 0.2
"""Between two columns, as a part of the room of one."""


class Series(msgspec.Struct, frozen=True):
    """One kind of thing that is counted. `kind` is its class in the style: good, weak, bad, s1 to s4."""

    name: str
    kind: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        return sum(self.values)


class Rect(msgspec.Struct, frozen=True):
    """Units are those of the chart's view box."""

    x: float
    y: float
    width: float
    height: float
    kind: str


class Chart(msgspec.Struct, frozen=True):
    """What is drawn, and the numbers behind it."""

    series: tuple[Series, ...]
    """The lowest of each column first."""
    rects: tuple[Rect, ...]
    top: int
    """What the full height stands for."""

    @property
    def total(self) -> int:
        return sum(each.total for each in self.series)

    def percent(self, series: Series) -> int:
        """Rounded down, so that 100 stands for all."""
        return 100 * series.total // self.total if self.total else 0


def columns(series: Sequence[Series]) -> Chart:
    """One column for each moment, the series on top of each other. All have as many values. Raises ValueError
    for more than four series."""
    if len(series) > MOST:
        raise ValueError(f"{len(series)} series in one chart")
    count = len(series[0].values) if series else 0
    heights = [sum(each.values[at] for each in series) for at in range(count)]
    top = rounded_up(max(heights, default=0))
    room = WIDTH / count if count else 0
    rects: list[Rect] = []
    for at in range(count):
        base = float(HEIGHT)
        for each in series:
            height = HEIGHT * each.values[at] / top
            if height > 0:
                base -= height
                rects.append(Rect(
                    round(at * room + room * _GAP / 2, 2), round(base, 2),
                    round(room * (1 - _GAP), 2), round(height, 2), each.kind,
                ))  # fmt: skip
    return Chart(tuple(series), tuple(rects), top)


def shares(counts: Mapping[str, int], others: str) -> Chart:
    """The three largest and the sum of the rest, as parts of one bar of 100 units."""
    order = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    if len(order) > MOST:
        order = [*order[: MOST - 1], (others, sum(count for _, count in order[MOST - 1 :]))]
    return bar([Series(name, f"s{at}", (count,)) for at, (name, count) in enumerate(order, 1)])


def bar(series: Sequence[Series]) -> Chart:
    """Parts of one bar of 100 units, in their order."""
    total = sum(each.total for each in series)
    rects: list[Rect] = []
    at = 0.0
    for each in series:
        width = 100 * each.total / total if total else 0.0
        if width > 0:
            rects.append(Rect(round(at, 3), 0, round(width, 3), 8, each.kind))
        at += width
    return Chart(tuple(series), tuple(rects), total)


def rounded_up(value: int) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …: what stands at the top of an axis."""
    step = 1
    while True:
        for times in (1, 2, 5):
            if value <= times * step:
                return times * step
        step *= 10
