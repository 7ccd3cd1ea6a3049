"""What happened: typed, frozen events, each published once, and the bus that hands them to every reader."""

from __future__ import annotations

from mxseal.events import directory, scanning, screening, types, upkeep
from mxseal.events.bus import Bus, Sink
from mxseal.events.types import Event

EVENT_TYPES: tuple[type[Event], ...] = tuple(
    kind
    for module in (types, upkeep, directory, scanning, screening)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Event) and kind.__module__ == module.__name__
)
"""All kinds of events, in the order of their modules."""

__all__ = ["EVENT_TYPES", "Bus", "Event", "Sink"]
