"""Client certificates at a listener, shown by `openssl s_client`: levels, identities as group members."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority, Issued, Usage, Validity, self_signed
from lab.place import free_port
from mxseal.events.types import (
    ConnectionJudged,
    InboundTlsFailed,
    InboundTlsMissing,
    InboundTlsSucceeded,
    MessageReceived,
    MessageStarted,
)
from tests.relay.harness import Running, greeted, keeping, listening, running

MESSAGE = (
    "EHLO client.lab.test\nMAIL FROM:<from@lab.test>\nRCPT TO:<to@{domain}>\nDATA\n"
    "Subject: hello\n\nHello.\n.\nQUIT\n"
)
TAKEN = re.compile(r"^250 ok:  Message (\d+) accepted", re.MULTILINE)
NEEDED = "554 #5.7.0 A client certificate is needed to send mail here"
REFUSED = "554 #5.7.0 Client certificate not accepted: "
UNTRUSTED = "unable to get local issuer certificate"


@cache
def trusted() -> Authority:
    return Authority("Partner Root").intermediate("Partner Issuer")


@cache
def issued(
    name: str = "relay.partner.example",
    *,
    expired: bool = False,
    future: bool = False,
    usage: Usage | None = "client",
) -> Issued:
    validity = Validity(expired=expired, future=future)
    return trusted().issue(name, validity=validity, usages=(usage,) if usage else ())


@cache
def stranger() -> Issued:
    return Authority("Somebody's Root").issue("relay.partner.example")


@cache
def alone() -> Issued:
    return self_signed("relay.partner.example")


def believing(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with the partner's root as the only authority."""
    root = {"name": "Partner", "certificate": trusted().root.pem.decode()}
    return document | {"trust": {"system": False, "custom": True, "authorities": [root]}}


def at(port: int, level: str, **listener: Any) -> dict[str, Any]:
    return believing(listening(port, tls=level, **listener))


def grouped(port: int, *certificates: str, level: str = "preferred", **listener: Any) -> dict[str, Any]:
    """Everybody is taken mail from at a level; clients with one of these certificates may relay."""
    document = at(port, level, **listener)
    document["mail_flow_policies"].append({"name": "TRUSTED", "action": "relay", "tls": "required-verify"})
    group = {"name": "PARTNERS", "certificates": list(certificates), "policy": "TRUSTED"}
    return document | {"sender_groups": [group]}


async def s_client(port: int, folder: Path, shown: Issued | None, *options: str, said: str = "") -> str:
    """What the listener says to openssl, which shows this certificate and then types."""
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet", "-crlf", *options]
    if shown is not None:
        files = shown.write(folder / "client")
        words += ["-cert", str(files.certificate), "-key", str(files.key), "-cert_chain", str(files.chain)]
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(30):
        output, _ = await process.communicate((said or MESSAGE.format(domain="example.com")).encode())
    return output.decode("utf-8", "replace").replace("\r", "")


async def send(
    port: int, folder: Path, shown: Issued | None, *options: str, domain: str = "example.com"
) -> str:
    return await s_client(
        port, folder, shown, "-starttls", "smtp", *options, said=MESSAGE.format(domain=domain)
    )


# --- levels -----------------------------------------------------------------------------------------------

CLIENTS: dict[str, tuple[Callable[[], Issued] | None, str | None]] = {
    "no certificate": (None, None),
    "a valid one": (issued, ""),
    "one without usages": (lambda: issued(usage=None), ""),
    "an expired one": (lambda: issued(expired=True), "certificate has expired"),
    "one of tomorrow": (
        lambda: issued(future=True),
        "certificate is not yet valid or the system clock is incorrect",
    ),
    "one for servers": (lambda: issued(usage="server"), "unsuitable certificate purpose"),
    "one of an unknown authority": (stranger, UNTRUSTED),
    "a self-signed one": (alone, "self-signed certificate"),
}
LEVELS = ["preferred", "required", "preferred-verify", "required-verify"]


