"""Servers that are slow and not silent; and a directory like Active Directory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.sink import Sink
from lab.slapd import BASE, Security, Slapd, active_directory, group_name, group_of, person, slow
from mxseal.directory.questions import Match
from mxseal.events.directory import LdapAnswered, LdapConnected, LdapFailed, LdapMessageRequeued
from mxseal.events.types import MessageQueued, RecipientsDelivered
from mxseal.ldap.values import Fault
from tests.conftest import Starter
from tests.directory.circle import circle
from tests.directory.estate import FILTER, asking, people, profile
from tests.relay.harness import greeted, route
from tests.relay.harness import running as relaying


@pytest.fixture
def sluggish(running: Starter, authority: Authority) -> Slapd:
    """Each answer takes a second."""
    security = Security(certificate=authority.issue("127.0.0.1"))
    return running(lambda: Slapd(people(), security, overlays=slow(1)))


async def test_a_slow_server_is_waited_for_and_its_questions_go_side_by_side(
    sluggish: Slapd, authority: Authority
) -> None:
    async with circle(authority, profile(sluggish.tls_port, connections=2)) as made:
        names = ["anna@example.com", *(f"nobody{n}@example.com" for n in range(7))]
        found = await asyncio.gather(*(made.ask(name) for name in names))
        assert [bool(each) for each in found] == [True, *[False] * 7]
        assert not any(isinstance(each, Fault) for each in found)
        assert not made.of(LdapFailed)
        assert len(made.of(LdapConnected)) <= 2
        (state,) = made.made.states()
        assert (state.hosts[0].timeouts, state.hosts[0].resting) == (0, 0.0)


async def test_a_server_that_is_slower_than_its_time_is_left_for_the_next(
    sluggish: Slapd, slapd: Slapd, authority: Authority
) -> None:
    times = {"search_time": 0.4, "connect_time": 10.0}
    async with circle(authority, profile(sluggish.tls_port, slapd.tls_port, **times)) as made:
        found = await asyncio.gather(*(made.ask(f"nobody{n}@example.com") for n in range(20)))
        assert found == [Match()] * 20
        assert {event.reason for event in made.of(LdapFailed)} == {"no answer within 0.4 s"}
        made.told.clear()
        assert await made.ask("anna@example.com")
        assert not made.of(LdapFailed)
        assert made.made.states()[0].hosts[0].resting > 0


async def test_mail_that_a_slow_server_is_asked_about_waits_for_it_behind_the_acknowledgement(
    sluggish: Slapd, authority: Authority, sink: Sink, tmp_path: Path
) -> None:
    port = free_port()
    made = asking(authority, port, profile(sluggish.tls_port), at="work-queue") | route(sink.port)
    async with relaying(tmp_path / "home", port, made) as relay, greeted(port) as client:
        for _ in range(3):
            assert (await client.message("anna@example.com")).startswith("250 ")
        await relay.told.until(RecipientsDelivered, 3)
        order = [type(event) for event in relay.told.events]
        assert order.index(MessageQueued) < order.index(LdapAnswered) < order.index(RecipientsDelivered)
        assert not relay.told.of(LdapMessageRequeued)
    assert len(sink.messages()) == 3


async def test_an_active_directory_s_addresses_and_nested_groups_are_found(
    running: Starter, authority: Authority
) -> None:
    addresses = ("SMTP:Anna.Jansen@example.com", "smtp:anna@example.com", "x500:/o=Lab/cn=anna")
    entries = [
        person("anna", *(f"proxyAddresses: {each}" for each in addresses), "sAMAccountName: anna"),
        person("bert", "proxyAddresses: SMTP:bert@example.com"),
        group_of("Lawyers", f"cn=anna,ou=people,{BASE}"),
        group_of("Legal", group_name("Lawyers")),
        group_of("Everybody", group_name("Legal"), f"cn=bert,ou=people,{BASE}"),
    ]
    security = Security(certificate=authority.issue("127.0.0.1"))
    directory = running(lambda: Slapd(entries, security, overlays=active_directory()))
    queries: list[dict[str, Any]] = [
        {"name": "accept", "kind": "accept", "profile": "LDAP", "filter": FILTER},
        {
            "name": "group",
            "kind": "group",
            "profile": "LDAP",
            "filter": "(&(proxyAddresses=smtp:{a})(memberOf={g}))",
        },
        {
            "name": "upwards",
            "kind": "group",
            "profile": "LDAP",
            "filter": "(proxyAddresses=smtp:{a})",
            "nested": True,
        },
    ]
    wanted = profile(directory.tls_port, type="active-directory")
    async with circle(authority, wanted, queries=queries) as made:
        for address in ("anna.jansen@example.com", "ANNA@example.com", "bert@example.com"):
            assert await made.ask(address, "accept"), address
        assert not await made.ask("o=Lab@example.com", "accept")
        for group, members in (("Lawyers", "anna"), ("Legal", "anna"), ("Everybody", "anna bert")):
            for name in ("anna", "bert"):
                for query in ("group", "upwards"):
                    found = await made.ask(f"{name}@example.com", query, group=group_name(group))
                    assert isinstance(found, Match)
                    assert bool(found) == (name in members), (query, name, group)
