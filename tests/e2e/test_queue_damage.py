"""A queue damaged while the gateway was down: what is whole is delivered, the log tells what is not."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab import Trouble
from lab.ca import Authority
from lab.client import send
from lab.gateway import Gateway
from lab.place import free_port
from lab.sink import Sink
from tests.e2e.estate import Starter, at, document, envelope, hop
from tests.storage.test_versions import raised

COUNT = 12


class Prepared:
    """A home whose gateway was killed with mail in its queue, and the next hop that it goes to."""

    def __init__(self, running: Starter, authority: Authority, home: Path) -> None:
        port = free_port()
        self.home = home
        self.sink = running(lambda: Sink(certificate=authority.issue("sink.lab.test")))
        text = document(port, workers=1, smtp_routes={"example.test": [hop(self.sink)]})
        with Gateway(text, home=home) as gateway:
            gateway.stop()  # from the next start there is one worker, with the whole queue
            gateway.start()
            gateway.text("suspenddel")
            for number in range(COUNT):
                message = envelope(f"message-{number}")
                lines = 2_500 if number % 3 == 0 else 0
                content = message.content + b"0123456789 abcdefghijklmnopqrstuvwxyz .\r\n" * lines
                send(at(port), replace(message, content=content))
            gateway.kill9()


class Site:
    """A copy of that home, which a test damages and starts."""

    def __init__(self, running: Starter, prepared: Prepared, home: Path) -> None:
        shutil.copytree(prepared.home, home, ignore=shutil.ignore_patterns("run", "lock"))
        (home / "run").mkdir(mode=0o700)
        self.sink = prepared.sink
        self._before = len(self.sink.messages())
        self._running = running
        self.gateway = Gateway(home=home)

    def start(self) -> None:
        self._running(lambda: self.gateway)

    def files(self, pattern: str) -> list[Path]:
        """Files of the queue, whatever share of it they are in; the largest first."""
        found = (self.gateway.home / "spool").glob(f"**/{pattern}")
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)

    def arrived(self, count: int) -> set[str]:
        messages = self.sink.wait(self._before + count)
        return {message.subject for message in messages[self._before :]}

    def alert(self) -> str:
        return self.gateway.wait_log(r"Critical: Queue damaged: .*")


@pytest.fixture(scope="module")
def prepared(lasting: Starter, authority: Authority, ground: Path) -> Prepared:
    return Prepared(lasting, authority, ground / "home")


@pytest.fixture
def site(running: Starter, prepared: Prepared, place: Path) -> Site:
    return Site(running, prepared, place / "home")


def overwrite(path: Path, part: float) -> None:
    data = bytearray(path.read_bytes())
    at_byte = int(len(data) * part)
    data[at_byte : at_byte + 64] = random.Random(1).randbytes(64)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2_000])


@pytest.mark.parametrize(
    "damage", [lambda log: overwrite(log, 0.5), cut], ids=["bytes of the log", "the end of the log"]
)
def test_a_damaged_queue_delivers_what_is_whole_and_tells_what_is_not(
    site: Site, damage: Callable[[Path], None]
) -> None:
    damage(site.files("queue.db-wal")[0])
    site.start()
    alert = site.alert()
    saved = re.search(r"Saved and going on: (\d+) messages", alert)
    assert saved is not None
    assert int(saved[1]) >= COUNT - 4
    assert len(site.arrived(int(saved[1]))) == int(saved[1])
    folder = re.search(r"lies in (\S+):", alert)
    assert folder is not None
    assert (Path(folder[1]) / "queue.db-wal").exists()


def test_content_that_was_cut_is_not_sent_and_lies_beside_its_envelope(site: Site) -> None:
    victim = site.files("bodies/*")[0]
    victim.write_bytes(victim.read_bytes()[:1_000])
    site.start()
    alert = site.alert()
    assert f"message {victim.name}: its content file has 1000 bytes instead of" in alert
    assert len(site.arrived(COUNT - 1)) == COUNT - 1
    (told,) = site.files(f"{victim.name}.json")
    facts = json.loads(told.read_text())
    assert facts["sender"] == "a@sender.test"
    assert [each["address"] for each in facts["recipients"]] == ["b@example.test"]
    assert (told.parent / facts["content"]).stat().st_size == 1_000


def test_a_home_of_the_first_layout_is_served_and_its_mail_delivered(site: Site) -> None:
    home = site.gateway.home
    share = site.files("queue.db-wal")[0].parent
    for path in list(share.iterdir()):
        path.rename(home / "spool" / path.name)
    for each in (home / "spool").glob("[0-9]*"):
        shutil.rmtree(each)
    (home / "layout").unlink()
    site.start()
    assert len(site.arrived(COUNT)) == COUNT


def test_a_newer_home_is_refused_with_a_sentence(site: Site) -> None:
    raised(site.gateway.home / "state.db")
    with pytest.raises(Trouble, match=r"(?s)status 78.*state\.db has version 9.*Start the newer") as trouble:
        site.start()
    assert "Traceback" not in str(trouble.value)


def test_a_damaged_state_is_refused_with_a_sentence(site: Site) -> None:
    state = site.gateway.home / "state.db"
    state.write_bytes(b"")
    with pytest.raises(Trouble, match=r"(?s)status 78.*state\.db is damaged: .*last backup") as trouble:
        site.start()
    assert "Traceback" not in str(trouble.value)
    assert state.read_bytes() == b""
