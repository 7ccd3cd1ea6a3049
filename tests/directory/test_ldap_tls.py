"""TLS with directory servers: what is verified, what is refused, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab import ca
from lab.ca import Authority, Issued, Validity
from lab.place import free_port
from lab.slapd import ADMINISTRATOR, PASSWORD, Security, Slapd
from mxseal.directory.questions import Match
from mxseal.events.directory import LdapConnected, LdapConnectionFailed
from tests.conftest import Starter
from tests.directory.circle import circle
from tests.directory.estate import asking, people, profile
from tests.directory.test_ldap_commands import Office
from tests.relay.harness import greeted, keeping
from tests.relay.harness import running as relaying


def served(
    running: Starter, issued: Issued, clients: Issued | None = None, *, anonymous: bool = True
) -> Slapd:
    security = Security(certificate=issued, clients=clients)
    return running(lambda: Slapd(people(), security, anonymous=anonymous))


@pytest.mark.parametrize("security", ["ldaps", "starttls"])
async def test_a_server_s_chain_and_name_are_verified_and_told(
    security: str, slapd: Slapd, authority: Authority
) -> None:
    port = slapd.tls_port if security == "ldaps" else slapd.port
    async with circle(authority, profile(port, security=security)) as made:
        assert await made.ask("anna@example.com")
        (connected,) = made.of(LdapConnected)
        assert connected.verified
        assert connected.verdict.startswith("verified, 127.0.0.1 (the subject alternative name) matches")
        assert connected.facts is not None
        assert connected.facts.protocol == "TLSv1.3"
        assert (connected.times.starttls is not None) == (security == "starttls")
        assert None not in {connected.times.connect, connected.times.handshake}


WRONG: list[tuple[str, Callable[[Authority], Issued], str, str]] = [
    (
        "an authority that is not ours",
        lambda _ours: Authority("Elsewhere").issue("127.0.0.1"),
        "intermediate-missing",
        "verify error: unable to get local issuer certificate",
    ),
    (
        "self-signed",
        lambda _ours: ca.self_signed("127.0.0.1"),
        "certificate-self-signed",
        "self signed certificate",
    ),
    (
        "expired",
        lambda ours: ours.issue("127.0.0.1", validity=Validity(expired=True)),
        "certificate-expired",
        "verify error: certificate has expired",
    ),
    ("another name", lambda ours: ours.issue("ldap.lab.test"), "name-mismatch", "hostname mismatch"),
]


@pytest.mark.parametrize(
    ("issue", "cause", "words"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
)
async def test_a_certificate_that_does_not_verify_ends_it_before_any_password_is_sent(
    issue: Callable[[Authority], Issued], cause: str, words: str, running: Starter, authority: Authority
) -> None:
    slapd = served(running, issue(authority), anonymous=False)
    login = {"bind": "password", "bind_name": ADMINISTRATOR, "password": "x"}
    async with circle(authority, profile(slapd.tls_port, **login), password=PASSWORD) as made:
        fault = await made.fault()
        assert words in fault.text
        (failed,) = made.of(LdapConnectionFailed)
        assert failed.stage == "verification"
        assert failed.diagnosis is not None
        assert failed.diagnosis.cause == cause
        assert failed.diagnosis.remedy
        assert failed.facts is not None
    async with circle(authority, profile(slapd.tls_port, verify=False, **login), password=PASSWORD) as made:
        assert await made.ask("anna@example.com")
        (connected,) = made.of(LdapConnected)
        assert not connected.verified
        assert connected.verdict.startswith("not verified: ")
        assert connected.diagnosis is not None
        assert connected.diagnosis.cause == cause


async def test_a_client_certificate_that_the_server_demands_is_shown_and_logs_in(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority("Clients")
    slapd = served(running, authority.issue("127.0.0.1"), clients.issue("gateway"), anonymous=False)
    ours = clients.issue("gateway", usages=["client"])
    for port, security in ((slapd.tls_port, "ldaps"), (slapd.port, "starttls")):
        wanted = profile(port, bind="external", security=security)
        async with circle(authority, wanted, shown=(ours, tmp_path)) as made:
            assert await made.ask("anna@example.com")
            (connected,) = made.of(LdapConnected)
            assert (connected.certificate, connected.bind) == ("gateway", "external")
            assert connected.bind_seconds is not None
    for bind in ("external", "none"):
        async with circle(authority, profile(slapd.tls_port, bind=bind)) as made:
            assert (await made.fault()).text.startswith("TLS failed: ")
            (failed,) = made.of(LdapConnectionFailed)
            assert failed.diagnosis is not None
            # OpenSSL's servers say so in an alert; GnuTLS's, as Debian's slapd is built with, hang up.
            assert failed.diagnosis.cause in {"client-certificate-required", "peer-closed-later"}
            assert "administrator" in failed.diagnosis.remedy or "certificate" in failed.diagnosis.remedy


async def test_a_wrong_password_is_told_in_the_reference_s_words(
    running: Starter, authority: Authority
) -> None:
    slapd = served(running, authority.issue("127.0.0.1"), anonymous=False)
    login = {"bind": "password", "bind_name": ADMINISTRATOR, "password": "x"}
    async with circle(authority, profile(slapd.tls_port, **login), password="wrong") as made:
        fault = await made.fault()
        assert fault.text == 'LDAP authentication failed: <LDAP Error "invalidCredentials" [0x31]>'
    async with circle(authority, profile(slapd.tls_port, **login), password=PASSWORD) as made:
        assert isinstance(await made.ask("nobody@example.com"), Match)
    async with circle(authority, profile(slapd.tls_port)) as made:
        # A directory that hides itself from strangers says no, which is not "there is nobody".
        assert (await made.fault()).text == "the server answered insufficientAccessRights"


async def test_a_port_that_does_not_speak_tls_is_diagnosed(slapd: Slapd, authority: Authority) -> None:
    async with circle(authority, profile(slapd.port)) as made:
        await made.fault()
        (failed,) = made.of(LdapConnectionFailed)
        assert failed.stage == "handshake"
        assert failed.diagnosis is not None


async def test_a_server_without_tls_refuses_starttls_and_that_is_the_end(
    running: Starter, authority: Authority
) -> None:
    slapd = running(lambda: Slapd(people()))
    async with circle(authority, profile(slapd.port, security="starttls")) as made:
        fault = await made.fault()
        assert fault.text.startswith("TLS failed: the server refuses StartTLS with protocolError")


async def test_a_host_that_nobody_listens_on_and_a_name_that_is_none_are_told_as_the_reference_does(
    authority: Authority,
) -> None:
    async with circle(authority, profile(free_port())) as made:
        text = (await made.fault()).text
        assert text == "Server unreachable: unable to connect ([Errno 61] Connection refused)"
    unknown = profile() | {"hosts": ["nowhere.lab.test"]}
    async with circle(authority, unknown) as made:
        assert (await made.fault()).text == "Server unreachable: DNS lookup failure (no such name)"


async def test_a_certificate_that_is_assigned_to_the_ldap_client_is_the_login_from_the_commit_on(
    running: Starter, authority: Authority, tmp_path: Path
) -> None:
    clients = Authority("Clients")
    slapd = served(running, authority.issue("127.0.0.1"), clients.issue("gateway"), anonymous=False)
    port = free_port()
    document = asking(authority, port, profile(slapd.tls_port, bind="external"))
    async with relaying(tmp_path / "home", port, document, prepare=keeping) as relay, greeted(port) as client:
        await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
        assert (await client.say("RCPT TO:<anna@example.com>")).startswith(
            "451 "
        )  # Demo is none of its clients
        made = relay.certificate("gateway", clients.issue("gateway", usages=["client"]))
        demo = relay.gateway.history.current().document.certificates[0].model_dump()
        await relay.commit(certificates=[demo, made])
        office = Office(relay)
        await office.ok("certconfig", "assign", "gateway", "ldap")
        assert "The LDAP client shows gateway." in office.text
        await office.ok("ldaptest", "LDAP.ldapaccept", "anna@example.com")
        assert "Client certificate: gateway. " in office.text
        assert "Bind by client certificate (EXTERNAL): success." in office.text
        await office.ok("commit", "a login")
        async with greeted(port) as fresh:
            await fresh.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
            assert (await fresh.say("RCPT TO:<anna@example.com>")).startswith("250 ")
        rows = await office.ok("certconfig", "print")
        assert {"service": "LDAP client", "certificate": "gateway"} in [
            {key: row[key] for key in ("service", "certificate")} for row in rows
        ]
        assert "LDAP client" in await office.refused("certconfig", "delete", "gateway")
        assert "leave out --second" in await office.refused(
            "certconfig", "assign", "Demo", "ldap", "--second"
        )
        assert "does not use Demo" in await office.refused("certconfig", "assign", "Demo", "ldap", "--remove")
        await office.ok("certconfig", "assign", "gateway", "ldap", "--remove")
        assert "shows no certificate" in office.text
