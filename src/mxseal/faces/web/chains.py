"""A certificate's chain as a picture: boxes from the root down to the leaf, problems in the gaps.

PURE: out of what `certconfig show` gives programs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_ABOVE_ALL = {"missing-intermediate", "root-not-trusted"}
_BELOW_ALL = {"wrong-order"}
_OF_THE_CHAIN = {
    "leaf-among-intermediates",
    "duplicate-intermediate",
    "same-subject-same-key",
    "same-subject-other-key",
    "superfluous-root",
    "unrelated",
    "not-a-ca",
    *_ABOVE_ALL,
    *_BELOW_ALL,
}
"""Codes of `certs.chain.check_chain`, reference §12."""


class Fault(msgspec.Struct, frozen=True):
    """A problem, and what to do."""

    text: str
    remedy: str


class Box(msgspec.Struct, frozen=True):
    """One certificate. `faults` stand below it, in the gap to the next one down."""

    name: str
    issuer: str
    until: str
    """ISO 8601, or empty."""
    key: str
    fingerprint: str
    kind: str
    """root: not sent, known to peers or not; link: an intermediate; leaf."""
    faults: tuple[Fault, ...] = ()


class Picture(msgspec.Struct, frozen=True):
    """Boxes from the top down, and what is wrong above all of them."""

    boxes: tuple[Box, ...]
    above: tuple[Fault, ...] = ()
    beside: tuple[Fault, ...] = ()
    """Problems that are not about the chain, or about no single place in it."""


def picture(facts: Mapping[str, Any]) -> Picture:
    """Of a profile's facts with its `problems`."""
    links: Sequence[Mapping[str, Any]] = facts.get("chain", ())
    places: dict[int, list[Fault]] = {number: [] for number in range(len(links) + 1)}
    above: list[Fault] = []
    beside: list[Fault] = []
    for problem in facts.get("problems", ()):
        fault = Fault(problem["text"], problem["remedy"])
        if problem["code"] in _ABOVE_ALL:
            above.append(fault)
        elif problem["code"] in _BELOW_ALL and links:
            places[1].append(fault)
        elif problem["code"] in _OF_THE_CHAIN and (place := _place(problem["text"], links)):
            places[place].append(fault)
        else:
            beside.append(fault)
    boxes = [_leaf(facts)]
    for number, link in enumerate(links, 1):
        boxes.append(_link(link, tuple(places[number])))
    top = links[-1]["issuer"] if links else facts.get("issuer", "")
    if not facts.get("self_signed") and not (links and _signs_itself(links[-1])):
        boxes.append(Box(top, "", "", "", "", "root"))
    return Picture(tuple(reversed(boxes)), tuple(above), tuple(beside))


def _place(text: str, links: Sequence[Mapping[str, Any]]) -> int:
    """The number of the last link that a problem's sentence names; 0 for none."""
    named = [
        number
        for number, link in enumerate(links, 1)
        if (link["common_name"] and link["common_name"] in text) or link["subject"] in text
    ]
    return named[-1] if named else 0


def _signs_itself(link: Mapping[str, Any]) -> bool:
    return bool(link["issuer"]) and link["issuer"] in (link["common_name"], link["subject"])


def _leaf(facts: Mapping[str, Any]) -> Box:
    name = facts.get("common_name") or next(iter(facts.get("names", ())), "") or facts.get("subject", "")
    return Box(
        name,
        facts.get("issuer", ""),
        facts.get("not_after", ""),
        facts.get("key", ""),
        facts.get("fingerprint", ""),
        "leaf",
    )


def _link(link: Mapping[str, Any], faults: tuple[Fault, ...]) -> Box:
    return Box(
        link["common_name"] or link["subject"],
        link["issuer"],
        link["not_after"],
        link["key"],
        link["fingerprint"],
        "link",
        faults,
    )
