"""The load generator and the next hop: two small C programs, started and read."""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

from bench.build import program
from bench.machine import Layout, confined, cpu_seconds
from lab import Trouble
from lab.ca import Issued
from lab.place import LOOPBACK, free_port, new_folder
from lab.process import Child, Program, wait_for_port

DOMAINS = 10
"""Destination domains d0.example.test to d9.example.test; the sink has an address for each: 127.0.0.2 ..."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What is sent and how; the names are the options of load.c."""

    connections: int = 20
    per_connection: int = 50
    size: int = 4096
    recipients: int = 1
    domains: int = 1
    pipeline: bool = False
    resume: bool = False
    light: bool = False
    """With the generator's own TLS client, which costs it a third of what OpenSSL's does for a handshake."""
    messages: int = 0
    """How many; 0: as many as fit into `seconds`."""
    seconds: float = 0.0

    def words(self) -> list[str]:
        found = {
            "connections": self.connections,
            "per-connection": self.per_connection,
            "size": self.size,
            "recipients": self.recipients,
            "domains": self.domains,
            "pipeline": int(self.pipeline),
            "resume": int(self.resume),
            "light": int(self.light),
            "messages": self.messages,
            "seconds": self.seconds,
        }
        return [word for name, value in found.items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What load.c saw. Times of day are CLOCK_MONOTONIC, as time.monotonic() gives them."""

    messages: int
    failed: int
    connections: int
    handshakes: int
    resumed: int
    protocol: str
    seconds: float
    rate: float
    cpu_seconds: float
    started: float
    ended: float
    latency_ms: dict[str, float] = field(default_factory=dict)


def send(port: int, mail: Mail, layout: Layout) -> Sent:
    """Run load.c against a port until it ends. Raises Trouble when anything was refused or lost."""
    words = [str(program("load")), "--to", f"{LOOPBACK}:{port}", *mail.words()]
    with confined(layout.load):
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Trouble(f"the load generator reports: {done.stderr.strip()} {done.stdout.strip()}")
    return Sent(**json.loads(done.stdout))


@contextlib.contextmanager
def held(port: int, connections: int, layout: Layout) -> Iterator[None]:
    """While inside, `connections` idle TLS connections are open to the port."""
    words = [str(program("load")), "--to", f"{LOOPBACK}:{port}", "--hold", str(connections)]
    with (
        confined(layout.load),
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            if child.stdout.readline() != "held\n":
                raise Trouble(f"the load generator can't hold {connections} connections to port {port}")
            yield
        finally:
            child.stdin.close()


@dataclass(frozen=True)
class Counts:
    """What sink.c has counted so far; times are CLOCK_MONOTONIC in seconds, 0 for never."""

    connections: int
    handshakes: int
    resumed: int
    messages: int
    recipients: int
    bytes: int
    first: float
    last: float


class Sink:
    """`with Sink(certificate) as sink:` the next hop, at 127.0.0.1 and at an address for each domain."""

    _FORM = struct.Struct("<8Q")

    def __init__(self, certificate: Issued) -> None:
        self.port = free_port()
        self._folder = new_folder("bench-sink")
        self._files = certificate.write(self._folder, "sink")
        self._counts = self._folder / "counts"
        self._child: Child | None = None
        self._words: list[str] = []
        for host in range(DOMAINS + 1):
            self._words += ["--at", f"127.0.0.{host + 1}:{self.port}"]

    def route(self, domain: int) -> tuple[str, int]:
        """Where the mail for d`domain`.example.test goes."""
        return f"127.0.0.{domain + 2}", self.port

    def place(self, layout: Layout) -> None:
        """Start it on the cores of `layout`, again if it runs."""
        self.stop()
        words = [str(program("sink")), *self._words, "--counts", str(self._counts)]
        words += ["--certificate", str(self._files.chain), "--key", str(self._files.key)]
        with confined(layout.sink):
            self._child = Child(Program(name="sink", words=words, output=self._folder / "output"))
        wait_for_port(self._child, self.port)

    def counts(self) -> Counts:
        found = Counts(*self._FORM.unpack(self._counts.read_bytes()))
        return replace(found, first=found.first / 1e9, last=found.last / 1e9)

    def forget_first(self) -> None:
        """The next message sets `first` again."""
        with self._counts.open("r+b") as file:
            file.seek(6 * 8)
            file.write(bytes(8))

    def wait(self, messages: int, patience: float = 60.0) -> Counts:
        """Return when `messages` have come in all. Raises Trouble when none comes for `patience` seconds."""
        seen, since = -1, time.monotonic()
        while (now := self.counts()).messages < messages:
            if now.messages != seen:
                seen, since = now.messages, time.monotonic()
            if time.monotonic() - since > patience:
                raise Trouble(
                    f"the next hop got {seen} of {messages} messages and then none for {patience:g} s"
                )
            time.sleep(0.005)
        return now

    def cpu_seconds(self) -> float:
        assert self._child is not None
        return cpu_seconds([self._child.pid])

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for path in sorted(self._folder.rglob("*"), reverse=True):
            path.unlink()
        self._folder.rmdir()


def say(text: str) -> None:
    """One line of progress, on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


Plain = dict[str, Any]
