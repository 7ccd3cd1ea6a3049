"""Too few descriptors, too little memory: mail is put off, what was promised arrives, and it recovers."""

from __future__ import annotations

import re
import resource
import smtplib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import Client
from lab.crash import family
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import looks, until
from lab.sink import Sink
from tests.e2e.estate import Starter, at, document, hop

PATIENCE = 40.0
MEBIBYTE = 1 << 20


class Site:
    def __init__(self, running: Starter, authority: Authority) -> None:
        self.port = free_port()
        self.sink = running(lambda: Sink(certificate=authority.issue("sink.lab.test")))
        listener = {"name": "IncomingMail", "port": self.port, "limits": {"connections_per_host": 1000}}
        routes = {"example.test": [hop(self.sink)]}
        delivery = {"first_retry": 1}
        text = document(self.port, listeners=[listener], smtp_routes=routes, delivery=delivery)
        self.gateway = running(lambda: Gateway(text))
        self.taken: list[str] = []

    def send(self, subject: str, size: int = 100, seconds: float = PATIENCE) -> int:
        """The last answer to one message, 0 when the connection broke."""
        content = f"Subject: {subject}\r\n\r\n".encode() + b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * (
            size // 41
        )
        with (
            suppress(OSError, smtplib.SMTPServerDisconnected),
            Client(at(self.port), seconds=seconds) as client,
        ):
            client.secure()
            client.mail("a@sender.test")
            client.rcpt("b@example.test")
            code = client.data(content)[0]
            if code == 250:
                self.taken.append(subject)
            return code
        return 0

    def sends_again(self) -> None:
        """Mail is taken again, without anybody's help."""
        for number, _ in enumerate(looks(PATIENCE)):
            with suppress(smtplib.SMTPException):
                if self.send(f"again-{number}") == 250:
                    return
        pytest.fail(self.gateway.log()[-2000:])

    def all_arrives(self) -> None:
        until(lambda: len(self.sink.messages()) >= len(self.taken), self.trouble, PATIENCE)
        assert sorted(message.subject for message in self.sink.messages()) == sorted(self.taken)

    def trouble(self) -> str:
        lines = re.findall(r".*(?:Delayed|Warning|Critical|Error).*", self.gateway.log())
        return "\n".join([*lines[-20:], self.gateway.output()[-2000:]])


@pytest.fixture(scope="module")
def site(lasting: Starter, authority: Authority) -> Site:
    return Site(lasting, authority)


@contextmanager
def limited(gateway: Gateway, kind: int, used: str, more: int) -> Iterator[None]:
    """Within the block each process of the gateway may use only so much more than it uses now."""
    pids = list(family(gateway.pid))
    for pid in pids:
        _limit(pid, kind, _used(pid, used) + more)
    yield
    for pid in pids:
        with suppress(ProcessLookupError):
            _limit(pid, kind, None)


def _limit(pid: int, kind: int, value: int | None) -> None:
    _, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (hard if value is None else value, hard))


def _used(pid: int, used: str) -> int:
    if used == "descriptors":
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def greeting(connection: socket.socket) -> bytes:
    connection.settimeout(PATIENCE)
    with suppress(ConnectionResetError):
        return connection.recv(512)
    return b""


def test_without_descriptors_new_connections_are_refused_and_those_that_stand_and_the_queue_go_on(
    site: Site,
) -> None:
    with Client(at(site.port)) as client, ExitStack() as stack:
        client.secure()
        with limited(site.gateway, resource.RLIMIT_NOFILE, "descriptors", 60):
            answers = [
                greeting(stack.enter_context(socket.create_connection(at(site.port)))) for _ in range(120)
            ]
            assert answers[0].startswith(b"220 ")
            refused = [answer for answer in answers if not answer.startswith(b"220 ")]
            assert refused
            assert set(refused) == {b"421 #4.4.5 Too many connections to this host\r\n"}
            for number in range(3):
                client.mail("a@sender.test")
                client.rcpt("b@example.test")
                large = b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * 5_000
                answer = client.data(f"Subject: stands-{number}\r\n\r\n".encode() + large)
                assert answer[0] == 250, (answer, site.trouble())
                site.taken.append(f"stands-{number}")
            site.all_arrives()
            site.gateway.wait_log("Connection refused: #4.4.5 Too many connections to this host")
            stack.close()
            site.sends_again()
    site.all_arrives()


def test_without_memory_for_a_flood_of_large_messages_nothing_that_was_taken_is_lost(site: Site) -> None:
    site.gateway.text("suspenddel")

    def flood(number: int) -> None:
        with suppress(smtplib.SMTPException):
            site.send(f"large-{number}", 2 * MEBIBYTE, 8.0)

    with limited(site.gateway, resource.RLIMIT_AS, "memory", 6 * MEBIBYTE):
        threads = [threading.Thread(target=flood, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(site.taken) < 40, "there was memory enough: the test shows nothing"
    if not site.gateway.running:
        site.gateway.start()
    site.sends_again()
    site.gateway.text("resumedel")
    site.all_arrives()
