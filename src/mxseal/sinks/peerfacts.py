"""From an event to what the record of a peer keeps: the facts, and the verdict of each level."""

from __future__ import annotations

from typing import Any

import msgspec

from mxseal.events import types
from mxseal.storage.peers import Facts, Names, Outcome
from mxseal.tls import receiving
from mxseal.tls.facts import Diagnosis, TlsFacts
from mxseal.tls.identity import NameVerdict
from mxseal.tls.policy import LEVELS, Event, Level, after_failure
from mxseal.tls.verification import Link, Verification, link_of

_LONGEST = 255
"""Of a domain's name, RFC 1035 §2.3.4; other texts of strangers are cut there too."""
_SHORT = 3
"""Letters of the second label in co.uk or com.au: there a domain has one label more."""


class Judged(msgspec.Struct, frozen=True):
    """The levels that would have let mail pass, and those that can't be told."""

    passes: tuple[str, ...]
    undecided: tuple[str, ...] = ()


NOTHING = Judged(("off",))
_GOES = "deliver-clear"
_CLEAR: dict[Event, Judged] = {
    event: Judged(tuple(level for level in LEVELS if level == "off" or after_failure(level, event) == _GOES))
    for event in ("ehlo-rejected", "no-starttls", "starttls-refused")
}
_UNTRIED = Judged(("off",), LEVELS[1:])
_CONDITIONS: dict[str, Event] = {
    "no-esmtp": "ehlo-rejected",
    "no-starttls": "no-starttls",
    "starttls-refused": "starttls-refused",
}


def plain(text: str) -> str:
    """A stranger's text as a database takes it."""
    if text.isascii():
        return text[:_LONGEST]
    return text.encode("utf-8", "replace").decode()[:_LONGEST]


def sender_domain(name: str) -> str:
    """The part of a host's name that looks as if it was registered: two labels, or three under co.uk and its
    like. It only puts a sender's hosts together; nothing is decided by it."""
    labels = name.rstrip(".").split(".")
    two_letters = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= _SHORT
    return ".".join(labels[-3:] if two_letters else labels[-2:])


# --- deliveries -------------------------------------------------------------------------------------------


def from_success(event: types.OutboundTlsSucceeded) -> tuple[Judged, Facts]:
    return _verified(event.facts, event.verification, event.level, event.diagnosis)


def from_failure(event: types.OutboundTlsFailed) -> tuple[Judged, Facts]:
    if event.facts is not None and event.verification is not None:
        judged, facts = _verified(event.facts, event.verification, event.level, event.diagnosis)
        return judged, msgspec.structs.replace(facts, outcome="failed")
    why = _CONDITIONS.get(event.condition)
    judged = _CLEAR[why] if why is not None else NOTHING
    return judged, _without("failed", judged, event.level, event.diagnosis)


def from_clear(event: types.DeliveryInClear) -> tuple[Judged, Facts]:
    # With the level off nobody asked what the server could do.
    judged = _CLEAR["no-starttls"] if event.diagnosis is not None else _UNTRIED
    return judged, _without("clear", judged, event.level, event.diagnosis)


def _verified(
    facts: TlsFacts, found: Verification | None, level: str, diagnosis: Diagnosis | None
) -> tuple[Judged, Facts]:
    if found is None:
        judged = Judged(("off", "preferred", "required", "preferred-verify"), LEVELS[4:])
        return judged, _connection(facts, judged, level, diagnosis)
    judged = Judged(found.would_deliver, found.undecided)
    leaf = found.chain[0] if found.chain else None
    told = found.verify if found.verify.matched or not found.hosted.matched else found.hosted
    return judged, _connection(
        facts,
        judged,
        level,
        diagnosis,
        trusted=found.trusted if leaf is not None else None,
        chain_error=plain(found.chain_error or ""),
        names=_names(found.verify, leaf),
        names_hosted=_names(found.hosted, leaf),
        name=plain(told.name),
        expected=plain(told.expected),
        sent=len(found.chain),
        **_leaf(leaf),
    )


