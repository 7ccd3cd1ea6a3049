"""`testreceiver`: all servers of a domain, versions and ciphers, clear text, one's own names; its bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import msgspec
import pytest

from lab.ca import Issued
from lab.dialogue import Dialogue
from lab.hostile import Hostile
from lab.place import free_port
from lab.script import Behaviour
from mxseal.clock import SystemClock
from mxseal.examine import receiver
from mxseal.examine.receiver import Examination, NoPlace, Wish, places
from mxseal.examine.stages import Trust
from mxseal.examine.talk import Line, Place
from tests.conftest import Starter
from tests.examine.asking import Desk
from tests.examine.examining import MANNERS, At, examined, one

Issue = Callable[..., Issued]
MakeDesk = Callable[..., Desk]
ZONE = """
@ MX 10 mx1
@ MX 20 mx2
@ MX 30 mx3
@ MX 40 gone
@ MX 50 away.elsewhere.invalid.
mx1 A 127.0.0.1
mx2 A 127.0.0.2
mx3 A 127.0.0.3
gone A 127.0.0.4
"""


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> int:
    """A port in the place of 25 that servers on several loopback addresses can share."""
    port = free_port()
    monkeypatch.setattr("mxseal.examine.receiver.places.__defaults__", (port,))
    monkeypatch.setattr("mxseal.examine.receiver.outside.__defaults__", (port,))
    return port


async def test_all_exchangers_of_a_domain_are_in_the_table_by_preference_with_their_average(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    running(lambda: At("127.0.0.1", everywhere, certificate=issue("mx1.lab.test")))
    running(lambda: At("127.0.0.2", everywhere, "no-starttls", certificate=issue("mx2.lab.test")))
    running(lambda: At("127.0.0.3", everywhere, "banner-421", certificate=issue("mx3.lab.test")))
    shown = await desk({"lab.test": ZONE}).ask("testreceiver", "lab.test")
    report = shown.report
    assert [(each["host"], each["preference"], each["verdict"]) for each in report["hosts"]] == [
        ("mx1.lab.test", 10, "secure"),
        ("mx2.lab.test", 20, "no-tls"),
        ("mx3.lab.test", 30, "untested"),
        ("gone.lab.test", 40, "unreachable"),
        ("away.elsewhere.invalid", 50, "unreachable"),
    ]
    assert report["score"]["value"] == 55
    assert "lab.test: (100 + 20 + 50 + 50) / 4 = 55" in shown.lines
    assert any(line.startswith("Average") for line in shown.lines)
    assert (shown.ended.status, shown.ended.message) == (
        1, "lab.test has 55 of 100; 90 and more count as secure",
    )  # fmt: skip
    assert "Testing mx1.lab.test port" in shown.lines[0]


async def test_a_domain_whose_servers_are_all_good_ends_with_status_0(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    running(lambda: At("127.0.0.1", everywhere, certificate=issue("mx1.lab.test")))
    shown = await desk({"lab.test": "@ MX 10 mx1\nmx1 A 127.0.0.1"}).ask(
        "testreceiver", "lab.test", "--dialogue"
    )
    assert (shown.ended.status, shown.report["score"]["value"]) == (0, 100)
    assert "~~> MAIL FROM:<postmaster@gw.lab.test>" in shown.text
    assert json.dumps(shown.values)


async def test_versions_and_ciphers_are_found_with_a_bounded_number_of_connections(
    hostile: Callable[..., Hostile], issue: Issue, desk: MakeDesk
) -> None:
    server = hostile("tls-1.2-only", issue("mx.lab.test"))
    asking = desk({"lab.test": "mx A 127.0.0.1"})
    shown = await asking.ask("testreceiver", f"mx.lab.test:{server.port}", "--versions", "--pause", "0")
    (host,) = shown.report["hosts"]
    versions = {each["name"]: each["state"] for each in host["survey"]["versions"]}
    assert versions == {
        "TLSv1.3": "refused", "TLSv1.2": "accepted", "TLSv1.1": "refused", "TLSv1": "refused",
        "SSLv3": "refused",
    }  # fmt: skip
    assert host["survey"]["listed"] == ["TLSv1.2"]
    assert len(server.wait_sessions(host["connections"])) == host["connections"] < 25
    assert f"{host['connections']} connections opened; no message was sent." in shown.lines
    few = await asking.ask(
        "testreceiver", f"mx.lab.test:{server.port}", "--versions", "--pause", "0", "--connections", "4"
    )
    (host,) = few.report["hosts"]
    assert host["connections"] == 4
    assert host["survey"]["listed"] == []
    assert [each["state"] for each in host["survey"]["versions"]].count("untested") == 2
    assert "untested (the limit of 4 connections is reached)" in few.text


class Tired(Hostile):
    """Wants no more connections behind the third."""

    def _serve(self, dialogue: Dialogue) -> None:
        if dialogue.session.number > 3:
            self.behaviour = Behaviour(replies={"CONNECT": "421 4.7.0 too many"})
        super()._serve(dialogue)


async def test_a_server_that_grows_tired_is_asked_once_more_and_then_left_in_peace(
    running: Starter, issue: Issue, trust: Trust
) -> None:
    server = running(lambda: Tired(Behaviour(), certificate=issue("mx.lab.test")))
    host = await one(server, trust, versions=True)
    assert host.survey is not None
    assert [each.state for each in host.survey.versions] == [
        "accepted", "accepted", "untested", "untested", "untested",
    ]  # fmt: skip
    assert "421 4.7.0 too many" in host.survey.versions[2].how
    assert host.connections == 5


async def test_without_mx_records_the_domain_itself_is_tested(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    running(lambda: At("127.0.0.1", everywhere, certificate=issue("lab.test")))
    shown = await desk({"lab.test": "@ A 127.0.0.1"}).ask("testreceiver", "lab.test")
    assert [each["host"] for each in shown.report["hosts"]] == ["lab.test"]
    assert shown.ended.status == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [("null.test", "takes no mail (null MX)"), ("nowhere.null.test", "NXDomain")],
)
async def test_a_domain_without_servers_is_said_to_have_none(desk: MakeDesk, name: str, said: str) -> None:
    shown = await desk({"null.test": "@ MX 0 ."}).ask("testreceiver", name)
    assert shown.ended.status == 1
    assert said in shown.ended.message


# --- clear text, own domain -------------------------------------------------------------------------------


async def test_with_assure_a_domain_passes_when_every_server_refuses_clear_text(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    strict = Behaviour(replies={"MAIL": "530 5.7.0 Must issue a STARTTLS command first"})
    running(lambda: At("127.0.0.1", everywhere, strict, certificate=issue("mx1.lab.test")))
    second = running(lambda: At("127.0.0.2", everywhere, strict, certificate=issue("mx2.lab.test")))
    asking = desk({"lab.test": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 127.0.0.2"})
    shown = await asking.ask("testreceiver", "lab.test", "--assure")
    assert (shown.ended.status, shown.report["score"]["value"]) == (0, 100)
    assert "lab.test passes: every server refuses clear text." in shown.lines
    second.behaviour = Behaviour()
    shown = await asking.ask("testreceiver", "lab.test", "--assure")
    assert (shown.ended.status, shown.report["score"]["value"]) == (1, 0)
    assert shown.ended.message == "lab.test takes mail in clear text"
    assert not second.taken


async def test_for_a_domain_of_this_gateway_the_three_names_are_compared(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    running(lambda: At("127.0.0.1", everywhere, certificate=issue("gw.lab.test"), hostname="gw.lab.test"))
    asking = desk(
        {"lab.test": "@ MX 10 mx1\nmx1 A 127.0.0.1"},
        recipient_access={"domains": ["lab.test"]},
        listeners=[{"name": "In", "address": "127.0.0.1", "port": 2525}],
    )
    shown = await asking.ask("testreceiver", "lab.test")
    (row,) = shown.report["own"]
    assert (row["certificate"], row["interface"], row["mx"], row["agree"]) == (
        ["gw.lab.test"], "gw.lab.test", "mx1.lab.test", False,
    )  # fmt: skip
    assert "let the MX record point to gw.lab.test" in row["change"]
    assert "get a certificate with the name mx1.lab.test" in row["change"]
    assert any(line.split() == ["Certificate", "Interface", "MX", "record", "Agree"] for line in shown.lines)


# --- where it does not go ---------------------------------------------------------------------------------


async def test_exchangers_inside_this_machine_are_not_connected_to_unless_the_document_allows_it(
    desk: MakeDesk, running: Starter, issue: Issue, everywhere: int
) -> None:
    server = running(lambda: At("127.0.0.1", everywhere, certificate=issue("mx1.lab.test")))
    zone = {"lab.test": "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.0.1\nmx2 A 169.254.1.1\nmx2 AAAA fe80::1"}
    shown = await desk(zone, local=False).ask("testreceiver", "lab.test")
    assert [each["verdict"] for each in shown.report["hosts"]] == ["unreachable", "unreachable"]
    assert "mx1.lab.test has only addresses inside this machine or network link." in shown.text
    assert server.sessions == []


async def test_only_an_administrator_may_name_another_port_or_a_host_in_this_machine(
    desk: MakeDesk, hostile: Callable[..., Hostile], issue: Issue
) -> None:
    server = hostile("no-pipelining", issue("mx.lab.test"))
    zone = {"lab.test": "mx A 127.0.0.1"}
    operator = desk(zone, role="operator", local=False)
    for words in (
        ("testreceiver", f"mx.lab.test:{server.port}"),
        ("tlsverify", "lab.test", "mx.lab.test:26"),
    ):
        shown = await operator.ask(*words)
        assert (shown.ended.status, shown.ended.outcome) == (77, "refused")
        assert "administrator" in shown.ended.message
    shown = await operator.ask("testreceiver", "127.0.0.1")
    assert "127.0.0.1 has only addresses inside this machine or network link." in shown.text
    reader = desk(zone, role="read-only")
    assert (await reader.ask("testreceiver", "lab.test")).ended.status == 77
    assert server.sessions == []
    shown = await desk(zone, local=False).ask("testreceiver", f"mx.lab.test:{server.port}")
    assert shown.ended.status == 0


async def test_connections_are_to_port_25_where_nobody_says_otherwise(desk: MakeDesk) -> None:
    asking = desk({"lab.test": "@ MX 10 mx1\nmx1 A 127.0.0.1"})
    names = asking._services.resolver
    assert [place.port for place in await places(names, "lab.test")] == [25]
    with pytest.raises(NoPlace):
        await places(names, "nowhere.lab.test")
    assert receiver.SMTP == 25


async def test_a_server_that_breaks_off_is_no_fault_of_the_others(
    hostile: Callable[..., Hostile], issue: Issue, trust: Trust
) -> None:
    good, bad = hostile("no-pipelining", issue("mx1.lab.test")), hostile("tls-resets", issue("mx2.lab.test"))
    found = [
        Place(host="mx1.lab.test", port=good.port, addresses=("127.0.0.1",)),
        Place(host="mx2.lab.test", port=bad.port, addresses=("127.0.0.1",)),
    ]
    report, told = await examined(found, trust, versions=True)
    assert [host.verdict for host in report.hosts] == ["secure", "tls-broken"]
    assert report.hosts[1].survey is not None
    assert {each.state for each in report.hosts[1].survey.versions} == {"untested"}
    assert len(told) == 6


async def test_leaving_early_closes_all_connections(
    hostile: Callable[..., Hostile], issue: Issue, trust: Trust
) -> None:
    server = hostile("banner-silent", issue("mx.lab.test"))
    place = Place(host="mx.lab.test", port=server.port, addresses=("127.0.0.1",))
    patient = msgspec.structs.replace(MANNERS, reply_seconds=3600.0, whole_seconds=3600.0)
    running = Examination(Wish(subject="lab.test"), patient, trust, SystemClock()).run([place])
    assert "Testing" in str(await anext(running))
    async with asyncio.timeout(60):
        while not server.sessions:
            await asyncio.sleep(0)
        await running.aclose()  # type: ignore[attr-defined]
    (session,) = server.wait_sessions()
    assert session.ended


async def test_an_answer_that_trickles_in_is_looked_at_a_bounded_number_of_times() -> None:
    line = Line(SystemClock())
    asking = asyncio.create_task(line.ask(b"hello", 3600.0))
    await asyncio.sleep(0)
    for byte in b"\x16\x03\x03\x40\x00" + bytes(250):
        line.data_received(bytes([byte]))
        for _ in range(3):
            await asyncio.sleep(0)
    assert asking.done()
    assert asking.result().kind == "malformed"
