"""Recipients that a directory is asked about while the client waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.slapd import Slapd
from mxseal.events.directory import LdapConnected, LdapRecipientUndecided
from mxseal.events.types import RecipientAccepted, RecipientRejected
from tests.directory.estate import asking, debug_lines, profile, said
from tests.relay.harness import Running, greeted, keeping, running


def lines(relay: Running, home: Path) -> list[str]:
    relay.gateway.logs.flush()
    relay.gateway.worker.logs.flush()
    return debug_lines(home)


async def test_recipients_that_the_directory_does_not_know_are_refused_over_ldaps(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(slapd.tls_port))
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        assert await client.say("RCPT TO:<anna@example.com>") == "250 recipient <anna@example.com> ok"
        assert await client.say("RCPT TO:<nobody@example.com>") == "550 #5.1.0 Address rejected."
        assert await client.say("RCPT TO:<bert@example.com>") == "250 recipient <bert@example.com> ok"
        assert await client.say("RCPT TO:<b@elsewhere.test>") == "550 #5.1.0 Address rejected."
        assert [event.by for event in relay.told.of(RecipientRejected)] == ["LDAPACCEPT", "RAT"]
        assert said(relay.lines(), "MID 1 ICID 1 To: <nobody@example.com> Rejected by LDAPACCEPT")
        told = lines(relay, tmp_path / "home")
        place = f"(127.0.0.1:{slapd.tls_port})"
        query = "LDAP: (accept) Query (|(mail=nobody@example.com)(proxyAddresses=smtp:nobody@example.com))"
        assert f"Debug: {query} to server LDAP {place}" in told
        assert said(told, f"Debug: {query} lookup success, {place} returned 0 results timestamp=")
        assert said(told, f"Debug: LDAP: {place} TLS success protocol TLSv1.3 cipher TLS_AES_256_GCM_SHA384")
        assert said(told, f"{place} TLS server certificate CN=127.0.0.1", "verified, 127.0.0.1")
        assert said(told, f"{place} TLS client certificate Demo")
        assert len(relay.told.of(LdapConnected)) == 1


async def test_pipelined_recipients_are_answered_in_their_order(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(slapd.port, security="starttls"))
    async with running(tmp_path / "home", port, document, prepare=keeping), greeted(port) as client:
        await client.say("EHLO client.lab.test")
        names = ["anna", "nobody", "bert", "anna", "no one", "udo"]
        commands = [f"RCPT TO:<{name}@example.com>" for name in names]
        content = "\r\n".join(["MAIL FROM:<from@lab.test>", *commands, "DATA", ""])
        client.send(content.encode())
        codes = [(await client.reply())[:3] for _ in range(len(names) + 2)]
        assert codes == ["250", "250", "550", "250", "250", "501", "250", "354"]


async def test_an_address_can_not_change_the_question(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(slapd.tls_port))
    hostile = [
        "*@example.com",
        "anna*@example.com",
        '"a)(mail=*"@example.com',
        '"x)(|(objectClass=*"@example.com',
        '"\\\\2a"@example.com',
        "{a}@example.com",
    ]
    async with running(tmp_path / "home", port, document) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        for address in hostile:
            assert await client.say(f"RCPT TO:<{address}>") == "550 #5.1.0 Address rejected.", address
        told = lines(relay, tmp_path / "home")
        assert said(told, "(mail=\\2a@example.com)", "to server")
        assert said(told, '(mail="x\\29\\28|\\28objectClass=\\2a"@example.com)', "to server")
        assert said(told, "(mail={a}@example.com)", "to server")


async def test_hosts_that_may_relay_are_not_held_against_the_directory(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(slapd.tls_port))
    document["mail_flow_policies"][0]["action"] = "relay"
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.offer("anybody@elsewhere.test", "nobody@example.com")
        assert len(relay.told.of(RecipientAccepted)) == 2
        assert not lines(relay, tmp_path / "home")


@pytest.mark.parametrize(
    ("unavailable", "reply"), [("defer", "451 #4.4.3 "), ("accept", "250 recipient <anna@example.com> ok")]
)
async def test_without_a_directory_recipients_are_put_off_or_accepted_and_never_refused(
    unavailable: str, reply: str, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(free_port()), unavailable=unavailable)
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        for _ in range(3):
            assert (await client.say("RCPT TO:<anna@example.com>")).startswith(reply)
        undecided = relay.told.of(LdapRecipientUndecided)
        assert [event.taken for event in undecided] == [unavailable == "accept"] * 3
        assert "Connection refused" in undecided[0].reason
        assert "no server of LDAP answers" in undecided[1].reason
        assert said(
            relay.lines(), "Warning: LDAP: server LDAP", "unable to connect ([Errno 61] Connection refused)"
        )
        assert said(
            relay.lines(), "LDAP: MID 1 ICID 1 To: <anna@example.com> query LDAP.ldapaccept has no answer"
        )
