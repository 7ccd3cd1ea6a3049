"""Servers that are silent, slow, gone or hostile: a time-out once, the next host, and never a wrong "no"."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, Self, cast

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.slapd import Security, Slapd, person
from mxseal.clock import ManualClock, SystemClock
from mxseal.config.model import LdapProfile
from mxseal.directory.connection import Connection
from mxseal.directory.opening import Around, Opening, Server
from mxseal.directory.questions import Match
from mxseal.events.directory import LdapAnswered, LdapConnected, LdapConnectionFailed, LdapFailed
from mxseal.events.types import MessageQueued, RecipientAccepted, RecipientRejected
from mxseal.ldap.values import Fault
from tests.conftest import Starter
from tests.directory.circle import circle
from tests.directory.estate import asking, people, profile
from tests.relay.harness import greeted, keeping
from tests.relay.harness import running as relaying

QUICK = {"connect_time": 0.5, "search_time": 0.5}


@pytest.fixture
def twin(running: Starter, authority: Authority) -> Slapd:
    """Another server with the same people, which a test may freeze or kill."""
    return running(lambda: Slapd(people(), Security(certificate=authority.issue("127.0.0.1"))))


async def test_a_server_that_goes_silent_costs_its_time_once_and_all_who_wait_go_to_the_next(
    twin: Slapd, slapd: Slapd, authority: Authority
) -> None:
    async with circle(authority, profile(twin.tls_port, slapd.tls_port, **QUICK)) as made:
        assert await made.ask("anna@example.com")
        twin.freeze()
        names = [f"nobody{n}@example.com" for n in range(40)]
        found = await asyncio.gather(*(made.ask(name) for name in names))
        assert found == [Match()] * 40
        failed = made.of(LdapFailed)
        assert {event.port for event in failed} == {twin.tls_port}
        assert {event.reason for event in failed} == {"no answer within 0.5 s"}
        made.told.clear()
        found = await asyncio.gather(*(made.ask(f"other{n}@example.com") for n in range(40)))
        assert found == [Match()] * 40
        assert not made.of(LdapFailed)
        assert {event.port for event in made.of(LdapAnswered)} == {slapd.tls_port}
        (state,) = made.made.states()
        assert state.hosts[0].resting > 0
        assert state.hosts[0].timeouts <= 40
    twin.thaw()


@pytest.mark.parametrize("security", ["ldaps", "starttls", "none"])
async def test_a_server_that_takes_connections_and_never_speaks_is_given_up_after_its_time(
    security: str, twin: Slapd, slapd: Slapd, authority: Authority
) -> None:
    twin.freeze()
    clear = security != "ldaps"
    ports = (twin.port, slapd.port) if clear else (twin.tls_port, slapd.tls_port)
    async with circle(authority, profile(*ports, security=security, **QUICK)) as made:
        found = await asyncio.gather(*(made.ask(f"n{n}@example.com") for n in range(20)))
        assert found == [Match()] * 20
        failed = made.of(LdapConnectionFailed)
        if security == "none":
            assert not failed
            return
        (event,) = failed
        assert event.stage == ("handshake" if security == "ldaps" else "starttls")
        if event.stage == "handshake":
            assert event.diagnosis is not None
            assert event.diagnosis.cause == "timeout-silent"
    twin.thaw()


async def test_a_host_that_failed_is_asked_again_after_its_rest_and_not_before(
    twin: Slapd, slapd: Slapd, authority: Authority
) -> None:
    clock = ManualClock()
    twin.kill()
    hosts = profile(twin.tls_port, slapd.tls_port, rest_time=30, negative_time=0)
    async with circle(authority, hosts, clock=clock) as made:
        assert await made.ask("anna@example.com")
        twin.start()
        for second in range(0, 29, 7):
            assert await made.ask(f"n{second}@example.com") == Match()
            clock.advance(7)
        assert {event.port for event in made.of(LdapAnswered)} == {slapd.tls_port}
        clock.advance(10)
        assert await made.ask("later@example.com") == Match()
        assert made.of(LdapAnswered)[-1].port == twin.tls_port
        assert len(made.of(LdapConnectionFailed)) == 1


async def test_a_single_host_is_tried_again_every_few_seconds(twin: Slapd, authority: Authority) -> None:
    clock = ManualClock()
    twin.kill()
    async with circle(authority, profile(twin.tls_port, rest_time=600), clock=clock) as made:
        for _ in range(4):
            assert isinstance(await made.ask("anna@example.com"), Fault)
        assert len(made.of(LdapConnectionFailed)) == 1
        twin.start()
        clock.advance(4.9)
        assert isinstance(await made.ask("anna@example.com"), Fault)
        clock.advance(0.2)
        assert await made.ask("anna@example.com")


async def test_a_connection_that_the_server_closed_while_idle_is_no_failure(
    twin: Slapd, authority: Authority
) -> None:
    async with circle(authority, profile(twin.tls_port)) as made:
        assert await made.ask("anna@example.com")
        twin.kill()
        twin.start()
        assert await made.ask("bert@example.com")
        assert len(made.of(LdapConnected)) == 2


async def test_all_hosts_are_asked_by_turns_where_the_load_is_balanced(
    twin: Slapd, slapd: Slapd, authority: Authority
) -> None:
    hosts = profile(twin.tls_port, slapd.tls_port, strategy="balance")
    async with circle(authority, hosts) as made:
        for n in range(10):
            await made.ask(f"n{n}@example.com")
        ports = [event.port for event in made.of(LdapAnswered)]
        assert sorted(ports) == sorted([twin.tls_port, slapd.tls_port] * 5)


async def test_thousands_of_questions_share_few_connections(slapd: Slapd, authority: Authority) -> None:
    async with circle(authority, profile(slapd.tls_port, connections=3)) as made:
        found = await asyncio.gather(*(made.ask(f"n{n}@example.com") for n in range(1500)))
        assert found == [Match()] * 1500
        (state,) = made.made.states()
        assert state.hosts[0].opened <= 3
        assert state.hosts[0].answered == 1500


async def test_the_same_question_is_asked_once_at_a_time_and_then_kept(
    slapd: Slapd, authority: Authority
) -> None:
    clock = ManualClock()
    kept = profile(slapd.tls_port, cache_time=100, negative_time=10, cache_entries=50)
    async with circle(authority, kept, clock=clock) as made:
        await asyncio.gather(*(made.ask("anna@example.com") for _ in range(100)))
        await made.ask("nobody@example.com")
        assert len(made.of(LdapAnswered)) == 2
        clock.advance(11)
        await made.ask("anna@example.com")
        await made.ask("nobody@example.com")
        assert len(made.of(LdapAnswered)) == 3
        for n in range(60):
            await made.ask(f"n{n}@example.com")
        (state,) = made.made.states()
        assert (state.cache.entries, state.cache.dropped, state.shared) == (50, 12, 99)


class Odd:
    """A server that says the same to everybody who connects."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.port = free_port()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in self.answers:
            if not await reader.read(4096):
                break
            writer.write(answer)
        await reader.read(4096)
        writer.close()

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