def _names(verdict: NameVerdict, leaf: Link | None) -> Names:
    if leaf is None:
        return ""
    if verdict.matched:
        return "matched"
    return "open" if verdict.undecided else "differs"


# --- who sends --------------------------------------------------------------------------------------------


def from_client(event: types.InboundTlsSucceeded, level: str) -> tuple[Judged, Facts]:
    facts = event.facts
    shown = bool(facts.peer_certificates or facts.peer_sha256 or facts.peer_subject)
    judged = _CAME[shown or level in receiving.VERIFYING, shown, facts.verified]
    if not shown:
        return judged, _connection(facts, judged, level, None)
    leaf = link_of(facts.peer_certificates[0]) if facts.peer_certificates else None
    told = {"subject": plain(facts.peer_subject or ""), "sha256": facts.peer_sha256 or ""} | _leaf(leaf)
    error = plain(facts.verify_error or "")
    return judged, _connection(
        facts, judged, level, event.diagnosis, trusted=facts.verified, chain_error=error, **told
    )


def from_client_failure(event: types.InboundTlsFailed, level: str) -> tuple[Judged, Facts]:
    fault = event.fault
    # A client that is turned away for its certificate had finished its handshake.
    judged = _CAME[True, bool(fault.peer_certificates), False] if fault.verify_error else NOTHING
    facts = _without("failed", judged, level, event.diagnosis)
    return judged, msgspec.structs.replace(facts, chain_error=plain(fault.verify_error or ""))


def from_client_clear(level: str) -> tuple[Judged, Facts]:
    return _CAME_CLEAR, _without("clear", _CAME_CLEAR, level, None)


def _came(*, asked: bool, shown: bool, verified: bool) -> Judged:
    """Levels of a listener; a certificate that nobody asked for may be there or not."""
    open_ = () if asked else tuple(level for level in receiving.LEVELS if level in receiving.VERIFYING)
    met = receiving.met(shown=shown, verified=verified)
    taken = (level for level in receiving.LEVELS if receiving.outcome(level, met) == "take")
    return Judged(tuple(level for level in taken if level not in open_), (*open_, _HOSTED))


_HOSTED: Level = "required-verify-hosted"
"""Not a level of a listener."""
_CAME = {
    (asked, shown, verified): _came(asked=asked, shown=shown, verified=verified)
    for asked in (True, False)
    for shown in (True, False)
    for verified in (True, False)
}
_CAME_CLEAR = Judged(
    tuple(level for level in receiving.LEVELS if receiving.outcome(level, "clear") == "take"), (_HOSTED,)
)


# --- both -------------------------------------------------------------------------------------------------


def _connection(
    facts: TlsFacts, judged: Judged, level: str, diagnosis: Diagnosis | None, **more: Any
) -> Facts:
    return Facts(
        outcome="tls",
        level=level,
        protocol=facts.protocol,
        cipher=facts.cipher,
        group=facts.group or "",
        passes=judged.passes,
        undecided=judged.undecided,
        cause=diagnosis.cause if diagnosis is not None else "",
        reason=plain(diagnosis.summary) if diagnosis is not None else "",
        **more,
    )


def _without(outcome: Outcome, judged: Judged, level: str, diagnosis: Diagnosis | None) -> Facts:
    return Facts(
        outcome=outcome,
        level=level,
        passes=judged.passes,
        undecided=judged.undecided,
        cause=diagnosis.cause if diagnosis is not None else "",
        reason=plain(diagnosis.summary) if diagnosis is not None else "",
    )


def _leaf(leaf: Link | None) -> dict[str, Any]:
    if leaf is None:
        return {}
    return {
        "subject": plain(leaf.subject),
        "issuer": plain(leaf.issuer),
        "sha256": leaf.sha256,
        "spki_sha256": leaf.spki_sha256,
        "expires": leaf.not_after,
    }
