"""`python -m bench.strangers`: what attacks cost the gateway, and what is left for those who behave.

For each attack a gateway of its own, the load generator and a next hop: messages accepted and delivered in a
second before and during the attack, memory and file descriptors before, during and after it.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from bench.machine import described, layouts, proportional_bytes, tree
from bench.peers import Mail, Plain, Sink, say, send
from bench.servers import Ours, Task
from lab import Trouble, Unavailable
from lab.attacker import ARRIVING, Attacker
from lab.ca import self_signed

MAIL = Mail(connections=20, per_connection=50, seconds=4.0)
MEGA = 1024 * 1024
HALF = 0.5
ROOM = 64 * MEGA
"""Memory that no attack may take beyond what its connections may."""
EACH = 200 * 1024
"""Bytes that a connection of an attack may cost."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One attack in its full size."""

    name: str
    count: int
    pause: float = 5.0


CASES = (
    Case(name="silent", count=5000),
    Case(name="slow-command", count=5000),
    Case(name="half-handshake", count=5000),
    Case(name="idle-in-tls", count=5000),
    Case(name="slow-content", count=5000),
    Case(name="endless-line", count=20),
    Case(name="endless-header", count=20),
    Case(name="endless-field", count=20),
    Case(name="commands", count=20),
    Case(name="handshakes", count=20),
    Case(name="key-updates", count=4),
    Case(name="recipients", count=5),
    Case(name="bombs", count=5),
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one attack did."""

    case: Case
    before: float
    """Messages in a second."""
    during: float
    memory_before: int
    memory_during: int
    files_before: int
    files_during: int
    files_after: int

    @property
    def ratio(self) -> float:
        return self.during / self.before

    @property
    def memory(self) -> int:
        return max(0, self.memory_during - self.memory_before)

    def faults(self) -> list[str]:
        """What must not be, in sentences."""
        name, found = self.case.name, []
        if self.ratio < HALF:
            found.append(f"{name}: those who behave are left {self.ratio:.0%} of their throughput")
        if self.memory > ROOM + EACH * self.case.count:
            found.append(f"{name}: {self.memory / MEGA:.0f} MB more memory")
        if self.files_during > self.files_before + self.case.count + ARRIVING:
            found.append(f"{name}: {self.files_during} file descriptors")
        if self.files_after > self.files_before + ARRIVING:
            found.append(f"{name}: {self.files_after} file descriptors are left behind")
        return found


class Besieged(Ours):
    """The gateway of the benchmarks, for strangers too: TLS is offered, and there is room for all of them."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        document: Plain = tomllib.loads(self._document or "")
        limits = document["listeners"][0]["limits"]
        limits |= {"connections": 6000, "connections_per_host": 50, "tls_sessions": 6000}
        limits |= {"handshakes_per_second": 1_000_000}  # what is measured is what they cost
        limits |= {"commands_per_connection": 10_000}
        # Strangers are no relaying hosts: those are trusted, and not paced.
        document["mail_flow_policies"][0] |= {"action": "accept", "tls": "preferred"}
        document["recipient_access"] = {"domains": ["example.test", ".example.test"]}
        document["smtp_routes"]["example.test"] = document["smtp_routes"]["all"]
        self._document = tomli_w.dumps(document)


def files(pids: Sequence[int]) -> int:
    """Open file descriptors of these processes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return total


def _rate(gateway: Besieged, sink: Sink, seconds: float) -> float:
    """Messages of well-behaved clients, accepted and delivered in a second."""
    mail = Mail(connections=MAIL.connections, per_connection=MAIL.per_connection, seconds=seconds)
    before = sink.counts().messages
    sent = send(gateway.port, mail, gateway.task.layout)
    # What an attack sends is delivered too: the sink's count is at least that of the clients.
    end = sink.wait(before + sent.messages).last
    return sent.messages / max(sent.seconds, end - sent.started)


@contextlib.contextmanager
def _standing(case: Case, port: int) -> Iterator[None]:
    with Attacker(case.name, port=port, count=case.count, pause=case.pause):
        yield


def run(case: Case, sink: Sink, seconds: float) -> Found:
    """The attack on a gateway of its own."""
    layout = layouts()[-1]
    sink.place(layout)
    gateway = Besieged(Task(layout=layout, sink=sink, certificate=self_signed("mx.bench.test")))
    try:
        gateway.start()
        _rate(gateway, sink, seconds / 4)
        before = _rate(gateway, sink, seconds)
        memory_before, files_before = proportional_bytes(tree(gateway.root())), files(tree(gateway.root()))
        with _standing(case, gateway.port):
            _rate(gateway, sink, 2 * seconds)  # what each host may cost at first is used up
            during = _rate(gateway, sink, seconds)
            memory_during = proportional_bytes(tree(gateway.root()))
            files_during = files(tree(gateway.root()))
        return Found(
            case=case,
            before=before,
            during=during,
            memory_before=memory_before,
            memory_during=memory_during,
            files_before=files_before,
            files_during=files_during,
            files_after=_left(gateway, files_before + ARRIVING),
        )
    finally:
        gateway.end()


def _left(gateway: Besieged, enough: int) -> int:
    """File descriptors once the strangers are gone; at most half a minute is given to that."""
    end = time.monotonic() + 30
    while (now := files(tree(gateway.root()))) > enough and time.monotonic() < end:
        time.sleep(0.2)
    return now


def table(rows: Sequence[Found]) -> str:
    """As a table of Markdown."""
    lines = [
        "| attack | connections | messages/s | during | left | memory | during | each | files |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        each = f"{row.memory / row.case.count / 1024:.0f} KB" if row.case.count >= 1000 else "-"
        lines.append(
            f"| {row.case.name} | {row.case.count} | {row.before:.0f} | {row.during:.0f} | {row.ratio:.0%} "
            f"| {row.memory_before / MEGA:.0f} MB | {row.memory_during / MEGA:.0f} MB | {each} "
            f"| {row.files_before}, {row.files_during}, {row.files_after} |"
        )
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.strangers", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=MAIL.seconds, help="of each measurement")
    given = parser.parse_args(words)
    rows: list[Found] = []
    faults: list[str] = []
    with Sink(self_signed("sink.bench.test")) as sink:
        for case in CASES:
            if given.only and case.name not in given.only:
                continue
            say(f"{case.name}, {case.count} connections")
            try:
                rows.append(run(case, sink, given.seconds))
                faults += rows[-1].faults()
            except (Trouble, Unavailable) as trouble:
                faults.append(f"{case.name}: {trouble}")
    print(f"{described()}\n\n{table(rows)}")
    for fault in faults:
        print(f"strangers: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
