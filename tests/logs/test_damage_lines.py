"""The line that tells an operator of damage in the queue."""

from __future__ import annotations

from mxseal.config.model import Logs
from mxseal.events.types import QueueDamaged
from mxseal.sinks.maillog import Renderer


def line(**facts: object) -> str:
    found = {
        "file": "queue.db",
        "problem": "it is empty",
        "saved": 0,
        "aside": (),
        "folder": "/spool/damaged-1",
    }
    event = QueueDamaged(at=0.0, **(found | facts))  # type: ignore[arg-type]
    return Renderer(Logs(time="utc")).render(event).decode()


def test_it_names_the_file_the_damage_what_was_saved_and_what_was_set_aside() -> None:
    text = line(saved=12, aside=(3, 4))
    assert " Critical: Queue damaged: queue.db: it is empty. Saved and going on: 12 messages. " in text
    assert (
        "Set aside: 2 messages (MID 3, 4). What is damaged lies in /spool/damaged-1: check the disk" in text
    )


def test_a_thousand_messages_make_no_endless_line() -> None:
    text = line(aside=tuple(range(1000)), problem="x" * 100_000)
    assert "Set aside: 1000 messages (MID 0, 1, 2" in text
    assert len(text) < 5_000


def test_nothing_in_it_breaks_the_line() -> None:
    assert line(file="queue\n.db", problem="bad\r\nthings").count("\n") == 1
