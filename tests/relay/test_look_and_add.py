"""A look at the spool that comes between the commit of a message and its way into the queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lab.place import free_port
from lab.sink import Sink
from mxseal.events.types import DeliveryStarted, MessageFinished
from tests.relay.harness import route, running


async def test_a_message_that_a_look_at_the_spool_finds_first_is_delivered_once(
    sink: Sink, tmp_path: Path
) -> None:
    async with running(tmp_path / "home", free_port(), route(sink.port)) as relay:
        spool, queue = relay.gateway.spool, relay.gateway.queue
        store = spool.store

        async def looked_for(*message: Any) -> None:
            await store(*message)
            await queue.look()

        spool.store = looked_for  # type: ignore[method-assign, assignment]
        await relay.submit("to@example.com")
        await relay.told.until(MessageFinished)
        await relay.quiet()
        assert len(relay.told.of(DeliveryStarted)) == 1
        assert len(sink.messages()) == 1
        assert queue.at_work() == 0
