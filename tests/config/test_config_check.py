"""The rules between keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from mxseal.config.check import advice, check
from mxseal.config.model import (
    Delivery,
    Destination,
    Document,
    Listener,
    ListenerLimits,
    MailFlowPolicy,
    PolicyLimits,
    RecipientAccess,
    SenderGroup,
)
from tests.config.documents import document, documents


def _paths(**changes: Any) -> list[str]:
    return [problem.path for problem in check(document(**changes))]


def test_the_first_document_of_a_home_has_no_problems() -> None:
    assert check(document()) == []


@given(documents)
def test_any_document_is_judged_without_an_exception_and_each_problem_has_a_path(any_one: Document) -> None:
    assert all(problem.path and problem.text for problem in [*check(any_one), *advice(any_one)])


def test_names_that_lead_nowhere_are_told_all_at_once() -> None:
    listener = Listener(name="In", certificate="A", second_certificate="B", sni_certificates=("C",))
    group = SenderGroup(name="G", policy="P", listeners=("L",))
    assert _paths(
        listeners=(listener,), sender_groups=(group,), default_policy="Q", delivery=Delivery(certificate="D")
    ) == [
        "listeners.In.certificate",
        "listeners.In.second_certificate",
        "listeners.In.sni_certificates",
        "delivery.certificate",
        "default_policy",
        "sender_groups.G.policy",
        "sender_groups.G.listeners",
    ]


def test_a_dangling_name_is_told_with_the_names_that_there_are() -> None:
    (problem,) = check(document(default_policy="ACEPTED"))
    assert problem.remedy == "Known are: ACCEPTED, BLOCKED, RELAYED"


def test_names_are_used_once_whatever_their_case() -> None:
    policies = (MailFlowPolicy(name="A"), MailFlowPolicy(name="a"), MailFlowPolicy(name="BLOCKED"))
    assert "mail_flow_policies.a" in _paths(mail_flow_policies=policies)
    twice = (Destination(domain="default"), Destination(domain="DEFAULT"))
    assert _paths(destinations=twice) == ["destinations.default"]


@pytest.mark.parametrize(
    ("one", "other", "taken"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("0.0.0.0", "::1", False),
        ("::", "2001:db8::1", True),
    ],
)
def test_two_listeners_never_share_an_address_and_port(one: str, other: str, taken: bool) -> None:
    pair = (Listener(name="A", address=one, port=25), Listener(name="B", address=other, port=25))
    assert (_paths(listeners=pair) == ["listeners.B.port"]) is taken


def test_the_second_certificate_is_another_one() -> None:
    listener = Listener(name="A", second_certificate="Demo")
    assert _paths(listeners=(listener,)) == ["listeners.A.second_certificate"]


@pytest.mark.parametrize("member", ["ALL", "0.0.0.0/0", "128.0.0.0/1", "::/0", "com", ".com"])
def test_relaying_for_strangers_is_refused_as_an_open_relay(member: str) -> None:
    group = SenderGroup(name="RELAYLIST", members=("192.0.2.1", member), policy="RELAYED")
    (problem,) = check(document(sender_groups=(group,)))
    assert problem.path == "sender_groups.RELAYLIST.members"
    assert "would relay for anyone" in problem.text


@pytest.mark.parametrize(
    "member", ["192.0.2.1", "10.0.0.0/8", "2001:db8::/32", ".example.com", "mx.example.com"]
)
def test_relaying_for_known_hosts_is_allowed(member: str) -> None:
    group = SenderGroup(name="RELAYLIST", members=(member,), policy="RELAYED")
    assert check(document(sender_groups=(group,))) == []


@pytest.mark.parametrize(
    ("kind", "address", "refused"),
    [
        ("public", "127.0.0.1", True),
        ("private", "0.0.0.0", True),
        ("private", "198.51.100.7", False),
        ("private", "10.1.1.1", False),
        ("private", "8.8.8.8", True),
    ],
)
def test_a_default_policy_that_relays_needs_listeners_that_strangers_cannot_reach(
    kind: Any, address: str, refused: bool
) -> None:
    listener = Listener(name="A", type=kind, address=address)
    assert (_paths(listeners=(listener,), default_policy="RELAYED") == ["default_policy"]) is refused


def test_bounds_that_contradict_each_other_are_told() -> None:
    limits = ListenerLimits(
        connections=10, header_size=2048, message_size=1024, handshake_time=10, idle_time=9, connection_time=5
    )
    assert _paths(listeners=(Listener(name="A", limits=limits),)) == [
        "listeners.A.limits.connections_per_host",
        "listeners.A.limits.header_size",
        "listeners.A.limits.handshake_time",
        "listeners.A.limits.idle_time",
    ]
    policy = MailFlowPolicy(name="ACCEPTED", limits=PolicyLimits(recipients_per_message=5000))
    assert "mail_flow_policies.ACCEPTED.limits.recipients_per_message" in _paths(mail_flow_policies=(policy,))


def test_retries_grow_and_end_before_the_message_does() -> None:
    delivery = Delivery(first_retry=7200, longest_retry=3600, expiry=1800, delay_warning=1800)
    assert _paths(delivery=delivery) == [
        "delivery.first_retry", "delivery.longest_retry", "delivery.delay_warning",
    ]  # fmt: skip


def test_a_route_has_a_next_hop_which_is_not_the_gateway_itself() -> None:
    routes = {"a.example": (), "b.example": ("127.0.0.1:2525",), "c.example": ("127.0.0.1:2526",)}
    assert _paths(smtp_routes=routes) == ['smtp_routes."a.example"', 'smtp_routes."b.example"']


def test_what_is_probably_not_meant_is_advice_and_no_problem() -> None:
    groups = (
        SenderGroup(name="EVERYONE", members=("ALL",), policy="ACCEPTED"),
        SenderGroup(name="LATE", members=("192.0.2.1",), policy="BLOCKED"),
    )
    odd = document(hostname="mx", sender_groups=groups)
    assert check(odd) == []
    assert [problem.path for problem in advice(odd)] == [
        "recipient_access.domains", "sender_groups.LATE", "hostname",
    ]  # fmt: skip
    assert advice(document(recipient_access=RecipientAccess(domains=("example.com",)))) == []
