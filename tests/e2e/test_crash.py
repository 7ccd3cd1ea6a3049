"""The gateway is killed at random moments: each 250 is kept, and a commit is done wholly or not at all."""

from __future__ import annotations

import random
import re
import smtplib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab.crash import battery, delivered_after_record
from lab.gateway import Gateway
from lab.place import free_port
from mxseal.faces.client import Line, connect
from tests.e2e.estate import at, document

SEED = 20260214
ROUNDS = 8
PATIENCE = 60.0


def test_every_250_survives_kills_and_hostile_next_hops_and_no_second_copy_is_unexplained() -> None:
    report = battery(SEED, ROUNDS)
    assert report.faults == [], str(report)
    assert report.killed.total() == ROUNDS
    assert report.promised > 100
    assert report.broken > 0
    assert len(report.moods) > 5


def test_the_battery_finds_a_delivery_behind_a_record() -> None:
    log = """Delivery start DCID 1 MID 7 to RID [0]
Message finished MID 7 done
Delivery start DCID 2 MID 8 to RID [0]
"""
    assert delivered_after_record(log) == []
    (fault,) = delivered_after_record(f"{log}Delivery start DCID 3 MID 7 to RID [0]\n")
    assert "MID 7" in fault


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
