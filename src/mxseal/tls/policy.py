"""What happens with mail when TLS can or can't be used: the outcome tables, as data. PURE.

Source: reference §3.3 (delivery); `receiving` has the other direction.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from mxseal.tls.identity import Rules

Level = Literal[
    "off", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"
]
"""Delivery levels 1 to 6 of the reference, in its order."""
Event = Literal[
    "ehlo-rejected",
    "no-starttls",
    "starttls-refused",
    "handshake-failed",
    "untrusted",
    "name-mismatch",
    "revoked",
    "not-pinned",
]
Action = Literal["deliver-clear", "deliver-encrypted", "drop-and-retry-later", "fail"]
"""deliver-clear: go on in the same session without TLS. deliver-encrypted: go on. drop-and-retry-later:
close, no alert, the queue tries again. fail: close, log, alert, next host, then the queue (§3.6)."""
Condition = Literal["no-esmtp", "no-starttls", "starttls-refused"]
"""The three conditions under which required TLS can't be used, as events and diagnoses name them."""

LEVELS: tuple[Level, ...] = (
    "off",
    "preferred",
    "required",
    "preferred-verify",
    "required-verify",
    "required-verify-hosted",
)

_CLEAR: Action = "deliver-clear"
_CRYPT: Action = "deliver-encrypted"
_RETRY: Action = "drop-and-retry-later"
_FAIL: Action = "fail"

# fmt: off
OUTCOMES: dict[Event, tuple[Action | None, ...]] = {
    #                    off     preferred  required  pref-verify  req-verify  req-verify-hosted
    "ehlo-rejected":    (_CLEAR, _CLEAR,    _FAIL,    _CLEAR,      _FAIL,      _FAIL),
    "no-starttls":      (_CLEAR, _CLEAR,    _FAIL,    _CLEAR,      _FAIL,      _FAIL),
    "starttls-refused": (None,   _CLEAR,    _FAIL,    _CLEAR,      _FAIL,      _FAIL),
    # After the 220 there is no way back to clear text: the peer's state is unknown (RFC 3207 §4.1).
    "handshake-failed": (None,   _RETRY,    _FAIL,    _RETRY,      _FAIL,      _FAIL),
    "untrusted":        (None,   _CRYPT,    _CRYPT,   _CRYPT,      _FAIL,      _FAIL),
    "name-mismatch":    (None,   _CRYPT,    _CRYPT,   _CRYPT,      _FAIL,      _FAIL),
    "revoked":          (None,   _CRYPT,    _CRYPT,   _CRYPT,      _FAIL,      _FAIL),
    # Ours, beside the reference's rows: pins count where names do.
    "not-pinned":       (None,   _CRYPT,    _CRYPT,   _CRYPT,      _FAIL,      _FAIL),
}
"""Reference §3.3, cell by cell; None where the event can't happen because STARTTLS is never tried."""
# fmt: on

RULES: dict[Level, Rules] = {
    "preferred-verify": "verify",
    "required-verify": "verify",
    "required-verify-hosted": "hosted",
}
"""The identity rules of the levels that look at the certificate (reference §3.4)."""

REQUIRING: frozenset[Level] = frozenset(("required", "required-verify", "required-verify-hosted"))
"""The levels under which mail waits rather than goes without TLS."""

_CONDITIONS: dict[Event, Condition] = {
    "ehlo-rejected": "no-esmtp",
    "no-starttls": "no-starttls",
    "starttls-refused": "starttls-refused",
}


class Plan(msgspec.Struct, frozen=True):
    """What to do after the greeting. `event` says why it is not STARTTLS; None when the level is off."""

    action: Literal["starttls", "deliver-clear", "fail"]
    event: Event | None = None

    @property
    def condition(self) -> Condition | None:
        return condition(self.event)


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a finished handshake, before MAIL. `event`: what is wrong with the peer, or None."""

    action: Literal["deliver-encrypted", "fail"]
    event: Event | None = None


def condition(event: Event | None) -> Condition | None:
    """The condition's name in events and diagnoses; None for anything after the 220 to STARTTLS."""
    return None if event is None else _CONDITIONS.get(event)


def after_failure(level: Level, event: Event) -> Action:
    """The cell of the outcome table. Raises ValueError for an event that the level rules out."""
    action = OUTCOMES[event][LEVELS.index(level)]
    if action is None:
        raise ValueError(f"TLS level {level} never tries STARTTLS, so there is no {event}")
    return action


def plan(level: Level, *, esmtp: bool, starttls: bool) -> Plan:
    """What to do with a server that took EHLO (`esmtp`) and offered STARTTLS (`starttls`), or did not."""
    if level == "off":
        return Plan("deliver-clear")
    if esmtp and starttls:
        return Plan("starttls")
    event: Event = "no-starttls" if esmtp else "ehlo-rejected"
    return Plan("deliver-clear" if after_failure(level, event) == "deliver-clear" else "fail", event)


def judge(
    level: Level, *, verified: bool, name_matches: bool = True, revoked: bool = False, pinned: bool = True
) -> Verdict:
    """What to do after the handshake. The worst finding decides; levels without a check only tell it."""
    event: Event | None = None
    if revoked:
        event = "revoked"
    elif not pinned:
        event = "not-pinned"
    elif not verified:
        event = "untrusted"
    elif not name_matches:
        event = "name-mismatch"
    if event is None or level == "off":
        return Verdict("deliver-encrypted", event)
    return Verdict("fail" if after_failure(level, event) == "fail" else "deliver-encrypted", event)
