"""Files of messages are analysed between the 250 and the delivery; nothing is lost, doubled or blocked."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lab.place import free_port
from lab.sink import Sink
from mxseal.clock import ManualClock
from mxseal.events.screening import (
    AnalysisTrouble,
    AnalysisWorks,
    FileAnalysed,
    FileAnswered,
    FileSubmitted,
    FileUnanswered,
    MessageHeld,
    MessageScreened,
    QuarantineDeleted,
    QuarantineReleased,
)
from mxseal.events.types import MessageFinished, MessageQueued, RecipientsDelivered
from mxseal.relay.orders import Selection, delete, deliver_now
from tests.relay.analysing import BAD, CLEAN, DOWN, PENDING, UNKNOWN, Server, asking, document, message
from tests.relay.harness import CONTENT, Running, greeted, keeping, running

FIELD = b"X-MXSeal-Analysis"


async def send(port: int, content: bytes, *recipients: str) -> None:
    async with greeted(port) as talker:
        reply = await talker.message(*recipients, content=content)
        assert reply.startswith("250 "), reply


async def received(sink: Sink, count: int = 1) -> list[bytes]:
    """Their contents, without the two lines that the sink writes before them."""
    found = await asyncio.to_thread(sink.wait, count)
    return [each.content.split(b"\r\n", 2)[2] for each in found]


async def test_a_clean_file_goes_on_with_the_result_in_its_header(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(CLEAN)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, message("a.bin"))
        (content,) = await received(sink)
        head = content.split(b"\r\n\r\n")[0]
        assert head.startswith(FIELD + b': clean;\r\n\tfiles=1;\r\n\tfile="a.bin";\r\n\tsha256=')
        assert b'server="grid"' in head
        (screened,) = relay.told.of(MessageScreened)
        assert (screened.action, screened.word, screened.score) == ("deliver", "clean", 0)
        (answered,) = relay.told.of(FileAnswered)
        assert (answered.name, answered.disposition) == ("a.bin", "clean")
    assert server.asked == ["a.bin"]


@pytest.mark.parametrize("action", ["quarantine", "drop"])
async def test_a_malicious_file_is_kept_back_or_dropped(action: str, tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(BAD)
    plain = document(port, sink.port, malicious=action)
    async with running(tmp_path / "home", port, plain, prepare=asking(server)) as relay:
        await send(port, message("bad.bin"))
        (screened,) = await relay.told.until(MessageScreened)
        assert (screened.action, screened.word, screened.threat) == (action, "malicious", "Lab.Threat")
        if action == "drop":
            await relay.told.until(MessageFinished)
        await send(port, CONTENT)
        (content,) = await received(sink)
        assert b"Hello." in content
        assert relay.gateway.spool.shelf.count()[0] == (action == "quarantine")
    assert len(sink.messages()) == 1


async def test_a_message_without_files_is_not_touched(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(BAD)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, CONTENT)
        (content,) = await received(sink)
        assert FIELD not in content
        assert relay.told.of(MessageScreened) == []
    assert server.asked == []


async def test_a_result_that_a_stranger_wrote_is_removed(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(UNKNOWN)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)):
        await send(port, FIELD + b": clean\r\n" + message("a.bin"))
        await send(port, b"A: b\r\n" + FIELD.lower() + b" : clean;\r\n files=7\r\n" + CONTENT)
        first, second = sorted(await received(sink, 2), key=len, reverse=True)
        assert first.count(FIELD) == 1
        assert FIELD + b": unknown" in first
        assert FIELD.lower() not in second.lower()


@pytest.mark.parametrize(
    ("action", "policy", "asked"),
    [("accept", None, True), ("relay", None, False), ("accept", "off", False), ("relay", "on", True)],
)
async def test_a_mail_flow_policy_says_whose_files_are_analysed(
    action: str, policy: str | None, asked: bool, tmp_path: Path, sink: Sink
) -> None:
    port, server = free_port(), Server(CLEAN)
    plain = document(port, sink.port, action=action)
    plain["mail_flow_policies"][0]["analysis"] = policy
    async with running(tmp_path / "home", port, plain, prepare=asking(server)):
        await send(port, message("a.bin"))
        await received(sink)
    assert bool(server.asked) is asked


async def test_a_message_waits_for_a_verdict_and_goes_on_with_it(tmp_path: Path, sink: Sink) -> None:
    port, server, clock = free_port(), Server(PENDING), ManualClock()
    plain = document(port, sink.port)
    async with running(tmp_path / "home", port, plain, clock, asking(server)) as relay:
        await send(port, message("a.bin"))
        (held,) = await relay.told.until(MessageHeld)
        assert held.word == "pending"
        assert round(held.until - clock.now()) == 900
        await looked(relay)
        clock.advance(5.0)
        await until(lambda: len(server.polled) == 1)
        await looked(relay)
        server.finished = CLEAN
        clock.advance(60.0)
        (content,) = await received(sink)
        assert content.startswith(FIELD + b": clean")
        assert len(relay.told.of(FileSubmitted)) == len(relay.told.of(FileAnalysed)) == 1
        assert len(relay.told.of(MessageHeld)) == 1
    assert server.asked == ["a.bin"]


async def test_a_hold_ends_when_its_time_is_over(tmp_path: Path, sink: Sink) -> None:
    port, server, clock = free_port(), Server(PENDING), ManualClock()
    plain = document(port, sink.port, hold_time=60)
    async with running(tmp_path / "home", port, plain, clock, asking(server)) as relay:
        await send(port, message("a.bin"))
        await relay.told.until(MessageHeld)
        while not relay.told.of(MessageScreened):
            await looked(relay)
            clock.advance(5.0)
        (screened,) = await relay.told.until(MessageScreened)
        assert (screened.action, screened.word, screened.late) == ("deliver", "pending", True)
        (content,) = await received(sink)
        assert b"late=yes" in content.split(b"\r\n\r\n")[0]


async def test_a_server_that_fails_is_asked_again_and_told_of(tmp_path: Path, sink: Sink) -> None:
    port, server, clock = free_port(), Server(DOWN), ManualClock()
    async with running(tmp_path / "home", port, document(port, sink.port), clock, asking(server)) as relay:
        await send(port, message("a.bin"))
        (held,) = await relay.told.until(MessageHeld)
        assert (held.word, held.reason) == ("fault", "unreachable: connection refused")
        for asked in range(1, 5):
            await looked(relay)
            clock.advance(60.0)
            await until(lambda: len(server.asked) > asked)  # noqa: B023 - awaited at once
        (trouble,) = await relay.told.until(AnalysisTrouble)
        assert (trouble.server, trouble.failures, trouble.fault) == ("grid", 5, "unreachable")
        assert len(relay.told.of(FileUnanswered)) == 5
        await looked(relay)
        server.speak(CLEAN)
        clock.advance(60.0)
        await received(sink)
        await relay.told.until(AnalysisWorks)


async def test_a_silent_server_keeps_no_other_mail_waiting(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(None)
    plain = document(port, sink.port, questions=2)
    async with running(tmp_path / "home", port, plain, prepare=asking(server)) as relay:
        for number in range(5):
            await send(port, message(f"{number}.bin"))
        await until(lambda: server.at_once == 2)
        await send(port, CONTENT)
        (content,) = await received(sink)
        assert FIELD not in content
        server.speak(CLEAN)
        await received(sink, 6)
        assert len(relay.told.of(MessageScreened)) == 5
    assert server.most_at_once == 2


async def test_an_analyser_that_breaks_is_a_fault_and_no_lost_mail(tmp_path: Path, sink: Sink) -> None:
    class Broken(Server):
        async def judge(self, item: Any) -> Any:
            raise KeyError(item.name)

    port = free_port()
    plain = document(port, sink.port, fault="deliver")
    loop = asyncio.get_running_loop()
    told: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: told.append(context))
    async with running(tmp_path / "home", port, plain, prepare=asking(Broken())):
        await send(port, message("a.bin"))
        (content,) = await received(sink)
        assert content.startswith(FIELD + b": fault")
    assert "KeyError" in repr(told)


async def test_the_gravest_file_decides(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(CLEAN)
    server.says = {"b.bin": BAD, "c.bin": PENDING}
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, message("a.bin", "b.bin", "c.bin"))
        (screened,) = await relay.told.until(MessageScreened)
        assert (screened.name, screened.action) == ("b.bin", "quarantine")


async def test_a_large_message_is_analysed_whole(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(CLEAN)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)):
        await send(port, message("a.bin", content=bytes(300_000)))
        (content,) = await received(sink)
        assert content.startswith(FIELD + b": clean")
        assert content.count(b"AAAA") > 1000
    assert server.asked == ["a.bin"]


async def test_what_is_too_large_for_the_server_is_unscannable(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(CLEAN)
    plain = document(port, sink.port, max_size=1024, unscannable="quarantine")
    async with running(tmp_path / "home", port, plain, prepare=asking(server)) as relay:
        await send(port, message("a.bin", content=bytes(5000)))
        (screened,) = await relay.told.until(MessageScreened)
        assert (screened.word, screened.action) == ("unscannable", "quarantine")
        assert screened.reason == "it is larger than 1024 bytes"
    assert server.asked == []


async def test_a_held_message_is_held_over_a_restart(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(PENDING)
    plain = document(port, sink.port)
    async with running(tmp_path / "home", port, plain, ManualClock(1e9), asking(server)) as relay:
        await send(port, message("a.bin"))
        await relay.told.until(MessageHeld)
        await looked(relay)
    again = Server(PENDING)
    again.finished = BAD
    async with running(tmp_path / "home", port, plain, ManualClock(1e9 + 30), asking(again)) as relay:
        (screened,) = await relay.told.until(MessageScreened)
        assert (screened.action, screened.word) == ("quarantine", "malicious")
    assert (again.asked, len(again.polled)) == ([], 1)
    assert sink.messages() == ()


async def test_a_message_that_was_not_looked_at_is_after_a_restart(tmp_path: Path, sink: Sink) -> None:
    port = free_port()
    plain = document(port, sink.port)
    async with running(tmp_path / "home", port, plain, prepare=keeping) as relay:
        await send(port, message("a.bin"))
        await relay.told.until(MessageQueued)
    server = Server(BAD)
    async with running(tmp_path / "home", port, plain, prepare=asking(server)) as relay:
        await relay.told.until(MessageScreened)
    assert server.asked == ["a.bin"]


async def test_what_waits_goes_on_when_the_analysis_is_switched_off(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(DOWN)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, message("a.bin"))
        await relay.told.until(MessageHeld)
        await looked(relay)
        await relay.commit(analysis={"enabled": False})
        await deliver_now(relay.gateway.queue, Selection())
        await received(sink)


async def test_held_messages_are_delivered_now_or_deleted_on_request(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(DOWN)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, message("a.bin"))
        await relay.told.until(MessageHeld)
        await looked(relay)
        server.speak(CLEAN)
        assert await deliver_now(relay.gateway.queue, Selection()) == 1
        await received(sink)
        server.speak(DOWN)
        await send(port, message("b.bin"))
        await relay.told.until(MessageHeld, 2)
        await looked(relay)
        assert await delete(relay.gateway.queue, Selection()) == 1


async def test_a_released_message_is_delivered_once_and_not_analysed(tmp_path: Path, sink: Sink) -> None:
    port, server = free_port(), Server(BAD)
    async with running(tmp_path / "home", port, document(port, sink.port), prepare=asking(server)) as relay:
        await send(port, message("bad.bin"), "one@example.com", "two@example.com")
        (screened,) = await relay.told.until(MessageScreened)
        keeper = relay.gateway.worker.keeping
        assert b"Subject: files" in (await keeper.header(screened.mid) or b"")
        assert await keeper.release(screened.mid, "admin")
        assert not await keeper.release(screened.mid, "admin")
        (content,) = await received(sink)
        assert content.startswith(FIELD + b": malicious")
        (released,) = relay.told.of(QuarantineReleased)
        assert (released.user, released.rids) == ("admin", (0, 1))
        await relay.told.until(RecipientsDelivered)
        await relay.quiet()
    assert server.asked == ["bad.bin"]
    assert len(sink.messages()) == 1


async def test_the_quarantine_is_bounded_by_age_and_size(tmp_path: Path, sink: Sink) -> None:
    port, server, clock = free_port(), Server(BAD), ManualClock()
    plain = document(port, sink.port) | {"quarantine": {"keep_days": 1, "max_bytes": 1 << 20}}
    async with running(tmp_path / "home", port, plain, clock, asking(server)) as relay:
        shelf = relay.gateway.spool.shelf
        for number in range(3):
            await send(port, message(f"{number}.bin", content=bytes(300_000)))
            await relay.told.until(MessageScreened, number + 1)
            clock.advance(1.0)
        (gone,) = await relay.told.until(QuarantineDeleted)
        assert (gone.mid, gone.reason) == (1, "newer ones needed its room")
        assert shelf.count()[0] == 2
        clock.advance(2 * 86_400.0)
        await relay.told.until(QuarantineDeleted, 3)
        assert shelf.count() == (0, 0)


async def looked(relay: Running) -> None:
    """Until no message is being looked at and all is written down."""
    screening = relay.gateway.worker.screening
    await asyncio.sleep(0)
    while screening.recipients:
        await relay.gateway.spool.flush()
        await asyncio.sleep(0)
    await relay.gateway.spool.flush()


async def until(happened: Any) -> None:
    async with asyncio.timeout(30):
        while not happened():
            await asyncio.sleep(0)
