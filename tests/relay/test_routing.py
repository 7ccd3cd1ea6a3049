"""Where mail goes and under which controls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.config.model import Destination, Document
from mxseal.relay.routing import (
    MailExchanger,
    Routing,
    is_null_mx,
    order_exchangers,
    retry_delay,
)


def routing(**parts: object) -> Routing:
    return Routing(Document.model_validate(parts))


@pytest.mark.parametrize(
    ("domain", "hop"),
    [
        ("example.com", "exact"),
        ("sub.example.com", "below"),
        ("a.b.example.com", "below"),
        ("deep.sub.example.com", "deeper"),
        ("example.org", "rest"),
        ("notexample.com", "rest"),
    ],
)
def test_the_nearest_route_wins(domain: str, hop: str) -> None:
    routes = {
        "example.com": ["exact:26"],
        ".example.com": ["below"],
        ".sub.example.com": ["deeper"],
        "all": ["rest", "[::1]:2525"],
    }
    target = routing(smtp_routes=routes).target(domain)
    assert target.hosts[0][0] == hop
    assert routing(smtp_routes=routes).target("x.org").hosts == (("rest", 25), ("::1", 2525))


def test_without_a_route_the_domain_itself_is_the_way() -> None:
    target = routing().target("example.com")
    assert (target.domain, target.hosts, target.tls) == ("example.com", (), "off")


def test_what_an_entry_leaves_out_comes_from_the_default_entry() -> None:
    found = routing(
        destinations=[
            {"domain": "default", "tls": "preferred", "concurrency": 7, "messages_per_connection": 3},
            {"domain": "ministry.example", "tls": "required"},
            {"domain": ".example", "concurrency": 2},
        ]
    )
    ministry, other, rest = (found.target(d) for d in ("ministry.example", "x.example", "example.org"))
    assert (ministry.tls, ministry.concurrency, ministry.messages_per_connection) == ("required", 7, 3)
    assert (other.tls, other.concurrency) == ("preferred", 2)
    assert (rest.tls, rest.concurrency) == ("preferred", 7)


def test_domains_that_share_way_and_controls_share_a_target() -> None:
    found = routing(
        smtp_routes={"all": ["inside:25"]},
        destinations=[Destination(domain="strict.example", tls="required").model_dump()],
    )
    assert found.target("a.example") is not None
    assert found.target("a.example") == found.target("b.example")
    assert found.target("strict.example") != found.target("b.example")


def test_exchangers_are_tried_by_preference_and_equal_ones_by_lot() -> None:
    records = [MailExchanger(20, "c"), MailExchanger(10, "a"), MailExchanger(10, "b"), MailExchanger(10, "a")]
    assert order_exchangers(records, [0.0, 0.9, 0.1, 0.95]) == ["b", "a", "c"]
    assert order_exchangers(records, [0.0, 0.1, 0.9, 0.95]) == ["a", "b", "c"]


def test_a_single_mx_to_the_root_takes_no_mail() -> None:
    assert is_null_mx([MailExchanger(0, "")])
    assert not is_null_mx([MailExchanger(0, ""), MailExchanger(5, "mx.example.com")])
    assert not is_null_mx([])


@given(
    attempts=st.integers(1, 10_000),
    first=st.floats(1, 3600),
    longest=st.floats(1, 86_400),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_waits_grow_to_the_longest_and_stay_near_it(
    attempts: int, first: float, longest: float, chance: float
) -> None:
    delay = retry_delay(attempts, first, longest, chance)
    assert 0 < delay <= longest * 1.1
    assert retry_delay(attempts + 1, first, longest, chance) >= delay * 0.999
