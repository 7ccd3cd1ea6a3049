"""The crash battery: kill -9 of any process of a gateway under load, with next hops that misbehave.

`python -m lab.crash` (ROUNDS, SEED) runs it and prints its figures. The gateway is held to this: each message
that had its 250 arrives; a second copy only where the next hop's answer was lost: the hop dropped the
connection behind the final dot, or the gateway died between the hop's 250 and its own record of it.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import signal
import smtplib
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from lab import Trouble
from lab.ca import Authority, Issued
from lab.client import Client
from lab.gateway import Gateway
from lab.hostile import BEHAVIOURS
from lab.place import LOOPBACK, free_port
from lab.process import until
from lab.script import POLITE, Taken
from lab.sink import Sink

DOMAINS = ("one.test", "two.test")
THREADS = 6
PATIENCE = 120.0
MOODS = (
    "polite",
    "polite",
    "polite",
    "mail-451",
    "rcpt-450",
    "data-451",
    "end-452",
    "content-closes",
    "end-closes",
    "trickles",
    "starttls-454",
    "tls-resets",
    "banner-421",
)
"""What a next hop is like for a while: names of BEHAVIOURS, or polite."""


class Ledger:
    """What was promised: the recipients of each message that got its 250, by subject."""

    def __init__(self) -> None:
        self.promised: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._changed = threading.Condition()

    def promise(self, subject: str, mid: int, recipients: tuple[str, ...]) -> None:
        with self._changed:
            self.promised[subject] = (mid, recipients)
            self._changed.notify_all()

    def wait(self, count: int, seconds: float) -> bool:
        """Whether there are `count` promises in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.promised) >= count, seconds)


class Load:
    """Threads that send over TLS, one message after the other, while the gateway is up."""

    def __init__(self, address: tuple[str, int], ledger: Ledger, seed: int) -> None:
        self._address = address
        self._ledger = ledger
        self._numbers = itertools.count(1)
        self._done = False
        self.up = threading.Event()
        self.broken = 0
        """Conversations whose end never came."""
        self.refused: Counter[int] = Counter()
        """Messages that were answered with something else than 250, by code."""
        self._threads = [threading.Thread(target=self._work, args=(seed + n,)) for n in range(THREADS)]

    def __enter__(self) -> Load:  # noqa: PYI034 - not made to be inherited from
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done = True
        self.up.set()
        for thread in self._threads:
            thread.join()

    def _work(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.up.wait(PATIENCE) and not self._done:
            try:
                self._converse(chance)
            except (OSError, smtplib.SMTPException):
                self.broken += 1
                time.sleep(0.02)  # a gateway that is down is not to be asked in a tight loop

    def _converse(self, chance: random.Random) -> None:
        with Client(self._address) as client:
            client.secure()
            for _ in range(chance.randrange(1, 30)):
                if self._done:
                    return
                self._send(client, chance)

    def _send(self, client: Client, chance: random.Random) -> None:
        subject = f"message-{next(self._numbers)}"
        recipients = tuple(f"b@{domain}" for domain in DOMAINS[: chance.choice((1, 1, 2))])
        lines = chance.choice((1, 1, 20, 20, 20, 1800))  # the largest are kept in files of their own
        content = (
            f"Subject: {subject}\r\n\r\n".encode() + b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * lines
        )
        client.mail("a@sender.test")
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(content)
        if code != 250:
            self.refused[code] += 1
            return
        found = re.search(rb"Message (\d+) accepted", text)
        if found is None:
            raise Trouble(f"a 250 without a number: {text!r}")
        self._ledger.promise(subject, int(found[1]), recipients)


@dataclass(frozen=True)
class Arrival:
    """One copy of a message at a next hop."""

    life: int
    """The gateway's life in which the connection began."""
    answered: bool
    """Whether the hop answered 250; otherwise it dropped the connection behind the final dot."""
    size: int


class Hop(Sink):
    """A next hop whose mood changes from connection to connection; it keeps what arrived, not the content."""

    def __init__(self, certificate: Issued, life: Callable[[], int], seed: int) -> None:
        super().__init__(certificate=certificate)
        self.arrivals: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
        self.moods: Counter[str] = Counter()
        self.polite = False
        self._life = life
        self._chance = random.Random(seed)
        self._lives: dict[int, int] = {}
        self._moods = {name: BEHAVIOURS.get(name, POLITE) for name in MOODS}

    def change(self) -> None:
        """Another mood for the connections that follow."""
        name = "polite" if self.polite else self._chance.choice(MOODS)
        self.moods[name] += 1
        self.behaviour = self._moods[name] if not self.polite else POLITE

    def _serve(self, dialogue: Any) -> None:
        self._lives[threading.get_ident()] = self._life()
        self.change()
        try:
            super()._serve(dialogue)
        finally:
            del self._lives[threading.get_ident()]
            with suppress(ValueError):
                self.sessions.remove(dialogue.session)

    def _keep(self, taken: Taken) -> None:
        if taken.reply and not taken.reply.startswith("2"):
            return
        found = re.search(rb"^Subject: (\S+)", taken.content, re.MULTILINE)
        subject = found[1].decode() if found else "?"
        arrival = Arrival(self._lives[threading.get_ident()], bool(taken.reply), len(taken.content))
        with self._lock:
            for recipient in taken.recipients:
                self.arrivals[subject, recipient].append(arrival)


@dataclass
class Report:
    """What the battery found."""

    seed: int
    rounds: int
    promised: int = 0
    recipients: int = 0
    broken: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)
    dropped_answers: int = 0
    """Second copies behind a connection that the hop dropped after the final dot."""
    cut_records: int = 0
    """Second copies where the gateway was killed between the hop's 250 and its record."""
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        def told(counts: Counter[Any]) -> str:
            return ", ".join(f"{key} {count}" for key, count in sorted(counts.items(), key=str)) or "none"

        return (
            f"crash: seed {self.seed}, {self.rounds} rounds in {self.seconds:.0f} s; "
            f"killed: {told(self.killed)}\n"
            f"crash: {self.promised} messages had their 250, for {self.recipients} recipients; "
            f"{self.broken} conversations were cut, refused: {told(self.refused)}\n"
            f"crash: next hops: {told(self.moods)}\n"
            f"crash: second copies: {self.dropped_answers} after a dropped answer, "
            f"{self.cut_records} after a kill before the record\n"
            + "\n".join(f"crash: FAULT {fault}" for fault in self.faults)
            + ("" if self.faults else "crash: nothing was lost, and no copy is unexplained")
        )


