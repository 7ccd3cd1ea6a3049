"""What strangers write - names, addresses, subjects, replies - reaches no log line, header or server raw."""

from __future__ import annotations

import re
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.hostile import Hostile
from lab.place import free_port
from lab.script import Behaviour
from mxseal.events.types import DsnGenerated, MessageQueued, RecipientBounced, RecipientsDelivered
from mxseal.faces.render import clean
from mxseal.mail.dsn import FailedRecipient, Report, render
from mxseal.sinks.maillog import one_line
from mxseal.smtp.data import Newlines, Stuffer
from tests.relay.harness import Running, greeted, listening, route, running

START = Callable[..., Hostile]
EVIL = "\x1b[2J\x1b]0;owned\x07 \u2028\u2029\u202e\x85\x9b31m\x00\x08"
FORGED = "Info: MID 1 ready 1 bytes from <forged@lab.test>"
ENDS = (
    b"\r\n.\r\n",
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r\n\x00.\r\n",
)


def _raw(relay: Running) -> str:
    """Both logs as they are on the disk."""
    relay.lines()
    return "".join(
        path.read_bytes().decode() for path in relay.gateway.home.logs.rglob("*.@*") if path.is_file()
    )


def _assert_harmless(relay: Running) -> None:
    text = _raw(relay)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]", text)
    assert not [line for line in text.splitlines() if line[25:].startswith(FORGED)]


# --- the logs ---


async def test_subjects_names_and_addresses_of_a_client_stay_harmless_in_the_logs(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay, greeted(port) as client:
        client.send(f"EHLO {EVIL}\r\n".encode())
        assert (await client.reply()).startswith("501 ")
        client.send(f"MAIL FROM:<a{EVIL}@lab.test>\r\n".encode())
        assert (await client.reply())[:1] == "5"
        await client.say("EHLO c\\x1b]0;name")
        client.send('MAIL FROM:<"a\u2028b"@lab.test> SMTPUTF8\r\n'.encode())
        assert (await client.reply())[:1] == "5"
        # A quoted local part may be any printable text, and stays within its brackets.
        assert (await client.say(f'MAIL FROM:<"{FORGED.replace("<", "(")}"@lab.test>', "RSET"))[:3] == "250"
        content = f"Subject: hi {EVIL}\r\n {FORGED}\r\nMessage-ID: <{EVIL}>\r\n\r\nHi.\r\n".encode()
        assert (await client.message(content=content)).startswith("250 ")
        encoded = (
            b"Subject: =?utf-8?q?hi=0D=0A" + FORGED.replace(" ", "_").encode() + b"=1B[2J?=\r\n\r\nHi.\r\n"
        )
        assert (await client.message(content=encoded)).startswith("250 ")
        await relay.told.until(MessageQueued, 2)
        _assert_harmless(relay)
        assert "owned" in _raw(relay)


async def test_a_next_hops_replies_stay_harmless_in_the_logs_and_in_the_notification(
    hostile: START, tmp_path: Path
) -> None:
    said = f"550-5.1.1 no{EVIL}\r\n550 5.1.1 \r{FORGED}\r\n".encode()
    hop = hostile(
        Behaviour(raw={"RCPT:gone@example.com": said}, replies={"RCPT:gone@example.com": "550 5.1.1 no"})
    )
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit("gone@example.com", sender="from@lab.test")
        await relay.told.until(RecipientBounced)
        await relay.told.until(DsnGenerated)
        await relay.told.until(RecipientsDelivered)
        _assert_harmless(relay)
        (report,) = [taken for taken in hop.taken if taken.sender == ""]
        parts: list[Message] = message_from_bytes(report.content).get_payload()  # type: ignore[assignment]
        fields: list[Message] = parts[1].get_payload()  # type: ignore[assignment]
        assert [block.keys() for block in fields] == [
            ["Reporting-MTA", "Arrival-Date"],
            [
                "Final-Recipient",
                "Action",
                "Status",
                "Remote-MTA",
                "Diagnostic-Code",
                "Last-Attempt-Date",
            ],
        ]
        assert not re.search(rb"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]", report.content)


async def test_a_reply_that_accepts_is_told_without_its_control_characters(
    hostile: START, tmp_path: Path
) -> None:
    hop = hostile(Behaviour(raw={"END": f"250 2.0.0 ok{EVIL}\n{FORGED}\r\n".encode()}))
    async with running(tmp_path / "home", free_port(), route(hop.port)) as relay:
        await relay.submit("to@example.com")
        await relay.told.until(RecipientsDelivered)
        _assert_harmless(relay)


@given(st.text())
def test_whatever_a_log_line_holds_is_one_printable_line_of_bounded_length(text: str) -> None:
    shown = one_line(text + EVIL)
    assert shown.isprintable() or all(c.isprintable() or c == "\u3000" or c.isspace() for c in shown)
    assert len(shown.splitlines()) <= 1
    assert len(one_line(text * 5000)) <= 4000


@given(st.text())
def test_whatever_a_terminal_is_shown_does_not_steer_it(text: str) -> None:
    shown = clean(text + EVIL)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)


