"""One alert as a value, and its words: subject, text, JSON (reference §5). PURE."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from typing import Any

import msgspec

from mxseal.config.model import AlertClass, Severity

CLASSES: dict[AlertClass, str] = {
    "system": "System",
    "delivery": "Message Delivery",
    "certificates": "Certificates",
    "storage": "Storage",
    "security": "Security",
}
"""As people see them, in the order of the dialogues."""
SEVERITIES: dict[Severity, str] = {
    "critical": "Critical",
    "warning": "Warning",
    "information": "Information",
}
LONGEST_TITLE = 300
LONGEST_VALUE = 1000
_COLUMNS = 76


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong, or right again."""

    kind: str
    """A stable short identifier, e.g. 'tls-failed'."""
    alert_class: AlertClass
    severity: Severity
    key: str
    """Alerts with the same key are duplicates of each other."""
    title: str
    """One line, the same in subject and text."""
    details: tuple[tuple[str, str], ...] = ()
    """(label, value): what is known, line by line."""
    remedy: str = ""
    """What to do, by whom."""
    domain: str = ""
    """The recipient domain whose mail waits because of it; empty: no mail does."""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """An alert on its way out, with what is known only then. Times in seconds since the epoch."""

    alert: Alert
    at: float
    held_back: int = 0
    """Duplicates since the last one that was sent."""
    since: float | None = None
    """When the first of the series came; None when this is the first."""
    crowd: bool = False
    """It stands for alerts of its kind about several things: there are too many to tell each."""
    waiting: int | None = None
    """Messages that wait for `alert.domain`; None: not known."""
    test: bool = False


def plain(text: str, longest: int = LONGEST_VALUE) -> str:
    """A stranger's text as one bounded line: no control characters, nothing that turns the direction of
    text. Headers and subjects are made of it."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def subject(outgoing: Outgoing, hostname: str) -> str:
    """'Warning <System> esa.example.com: text': the form of real alerts, not that of the manual."""
    alert = outgoing.alert
    test = "Test: " if outgoing.test else ""
    head = f"{SEVERITIES[alert.severity]} <{CLASSES[alert.alert_class]}> {hostname}: {test}"
    return head + plain(alert.title, LONGEST_TITLE)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def text(outgoing: Outgoing, hostname: str) -> str:
    """What people read: lines of at most 76 columns where words allow it, each ended with a newline."""
    alert = outgoing.alert
    blocks = [_wrapped(plain(alert.title, LONGEST_TITLE))]
    if outgoing.test:
        blocks.insert(0, "This is a test of alerts. Nothing of what follows has happened.")
    rows = list(alert.details)
    if alert.domain:
        known = "not known" if outgoing.waiting is None else str(outgoing.waiting)
        rows.append(("Messages waiting", known))
    if rows:
        blocks.append("\n".join(_row(label, value) for label, value in rows))
    if alert.remedy:
        blocks.append(_wrapped(f"What to do: {plain(alert.remedy)}"))
    blocks += [_wrapped(line) for line in _series(outgoing)]
    kind = f"{CLASSES[alert.alert_class]}/{SEVERITIES[alert.severity]} ({alert.kind})"
    blocks.append(f"-- \nMXSeal on {hostname}, {moment(outgoing.at)}\n{kind}; 'alertconfig' says who gets it")
    return "\n\n".join(blocks) + "\n"


def _series(outgoing: Outgoing) -> list[str]:
    lines = []
    if outgoing.crowd:
        lines.append(
            "There are alerts of this kind about many different things. They are gathered from now on, and "
            "this is the last of them; the logs have them all."
        )
    if outgoing.held_back and outgoing.since is not None:
        times = "once" if outgoing.held_back == 1 else f"{outgoing.held_back} times"
        what = "An alert like this" if outgoing.crowd else "This alert"
        lines.append(
            f"{what} was held back {times} since the last one that was sent. The first of the series came "
            f"at {moment(outgoing.since)}."
        )
    return lines


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _COLUMNS, break_long_words=False, break_on_hyphens=False)


def _row(label: str, value: str) -> str:
    return textwrap.fill(
        f"{label + ':':17} {plain(value)}",
        _COLUMNS,
        subsequent_indent=" " * 18,
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_json(outgoing: Outgoing, hostname: str) -> dict[str, Any]:
    """The body of a webhook's request; its keys are an interface (docs/alerts.md)."""
    alert = outgoing.alert
    return {
        "version": 1,
        "hostname": hostname,
        "at": outgoing.at,
        "class": alert.alert_class,
        "severity": alert.severity,
        "kind": alert.kind,
        "key": alert.key,
        "title": plain(alert.title, LONGEST_TITLE),
        "subject": subject(outgoing, hostname),
        "details": [{"label": label, "value": plain(value)} for label, value in alert.details],
        "remedy": plain(alert.remedy),
        "domain": alert.domain or None,
        "waiting": outgoing.waiting,
        "held_back": outgoing.held_back,
        "since": outgoing.since,
        "gathered": outgoing.crowd,
        "test": outgoing.test,
        "text": text(outgoing, hostname),
    }
