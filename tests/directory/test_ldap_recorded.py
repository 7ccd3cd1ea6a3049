"""Connections to directory servers as recordings: opened by tshark, without the passwords of binds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.slapd import ADMINISTRATOR, PASSWORD, Slapd
from lab.tshark import fields, tshark
from mxseal.capture.masking_ldap import LdapMasking
from tests.directory.estate import asking, profile
from tests.directory.test_ldap_commands import Office
from tests.relay.harness import keeping, running


@pytest.mark.parametrize("security", ["starttls", "ldaps"])
@pytest.mark.parametrize("content", [False, True])
async def test_a_login_and_a_question_are_read_and_the_password_only_if_wanted(
    slapd: Slapd, authority: Authority, tmp_path: Path, security: str, content: bool
) -> None:
    port = slapd.tls_port if security == "ldaps" else slapd.port
    listener = free_port()
    document = asking(authority, listener, profile(port, security=security))
    async with running(tmp_path / "home", listener, document, prepare=keeping) as relay:
        office = Office(relay, files={})
        login = ("--bind", "password", "--bind-name", ADMINISTRATOR, "--password", f"pass:{PASSWORD}")
        await office.ok("ldapconfig", "edit", "LDAP", *login)
        captures = relay.gateway.captures
        captures.arm("joe", 60, ldap="LDAP", content=content)
        await office.ok("ldaptest", "LDAP.ldapaccept", "anna@example.com")
        async with asyncio.timeout(20):
            while not captures.kept():
                await asyncio.sleep(0.005)
        (about,) = captures.kept()
        assert about.number == "LDAP LDAP"
        file = tmp_path / "x.pcapng"
        file.write_bytes(captures.store.read(about.name))
        first = "tls" if security == "ldaps" else "ldap"
        told = tshark(file, "-V", "-d", f"tcp.port=={port},{first}", "-d", f"tls.port=={port},ldap")
        assert ("1.3.6.1.4.1.1466.20037" in told) == (security == "starttls")
        assert "anna@example.com" in told
        assert ADMINISTRATOR in told
        assert (PASSWORD in told) == content
        assert fields(file, "tls.handshake.certificate")


def test_of_a_bind_only_the_secret_is_left_out_however_it_is_cut() -> None:
    request = b"\x02\x01\x03\x04\x05cn=me\x80\x07hunter2"
    bind = b"\x02\x01\x01\x60" + bytes((len(request),)) + request
    bind = b"\x30" + bytes((len(bind),)) + bind
    unbind = bytes.fromhex("30050201024200")
    for size in (1, 3, 100):
        masking = LdapMasking()
        talk = bind + unbind
        shown = b"".join(masking.client(talk[at : at + size]) for at in range(0, len(talk), size))
        assert b"hunter2" not in shown
        assert len(shown) == len(talk)
        assert b"cn=me" in shown
        assert shown.endswith(unbind)


@pytest.mark.parametrize(
    "data", [b"GET / secret\r\n", b"\x30\x84\xff\xff\xff\xffsecret", b"\x30\x08\x60\x06secret"]
)
def test_what_is_no_ldap_is_not_shown(data: bytes) -> None:
    masking = LdapMasking()
    assert b"secret" not in masking.client(data) + masking.client(b"secret") + masking.ended()
