"""How long a next hop may take over a message: each answer has its time, and so has the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from mxseal.clock import ManualClock
from mxseal.config.model import Delivery
from mxseal.events.bus import Bus
from mxseal.relay.bounces import Verdict
from mxseal.relay.channel import Broken, Channel
from mxseal.relay.handover import Session
from mxseal.relay.lanes import Job
from mxseal.relay.opening import Way
from mxseal.relay.resolver import Host
from mxseal.relay.routing import Target
from mxseal.smtp.client import Capabilities
from mxseal.storage.ports import Envelope, Queued, Recipient, Spool

BLOCK = 64 * 1024
DELIVERY = Delivery(command_time=300.0, data_time=600.0, slowest_rate=4096)


class Wire(asyncio.Transport):
    """A transport without a network that takes a block and then no more, until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.channel: Channel | None = None
        self.paused = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002
        return default

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data
        if self.channel is not None and len(data) >= BLOCK:
            self.paused = True
            self.channel.pause_writing()

    def take(self) -> None:
        """The peer takes what waits."""
        assert self.channel is not None
        self.paused = False
        self.channel.resume_writing()


class Content:
    """The one thing that is asked of the spool here."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks

    async def content(self, _mid: int) -> AsyncIterator[bytes]:
        for _ in range(self.blocks):
            yield b"x" * BLOCK


class Peer:
    """A session over a wire, and the message that is handed over on it."""

    def __init__(self, recipients: int = 1, blocks: int = 0) -> None:
        self.clock = ManualClock()
        self.wire = Wire()
        self.channel = self.wire.channel = Channel(self.clock)
        self.channel.connection_made(self.wire)
        way = Way(
            Target("lab.test", (), "preferred", 1, 1),
            "lab.test",
            Host("mx.lab.test", 25, ("192.0.2.1",)),
            "192.0.2.1",
        )
        session = Session(Bus(), self.clock, way, 1, DELIVERY).over(self.channel, Capabilities(), None)
        found = tuple(Recipient(rid=n, address=f"u{n}@lab.test") for n in range(recipients))
        envelope = Envelope(mid=1, sender="a@lab.test", size=blocks * BLOCK or 5, queued_at=self.clock.now())
        job = Job(Queued(envelope=envelope, recipients=found), found, None if blocks else b"Hi.\r\n", 0.0)
        spool = cast("Spool", Content(blocks))
        self.handing = asyncio.get_running_loop().create_task(session.deliver(job, spool))

    async def says(self, reply: str) -> None:
        await settled()
        self.channel.data_received(f"{reply}\r\n".encode())
        await settled()

    async def takes_after(self, seconds: float) -> None:
        """The peer takes what waits so much later, if it is still being waited for."""
        await settled()
        self.clock.advance(seconds)
        self.wire.take()
        await settled()

    async def verdicts(self) -> list[Verdict]:
        return await self.handing


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _to_content(peer: Peer) -> None:
    for reply in ("250 ok", "250 ok", "354 go ahead"):
        await peer.says(reply)


async def test_a_next_hop_that_takes_each_block_just_in_time_is_left_when_the_whole_takes_too_long() -> None:
    peer, blocks = Peer(blocks=100), 0
    await _to_content(peer)
    began = peer.clock.now()
    while not peer.handing.done():
        await peer.takes_after(DELIVERY.data_time - 1)
        blocks += 1
    with pytest.raises(Broken, match="timed out"):
        await peer.verdicts()
    allowed = DELIVERY.data_time + 100 * BLOCK / DELIVERY.slowest_rate
    assert blocks < 10
    assert peer.clock.now() - began < allowed + DELIVERY.data_time


async def test_a_next_hop_that_is_slow_and_yet_fast_enough_gets_the_whole_message() -> None:
    peer = Peer(blocks=100)
    await _to_content(peer)
    while peer.wire.paused:
        await peer.takes_after(BLOCK / DELIVERY.slowest_rate)
    # The answer to the end has its own time, however long the content took.
    peer.clock.advance(DELIVERY.data_time - 1)
    await peer.says("250 taken")
    assert [verdict.kind for verdict in await peer.verdicts()] == ["delivered"]
    assert peer.wire.sent.endswith(b"x\r\n.\r\n")


async def test_a_block_that_is_not_taken_is_waited_for_no_longer_than_before() -> None:
    peer = Peer(blocks=100)
    await _to_content(peer)
    peer.clock.advance(DELIVERY.data_time + 1)
    with pytest.raises(Broken, match="timed out"):
        await peer.verdicts()


async def test_a_next_hop_that_thinks_about_each_recipient_is_left_when_all_take_too_long() -> None:
    peer, answered = Peer(recipients=1000), 0
    await peer.says("250 ok")
    while not peer.handing.done():
        peer.clock.advance(DELIVERY.command_time - 1)
        await peer.says("250 ok")
        answered += 1
    with pytest.raises(Broken, match="timed out"):
        await peer.verdicts()
    assert answered < 110


async def test_a_session_that_stands_idle_has_the_same_patience_for_the_next_message() -> None:
    peer = Peer()
    await _to_content(peer)
    await peer.says("250 taken")
    await peer.verdicts()
    assert peer.channel.until is None
