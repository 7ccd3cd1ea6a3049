"""What a listener does at each TLS level, as data (reference §3.1). PURE."""

from __future__ import annotations

from typing import Literal, get_args

Level = Literal["off", "preferred", "required", "preferred-verify", "required-verify"]
LEVELS: tuple[Level, ...] = get_args(Level)
WORDS: dict[Level, str] = {
    "off": "No",
    "preferred": "Preferred",
    "required": "Required",
    "preferred-verify": "Preferred - Verify",
    "required-verify": "Required - Verify",
}
"""As the reference's menus name them."""
Met = Literal["clear", "no-certificate", "invalid", "valid"]
"""How a client sends: without TLS, or over TLS with no, an invalid or a verified certificate."""
Outcome = Literal["take", "ask-for-tls", "turn-away"]
"""ask-for-tls: 530 to all but a few commands (RFC 3207 §4). turn-away: 554 to the first command under TLS,
and the end (RFC 3207 §4.1)."""

_TAKE: Outcome = "take"
_ASK: Outcome = "ask-for-tls"
_AWAY: Outcome = "turn-away"

# fmt: off
OUTCOMES: dict[Level, dict[Met, Outcome]] = {
    "off":              {"clear": _TAKE},
    "preferred":        {"clear": _TAKE, "no-certificate": _TAKE, "invalid": _TAKE, "valid": _TAKE},
    "required":         {"clear": _ASK,  "no-certificate": _TAKE, "invalid": _TAKE, "valid": _TAKE},
    "preferred-verify": {"clear": _TAKE, "no-certificate": _TAKE, "invalid": _AWAY, "valid": _TAKE},
    "required-verify":  {"clear": _ASK,  "no-certificate": _AWAY, "invalid": _AWAY, "valid": _TAKE},
}
"""Reference §3.1, cell by cell. At 'off' STARTTLS is not offered, so there is no other cell."""
# fmt: on

CORE: dict[Level, Literal["off", "preferred", "required"]] = {
    "off": "off",
    "preferred": "preferred",
    "required": "required",
    "preferred-verify": "preferred",
    "required-verify": "required",
}
"""What the protocol has to know: whether STARTTLS is offered, and whether it is needed."""
VERIFYING: frozenset[Level] = frozenset(("preferred-verify", "required-verify"))


def outcome(level: Level, met: Met) -> Outcome:
    """The cell of the table. TLS where none is offered comes from an implicit-TLS port and is taken."""
    return OUTCOMES[level].get(met, "take")


def met(*, shown: bool, verified: bool) -> Met:
    """The column of a connection over TLS."""
    if not shown:
        return "no-certificate"
    return "valid" if verified else "invalid"
