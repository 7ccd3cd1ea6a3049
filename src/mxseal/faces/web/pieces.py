"""Values that the shared templates show."""

from __future__ import annotations

import msgspec


class Confirmation(msgspec.Struct, frozen=True):
    """A question before something is destroyed: what `confirm.html` shows."""

    question: str
    text: str
    verb: str
    action: str
    back: str
    fields: tuple[tuple[str, str], ...] = ()
    """Hidden fields of the form."""
