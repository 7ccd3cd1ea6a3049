"""Alerts on their way: to whom, in how many attempts, and what the log says about each (reference §4.6).

There is no queue on disk: an alert that could not be delivered within the attempts is given up and told in
the log, and `displayalerts` still has it. How many may be on their way is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

import msgspec

from mxseal.alerts.alert import Outgoing, as_json, subject
from mxseal.alerts.letter import letter
from mxseal.alerts.post import Failure, Post
from mxseal.alerts.webhook import call
from mxseal.clock import Clock
from mxseal.config.model import AlertRecipient, Document, Webhook
from mxseal.events.bus import Bus
from mxseal.events.types import (
    AlertFailed,
    AlertMailAttempted,
    AlertMailDelivered,
    AlertMailGivenUp,
    AlertSent,
    Event,
    WebhookRefused,
)
from mxseal.storage.ports import Secrets

WAITS = (60.0, 300.0, 900.0, 1800.0)
"""Seconds before the second, third, … attempt."""
MOST_ON_THEIR_WAY = 200
_AT_ONCE = 8
UNRECOVERABLE = "Unrecoverable error"
"""The reference's word; what is wrong stands in the line before."""
log = logging.getLogger(__name__)

Receiver = AlertRecipient | Webhook


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended, for who waits for it."""

    to: str
    ok: bool
    problem: str = ""


def name_of(receiver: Receiver) -> str:
    return receiver.address if isinstance(receiver, AlertRecipient) else f"webhook {receiver.name}"


def secret_name(identifier: str) -> str:
    """Under which a webhook's secret is sealed; the document has the identifier."""
    return f"webhook:{identifier}"


class Outbox:
    """Takes alerts and sees to their delivery."""

    def __init__(self, bus: Bus, clock: Clock, post: Post, sealed: Secrets) -> None:
        self._bus = bus
        self._clock = clock
        self._post = post
        self._sealed = sealed
        self._carriers: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def send(self, outgoing: Outgoing, receiver: Receiver, document: Document) -> None:
        """On its way, with further attempts where the first fails."""
        if len(self._carriers) >= MOST_ON_THEIR_WAY:
            self._failed(outgoing, receiver, document, "too many alerts are on their way already")
            return
        task = asyncio.get_running_loop().create_task(self._carry(outgoing, receiver, document))
        self._carriers.add(task)
        task.add_done_callback(self._done)

    async def try_once(self, outgoing: Outgoing, receiver: Receiver, document: Document) -> Attempt:
        """One attempt and no more."""
        failure = await self._attempt(outgoing, receiver, document, _identifier(), 0)
        if failure is None:
            self._sent(outgoing, receiver, document)
            return Attempt(to=name_of(receiver), ok=True)
        self._given_up(outgoing, receiver, document, failure)
        return Attempt(to=name_of(receiver), ok=False, problem=failure.text)

    async def stop(self) -> None:
        """Give up what is on its way."""
        for task in self._carriers:
            task.cancel()
        if self._carriers:
            await asyncio.wait(self._carriers)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._carriers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an alert could not be sent", exc_info=error)

    async def _carry(self, outgoing: Outgoing, receiver: Receiver, document: Document) -> None:
        identifier = _identifier()
        failure = Failure(False, "the gateway stops")
        try:
            for attempt, wait in enumerate((0.0, *WAITS)):
                if wait:
                    await self._pause(wait)
                async with self._turn:
                    found = await self._attempt(outgoing, receiver, document, identifier, attempt)
                if found is None:
                    self._sent(outgoing, receiver, document)
                    return
                failure = found
                if failure.permanent:
                    break
        except asyncio.CancelledError:
            self._given_up(outgoing, receiver, document, Failure(True, "the gateway stops"))
            raise
        self._given_up(outgoing, receiver, document, failure)

    async def _pause(self, seconds: float) -> None:
        over = asyncio.get_running_loop().create_future()
        timer = self._clock.call_later(seconds, lambda: None if over.done() else over.set_result(None))
        try:
            await over
        finally:
            timer.cancel()

    # --- one attempt ----------------------------------------------------------------------------------------

    async def _attempt(
        self, outgoing: Outgoing, receiver: Receiver, document: Document, identifier: str, attempt: int
    ) -> Failure | None:
        if isinstance(receiver, Webhook):
            return await self._call(outgoing, receiver, document, identifier, attempt)
        mail = letter(outgoing, document, receiver.address, identifier)
        self._publish(AlertMailAttempted, to=receiver.address, subject=mail.subject, attempt=attempt)
        failure = await self._post.attempt(mail, document)
        if failure is None:
            self._publish(AlertMailDelivered, to=receiver.address, subject=mail.subject)
        return failure

    async def _call(
        self, outgoing: Outgoing, webhook: Webhook, document: Document, identifier: str, attempt: int
    ) -> Failure | None:
        payload = {"id": identifier, "attempt": attempt, **as_json(outgoing, document.hostname)}
        secret: bytes | None = None
        if webhook.secret is not None:
            secret = self._sealed.get(secret_name(webhook.secret))
        if webhook.secret is not None and secret is None:
            text = (
                f"its secret is not in the store: 'alertconfig webhook add {webhook.name} URL --secret …' "
                "puts it there again"
            )
            failure: Failure | None = Failure(True, text)
        else:
            failure = await call(webhook, payload, document, secret, self._clock.now())
        if failure is not None:
            self._publish(WebhookRefused, webhook=webhook.name, attempt=attempt, reason=failure.text)
        return failure

    # --- what is told ---------------------------------------------------------------------------------------

    def _publish(self, kind: Callable[..., Event], **values: object) -> None:
        self._bus.publish(kind(at=self._clock.now(), **values))

    def _sent(self, outgoing: Outgoing, receiver: Receiver, document: Document) -> None:
        alert = outgoing.alert
        self._publish(
            AlertSent,
            alert_class=alert.alert_class,
            severity=alert.severity,
            to=name_of(receiver),
            subject=subject(outgoing, document.hostname),
        )

    def _given_up(self, outgoing: Outgoing, receiver: Receiver, document: Document, failure: Failure) -> None:
        if isinstance(receiver, AlertRecipient):
            reason = UNRECOVERABLE if failure.permanent else "Too many attempts"
            line = subject(outgoing, document.hostname)
            self._publish(AlertMailGivenUp, to=receiver.address, subject=line, reason=reason)
        self._failed(outgoing, receiver, document, failure.text)

    def _failed(self, outgoing: Outgoing, receiver: Receiver, document: Document, reason: str) -> None:
        alert = outgoing.alert
        self._publish(
            AlertFailed,
            alert_class=alert.alert_class,
            severity=alert.severity,
            to=name_of(receiver),
            subject=subject(outgoing, document.hostname),
            reason=reason,
        )


def _identifier() -> str:
    return secrets.token_hex(12)


def subscribed(document: Document, outgoing: Outgoing) -> list[Receiver]:
    """Who gets an alert: by class and severity, none named means all."""
    alert = outgoing.alert
    receivers: list[Receiver] = [*document.alerts.recipients, *document.alerts.webhooks]
    return [
        receiver
        for receiver in receivers
        if (not receiver.classes or alert.alert_class in receiver.classes)
        and (not receiver.severities or alert.severity in receiver.severities)
    ]
