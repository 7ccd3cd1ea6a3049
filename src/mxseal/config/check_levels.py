"""Rules between keys for the TLS levels of deliveries: anchors, overrides, whom to believe."""

from __future__ import annotations

from collections.abc import Iterator

from mxseal.config.model import DeliveryLevel, Document
from mxseal.config.problem import Problem, Rule, key_path
from mxseal.config.values import DEFAULT
from mxseal.tls.policy import RULES as VERIFYING


def _anchor_names(document: Document) -> Iterator[Problem]:
    known = {entry.name for entry in document.trust.authorities}
    for entry in document.destinations:
        path = key_path("destinations", entry.domain, "trust_anchors")
        for name in entry.trust_anchors:
            if name not in known:
                listed = ", ".join(sorted(known))
                remedy = f"Known are: {listed}" if listed else "There are none yet"
                yield Problem(path, f"there is no custom authority called {name!r}", remedy)
        for name in sorted({each for each in entry.trust_anchors if entry.trust_anchors.count(each) > 1}):
            yield Problem(path, f"{name!r} is listed twice", "Name each authority once")


def _overrides(document: Document) -> Iterator[Problem]:
    for index, entry in enumerate(document.tls_overrides):
        path = key_path("tls_overrides", index)
        subjects = ("sender", "recipient", "sender_group", "recipient_group")
        found = [key for key in subjects if getattr(entry, key) is not None]
        if not found:
            yield Problem(
                path, "neither sender nor recipient is set, nor a group", "Set the one that it is for"
            )
        elif len(found) > 1:
            yield Problem(
                path,
                f"both {found[0]} and {found[1]} are set",
                "Make two entries: each holds for one of them",
            )


def _believes_somebody(document: Document) -> bool:
    trust = document.trust
    return trust.system or (trust.custom and bool(trust.authorities))


def _nobody_believed(document: Document) -> Iterator[Problem]:
    """A level that verifies, and no authority to verify with: mail would only wait and bounce."""
    if _believes_somebody(document):
        return
    default = next((entry for entry in document.destinations if entry.domain == DEFAULT), None)
    levels: list[tuple[str, DeliveryLevel | None]] = [
        (key_path("destinations", entry.domain, "tls"), entry.tls or (default.tls if default else None))
        for entry in document.destinations
        if not entry.trust_anchors
    ]
    levels += [
        (key_path("tls_overrides", index, "tls"), entry.tls)
        for index, entry in enumerate(document.tls_overrides)
    ]
    for path, level in levels:
        if level in VERIFYING:
            yield Problem(
                path,
                f"{level} verifies certificates, and no list of authorities is enabled",
                "Enable trust.system, or trust.custom with at least one authority in it",
            )


def _unused_demands(document: Document) -> Iterator[Problem]:
    """Anchors and pins of an entry whose level never looks at them."""
    default = next((entry for entry in document.destinations if entry.domain == DEFAULT), None)
    for entry in document.destinations:
        level = entry.tls or (default.tls if default else None) or "off"
        if level in VERIFYING:
            continue
        for field, values in (("trust_anchors", entry.trust_anchors), ("pins", entry.pins)):
            if values:
                yield Problem(
                    key_path("destinations", entry.domain, field),
                    f"the level {level} does not verify certificates, so this is told and decides nothing",
                    "Set tls to required-verify or required-verify-hosted",
                )


RULES: tuple[Rule, ...] = (_anchor_names, _overrides, _nobody_believed)
ADVICE: tuple[Rule, ...] = (_unused_demands,)