# --- notifications ---


@given(st.text(), st.text(), st.text(max_size=50))
def test_no_text_adds_a_field_or_a_part_to_a_notification(address: str, reply: str, host: str) -> None:
    failed = FailedRecipient(
        address=address, status="5.1.1", code="550", text=reply, remote_host=host or None
    )
    report = Report(
        kind="bounce",
        hostname="mx.lab.test",
        mid=1,
        to=address,
        recipients=(failed,),
        arrived=0.0,
        now=0.0,
        retry_until=None,
        boundary="0" * 32,
    )
    content = render(report, b"Subject: s\r\n\r\nHi.\r\n", whole=True)
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    head, _, rest = content.partition(b"\r\n\r\n")
    assert [line.split(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")] == [
        b"From",
        b"To",
        b"Date",
        b"Message-ID",
        b"Subject",
        b"Auto-Submitted",
        b"MIME-Version",
        b"Content-Type",
    ]
    assert (b"\r\n" + rest).count(b"\r\n--" + b"0" * 32) == 4


# --- what goes out: no server can read an end of data where we wrote none ---


@pytest.mark.parametrize("clean_them", [True, False], ids=["cleaned", "as they came"])
@given(
    pieces=st.lists(st.sampled_from([*ENDS, b".", b"\r", b"\n", b"MAIL FROM:<x@y>\r\n", b"a"]), max_size=12),
    places=st.lists(st.integers(0, 80), max_size=6),
)
def test_no_cut_and_no_cleaning_makes_an_end_of_data_within_a_message(
    clean_them: bool, pieces: list[bytes], places: list[int]
) -> None:
    content = b"".join(pieces)
    bounds = [0, *sorted(place for place in places if place < len(content)), len(content)]
    newlines, stuffer = Newlines(clean=clean_them), Stuffer()
    out = b""
    for start, stop in pairwise(bounds):
        out += stuffer.feed(newlines.feed(content[start:stop]))
    out += stuffer.feed(newlines.end())
    sent = b"\r\n" + out + stuffer.end()
    assert sent.find(b"\r\n.\r\n") == len(sent) - 5
    if clean_them:
        # Also for servers that take a bare CR or LF for a line's end (CVE-2023-51764 and its kin).
        loose = sent[:-5].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\n"
        assert b"\n.\n" not in loose
    # Without cleaning such a message is refused before it is kept (next test).
    elif re.search(rb"(?<!\r)\n|\r(?!\n)", content):
        assert newlines.bare


@pytest.mark.parametrize("end", ENDS[1:-1])
@pytest.mark.parametrize("bdat", [False, True], ids=["DATA", "BDAT"])
async def test_what_another_server_could_read_as_an_end_is_refused_or_arrives_cleaned(
    end: bytes, bdat: bool, hostile: START, tmp_path: Path
) -> None:
    hop, port = hostile(Behaviour()), free_port()
    smuggled = b"MAIL FROM:<forged@example.com>\r\nRCPT TO:<to@example.com>\r\nDATA\r\nforged\r\n"
    content = b"Subject: outer\r\n\r\nHi." + end + smuggled
    document = listening(port, bare_newlines="clean") | route(hop.port)
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        await client.say("EHLO c.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>")
        if bdat:
            client.send(b"BDAT %d LAST\r\n" % len(content) + content)
        else:
            assert (await client.say("DATA")).startswith("354 ")
            client.send(content + b"\r\n.\r\n")
        assert (await client.reply()).startswith("250 ")
        await relay.told.until(RecipientsDelivered)
        (taken,) = hop.taken
        assert taken.sender == "from@lab.test"
        assert taken.content.count(b"\n") == taken.content.count(b"\r\n") == taken.content.count(b"\r")
        assert b"forged@example.com" in taken.content
