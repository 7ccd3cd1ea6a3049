"""From the events of a connection or message to an explanation: what happened, why, what decided it. PURE.

The events are those of the JSON log, so that everything is told as it was then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from mxseal.events import types as facts
from mxseal.events.types import Event
from mxseal.tls.diagnosis import diagnose_without_tls
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts, TlsFault
from mxseal.tls.verification import ClientCheck, Verification

Kind = Literal["icid", "dcid"]
Outcome = Literal[
    "verified", "encrypted", "no-certificate", "unverified", "clear", "tls-failed", "failed", "tls-not-used"
]
"""encrypted: nobody asked for a certificate; no-certificate: the client was asked and showed none; clear:
mail went on without TLS; failed: before any TLS."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What decided about TLS, as it was then. Empty: not recorded, or not reached."""

    level: str = ""
    level_from: str = ""
    """Who said so: default, a destination's entry, an override, the message; a mail flow policy."""
    sender_group: str = ""
    match: str = ""
    trust: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Between whom."""

    domain: str = ""
    host: str = ""
    remote_ip: str = ""
    port: int = 0
    local_ip: str = ""
    listener: str = ""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Of one connection."""

    kind: Kind
    number: int
    at: float
    """Its first event, seconds since the epoch."""
    outcome: Outcome
    place: Place
    decision: Decision
    diagnosis: Diagnosis | None = None
    remark: Diagnosis | None = None
    """What is odd about a chain that was verified all the same."""
    tls: TlsFacts | None = None
    fault: TlsFault | None = None
    verification: Verification | None = None
    check: ClientCheck | None = None
    """Of a client that was asked for its certificate."""
    times: StageTimes | None = None
    mids: tuple[int, ...] = ()
    """Messages that it carried or was to carry."""


def explain_connection(kind: Kind, number: int, events: Sequence[Event]) -> Explanation:
    """`events`: all of this connection, in their order, at least one."""
    parts = _inbound(events) if kind == "icid" else _outbound(events)
    mids = dict.fromkeys(mid for event in events if (mid := getattr(event, "mid", None)) is not None)
    return Explanation(kind=kind, number=number, at=events[0].at, mids=tuple(mids), **parts)


def _last(events: Iterable[Event], *kinds: type[Event]) -> Any:
    found = None
    for event in events:
        if isinstance(event, kinds):
            found = event
    return found


def _inbound(events: Sequence[Event]) -> dict[str, Any]:
    opened = _last(events, facts.ConnectionOpened)
    judged = _last(events, facts.ConnectionJudged)
    succeeded = _last(events, facts.InboundTlsSucceeded)
    failed = _last(events, facts.InboundTlsFailed)
    missing = _last(events, facts.InboundTlsMissing)
    place, decision = Place(), Decision()
    if opened is not None:
        place = Place(
            host=opened.reverse_dns or "",
            remote_ip=opened.remote_ip,
            port=opened.remote_port,
            local_ip=opened.local_ip,
            listener=opened.listener,
        )
    if judged is not None:
        decision = Decision(
            level=judged.level,
            level_from=judged.policy,
            sender_group=judged.sender_group or "",
            match=judged.match,
        )
    ended = failed or succeeded
    check = ended.check if ended is not None else None
    if check is not None:
        decision = msgspec.structs.replace(decision, trust=check.trust)
    told: dict[str, Any] = {"place": place, "decision": decision, "outcome": "clear", "check": check}
    if failed is not None:
        told |= {"diagnosis": failed.diagnosis, "fault": failed.fault, "times": failed.times}
        return {**told, "outcome": "tls-failed"}
    if succeeded is not None:
        told |= {"tls": succeeded.facts, "diagnosis": succeeded.diagnosis, "times": succeeded.times}
        return {**told, "outcome": _of_client(succeeded.facts, check)}
    if missing is not None:
        by_sender = judged is not None and judged.level in ("preferred", "preferred-verify")
        return {**told, "outcome": "tls-not-used", "diagnosis": diagnose_without_tls(sender=by_sender)}
    return told