def family(pid: int) -> dict[int, str]:
    """The processes below a process, itself included: {pid: its command line}, from /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                # proc(5): the name is in parentheses and may contain anything; behind it state and parent.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if fields[0] != "Z":
                    parents[int(entry.name)] = int(fields[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    told = {}
    for each in found & set(parents):
        with suppress(OSError):
            told[each] = Path(f"/proc/{each}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    return told


class Battery:
    """One run: a gateway, its load, two next hops, and the rounds."""

    def __init__(self, stack: ExitStack, seed: int, rounds: int, parts: dict[str, Any] | None = None) -> None:
        """`parts` are laid over the gateway's document."""
        self.report = Report(seed, rounds)
        self._chance = random.Random(seed)
        self._life = 0
        self._ledger = Ledger()
        authority = Authority()
        certificate = authority.issue("sink.lab.test")
        self._hops = [
            stack.enter_context(Hop(certificate, lambda: self._life, seed + n)) for n, _ in enumerate(DOMAINS)
        ]
        port = free_port()
        self._address = (LOOPBACK, port)
        self._gateway = stack.enter_context(Gateway(self._document(port, parts or {})))

    def _document(self, port: int, parts: dict[str, Any]) -> str:
        routes = {d: [f"{h.address[0]}:{h.address[1]}"] for d, h in zip(DOMAINS, self._hops, strict=True)}
        return tomli_w.dumps(
            {
                "hostname": "mx.lab.test",
                "listeners": [{"name": "IncomingMail", "port": port}],
                "mail_flow_policies": [{"name": "ACCEPTED", "tls": "preferred"}],
                "recipient_access": {"domains": list(DOMAINS)},
                "smtp_routes": routes,
                "destinations": [{"domain": "default", "tls": "required"}],
                "delivery": {"idle_time": 0.5, "first_retry": 1, "longest_retry": 3, "max_retries": 1000},
                **parts,
            }
        )

    def run(self) -> Report:
        started = time.monotonic()
        with Load(self._address, self._ledger, self.report.seed) as load:
            for _ in range(self.report.rounds):
                self._round(load)
        self.report.broken, self.report.refused = load.broken, load.refused
        for hop in self._hops:
            hop.polite = True
            hop.change()
        self._drain()
        if self._gateway.stop() != 0:
            self.report.faults.append("the gateway did not end with status 0")
        self._account()
        self.report.seconds = time.monotonic() - started
        return self.report

    def _round(self, load: Load) -> None:
        load.up.set()
        wanted = len(self._ledger.promised) + self._chance.choice((0, 1, 10, 50, 100))
        if not self._ledger.wait(wanted, PATIENCE):
            raise Trouble(f"the gateway takes no mail any more: {self._gateway.log()[-3000:]}")
        time.sleep(self._chance.random() * 0.05)
        load.up.clear()
        self._kill()

    def _kill(self) -> None:
        main = self._gateway.pid
        living = family(main)
        victim = self._chance.choice(sorted(living))
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        self.report.killed["main" if victim == main else "another"] += 1
        self._life += 1
        if victim == main:
            until(
                lambda: not any(Path(f"/proc/{pid}").exists() for pid in living if pid != main),
                lambda: f"processes outlive the one that started them: {living}",
            )
            self._gateway.stop()
            self._gateway.start()
        else:
            until(lambda: victim not in family(main), lambda: f"process {victim} can't be killed")

    def _drain(self) -> None:
        until(self._is_empty, lambda: self._gateway.text("showrecipients"), PATIENCE)

    def _is_empty(self) -> bool:
        told = self._gateway.command("status")
        whole = told["gateway"]["workers_running"] == told["gateway"]["workers"]
        return bool(whole and told["queue"]["messages"] == 0)

    def _account(self) -> None:
        report, promised = self.report, self._ledger.promised
        report.promised = len(promised)
        arrivals: dict[tuple[str, str], list[Arrival]] = {}
        for hop in self._hops:
            arrivals |= hop.arrivals
            report.moods += hop.moods
        mids = [mid for mid, _ in promised.values()]
        if len(mids) != len(set(mids)):
            report.faults.append("a number was given to two messages")
        for subject, (mid, recipients) in promised.items():
            report.recipients += len(recipients)
            for recipient in recipients:
                if (subject, recipient) not in arrivals:
                    report.faults.append(f"{subject}, MID {mid}, never reached {recipient}")
        for (subject, recipient), copies in arrivals.items():
            self._judge(f"{subject} for {recipient}", sorted(copies, key=lambda copy: copy.life))
        report.faults += delivered_after_record(self._gateway.log())

    def _judge(self, name: str, copies: Sequence[Arrival]) -> None:
        if len({copy.size for copy in copies}) > 1:
            self.report.faults.append(f"{name} arrived in different sizes")
        unanswered = sum(not copy.answered for copy in copies)
        answered = [copy.life for copy in copies if copy.answered]
        self.report.dropped_answers += unanswered if answered else max(0, unanswered - 1)
        self.report.cut_records += max(0, len(answered) - 1)
        if len(answered) != len(set(answered)):
            self.report.faults.append(f"{name} was answered with 250 twice without a kill between")


def delivered_after_record(log: str) -> list[str]:
    """Messages that were handed over once more after they had been recorded as finished."""
    finished: set[str] = set()
    faults = []
    for line in log.splitlines():
        if found := re.search(r"Message finished MID (\d+) done", line):
            finished.add(found[1])
        elif (found := re.search(r"Delivery start DCID \d+ MID (\d+) ", line)) and found[1] in finished:
            faults.append(f"MID {found[1]} was delivered again after its record: {line}")
    return faults


def battery(seed: int, rounds: int, parts: dict[str, Any] | None = None) -> Report:
    """Run the battery."""
    with ExitStack() as stack:
        return Battery(stack, seed, rounds, parts).run()


def main() -> int:
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    rounds = int(os.environ.get("ROUNDS") or 300)
    print(f"crash: seed {seed}, {rounds} rounds (SEED={seed} ROUNDS={rounds} make crash does the same again)")
    sys.stdout.flush()
    report = battery(seed, rounds)
    print(report)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