@pytest.mark.parametrize("level", LEVELS)
async def test_each_level_takes_the_clients_that_the_reference_says(level: str, tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, at(port, level), prepare=keeping) as relay:
        for who, (make, error) in CLIENTS.items():
            shown = make() if make is not None else None
            refused: str | None = None
            if error and level.endswith("-verify"):
                refused = REFUSED + error
            elif shown is None and level == "required-verify":
                refused = NEEDED
            relay.told.events.clear()
            output = await send(port, tmp_path / who, shown)
            if refused is None:
                assert TAKEN.search(output), (who, output)
                assert relay.told.of(InboundTlsSucceeded), who
                assert not relay.told.of(InboundTlsFailed), who
            else:
                assert refused in output.splitlines(), who
                assert not TAKEN.search(output), who
                assert not relay.told.of(InboundTlsSucceeded), who
                await _told_why(relay, error or "no certificate from client")


async def _told_why(relay: Running, error: str) -> None:
    (failed,) = await relay.told.until(InboundTlsFailed)
    assert failed.fault.verify_error == error
    reason = error.replace("self-signed", "self signed")
    assert f"Info: ICID {failed.icid} TLS failed: verify error: {reason}" in relay.lines()
    assert failed.diagnosis is not None
    assert failed.diagnosis.remedy


@pytest.mark.parametrize(
    ("level", "reply"),
    [
        ("preferred-verify", "250 ok:  Message "),
        ("required-verify", "530 #5.7.0 Must issue a STARTTLS command first"),
    ],
)
async def test_in_clear_the_verifying_levels_are_preferred_and_required(
    level: str, reply: str, tmp_path: Path
) -> None:
    port = free_port()
    async with (
        running(tmp_path / "home", port, at(port, level), prepare=keeping) as relay,
        greeted(port) as client,
    ):
        assert (await client.say("EHLO client.lab.test")).endswith("250 STARTTLS")
        assert (await client.message()).startswith(reply)
        assert len(relay.told.of(InboundTlsMissing)) == (level == "required-verify")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_implicit_tls_tells_the_refusal_in_the_place_of_the_banner(
    version: str, tmp_path: Path
) -> None:
    port = free_port()
    document = at(port, "required-verify", implicit_tls=True)
    async with running(tmp_path / "home", port, document, prepare=keeping):
        for shown, said in ((stranger(), f"{REFUSED}{UNTRUSTED}"), (None, NEEDED), (issued(), "220 ")):
            assert (await s_client(port, tmp_path, shown, version, said="QUIT\n")).startswith(said)
        assert await s_client(port, tmp_path, None, version) == f"{NEEDED}\n" * 2


async def test_whoever_is_turned_away_may_still_say_quit_and_nothing_else(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, at(port, "required-verify")):
        for said, answer in (("QUIT\n", "221 "), ("NOOP\n", NEEDED), ("XYZZY\nQUIT\n", NEEDED)):
            output = await s_client(port, tmp_path, None, "-starttls", "smtp", said=said)
            assert output.splitlines()[-1].startswith(answer), said


async def test_a_certificate_is_asked_for_only_where_the_document_needs_it(tmp_path: Path) -> None:
    async def asked(document: dict[str, Any]) -> bool:
        async with running(tmp_path / f"home{port}", port, document, prepare=keeping) as relay:
            await send(port, tmp_path, issued())
            (told,) = relay.told.of(InboundTlsSucceeded)
            return told.facts.peer_sha256 is not None

    port = free_port()
    assert not await asked(at(port, "required"))
    port = free_port()
    assert await asked(at(port, "preferred-verify"))
    port = free_port()
    assert await asked(grouped(port, "relay.partner.example"))
    port = free_port()
    first = grouped(port, "relay.partner.example")
    first["sender_groups"].insert(0, {"name": "LOCAL", "members": ["127.0.0.1"], "policy": "ACCEPTED"})
    assert not await asked(first), "the client's group comes first, whatever it shows"


async def test_authorities_may_also_come_from_the_file_of_deliveries(tmp_path: Path) -> None:
    port = free_port()
    root = tmp_path / "root.pem"
    root.write_bytes(trusted().root.pem)
    document = listening(port, tls="required-verify") | {"delivery": {"ca_file": str(root)}}
    async with running(tmp_path / "home", port, document, prepare=keeping):
        assert TAKEN.search(await send(port, tmp_path, issued()))
        assert REFUSED in await send(port, tmp_path, stranger())