def done(number: int, code: int) -> bytes:
    return bytes((0x30, 0x0C, 0x02, 0x01, number, 0x65, 0x07, 0x0A, 0x01, code, 0x04, 0x00, 0x04, 0x00))


@pytest.mark.parametrize("steps", range(6))
async def test_an_attempt_that_is_given_up_just_when_it_succeeds_leaves_no_connection_behind(
    steps: int, authority: Authority
) -> None:
    made: list[asyncio.Transport] = []

    def overhear(connection: Connection, _profile: str) -> asyncio.Protocol:
        class Watched(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.append(cast("asyncio.Transport", transport))
                connection.connection_made(transport)
                give_up(steps)

            def connection_lost(self, error: Exception | None) -> None:
                connection.connection_lost(error)

        return Watched()

    def give_up(steps: int) -> None:
        if steps:
            asyncio.get_running_loop().call_soon(give_up, steps - 1)
        else:
            attempt.cancel()

    async def resolve(_host: str) -> tuple[str, ...]:
        return ("127.0.0.1",)

    around = Around(
        clock=SystemClock(),
        publish=lambda _event: None,
        resolve=resolve,
        revoking=lambda: None,
        overhear=overhear,
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        asked = LdapProfile.model_validate(
            profile(port, security="none", bind="password", bind_name="cn=gateway")
        )
        opening = Opening(around, None, asked, Server("127.0.0.1", port), "a password")
        attempt = asyncio.ensure_future(opening.run())
        with pytest.raises(asyncio.CancelledError):
            await attempt
        assert [transport.is_closing() for transport in made] == [True]
        await asyncio.sleep(0)


@pytest.mark.parametrize("code", [1, 3, 4, 10, 11, 32, 50, 51, 52, 53, 80, 123])
async def test_no_error_of_a_server_is_read_as_nobody_there(code: int, authority: Authority) -> None:
    async with Odd(done(1, code)) as odd, circle(authority, profile(odd.port, security="none")) as made:
        fault = await made.fault()
        assert fault.kind == "refused"
        assert fault.text.startswith("the server answered ")


@pytest.mark.parametrize(
    "answer", [b"220 smtp.example.com\r\n", b"\x30\x84\x7f\xff\xff\xff", done(77, 0), b"\x00" * 5000]
)
async def test_what_is_no_ldap_gives_the_next_host_the_question(
    answer: bytes, slapd: Slapd, authority: Authority
) -> None:
    async with Odd(answer) as odd:
        hosts = profile(odd.port, slapd.port, security="none")
        async with circle(authority, hosts) as made:
            assert await made.ask("anna@example.com")
            assert made.made.states()[0].hosts[0].resting > 0


async def test_what_comes_in_clear_behind_the_answer_to_starttls_is_not_heard(authority: Authority) -> None:
    success = bytes.fromhex("300c02010178070a010004000400")
    starttls = {"security": "starttls"}
    for behind in (done(2, 0), done(2, 0)[:5], b"\x16\x03\x03"):
        async with Odd(success + behind) as odd, circle(authority, profile(odd.port, **starttls)) as made:
            fault = await made.fault()
            assert fault.kind == "protocol", fault
            assert not made.of(LdapConnectionFailed)[0].times.handshake


async def test_a_server_that_dies_while_a_thousand_recipients_are_checked_costs_no_message_and_refuses_nobody(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    crowd = [person(f"p{n}", f"mail: p{n}@example.com") for n in range(1000)]
    server = running(lambda: Slapd(crowd, Security(certificate=authority.issue("127.0.0.1"))))
    port = free_port()
    document = asking(authority, port, profile(server.tls_port, **QUICK))
    document["listeners"][0]["limits"] = {"connections_per_host": 100}
    taken: list[str] = []

    async def send(batch: int, through: asyncio.Event) -> None:
        async with greeted(port) as client:
            await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
            for n in range(batch * 50, batch * 50 + 50):
                reply = await client.say(f"RCPT TO:<p{n}@example.com>")
                assert reply[:3] in {"250", "451"}, reply
                taken.append(reply[:3])
                if len(taken) == 300:
                    through.set()
            client.send(b"DATA\r\n")
            if (await client.reply()).startswith("354"):
                client.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
                assert (await client.reply()).startswith("250 ok:  Message ")

    async with relaying(tmp_path / "home", port, document, prepare=keeping) as relay:
        through = asyncio.Event()
        sending = [asyncio.ensure_future(send(batch, through)) for batch in range(20)]
        async with asyncio.timeout(30):
            await through.wait()
            server.kill()
            await asyncio.gather(*sending)
        assert len(taken) == 1000
        assert taken.count("451") > 0
        assert not relay.told.of(RecipientRejected)
        assert len(relay.told.of(RecipientAccepted)) == taken.count("250")
        assert relay.gateway.spool.count()[0] == len(relay.told.of(MessageQueued))


async def test_a_profile_that_a_commit_changes_answers_what_was_begun_and_hangs_up(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document: dict[str, Any] = asking(authority, port, profile(slapd.tls_port))
    async with relaying(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>", "RCPT TO:<anna@example.com>")
        book = relay.gateway.worker.directories.book
        await relay.commit(hostname="other.lab.test")
        assert relay.gateway.worker.directories.book.profiles["LDAP"] is book.profiles["LDAP"]
        await relay.commit(ldap_profiles=[profile(slapd.tls_port, cache_time=1)])
        assert relay.gateway.worker.directories.book.profiles["LDAP"] is not book.profiles["LDAP"]
        assert book.profiles["LDAP"].state().hosts[0].connections == 0
        assert (await client.say("RCPT TO:<bert@example.com>")).startswith("250 ")
        assert (await client.say("RCPT TO:<nobody@example.com>")).startswith("550 ")
