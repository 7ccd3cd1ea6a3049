"""Sender groups and recipient access: the first match wins, nobody relays by accident."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from mxseal.config.model import Document
from mxseal.relay.access import HostAccessTable, Judgement, RecipientAccessTable, SenderTable
from mxseal.tls.client_identity import ClientIdentity

POLICIES = [
    {"name": "ACCEPTED", "action": "accept"},
    {"name": "RELAYED", "action": "relay"},
    {"name": "BLOCKED", "action": "reject"},
    {"name": "REFUSED", "action": "refuse"},
    {"name": "TRUSTED", "action": "relay", "tls": "required-verify"},
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


# --- certificates -----------------------------------------------------------------------------------------

PRINT = "ab" * 32
PARTNER = ClientIdentity(sha256=PRINT, dns_names=("relay.partner.example",))
OTHER = ClientIdentity(sha256="cd" * 32, dns_names=("other.example",))
BY_NAME = {"name": "NAMED", "certificates": ["relay.partner.example"], "policy": "TRUSTED"}
BY_PRINT = {"name": "PRINTED", "certificates": [f"sha256:{PRINT}"], "policy": "TRUSTED"}
HOST = {"name": "HOST", "members": ["192.0.2.9"], "policy": "BLOCKED"}


def judged(*groups: Mapping[str, object], identity: ClientIdentity | None = None) -> Judgement:
    return table(*groups).judge("192.0.2.9", None, identity)


@pytest.mark.parametrize("group", [BY_NAME, BY_PRINT], ids=["name", "fingerprint"])
def test_a_certificate_belongs_to_the_group_that_names_it(group: dict[str, object]) -> None:
    found = judged(group, identity=PARTNER)
    assert (found.group, found.verdict) == (group["name"], "RELAY")
    assert found.match.startswith("certificate ")
    assert judged(group).group is None
    assert judged(group, identity=OTHER).group is None


def test_hosts_and_certificates_are_matched_in_the_order_of_the_groups() -> None:
    assert judged(HOST, BY_NAME, identity=PARTNER).group == "HOST"
    assert judged(BY_NAME, HOST, identity=PARTNER).group == "NAMED"
    assert judged(BY_NAME, HOST, identity=OTHER).group == "HOST"
    assert judged(BY_NAME, HOST).group == "HOST"
    both = {**BY_NAME, "members": ["192.0.2.9"]}
    assert judged(both).match == "192.0.2.9"


def test_a_judgement_that_a_certificate_does_not_change_is_the_same_object() -> None:
    access = table(BY_NAME, HOST)
    assert access.judge("192.0.2.9", None, OTHER) is access.judge("192.0.2.9", None)
    assert access.judge("192.0.2.1", None, OTHER) is access.judge("192.0.2.1", None)


@pytest.mark.parametrize(
    ("groups", "asks"),
    [
        ([], False),
        ([HOST], False),
        ([BY_NAME], True),
        ([BY_NAME, HOST], True),
        ([HOST, BY_NAME], False),
        ([{**HOST, "policy": "TRUSTED"}], True),
    ],
    ids=["nobody", "host", "certificate", "certificate-host", "host-certificate", "verify"],
)
def test_a_certificate_is_asked_for_where_it_can_change_something(
    groups: list[dict[str, object]], asks: bool
) -> None:
    assert judged(*groups).asks_certificate is asks


# --- senders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "sender", "held"),
    [
        ("bank.example", "a@bank.example", True),
        ("bank.example", "a@BANK.example", True),
        ("bank.example", "a@sub.bank.example", False),
        ("bank.example", "a@notbank.example", False),
        (".bank.example", "a@sub.bank.example", True),
        (".bank.example", "a@bank.example", False),
        ("Ceo@bank.example", "cEO@Bank.example", True),
        ("ceo@bank.example", "cfo@bank.example", False),
        ('"a b"@bank.example', '"a b"@bank.example', True),
        ("xn--bcher-kva.example", "a@b\u00fccher.example", True),
        ("bank.example", "a@\u0000", False),
        ("all", "anybody@anywhere.example", True),
        ("all", "", True),
        ("bank.example", "", False),
    ],
)
def test_senders_that_need_tls_are_addresses_domains_or_all(pattern: str, sender: str, held: bool) -> None:
    assert SenderTable([pattern]).holds(sender) is held


def test_a_policy_without_such_senders_has_no_table() -> None:
    assert judged(HOST).tls_senders is None
