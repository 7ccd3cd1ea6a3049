"""Numbers since the start, counted from events: what `status` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from mxseal.commands.services import Figure
from mxseal.events import types
from mxseal.events.types import Event

_ONE: dict[type[Event], tuple[str, str]] = {
    types.ConnectionOpened: ("Receiving", "Connections"),
    types.ConnectionRefused: ("Receiving", "Connections refused"),
    types.InboundTlsSucceeded: ("Receiving", "TLS succeeded"),
    types.InboundTlsFailed: ("Receiving", "TLS failed"),
    types.MessageReceived: ("Receiving", "Messages"),
    types.RecipientRejected: ("Receiving", "Recipients rejected"),
    types.DeliveryOpened: ("Delivery", "Connections"),
    types.DeliveryFailed: ("Delivery", "Connections failed"),
    types.OutboundTlsSucceeded: ("Delivery", "TLS succeeded"),
    types.OutboundTlsFailed: ("Delivery", "TLS failed"),
    types.RecipientDelayed: ("Delivery", "Recipients delayed"),
    types.RecipientBounced: ("Delivery", "Recipients bounced"),
    types.DsnGenerated: ("Delivery", "Notifications written"),
}
_MANY: dict[type[Event], tuple[tuple[str, str], Callable[[Any], int]]] = {
    types.RecipientsDelivered: (("Delivery", "Recipients delivered"), lambda event: len(event.rids)),
    types.RecipientsDeleted: (("Delivery", "Recipients deleted"), lambda event: len(event.rids)),
}
_ORDER = [*_ONE.values(), *(entry[0] for entry in _MANY.values())]


class Counts:
    """A sink that counts."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()

    def handle(self, event: Event) -> None:
        kind = type(event)
        one = _ONE.get(kind)
        if one is not None:
            self._numbers[one] += 1
        elif (many := _MANY.get(kind)) is not None:
            self._numbers[many[0]] += many[1](event)

    def ready(self) -> bool:
        return True

    def figures(self) -> Sequence[Figure]:
        """All counters, also those at 0, by section."""
        ordered = sorted(_ORDER, key=lambda entry: entry[0], reverse=True)
        return [Figure(section, label, self._numbers[section, label]) for section, label in ordered]
