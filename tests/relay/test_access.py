"""Sender groups and recipient access: the first match wins, nobody relays by accident."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mxseal.config.model import Document
from mxseal.relay.access import HostAccessTable, RecipientAccessTable

POLICIES = [
    {"name": "ACCEPTED", "action": "accept"},
    {"name": "RELAYED", "action": "relay"},
    {"name": "BLOCKED", "action": "reject"},
    {"name": "REFUSED", "action": "refuse"},
]


def table(*groups: Mapping[str, object], listener: str = "IncomingMail") -> HostAccessTable:
    document = Document.model_validate({"mail_flow_policies": POLICIES, "sender_groups": list(groups)})
    return HostAccessTable(document, listener)


@pytest.mark.parametrize(
    ("address", "name", "group", "match", "verdict"),
    [
        ("192.0.2.9", None, "FIRST", "192.0.2.9", "REJECT"),
        ("192.0.2.10", None, "NET", "192.0.2.0/24", "RELAY"),
        ("2001:db8::5", None, "NET", "2001:db8::/32", "RELAY"),
        ("198.51.100.1", "mx.example.com", "NAMES", ".example.com", "TCPREFUSE"),
        ("198.51.100.1", "example.com", None, "ALL", "ACCEPT"),
        ("198.51.100.1", "notexample.com", None, "ALL", "ACCEPT"),
        ("198.51.100.1", None, None, "ALL", "ACCEPT"),
    ],
)
def test_the_first_member_that_matches_decides(
    address: str, name: str | None, group: str | None, match: str, verdict: str
) -> None:
    found = table(
        {"name": "FIRST", "members": ["192.0.2.9"], "policy": "BLOCKED"},
        {"name": "NET", "members": ["192.0.2.0/24", "2001:db8::/32"], "policy": "RELAYED"},
        {"name": "NAMES", "members": [".example.com"], "policy": "REFUSED"},
    ).judge(address, name)
    assert (found.group, found.match, found.verdict) == (group, match, verdict)


def test_a_group_of_another_listener_does_not_count() -> None:
    group = {"name": "IN", "members": ["ALL"], "policy": "BLOCKED", "listeners": ["Other"]}
    assert table(group).judge("192.0.2.1", None).verdict == "ACCEPT"
    assert table(group, listener="Other").judge("192.0.2.1", None).verdict == "REJECT"


@pytest.mark.parametrize(
    ("domain", "accepted"),
    [
        ("example.com", True),
        ("sub.example.com", False),
        ("a.example.net", True),
        ("example.net", False),
        ("", False),
        ("xexample.com", False),
    ],
)
def test_recipient_domains_are_matched_whole_or_below_a_dot(domain: str, accepted: bool) -> None:
    assert RecipientAccessTable(["example.com", ".example.net"]).accepts(domain) is accepted


def test_without_domains_nothing_is_accepted_and_with_all_everything() -> None:
    assert not RecipientAccessTable([]).accepts("example.com")
    assert RecipientAccessTable(["all"]).accepts("example.com")
