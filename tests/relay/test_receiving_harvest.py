"""A client that tries addresses out: how many it may be refused before it has to go."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.place import free_port
from mxseal.events.types import ConnectionClosed, MessageQueued, RecipientRejected
from tests.relay.harness import Running, greeted, keeping, listening, running

FAREWELL = "421 #4.7.1 Too many invalid recipients"


async def _shown_out(relay: Running) -> None:
    await relay.told.until(ConnectionClosed)
    lines = [line for line in relay.lines() if "ICID 1 " in line]
    assert lines.count("Info: ICID 1 Connection refused: #4.7.1 Too many invalid recipients") == 1
    assert lines[-1] == "Info: ICID 1 close"


async def test_recipients_that_are_refused_are_counted_over_all_messages_of_a_connection(
    tmp_path: Path,
) -> None:
    port = free_port()
    document = listening(port, limits={"refused_recipients": 3})
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        for name in ("ann", "ben"):
            assert await client.say(f"RCPT TO:<{name}@other.test>") == "550 #5.1.0 Address rejected."
        assert (await client.message("to@example.com", "cora@other.test")).startswith("250 ok:  Message ")
        await client.say("MAIL FROM:<from@lab.test>")
        assert await client.say("RCPT TO:<dan@other.test>") == FAREWELL
        assert await client.rest() == b""
        await _shown_out(relay)
        assert len(relay.told.of(RecipientRejected)) == 4
        assert len(relay.told.of(MessageQueued)) == 1


@pytest.mark.parametrize("action", ["accept", "reject"])
async def test_a_client_that_asks_for_thousands_at_once_is_answered_up_to_the_limit(
    action: str, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, action=action)) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        client.send(b"".join(b"RCPT TO:<u%d@other.test>\r\n" % number for number in range(5000)))
        # Closing with commands unread resets the connection, which may cost the client the last answers.
        answers = (await client.rest()).decode().splitlines()
        assert len(answers) <= 101
        await _shown_out(relay)
        assert len(relay.told.of(RecipientRejected)) == 101
