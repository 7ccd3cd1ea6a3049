"""What verdicts about a message mean for its recipients on the spool, and the events that tell it. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mxseal.events.types import Event, RecipientBounced, RecipientDelayed
from mxseal.mail.status import words
from mxseal.relay.bounces import Verdict
from mxseal.storage.ports import Outcome, Queued, Recipient

_SOONEST, _LATEST = 15.0, 600.0


def postponed(mid: int, recipient: Recipient, due: float) -> Outcome:
    """Put off without having been attempted."""
    return Outcome(
        mid=mid,
        rid=recipient.rid,
        done=False,
        attempts=recipient.attempts,
        next_attempt=due,
        last_error=recipient.last_error,
        warned=recipient.warned,
    )


def asked_again(age: float, chance: float) -> float:
    """Seconds until a directory that was away is asked again about a message: the longer the message has
    waited the longer, so that a short outage costs little time and a long one little work. `chance` in [0, 1)
    spreads them."""
    return min(_LATEST, max(_SOONEST, age / 4)) * (0.8 + 0.4 * chance)


def told(
    queued: Queued, verdicts: Sequence[Verdict], outcomes: Sequence[Outcome], now: float
) -> Iterator[Event]:
    """The events about those that were not delivered."""
    envelope = queued.envelope
    for verdict, outcome in zip(verdicts, outcomes, strict=True):
        about: dict[str, Any] = {
            "at": now,
            "dcid": verdict.dcid,
            "mid": envelope.mid,
            "rid": verdict.recipient.rid,
            "sender": envelope.sender,
            "recipient": verdict.recipient.address,
            "status": verdict.status,
            "reason": words(verdict.status),
            "code": verdict.code,
            "lines": verdict.lines,
        }
        if verdict.kind == "deferred":
            yield RecipientDelayed(next_attempt=outcome.next_attempt, **about)
        elif verdict.kind == "bounced" and envelope.sender:
            yield RecipientBounced(**about)
