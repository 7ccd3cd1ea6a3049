"""Bounds on what strangers may do: what each answers and tells, and whether the connection goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from lab.client import ANY
from lab.place import free_port
from mxseal.clock import ManualClock
from mxseal.events.types import (
    ConnectionClosed,
    ConnectionJudged,
    ConnectionOpened,
    ConnectionRefused,
    InboundTlsSucceeded,
    MessageAborted,
    MessageQueued,
    ReceivingFailed,
    StorageRecovered,
    StorageTrouble,
)
from mxseal.storage.spool import SqliteIncoming
from mxseal.storage.writer import refused
from tests.relay.harness import (
    CONTENT,
    Running,
    Talker,
    greeted,
    holding,
    keeping,
    listening,
    running,
    stuffed,
    talking,
)


async def ended_with(relay: Running, client: Talker, answer: str, icid: int = 1) -> None:
    """The connection is closed behind a 421, and the log says why."""
    assert await client.rest() == b""
    closed = await relay.told.until(ConnectionClosed)
    assert icid in {event.icid for event in closed}
    refused = f"Info: ICID {icid} Connection refused: {answer.removeprefix('421 ')}"
    lines = [line for line in relay.lines() if f"ICID {icid} " in line]
    assert lines.count(refused) == 1
    assert lines[-1] == f"Info: ICID {icid} close"
    assert f"Info: ICID {icid} lost" not in lines


# --- connections --------------------------------------------------------------------------------------------


async def test_a_connection_beyond_the_listeners_limit_is_refused_until_one_ends(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"connections": 2})
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as first:
        async with greeted(port, source="127.0.0.2") as second:
            async with talking(port, source="127.0.0.3") as third:
                answer = await third.reply()
                assert answer == "421 #4.4.5 Too many connections to this listener"
                await ended_with(relay, third, answer, icid=3)
            assert await first.say("NOOP") == await second.say("NOOP") == "250 ok"
            await second.say("QUIT")
            await relay.told.until(ConnectionClosed, 2)
        async with greeted(port, source="127.0.0.4"):
            assert relay.gateway.listeners.connections() == 2


async def test_one_host_has_fewer_connections_than_all(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"connections_per_host": 1})
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as first:
        async with talking(port) as second:
            answer = await second.reply()
            assert answer == "421 #4.4.5 Too many connections from your host"
            await ended_with(relay, second, answer, icid=2)
        async with greeted(port, source="127.0.0.2"):
            assert await first.say("NOOP") == "250 ok"


HASTE = "#4.4.5 Too many new TLS sessions at this time"


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_strangers_begin_so_many_handshakes_in_a_second_wherever_they_come_from(
    implicit: bool, tmp_path: Path
) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"handshakes_per_second": 2}, implicit_tls=implicit)
    how: dict[str, Any] = {"tls": ANY.context()} if implicit else {}
    async with running(tmp_path / "home", port, document, clock) as relay:
        for number in (1, 2):
            async with greeted(port, source=f"127.0.0.{number}", **how) as client:
                if not implicit:
                    await client.say("EHLO client.lab.test")
                    await client.secure()
        async with talking(port, source="127.0.0.3") as third:
            if not implicit:
                await third.reply()
                assert await third.say("EHLO client.lab.test", "STARTTLS") == f"421 {HASTE}"
            await ended_with(relay, third, HASTE, icid=3)
        clock.advance(0.5)
        async with greeted(port, source="127.0.0.4", **how) as fourth:
            assert "250" in await fourth.say("EHLO client.lab.test")
            if not implicit:
                await fourth.secure()


async def test_who_sent_mail_and_who_may_relay_begins_handshakes_beyond_that(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"handshakes_per_second": 1})
    document["mail_flow_policies"].append({"name": "RELAYED", "action": "relay", "tls": "preferred"})
    document["sender_groups"] = [{"name": "OURS", "members": ["127.0.0.9"], "policy": "RELAYED"}]
    async with running(tmp_path / "home", port, document, clock, prepare=keeping):
        async with greeted(port, source="127.0.0.2") as sender:
            for _ in range(20):
                await sender.message()
        async with greeted(port, source="127.0.0.3") as stranger:
            await stranger.say("EHLO client.lab.test")
            await stranger.secure()
        async with greeted(port, source="127.0.0.3") as stranger:
            assert await stranger.say("EHLO client.lab.test", "STARTTLS") == f"421 {HASTE}"
        for source in ("127.0.0.2", "127.0.0.9", "127.0.0.9"):
            async with greeted(port, source=source) as known:
                await known.say("EHLO client.lab.test")
                await known.secure()


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_tls_sessions_are_counted(implicit: bool, tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"tls_sessions": 1}, implicit_tls=implicit)
    how = {"tls": ANY.context()} if implicit else {}
    async with running(tmp_path / "home", port, document) as relay, greeted(port, **how) as first:
        await first.say("EHLO client.lab.test")
        if not implicit:
            await first.secure()
        async with talking(port) as second:
            if not implicit:
                await second.reply()
                answer = await second.say("EHLO client.lab.test", "STARTTLS")
                assert answer == "421 #4.4.5 Too many TLS sessions at this time"
            await ended_with(relay, second, "#4.4.5 Too many TLS sessions at this time", icid=2)
        await first.say("QUIT")
        await relay.told.until(ConnectionClosed, 2)
        async with greeted(port, **how) as third:
            await third.say("EHLO client.lab.test")
            if not implicit:
                await third.secure()
        assert len(relay.told.of(InboundTlsSucceeded)) == 2


# --- what a session may do ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("listener", "policy"), [(2, None), (5, 2)])
async def test_messages_per_connection_are_bounded_by_listener_and_policy(
    listener: int, policy: int | None, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(
        port,
        limits={"messages_per_connection": listener},
        policy={"messages_per_connection": policy} if policy else None,
    )
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        for _ in range(2):
            assert (await client.message()).startswith("250 ok:  Message ")
        answer = await client.message()
        assert answer == "421 #4.x.2 Too many messages for this session"
        await ended_with(relay, client, answer)
        assert len(relay.told.of(MessageQueued)) == 2


@pytest.mark.parametrize(("listener", "policy"), [(2, None), (5, 2)])
async def test_recipients_beyond_the_limit_wait_and_the_others_get_the_message(
    listener: int, policy: int | None, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(
        port,
        limits={"recipients_per_message": listener},
        policy={"recipients_per_message": policy} if policy else None,
    )
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        answers = [await client.say(f"RCPT TO:<u{i}@example.com>") for i in range(4)]
        assert [answer[:3] for answer in answers] == ["250", "250", "452", "452"]
        assert answers[2] == "452 #4.5.3 Too many recipients"
        await client.say("DATA")
        mid = int((await _send(client)).split()[3])
        queued = await relay.gateway.spool.load(mid)
        assert queued is not None
        assert [recipient.address for recipient in queued.recipients] == ["u0@example.com", "u1@example.com"]


async def _send(client: Talker, content: bytes = CONTENT) -> str:
    client.send(stuffed(content) + b".\r\n")
    return await client.reply()


async def test_too_many_bad_commands_end_the_connection(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"errors_per_connection": 3})
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        for _ in range(3):
            assert await client.say("XYZZY") == "500 #5.5.1 command not recognized"
        answer = await client.say("XYZZY")
        assert answer == "421 Exceeded bad SMTP command limit, disconnecting"
        await ended_with(relay, client, answer)


async def test_too_many_commands_end_the_connection_and_a_message_in_it(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"commands_per_connection": 3})
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "NOOP")
        client.send(b"NOOP\r\n" * 50)
        assert await client.reply() == "421 #4.7.0 Too many commands for this session"
        await ended_with(relay, client, "#4.7.0 Too many commands for this session")
        assert len(relay.told.of(MessageAborted)) == 1


async def test_content_in_many_pieces_is_not_counted_as_commands(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"commands_per_connection": 6})
    async with running(tmp_path / "home", port, document, prepare=keeping), greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>")
        for _ in range(20):
            client.send(b"BDAT 6\r\nx: y\r\n")
            assert await client.reply() == "250 6 octets received"
        assert (await client.say("BDAT 0 LAST")).startswith("250 ok:  Message ")


async def test_a_long_line_is_one_error_and_keeps_nothing(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)), greeted(port) as client:
        client.send(b"NOOP " + b"x" * 60_000 + b"\r\n")
        assert await client.reply() == "500 #5.5.2 command line too long"
        assert await client.say("NOOP") == "250 ok"


# --- time ---------------------------------------------------------------------------------------------------


async def test_an_idle_client_is_shown_out(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"idle_time": 100.0})
    async with running(tmp_path / "home", port, document, clock) as relay, greeted(port) as client:
        clock.advance(99)
        assert await client.say("NOOP") == "250 ok"
        clock.advance(99)
        assert await client.say("NOOP") == "250 ok"
        clock.advance(100.1)
        answer = await client.reply()
        assert answer == "421 #4.4.2 Idle for too long, closing the connection"
        await ended_with(relay, client, answer)


async def test_an_idle_client_within_tls_is_shown_out_in_time(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"idle_time": 10.0, "handshake_time": 60.0})
    async with running(tmp_path / "home", port, document, clock) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test")
        await client.secure()
        await relay.told.until(InboundTlsSucceeded)
        clock.advance(10.1)
        assert (await client.reply()).startswith("421 #4.4.2 Idle for too long")
        assert await client.rest() == b""


async def test_a_client_that_sends_a_byte_now_and_then_is_ended_by_the_whole_time(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"idle_time": 100.0, "connection_time": 1000.0})
    async with running(tmp_path / "home", port, document, clock) as relay, greeted(port) as client:
        assert (await client.offer()).startswith("354 ")
        async with greeted(port, source="127.0.0.2") as other:
            for _ in range(12):
                client.send(b"x")
                # Both clients are heard in one turn of the loop, or in order.
                assert await other.say("NOOP") == "250 ok"
                clock.advance(90)
        answer = await client.reply()
        assert answer == "421 Exceeded allowable connection time"
        await ended_with(relay, client, answer)
        assert relay.gateway.spool.count() == (0, 0)
        assert len(relay.told.of(MessageAborted)) == 1


async def test_a_client_that_never_reads_is_not_read_from_and_hung_up_on(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"commands_per_connection": 10_000_000, "idle_time": 100.0})
    async with running(tmp_path / "home", port, document, clock) as relay, greeted(port) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        flood = b"HELP\r\n" * 10_000
        (connection,) = relay.gateway.listeners._gates()[0].connections
        while not connection._stalled:
            client.send(flood)
            async with greeted(port, source="127.0.0.2"):
                pass
        core = connection._core
        assert core is not None
        for _ in range(20):
            client.send(flood * 5)
            async with greeted(port, source="127.0.0.2"):
                pass
        assert core.buffered <= 1 << 18, "what one read of the socket gives, and no more"
        clock.advance(100.1)
        closed = await relay.told.until(ConnectionClosed, len(relay.told.of(ConnectionOpened)))
        assert 1 in {event.icid for event in closed}
        client.writer.transport.abort()


async def test_waiting_for_our_own_disk_is_not_idling(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, limits={"idle_time": 100.0})
    async with (
        running(tmp_path / "home", port, document, clock, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.offer()
        with holding(relay.gateway) as commit:
            client.send(b"Subject: x\r\n\r\n.\r\n")
            await commit.reached()
            clock.advance(150)
        assert (await client.reply()).startswith("250 ok:  Message ")
        clock.advance(60)
        assert await client.say("NOOP") == "250 ok"


# --- size and shape of a message ----------------------------------------------------------------------------


@pytest.mark.parametrize(("listener", "policy"), [(2000, None), (5000, 2000)])
async def test_a_message_that_says_that_it_is_too_large_is_refused_at_once(
    listener: int, policy: int | None, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(
        port,
        limits={"message_size": listener, "header_size": 1024},
        policy={"message_size": policy} if policy else None,
    )
    async with running(tmp_path / "home", port, document, prepare=keeping), greeted(port) as client:
        assert "250-SIZE 2000\n" in await client.say("EHLO client.lab.test")
        answer = await client.say("MAIL FROM:<from@lab.test> SIZE=2001")
        assert answer == "552 #5.3.4 message size exceeds limit"
        assert (await client.message(parameters=" SIZE=2000")).startswith("250 ok:  Message ")


TOO_LARGE = "552 #5.3.4 message size exceeds limit"
TOO_MUCH_HEADER = "552 #5.3.4 message header size exceeds limit"
BARE = "550 #5.6.0 bare CR or LF in the message, lines end with CRLF"
HOP = b"Received: from a by b; Sat, 14 Feb 2026 19:20:28 +0000\r\n"
REFUSALS: list[tuple[str, bytes, str]] = [
    ("too large", CONTENT + b"x" * 2500 + b"\r\n", TOO_LARGE),
    ("header too large", b"X: " + b"y" * 1500 + b"\r\n\r\nHello.\r\n", TOO_MUCH_HEADER),
    ("header without end", b"X: y\r\n" * 200, TOO_MUCH_HEADER),
    ("bare LF", b"Subject: x\r\n\r\none\ntwo\r\n", BARE),
    ("bare CR", b"Subject: x\r\n\r\none\rtwo\r\n", BARE),
    ("LF.LF", b"Subject: x\r\n\r\none\n.\nQUIT\r\n", BARE),
    ("LF.CRLF", b"Subject: x\r\n\r\none\n.\r\nQUIT\r\n", BARE),
    ("CR.CR", b"Subject: x\r\n\r\none\r.\rQUIT\r\n", BARE),
]


@pytest.mark.parametrize(("content", "answer"), [row[1:] for row in REFUSALS], ids=[r[0] for r in REFUSALS])
@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_a_message_that_is_refused_is_read_to_its_end_and_the_connection_goes_on(
    verb: str, content: bytes, answer: str, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(port, limits={"message_size": 2000, "header_size": 1024})
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>")
        if verb == "DATA":
            await client.say("DATA")
            assert await _send(client, content) == answer
        else:
            client.send(f"BDAT {len(content)} LAST\r\n".encode() + content)
            assert await client.reply() == answer
        (aborted,) = relay.told.of(MessageAborted)
        assert f"Info: Message aborted MID {aborted.mid} {answer[4:]}" in relay.lines()
        assert (await client.message()).startswith("250 ok:  Message ")
        assert len(relay.told.of(MessageQueued)) == 1


async def test_a_chunk_that_makes_the_message_too_large_ends_it_with_the_true_reason(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"message_size": 2000, "header_size": 1024})
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>")
        content = CONTENT + b"x" * 2000
        client.send(f"BDAT {len(content)}\r\n".encode() + content)
        assert await client.reply() == TOO_LARGE
        client.send(b"BDAT 4 LAST\r\nQUIT")
        assert await client.reply() == "503 #5.5.1 MAIL first"
        (aborted,) = relay.told.of(MessageAborted)
        assert aborted.reason == "#5.3.4 message size exceeds limit"
        assert (await client.message()).startswith("250 ok:  Message ")


async def test_bare_newlines_can_be_cleaned_and_never_end_the_message(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, bare_newlines="clean")
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.offer()
        client.send(b"Subject: x\r\n\r\none\n.\r\ntwo\r.\nthree\r\n.\r\n")
        mid = int((await client.reply()).split()[3])
        assert (await relay.content(mid)).endswith(b"Subject: x\r\n\r\none\r\n.\r\ntwo\r\n.\r\nthree\r\n")
        assert await client.say("NOOP") == "250 ok"


@pytest.mark.parametrize(("hops", "taken"), [(100, True), (101, False)])
async def test_a_message_that_goes_round_in_circles_is_refused(
    hops: int, taken: bool, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        answer = await client.message(content=HOP * hops + CONTENT)
        if taken:
            assert answer.startswith("250 ok:  Message ")
            return
        assert answer == "554 Too many hops"
        assert len(relay.told.of(ReceivingFailed)) == 1
        assert relay.lines()[-3:] == [
            "Info: ICID 1 Receiving Failed: Message loop",
            "Info: Message aborted MID 1 Too many hops",
            "Info: Message finished MID 1 done",
        ]


# --- trouble of ours ----------------------------------------------------------------------------------------


async def test_while_a_log_can_not_be_written_no_mail_is_taken(tmp_path: Path) -> None:
    port = free_port()
    answer = "421 #4.3.0 Can't take mail at the moment, try again later"
    async with running(tmp_path / "home", port, listening(port)) as relay, greeted(port) as client:
        relay.told.is_ready = False
        async with talking(port) as second:
            assert await second.reply() == answer
            assert await second.rest() == b""
        # What can't be written down is not told: the story would pile up in memory.
        assert [event.icid for event in relay.told.of(ConnectionOpened)] == [1]
        assert await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>") == answer
        await ended_with(relay, client, answer, icid=1)
        relay.told.is_ready = True
        async with greeted(port):
            pass


async def test_a_full_queue_is_answered_with_452_until_there_is_room(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port) | {"queue": {"max_messages": 1}}
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.message()).startswith("250 ok:  Message ")
        assert await client.message() == "452 #4.3.1 queue full"
        await relay.commit(queue={"max_messages": 2})
        assert (await client.message()).startswith("250 ok:  Message ")


async def test_a_disk_without_room_is_answered_with_452(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port) | {"queue": {"min_free_bytes": 1 << 60}}
    async with running(tmp_path / "home", port, document), greeted(port) as client:
        assert await client.message() == "452 #4.3.1 queue full"
        assert await client.say("NOOP") == "250 ok"


@pytest.mark.parametrize("size", [100, 100_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (lambda: apsw.FullError("database or disk is full"), "452 #4.3.1 queue full"),
        (lambda: apsw.IOError("disk I/O error"), "451 #4.3.0 Server Error"),
    ],
    ids=["full", "sick"],
)
async def test_when_the_disk_refuses_the_commit_nothing_is_promised_and_nothing_is_kept(
    fault: Callable[[], apsw.Error], answer: str, size: int, tmp_path: Path
) -> None:
    port = free_port()
    content = CONTENT + (b"x" * 70 + b"\r\n") * (size // 72)
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        writer = relay.gateway.spool._writer
        writer._commit = fault  # type: ignore[method-assign]
        assert await client.message(content=content) == answer
        assert len(relay.told.of(StorageTrouble)) == 1
        assert relay.gateway.spool.count() == (0, 0)
        assert await relay.gateway.spool.load(1) is None
        (aborted,) = relay.told.of(MessageAborted)
        assert aborted.mid == 1
        del writer._commit
        assert (await client.message(content=content)).startswith("250 ok:  Message 2 ")
        assert len(relay.told.of(StorageRecovered)) == 1
        assert relay.gateway.spool.count()[0] == 1


async def test_a_disk_that_fills_up_under_a_large_message_is_answered_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    large = CONTENT + (b"x" * 70 + b"\r\n") * 2000
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(SqliteIncoming, "_write_file", _no_room)
            await client.offer()
            client.send(large)
            await _until_refused(relay)
        client.send(b".\r\n")
        assert await client.reply() == "452 #4.3.1 queue full"
        assert list((relay.gateway.home.share(0) / "incoming").iterdir()) == []
        assert (await client.message(content=large)).startswith("250 ok:  Message ")


def _no_room(_incoming: SqliteIncoming, _data: bytes) -> None:
    raise refused(OSError(28, "No space left on device"))


async def _until_refused(relay: Running) -> None:
    """Until the spool has refused a piece of the message at hand. Each turn is a connection of its own, so
    that the loop has read what came meanwhile."""
    (connection,) = relay.gateway.listeners._gates()[0].connections
    receiving = connection._receiving
    assert receiving is not None
    while receiving._refusal is None:
        async with greeted(relay.port, source="127.0.0.2"):
            pass


async def test_refused_connections_are_told_apart_from_judged_ones(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, limits={"connections": 1})
    async with running(tmp_path / "home", port, document) as relay, greeted(port):
        async with talking(port) as second:
            await second.rest()
        await relay.told.until(ConnectionClosed)
        assert [event.icid for event in relay.told.of(ConnectionOpened)] == [1, 2]
        assert [event.icid for event in relay.told.of(ConnectionJudged)] == [1]
        assert [event.icid for event in relay.told.of(ConnectionRefused)] == [2]
