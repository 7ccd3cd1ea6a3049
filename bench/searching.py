"""The line about `grep` over the mail log, beside GNU grep: the patterns of bench.grep_speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bench import grep_speed
from bench.machine import confined
from bench.peers import say
from bench.results import Reading, Row
from bench.session import Session
from lab.place import folder_for
from mxseal.logs.retained import file_path, logs_folder
from mxseal.logs.search import Query


def grep(session: Session) -> list[Row]:
    """One row: the pattern that does worst, on one core."""
    lines, layout = session.extent.log_lines, session.layouts[0]
    say(f"grep over {lines:,} lines, {len(grep_speed.CASES)} patterns")
    with folder_for("bench-grep") as home:
        logs = logs_folder(home) / "mail_logs"
        logs.mkdir(parents=True)
        path = file_path(logs, "mail", "20260214T192028", "current")
        grep_speed.write_log(path, lines)
        with confined(layout.server):
            rows = [_row(session, home, path, case) for case in grep_speed.CASES]
    cases = zip(grep_speed.CASES, rows, strict=True)
    ratios = ", ".join(f"'{query.pattern}' {row.ratio:.1f}" for (query, _), row in cases)
    say(f"time as a multiple of GNU grep's: {ratios}")
    return [max(rows, key=lambda row: row.ratio or 0.0)]


def _row(session: Session, home: Path, path: Path, case: tuple[Query, list[str]]) -> Row:
    query, options = case
    ours: list[Reading] = []
    theirs: list[Reading] = []
    for _ in range(session.extent.turns):
        ours.append(_timed(lambda: grep_speed.ours(home, query)))
        theirs.append(_timed(lambda: grep_speed.gnu(path, query.pattern, options)))
    return Row(
        key="grep",
        title=f"grep, {session.extent.log_lines:,} lines, worst: '{query.pattern}'",
        layout=session.layouts[0].name,
        unit="ms",
        ours=ours,
        rival=theirs,
        versus="GNU grep",
        better="less",
        goal=2.0,
    )


def _timed(work: Callable[[], int]) -> Reading:
    begun = time.perf_counter()
    work()
    return Reading(value=(time.perf_counter() - begun) * 1000)
