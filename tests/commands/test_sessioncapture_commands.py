"""`sessioncapture` at the desk: who may, what is refused, what is shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from mxseal.capture.orders import Order
from mxseal.clock import ManualClock
from mxseal.commands import sessioncapture
from mxseal.commands.registry import Registry
from mxseal.relay.recordings import Recordings
from mxseal.storage.captures import About, Captures
from mxseal.storage.ports import StorageRefused
from mxseal.storage.sealing import Seal
from tests.commands.desk import Desk
from tests.commands.gateway import FakeServices

COMMANDS = Registry([sessioncapture])
NOW = 1_790_000_000.0


class Services(FakeServices):
    """With a folder of recordings; orders go nowhere."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.told: list[Sequence[Order]] = []
        self.clock = ManualClock(NOW)
        store = Captures(folder, Seal(os.urandom(32)))
        self.captures = Recordings(
            store, self.clock, lambda orders, _stopped: self.told.append(orders), lambda: (7, 256 << 20)
        )


@pytest.fixture
def services(tmp_path: Path) -> Services:
    return Services(tmp_path / "captures")


def stored(services: Services, name: str = "20261124-143118-icid2", content: bytes = b"pcapng") -> About:
    about = About(
        name=name,
        kind="session",
        made_at=NOW,
        size=len(content),
        user="joe",
        wanted="domain partner.test",
        number="ICID 2",
        peer="192.0.2.7 4711",
        remarks=("What is no TLS is cut after its first bytes",),
    )
    services.captures.store.store(about, content, mark="worker0")
    return about


async def test_armed_is_what_was_said(services: Services) -> None:
    desk = Desk(COMMANDS, services=services)
    armed = await desk.ok(
        "sessioncapture",
        "arm",
        "--domain",
        "Partner.Test.",
        "--count",
        "2",
        "--minutes",
        "5",
        "--only",
        "incoming",
    )
    assert armed["wanted"] == "domain partner.test, incoming only"
    assert armed["count"] == 2
    ((order,),) = services.told
    assert (order.domain, order.content, order.until) == ("partner.test", False, NOW + 300)
    assert [each["number"] for each in await desk.ok("sessioncapture", "status")] == [armed["number"]]
    await desk.ok("sessioncapture", "disarm", armed["number"])
    assert services.told[-1] == ()
    assert await desk.ok("sessioncapture", "status") == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "one of --domain, --host, --next-icid, --ldap and --analysis"),
        (
            ["--domain", "a.test", "--next-icid"],
            "one of --domain, --host, --next-icid, --ldap and --analysis",
        ),
        (["--domain", "no domain"], "is no name of a host or domain"),
        (["--host", "256.1.2.3"], "is no name of a host or domain"),
        (["--next-icid", "--only", "delivery"], "A delivery has no ICID"),
        (["--next-icid", "--listener", "Nowhere"], "There is no listener Nowhere"),
        (["--next-icid", "--count", "0"], "count"),
        (["--next-icid", "--minutes", "99999"], "minutes"),
    ],
)
async def test_what_can_not_be_meant_is_refused(services: Services, words: list[str], why: str) -> None:
    desk = Desk(COMMANDS, services=services)
    assert await desk.run("sessioncapture", "arm", *words) != "ok"
    assert why in desk.text
    assert services.told == []


@pytest.mark.parametrize("role", ["operator", "certificate-officer", "read-only"])
@pytest.mark.parametrize("words", [["arm", "--next-icid"], ["list"], ["status"], ["download", "x", "y"]])
async def test_nobody_but_administrators_may(services: Services, role: str, words: list[str]) -> None:
    desk = Desk(COMMANDS, role, services=services)  # type: ignore[arg-type]
    assert await desk.run("sessioncapture", *words) not in ("ok", "failed")


async def test_a_recording_is_listed_shown_downloaded_and_deleted(services: Services) -> None:
    desk = Desk(COMMANDS, services=services)
    about = stored(services)
    (listed,) = await desk.ok("sessioncapture", "list")
    assert listed["number"] == "ICID 2"
    shown = await desk.ok("sessioncapture", "show", about.name)
    assert shown["remarks"] == ["What is no TLS is cut after its first bytes"]
    await desk.ok("sessioncapture", "download", about.name, "x.pcapng")
    assert desk.client.files["x.pcapng"] == b"pcapng"
    assert desk.client.modes["x.pcapng"] == 0o600
    await desk.ok("sessioncapture", "delete", about.name)
    assert await desk.ok("sessioncapture", "list") == []
    assert await desk.run("sessioncapture", "show", about.name) == "failed"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "", "a/b", "x" * 200])
async def test_a_name_never_leads_out_of_the_folder(services: Services, name: str) -> None:
    desk = Desk(COMMANDS, services=services)
    stored(services)
    assert await desk.run("sessioncapture", "download", name, "x") != "ok"
    assert not services.captures.store.delete(name)
    with pytest.raises(StorageRefused):
        services.captures.store.read(name)


def test_at_rest_nothing_can_be_read_or_moved_to_another_name(services: Services) -> None:
    about = stored(services, content=b"EHLO secret.test")
    store = services.captures.store
    (path,) = store.folder.glob("*.sealed")
    assert b"EHLO" not in path.read_bytes()
    assert b"partner.test" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(path.with_name("20261124-000000-icid9.sealed"))
    assert store.find("20261124-000000-icid9") is None
    with pytest.raises(StorageRefused, match="does not open"):
        store.read("20261124-000000-icid9")
    assert about.name not in [each.name for each in store.all()]


def test_a_place_is_claimed_once(services: Services) -> None:
    store = services.captures.store
    assert [store.claim("1", 2, f"worker{n}") for n in range(3)] == [0, 1, None]
    store.fulfil("1", 0, "worker0")
    assert store.progress("1", 2) == (1, 1)
    store.give_back("1", 1)
    assert store.claim("1", 2, "worker2") == 1
    assert store.take_back("worker2")
    assert not store.take_back("worker0")  # its recording is stored
    assert store.progress("1", 2) == (0, 1)
