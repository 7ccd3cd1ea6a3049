"""Logs sent to a real rsyslogd: by every transport, through its death, ours, and a disk that forgets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab import Unavailable
from lab.ca import Authority, Issued
from lab.place import LOOPBACK, free_port
from lab.rsyslog import Rsyslog
from mxseal.alerts.kinds import find
from mxseal.config.model import Certificate
from mxseal.events.types import LogLinesLost, LogPushConnected, LogPushFailed
from mxseal.logs.retained import retained
from tests.logs.pushing import QUICK, STAMP, Log, numbers

Servers = Callable[..., Rsyslog]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("Log CA")


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("logs.lab.test", LOOPBACK)


@pytest.fixture
def servers() -> Iterator[Servers]:
    started: list[Rsyslog] = []

    def start(*args: Any, **values: Any) -> Rsyslog:
        try:
            server = Rsyslog(*args, **values)
        except Unavailable as reason:
            pytest.skip(str(reason))
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()


def trusting(issued: Issued) -> dict[str, Any]:
    """Of a document: the server's authority is believed."""
    return {
        "trust": {
            "system": False,
            "custom": True,
            "authorities": [{"name": "Log CA", "certificate": issued.root_pem.decode()}],
        }
    }


def to(server: Rsyslog, **push: Any) -> dict[str, Any]:
    return {"host": LOOPBACK, "port": server.port, "transport": server.transport, **push}


@pytest.mark.parametrize(
    "sending",
    [
        ("tls", {}, "<166>1 2026-02-14T19:20:28Z esa.example.com mxseal - mail_logs - Info: line 1 end"),
        ("tcp", {"format": "esa"}, "<166>Feb 14 19:20:28 mail_logs: Info: line 1 end"),
        (
            "tcp",
            {"format": "rfc3164", "framing": "octets", "facility": "mail"},
            "<22>Feb 14 19:20:28 esa.example.com mail_logs: Info: line 1 end",
        ),
        ("udp", {"format": "rfc3164"}, "<166>Feb 14 19:20:28 esa.example.com mail_logs: Info: line 1 end"),
    ],
)
async def test_every_line_comes_once_and_in_order(
    servers: Servers, tmp_path: Path, issued: Issued, sending: tuple[str, dict[str, Any], str]
) -> None:
    transport, push, message = sending
    server = servers(transport, issued if transport == "tls" else None)
    async with Log(tmp_path, to(server, **push), **trusting(issued)) as log:
        log.write(200)
        await log.settled()
    server.wait_for("line 200 end")
    assert numbers(server.raw()) == list(range(1, 201))
    assert server.raw()[0] == message
    assert log.told.of(LogPushFailed) == []


async def test_rsyslog_reads_priority_host_and_log_out_of_it(
    servers: Servers, tmp_path: Path, issued: Issued
) -> None:
    server = servers("tls", issued)
    async with Log(tmp_path, to(server), **trusting(issued)) as log:
        log.file.write(f"{STAMP} Critical: ünïcode | and 100% <166>\n".encode())
        log.file.flush()
        await log.until(server.received)
        connected = await log.told.until(LogPushConnected)
    (message,) = server.received()
    assert (message.priority, message.hostname) == ("local4.crit", "esa.example.com")
    assert (message.program, message.message_id) == ("mxseal", "mail_logs")
    assert message.text == "Critical: ünïcode | and 100% <166>"
    assert connected[0].protocol == "TLSv1.3"


@pytest.mark.parametrize(
    "proof",
    [
        ({}, False, "authority-unknown", "verify error: self-signed certificate in certificate chain"),
        ({"server_name": "other.lab.test"}, True, "name-mismatch", "verify error: hostname mismatch"),
    ],
)
async def test_a_server_that_does_not_prove_who_it_is_gets_no_line(
    servers: Servers, tmp_path: Path, issued: Issued, proof: tuple[dict[str, Any], bool, str, str]
) -> None:
    push, trusted, cause, reason = proof
    server = servers("tls", issued)
    document = trusting(issued if trusted else Authority("Another CA").issue("x.lab.test"))
    async with Log(tmp_path, to(server, **push), **document) as log:
        log.write(3)
        (failed, *_) = await log.told.until(LogPushFailed)
    assert failed.reason == reason
    assert failed.diagnosis is not None
    assert failed.diagnosis.cause == cause
    assert server.raw() == []


