"""Times, sizes, numbers and names of browsers as people read them."""

from __future__ import annotations

import time

from mxseal.faces.web.texts import N_, Say
from mxseal.language import Language

_MONTHS: dict[Language, tuple[str, ...]] = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "nl": ("jan", "feb", "mrt", "apr", "mei", "jun", "jul", "aug", "sep", "okt", "nov", "dec"),
}
_SPANS = (
    (60.0, N_("1 minute"), N_("{n} minutes")),
    (3600.0, N_("1 hour"), N_("{n} hours")),
    (86_400.0, N_("1 day"), N_("{n} days")),
    (86_400.0 * 30.44, N_("1 month"), N_("{n} months")),
    (86_400.0 * 365.25, N_("1 year"), N_("{n} years")),
)
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def absolute(language: Language, at: float, now: float) -> str:
    """'14 Feb 19:20' in local time; with its year when that is not this year."""
    there, here = time.localtime(at), time.localtime(now)
    year = "" if there.tm_year == here.tm_year else f" {there.tm_year}"
    month = _MONTHS[language][there.tm_mon - 1]
    return f"{there.tm_mday} {month}{year} {there.tm_hour:02}:{there.tm_min:02}"


def stamp(language: Language, at: float, hours: bool) -> str:
    """'14 Feb', or '14 Feb 19:00', of what is counted by day or hour: those are of UTC."""
    there = time.gmtime(at)
    told = f"{there.tm_mday} {_MONTHS[language][there.tm_mon - 1]}"
    return f"{told} {there.tm_hour:02}:{there.tm_min:02}" if hours else told


def day(language: Language, at: float) -> str:
    """'14 Feb 2026' in local time."""
    there = time.localtime(at)
    return f"{there.tm_mday} {_MONTHS[language][there.tm_mon - 1]} {there.tm_year}"


def span(speak: Say, seconds: float) -> str:
    """'3 hours': the largest unit that is reached, rounded down."""
    chosen = None
    for unit in _SPANS:
        if seconds >= unit[0]:
            chosen = unit
    if chosen is None:
        return speak(N_("less than a minute"))
    count = int(seconds // chosen[0])
    return speak(chosen[1]) if count == 1 else speak(chosen[2], n=count)


def ago(speak: Say, seconds: float) -> str:
    """'3 hours ago', 'in 3 hours', 'just now'."""
    if abs(seconds) < 60:
        return speak(N_("just now"))
    if seconds > 0:
        return speak(N_("{time} ago"), time=span(speak, seconds))
    return speak(N_("in {time}"), time=span(speak, -seconds))


def number(language: Language, value: float) -> str:
    """1,234.5 or 1.234,5."""
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
    return text if language == "en" else text.translate(str.maketrans(",.", ".,"))


def size(language: Language, count: int) -> str:
    """Bytes: '812 B', '1.4 MiB'."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return f"{count} B"
    shown = f"{value:.1f}" if value < 10 else f"{value:.0f}"
    return f"{shown if language == 'en' else shown.replace('.', ',')} {_UNITS[unit]}"


def browser(speak: Say, agent: str) -> str:
    """'Firefox on Linux' of what a browser calls itself; it may lie, and is only shown."""
    names = (
        ("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"),
        ("Safari", "Safari"),
    )  # fmt: skip
    systems = (
        ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"),
        ("Macintosh", "macOS"), ("Linux", "Linux"),
    )  # fmt: skip
    name = next((told for mark, told in names if f"{mark}/" in agent), None)
    system = next((told for mark, told in systems if mark in agent), None)
    if name is None or system is None:
        return agent[:40] or speak(N_("unknown"))
    return speak(N_("{browser} on {system}"), browser=name, system=system)
