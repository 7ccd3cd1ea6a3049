"""Looks from time to time at what gives no event: dates, chains, disk, queue. The clock is given."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from cryptography import x509

from mxseal.alerts import standing
from mxseal.alerts.alert import Alert
from mxseal.alerts.kinds import Over
from mxseal.alerts.sources import Sources
from mxseal.alerts.standing import Told
from mxseal.clock import Clock, Timer
from mxseal.config.model import Document

OFTEN_SECONDS = 60.0
SELDOM_SECONDS = 3600.0
REMINDER_SECONDS = 86_400.0
"""A disk that stays full, or mail that goes on waiting, is told of again after a day."""
log = logging.getLogger(__name__)


class Watch:
    """Reports what it finds; each standing condition once until it changes."""

    def __init__(
        self,
        clock: Clock,
        sources: Sources,
        report: Callable[[Alert | Over], None],
        told: dict[str, str],
    ) -> None:
        """`told`: what was told of before, by key; kept up to date."""
        self.told = dict(told)
        self._clock = clock
        self._sources = sources
        self._report = report
        self._document = Document()
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None
        self._seldom_due = 0.0

    def start(self, document: Document) -> None:
        self._document = document
        self._look()

    def configure(self, document: Document) -> None:
        """A new document: its certificates are looked at now."""
        self._document = document
        self._seldom_due = 0.0
        self._look()

    async def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def _look(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(OFTEN_SECONDS, self._look)
        if self._looking is None:  # a queue that answers slowly is not asked twice
            self._looking = asyncio.get_running_loop().create_task(self._look_at_all())
            self._looking.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("what alerts watch could not be looked at", exc_info=error)
        elif self._seldom_due == 0.0 and not task.cancelled():
            self._look()  # a document came in between

    async def _look_at_all(self) -> None:
        document, now = self._document, self._clock.now()
        if now >= self._seldom_due or now < self._seldom_due - 2 * SELDOM_SECONDS:
            self._seldom_due = now + SELDOM_SECONDS
            await self._look_at_certificates(document, now)
        self._look_at_disk(document, now)
        await self._look_at_queue(document, now)

    # --- certificates ---------------------------------------------------------------------------------------

    async def _look_at_certificates(self, document: Document, now: float) -> None:
        roots = await self._roots(document)
        entries = standing.dated(document, now)
        found = [
            *standing.expiring(entries, now),
            *standing.overdue_lists(self._sources.lists(), now),
            *standing.chain_problems(document, now, roots),
        ]
        self._report_new(found)
        here = {told.key for told in found}
        # What does not stand any more may be told again when it comes back.
        for key in [key for key in self.told if key not in here and not key.startswith("state:")]:
            del self.told[key]

    async def _roots(self, document: Document) -> Sequence[x509.Certificate] | None:
        ask = self._sources.roots
        return None if ask is None else await ask(document)

    def _report_new(self, found: Iterable[Told]) -> None:
        for each in found:
            if self.told.get(each.key) != each.mark:
                self.told[each.key] = each.mark
                self._report(each.alert)

    # --- disk and queue -------------------------------------------------------------------------------------

    def _look_at_disk(self, document: Document, now: float) -> None:
        free, total = self._sources.disk()
        percent = document.alerts.disk_free_percent
        low = standing.disk_low(free, total, percent, was_low="state:disk" in self.told)
        if low:
            self._stands("state:disk", standing.disk_alert(free, total, percent), now)
        else:
            self._is_over("state:disk", Over("disk", standing.disk_recovered(free, total)))

    async def _look_at_queue(self, document: Document, now: float) -> None:
        limit = document.alerts.queue_age
        oldest = await self._sources.oldest() if limit else None
        if oldest is not None and now - oldest.queued_at >= limit:
            self._stands("state:queue", standing.queue_alert(oldest, limit, now), now)
        else:
            self._is_over("state:queue", Over("queue-age", standing.queue_recovered()))

    def _stands(self, key: str, alert: Alert, now: float) -> None:
        before = self.told.get(key)
        if before is None or now - float(before) >= REMINDER_SECONDS:
            self.told[key] = repr(now)
            self._report(alert)

    def _is_over(self, key: str, over: Over) -> None:
        if self.told.pop(key, None) is not None:
            self._report(over)
