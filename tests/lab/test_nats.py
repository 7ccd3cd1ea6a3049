"""The laboratory's engine: NATS servers that agree with each other, and outlive one of them."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from lab.nats import Nats
from tests.conftest import Starter

nats = pytest.importorskip("nats")


def _context(engine: Nats) -> ssl.SSLContext:
    _, files = engine.client("mx1.lab.test")
    context = ssl.create_default_context(cafile=str(files.root))
    context.load_cert_chain(files.chain, files.key)
    return context


async def test_what_three_servers_took_is_there_when_one_is_killed(running: Starter) -> None:
    engine = running(Nats)
    client = await nats.connect(list(engine.urls), tls=_context(engine))
    bucket = await client.jetstream().create_key_value(bucket="b", replicas=3, history=8)
    await bucket.put("k", b"v")
    await client.close()
    engine.kill(0)
    client = await nats.connect(list(engine.urls[1:]), tls=_context(engine))
    value = None
    for _ in range(40):  # what is asked while there is no leader is lost, or refused at once
        try:
            value = (await (await client.jetstream(timeout=1).key_value("b")).get("k")).value
            break
        except nats.errors.Error:
            await asyncio.sleep(0.1)
    await client.close()
    assert value == b"v"


async def test_a_client_without_a_certificate_of_the_authority_is_refused(running: Starter) -> None:
    engine = running(lambda: Nats(1))
    context = ssl.create_default_context(cafile=str(engine.client("mx1.lab.test")[1].root))
    with pytest.raises((OSError, nats.errors.Error)):
        await nats.connect(engine.urls[0], tls=context, allow_reconnect=False, max_reconnect_attempts=0)
