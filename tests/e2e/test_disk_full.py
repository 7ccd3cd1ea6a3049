"""A full disk: mail is put off, nothing that had its 250 is lost, and all goes on once there is room."""

from __future__ import annotations

import os
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.client import Client
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import looks, until
from lab.sink import Sink
from tests.e2e.estate import Starter, at, delivered, document, hop

MEBIBYTE = 1 << 20
SIZES = {"small": 50_000, "large": 500_000}
"""Small content is kept in the queue's database, large content in files."""
PATIENCE = 30.0


@pytest.fixture
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of a few MiB."""
    if os.geteuid() != 0:
        pytest.skip("A file system of its own needs root.")
    folder = place / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=711", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"A small file system can't be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until nothing is left on the disk."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


class Sender:
    """Sends numbered messages and remembers which were taken."""

    def __init__(self, port: int, size: int) -> None:
        self._address = at(port)
        self._filling = b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * (size // 41)
        self._number = 0
        self.taken: list[str] = []

    def one(self) -> tuple[int, bytes]:
        """The last answer to one message: 250, or what put it off."""
        self._number += 1
        subject = f"message-{self._number}"
        try:
            with Client(self._address) as client:
                client.secure()
                answer = client.mail("a@sender.test")
                if answer[0] == 250:
                    client.rcpt("b@example.test")
                    answer = client.data(f"Subject: {subject}\r\n\r\n".encode() + self._filling)
        except smtplib.SMTPResponseException as error:  # at the greeting, or at DATA
            answer = (error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b"")
        if answer[0] == 250:
            self.taken.append(subject)
        return answer

    def until(self, wanted: Callable[[int], bool]) -> tuple[int, bytes]:
        """The first answer with a code that is wanted."""
        for _ in looks(PATIENCE):
            answer = self.one()
            if wanted(answer[0]):
                return answer
        pytest.fail(f"the last of {self._number} answers is still {answer}")


class Site:
    """A gateway on the small disk and its next hop."""

    def __init__(self, gateway: Gateway, port: int, sink: Sink) -> None:
        self.gateway, self.port, self.sink = gateway, port, sink

    def all_is_delivered(self, sender: Sender) -> None:
        """Mail is taken again, and each message that was taken ever arrives, once."""
        sender.until(lambda code: code == 250)
        self.sink.wait(len(sender.taken), PATIENCE)
        delivered(self.gateway, sender.taken[-1])
        assert self.gateway.stop() == 0
        self.gateway.start()
        until(self._is_empty, self.gateway.output)
        assert sorted(message.subject for message in self.sink.messages()) == sorted(sender.taken)
        self.gateway.stop()

    def _is_empty(self) -> bool:
        return bool(self.gateway.command("status")["queue"]["messages"] == 0)


@pytest.fixture
def site(small_disk: Path, running: Starter, authority: Authority) -> Site:
    port = free_port()
    sink = running(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    queue = {"min_free_bytes": 38 * MEBIBYTE}
    text = document(port, smtp_routes={"example.test": [hop(sink)]}, queue=queue)
    return Site(running(lambda: Gateway(text, home=small_disk / "home")), port, sink)


@pytest.mark.parametrize(
    "size",
    [
        "small",
        "large",
    ],
)
def test_a_queue_that_fills_the_disk_puts_mail_off_until_it_has_been_delivered(site: Site, size: str) -> None:
    site.gateway.text("suspenddel")
    sender = Sender(site.port, SIZES[size])
    code, words = sender.until(lambda code: code != 250)
    assert (code, words) == (452, b"#4.3.1 queue full")
    assert len(sender.taken) > 10
    site.gateway.text("resumedel")
    site.sink.wait(len(sender.taken))
    site.all_is_delivered(sender)


@pytest.mark.parametrize("size", SIZES)
def test_a_disk_that_something_else_fills_puts_mail_off_until_there_is_room(
    site: Site, small_disk: Path, size: str
) -> None:
    sender = Sender(site.port, SIZES[size])
    site.gateway.text("suspenddel")
    for _ in range(10):
        assert sender.one()[0] == 250
    filling = small_disk / "filling"
    fill(filling)
    code, _ = sender.until(lambda code: code != 250)
    assert 400 <= code < 500
    site.gateway.text("resumedel")
    assert 400 <= sender.one()[0] < 500
    filling.unlink()
    site.all_is_delivered(sender)
