"""The ports: what each of them says of itself, opening and closing them, certificates seen from outside."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Issued
from lab.place import free_port, free_ports
from mxseal.clock import ManualClock
from mxseal.config.check import Problem
from mxseal.config.history import BuildFailed
from mxseal.config.model import Listener
from mxseal.events.types import (
    ConnectionClosed,
    ConnectionJudged,
    InboundTlsFailed,
    MessageAborted,
    MessageQueued,
)
from mxseal.relay.listener import Listeners
from mxseal.relay.probe import Seen
from tests.relay.harness import (
    CONTENT,
    HOSTNAME,
    Running,
    greeted,
    holding,
    keeping,
    listening,
    running,
    stuffed,
    talking,
)

ISSUE = Callable[..., Issued]
SHUTTING_DOWN = "421 #4.3.2 Shutting down, try again later"


def two(first: int, second: int, **changes: Any) -> dict[str, Any]:
    """A public and a private listener."""
    document = listening(first)
    document["listeners"].append(document["listeners"][0] | {"name": "Inside", "port": second} | changes)
    return document


# --- several ports ------------------------------------------------------------------------------------------


async def test_each_listener_has_its_own_name_policy_and_counts(tmp_path: Path) -> None:
    first, second = free_ports(2)
    document = two(first, second, hostname="inside.lab.test", limits={"connections": 1})
    document["mail_flow_policies"].append({"name": "RELAYED", "action": "relay"})
    document["sender_groups"] = [
        {"name": "INSIDE", "members": ["127.0.0.1"], "policy": "RELAYED", "listeners": ["Inside"]}
    ]
    async with running(tmp_path / "home", first, document) as relay, talking(second) as inside:
        assert await inside.reply() == "220 inside.lab.test ESMTP"
        async with talking(first) as outside:
            assert await outside.reply() == f"220 {HOSTNAME} ESMTP"
            assert (await outside.say("EHLO client.lab.test")).startswith(f"250-{HOSTNAME}\n")
            assert relay.gateway.listeners.connections() == 2
        assert (await inside.say("EHLO client.lab.test")).startswith("250-inside.lab.test\n")
        assert await inside.say("QUIT") == "221 inside.lab.test"
        assert [event.sender_group for event in relay.told.of(ConnectionJudged)] == ["INSIDE", None]
        names = [line.split()[6] for line in relay.lines() if "New SMTP ICID" in line]
        assert names == ["Inside", "IncomingMail"]


async def test_a_listener_can_be_on_ipv6(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, address="::1")
    document["mail_flow_policies"].append({"name": "RELAYED", "action": "relay"})
    document["sender_groups"] = [{"name": "SIX", "members": ["::/64"], "policy": "RELAYED"}]
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port, host="::1") as client,
    ):
        mid = int((await client.message("to@elsewhere.test")).split()[3])
        assert b"(unknown [IPv6:::1])" in await relay.content(mid)
        assert relay.lines()[2].startswith("Info: ICID 1 RELAY SG SIX match ::/64 ")


# --- opening ------------------------------------------------------------------------------------------------


async def test_a_port_that_is_taken_is_named_with_a_remedy_and_others_are_given_up(tmp_path: Path) -> None:
    first, second = free_ports(2)
    with socket.create_server(("127.0.0.1", second)), pytest.raises(BuildFailed) as failed:
        async with running(tmp_path / "home", first, two(first, second)):
            pass
    (problem,) = failed.value.problems
    assert problem == Problem(
        "listeners.Inside.port",
        f"127.0.0.1 port {second} can't be opened: Address already in use.",
        "Another process has it: find it with 'ss -ltnp', or choose another port.",
    )
    with socket.create_server(("127.0.0.1", first)):
        pass


async def test_an_address_that_this_machine_does_not_have_is_told_as_such(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay:
        sockets, problems = relay.gateway.ports.open(
            [Listener(name="Elsewhere", address="203.0.113.7", port=free_port())]
        )
        assert sockets == {}
        (problem,) = problems
        assert problem.path == "listeners.Elsewhere.port"
        assert problem.remedy == "This machine does not have that address: see 'ip address'."


# --- the probe ----------------------------------------------------------------------------------------------


def colons(issued: Issued) -> str:
    return ":".join(issued.sha256[i : i + 2] for i in range(0, 64, 2)).upper()


def profiles(relay: Running, **issued: Issued) -> list[dict[str, Any]]:
    """The demonstration certificate and these, for the document."""
    known = [entry.model_dump() for entry in relay.gateway.history.current().document.certificates]
    return known + [relay.certificate(name, each) for name, each in issued.items()]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_the_probe_sees_both_certificates_of_a_pair_and_those_chosen_by_name(
    implicit: bool, issue: ISSUE, tmp_path: Path
) -> None:
    port = free_port()
    rsa, ecdsa = issue(HOSTNAME, kind="rsa2048"), issue(HOSTNAME)
    named, starred = issue("mail.other.test"), issue("*.wild.test", kind="rsa2048")
    async with running(tmp_path / "home", port, listening(port, implicit_tls=implicit)) as relay:
        listener: dict[str, Any] = {
            "certificate": "rsa",
            "second_certificate": "ecdsa",
            "sni_certificates": ("named", "starred"),
            "implicit_tls": implicit,
        }
        told = await relay.commit(
            certificates=profiles(relay, rsa=rsa, ecdsa=ecdsa, named=named, starred=starred),
            listeners=listening(port, **listener)["listeners"],
        )
        wanted = [
            (None, "rsa", rsa),
            (None, "ecdsa", ecdsa),
            ("mail.other.test", "named", named),
            ("probe.wild.test", "starred", starred),
        ]
        assert await relay.gateway.probe() == [
            Seen(
                listener="IncomingMail",
                server_name=host,
                certificate=name,
                sha256=colons(issued),
                expected=True,
                protocol="TLSv1.3",
            )
            for host, name, issued in wanted
        ]
        assert list(told) == [
            f"Listener IncomingMail serves the certificate {name}"
            f"{f' to clients that ask for {host}' if host else ''}: SHA-256 {colons(issued)}."
            for host, name, issued in wanted
        ]
        assert (
            f"Info: Listener IncomingMail serves the certificate rsa, SHA-256 {colons(rsa)}" in relay.lines()
        )
        assert not relay.told.of(InboundTlsFailed)


async def test_the_probe_warns_of_a_certificate_that_is_not_the_assigned_one(
    issue: ISSUE, tmp_path: Path
) -> None:
    port = free_port()
    new = issue(HOSTNAME, kind="rsa2048")  # as the demonstration certificate
    async with running(tmp_path / "home", port, listening(port)) as relay:
        # A fault as a bug would make it: the port goes on with what it had.
        worker = relay.gateway.worker
        listeners, worker.listeners = worker.listeners, _Stuck(worker.listeners)  # type: ignore[assignment]
        (warning,) = await relay.commit(
            certificates=profiles(relay, new=new), listeners=listening(port, certificate="new")["listeners"]
        )
        worker.listeners = listeners
        assert warning.startswith("Warning: listener IncomingMail serves another certificate than new: ")
        assert any(
            line.startswith("Warning: Listener IncomingMail serves the certificate new, SHA-256 ")
            and line.endswith(", which is not the one that is assigned to it")
            for line in relay.lines()
        )


class _Stuck:
    def __init__(self, real: Listeners) -> None:
        self.expect = real.expect

    async def put_in_force(self, _receptions: object, _sockets: object) -> None:
        return None


@pytest.mark.parametrize(
    ("tls", "action", "problem"),
    [
        ("off", "accept", "the policy for this machine's own address does not offer STARTTLS"),
        ("preferred", "refuse", ""),
    ],
)
async def test_the_probe_says_why_it_sees_no_certificate(
    tls: str, action: str, problem: str, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port, tls=tls, action=action)) as relay:
        (seen,) = await relay.gateway.probe()
        assert (seen.sha256, seen.expected) == (None, False)
        assert seen.problem
        assert not problem or seen.problem == problem


# --- the end ------------------------------------------------------------------------------------------------


async def test_a_stop_ends_what_is_in_flight_and_shows_out_who_is_idle(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    async with (
        running(tmp_path / "home", port, listening(port), clock, prepare=keeping) as relay,
        greeted(port) as idle,
        greeted(port) as busy,
        greeted(port) as storing,
        talking(port) as shaking,
    ):
        await busy.offer()
        await storing.offer()
        await shaking.reply()
        await shaking.say("EHLO client.lab.test", "STARTTLS")
        with holding(relay.gateway) as commit:
            storing.send(stuffed(CONTENT) + b".\r\n")
            await commit.reached()
            stopping = asyncio.get_running_loop().create_task(relay.stop())
            assert await idle.reply() == SHUTTING_DOWN
            assert await idle.rest() == await shaking.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
        assert await storing.reply() == "250 ok:  Message 2 accepted"
        assert await storing.reply() == SHUTTING_DOWN
        busy.send(stuffed(CONTENT) + b".\r\nMAIL FROM:<next@lab.test>\r\n")
        assert await busy.reply() == "250 ok:  Message 1 accepted"
        assert await busy.reply() == SHUTTING_DOWN
        assert await busy.rest() == await storing.rest() == b""
        await stopping
        assert {event.mid for event in relay.told.of(MessageQueued)} == {1, 2}


async def test_a_stop_does_not_wait_for_ever_for_a_message_that_does_not_end(tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    async with (
        running(tmp_path / "home", port, listening(port), clock) as relay,
        greeted(port) as client,
        greeted(port, source="127.0.0.2") as idle,
    ):
        await client.offer()
        stopping = asyncio.get_running_loop().create_task(relay.stop())
        assert await idle.reply() == SHUTTING_DOWN
        clock.advance(11)
        assert await client.rest() == b""
        await stopping
        assert len(relay.told.of(MessageAborted)) == 1
        assert len(relay.told.of(ConnectionClosed)) == 2
