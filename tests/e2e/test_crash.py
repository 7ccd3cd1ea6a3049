"""The gateway is killed at random moments: each 250 is kept, and a commit is done wholly or not at all."""

from __future__ import annotations

import itertools
import random
import re
import smtplib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import Client
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import until
from lab.sink import Sink
from mxseal.faces.client import Line, connect
from tests.e2e.estate import at, document, hop

SEED = 20260214
KILLS = 8
THREADS = 6
PATIENCE = 60.0
DOMAINS = ("one.test", "two.test")


class Ledger:
    """What was promised: the subject of each message that got its 250, with its number and recipients."""

    def __init__(self) -> None:
        self.promised: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._changed = threading.Condition()

    def promise(self, subject: str, mid: int, recipients: tuple[str, ...]) -> None:
        with self._changed:
            self.promised[subject] = (mid, recipients)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        """Until there are `count` promises."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.promised) >= count, PATIENCE)


class Load:
    """Threads that send over TLS, one message after the other, while the gateway is up."""

    def __init__(self, address: tuple[str, int], ledger: Ledger) -> None:
        self._address = address
        self._ledger = ledger
        self._numbers = itertools.count(1)
        self._done = False
        self.up = threading.Event()
        self.broken = 0
        """Messages whose answer never came."""
        self._threads = [threading.Thread(target=self._work, args=(n,)) for n in range(THREADS)]

    def __enter__(self) -> Load:  # noqa: PYI034 - not made to be inherited from
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done = True
        self.up.set()
        for thread in self._threads:
            thread.join()

    def _work(self, number: int) -> None:
        chance = random.Random(SEED + number)
        while self.up.wait(PATIENCE) and not self._done:
            try:
                self._converse(chance)
            except (OSError, smtplib.SMTPException):
                self.broken += 1

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
        lines = chance.choice((1, 20, 20, 1500))  # the largest are kept in files of their own
        content = (
            f"Subject: {subject}\r\n\r\n".encode() + b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * lines
        )
        client.mail("a@sender.test")
        for recipient in recipients:
            client.rcpt(recipient)
        code, text = client.data(content)
        if code == 250:
            found = re.search(rb"Message (\d+) accepted", text)
            assert found is not None
            self._ledger.promise(subject, int(found[1]), recipients)


class Arrivals:
    """In which of the gateway's lives each recipient of each message was delivered."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks
        self._counted = [0] * len(sinks)
        self.lives: dict[tuple[str, str], list[int]] = defaultdict(list)

    def count(self, life: int) -> None:
        """Once no connection is left: what came in since the last time came in in this life."""
        for index, sink in enumerate(self._sinks):
            until(partial(_is_quiet, sink), sink.log)
            messages = sink.messages()
            for message in messages[self._counted[index] :]:
                for recipient in message.recipients:
                    self.lives[message.subject, recipient].append(life)
            self._counted[index] = len(messages)


def _is_quiet(sink: Sink) -> bool:
    return all(session.ended for session in list(sink.sessions))


def queue_is_empty(gateway: Gateway) -> bool:
    text = gateway.text("status")
    return (
        re.search(r"^  Messages: +0$", text.partition("\nQueue\n")[2].partition("\n\n")[0], re.MULTILINE)
        is not None
    )


@pytest.fixture
def sinks(authority: Authority) -> Iterator[list[Sink]]:
    certificate = authority.issue("sink.lab.test")
    with Sink(certificate=certificate) as one, Sink(certificate=certificate) as two:
        yield [one, two]


