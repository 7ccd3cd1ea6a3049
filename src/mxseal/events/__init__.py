"""What happened: typed, frozen events, each published once, and the bus that hands them to every reader."""

from __future__ import annotations

from mxseal.events import types
from mxseal.events.bus import Bus, Sink
from mxseal.events.types import Event

EVENT_TYPES: tuple[type[Event], ...] = tuple(
    kind
    for kind in vars(types).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
)
"""All kinds of events, in the order of their module."""

__all__ = ["EVENT_TYPES", "Bus", "Event", "Sink"]
