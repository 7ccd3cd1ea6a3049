"""Numbers since the start, counted from events: what `status` shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.events import types
from mxseal.events.types import Event
from mxseal.storage.board import Board, Row

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
_FIRST_CELL = 8
"""Cells of the board below are not events."""
_CELLS = {label: _FIRST_CELL + index for index, label in enumerate(_ORDER)}
_CELL_OF = {kind: _CELLS[label] for kind, label in _ONE.items()}


class Counts:
    """A sink that counts into one process's row of the board."""

    def __init__(self, row: Row) -> None:
        self._row = row

    def handle(self, event: Event) -> None:
        kind = type(event)
        cell = _CELL_OF.get(kind)
        if cell is not None:
            self._row.add(cell)
        elif (many := _MANY.get(kind)) is not None:
            self._row.add(_CELLS[many[0]], many[1](event))

    def ready(self) -> bool:
        return True


def figures(board: Board) -> list[tuple[str, str, int]]:
    """(section, label, number) of all counters in all processes, also those at 0."""
    ordered = sorted(_ORDER, key=lambda entry: entry[0], reverse=True)
    return [(section, label, board.total(_CELLS[section, label])) for section, label in ordered]