def _of_client(found: TlsFacts, check: ClientCheck | None) -> Outcome:
    if found.verified:
        return "verified"
    if found.peer_subject is not None or found.verify_error:
        return "unverified"
    return "encrypted" if check is None else "no-certificate"


def _outbound(events: Sequence[Event]) -> dict[str, Any]:
    opened = _last(events, facts.DeliveryOpened)
    ended = _last(events, facts.OutboundTlsSucceeded, facts.OutboundTlsFailed)
    clear = _last(events, facts.DeliveryInClear)
    failed = _last(events, facts.DeliveryFailed)
    about = opened or ended or failed or clear
    told: dict[str, Any] = {"decision": Decision(), "place": Place(), "outcome": "clear"}
    if about is not None:
        told["place"] = Place(
            domain=about.domain,
            host=about.host,
            remote_ip=getattr(about, "remote_ip", ""),
            port=getattr(about, "port", 0),
            local_ip=getattr(about, "local_ip", ""),
        )
    if clear is not None:
        told["decision"] = Decision(level=clear.level, level_from=clear.level_from)
        told["diagnosis"], told["times"] = clear.diagnosis, clear.times
    if ended is not None:
        told |= _secured(ended)
    if failed is not None and told.get("diagnosis") is None and failed.diagnosis is not None:
        told["diagnosis"], told["times"] = failed.diagnosis, failed.times
    if failed is not None and ended is None and clear is None:
        told["outcome"] = "failed"
    return told


def _secured(ended: facts.OutboundTlsSucceeded | facts.OutboundTlsFailed) -> dict[str, Any]:
    found = ended.verification
    told: dict[str, Any] = {
        "decision": Decision(
            level=ended.level, level_from=ended.level_from, trust=found.trust if found is not None else ()
        ),
        "diagnosis": ended.diagnosis,
        "tls": ended.facts,
        "verification": found,
        "times": ended.times,
        "outcome": "tls-failed",
    }
    if isinstance(ended, facts.OutboundTlsFailed):
        return {**told, "fault": ended.fault}
    bad = ended.diagnosis is not None or (found is not None and not found.trusted)
    verified = found.trusted if found is not None else ended.facts.verified
    return {**told, "remark": ended.remark, "outcome": "verified" if verified and not bad else "unverified"}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a message."""

    mid: int
    at: float
    sender: str = ""
    recipients: tuple[str, ...] = ()
    icid: int = 0
    """0: the gateway wrote it itself."""
    dcids: tuple[int, ...] = ()
    delivered: int = 0
    """Recipients that a next hop took."""
    bounced: int = 0
    waiting: bool = True
    """It is not off the queue yet."""


def explain_message(mid: int, events: Sequence[Event]) -> Message:
    """`events`: all with this MID, in their order, at least one."""
    icid, sender, delivered, bounced, waiting = 0, "", 0, 0, True
    recipients: dict[str, None] = {}
    dcids: dict[int, None] = {}
    for event in events:
        if (number := getattr(event, "dcid", 0)) > 0:
            dcids[number] = None
        match event:
            case facts.MessageStarted():
                icid, sender = event.icid, event.sender
            case facts.RecipientAccepted() | facts.DsnGenerated():
                recipients[event.recipient] = None
            case facts.RecipientsDelivered():
                delivered += len(event.rids)
            case facts.RecipientBounced() | facts.DoubleBounced():
                bounced += 1
            case facts.MessageFinished() | facts.MessageAborted():
                waiting = False
    return Message(
        mid=mid,
        at=events[0].at,
        sender=sender,
        recipients=tuple(recipients),
        icid=icid,
        dcids=tuple(dcids),
        delivered=delivered,
        bounced=bounced,
        waiting=waiting,
    )