async def test_a_session_without_a_certificate_is_not_resumed_into_one_that_needs_it(tmp_path: Path) -> None:
    port, kept = free_port(), tmp_path / "session"
    async with running(tmp_path / "home", port, at(port, "preferred"), prepare=keeping) as relay:
        await send(port, tmp_path, None, "-sess_out", str(kept), "-tls1_2")
        assert kept.exists()
        await send(port, tmp_path, None, "-sess_in", str(kept), "-tls1_2")
        assert relay.told.of(InboundTlsSucceeded)[1].facts.resumed
        policies = [{"name": "ACCEPTED", "action": "accept", "tls": "required-verify"}]
        await relay.commit(mail_flow_policies=policies)
        assert NEEDED in await send(port, tmp_path, None, "-sess_in", str(kept), "-tls1_2")


# --- identities -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["fingerprint", "name"])
async def test_a_verified_certificate_may_relay_and_all_that_is_told_says_whose_it_is(
    by: str, tmp_path: Path
) -> None:
    port, shown = free_port(), issued()
    wanted = f"sha256:{shown.sha256}" if by == "fingerprint" else "relay.partner.example"
    async with running(tmp_path / "home", port, grouped(port, wanted), prepare=keeping) as relay:
        mid = TAKEN.search(await send(port, tmp_path, shown, domain="elsewhere.example"))
        assert mid is not None
        first, second = relay.told.of(ConnectionJudged)
        assert (first.sender_group, first.verdict, first.policy) == (None, "ACCEPT", "ACCEPTED")
        assert (second.sender_group, second.verdict, second.policy) == ("PARTNERS", "RELAY", "TRUSTED")
        assert second.match == f"certificate {wanted}"
        (line,) = [line for line in relay.lines() if " RELAY " in line]
        assert line.startswith(f"Info: ICID {second.icid} RELAY SG PARTNERS match certificate {wanted} ")
        identity = f"relay.partner.example sha256:{shown.sha256}"
        assert [told.identity for told in relay.told.of(MessageStarted)] == [identity]
        assert [told.identity for told in relay.told.of(MessageReceived)] == [identity]
        received = re.sub(rb"\r\n +", b" ", await relay.content(int(mid[1])))
        assert (
            b'(Client CN "relay.partner.example", Issuer "Partner Issuer" (verified OK)) by mx.lab.test'
            in received
        )


@pytest.mark.parametrize(
    "make",
    [
        None,
        stranger,
        alone,
        lambda: issued(expired=True),
        lambda: issued(usage="server"),
        lambda: issued("other.partner.example"),
        lambda: issued("*.partner.example"),
    ],
    ids=["none", "stranger", "alone", "expired", "server", "other", "wildcard"],
)
async def test_a_certificate_that_is_not_the_right_one_relays_nothing_and_is_no_reason_to_refuse(
    make: Callable[[], Issued] | None, tmp_path: Path
) -> None:
    port = free_port()
    shown = make() if make else None
    wanted = ["relay.partner.example"]
    if shown is not None and make in (stranger, alone):
        wanted.append(f"sha256:{shown.sha256}")  # named, but not verified
    async with running(tmp_path / "home", port, grouped(port, *wanted), prepare=keeping) as relay:
        output = await send(port, tmp_path, shown, domain="elsewhere.example")
        assert "550 #5.1.0 Address rejected." in output.splitlines()
        assert TAKEN.search(await send(port, tmp_path, shown))
        assert not relay.told.of(InboundTlsFailed)
        assert {told.policy for told in relay.told.of(ConnectionJudged)} == {"ACCEPTED"}


async def test_what_received_says_of_a_certificate_that_was_not_verified(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, grouped(port, "a.example"), prepare=keeping) as relay:
        mid = TAKEN.search(await send(port, tmp_path, stranger()))
        assert mid is not None
        received = re.sub(rb"\r\n +", b" ", await relay.content(int(mid[1])))
        told = f'(Client CN "relay.partner.example", Issuer "Somebody\'s Root" (not verified: {UNTRUSTED}))'
        assert told.encode() in received
        assert [told.identity for told in relay.told.of(MessageStarted)] == [None]


