"""From an event about TLS to what is kept: words to search and count by, and the explanation. PURE."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from mxseal.commands.explanation import Decision, Explanation, Place, explain_connection
from mxseal.events import types
from mxseal.sinks.tracking.state import Link, Tls
from mxseal.tls.facts import Diagnosis, StageTimes, TlsFacts

LONGEST_FACT = 24 << 10
"""Bytes of an explanation as JSON; of a longer one the certificates and offers are left out."""
_About = (
    types.InboundTlsSucceeded
    | types.InboundTlsFailed
    | types.InboundTlsMissing
    | types.OutboundTlsSucceeded
    | types.OutboundTlsFailed
    | types.DeliveryInClear
    | types.DeliveryFailed
)
_ENCODER = msgspec.json.Encoder()


def told(link: Link, event: _About) -> bytes:
    """The explanation of a connection as JSON, without what is the connection's own: so that all that are
    alike share one row."""
    plain = _without_own(event)
    decision = Decision(
        level=link.level,
        level_from=link.level_from or link.policy,
        sender_group=link.sender_group,
        match=link.match,
    )
    try:
        return _known(link.kind, decision, plain)
    except TypeError:  # a diagnosis has words, which can't be hashed
        return _explained(link.kind, decision, plain)


_OWN = {"icid": 0, "dcid": 0, "times": None, "domain": "", "host": ""}


def _without_own(event: _About) -> _About:
    """The event without number, time and durations."""
    own = {name: nothing for name, nothing in _OWN.items() if hasattr(event, name)}
    return msgspec.structs.replace(event, at=0.0, **own)


def _explained(kind: str, decision: Decision, event: _About) -> bytes:
    if kind == "icid":
        judged = types.ConnectionJudged(
            at=0.0,
            icid=0,
            verdict="ACCEPT",
            sender_group=decision.sender_group or None,
            match=decision.match,
            policy=decision.level_from,
            level=decision.level,
        )
        found = explain_connection("icid", 0, (judged, event))
    else:
        found = explain_connection("dcid", 0, (event,))
    found = msgspec.structs.replace(found, place=Place(), times=None, at=0.0, mids=())
    if found.fault is not None and found.fault.peer_certificates:
        fault = msgspec.structs.replace(found.fault, peer_certificates=())
        found = msgspec.structs.replace(found, fault=fault)
    body = _ENCODER.encode(found)
    if len(body) > LONGEST_FACT:
        body = _ENCODER.encode(msgspec.structs.replace(found, fault=None, verification=None))
    return body


_known = lru_cache(maxsize=4096)(_explained)


def came_secure(link: Link, event: types.InboundTlsSucceeded) -> Tls:
    found = event.facts
    if found.verified:
        state = "verified"
    else:
        state = "unverified" if found.peer_subject is not None or found.verify_error else "encrypted"
    return _of(Tls("in", state, level=link.level, cause=cause(event.diagnosis)), found)


def went_secure(event: types.OutboundTlsSucceeded) -> Tls:
    found = event.verification
    verified = found.trusted if found is not None else event.facts.verified
    state = "verified" if verified and event.diagnosis is None else "unverified"
    return _of(Tls("out", state, level=event.level, cause=cause(event.diagnosis)), event.facts)


def went_wrong(event: types.OutboundTlsFailed) -> Tls:
    why = cause(event.diagnosis) or (event.fault.kind if event.fault else event.reason)
    tls = Tls("out", "failed", level=event.level, cause=why)
    return _of(tls, event.facts) if event.facts is not None else tls


def came_wrong(link: Link, event: types.InboundTlsFailed) -> Tls:
    return Tls("in", "failed", level=link.level, cause=cause(event.diagnosis) or event.fault.kind)


def _of(tls: Tls, found: TlsFacts) -> Tls:
    return msgspec.structs.replace(tls, protocol=found.protocol, cipher=found.cipher, group=found.group or "")


def cause(diagnosis: Diagnosis | None) -> str:
    return diagnosis.cause if diagnosis is not None else ""


def times(found: StageTimes | None) -> str:
    """As JSON, to the microsecond; "" without."""
    if found is None:
        return ""
    plain = msgspec.to_builtins(found)
    return _ENCODER.encode({name: round(value, 6) for name, value in plain.items()}).decode()


def read(body: bytes) -> Explanation:
    """What `told` wrote."""
    return msgspec.json.decode(body, type=Explanation)
