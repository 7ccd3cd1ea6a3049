"""What listeners show, looked at by the gateway itself: after the start, daily, and seen by nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from OpenSSL import SSL

from lab.ca import Authority
from lab.place import free_port
from mxseal.clock import ManualClock
from mxseal.crew.worker import Worker
from mxseal.events.types import (
    AlertRaised,
    CertificateServed,
    ConnectionClosed,
    ConnectionOpened,
    InboundTlsSucceeded,
    MessageStarted,
)
from mxseal.relay.intake import Reception
from mxseal.relay.ports import Place
from mxseal.relay.served import DAY_SECONDS, SOON_SECONDS
from tests.relay.harness import Running, Talker, greeted, listening, running

Sockets = Mapping[Place, socket.socket]


class Stale:
    """A worker's fault, as a bug would make it: its connections get a context of another document."""

    def __init__(self) -> None:
        self.on = True
        made = Authority().issue("old.lab.test")
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate(made.certificate)
        self._context.use_privatekey(made.key)

    def __call__(self, worker: Worker) -> None:
        real = worker.listeners.put_in_force

        async def put_in_force(receptions: Iterable[Reception], sockets: Sockets) -> None:
            found = [
                msgspec.structs.replace(each, context=self._context) if self.on else each
                for each in receptions
            ]
            await real(found, sockets)

        worker.listeners.put_in_force = put_in_force  # type: ignore[method-assign]


async def looked(relay: Running, clock: ManualClock, seconds: float, count: int) -> list[CertificateServed]:
    """All looks that were told, once there are so many. On a new day one waits for the reload."""
    clock.advance(seconds)
    await settled(relay)
    if len(relay.told.of(CertificateServed)) < count:
        clock.advance(SOON_SECONDS)
    return await relay.told.until(CertificateServed, count)


async def test_soon_after_the_start_and_daily_the_gateway_looks_what_its_listeners_show(
    tmp_path: Path,
) -> None:
    port, clock = free_port(), ManualClock()
    async with running(tmp_path / "home", port, listening(port), clock) as relay:
        clock.advance(SOON_SECONDS - 0.1)
        assert relay.told.of(CertificateServed) == []
        (first,) = await looked(relay, clock, 0.1, 1)
        assert (first.listener, first.expected) == ("IncomingMail", True)
        await settled(relay)
        second = (await looked(relay, clock, DAY_SECONDS, 2))[1]
        assert DAY_SECONDS <= second.at - first.at <= DAY_SECONDS + SOON_SECONDS
        assert relay.told.of(AlertRaised) == []


async def test_a_worker_that_kept_another_certificate_raises_an_alert_until_it_shows_the_right_one(
    tmp_path: Path,
) -> None:
    port, clock, stale = free_port(), ManualClock(), Stale()
    async with running(tmp_path / "home", port, listening(port), clock, prepare=stale) as relay:
        (first,) = await looked(relay, clock, SOON_SECONDS, 1)
        assert not first.expected
        raised = await relay.told.until(AlertRaised)
        assert [alert.kind for alert in raised] == ["certificate-not-served"]
        assert any(line.endswith(", which is not the one that is assigned to it") for line in relay.lines())
        stale.on = False
        await relay.gateway.reload()
        await settled(relay)
        second = (await looked(relay, clock, DAY_SECONDS, 2))[1]
        assert second.expected
        clock.advance(relay.gateway.history.current().document.alerts.calm_time)
        raised = await relay.told.until(AlertRaised, 2)
        assert raised[1].kind == "certificate-served-again"


async def test_a_look_waits_while_another_document_is_put_in_force(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    async with running(tmp_path / "home", port, listening(port), clock) as relay:
        async with relay.gateway.changing:
            clock.advance(SOON_SECONDS)
            while relay.gateway.looks.looking:
                await asyncio.sleep(0)
            assert relay.told.of(CertificateServed) == []
        await looked(relay, clock, SOON_SECONDS, 1)


async def settled(relay: Running) -> None:
    """Until the look that is under way is over."""
    async with asyncio.timeout(30):
        while relay.gateway.looks.looking or relay.gateway.changing.locked():
            await asyncio.sleep(0)


# --- nobody else sees it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_look_is_in_no_log_and_no_figure(implicit: bool, tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, implicit_tls=implicit)
    async with running(tmp_path / "home", port, document) as relay:
        before = await relay.gateway.figures()
        (seen,) = await relay.gateway.probe()
        assert seen.expected
        assert await relay.gateway.figures() == before
        assert [each for each in relay.told.events if hasattr(each, "icid")] == []
        assert not [line for line in relay.lines() if "ICID" in line]
        if not implicit:
            async with greeted(port) as client:
                await client.leave()
            (opened,) = await relay.told.until(ConnectionOpened)
            assert opened.icid == 1  # none was used up


async def test_a_look_under_a_policy_that_wants_a_certificate_leaves_no_failure_in_the_log(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port, tls="required-verify")) as relay:
        (seen,) = await relay.gateway.probe()
        assert seen.expected
        assert not [line for line in relay.lines() if "TLS failed" in line]


async def expected(relay: Running) -> tuple[Talker, Callable[[], Any]]:
    """A connection that was announced as the gateway's own look."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    await relay.gateway.crew.expect(*sock.getsockname())
    sock.connect(("127.0.0.1", relay.port))
    talker = Talker(*await asyncio.open_connection(sock=sock))
    return talker, talker.leave


async def test_mail_can_not_come_in_unseen(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        talker, leave = await expected(relay)
        assert (await talker.reply()).startswith("220 ")
        assert (await talker.say("EHLO a.lab.test")).startswith("250-")
        assert (await talker.say("MAIL FROM:<a@lab.test>")).startswith("4")
        assert await talker.rest() == b""
        await leave()
        assert relay.told.of(MessageStarted) == []


async def test_who_comes_from_the_same_place_later_is_seen(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    async with running(tmp_path / "home", port, listening(port), clock) as relay:
        for announced in (True, False):
            sock = socket.socket()
            sock.bind(("127.0.0.1", 0))
            if announced:  # and the look never came
                await relay.gateway.crew.expect(*sock.getsockname())
                clock.advance(60)
                await settled(relay)
            sock.connect(("127.0.0.1", port))
            talker = Talker(*await asyncio.open_connection(sock=sock))
            await talker.reply()
            await talker.secure()
            await talker.leave()
        await relay.told.until(ConnectionClosed, 2)
        assert len(relay.told.of(ConnectionOpened)) == 2
        assert len(relay.told.of(InboundTlsSucceeded)) == 2
