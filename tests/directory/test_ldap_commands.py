"""The commands about directories, at a gateway that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.slapd import ADMINISTRATOR, BASE, PASSWORD, Slapd
from mxseal.commands.catalogue import registry
from mxseal.commands.context import Context
from mxseal.commands.services import Services
from tests.commands.desk import Desk
from tests.directory.estate import asking, debug_lines, profile, said, trust
from tests.relay.harness import Running, greeted, keeping, listening, running


class Office(Desk):
    """A desk at a running gateway."""

    def __init__(self, relay: Running, **options: Any) -> None:
        super().__init__(registry(), **options)
        self._relay = relay
        plain = {name: getattr(self.context, name) for name in Context.__struct_fields__}
        self.context = Context(**plain | {"services": cast("Services", relay.gateway)})

    @property
    def document(self) -> Any:
        return self._relay.gateway.history.candidate(self.context.owner)


async def test_a_directory_is_set_up_by_commands_alone_and_asked(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = listening(port) | {"trust": trust(authority)}
    async with running(tmp_path / "home", port, document, prepare=keeping) as relay:
        office = Office(relay)
        host = f"127.0.0.1:{slapd.tls_port}"
        await office.ok("ldapconfig", "new", "LDAP", host, "--base", BASE, "--queries")
        await office.ok("ldapconfig", "queries", "new", "LDAP", "accept", "--filter", "(mail={a})")
        assert "Connection Status of" in office.text or await office.run("ldapconfig", "test", "LDAP") == "ok"
        assert f"Connection Status of {host}: success." in office.text
        await office.ok("ldaptest", "LDAP.ldapaccept", "anna@example.com")
        for words in (
            f"Connecting to 127.0.0.1 on port {slapd.tls_port}, LDAPS.",
            "TLS connection established: protocol TLSv1.3, cipher TLS_AES_256_GCM_SHA384.",
            "Server certificate: CN=127.0.0.1,O=MXSeal Lab, SHA-256 ",
            "Server certificate: verified, 127.0.0.1 (the subject alternative name) matches",
            "Client certificate: Demo.",
            "Bind anonymous: success.",
            "Query LDAP.ldapaccept (accept): (mail=anna@example.com)",
            "Lookup success, 1 results in ",
            "Result: match.",
            "LDAP query test finished.",
        ):
            assert words in office.text, words
        assert {
            "result": "match",
            "results": 1,
            "query": "LDAP.ldapaccept",
            "kind": "accept",
        } in office.chunks
        await office.ok("ldaptest", "ldap.LDAPACCEPT", "nobody@example.com")
        assert "Result: no match." in office.text
        await office.ok("listenerconfig", "ldapaccept", "IncomingMail", "LDAP.ldapaccept")
        await office.ok("commit", "a directory")
        async with greeted(port) as client:
            await client.say("EHLO client.lab.test", "MAIL FROM:<from@lab.test>")
            assert (await client.say("RCPT TO:<anna@example.com>")).startswith("250 ")
            assert (await client.say("RCPT TO:<nobody@example.com>")).startswith("550 ")
        (state,) = await office.ok("ldapstatus")
        assert state["hosts"][0]["answered"] == 2
        assert (state["cache"]["entries"], state["cache"]["negative"]) == (2, 1)
        assert "LDAP keeps 2 answers of at most 10000, 1 of them 'not found'" in office.text
        assert (await office.ok("ldapflush", "LDAP"))["entries"] == 2
        assert (await office.ok("ldapstatus"))[0]["cache"]["entries"] == 0


async def test_ldaptest_is_told_in_ldap_debug_too(slapd: Slapd, authority: Authority, tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, asking(authority, port, profile(slapd.tls_port))) as relay:
        office = Office(relay)
        await office.ok("ldaptest", "LDAP.ldapaccept", "bert@example.com")
        relay.gateway.logs.flush()
        told = debug_lines(tmp_path / "home")
        assert said(
            told, "LDAP: (accept) Query (|(mail=bert@example.com)", "lookup success", "returned 1 results"
        )
        (row,) = [row for row in await office.ok("logs") if row["log_name"] == "ldap_debug"]
        assert row["log_type"] == "LDAP Debug Logs"


async def test_a_password_is_sealed_and_never_in_the_document(
    slapd: Slapd, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    document = asking(authority, port, profile(slapd.tls_port))
    async with running(tmp_path / "home", port, document) as relay:
        office = Office(relay, files={})
        login = ("--bind", "password", "--bind-name", ADMINISTRATOR, "--password", f"pass:{PASSWORD}")
        await office.ok("ldapconfig", "edit", "LDAP", *login)
        await office.ok("ldaptest", "LDAP.ldapaccept", "bert@example.com")
        assert "Bind by password: success." in office.text
        for words in (("showconfig",), ("ldapconfig", "show", "LDAP"), ("showchanges",)):
            assert PASSWORD not in str(await office.ok(*words)) + office.text
        state = (tmp_path / "home" / "state.db").read_bytes()
        assert PASSWORD.encode() not in state
        assert {"service": "LDAP client", "certificate": "Demo"}.items() <= {
            key: value
            for row in await office.ok("certconfig", "print")
            for key, value in row.items()
            if "LDAP client" in row.values()
        }.items()
        await office.ok("ldapconfig", "edit", "LDAP", "--password", "pass:wrong")
        await office.ok("ldaptest", "LDAP.ldapaccept", "bert@example.com")
        assert 'Error: LDAP authentication failed: <LDAP Error "invalidCredentials" [0x31]>' in office.text
        assert "Result: no answer" in office.text
        assert "The password is empty" in await office.refused(
            "ldapconfig", "edit", "LDAP", "--password", "pass:"
        )


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("ldapconfig", "new", "ldap", "h.test"), "There is an LDAP profile ldap already"),
        (("ldapconfig", "new", "Other", "h.test:99999"), "the port must be 1 to 65535"),
        (("ldapconfig", "edit", "LDAB", "--base", "x"), "There are: LDAP"),
        (("ldapconfig", "edit", "LDAP"), "Say what to change"),
        (("ldapconfig", "delete", "LDAP"), "LDAP is asked by LDAP.ldapaccept"),
        (("ldapconfig", "queries", "delete", "LDAP.ldapaccept"), "is used by listener IncomingMail"),
        (("ldapconfig", "chains", "new", "Both", "LDAP.ldapacept"), "Did you mean LDAP.ldapaccept?"),
        (("ldapconfig", "setup", "--certificate", "none2"), "There is no certificate called none2"),
        (("listenerconfig", "ldapaccept", "IncomingMail", "LDAP.group"), "There is no accept query"),
        (("ldaptest", "LDAP.ldapaccep", "a@example.com"), "Did you mean LDAP.ldapaccept?"),
        (("ldapflush", "LDAP2"), "no LDAP profile called LDAP2"),
    ],
)
async def test_what_can_not_be_is_refused_with_the_remedy(
    words: tuple[str, ...], text: str, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, asking(authority, port, profile(1))) as relay:
        assert text in await Office(relay).refused(*words)


async def test_a_filter_that_is_none_is_told_at_once_and_never_committed(
    authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    async with running(tmp_path / "home", port, asking(authority, port, profile(1))) as relay:
        office = Office(relay)
        for text, why in [
            ("(mail={x})", "{x} is no token here, there are {a}, {u}, {d}, {f}"),
            ("mail={a}", "a filter begins with '('"),
            ("(mail={a}", "it is no LDAP filter"),
            ("(&" * 50 + "(mail={a})" + ")" * 50, "it is no LDAP filter: more than 40 brackets"),
        ]:
            await office.ok("ldapconfig", "queries", "new", "LDAP", "accept", "--filter", text)
            assert f'commit will refuse this: ldap_queries."LDAP.ldapaccept".filter: {why}' in office.text
            assert await office.run("ldaptest", "LDAP.ldapaccept", "a@example.com") == "failed"
            assert await office.run("commit", "broken") == "failed"
