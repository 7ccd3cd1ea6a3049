"""From the wire to the spool: content byte for byte, the promise of the 250, and clients that go away."""

from __future__ import annotations

import email
import re
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from lab.hostile import Hostile
from lab.place import free_port
from mxseal.clock import ManualClock
from mxseal.events.types import (
    ConnectionClosed,
    InboundTlsSucceeded,
    MessageAborted,
    MessageFinished,
    MessageQueued,
)
from mxseal.storage.ports import Queued
from tests.relay.harness import (
    CONTENT,
    HOSTNAME,
    Running,
    Talker,
    greeted,
    holding,
    keeping,
    listening,
    route,
    running,
    stuffed,
)

START = Callable[..., Hostile]
FROM_HERE = "interface IncomingMail (127.0.0.1) address 127.0.0.1"
LARGE = CONTENT + b"".join(b"%07d " % i + b"x" * 62 + b"\r\n" for i in range(3 * 1024 * 1024 // 72))
CONTENTS = {
    "small": CONTENT,
    "empty": b"",
    "no header": b"\r\nHello.\r\n",
    "no blank line": b"Subject: x\r\n",
    "dots": b"Subject: x\r\n\r\n.\r\n..\r\n...\r\n.x\r\n\r\n.\r\n",
    "eight bits": "Subject: x\r\n\r\nGrüße ☃\r\n".encode() + bytes(range(14, 256)) + b"\r\n",
    "NUL": b"Subject: x\r\n\r\na\0b\r\n",
    "long line": b"Subject: x\r\n\r\n" + b"y" * 100_000 + b"\r\n",
    "3 MB": LARGE,
}


async def begun(client: Talker) -> None:
    await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>")


def without_trace(stored: bytes) -> tuple[bytes, bytes]:
    """(the Received field, what came behind it)."""
    end = re.search(rb"\r\n(?![ \t])", stored)
    assert end is not None
    return stored[: end.end()], stored[end.end() :]


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
async def test_content_of_data_is_stored_byte_for_byte(tls: bool, content: bytes, tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test")
        if tls:
            await client.secure()
        mid = int((await client.message(content=content)).split()[3])
        trace, stored = without_trace(await relay.content(mid))
        assert trace.startswith(b"Received: from client.lab.test ")
        assert stored == content
        message = await relay.gateway.spool.load(mid)
        assert message is not None
        assert message.envelope.size == len(trace) + len(content)
        assert f"Info: MID {mid} ready {len(content)} bytes from <from@lab.test>" in relay.lines()


@pytest.mark.parametrize("size", [1, 17, 100_000])
async def test_chunks_are_stored_byte_for_byte_however_they_are_cut(size: int, tmp_path: Path) -> None:
    port = free_port()
    content = LARGE[: 2000 if size < 100 else 500_040]
    content = content[: content.rindex(b"\r\n") + 2]
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await begun(client)
        pieces = [content[i : i + size] for i in range(0, len(content), size)]
        for piece in pieces:
            client.send(b"BDAT %d\r\n" % len(piece) + piece)
        for piece in pieces:
            assert await client.reply() == f"250 {len(piece)} octets received"
        mid = int((await client.say("BDAT 0 LAST")).split()[3])
        assert without_trace(await relay.content(mid))[1] == content


async def test_messages_can_be_pipelined_one_behind_the_other(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        envelope = b"MAIL FROM:<from@lab.test>\r\nRCPT TO:<to@example.com>\r\nDATA\r\n"
        client.send(b"EHLO client.lab.test\r\n" + (envelope + stuffed(CONTENT) + b".\r\n") * 50 + b"QUIT\r\n")
        answers = (await client.rest()).decode().split("\r\n")
        accepted = [line for line in answers if line.startswith("250 ok:  Message ")]
        assert len(accepted) == 50
        assert answers[-2] == f"221 {HOSTNAME}"
        assert relay.gateway.spool.count()[0] == 50


async def test_a_client_that_says_all_and_ends_its_side_still_gets_its_answers(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.offer()
        with holding(relay.gateway) as commit:
            client.send(stuffed(CONTENT) + b".\r\n")
            client.writer.write_eof()
            await commit.reached()
            await heard(relay)
        assert (await client.rest()).startswith(b"250 ok:  Message ")


async def heard(relay: Running) -> None:
    """Until the loop has dealt with what was sent before: another connection goes through all of it."""
    async with greeted(relay.port, source="127.0.0.2") as other:
        assert await other.say("NOOP") == "250 ok"


# --- trace and flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hello", "tls", "parameters", "protocol"),
    [
        ("HELO", False, "", "SMTP"),
        ("EHLO", False, "", "ESMTP"),
        ("EHLO", True, "", "ESMTPS"),
        ("EHLO", False, " SMTPUTF8", "UTF8SMTP"),
        ("EHLO", True, " SMTPUTF8", "UTF8SMTPS"),
    ],
)
async def test_the_received_field_says_how_the_message_came(
    hello: str, tls: bool, parameters: str, protocol: str, tmp_path: Path
) -> None:
    port, clock = free_port(), ManualClock()
    async with (
        running(tmp_path / "home", port, listening(port), clock, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        if tls:
            await client.say("EHLO client.lab.test")
            await client.secure()
        await client.say(f"{hello} client.lab.test", f"MAIL FROM:<from@lab.test>{parameters}")
        await client.say("RCPT TO:<to@example.com>", "DATA")
        client.send(stuffed(CONTENT) + b".\r\n")
        mid = int((await client.reply()).split()[3])
        trace, _ = without_trace(await relay.content(mid))
        assert all(len(line) <= 78 for line in trace.split(b"\r\n"))
        field = email.message_from_bytes(trace)["Received"]
        text, _, date = re.sub(r"\s+", " ", field).rpartition("; ")
        assert text.startswith("from client.lab.test (unknown [127.0.0.1]) ")
        assert f" by {HOSTNAME} with {protocol} id {mid}" in text
        assert parsedate_to_datetime(date).timestamp() == int(clock.now())
        assert ("using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256 bits)" in text) is tls
        assert ("tls TLS_AES_256_GCM_SHA384" in text) is tls
        assert "to@example.com" not in text


@pytest.mark.parametrize(
    ("parameters", "eightbit", "smtputf8"),
    [
        ("", False, False),
        (" BODY=7BIT", False, False),
        (" BODY=8BITMIME", True, False),
        (" SMTPUTF8", False, True),
        (" BODY=8BITMIME SMTPUTF8", True, True),
    ],
)
async def test_what_the_client_says_about_the_content_stays_with_the_message(
    parameters: str, eightbit: bool, smtputf8: bool, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        sender = "jörg@lab.test" if smtputf8 else "from@lab.test"
        answer = await client.message("a@example.com", "b@example.com", sender=sender, parameters=parameters)
        message = await stored(relay, int(answer.split()[3]))
        envelope = message.envelope
        assert (envelope.sender, envelope.eightbit, envelope.smtputf8) == (sender, eightbit, smtputf8)
        assert envelope.icid == 1
        assert [(r.rid, r.address) for r in message.recipients] == [
            (0, "a@example.com"),
            (1, "b@example.com"),
        ]


async def test_the_null_sender_is_taken(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        answer = await client.message(sender="")
        assert (await stored(relay, int(answer.split()[3]))).envelope.sender == ""


async def stored(relay: Running, mid: int) -> Queued:
    found = await relay.gateway.spool.load(mid)
    assert found is not None
    return found


# --- the promise --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [CONTENT, LARGE[:200_000] + b"\r\n"], ids=["small", "large"])
async def test_no_250_is_said_before_the_message_is_on_stable_storage(content: bytes, tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.offer()).startswith("354 ")
        with holding(relay.gateway) as commit:
            client.send(stuffed(content) + b".\r\nNOOP\r\n")
            await commit.reached()
            await heard(relay)
            await heard(relay)
            assert client.unread() == b""
            assert await relay.gateway.spool.load(1) is None
            assert not relay.told.of(MessageQueued)
        assert await client.reply() == "250 ok:  Message 1 accepted"
        assert await client.reply() == "250 ok"
        assert len(relay.told.of(MessageQueued)) == 1
        assert await relay.gateway.spool.load(1) is not None


async def test_messages_that_come_during_a_commit_share_the_next_one(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as first,
        greeted(port) as second,
        greeted(port) as third,
    ):
        clients = (first, second, third)
        for client in clients:
            await client.offer()
        commits: list[None] = []
        with holding(relay.gateway) as commit:
            first.send(stuffed(CONTENT) + b".\r\n")
            await commit.reached()
            for client in (second, third):
                client.send(stuffed(CONTENT) + b".\r\n")
            await heard(relay)
            assert [client.unread() for client in clients] == [b"", b"", b""]
            writer = relay.gateway.spool._writer
            ending = type(writer)._commit

            def counted() -> object:
                commits.append(None)
                return ending(writer)

            writer._commit = counted  # type: ignore[method-assign,assignment]
            commit.free()
            for client in clients:
                assert (await client.reply()).startswith("250 ok:  Message ")
            assert len(commits) == 1


# --- clients that go away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("size", [100, 200_000], ids=["small", "large"])
async def test_a_client_that_goes_away_within_its_message_leaves_nothing_behind(
    size: int, reset: bool, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        async with greeted(port) as client:
            assert (await client.offer()).startswith("354 ")
            client.send(LARGE[:size])
            await heard(relay)
            if reset:
                client.reset()
        await relay.told.until(ConnectionClosed, 2)
        assert len(relay.told.of(MessageAborted)) == 1
        assert relay.gateway.spool.count() == (0, 0)
        for folder in ("incoming", "bodies"):
            assert list((relay.gateway.home.share(0) / folder).iterdir()) == []
        assert [line for line in relay.lines() if "ICID 2" not in line][-4:] == [
            "Info: Message aborted MID 1 Receiving aborted by sender",
            "Info: Message finished MID 1 done",
            "Info: ICID 1 lost",
            "Info: ICID 1 close",
        ]


@pytest.mark.parametrize("reset", [False, True], ids=["closes", "resets"])
async def test_a_client_that_goes_away_right_behind_its_message_has_sent_it(
    reset: bool, hostile: START, tmp_path: Path
) -> None:
    port, hop = free_port(), hostile("no-pipelining")
    async with running(tmp_path / "home", port, listening(port) | route(hop.port)) as relay:
        async with greeted(port) as client:
            assert (await client.offer()).startswith("354 ")
            with holding(relay.gateway) as commit:
                client.send(stuffed(CONTENT) + b".\r\n")
                await commit.reached()
                if reset:
                    client.reset()
                await client.leave()
                await heard(relay)
        await relay.told.until(MessageFinished)
        assert len(hop.taken) == 1
        assert hop.taken[0].content.endswith(CONTENT)
        assert not relay.told.of(MessageAborted)


@pytest.mark.parametrize("command", ["RSET", "EHLO client.lab.test", "QUIT"])
async def test_a_message_that_is_given_up_leaves_nothing_behind(command: str, tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay, greeted(port) as client:
        await begun(client)
        client.send(b"BDAT 200000\r\n" + LARGE[:200_000])
        await client.reply()
        assert list((relay.gateway.home.share(0) / "incoming").iterdir()) != []
        await client.say(command)
        assert list((relay.gateway.home.share(0) / "incoming").iterdir()) == []
        assert len(relay.told.of(MessageAborted)) == 1


# --- the story of a message ---------------------------------------------------------------------------------


async def test_the_mail_log_tells_a_message_from_connect_to_close_line_by_line(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port), prepare=keeping) as relay:
        async with greeted(port) as client:
            await client.say("EHLO client.lab.test")
            await client.secure()
            await client.message("a@example.com", "b@elsewhere.test", "c@example.com")
            await client.say("QUIT")
        await relay.told.until(ConnectionClosed)
        (secured,) = relay.told.of(InboundTlsSucceeded)
        assert secured.facts.protocol == "TLSv1.3"
        assert relay.lines()[1:] == [
            f"Info: New SMTP ICID 1 {FROM_HERE} reverse dns host unknown verified no",
            "Info: ICID 1 ACCEPT SG None match ALL SBRS not enabled country not enabled",
            "Info: ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384",
            "Info: Start MID 1 ICID 1",
            "Info: MID 1 ICID 1 From: <from@lab.test>",
            "Info: MID 1 ICID 1 RID 0 To: <a@example.com>",
            "Info: MID 1 ICID 1 To: <b@elsewhere.test> Rejected by RAT",
            "Info: MID 1 ICID 1 RID 1 To: <c@example.com>",
            "Info: MID 1 Message-ID '<1@lab.test>'",
            'Info: MID 1 Subject "hello"',
            f"Info: MID 1 ready {len(CONTENT)} bytes from <from@lab.test>",
            "Info: MID 1 matched all recipients for per-recipient policy DEFAULT in the inbound table",
            "Info: MID 1 queued for delivery",
            "Info: ICID 1 close",
        ]
