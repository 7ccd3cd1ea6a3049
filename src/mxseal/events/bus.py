"""The bus: each event is published once and handed to every sink, at once and in order.

`publish` never awaits. A sink that writes somewhere slow keeps a bounded buffer of its own and says with
`ready()` that it cannot take more work; the listener then answers 421 instead of losing a line.
"""

from __future__ import annotations

from typing import Protocol

from mxseal.events.types import Event


class Sink(Protocol):
    """A reader of events."""

    def handle(self, event: Event) -> None:
        """Take the event; must be quick and must not raise for a full disk."""
        ...

    def ready(self) -> bool:
        """False while a durable sink cannot promise to keep what it is given."""
        ...


class Bus:
    """Hands each event to all sinks in the order in which they were added."""

    def __init__(self) -> None:
        self._sinks: tuple[Sink, ...] = ()

    def add(self, sink: Sink) -> None:
        self._sinks = (*self._sinks, sink)

    def remove(self, sink: Sink) -> None:
        self._sinks = tuple(other for other in self._sinks if other is not sink)

    def publish(self, event: Event) -> None:
        for sink in self._sinks:
            sink.handle(event)

    def ready(self) -> bool:
        """Whether every sink can keep what it is given; asked before new work is accepted."""
        return all(sink.ready() for sink in self._sinks)
