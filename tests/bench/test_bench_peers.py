"""The load generator and the next hop of the benchmark, against each other and around a gateway."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.backlog import filled
from bench.build import program
from bench.machine import Layout, layouts
from bench.peers import Mail, Sink, held, send
from bench.session import QUICK, Session
from lab import Trouble, Unavailable
from lab.ca import Issued, self_signed
from mxseal.clock import SystemClock
from mxseal.storage.home import Home, Limits
from mxseal.storage.spool import SqliteSpool


@pytest.fixture(scope="module")
def certificate() -> Issued:
    try:
        program("load")
        program("sink")
    except Unavailable as reason:
        pytest.skip(str(reason))
    return self_signed("mx.bench.test", "127.0.0.1")


@pytest.fixture
def layout() -> Layout:
    return layouts()[0]


@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize(("size", "pipeline"), [(600, False), (4096, True), (16_384, False), (200_000, True)])
def test_every_message_that_the_generator_counts_is_counted_by_the_next_hop(
    certificate: Issued, layout: Layout, light: bool, size: int, pipeline: bool
) -> None:
    mail = Mail(messages=30, connections=3, per_connection=4, size=size, pipeline=pipeline, light=light)
    with Sink(certificate) as sink:
        sink.place(layout)
        sent = send(sink.port, mail, layout)
        counts = sink.wait(sent.messages)
    assert (sent.messages, sent.failed) == (30, 0)
    assert (counts.messages, counts.recipients) == (30, 30)
    assert counts.bytes == 30 * (size + 3)  # the final dot is counted with its line


@pytest.mark.parametrize("light", [False, True])
def test_with_resumption_only_the_first_handshake_of_each_client_is_full(
    certificate: Issued, layout: Layout, light: bool
) -> None:
    mail = Mail(messages=20, connections=2, per_connection=1, resume=True, light=light)
    with Sink(certificate) as sink:
        sink.place(layout)
        sent = send(sink.port, mail, layout)
        counts = sink.counts()
    assert sent.handshakes - sent.resumed == 2
    assert counts.handshakes - counts.resumed == 2


def test_both_clients_of_the_generator_agree_to_the_same_tls(certificate: Issued, layout: Layout) -> None:
    with Sink(certificate) as sink:
        sink.place(layout)
        mails = [Mail(messages=1, connections=1, light=light) for light in (False, True)]
        heavy, light = (send(sink.port, mail, layout).protocol for mail in mails)
    assert heavy == f"{light} EC-256"


def test_what_a_server_refuses_ends_the_run_with_its_words(certificate: Issued, layout: Layout) -> None:
    with Sink(certificate) as sink:
        sink.place(layout)
        with pytest.raises(Trouble, match="503"):
            send(sink.port, Mail(messages=5, recipients=0), layout)


def test_idle_connections_are_open_while_they_are_held(certificate: Issued, layout: Layout) -> None:
    with Sink(certificate) as sink:
        sink.place(layout)
        with held(sink.port, 300, layout):
            assert sink.counts().handshakes == 300


def test_a_gateway_is_measured_from_the_first_message_sent_to_the_last_delivered(certificate: Issued) -> None:
    with Sink(certificate) as sink:
        session = Session(QUICK, certificate, sink)
        task = session.task(session.layouts[0])
        with session.alone(task) as ours:
            session.agree([ours])
            reading = session.measure(
                ours, Mail(messages=20, connections=2, recipients=20, domains=10, per_connection=5), task
            )
        counts = sink.counts()
    assert session.protocol.endswith("EC-256")
    assert reading.messages == 20
    assert reading.server_share > 0
    assert (counts.messages, counts.recipients) == (10 * 20 + 1, 20 * 20 + 1)


def test_a_queue_that_is_written_directly_is_read_by_the_spool(certificate: Issued, tmp_path: Path) -> None:
    with Sink(certificate) as sink:
        session = Session(QUICK, certificate, sink)
        sink.place(session.widest)
        made = filled(session, tmp_path / "home", 50, due=True)
        clock = SystemClock()
        spool = SqliteSpool(Home(made.home).share(0), clock, Limits(100, 1 << 30, 0))
        try:
            assert spool.count()[0] == 50
            assert len(asyncio.run(spool.due(clock.now(), 100))) == 50
        finally:
            spool.close()
        with session.alone(replace(session.task(session.widest), home=made.home, port=made.port)):
            assert sink.wait(50).messages == 50
