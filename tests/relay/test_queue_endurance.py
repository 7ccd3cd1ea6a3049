"""The queue under hostile next hops and sick disks: nothing starves, leaks, spins or is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.hostile import Hostile
from lab.place import free_port
from lab.script import Behaviour
from mxseal.clock import ManualClock
from mxseal.events.types import (
    DeliveryClosed,
    DeliveryFailed,
    DeliveryOpened,
    DeliveryStarted,
    DsnGenerated,
    MessageFinished,
    RecipientDelayed,
    RecipientsDelivered,
)
from mxseal.relay import atwork
from mxseal.relay.channel import Broken, Channel
from mxseal.storage.ports import StorageRefused
from tests.relay.harness import route, running

START = Callable[..., Hostile]


async def test_a_message_with_many_recipients_starves_nobody(
    hostile: START, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mxseal.relay.queue.RECIPIENTS", 40)
    monkeypatch.setattr(atwork, "RECIPIENTS", 40)
    hop = hostile("tls-1.2-only")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        relay.gateway.queue.suspend()
        for number in range(6):
            await relay.submit(*(f"u{number}x{i}@example.com" for i in range(30)))
        await relay.submit("last@example.com")
        relay.gateway.queue.resume()
        await relay.told.until(MessageFinished, 7)
        assert relay.gateway.spool.count() == (0, 0)


async def test_a_job_that_comes_back_while_another_is_out_is_tried_again(
    hostile: START, tmp_path: Path
) -> None:
    clock, hop = ManualClock(), hostile("tls-1.2-only")
    controls = route(hop.port)
    controls["destinations"].append({"domain": "second.example", "tls": "required"})
    async with running(tmp_path / "home", free_port(), controls, clock) as relay:
        queue, allocate = relay.gateway.queue, relay.gateway.worker.numbers.allocate
        failures = [StorageRefused("full", "no number")]

        def sick(counter: str) -> int:
            if counter == "dcid" and failures:
                raise failures.pop()
            return allocate(counter)

        relay.gateway.outbound._allocate = sick
        await relay.submit("a@example.com", "b@second.example")
        await relay.told.until(RecipientsDelivered)
        await relay.quiet()
        assert relay.gateway.spool.count()[0] == 1
        clock.advance(6.0)
        await relay.told.until(MessageFinished)
        assert queue.at_work() == 0


async def test_content_that_cannot_be_read_is_an_attempt_and_leaves_no_connection_behind(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile("tls-1.2-only")
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        relay.gateway.queue.suspend()
        mid = await relay.submit("to@example.com", content=b"Subject: x\r\n\r\n" + b"y" * 100_000)
        (relay.gateway.home.share(0) / "bodies" / str(mid)).unlink()
        relay.gateway.queue.resume()
        (delayed,) = await relay.told.until(RecipientDelayed)
        assert delayed.status == "4.3.0"
        await relay.told.until(DeliveryClosed)
        await relay.quiet()
        assert [lane.connected for lane in relay.gateway.queue.lanes.values()] == [0]
        assert hop.taken == ()


async def test_a_delivered_recipient_is_kept_when_the_bounce_of_another_has_to_wait(
    hostile: START, tmp_path: Path
) -> None:
    clock = ManualClock()
    hop = hostile(Behaviour(replies={"RCPT:bad@example.com": "550 5.1.1 no such user"}))
    async with running(tmp_path / "home", free_port(), route(hop.port), clock) as relay:
        queue, allocate = relay.gateway.queue, relay.gateway.worker.numbers.allocate
        mid = await relay.submit("good@example.com", "bad@example.com")
        failures = [StorageRefused("full", "no number")]

        def sick(counter: str) -> int:
            if counter == "mid" and failures:
                raise failures.pop()
            return allocate(counter)

        queue.allocate = sick
        await relay.told.until(RecipientsDelivered)
        while failures:
            await asyncio.sleep(0)
        await relay.gateway.spool.flush()
        queued = await relay.gateway.spool.load(mid)
        assert queued is not None
        assert [r.address for r in queued.recipients] == ["bad@example.com"]
        clock.advance(6.0)
        await relay.told.until(DsnGenerated)


async def test_a_read_that_fails_does_not_stop_the_retry_clock(hostile: START, tmp_path: Path) -> None:
    clock, hop = ManualClock(), hostile("rcpt-450")
    async with running(tmp_path / "home", free_port(), route(hop.port), clock) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(RecipientDelayed)
        await relay.quiet()
        due, refusals = relay.gateway.spool.due, [StorageRefused("sick", "no answer")]

        async def sick(now: float, limit: int) -> object:
            if refusals:
                raise refusals.pop()
            return await due(now, limit)

        relay.gateway.spool.due = sick  # type: ignore[method-assign, assignment]
        clock.advance(70.0)
        while refusals:
            await asyncio.sleep(0)
        clock.advance(6.0)
        await relay.told.until(RecipientDelayed, 2)


async def test_a_peer_that_takes_one_connection_only_is_not_stormed(hostile: START, tmp_path: Path) -> None:
    one = Behaviour(drop={"END": "stall"}, connections=1)
    clock, hop = ManualClock(), hostile(one)
    async with running(tmp_path / "home", free_port(), route(hop.port), clock) as relay:
        await relay.submit("first@example.com")
        await relay.told.until(DeliveryStarted)
        hop.behaviour = Behaviour(replies={"CONNECT": "421 4.7.0 too many connections"})
        for _ in range(40):
            await relay.submit("to@example.com")
        for _ in range(200):
            await relay.gateway.spool.flush()
            await asyncio.sleep(0)
        assert len(relay.told.of(DeliveryOpened)) <= 10
        for talking in list(hop._talking.values()):
            talking.close()


class _Wire(asyncio.Transport):
    """A transport without a network, that remembers how it ended."""

    aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_extra_info(self, name: str, default: object = None) -> object:  # noqa: ARG002
        return default

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def test_a_server_that_sends_what_nobody_asked_for_is_left() -> None:
    channel, wire = Channel(ManualClock()), _Wire()
    channel.connection_made(wire)
    for _ in range(20):
        if not wire.aborted:
            channel.data_received(b"250 more\r\n" * 5000)
    assert wire.aborted
    assert not channel.alive
    assert channel._parser.buffered < 400_000


async def test_a_reply_in_single_bytes_gets_no_more_time_than_a_whole_one() -> None:
    clock, wire = ManualClock(), _Wire()
    channel = Channel(clock)
    channel.connection_made(wire)
    reply = asyncio.get_running_loop().create_task(channel.reply(10.0))
    for byte in b"220-slow\r\n":
        await asyncio.sleep(0)
        channel.data_received(bytes([byte]))
        clock.advance(4.0)
    with pytest.raises(Broken, match="timed out"):
        await reply


async def test_a_host_that_does_not_answer_is_not_asked_for_each_message(tmp_path: Path) -> None:
    clock, closed = ManualClock(), free_port()
    async with running(tmp_path / "home", free_port(), route(closed), clock) as relay:
        for number in range(1, 31):
            await relay.submit("to@example.com")
            await relay.told.until(RecipientDelayed, number)
        assert len(relay.told.of(DeliveryFailed)) == 1
        clock.advance(6.0)
        await relay.submit("to@example.com")
        await relay.told.until(DeliveryFailed, 2)
