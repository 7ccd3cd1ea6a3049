"""The mail log's lines about alerts (reference §4.6): the part of its table that `maillog` takes over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mxseal.alerts.alert import CLASSES
from mxseal.events import types as facts
from mxseal.events.types import Event

LONGEST_SUBJECT = 200
"""Of an alert; longer ones are cut with '...' (reference §4.6)."""
_LONGEST_FIELD = 1000
_MOST_REPLY_LINES = 8
_CLASSES: dict[str, str] = dict(CLASSES.items())

Line = tuple[str, str]
"""(level, text)."""


def cut(text: str, longest: int = _LONGEST_FIELD) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _info(text: str) -> list[Line]:
    return [("Info", text)]


def _alert_raised(event: facts.AlertRaised) -> list[Line]:
    # Ours. What other alerts are about has its line already; that a certificate expires has no other.
    if event.alert_class != "certificates":
        return []
    level = {"critical": "Critical", "warning": "Warning"}.get(event.severity, "Info")
    return [(level, cut(event.title))]


def _alert(event: facts.AlertSent | facts.AlertFailed) -> str:
    return f"{_CLASSES.get(event.alert_class, event.alert_class)}/{event.severity.capitalize()} alert"


def _subject(text: str) -> str:
    return cut(text, LONGEST_SUBJECT)


def _alert_sent(event: facts.AlertSent) -> list[Line]:
    return _info(f'A {_alert(event)} was sent to {event.to} with subject "{_subject(event.subject)}".')


def _alert_failed(event: facts.AlertFailed) -> list[Line]:
    unable = f'Unable to send {_alert(event)} to {event.to} with subject "{_subject(event.subject)}".'
    return [("Critical", f"Error while sending alert: {unable}")]


def _alert_mail_attempted(event: facts.AlertMailAttempted) -> list[Line]:
    return _info(
        f"Internal SMTP system attempting to send a message to {event.to} with subject "
        f"'{_subject(event.subject)}' (attempt #{event.attempt})."
    )


def _alert_mail_delivered(event: facts.AlertMailDelivered) -> list[Line]:
    return _info(
        f"Internal SMTP system successfully sent a message to {event.to} with subject "
        f"'{_subject(event.subject)}'."
    )


def _alert_mail_refused(event: facts.AlertMailRefused) -> list[Line]:
    if event.code == "000":
        why = cut(event.reason)
    else:
        said = [cut(line, 500) for line in event.lines[:_MOST_REPLY_LINES]]
        why = (
            f'Unexpected SMTP response "{event.code}", expecting code starting with "2", '
            f"response was {said!r}"
        )
    host = f"{event.host}:{event.port}"
    failed = f"Failed to send message to host {host} for recipient {event.to}: {why}."
    return [("Warning", f"Internal SMTP Error: {failed}")]


def _alert_mail_in_clear(event: facts.AlertMailInClear) -> list[Line]:
    # In the reference a line of reportd_logs, with 'an unsupported protocol issue' for the reason.
    sent = f"Alert message is sent in plain text to {event.to}"
    return [("Warning", f"TLS connection failed because of {cut(event.reason)}. {sent}")]


def _alert_mail_given_up(event: facts.AlertMailGivenUp) -> list[Line]:
    message = f"message to {event.to} with subject '{_subject(event.subject)}'"
    return [("Critical", f"Internal SMTP giving up on {message}: {cut(event.reason)}.")]


def _webhook_refused(event: facts.WebhookRefused) -> list[Line]:
    # Ours: the reference has no webhooks.
    failed = f"Failed to send alert to webhook {event.webhook} (attempt #{event.attempt})"
    return [("Warning", f"Webhook Error: {failed}: {cut(event.reason)}.")]


ALERT_TABLE: dict[type[Event], Callable[[Any], list[Line]]] = {
    facts.AlertRaised: _alert_raised,
    facts.AlertSent: _alert_sent,
    facts.AlertFailed: _alert_failed,
    facts.AlertMailAttempted: _alert_mail_attempted,
    facts.AlertMailDelivered: _alert_mail_delivered,
    facts.AlertMailRefused: _alert_mail_refused,
    facts.AlertMailInClear: _alert_mail_in_clear,
    facts.AlertMailGivenUp: _alert_mail_given_up,
    facts.WebhookRefused: _webhook_refused,
}
"""Each event about alerts and the lines that tell it."""
