"""Recordings of real connections: which are kept, how many, and what is left of those that are not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from OpenSSL._util import ffi, lib

from lab.ca import Authority
from lab.client import ANY
from lab.place import free_port
from lab.sink import Sink
from lab.tshark import fields
from mxseal.capture.orders import Connection, Order, matches
from mxseal.clock import ManualClock
from mxseal.events.types import DeliveryClosed, SessionCaptured, WorkerDied
from mxseal.relay.overhearing import Overheard
from mxseal.relay.recordings import RecordingRefused
from mxseal.relay.resolver import ClientName
from mxseal.storage.captures import About
from mxseal.tls import keylog
from tests.relay.harness import CONTENT, Running, greeted, keeping, listening, route, running, talking


async def kept(relay: Running, count: int) -> list[About]:
    """The recordings, once there are so many."""
    async with asyncio.timeout(20):
        while len(found := relay.gateway.captures.kept()) < count:
            await asyncio.sleep(0.005)
    return found


async def armed(relay: Running, *, seconds: float = 60, **wanted: Any) -> Order:
    """An order that the worker knows."""
    order = relay.gateway.captures.arm("joe", seconds, **wanted)
    async with asyncio.timeout(20):
        while order not in relay.gateway.worker.recorder._orders:
            await asyncio.sleep(0)
    return order


def commands(relay: Running, about: About, folder: Path, port: int) -> str:
    """What the client said, by tshark, which is given the file alone."""
    file = folder / f"{about.name}.pcapng"
    file.write_bytes(relay.gateway.captures.store.read(about.name))
    return " ".join(row[0] for row in fields(file, "smtp.req.command", smtp_port=port)).replace(",", " ")


async def test_the_next_connection_is_kept_and_no_other(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        await armed(relay, next_icid=True)
        for _ in range(2):
            async with greeted(port) as client:
                await client.say("EHLO client.lab.test")
                await client.secure()
                assert (await client.message()).startswith("250 ok")
                await client.say("QUIT")
        (about,) = await kept(relay, 1)
        assert about.number == "ICID 1"
        assert about.user == "joe"
        assert not relay.gateway.captures.armed()
        assert not relay.gateway.worker.recorder.armed
        assert commands(relay, about, tmp_path, port) == "EHLO STAR EHLO MAIL RCPT DATA QUIT"
        sealed = b"".join(path.read_bytes() for path in relay.gateway.captures.store.folder.iterdir())
        assert b"EHLO" not in sealed
        assert b"SECRET" not in sealed
        assert CONTENT[:20] not in relay.gateway.captures.store.read(about.name)
        told = relay.told.of(SessionCaptured)
        assert [(each.number, each.name, each.user, each.content) for each in told] == [
            ("ICID 1", about.name, "joe", False)
        ]


async def test_nothing_is_between_a_connection_and_its_transport_while_nothing_is_armed(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        (connection,) = relay.gateway.listeners._gates()[0].connections
        assert connection.tape is None
        assert not isinstance(connection._transport.get_protocol(), Overheard)
        await client.secure()
        (context,) = [each.context for each in relay.gateway.served.servers.values()]
        assert lib.SSL_CTX_get_keylog_callback(context._context) == ffi.NULL


async def test_a_host_is_known_by_its_address_from_the_beginning(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        await armed(relay, host="127.0.0.0/29")
        for source in ("127.0.0.9", "127.0.0.3"):
            async with greeted(port, source=source) as client:
                await client.say("QUIT")
        (about,) = await kept(relay, 1)
        assert about.number == "ICID 2"
        assert about.peer.startswith("127.0.0.3 ")


@pytest.mark.parametrize("how", ["sender", "hello", "name"])
async def test_a_domain_is_known_by_sender_hello_and_name_and_all_is_there_from_the_beginning(
    tmp_path: Path, how: str
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        if how == "name":
            relay.gateway.worker.resolver.client_name = _named  # type: ignore[method-assign, assignment]
            (reception,) = [each.reception for each in relay.gateway.listeners._ports.values()]
            object.__setattr__(reception.listener, "reverse_dns", True)
        await armed(relay, domain="partner.test")
        async with greeted(port) as client:
            await client.secure()
            await client.message()
        async with greeted(port) as client:
            await client.secure()
            hello = "mx1.partner.test" if how == "hello" else "client.lab.test"
            await client.say(f"EHLO {hello}")
            await client.say(f"MAIL FROM:<a@{'Partner.Test' if how == 'sender' else 'lab.test'}>")
            await client.say("QUIT")
        (about,) = await kept(relay, 1)
        assert about.number == ("ICID 1" if how == "name" else "ICID 2")
        assert commands(relay, about, tmp_path, port).startswith("STAR EHLO MAIL")
        assert keylog.listening() == 0


async def _named(_address: str) -> ClientName:
    return ClientName("mx.partner.test", verified=True)


async def test_implicit_tls_is_read_from_its_first_byte(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, implicit_tls=True)
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay:
        relay.gateway.worker.resolver.client_name = _named  # type: ignore[method-assign, assignment]
        (reception,) = [each.reception for each in relay.gateway.listeners._ports.values()]
        object.__setattr__(reception.listener, "reverse_dns", True)
        await armed(relay, next_icid=True)
        async with talking(port, tls=ANY.context()) as client:
            assert (await client.reply()).startswith("220 ")
            await client.message()
        (about,) = await kept(relay, 1)
        file = tmp_path / "x.pcapng"
        file.write_bytes(relay.gateway.captures.store.read(about.name))
        assert [row[0] for row in fields(file, "tls.handshake.type", of="tls.handshake.type==1")] == ["1"]
        assert CONTENT[:20] not in file.read_bytes()


async def test_deliveries_of_a_domain_are_kept(tmp_path: Path, authority: Authority) -> None:
    port = free_port()
    with Sink(certificate=authority.issue("sink.lab.test")) as sink:
        async with running(tmp_path / "home", port, route(sink.port)) as relay:
            await armed(relay, domain="example.net")
            await relay.submit("to@other.test")
            await relay.told.until(DeliveryClosed)
            await relay.submit("to@example.net")
            (about,) = await kept(relay, 1)
            assert about.number == "DCID 2"
            assert commands(relay, about, tmp_path, sink.port) == "EHLO STAR EHLO MAIL RCPT DATA QUIT"
            assert CONTENT[:20] not in relay.gateway.captures.store.read(about.name)


async def test_with_content_all_is_there(tmp_path: Path, authority: Authority) -> None:
    port = free_port()
    with Sink(certificate=authority.issue("sink.lab.test")) as sink:
        async with running(tmp_path / "home", port, route(sink.port)) as relay:
            await armed(relay, host="127.0.0.1", content=True, only="delivery")
            await relay.submit("to@example.net")
            (about,) = await kept(relay, 1)
            file = tmp_path / "x.pcapng"
            file.write_bytes(relay.gateway.captures.store.read(about.name))
            assert about.content
            assert fields(file, "imf.subject", smtp_port=sink.port)


async def test_after_its_time_nothing_is_armed(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock(1_790_000_000)
    async with running(tmp_path / "home", port, listening(port), clock, keeping) as relay:
        await armed(relay, next_icid=True, seconds=60)
        clock.advance(61)
        assert not relay.gateway.captures.armed()
        async with greeted(port):
            pass
        assert not relay.gateway.worker.recorder._kept
        assert not relay.gateway.captures.kept()


async def test_disarming_ends_what_is_being_recorded_and_keeps_it(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        order = await armed(relay, next_icid=True)
        async with greeted(port) as client:
            await client.secure()
            await client.say("EHLO client.lab.test")
            assert relay.gateway.captures.armed()[0].running == 1
            relay.gateway.captures.disarm(order.name)
            (about,) = await kept(relay, 1)
            assert commands(relay, about, tmp_path, port) == "STAR EHLO"
            assert keylog.listening() == 0
            assert (await client.say("NOOP")).startswith("250 ")


async def test_what_a_dead_worker_had_begun_is_as_if_it_had_not(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        captures = relay.gateway.captures
        order = await armed(relay, next_icid=True)
        assert captures.store.claim(order.name, 1, "worker7") == 0
        unfinished = captures.store.folder / ".worker7-20261124-icid9"
        unfinished.write_bytes(b"half")
        async with greeted(port):
            assert not relay.gateway.worker.recorder.armed  # all that was wanted is under way
        captures.handle(WorkerDied(at=0.0, worker=7, pid=7, status=-9))
        assert not unfinished.exists()
        async with asyncio.timeout(20):
            while not relay.gateway.worker.recorder.armed:
                await asyncio.sleep(0)
        async with greeted(port) as client:
            await client.say("QUIT")
        await kept(relay, 1)


async def test_a_start_disarms_and_drops_what_is_unfinished_and_too_old(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock(1_790_000_000)
    home = tmp_path / "home"
    async with running(home, port, listening(port), clock, keeping) as relay:
        store = relay.gateway.captures.store
        for name, age in (("old", 8), ("new", 6.99)):
            made = clock.now() - age * 86_400
            about = About(name=name, kind="session", made_at=made, size=1, user="joe", wanted="x")
            store.store(about, b"x", mark="worker0")
        store.claim("1", 1, "worker0")
    async with running(home, port, listening(port), clock, keeping) as relay:
        assert [about.name for about in relay.gateway.captures.kept()] == ["new"]
        assert not list(relay.gateway.captures.store.folder.glob(".claim*"))
        clock.advance(3601)
        assert not relay.gateway.captures.kept()


async def test_more_than_fits_can_not_be_armed(tmp_path: Path) -> None:
    port = free_port()
    small = {"captures": {"max_bytes": 32 << 20}}
    async with running(tmp_path / "home", port, listening(port) | small, prepare=keeping) as relay:
        relay.gateway.captures.arm("joe", 60, next_icid=True, count=2)
        with pytest.raises(RecordingRefused, match="delete some, or raise max_bytes"):
            relay.gateway.captures.arm("joe", 60, next_icid=True)


async def test_a_connection_that_hangs_up_is_kept_with_its_reset(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        await armed(relay, next_icid=True)
        async with greeted(port) as client:
            client.reset()
        (about,) = await kept(relay, 1)
        file = tmp_path / "x.pcapng"
        file.write_bytes(relay.gateway.captures.store.read(about.name))
        assert [row[0] for row in fields(file, "tcp.srcport", of="tcp.flags.reset==1")] != [str(port)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"host": "mx.partner.test"}, True),
        ({"host": "MX.partner.test."}, True),
        ({"host": "partner.test"}, False),
        ({"domain": "partner.test"}, True),
        ({"domain": "artner.test"}, False),
        ({"host": "2001:db8::/32"}, False),
        ({"host": "192.0.2.0/24"}, True),
        ({"host": "192.0.2.7", "only": "delivery"}, False),
        ({"host": "192.0.2.7", "listener": "Other"}, False),
        ({"next_icid": True, "listener": "In"}, True),
    ],
)
def test_an_order_means_these_connections(wanted: dict[str, Any], found: bool) -> None:
    order = Order(name="1", user="joe", armed_at=0.0, until=9.0, **wanted)
    connection = Connection(
        direction="incoming", address="::ffff:192.0.2.7", listener="In", names={"mx.partner.test"}
    )
    assert matches(order, connection) == found
