"""The rules for delivery levels: overrides, anchors, pins, and somebody to believe."""

from __future__ import annotations

from typing import Any

import pytest

from mxseal.config.check import advice, check
from mxseal.config.model import Document
from tests.config.documents import document

LAB = {"name": "lab", "certificate": "PEM"}
NOBODY = {"system": False, "custom": False, "authorities": [LAB]}


def changed(**changes: Any) -> Document:
    return Document.model_validate(document().model_dump() | changes)


def paths(**changes: Any) -> list[str]:
    return [problem.path for problem in check(changed(**changes))]


def test_an_override_is_for_a_sender_or_for_a_recipient() -> None:
    good = [{"sender": "a@example.com", "tls": "off"}, {"recipient": "all", "tls": "required-verify"}]
    assert paths(tls_overrides=good) == []
    both, neither = {"sender": "a.example", "recipient": "b.example", "tls": "off"}, {"tls": "required"}
    assert paths(tls_overrides=[both, *good, neither]) == ["tls_overrides[0]", "tls_overrides[3]"]


def test_trust_anchors_are_names_of_custom_authorities() -> None:
    entry = {"domain": "bank.example", "tls": "required-verify", "trust_anchors": ["lab", "other"]}
    (problem,) = check(changed(destinations=[entry], trust={"authorities": [LAB]}))
    assert problem.path == 'destinations."bank.example".trust_anchors'
    assert "'other'" in problem.text
    assert problem.remedy == "Known are: lab"


def test_an_authority_has_a_name_of_its_own_and_is_an_anchor_once() -> None:
    entry = {"domain": "bank.example", "tls": "required-verify", "trust_anchors": ["lab", "lab"]}
    found = paths(destinations=[entry], trust={"authorities": [LAB, LAB | {"name": "LAB"}]})
    assert found == ["trust.authorities.LAB", 'destinations."bank.example".trust_anchors']


@pytest.mark.parametrize(
    ("level", "refused"),
    [
        ("off", False),
        ("preferred", False),
        ("required", False),
        ("preferred-verify", True),
        ("required-verify", True),
        ("required-verify-hosted", True),
    ],
)
def test_a_level_that_verifies_needs_somebody_to_believe(level: str, refused: bool) -> None:
    by_domain = [{"domain": "bank.example", "tls": level}]
    by_default = [{"domain": "default", "tls": level}, {"domain": "bank.example"}]
    override = [{"sender": "all", "tls": level}]
    assert bool(paths(destinations=by_domain, trust=NOBODY)) is refused
    assert len(paths(destinations=by_default, trust=NOBODY)) == 2 * refused
    assert paths(tls_overrides=override, trust=NOBODY) == ["tls_overrides[0].tls"] * refused
    for trust in ({"system": True}, NOBODY | {"custom": True}):
        assert paths(destinations=by_domain, tls_overrides=override, trust=trust) == []
    empty = {"system": False, "custom": True}
    assert bool(paths(destinations=by_domain, trust=empty)) is refused


def test_a_destination_with_anchors_of_its_own_needs_no_list() -> None:
    entry = {"domain": "bank.example", "tls": "required-verify", "trust_anchors": ["lab"]}
    assert paths(destinations=[entry], trust=NOBODY) == []


def test_anchors_and_pins_that_no_level_looks_at_are_probably_not_meant() -> None:
    demands = {"trust_anchors": ["lab"], "pins": ["ab" * 32]}
    entries = [
        {"domain": "lax.example", "tls": "required", **demands},
        {"domain": "strict.example", "tls": "required-verify", **demands},
    ]
    found = [each.path for each in advice(changed(destinations=entries, trust={"authorities": [LAB]}))]
    assert [path for path in found if path.startswith("destinations")] == [
        'destinations."lax.example".trust_anchors',
        'destinations."lax.example".pins',
    ]
