"""A small writer of line plots as SVG, so that the benchmark needs no plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDE, _HIGH = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 50, 60
_COLOURS = ("#1f5fa8", "#c0541a", "#3a7d44")


@dataclass(frozen=True)
class Series:
    """Points of one line, in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One figure. The y axis begins at 0, unless it is logarithmic; a 0 is drawn at 1 then."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    log_x: bool = True
    log_y: bool = False


def figure(value: float) -> str:
    """A number as an axis shows it: 1200000 is 1.2M, 0.25 stays."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{sign}"
    return f"{value:.3g}"


class _Axis:
    """Maps values to places between two points of the picture."""

    def __init__(self, values: Sequence[float], ends: tuple[float, float], *, log: bool) -> None:
        self._log, self._ends = log, ends
        if log:
            positive = [max(value, 1e-9) for value in values if value > 0] or [1.0]
            self.low, self.high = min(positive), max(positive)
            if min(values) <= 0:
                self.low = min(1.0, self.low)
            if self.high <= self.low:
                self.high = self.low * 10
        else:
            self.low, self.high = 0.0, max(values) * 1.1 or 1.0

    def place(self, value: float) -> float:
        """Where a value lies."""
        low, high, at = self.low, self.high, max(value, self.low)
        if self._log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        begin, end = self._ends
        return begin + (end - begin) * (at - low) / (high - low)

    def ticks(self) -> list[float]:
        """Round values within the axis."""
        if self._log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [10.0**power for power in powers if self.low * 0.999 <= 10.0**power <= self.high * 1.001]
            if len(found) >= 3:
                return found
            fine = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            return [tick for tick in fine if self.low * 0.999 <= tick <= self.high * 1.001]
        step = 10.0 ** math.floor(math.log10(self.high / 4))
        step *= next(factor for factor in (1, 2, 2.5, 5, 10) if self.high / (step * factor) <= 6)
        return [step * count for count in range(int(self.high / step) + 1)]


def _text(x: float, y: float, words: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{escape(words)}</text>'


def _grid(plot: Plot, across: _Axis, up: _Axis) -> list[str]:
    right, bottom = _WIDE - _RIGHT, _HIGH - _BOTTOM
    parts = []
    for tick in across.ticks():
        x = across.place(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#ddd"/>')
        parts.append(_text(x, bottom + 18, figure(tick), 'text-anchor="middle"'))
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(_LEFT - 8, y + 4, figure(tick), 'text-anchor="end"'))
    parts.append(_text((_LEFT + right) / 2, _HIGH - 18, plot.x, 'text-anchor="middle"'))
    turned = f'text-anchor="middle" transform="rotate(-90 18 {(_TOP + bottom) / 2})"'
    parts.append(_text(18, (_TOP + bottom) / 2, plot.y, turned))
    return parts


def _lines(plot: Plot, across: _Axis, up: _Axis) -> list[str]:
    parts = []
    for number, series in enumerate(plot.series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(across.place(x), up.place(y)) for x, y in series.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for (x, y), (_, value) in zip(places, series.points, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
            parts.append(
                _text(x, y - 8, figure(value), f'text-anchor="middle" font-size="11" fill="{colour}"')
            )
        if len(plot.series) > 1:
            parts.append(_text(_LEFT + 10, _TOP + 18 + 18 * number, series.name, f'fill="{colour}"'))
    return parts


def svg(plot: Plot) -> str:
    """The figure as an SVG document."""
    xs = [x for series in plot.series for x, _ in series.points]
    ys = [y for series in plot.series for _, y in series.points]
    across = _Axis(xs, (_LEFT + 10, _WIDE - _RIGHT - 20), log=plot.log_x)
    up = _Axis(ys, (_HIGH - _BOTTOM, _TOP + 10), log=plot.log_y)
    fonts = 'font-family="sans-serif" font-size="13" fill="#222"'
    size = f'viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {fonts}>',
        f'<rect width="{_WIDE}" height="{_HIGH}" fill="#fff"/>',
        _text(_WIDE / 2, 26, plot.title, 'text-anchor="middle" font-size="15" font-weight="bold"'),
        *_grid(plot, across, up),
        *_lines(plot, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
