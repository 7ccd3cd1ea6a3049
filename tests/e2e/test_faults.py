"""The disk fails, the clock jumps: nothing that had its 250 is lost, and all goes on by itself afterwards."""

from __future__ import annotations

import errno
import os
import smtplib
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab import Trouble, Unavailable
from lab.ca import Authority
from lab.client import Client
from lab.faults import Faults
from lab.gateway import Gateway
from lab.place import free_port
from lab.process import looks, until
from lab.sink import Sink
from tests.e2e.estate import Starter, at, document, hop

SIZES = {"small": 5_000, "large": 500_000}
"""Small content is kept in the queue's database, large content in files."""
PATIENCE = 40.0
YEAR = 365 * 86_400


@pytest.fixture(scope="module")
def faults(ground: Path) -> Faults:
    try:
        return Faults(ground)
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))


class Site:
    """A gateway with faults, its next hop, and a sender that remembers what was taken."""

    def __init__(self, gateway: Gateway, port: int, sink: Sink) -> None:
        self.gateway, self.sink = gateway, sink
        self._address = at(port)
        self._number = 0
        self.taken: list[str] = []

    def send(self, size: int = 1_000) -> int:
        """The last answer to one message, 0 when there was none."""
        self._number += 1
        subject = f"message-{self._number}"
        filling = b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * (size // 41)
        code = 0
        try:
            with Client(self._address, seconds=PATIENCE) as client:
                client.secure()
                code = client.mail("a@sender.test")[0]
                if code == 250:
                    client.rcpt("b@example.test")
                    code = client.data(f"Subject: {subject}\r\n\r\n".encode() + filling)[0]
        except smtplib.SMTPResponseException as error:
            code = error.smtp_code
        except (OSError, smtplib.SMTPException):
            pass
        if code == 250:
            self.taken.append(subject)
        return code

    def send_until(self, wanted: Callable[[int], bool], size: int = 1_000) -> int:
        """The first answer that is wanted."""
        for _ in looks(PATIENCE):
            code = self.send(size)
            if wanted(code):
                return code
        pytest.fail(f"the last answer is still {code}: {self.gateway.log()[-2000:]}")

    def all_arrives_once(self) -> None:
        """Each message that was taken is delivered, and none is left."""
        self.sink.wait(len(self.taken), PATIENCE)
        until(self._is_empty, self.gateway.log, PATIENCE)
        assert sorted(message.subject for message in self.sink.messages()) == sorted(self.taken)

    def delays(self) -> int:
        """Attempts that failed."""
        return self.gateway.log().count("Delayed: ")

    def _is_empty(self) -> bool:
        return bool(self.gateway.command("status")["queue"]["messages"] == 0)


@pytest.fixture(scope="module")
def shared(faults: Faults, lasting: Starter, authority: Authority) -> Site:
    port = free_port()
    sink = lasting(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    delivery = {"first_retry": 1, "longest_retry": 2}
    text = document(port, smtp_routes={"example.test": [hop(sink)]}, delivery=delivery)
    faults.disk_works()
    return Site(lasting(lambda: Gateway(text, environment=faults.environment)), port, sink)


@pytest.fixture
def site(shared: Site, faults: Faults) -> Iterator[Site]:
    """One gateway for all tests of this file, and nothing wrong with its disk or clock when each begins."""
    yield shared
    faults.disk_works()
    faults.clock(0)
    if not shared.gateway.running:
        shared.gateway.start()
    shared.gateway.text("resumedel")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_queue_whose_disk_fails_puts_mail_off_until_it_works_again(
    site: Site, faults: Faults, number: int, size: str
) -> None:
    for _ in range(5):
        assert site.send(SIZES[size]) == 250
    site.gateway.text("suspenddel")
    for _ in range(5):
        assert site.send(SIZES[size]) == 250
    faults.disk(site.gateway.home / "spool", number)
    assert 400 <= site.send_until(lambda code: code != 250, SIZES[size]) < 500
    site.gateway.text("resumedel")
    assert 400 <= site.send(SIZES[size]) < 500
    faults.disk_works()
    site.send_until(lambda code: code == 250, SIZES[size])
    site.all_arrives_once()


def test_a_gateway_that_is_killed_while_its_disk_fails_keeps_what_it_promised(
    site: Site, faults: Faults
) -> None:
    site.gateway.text("suspenddel")
    for size in SIZES.values():
        for _ in range(3):
            assert site.send(size) == 250
    faults.disk(site.gateway.home / "spool")
    assert site.send() != 250
    site.gateway.kill9()
    faults.disk_works()
    site.gateway.start()
    site.send_until(lambda code: code == 250)
    site.all_arrives_once()


def test_a_log_whose_disk_fails_costs_no_message(site: Site, faults: Faults) -> None:
    assert site.send() == 250
    faults.disk(site.gateway.home / "logs")
    for _ in range(3):
        site.send()
    faults.disk_works()
    site.send_until(lambda code: code == 250)
    site.all_arrives_once()


@pytest.mark.parametrize("jump", [3_600, -3_600, YEAR, -YEAR, 86_400])
def test_a_clock_that_jumps_neither_loses_mail_nor_keeps_it(site: Site, faults: Faults, jump: int) -> None:
    site.sink.stop()
    for _ in range(3):
        assert site.send() == 250
    before = site.delays()
    until(lambda: site.delays() > before, site.gateway.log)
    faults.clock(jump)
    for _ in range(3):
        assert site.send() == 250
    attempts = site.delays()
    until(lambda: site.delays() >= attempts + 3, site.gateway.log)
    faults.clock(0)
    site.sink.start()
    site.all_arrives_once()
    assert site.delays() - before < 200, "the jump made it try without pause"


# --- a file system that was mounted read-only -------------------------------------------------------------


@pytest.fixture
def mounted(place: Path) -> Iterator[Path]:
    """A file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("A file system of its own needs root.")
    folder = place / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600m,mode=711", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"A file system can't be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def remounted(folder: Path, how: str) -> bool:
    """Whether it could be done: the kernel may still be closing the files of a process that was killed."""
    done = subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], capture_output=True, check=False)
    return done.returncode == 0


def test_a_home_on_a_read_only_file_system_is_refused_in_a_sentence_and_serves_once_it_can_be_written(
    mounted: Path, running: Starter, authority: Authority
) -> None:
    port = free_port()
    sink = running(lambda: Sink(certificate=authority.issue("sink.lab.test")))
    text = document(port, smtp_routes={"example.test": [hop(sink)]})
    site = Site(running(lambda: Gateway(text, home=mounted / "home")), port, sink)
    site.gateway.text("suspenddel")
    assert site.send() == 250
    site.gateway.kill9()
    until(lambda: remounted(mounted, "ro"), lambda: "the file system stays busy")
    try:
        with pytest.raises(
            Trouble, match=r"(?s)status 78.*can't be written: Read-only file system"
        ) as trouble:
            site.gateway.start()
        assert "Traceback" not in str(trouble.value)
    finally:
        with suppress(Trouble):
            site.gateway.stop()
        assert remounted(mounted, "rw")
    site.gateway.start()
    site.all_arrives_once()
