"""What the benchmarks ask of Linux: who runs on which core, and what a tree of processes uses."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_KERNEL_THREADS = 2
"""The process of which all threads of the kernel are children."""


@dataclass(frozen=True)
class Layout:
    """Which cores the server, the load generator and the next hop may use."""

    name: str
    server: frozenset[int]
    load: frozenset[int]
    sink: frozenset[int]


def layouts() -> tuple[Layout, ...]:
    """One core for the server and the others for the rest; then two cores for the server.

    With four cores and more, load and sink keep their own also in the second; with two they share them.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        only = frozenset(cores)
        return (Layout("1 core", only, only, only),)
    load, sink = cores[0], cores[1] if len(cores) > 2 else cores[0]
    one = Layout("1 core", frozenset({cores[-1]}), frozenset({load}), frozenset({sink}))
    pair = frozenset(cores[-2:])
    if len(cores) >= 4:
        return one, Layout("2 cores", pair, frozenset({load}), frozenset({sink}))
    return one, Layout("2 cores", pair, frozenset(cores), frozenset(cores))


@contextmanager
def confined(cores: frozenset[int]) -> Iterator[None]:
    """What is started inside runs on these cores, and so do its children."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name (proc(5)), state first; empty when it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def tree(root: int) -> list[int]:
    """The process and all below it."""
    parents: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found.extend(parents.get(pid, ()))
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Processor time of these processes and of their children that have ended and were waited for."""
    total = 0
    for pid in pids:
        if fields := _stat(pid):
            total += sum(int(value) for value in fields[11:15])
    return total / _TICK


def foreign_seconds() -> float:
    """Processor time of all programs but this one and its children, without the kernel's own threads.

    Those write to the disk, on behalf of whom can't be told. What /proc/stat says is not used: it counts by
    the ticks of a clock, and is wrong by a fifth for servers of many processes that run briefly.
    """
    everybody = {int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()}
    return cpu_seconds(sorted(everybody - {*tree(os.getpid()), *tree(_KERNEL_THREADS)}))


def proportional_bytes(pids: list[int]) -> int:
    """Memory of these processes (PSS: what they share is divided among those that share it)."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
                    break
    return total


def described() -> str:
    """Processor, cores and memory of this machine, in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (_PROC / "cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "processor unknown",
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {os.uname().release}"
