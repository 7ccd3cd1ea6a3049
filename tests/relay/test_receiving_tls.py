"""TLS on a listener: the three levels, STARTTLS and what is not smuggled past it, handshakes that fail."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lab.client import ANY, Trust
from lab.place import free_port
from mxseal.clock import ManualClock
from mxseal.events.types import (
    ConnectionClosed,
    ConnectionJudged,
    InboundTlsFailed,
    InboundTlsMissing,
    InboundTlsSucceeded,
    MessageAborted,
    MessageStarted,
)
from mxseal.relay.resolver import ClientName
from tests.relay.harness import HOSTNAME, Running, Talker, greeted, keeping, listening, running, talking

NEEDED = "530 #5.7.0 Must issue a STARTTLS command first"
SENDER_NEEDED = "530 #5.7.0 This sender must issue a STARTTLS command first"
MISSING = "Info: ICID {icid} TLS was required but remote host did not initiate it"


def narrow(version: ssl.TLSVersion, ciphers: str) -> ssl.SSLContext:
    """A client that knows one version and these ciphers."""

    def tweak(context: ssl.SSLContext) -> None:
        context.set_ciphers(ciphers)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version

    return Trust(tweak=tweak).context()


# --- levels -----------------------------------------------------------------------------------------------


async def test_with_tls_off_starttls_is_neither_offered_nor_known(tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, tls="off"), prepare=keeping),
        greeted(port) as client,
    ):
        assert "STARTTLS" not in await client.say("EHLO client.lab.test")
        assert await client.say("STARTTLS") == "500 #5.5.1 command not recognized"
        assert (await client.message()).startswith("250 ok:  Message ")


@pytest.mark.parametrize("encrypted", [False, True])
async def test_with_tls_preferred_mail_is_taken_in_clear_and_encrypted(
    encrypted: bool, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.say("EHLO client.lab.test")).endswith("250 STARTTLS")
        if encrypted:
            await client.secure()
            assert "STARTTLS" not in await client.say("EHLO client.lab.test")
            assert await client.say("STARTTLS") == "503 #5.5.1 TLS is already active"
        assert (await client.message()).startswith("250 ok:  Message ")
        assert len(relay.told.of(InboundTlsSucceeded)) == encrypted


@pytest.mark.parametrize(
    "command",
    [
        "HELO client.lab.test",
        "MAIL FROM:<from@lab.test>",
        "RCPT TO:<to@example.com>",
        "DATA",
        "BDAT 0 LAST",
        "RSET",
        "VRFY to",
        "HELP",
        "AUTH PLAIN",
        "XYZZY",
    ],
)
async def test_with_tls_required_nothing_is_done_before_it(command: str, tmp_path: Path) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, listening(port, tls="required"), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.say("EHLO client.lab.test")).endswith("250 STARTTLS")
        assert await client.say("NOOP") == "250 ok"
        assert not relay.told.of(InboundTlsMissing)
        assert await client.say(command) == NEEDED
        assert await client.say(command) == NEEDED
        (told,) = relay.told.of(InboundTlsMissing)
        assert relay.lines().count(MISSING.format(icid=told.icid)) == 1
        await client.secure()
        assert (await client.message()).startswith("250 ok:  Message ")
        assert await client.say("QUIT") == f"221 {HOSTNAME}"


async def test_with_tls_required_quit_is_heard_in_clear(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port, tls="required")), greeted(port) as client:
        assert await client.say("QUIT") == f"221 {HOSTNAME}"
        assert await client.rest() == b""


def _with_senders(port: int, *senders: str, **listener: Any) -> dict[str, Any]:
    document = listening(port, **listener)
    document["mail_flow_policies"][0]["tls_senders"] = list(senders)
    return document


async def test_senders_of_the_list_are_asked_for_tls_and_others_are_not(tmp_path: Path) -> None:
    port = free_port()
    document = _with_senders(port, "bank.example", "ceo@lab.test")
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test")
        for sender in ("a@bank.example", "A@Bank.Example", "CEO@lab.test"):
            assert await client.say(f"MAIL FROM:<{sender}>") == SENDER_NEEDED
        (told,) = relay.told.of(InboundTlsMissing)
        assert relay.lines().count(MISSING.format(icid=told.icid)) == 1
        assert not relay.told.of(MessageStarted), "no number is spent"
        assert (await client.message(sender="cfo@lab.test")).startswith("250 ok:  Message ")
        await client.secure()
        assert (await client.message(sender="a@bank.example")).startswith("250 ok:  Message ")


async def test_implicit_tls_is_tls_for_the_senders_of_the_list(tmp_path: Path) -> None:
    port = free_port()
    document = _with_senders(port, "all", implicit_tls=True)
    async with (
        running(tmp_path / "home", port, document, prepare=keeping),
        greeted(port, tls=ANY.context()) as client,
    ):
        assert (await client.message()).startswith("250 ok:  Message ")


async def test_implicit_tls_speaks_tls_from_the_first_byte_and_satisfies_the_level(tmp_path: Path) -> None:
    port = free_port()
    document = listening(port, tls="required", implicit_tls=True)
    async with (
        running(tmp_path / "home", port, document, prepare=keeping) as relay,
        greeted(port, tls=ANY.context()) as client,
    ):
        assert "STARTTLS" not in await client.say("EHLO client.lab.test")
        answer = await client.message()
        assert answer.startswith("250 ok:  Message ")
        assert b"with ESMTPS" in await relay.content(int(answer.split()[3]))
        assert relay.lines()[3] == "Info: ICID 1 TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384"


# --- STARTTLS and the session ------------------------------------------------------------------------------


async def test_starttls_begins_the_session_anew(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        assert (await client.say("RCPT TO:<to@example.com>")).startswith("250 ")
        await client.secure()
        assert await client.say("RCPT TO:<to@example.com>") == "503 #5.5.1 EHLO first"
        assert await client.say("EHLO client.lab.test", "DATA") == "503 #5.5.1 MAIL first"
        (aborted,) = relay.told.of(MessageAborted)
        assert f"Info: Message aborted MID {aborted.mid} Receiving aborted by sender" in relay.lines()


async def test_what_is_pipelined_behind_starttls_is_not_used_and_ends_the_connection(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port)) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test")
        client.send(b"STARTTLS\r\nEHLO injected\r\nMAIL FROM:<injected@lab.test>\r\n")
        assert await client.rest() == b"554 #5.5.1 data behind STARTTLS, closing the connection\r\n"
        await relay.told.until(ConnectionClosed)
        assert not any("injected" in line for line in relay.lines())


# --- handshakes that fail ----------------------------------------------------------------------------------


async def _garbage(client: Talker) -> None:
    client.send(b"EHLO still.in.clear\r\n")
    await client.rest()


async def _http(client: Talker) -> None:
    client.send(b"GET / HTTP/1.1\r\nHost: lab.test\r\n\r\n")
    await client.rest()


async def _silent(client: Talker) -> None:
    client.writer.close()


async def _gone(client: Talker) -> None:
    said = ssl.MemoryBIO()
    session = ANY.context().wrap_bio(ssl.MemoryBIO(), said)
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    client.send(said.read())
    assert await client.reader.read(1), "the server has begun its part"
    client.writer.close()


async def _reset(client: Talker) -> None:
    client.reset()


async def _old(client: Talker) -> None:
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        await client.handshake(narrow(ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"))


async def _no_cipher(client: Talker) -> None:
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        await client.handshake(narrow(ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256"))


async def _distrusts(client: Talker) -> None:
    # By hand: asyncio's own client keeps the alert to itself.
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context().wrap_bio(heard, said, server_hostname=HOSTNAME)
    with pytest.raises(ssl.SSLCertVerificationError):
        while True:
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                client.send(said.read())
                heard.write(await client.reader.read(1 << 16))
    client.send(said.read())
    await client.rest()


FAILURES = [
    (_garbage, "('SSL routines:ssl3_get_record:wrong version number')", "clear-text"),
    (_http, "('SSL routines:ssl3_get_record:http request')", "http-request"),
    (_silent, "[Errno 0] Error", "peer-gone-silent"),
    (_gone, "[Errno 0] Error", "peer-gone"),
    (_reset, "[Errno 54] Connection reset by peer", "reset"),
    (
        _old,
        "('SSL routines:tls_early_post_process_client_hello:unsupported protocol')",
        "client-too-old",
    ),
    (
        _no_cipher,
        "('SSL routines:tls_early_post_process_client_hello:no shared cipher')",
        "only-rsa-key-exchange",
    ),
    (
        _distrusts,
        "('SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca')",
        "demonstration-certificate",
    ),
]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
@pytest.mark.parametrize(
    ("fail", "reason", "cause"), FAILURES, ids=[row[0].__name__.lstrip("_") for row in FAILURES]
)
async def test_a_failed_handshake_is_told_with_its_reason_and_a_diagnosis_and_ends_the_connection(
    fail: Callable[[Talker], Awaitable[None]], reason: str, cause: str, implicit: bool, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, listening(port, implicit_tls=implicit)) as relay:
        async with talking(port) as client:
            if not implicit:
                await client.reply()
                assert (await client.say("EHLO client.lab.test", "STARTTLS")) == "220 Go ahead with TLS"
            await fail(client)
        _closed_with(relay, await _failed(relay), reason, cause)


async def _failed(relay: Running) -> InboundTlsFailed:
    await relay.told.until(ConnectionClosed)
    (failed,) = relay.told.of(InboundTlsFailed)
    took = failed.times.handshake if failed.times is not None else None
    assert (took is not None) is (failed.fault.during == "handshake")
    return failed


def _closed_with(relay: Running, failed: InboundTlsFailed, reason: str, cause: str) -> None:
    diagnosis = failed.diagnosis
    assert diagnosis is not None
    assert (diagnosis.cause, bool(diagnosis.remedy)) == (cause, True)
    assert relay.lines()[-3:] == [
        f"Info: ICID {failed.icid} TLS failed: {reason}",
        f"Info: ICID {failed.icid} TLS diagnosis: {diagnosis.sentence()}",
        f"Info: ICID {failed.icid} close",
    ]


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit"])
async def test_a_handshake_that_takes_too_long_is_broken_off(implicit: bool, tmp_path: Path) -> None:
    port, clock = free_port(), ManualClock()
    document = listening(port, implicit_tls=implicit, limits={"handshake_time": 20.0})
    async with running(tmp_path / "home", port, document, clock) as relay, talking(port) as client:
        if not implicit:
            await client.reply()
            await client.say("EHLO client.lab.test", "STARTTLS")
        else:
            await relay.told.until(ConnectionJudged)
        clock.advance(19.9)
        assert not relay.told.of(InboundTlsFailed)
        clock.advance(0.2)
        assert await client.rest() == b""
        _closed_with(relay, await _failed(relay), "[Errno 60] Operation timed out", "timeout-silent")


@pytest.mark.parametrize("implicit", [True, False])
async def test_a_client_that_talks_while_its_name_is_looked_up_loses_nothing(
    implicit: bool, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(port, implicit_tls=implicit, reverse_dns=True)

    async with running(tmp_path / "home", port, document) as relay:
        gate = asyncio.Event()
        known = relay.gateway.worker.resolver.client_name

        async def slow(address: str) -> ClientName:
            await gate.wait()
            return await known(address)

        relay.gateway.worker.resolver.client_name = slow  # type: ignore[method-assign]
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opening: asyncio.Task[None] | None = None
        if implicit:
            opening = asyncio.create_task(writer.start_tls(context))
        else:
            writer.write(b"EHLO early\r\nQUIT\r\n")
        await relay_has_heard(relay)
        gate.set()
        if opening is not None:
            await opening
            writer.write(b"EHLO early\r\nQUIT\r\n")
        said = await reader.read()
        assert said.startswith(b"220 ")
        assert b"\r\n221 " in said
        writer.close()


async def relay_has_heard(relay: Running) -> None:
    """Until the gateway has bytes of a client whose name it does not know yet."""
    while True:
        for port in relay.gateway.listeners._ports.values():
            if any(connection._early for connection in port.gate.connections):
                return
        await asyncio.sleep(0)
