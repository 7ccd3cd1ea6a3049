"""Directories as the leading process sees them: what all workers' ones do, and trying a document's."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from mxseal.certs.keys import KeyStore
from mxseal.certs.live import directory_contexts
from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.crew.crew import Crew
from mxseal.directory.directories import Directories
from mxseal.directory.state import ProfileState
from mxseal.events.bus import Bus
from mxseal.events.event import Event
from mxseal.relay.directory import directories, directory_client
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import Resolver
from mxseal.relay.verification import no_lists
from mxseal.storage.ports import Secrets


class DirectoryDesk:
    """What commands reach of directories (`commands.services.Directing`)."""

    def __init__(
        self,
        crew: Crew,
        bus: Bus,
        clock: Clock,
        *,
        keys: KeyStore,
        secrets: Secrets,
        resolver: Callable[[], Resolver],
    ) -> None:
        self._crew = crew
        self._bus = bus
        self._clock = clock
        self._keys = keys
        self._secrets = secrets
        self._resolver = resolver
        self.recorder: Recorder | None = None

    async def states(self) -> list[ProfileState]:
        return await self._crew.directories()

    async def clear(self, names: Iterable[str] = ()) -> int:
        return await self._crew.clear_directories(tuple(names))

    def trying(self, document: Document, hear: Callable[[Event], None]) -> Directories:
        """See `commands.services.Directing.trying`. Raises ContextsRefused."""
        now = self._clock.now()
        contexts = directory_contexts(document, self._keys, now)

        def told(event: Event) -> None:
            hear(event)
            self._bus.publish(event)

        made = directories(self._clock, told, self._resolver, no_lists, self._secrets)
        if self.recorder is not None:
            made.overheard_by(self.recorder.directory)
        book = made.prepare(document, directory_client(document, contexts, now))
        made.adopt(msgspec.structs.replace(book, detailed=True))
        return made