async def test_a_server_that_wants_a_client_certificate_gets_the_one_that_is_assigned(
    servers: Servers, tmp_path: Path, issued: Issued, authority: Authority
) -> None:
    server = servers("tls", issued, clients=issued.root_pem)
    log = Log(tmp_path, to(server), **trusting(issued))
    own = log.certificate(authority.issue("esa.example.com", usages=("client",)))
    async with log:
        log.write(1)
        (failed, *_) = await log.told.until(LogPushFailed)
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause == "client-certificate-required"
        shown = log.with_push(to(server, certificate="client"))
        await log.put_in_force(shown.model_copy(update={"certificates": _profiles(own)}))
        await log.settled()
    assert numbers(server.raw()) == [1]


def _profiles(*entries: dict[str, Any]) -> Any:
    return tuple(Certificate.model_validate(entry) for entry in entries)


@pytest.mark.parametrize("transport", ["tls", "tcp"])
async def test_of_a_server_that_is_killed_nothing_is_lost_and_what_it_had_for_a_while_comes_once(
    servers: Servers, tmp_path: Path, issued: Issued, transport: str
) -> None:
    server = servers(transport, issued if transport == "tls" else None)
    patience = msgspec.structs.replace(QUICK, settled=1.5)
    async with Log(tmp_path, to(server), patience, **trusting(issued)) as log:
        log.write(1000)
        await log.settled()
        await log.until(lambda: len(numbers(server.raw())) == 1000)
        server.freeze()
        log.write(500)
        await log.until(lambda: log.state.waiting == 0)  # its system has them, unread
        server.kill9()
        log.write(500)
        await log.told.until(LogPushFailed)
        server.start()
        await log.settled()
    found = numbers(server.raw())
    assert sorted(set(found)) == list(range(1, 2001))
    assert found[:1000] == list(range(1, 1001))
    assert all(number > 1000 for number in found[1000:])
    assert found[-1000:] == list(range(1001, 2001))  # whatever came before the kill, all came in order behind


async def test_a_server_that_is_stopped_in_good_order_gets_each_line_once(
    servers: Servers, tmp_path: Path, issued: Issued
) -> None:
    server = servers("tls", issued)
    async with Log(tmp_path, to(server), **trusting(issued)) as log:
        for _ in range(3):
            log.write(200)
            await log.settled()
            server.stop()
            server.start()
    server.wait_for("line 600 end")
    assert numbers(server.raw()) == list(range(1, 601))


async def test_a_gateway_that_stops_and_starts_goes_on_where_it_was(
    servers: Servers, tmp_path: Path, issued: Issued
) -> None:
    server = servers("tls", issued)
    log = Log(tmp_path, to(server), **trusting(issued))
    for _ in range(3):
        await log.start()
        await log.until(lambda: log.state.state == "connected")
        log.write(300)
        log.file.rotate()
        log.write(300)
        await log.stop()
    server.wait_for("line 1800 end")
    assert numbers(server.raw()) == list(range(1, 1801))


async def test_lines_that_were_written_while_nobody_sent_are_sent_by_the_next_gateway(
    servers: Servers, tmp_path: Path
) -> None:
    server = servers("tcp")
    log = Log(tmp_path, to(server))
    async with log:
        log.write(10)
        await log.settled()
    server.stop()
    async with log:
        log.write(10)
        await log.told.until(LogPushFailed)
    server.start()
    async with log:
        await log.until(lambda: log.state.waiting == 0 and log.state.sent == 10)
    assert numbers(server.raw()) == list(range(1, 21))


async def test_a_log_that_begins_to_be_sent_begins_with_what_is_written_then(
    servers: Servers, tmp_path: Path
) -> None:
    server = servers("tcp")
    log = Log(tmp_path, None)
    async with log:
        log.write(5)
        await log.put_in_force(log.with_push(to(server)))
        log.write(5)
        await log.until(lambda: log.state.sent == 5)
        await log.put_in_force(log.with_push(None))
        log.write(5)
        await log.put_in_force(log.with_push(to(server)))
        log.write(5)
        await log.until(lambda: log.state.sent == 5)
    assert numbers(server.raw()) == [6, 7, 8, 9, 10, 16, 17, 18, 19, 20]


