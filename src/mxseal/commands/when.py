"""Times as people write them on a command line. PURE."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
HOW = "'3h', '2d' (ago), '2026-02-14' or '2026-02-14 19:20' (UTC)"


def moment_of(text: str, now: float) -> float:
    """Seconds since the epoch. ValueError with a sentence."""
    text = text.strip()
    if found := _AGO.fullmatch(text.lower()):
        return now - float(found[1]) * _SECONDS[found[2]]
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write one such as {HOW}") from None
    at = (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at < 1e11:
        raise ValueError(f"{text!r} is no time that mail could have: write one such as {HOW}")
    return at
