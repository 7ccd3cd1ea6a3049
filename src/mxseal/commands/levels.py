"""The six TLS levels of deliveries as people write them: names, numbers, words (reference §3.3, §6.6)."""

from __future__ import annotations

from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.words import nearest
from mxseal.config.model import DeliveryLevel
from mxseal.tls.policy import LEVELS

DEFAULT_LEVEL = "default"
LABELS: dict[DeliveryLevel, str] = {
    "off": "No",
    "preferred": "Preferred",
    "required": "Required",
    "preferred-verify": "Preferred - Verify",
    "required-verify": "Required - Verify",
    "required-verify-hosted": "Required - Verify Hosted Domains",
}
"""As the reference's menu names them, in its order."""
MEANINGS: dict[DeliveryLevel, str] = {
    "off": "TLS is never asked for",
    "preferred": "TLS where the server offers it, else clear text",
    "required": "TLS or nothing, with any certificate",
    "preferred-verify": "as preferred, and the log tells whether the certificate is good",
    "required-verify": "TLS with a certificate for the recipient's domain",
    "required-verify-hosted": "TLS with a certificate for the domain or one of its mail exchangers",
}
_OTHER_WORDS: dict[str, DeliveryLevel] = {
    "none": "off",
    "on": "preferred",
    "require": "required",
    "on_verify": "preferred-verify",
    "require_verify": "required-verify",
    "required - verify hosted": "required-verify-hosted",
}
"""GUI and import file of the reference."""
MENU = "\n".join(
    ["Do you want to use TLS support?", *(f"{at}. {label}" for at, label in enumerate(LABELS.values(), 1))]
)


def level_words(_ctx: Context) -> list[str]:
    return [DEFAULT_LEVEL, *LEVELS]


def check_level(_ctx: Context, text: str) -> None:
    """Raises CommandFailed."""
    read_level(text)


def read_level(text: str) -> DeliveryLevel | None:
    """The level of '5', 'required-verify', 'Required - Verify'; None for 'default'. Raises CommandFailed."""
    word = " ".join(text.lower().split())
    if word == DEFAULT_LEVEL:
        return None
    known: dict[str, DeliveryLevel] = {level: level for level in LEVELS}
    known |= {str(at): level for at, level in enumerate(LEVELS, 1)}
    known |= {label.lower(): level for level, label in LABELS.items()}
    known |= _OTHER_WORDS
    if word in known:
        return known[word]
    near = nearest(word, LEVELS)
    meant = f"Did you mean {near}?" if near else f"There are: {DEFAULT_LEVEL}, {', '.join(LEVELS)}."
    raise CommandFailed(f"There is no TLS level {text!r}. {meant}", 2)