def test_every_250_survives_kills_and_nothing_recorded_as_delivered_comes_twice(
    gateway: Callable[..., Gateway], sinks: list[Sink], roots: Path
) -> None:
    port, chance, ledger = free_port(), random.Random(SEED), Ledger()
    routes = {domain: [hop(sink)] for domain, sink in zip(DOMAINS, sinks, strict=True)}
    running = gateway(
        document(
            port,
            recipient_access={"domains": list(DOMAINS)},
            smtp_routes=routes,
            delivery={"ca_file": str(roots), "first_retry": 1},
        )
    )
    arrivals = Arrivals(sinks)
    with Load(at(port), ledger) as load:
        for life in range(KILLS):
            load.up.set()
            ledger.wait(len(ledger.promised) + chance.choice((0, 1, 10, 50, 100)))
            load.up.clear()
            running.kill9()
            arrivals.count(life)
            running.start()
    until(lambda: queue_is_empty(running), lambda: running.text("showrecipients"), PATIENCE)
    assert running.stop() == 0
    arrivals.count(KILLS)

    assert load.broken >= KILLS
    mids = [mid for mid, _ in ledger.promised.values()]
    assert len(mids) == len(set(mids)) > 100
    wanted = {(subject, to) for subject, (_, recipients) in ledger.promised.items() for to in recipients}
    assert wanted - set(arrivals.lives) == set()
    nothing_recorded_comes_twice(running, arrivals)


def nothing_recorded_comes_twice(gateway: Gateway, arrivals: Arrivals) -> None:
    """A second copy is allowed where the gateway died between the next hop's 250 and its own record of it."""
    lives = re.split(r"MXSeal \S+ started, PID", gateway.log())[1:]
    assert len(lives) >= KILLS + 1
    lives = lives[-KILLS - 1 :]
    numbers = {
        subject: mid for life in lives for mid, subject in re.findall(r'MID (\d+) Subject "(\S+)"', life)
    }
    finished = [set(re.findall(r"Message finished MID (\d+) done", life)) for life in lives]
    for (subject, recipient), seen in arrivals.lives.items():
        assert len(seen) == len(set(seen)), f"{subject} reached {recipient} twice without a crash between"
        for life in seen[:-1]:
            assert numbers.get(subject) not in finished[life], f"{subject} was recorded as delivered"


# --- commits ------------------------------------------------------------------------------------------------


def commit_and_kill(gateway: Gateway, delay: float) -> bool:
    """Ask for a commit, and kill the gateway after `delay` seconds or at its answer: whether that came."""
    connection = connect(gateway.home)
    line = Line(connection)
    line.send({"words": ["commit", "a commit that may be cut"]})
    connection.settimeout(delay)
    answered = False
    with suppress(TimeoutError):
        while (message := line.receive()) is not None:
            if "exit" in message:
                answered = message["exit"] == 0
                break
    gateway.kill9()
    line.close()
    return answered


def greeting(port: int) -> str:
    with smtplib.SMTP() as client:
        code, text = client.connect(*at(port))
        assert code == 220
        return text.decode()


def test_a_commit_that_is_killed_leaves_the_old_revision_or_the_new_one_whole(
    gateway: Callable[..., Gateway], place: Path
) -> None:
    port, chance = free_port(), random.Random(SEED)
    running = gateway(document(port, hostname="mx0.lab.test"))
    delays = [0.0001, PATIENCE, *(chance.uniform(0.0, 0.06) for _ in range(4))]
    for number, delay in enumerate(delays, 1):
        routes = {f"d{index}.test": [f"10.0.{number}.{index}:25"] for index in range(100)}
        path = place / f"{number}.toml"
        path.write_text(document(port, hostname=f"mx{number}.lab.test", smtp_routes=routes))
        running.text("loadconfig", str(path), "--discard")
        old, new = running.text("showconfig"), running.text("showconfig", "--candidate")
        before = running.command("rollbackconfig")[0]["revision"]
        answered = commit_and_kill(running, delay)
        running.start()
        now = running.text("showconfig")
        assert now in ({new} if answered else {old, new})
        expected = before + (now == new)
        assert running.command("rollbackconfig")[0]["revision"] == expected
        named = re.search(r'^hostname = "(\S+)"', now, re.MULTILINE)
        assert named is not None
        assert greeting(port) == f"{named[1]} ESMTP"