async def test_a_commit_that_is_about_something_else_keeps_the_connection(
    servers: Servers, tmp_path: Path, issued: Issued
) -> None:
    server = servers("tls", issued)
    async with Log(tmp_path, to(server), **trusting(issued)) as log:
        await log.told.until(LogPushConnected)
        since = log.state.since
        await log.put_in_force(log.document.model_copy(update={"default_policy": "OTHER"}))
        assert log.state.since == since


async def test_lines_whose_file_is_deleted_before_they_could_be_sent_are_counted_and_told(
    tmp_path: Path, servers: Servers
) -> None:
    server = servers("tcp")
    log = Log(tmp_path, None)
    log.document = log.with_push(to(server), rotate_bytes=4096, keep_files=3)
    async with log:
        log.write(10)
        await log.settled()
        server.kill9()
        log.told.events.clear()
        await log.told.until(LogPushFailed)
        for _ in range(100):
            log.write(10)
        kept = b"".join(each.path.read_bytes() for each in retained(log.file.folder)).count(b"\n")
        await log.told.until(LogLinesLost)
        await asyncio.sleep(0)
        lost = sum(event.lines or 0 for event in log.told.of(LogLinesLost))
        assert lost == log.state.lost == 1000 - kept
        server.start()
        await log.until(lambda: log.state.waiting == 0 and log.state.sent == 10 + kept)
    found = numbers(server.raw())
    assert found[:10] == list(range(1, 11))
    assert found[-kept:] == list(range(1011 - kept, 1011))


async def test_a_server_that_reads_nothing_takes_no_memory_and_does_not_hold_up_the_end(
    tmp_path: Path,
) -> None:
    taken: list[asyncio.Transport] = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            taken.append(transport)

    port = free_port()
    server = await asyncio.get_running_loop().create_server(Silent, LOOPBACK, port)
    push = {"host": LOOPBACK, "port": port, "transport": "tcp"}
    log = Log(tmp_path, push)
    async with log:
        log.file.write((f"{STAMP} Info: " + "x" * 1000 + "\n").encode() * 40_000)
        log.file.flush()
        await log.until(lambda: log.state.state == "connected")
        before = -1
        while before != (before := log.state.waiting):
            await asyncio.sleep(0.3)
        assert before > 20 << 20  # it stays in the file
        assert log.state.sent == 0
    for transport in taken:
        transport.abort()
    server.close()
    await server.wait_closed()


async def test_a_server_that_is_gone_for_five_minutes_raises_an_alert_and_its_return_ends_it(
    tmp_path: Path, servers: Servers
) -> None:
    server = servers("tcp")
    server.stop()
    async with Log(tmp_path, to(server)) as log:
        (first,) = await log.told.until(LogPushFailed)
        assert find(first) is None
        log.clock.ahead += 301.0
        (_, lasting) = await log.told.until(LogPushFailed, 2)
        alert = find(lasting)
        server.start()
        (works,) = await log.told.until(LogPushConnected)
    assert alert is not None
    assert getattr(alert, "kind", "") == "log-push-failed"
    assert alert.key == getattr(find(works), "key", "")


async def test_openssl_sees_octets_counted(tmp_path: Path, issued: Issued) -> None:
    """RFC 5425 §4.3, byte by byte: `s_server` prints what came in."""
    files = issued.write(tmp_path / "server")
    port = free_port()
    words = ["s_server", "-accept", str(port), "-cert", str(files.chain), "-key", str(files.key), "-quiet"]
    pipe = asyncio.subprocess.PIPE  # it ends a connection when its own input ends
    server = await asyncio.create_subprocess_exec("openssl", *words, stdin=pipe, stdout=pipe)
    try:
        async with Log(tmp_path, {"host": LOOPBACK, "port": port}, **trusting(issued)) as log:
            log.write(2)
            await log.settled()
    finally:
        server.terminate()
    output, _ = await server.communicate()
    message = b"<166>1 2026-02-14T19:20:28Z esa.example.com mxseal - mail_logs - Info: line %d end"
    assert output == b"".join(b"%d %b" % (len(message % n), message % n) for n in (1, 2))
