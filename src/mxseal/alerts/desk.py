"""The alerts of the running gateway: reads events, looks at what stands from time to time, tells people.

One for the gateway, in the process that leads it. Whatever strangers can cause is bounded: series, troubles
that are remembered, mails on their way.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from mxseal.alerts.alert import Alert, Outgoing, text
from mxseal.alerts.kinds import ENDING, Over, find, tls_key
from mxseal.alerts.memory import Kept, Memory, Recent, Store
from mxseal.alerts.outbox import Attempt, Outbox, Receiver, subscribed
from mxseal.alerts.post import Post
from mxseal.alerts.sources import Sources
from mxseal.alerts.throttle import Throttle
from mxseal.alerts.watch import Watch
from mxseal.clock import Clock, Timer
from mxseal.config.model import Document
from mxseal.events.bus import Bus
from mxseal.events.types import AlertRaised, Event, OutboundTlsSucceeded
from mxseal.storage.ports import Secrets

_TROUBLES = 500
_REMEMBERED_SECONDS = 30 * 86_400.0
"""For so long it is remembered across a restart that a trouble was told."""
_SHORTEST_PAUSE = 0.01
_COUNTING_SECONDS = 5.0
log = logging.getLogger(__name__)


class Trouble(msgspec.Struct, kw_only=True):
    """What was told and is not over."""

    key: str
    since: float
    well_since: float | None = None
    """When it looked over for the first time since it last failed."""
    over: Alert | None = None
    """What to tell then."""


class Alerts:
    """An event sink; `start` and `stop` it with the gateway."""

    def __init__(
        self, *, bus: Bus, clock: Clock, store: Store, secrets: Secrets, post: Post, sources: Sources
    ) -> None:
        self.secrets = secrets
        """Where webhooks' secrets are sealed."""
        self._bus = bus
        self._clock = clock
        self._post = post
        self._sources = sources
        self._outbox = Outbox(bus, clock, post, secrets)
        self._memory = Memory(store)
        kept = self._memory.load()
        self._document = Document()
        self._throttle = Throttle(0.0, 0.0)
        self._throttle.restore(kept.series)
        self._troubles = {
            key: Trouble(key=key, since=since)
            for key, since in kept.troubles.items()
            if clock.now() - since < _REMEMBERED_SECONDS
        }
        self._recent = list(kept.recent)
        self._watch = Watch(clock, sources, self._report, kept.told)
        self._timer: Timer | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._running = False

    # --- life -----------------------------------------------------------------------------------------------

    def start(self, document: Document) -> None:
        """Begin to tell. What was held back before the last stop and is due goes out now."""
        self.configure(document)
        self._running = True
        self._watch.start(document)
        self._arm()

    def configure(self, document: Document) -> None:
        """A new document is in force."""
        self._document = document
        settings = document.alerts
        self._throttle.configure(settings.first_wait, settings.longest_wait)
        self._recent = self._recent[-settings.kept :]
        self._post.forget()
        if self._running:
            self._watch.configure(document)
            self._arm()

    async def stop(self) -> None:
        """Tell nothing any more. Mails on their way are given up, which the log tells."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        await self._watch.stop()
        for task in self._telling:
            task.cancel()
        if self._telling:
            await asyncio.wait(self._telling)
        await self._outbox.stop()
        self._keep()

    # --- events ---------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> None:
        if not self._running or (isinstance(event, OutboundTlsSucceeded) and not self._awaited(event)):
            return
        finding = find(event)
        if finding is not None:
            self._report(finding)

    def _awaited(self, event: OutboundTlsSucceeded) -> bool:
        return bool(self._troubles) and tls_key(event.domain) in self._troubles

    def ready(self) -> bool:
        return True

    def _report(self, finding: Alert | Over) -> None:
        """An alert that came up, or a trouble that is over."""
        if isinstance(finding, Over):
            self._seems_over(finding)
            return
        now = self._clock.now()
        trouble = self._troubles.get(finding.key)
        if trouble is not None:
            trouble.well_since = trouble.over = None
        outgoing = self._throttle.offer(finding, now)
        if outgoing is not None:
            self._remember_trouble(outgoing, now)
            self._tell(outgoing)
        self._arm()

    def _remember_trouble(self, outgoing: Outgoing, now: float) -> None:
        """That it was told, where it can be told that it is over."""
        key = outgoing.alert.key
        if key in self._troubles or outgoing.crowd or outgoing.alert.kind not in ENDING:
            return
        while len(self._troubles) >= _TROUBLES:  # the oldest go: nobody will hear that they are over
            del self._troubles[next(iter(self._troubles))]
        self._troubles[key] = Trouble(key=key, since=now)

    def _seems_over(self, over: Over) -> None:
        trouble = self._troubles.get(over.key)
        if trouble is None:
            return
        trouble.over = over.alert
        if trouble.well_since is None:
            trouble.well_since = self._clock.now()
            self._arm()

    # --- time -----------------------------------------------------------------------------------------------

    def next_wake(self) -> float | None:
        """When something is due, in seconds since the epoch; None: nothing is."""
        wait = self._document.alerts.calm_time
        calm = [trouble.well_since + wait for trouble in self._troubles.values() if trouble.well_since]
        summary = self._throttle.next_wake()
        return min([*calm, *([summary] if summary is not None else [])], default=None)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.next_wake()
        if due is not None and self._running:
            delay = max(_SHORTEST_PAUSE, due - self._clock.now())
            self._timer = self._clock.call_later(delay, self._wake)

    def _wake(self) -> None:
        now = self._clock.now()
        for outgoing in self._throttle.summaries(now):
            self._remember_trouble(outgoing, now)
            self._tell(outgoing)
        calm = self._document.alerts.calm_time
        for trouble in list(self._troubles.values()):
            if trouble.well_since is not None and now >= trouble.well_since + calm:
                self._tell_over(trouble, now)
        self._arm()

    def _tell_over(self, trouble: Trouble, now: float) -> None:
        del self._troubles[trouble.key]
        held = self._throttle.release(trouble.key)
        assert trouble.over is not None, "set together with well_since"
        self._tell(Outgoing(alert=trouble.over, at=now, held_back=held, since=trouble.since))

    # --- telling --------------------------------------------------------------------------------------------

    def _tell(self, outgoing: Outgoing) -> None:
        task = asyncio.get_running_loop().create_task(self._go_out(outgoing, self._document))
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an alert could not be told", exc_info=error)

    async def _go_out(self, outgoing: Outgoing, document: Document) -> None:
        outgoing = await self._counted(outgoing)
        self._announce(outgoing, document)
        for receiver in subscribed(document, outgoing):
            self._outbox.send(outgoing, receiver, document)

    async def _counted(self, outgoing: Outgoing) -> Outgoing:
        """With the number of messages that wait because of it."""
        if not outgoing.alert.domain:
            return outgoing
        try:
            async with asyncio.timeout(_COUNTING_SECONDS):
                waiting = await self._sources.waiting(outgoing.alert.domain)
        except TimeoutError:
            return outgoing
        return msgspec.structs.replace(outgoing, waiting=waiting)

    def _announce(self, outgoing: Outgoing, document: Document) -> None:
        alert = outgoing.alert
        words = text(outgoing, document.hostname)
        self._bus.publish(
            AlertRaised(
                at=outgoing.at,
                alert_class=alert.alert_class,
                severity=alert.severity,
                kind=alert.kind,
                key=alert.key,
                title=alert.title,
                text=words,
                held_back=outgoing.held_back,
            )
        )
        recent = Recent(
            at=outgoing.at,
            alert_class=alert.alert_class,
            severity=alert.severity,
            kind=alert.kind,
            title=alert.title,
            text=words,
            held_back=outgoing.held_back,
        )
        self._recent = [*self._recent, recent][-document.alerts.kept :]
        self._keep()

    def _keep(self) -> None:
        troubles = {trouble.key: trouble.since for trouble in self._troubles.values()}
        self._memory.save(
            Kept(
                series=tuple(self._throttle.kept()),
                troubles=troubles,
                told=self._watch.told,
                recent=tuple(self._recent),
            )
        )

    # --- for commands ---------------------------------------------------------------------------------------

    def recent(self) -> Sequence[Recent]:
        """The last alerts, the newest last."""
        return tuple(self._recent)

    async def test(self, outgoing: Outgoing, receivers: Sequence[Receiver] | None = None) -> list[Attempt]:
        """Send one alert at once, with one attempt: past duplicates and what is kept. `receivers`: those
        who are subscribed to it in the document in force, when left out."""
        document = self._document
        chosen = subscribed(document, outgoing) if receivers is None else receivers
        return [await self._outbox.try_once(outgoing, each, document) for each in chosen]