async def test_what_a_certificate_was_held_against_is_told_with_why_it_is_not_verified(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, grouped(port, "a.example")) as relay:
        assert TAKEN.search(await send(port, tmp_path, stranger()))
        assert TAKEN.search(await send(port, tmp_path, issued()))
        assert TAKEN.search(await send(port, tmp_path, None))
        unknown, verified, bare = relay.told.of(InboundTlsSucceeded)
        assert unknown.check is not None
        assert unknown.check.trust == ("custom list",)
        assert unknown.check.chain[0].sha256 == stranger().sha256
        assert unknown.diagnosis is not None
        assert "Trusted here: custom list." in unknown.diagnosis.evidence
        line = f"Info: ICID {unknown.icid} TLS diagnosis: {unknown.diagnosis.sentence()}"
        assert line in relay.lines()
        assert verified.check is not None
        assert (verified.check.trust, verified.diagnosis) == (("custom list",), None)
        assert verified.check.revocation == "not-checked"
        assert bare.check is not None
        assert (bare.check.chain, bare.diagnosis) == ((), None)


async def test_who_is_turned_away_is_told_of_with_the_lists_that_its_certificate_is_not_on(
    tmp_path: Path,
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, at(port, "required-verify")) as relay:
        await send(port, tmp_path, stranger())
        (failed,) = await relay.told.until(InboundTlsFailed)
        assert failed.check is not None
        assert failed.check.trust == ("custom list",)
        assert failed.check.chain[0].sha256 == stranger().sha256
        assert failed.diagnosis is not None
        assert "Trusted here: custom list." in failed.diagnosis.evidence


async def test_a_certificate_may_also_be_shut_out(tmp_path: Path) -> None:
    port = free_port()
    document = grouped(port, "relay.partner.example")
    document["mail_flow_policies"][1]["action"] = "refuse"
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay:
        assert not TAKEN.search(await send(port, tmp_path, issued()))
        assert [told.verdict for told in relay.told.of(ConnectionJudged)] == ["ACCEPT", "TCPREFUSE"]
        assert TAKEN.search(await send(port, tmp_path, None))


async def test_the_limits_of_the_certificates_group_hold_from_then_on(tmp_path: Path) -> None:
    port = free_port()
    document = grouped(port, "relay.partner.example")
    document["mail_flow_policies"][1]["limits"] = {"message_size": 2048}
    async with running(tmp_path / "home", port, document, prepare=keeping):
        output = await send(port, tmp_path, issued())
        assert "250-SIZE 2048" in output.splitlines()
        assert "250-SIZE 2048" not in await send(port, tmp_path, None)


# --- bounds -----------------------------------------------------------------------------------------------


def chained(length: int) -> Issued:
    """A valid certificate that many authorities below the root."""
    authority = trusted()
    for number in range(length):
        authority = authority.intermediate(f"Issuer {number}")
    return authority.issue("relay.partner.example", usages=("client",))


@pytest.mark.parametrize(
    ("length", "error"),
    [(7, None), (8, "certificate chain too long"), (60, "certificate chain too long")],
)
async def test_a_long_chain_is_followed_for_a_few_steps_only(
    length: int, error: str | None, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, at(port, "required-verify"), prepare=keeping) as relay:
        output = await send(port, tmp_path, chained(length))
        if error is None:
            assert TAKEN.search(output)
        else:
            assert f"{REFUSED}{error}" in output.splitlines()
            await _told_why(relay, error)


async def test_a_chain_of_more_than_a_hundred_kilobytes_ends_the_handshake(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, at(port, "required-verify"), prepare=keeping) as relay:
        shown = issued()
        huge = Issued(certificate=shown.certificate, key=shown.key, chain=shown.chain * 150, root=shown.root)
        assert "554" not in await send(port, tmp_path, huge)
        (failed,) = await relay.told.until(InboundTlsFailed)
        assert failed.fault.reason == "excessive message size"
        assert TAKEN.search(await send(port, tmp_path, shown)), "the next client is served"
