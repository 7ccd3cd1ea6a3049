"""Where mail goes and under which controls."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxseal.config.model import DeliveryLevel, Destination, Document
from mxseal.relay.routing import (
    MailExchanger,
    Routing,
    is_null_mx,
    order_exchangers,
    own_level,
    retry_delay,
)
from mxseal.storage.ports import Envelope
from mxseal.tls.policy import LEVELS


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


OVERRIDES = [
    {"sender": "board@example.com", "tls": "required-verify"},
    {"sender": ".secret.example", "tls": "required-verify-hosted"},
    {"recipient": "press@bank.example", "tls": "off"},
    {"recipient": "bank.example", "tls": "required"},
]
BANK = {"domain": "bank.example", "tls": "preferred-verify"}


@pytest.mark.parametrize(
    ("sender", "recipient", "own", "level", "origin"),
    [
        ("a@example.com", "b@other.example", None, "preferred", "default"),
        ("a@example.com", "b@leaf.sub.example", None, "off", "destination .sub.example"),
        ("a@example.com", "b@bare.example", None, "preferred", "default"),
        ("board@example.com", "b@other.example", None, "required-verify",
         "sender override board@example.com"),
        ("BOARD@Example.COM", "b@bank.example", None, "required-verify", "sender override board@example.com"),
        ("a@x.secret.example", "b@bank.example", None, "required-verify-hosted",
         "sender override .secret.example"),
        ("a@secret.example", "b@other.example", None, "preferred", "default"),
        ("a@example.com", "Press@Bank.Example", None, "off", "recipient override press@bank.example"),
        ("a@example.com", "b@bank.example", None, "required", "recipient override bank.example"),
        ("", "b@bank.example", None, "required", "recipient override bank.example"),
        ("", "b@other.example", None, "preferred", "default"),
        ("board@example.com", "b@bank.example", "off", "off", "message"),
        ("a@example.com", "b@other.example", "required-verify", "required-verify", "message"),
    ],
)  # fmt: skip
def test_a_messages_own_level_outranks_overrides_and_they_outrank_the_destination(
    *, sender: str, recipient: str, own: DeliveryLevel | None, level: str, origin: str
) -> None:
    found = routing(
        destinations=[
            {"domain": "default", "tls": "preferred"},
            {"domain": ".sub.example", "tls": "off"},
            {"domain": "bare.example"},
            BANK,
        ],
        tls_overrides=OVERRIDES,
    )
    target = found.target_of(recipient, sender, own)
    assert (target.tls, target.level_from) == (level, origin)
    assert target.outranked == (origin.startswith(("message", "sender", "recipient")))


def test_an_override_leaves_the_other_controls_of_the_destination_as_they_are() -> None:
    authority = {"name": "lab", "certificate": "PEM"}
    controls = {"trust_anchors": ["lab"], "pins": ["ab" * 32], "alert": True, "concurrency": 3}
    found = routing(
        destinations=[BANK | controls], tls_overrides=OVERRIDES, trust={"authorities": [authority]}
    )
    for target in (found.target("bank.example"), found.target_of("b@bank.example")):
        assert target.trust_anchors == (("lab", "PEM"),)
        assert (target.pins, target.alert, target.concurrency) == (("ab" * 32,), True, 3)


@pytest.mark.parametrize("level", LEVELS)
def test_domains_share_connections_unless_the_level_compares_names(level: DeliveryLevel) -> None:
    found = routing(smtp_routes={"all": ["inside:25"]}, destinations=[{"domain": "default", "tls": level}])
    one, other = found.target("a.example"), found.target("b.example")
    assert (one == other) == ("verify" not in level)
    assert one.email_domain == ("a.example" if "verify" in level else "")


def test_alerts_are_asked_for_by_the_destination_else_by_the_document() -> None:
    entries = [{"domain": "loud.example", "alert": True}, {"domain": "quiet.example", "alert": False}]
    for everywhere in (True, False):
        found = routing(destinations=entries, delivery={"alert_on_tls_failure": everywhere})
        assert found.target("loud.example").alert
        assert not found.target("quiet.example").alert
        assert found.target("other.example").alert is everywhere


def test_a_level_that_no_release_knows_is_no_level_of_a_message() -> None:
    envelope = Envelope(mid=1, sender="", size=1, queued_at=0.0, tls_level="quantum")
    assert own_level(envelope) is None
    assert own_level(msgspec.structs.replace(envelope, tls_level="required")) == "required"


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
