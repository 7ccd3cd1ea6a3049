"""Who may send what to whom: the four actions, sender groups, recipient access, and no open relay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.knot import Knot
from lab.place import free_port
from mxseal.crew.worker import Worker
from mxseal.events.types import ConnectionClosed, ConnectionJudged, MessageQueued, RecipientAccepted
from mxseal.relay.resolver import ClientName, DnsResolver
from tests.relay.harness import greeted, keeping, listening, running, talking

OK, NOT_OURS, NOT_YOU = "250 ", "550 #5.1.0 Address rejected.", "554 #5.7.1 "
# recipient                                  accept    relay
RECIPIENTS = [
    ("to@example.com", OK, OK),
    ("to@EXAMPLE.COM", OK, OK),
    ("to%elsewhere.test@example.com", OK, OK),
    ('"to@elsewhere.test"@example.com', OK, OK),
    ("to@elsewhere.test", NOT_OURS, OK),
    ("to@sub.example.com", NOT_OURS, OK),
    ("to@notexample.com", NOT_OURS, OK),
    ("to@example.com.elsewhere.test", NOT_OURS, OK),
    ("@example.com:to@elsewhere.test", NOT_OURS, OK),
    ("to@[127.0.0.1]", NOT_OURS, OK),
    ("to@[IPv6:::1]", NOT_OURS, OK),
    ("postmaster", OK, OK),
]
"""Only hosts whose policy says relay get mail through to other domains, however the address is written."""


@pytest.mark.parametrize("action", ["accept", "relay", "reject"])
async def test_mail_for_other_domains_is_taken_only_where_the_policy_says_relay(
    action: str, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, action=action)) as relay,
        greeted(port) as client,
    ):
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@example.com>")
        for recipient, accept, relayed in RECIPIENTS:
            wanted = {"accept": accept, "relay": relayed, "reject": NOT_YOU}[action]
            assert (await client.say(f"RCPT TO:<{recipient}>")).startswith(wanted), recipient
        rejected = [line for line in relay.lines() if " Rejected by " in line]
        by = "HAT" if action == "reject" else "RAT"
        assert all(line.endswith(f"> Rejected by {by}") for line in rejected)
        refused = {"accept": 7, "relay": 0, "reject": len(RECIPIENTS)}[action]
        assert len(rejected) == refused
        assert len(relay.told.of(RecipientAccepted)) == len(RECIPIENTS) - refused


@pytest.mark.parametrize(
    ("action", "word", "direction"), [("accept", "ACCEPT", "inbound"), ("relay", "RELAY", "outbound")]
)
async def test_the_verdict_and_the_direction_of_a_message_are_told(
    action: str, word: str, direction: str, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, action=action), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.message()).startswith("250 ok:  Message ")
        lines = relay.lines()
        assert lines[2] == f"Info: ICID 1 {word} SG None match ALL SBRS not enabled country not enabled"
        assert any(line.endswith(f"policy DEFAULT in the {direction} table") for line in lines)


async def test_a_rejected_host_may_go_on_so_that_its_recipients_are_logged(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, action="reject")) as relay,
        greeted(port) as client,
    ):
        answer = await client.say(
            "EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<to@example.com>"
        )
        assert answer == "554 #5.7.1 Your host may not send mail here, ask the postmaster of the recipient"
        assert await client.say("DATA") == "503 #5.5.1 RCPT first"
        await client.say("QUIT")
        await relay.told.until(ConnectionClosed)
        assert relay.lines()[2:] == [
            "Info: ICID 1 REJECT SG None match ALL SBRS not enabled country not enabled",
            "Info: ICID 1 Delayed HAT REJECT continuing session for recipient logging (127.0.0.1)",
            "Info: Start MID 1 ICID 1",
            "Info: MID 1 ICID 1 From: <from@lab.test>",
            "Info: MID 1 ICID 1 To: <to@example.com> Rejected by HAT",
            "Info: Message aborted MID 1 Receiving aborted by sender",
            "Info: Message finished MID 1 done",
            "Info: ICID 1 close",
        ]


async def test_a_refused_host_gets_no_banner(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port, action="refuse")) as relay:
        async with talking(port) as client:
            assert await client.rest() == b""
        await relay.told.until(ConnectionClosed)
        assert relay.lines()[2:] == [
            "Info: ICID 1 TCPREFUSE SG None match ALL SBRS not enabled country not enabled",
            "Info: ICID 1 close",
        ]


# --- sender groups ------------------------------------------------------------------------------------------


def grouped(port: int, *groups: tuple[str, list[str], str], **more: Any) -> dict[str, Any]:
    """Sender groups (name, members, action), in order; everybody else is accepted."""
    document = listening(port)
    actions = ("accept", "relay", "reject", "refuse")
    document["mail_flow_policies"] += [{"name": action, "action": action} for action in actions]
    document["sender_groups"] = [
        {"name": name, "members": members, "policy": action} for name, members, action in groups
    ]
    return document | more


async def test_the_first_sender_group_that_an_address_matches_decides(tmp_path: Path) -> None:
    port = free_port()
    groups = (
        ("BLOCKED", ["127.0.0.9"], "reject"),
        ("OURS", ["127.0.0.8/30"], "relay"),
        ("TOO LATE", ["127.0.0.10"], "refuse"),
    )
    async with running(tmp_path / "home", port, grouped(port, *groups)) as relay:
        for source in ("127.0.0.9", "127.0.0.10", "127.0.0.12"):
            async with greeted(port, source=source):
                pass
        judged = relay.told.of(ConnectionJudged)
        assert [(event.sender_group, event.verdict, event.match) for event in judged] == [
            ("BLOCKED", "REJECT", "127.0.0.9"),
            ("OURS", "RELAY", "127.0.0.8/30"),
            (None, "ACCEPT", "ALL"),
        ]
        line = "Info: ICID 2 RELAY SG OURS match 127.0.0.8/30 SBRS not enabled country not enabled"
        assert line in relay.lines()


class Elsewhere:
    """Asks for the names of 192.0.2.0/24 in the place of 127.0.0.0/24: for loopback nobody asks DNS."""

    def __init__(self, resolver: DnsResolver) -> None:
        self._resolver = resolver

    async def client_name(self, address: str) -> ClientName:
        return await self._resolver.client_name(address.replace("127.0.0.", "192.0.2."))


async def test_a_name_counts_only_when_it_leads_back_to_the_address(
    knot: Callable[..., Knot], tmp_path: Path
) -> None:
    zones = {
        "2.0.192.in-addr.arpa": "5 PTR mx.partner.test.\n6 PTR liar.partner.test.",
        "partner.test": "mx A 192.0.2.5\nliar A 192.0.2.99",
    }
    port, server = free_port(), knot(zones)
    document = grouped(
        port, ("PARTNER", [".partner.test"], "relay"), dns={"servers": [f"127.0.0.1:{server.port}"]}
    )
    document["listeners"][0]["reverse_dns"] = True

    def prepare(worker: Worker) -> None:
        keeping(worker)
        intake = worker.listeners._intake
        intake.resolver = lambda: Elsewhere(worker.resolver)  # type: ignore[assignment,return-value]

    async with running(tmp_path / "home", port, document, prepare=prepare) as relay:
        for source in ("127.0.0.5", "127.0.0.6", "127.0.0.7"):
            async with greeted(port, source=source) as client:
                mid = int((await client.message()).split()[3])
                received = await relay.content(mid)
                assert (b"(mx.partner.test [127.0.0.5])" in received) is (source == "127.0.0.5")
                assert b"liar" not in received
        await relay.told.until(ConnectionClosed, 3)
        found = [line for line in relay.lines() if "New SMTP ICID" in line or " SG " in line]
        place = "interface IncomingMail (127.0.0.1) address"
        rest = "SBRS not enabled country not enabled"
        assert found == [
            f"Info: New SMTP ICID 1 {place} 127.0.0.5 reverse dns host mx.partner.test verified yes",
            f"Info: ICID 1 RELAY SG PARTNER match .partner.test {rest}",
            f"Info: New SMTP ICID 2 {place} 127.0.0.6 reverse dns host liar.partner.test verified no",
            f"Info: ICID 2 ACCEPT SG None match ALL {rest}",
            f"Info: New SMTP ICID 3 {place} 127.0.0.7 reverse dns host unknown verified no",
            f"Info: ICID 3 ACCEPT SG None match ALL {rest}",
        ]


# --- recipients ---------------------------------------------------------------------------------------------


async def test_recipient_access_knows_domains_sub_domains_and_names_in_other_scripts(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port) | {
        "recipient_access": {"domains": ["example.com", ".parent.test", "münchen.example"]}
    }
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test> SMTPUTF8")
        taken = ["a@example.com", "b@deep.sub.parent.test", "c@münchen.example", "d@xn--mnchen-3ya.example"]
        for recipient in taken:
            assert await client.say(f"RCPT TO:<{recipient}>") == f"250 recipient <{recipient}> ok"
        for recipient in ("e@parent.test", "f@köln.example", "g@elsewhere.test"):
            assert await client.say(f"RCPT TO:<{recipient}>") == NOT_OURS
        assert [event.recipient for event in relay.told.of(RecipientAccepted)] == taken


@pytest.mark.parametrize("written", ["postmaster", "PostMaster", "postmaster@mx.lab.test"])
async def test_mail_to_this_hosts_postmaster_goes_where_the_document_says(
    written: str, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(port) | {"postmaster": "admin@elsewhere.test"}
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.message(written)).startswith("250 ok:  Message ")
        (queued,) = relay.told.of(MessageQueued)
        message = await relay.gateway.spool.load(queued.mid)
        assert message is not None
        assert [recipient.address for recipient in message.recipients] == ["admin@elsewhere.test"]


async def test_without_a_postmaster_in_the_document_that_of_the_first_domain_has_the_mail(
    tmp_path: Path,
) -> None:
    port = free_port()
    document = listening(port, hostname="example.com")
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        assert (await client.say("RCPT TO:<postmaster>")).startswith("250 ")
        assert relay.told.of(RecipientAccepted)[0].recipient == "postmaster@example.com"
