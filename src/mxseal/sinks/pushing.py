"""The pushes of the running gateway: what a document asks for is built first, and put in force with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from OpenSSL import SSL

from mxseal.certs.keys import KeyStore
from mxseal.certs.live import ContextsRefused, client
from mxseal.certs.ours import client_offer
from mxseal.clock import Clock
from mxseal.commands.services import PushState
from mxseal.config.model import Document
from mxseal.config.problem import Problem, key_path
from mxseal.config.subscriptions import wanted
from mxseal.events.bus import Bus
from mxseal.logs.retained import Retained, logs_folder
from mxseal.sinks.push import Patience, Pushes, Wanted

Ready = Sequence[tuple[Wanted, SSL.Context | None]]
"""What a document asks for, with all that it needs."""


class Pushing:
    """One for the gateway, in the process that leads it."""

    def __init__(
        self, home: Path, bus: Bus, clock: Clock, keys: KeyStore, patience: Patience | None = None
    ) -> None:
        self._home = home
        self._clock = clock
        self._keys = keys
        self._pushes = Pushes(lambda log: logs_folder(home) / log, bus, clock, patience)

    def build(self, document: Document) -> tuple[Ready, list[Problem]]:
        """All pushes of a document, and what stands against them. StorageRefused."""
        lists = document.trust
        trust = ", ".join(
            [*(["system list"] if lists.system else []), *(["custom list"] if lists.custom else [])]
        )
        ready: list[tuple[Wanted, SSL.Context | None]] = []
        problems: list[Problem] = []
        for log in wanted(document):
            if log.push is None:
                continue
            if log.push.transport != "tls":
                ready.append((Wanted(log=log, push=log.push, hostname=document.hostname), None))
                continue
            path = key_path("log_subscriptions", log.name, "push")
            now = self._clock.now()
            try:
                made = client(document, self._keys, log.push.certificate, path, now)
            except ContextsRefused as refused:
                problems += [Problem(p.path, p.text.rstrip("."), p.remedy) for p in refused.problems]
                continue
            ours = client_offer(document, log.push.certificate, now)
            told = Wanted(
                log=log, push=log.push, hostname=document.hostname, inputs=made.inputs, trust=trust, ours=ours
            )
            ready.append((told, made.context))
        return ready, problems

    def load(self, document: Document) -> None:
        """Before the logs are opened: see `Pushes.load`."""
        self._pushes.load([log.name for log in wanted(document) if log.push is not None])

    async def configure(self, ready: Ready) -> None:
        """Put in force what was built."""
        await self._pushes.configure(ready)

    def expiring(self, log: str, entry: Retained) -> None:
        """See `sinks.files.Surroundings.expiring`."""
        self._pushes.expiring(log, entry)

    def states(self) -> Sequence[PushState]:
        return self._pushes.states()

    async def stop(self) -> None:
        await self._pushes.stop()
