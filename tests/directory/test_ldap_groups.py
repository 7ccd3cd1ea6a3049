"""Group queries: whether an address belongs to a group, also through groups in groups; and chains."""

from __future__ import annotations

from typing import Any

import pytest

from lab.ca import Authority
from lab.place import free_port
from lab.slapd import Slapd, group_name
from mxseal.directory.questions import Match
from mxseal.ldap.values import Fault
from tests.directory.circle import circle
from tests.directory.estate import profile


def query(name: str, text: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "kind": "group", "profile": "LDAP", "filter": text} | values


DIRECT = query("direct", "(&(mail={a})(memberOf={g}))")
NESTED = query("nested", "(mail={a})", nested=True)


@pytest.mark.parametrize(
    ("name", "group", "member"),
    [
        ("direct", "Lawyers", True),
        ("direct", "Staff", False),
        ("nested", "Lawyers", True),
        ("nested", "Staff", True),
        ("nested", "Everybody", True),
        ("nested", "Nobody", False),
    ],
)
async def test_membership_is_followed_upwards_where_that_is_wanted(
    name: str, group: str, member: bool, slapd: Slapd, authority: Authority
) -> None:
    # Staff and Lawyers are members of each other: a circle, which ends.
    async with circle(authority, profile(slapd.tls_port), queries=[DIRECT, NESTED]) as made:
        found = await made.ask("anna@example.com", name, group=group_name(group))
        assert isinstance(found, Match)
        assert bool(found) == member
        spelled = group_name(group).upper().replace(",", ", ")
        assert bool(await made.ask("anna@example.com", name, group=spelled)) == member
        assert not await made.ask("bert@example.com", name, group=group_name(group))


async def test_a_group_of_a_stranger_s_making_is_escaped_too(slapd: Slapd, authority: Authority) -> None:
    async with circle(authority, profile(slapd.tls_port), queries=[DIRECT]) as made:
        assert not await made.ask("anna@example.com", "direct", group="*")
        assert not await made.ask("anna@example.com", "direct", group="x)(objectClass=*")


async def test_the_first_query_of_a_chain_that_finds_something_counts(
    slapd: Slapd, authority: Authority
) -> None:
    queries = [
        {"name": name, "kind": "accept", "profile": "LDAP", "filter": text}
        for name, text in (("mail", "(mail={a})"), ("proxy", "(proxyAddresses=smtp:{a})"))
    ]
    chains = [{"name": "both", "kind": "accept", "queries": ["mail", "proxy"]}]
    async with circle(authority, profile(slapd.tls_port), queries=queries, chains=chains) as made:
        for address, by in (
            ("anna@example.com", "mail"),
            ("bert@example.com", "proxy"),
            ("x@example.com", ""),
        ):
            found = await made.ask(address, "both")
            assert isinstance(found, Match)
            assert found.query == by


async def test_a_chain_of_which_one_query_has_no_answer_knows_only_what_was_found(
    slapd: Slapd, authority: Authority
) -> None:
    queries = [
        {"name": name, "kind": "accept", "profile": where, "filter": "(mail={a})"}
        for name, where in (("gone", "Gone"), ("there", "LDAP"))
    ]
    chains = [{"name": "both", "kind": "accept", "queries": ["gone", "there"]}]
    profiles = (profile(slapd.tls_port), profile(free_port()) | {"name": "Gone"})
    async with circle(authority, *profiles, queries=queries, chains=chains) as made:
        assert await made.ask("anna@example.com", "both")
        assert isinstance(await made.ask("nobody@example.com", "both"), Fault)
