"""Analysis servers as the leading process asks them: those of a document that is not in force."""

from __future__ import annotations

from collections.abc import Callable

from mxseal.certs.keys import KeyStore
from mxseal.certs.live import analysis_contexts
from mxseal.clock import Clock
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.event import Event
from mxseal.relay.recorder import Recorder
from mxseal.relay.resolver import Resolver
from mxseal.relay.scanning import analysers, analysis_clients
from mxseal.relay.verification import no_lists
from mxseal.scanning.analysers import Analysers
from mxseal.storage.ports import Secrets


class AnalysisDesk:
    """What commands reach of analysis servers (`commands.services.Analysing`)."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        *,
        keys: KeyStore,
        secrets: Secrets,
        resolver: Callable[[], Resolver],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._keys = keys
        self._secrets = secrets
        self._resolver = resolver
        self.recorder: Recorder | None = None

    def trying(self, document: Document, hear: Callable[[Event], None]) -> Analysers:
        """See `commands.services.Analysing.trying`. Raises ContextsRefused."""
        now = self._clock.now()
        contexts = analysis_contexts(document, self._keys, now)

        def told(event: Event) -> None:
            hear(event)
            self._bus.publish(event)

        made = analysers(self._clock, told, self._resolver, no_lists, self._secrets)
        if self.recorder is not None:
            made.overheard_by(self.recorder.analysis)
        made.adopt(made.prepare(document, analysis_clients(document, contexts, now)))
        return made
