"""Where MXSeal's time goes under one line's load: py-spy's samples, as a table and as folded stacks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bench.build import RESULTS
from bench.lines import CASES, Case
from bench.peers import Mail, say, send
from bench.results import aligned
from bench.session import Session
from lab import Unavailable

_RATE = 250
_SHOWN = 40


def _sampler() -> str:
    """The path of py-spy; fetched with pip into a folder of the benchmark's own when it is not here."""
    own = RESULTS / "tools"
    found = shutil.which("py-spy") or shutil.which("py-spy", path=str(own / "bin"))
    if found is None:
        say("fetching py-spy")
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(own), "py-spy"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        found = shutil.which("py-spy", path=str(own / "bin"))
        if done.returncode or found is None:
            raise Unavailable(f"--profile needs py-spy, and pip can't fetch it: {done.stderr.strip()[-500:]}")
    return found


def profile(session: Session, name: str, *, native: bool = False) -> Path:
    """Sample MXSeal while it does the line `name` on one core, print a table; gives the stacks' path."""
    case = next((case for case in CASES if case.key == name), None)
    if case is None:
        raise Unavailable(f"--profile is for the lines {', '.join(case.key for case in CASES)}, with --only")
    stacks = RESULTS / f"profile-{name}.folded"
    stacks.parent.mkdir(parents=True, exist_ok=True)
    rate, said = _sampled(session, case, stacks, native)
    lines = stacks.read_text().splitlines()
    text = f"{case.title}: {rate:,.0f} msg/s while sampled{said}\n{shares(lines)}\n"
    stacks.with_suffix(".txt").write_text(text)
    print(text)
    return stacks


def _sampled(session: Session, case: Case, stacks: Path, native: bool) -> tuple[float, str]:
    task = session.task(session.layouts[0], deliver=case.deliver)
    seconds = max(2.0, session.extent.seconds)
    with session.alone(task) as ours:
        session.warm((ours,), case.mail, task)
        words = [_sampler(), "record", "--pid", str(ours.root()), "--subprocesses", "--format", "raw"]
        words += ["--rate", str(_RATE), "--duration", str(round(seconds)), "--output", str(stacks)]
        words += ["--threads", *(["--native"] if native else [])]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sampler:
            mail: Mail = replace(case.mail, seconds=seconds + 1)
            rate = send(ours.port, mail, task.layout).rate
            output, _ = sampler.communicate()
        if sampler.returncode:
            raise Unavailable(f"py-spy ended with status {sampler.returncode}: {output.strip()[-500:]}")
    return rate, " (py-spy --native)" if native else ""


def shares(lines: Iterable[str]) -> str:
    """A table of folded stacks ('outer;inner COUNT'): time in each function, without and with callees."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    everything = 0
    for line in lines:
        stack, _, number = line.rpartition(" ")
        frames = [_plain(frame) for frame in stack.split(";")]
        count = int(number)
        everything += count
        own[frames[-1]] += count
        for frame in set(frames):
            total[frame] += count
    rows: list[Sequence[str]] = [("itself", "with callees", "function")]
    for frame, count in own.most_common(_SHOWN):
        rows.append((f"{count / everything:.1%}", f"{total[frame] / everything:.1%}", frame))
    rows.append(("", "", ""))
    for frame, count in total.most_common(_SHOWN):
        rows.append((f"{own[frame] / everything:.1%}", f"{count / everything:.1%}", frame))
    return aligned(rows, left=(2,))


def _plain(frame: str) -> str:
    """The function and its file, without the line: one function is one entry."""
    place, colon, line = frame.rpartition(":")
    return f"{place})" if colon and line.rstrip(")").isdecimal() else frame
