"""The two that are compared: MXSeal and Postfix, each in a folder of its own, told to do the same.

Both take mail from loopback with TLS required and a P-256 certificate, pass all of it to the same next hop
with TLS required, write their log, and answer 250 only after an fsync.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import tomli_w

import lab.gateway
import lab.postfix
from bench.machine import Layout, confined, cpu_seconds, proportional_bytes, tree
from bench.peers import DOMAINS, Plain, Sink
from lab.ca import Issued
from lab.place import free_port, new_folder

MESSAGE_SIZE = 50 * 1024 * 1024
CONNECTIONS = 5000
CERTIFICATE = "Bench"
"""The name of the certificate in MXSeal; it is the one that Postfix has too."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a server is started for."""

    layout: Layout
    sink: Sink
    certificate: Issued
    deliver: bool = True
    """False: mail is taken and kept, nothing is sent on."""
    idle: int = 0
    """Connections that will be open at once, when they are very many."""
    home: Path | None = None
    """Ours: a home that is kept; one that exists listens on `port`."""
    port: int = 0
    """0: any."""
    plain_rival: bool = False
    """Postfix as it comes, rather than with the settings that make it fastest here."""


class Server(Protocol):
    """What a benchmark needs of a mail server."""

    name: str
    port: int

    def start(self) -> Self: ...

    def end(self) -> None:
        """Stop it and remove what it wrote."""
        ...

    def root(self) -> int:
        """The process id of which all others of this server are children."""
        ...


def server_cpu(server: Server) -> float:
    """Processor seconds so far, all its processes."""
    return cpu_seconds(tree(server.root()))


def server_memory(server: Server) -> int:
    """PSS in bytes, all its processes."""
    return proportional_bytes(tree(server.root()))


def document(port: int, sink: Sink) -> str:
    """The configuration that makes MXSeal do what is measured, as TOML."""
    routes = {"all": [f"127.0.0.1:{sink.port}"]}
    for number in range(DOMAINS):
        host, hop_port = sink.route(number)
        routes[f"d{number}.example.test"] = [f"{host}:{hop_port}"]
    limits: Plain = {
        "connections": CONNECTIONS,
        "connections_per_host": CONNECTIONS,
        "tls_sessions": CONNECTIONS,
        "messages_per_connection": 1_000_000,
        "commands_per_connection": 10_000_000,
        "message_size": MESSAGE_SIZE,
    }
    listener: Plain = {"name": "Bench", "address": "127.0.0.1", "port": port, "reverse_dns": False}
    # The demonstration certificate of a new home is RSA: another type than Postfix has here.
    listener["certificate"] = CERTIFICATE
    return tomli_w.dumps(
        {
            "hostname": "mx.bench.test",
            "default_policy": "RELAYED",
            "listeners": [listener | {"type": "private", "limits": limits}],
            "mail_flow_policies": [{"name": "RELAYED", "action": "relay", "tls": "required"}],
            "smtp_routes": routes,
            "destinations": [{"domain": "default", "tls": "required"}],
            "delivery": {"certificate": CERTIFICATE},
            "queue": {"max_messages": 5_000_000},
        }
    )


class Ours(lab.gateway.Gateway):
    """MXSeal."""

    name = "MXSeal"

    def __init__(self, task: Task) -> None:
        self.task = task
        self.port = task.port or free_port()
        self._files = new_folder("bench-certificate")
        pem = self._files / "server.pem"
        pem.touch(mode=0o600)
        pem.write_bytes(task.certificate.key_pem + task.certificate.chain_pem)
        prepare = [("certconfig", "import", CERTIFICATE, str(pem))]
        super().__init__(document(self.port, task.sink), home=task.home, prepare=prepare)
        if task.home is not None and task.home.exists():
            self._loaded = True

    def start(self) -> Self:
        with confined(self.task.layout.server):
            super().start()
        if not self.task.deliver:
            self.text("suspenddel")
        return self

    def end(self) -> None:
        self.close()
        shutil.rmtree(self._files, ignore_errors=True)

    def root(self) -> int:
        return self.pid


class Rival(lab.postfix.Postfix):
    """Postfix."""

    name = "Postfix"

    def __init__(self, task: Task) -> None:
        self.task = task
        options = {
            "message_size_limit": str(MESSAGE_SIZE),
            "mailbox_size_limit": "0",
            "smtpd_tls_mandatory_protocols": ">=TLSv1.2",
            "smtp_tls_mandatory_protocols": ">=TLSv1.2",
            "smtpd_tls_session_cache_database": "btree:${data_directory}/smtpd_scache",
            "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
            # What the laboratory makes short so that tests need not wait is as Postfix comes.
            "minimal_backoff_time": "300s",
            "maximal_backoff_time": "4000s",
            "queue_run_delay": "300s",
            "transport_maps": self._transports(task.sink),
        }
        options |= self._plain(task) if task.plain_rival else self._tuned(task)
        if task.idle:
            options["default_process_limit"] = str(task.idle + 100)
        super().__init__(
            lab.postfix.Settings(
                hostname="mx.bench.test",
                domains=(),
                certificate=task.certificate,
                tls="encrypt",
                relay=("127.0.0.1", task.sink.port),
                relay_tls="encrypt",
                options=options,
            )
        )

    @staticmethod
    def _plain(task: Task) -> dict[str, str]:
        return {} if task.deliver else {"defer_transports": "smtp"}

    @staticmethod
    def _tuned(task: Task) -> dict[str, str]:
        """What makes it fastest in these tasks, as far as was found."""
        options = {
            # Slowing senders down when delivery can't follow would be measured as slowness.
            "in_flow_delay": "0",
            # Many messages on one TLS connection to the next hop; off as Postfix comes.
            "smtp_tls_connection_reuse": "yes",
        }
        if not task.deliver:
            # The hold queue: the queue manager never touches it, so that only receiving is measured.
            options["smtpd_client_restrictions"] = "check_client_access static:HOLD"
        return options

    def _configure(self, name: str, text: str) -> None:
        if name == "master.cf":
            text += "tlsproxy unix - - n - 0 tlsproxy\n"
        super()._configure(name, text)

    @staticmethod
    def _transports(sink: Sink) -> str:
        found = []
        for number in range(DOMAINS):
            host, port = sink.route(number)
            found.append(f"{{d{number}.example.test = smtp:[{host}]:{port}}}")
        return f"inline:{{ {', '.join(found)} }}"

    def start(self) -> Self:
        with confined(self.task.layout.server):
            return super().start()

    def end(self) -> None:
        self.stop()

    def root(self) -> int:
        assert self._child is not None
        return self._child.pid


Maker = Callable[[Task], Server]
