"""`python -m bench`: MXSeal beside Postfix, line by line, in one run on this machine.

Prints a table with the medians, their ratio and the goal, and how it was checked that neither the load
generator nor the next hop was the limit. Results go to bench/results (JSON, and plots as SVG).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from bench import backlog, scanning, searching
from bench.build import RESULTS, program
from bench.directory import ldap
from bench.growth import growth
from bench.lines import CASES, idle, large, traffic
from bench.machine import described
from bench.pages import pages
from bench.peers import Sink, say
from bench.profile import profile
from bench.results import Row, checks, keep, table
from bench.session import FULL, QUICK, Session, direct
from bench.shadow import shadow
from bench.tracking import tracking
from lab import Trouble, Unavailable
from lab.ca import self_signed

Line = Callable[[Session], list[Row]]
LINES: dict[str, Line] = {
    **{case.key: partial(traffic, case=case) for case in CASES},
    "shadow": shadow,
    "tracking": tracking,
    "large": large,
    "idle": idle,
    "queue": backlog.queue,
    "start": backlog.start,
    "grep": searching.grep,
    "scan": scanning.scan,
    "ldap": ldap,
    "pages": pages,
}
GROWTH = "growth"
_ALONE = {"idle", "start", "grep", "scan", "ldap", "pages", GROWTH}
"""Lines in which neither generator nor next hop could be the limit."""
_BUSY = 0.9
_FOREIGN = 0.1


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short runs, one turn each, for development")
    parser.add_argument(
        "--only",
        action="append",
        choices=[*LINES, GROWTH],
        metavar="NAME",
        help=f"only this line, may be given more than once: {', '.join([*LINES, GROWTH])}",
    )
    parser.add_argument(
        "--profile", action="store_true", help="sample where MXSeal's time goes, for the lines of --only"
    )
    parser.add_argument("--native", action="store_true", help="with --profile: functions in C too")
    parser.add_argument(
        "--plain-postfix",
        action="store_true",
        help="Postfix as it comes, rather than with the settings that make it fastest in these loads",
    )
    parser.add_argument("--cores", choices=["1", "2"], help="the server on one core only, or on two only")
    return parser.parse_args(list(words))


def main(words: Sequence[str]) -> int:
    """Run what was asked for. Exit status 0; 1 after a sentence when it can't be measured here."""
    wanted = _arguments(words)
    begun = time.monotonic()
    try:
        if os.getuid() != 0:
            raise Unavailable("The benchmark runs a private Postfix, which needs root: run it as root.")
        for name in ("load", "sink"):
            program(name)
        certificate = self_signed("mx.bench.test", "127.0.0.1")
        with Sink(certificate) as sink:
            session = Session(
                QUICK if wanted.quick else FULL, certificate, sink, plain_rival=wanted.plain_postfix
            )
            if wanted.cores:
                session.layouts = tuple(each for each in session.layouts if each.name[0] == wanted.cores)
            if wanted.profile:
                for name in wanted.only or ["accept"]:
                    say(f"stacks are in {profile(session, name, native=wanted.native)}")
            else:
                _compare(session, wanted.only or ([*LINES] if wanted.quick else [*LINES, GROWTH]))
    except (Unavailable, Trouble) as reason:
        say(str(reason))
        return 1
    say(f"took {time.monotonic() - begun:.0f} s")
    return 0


def _compare(session: Session, names: Sequence[str]) -> None:
    found = direct(session) if {*names} - _ALONE else {}
    rows: list[Row] = []
    for name, line in LINES.items():
        if name in names:
            rows += line(session)
    if rows:
        _show(session, rows, found)
        say(f"results are in {keep(RESULTS, described(), rows, found)}")
    if GROWTH in names:
        growth(session, RESULTS)
        say(f"plots are in {RESULTS}")


def _show(session: Session, rows: Sequence[Row], found: dict[str, float]) -> None:
    turns = max(len(row.ours) for row in rows)
    print(f"\nMXSeal beside Postfix on {described()}")
    print(f"Median of {turns} alternating runs. TLS of both: {session.protocol or '-'}.\n")
    print(table(rows))
    if found:
        print("\nLoad generator straight into the next hop, a core each, messages in a second:")
        print("  " + "; ".join(f"{name} {rate:,.0f}" for name, rate in found.items()))
    if measured := checks(rows):
        print("\nShares of one core's time while measuring, and the server's processor time for a message:")
        print(measured)
    for layout in session.layouts:
        if layout.server & layout.load:
            print(f"With the server on {layout.name}, generator and next hop share its cores: shares above.")
    for text in _doubts(rows):
        print(f"Note: {text}")
    print()


def _doubts(rows: Sequence[Row]) -> list[str]:
    """What makes a figure doubtful: a busy generator, other programs."""
    found = []
    for row in rows:
        for name, readings in (("MXSeal", row.ours), (row.versus, row.rival)):
            where = f"{row.title}, {row.layout}, {name}"
            if any(r.load_share + r.sink_share > _BUSY for r in readings) and row.layout == "1 core":
                found.append(
                    f"{where}: load generator and next hop were busy all the time and may be the limit."
                )
            if any(r.foreign_share > _FOREIGN for r in readings):
                most = max(r.foreign_share for r in readings)
                found.append(f"{where}: other programs used up to {most:.0%} of a core meanwhile.")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
