"""Delivery status notifications (RFC 3464, RFC 3462): what a sender reads when a message can't be delivered.

PURE: time and the boundary come in. The text is for people who don't run mail servers.
"""

from __future__ import annotations

import email.utils
from collections.abc import Sequence
from typing import Literal

import msgspec

WHOLE_MESSAGE_BYTES = 10 * 1024
"""Reference §3.6: the message is returned whole below 10 kB, else its headers."""
_LINE = 900
_TEXT = 300
_TOLD = 100
"""Recipients that are listed for people; with more, programs are told less about each too."""
_SHORT_TEXT = 80
_CONTROLS = dict.fromkeys((*range(32), 127), " ")


class FailedRecipient(msgspec.Struct, frozen=True, kw_only=True):
    """A recipient and what was said about it."""

    address: str
    status: str
    """Enhanced status code."""
    code: str
    """SMTP reply code, or 000 when there was none."""
    text: str
    remote_host: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a notification is made of."""

    kind: Literal["bounce", "delay"]
    hostname: str
    mid: int
    """The notification's own MID, for its Message-ID."""
    to: str
    recipients: tuple[FailedRecipient, ...]
    arrived: float
    now: float
    retry_until: float | None
    """Kind delay: when the attempts end."""
    boundary: str
    """Random, from the caller; letters and digits."""


def render(report: Report, original: bytes, *, whole: bool) -> bytes:
    """The notification as content with CRLF line ends. `original` is the message, or as much of its start as
    holds its headers; `whole` says which."""
    failed = report.kind == "bounce"
    subject = "Undelivered mail: it could not be delivered" if failed else "Delayed mail: still trying"
    smtputf8 = any(not r.address.isascii() for r in report.recipients) or not report.to.isascii()
    head = [
        f"From: Mail Delivery <MAILER-DAEMON@{report.hostname}>",
        f"To: <{_line(report.to)}>",
        f"Date: {email.utils.formatdate(report.now, localtime=False)}",
        f"Message-ID: <{report.mid}.{report.boundary}@{report.hostname}>",
        f"Subject: {subject}",
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f' boundary="{report.boundary}"',
    ]
    status_type = "message/global-delivery-status" if smtputf8 else "message/delivery-status"
    body = original if whole else original.partition(b"\r\n\r\n")[0] + b"\r\n"
    parts = (
        ("text/plain; charset=utf-8", _explanation(report).encode(errors="replace")),
        (status_type, _status(report).encode(errors="replace")),
        ("message/rfc822" if whole else "text/rfc822-headers", body),
    )
    pieces = ["\r\n".join(head).encode(), b"\r\n"]
    for content_type, content in parts:
        encoding = "7bit" if content.isascii() else "8bit"
        pieces.append(
            f"\r\n--{report.boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        )
        pieces.append(content)
    pieces.append(f"\r\n--{report.boundary}--\r\n".encode())
    return b"".join(pieces)


def _line(text: str, limit: int = _LINE) -> str:
    """One line of at most `limit` octets (RFC 5322 §2.1.1): what strangers wrote must not add fields."""
    line = text[:limit].translate(_CONTROLS)
    return line if line.isascii() else line.encode(errors="replace")[:limit].decode(errors="ignore")


def _explanation(report: Report) -> str:
    lines: Sequence[str]
    if report.kind == "bounce":
        lines = [
            "Your message could not be delivered to the recipients below.",
            "It will not be tried again.",
        ]
    else:
        until = email.utils.formatdate(report.retry_until or report.now, localtime=False)
        lines = [
            "Your message could not be delivered yet to the recipients below.",
            f"You need not send it again: it will be tried until {until}.",
        ]
    told = [f"<{_line(r.address)}>\r\n    {_reply(r)}" for r in report.recipients[:_TOLD]]
    if len(report.recipients) > _TOLD:
        told.append(f"and {len(report.recipients) - _TOLD} more, which the next part of this message lists.")
    return "\r\n".join([f"This is the mail system at {report.hostname}.", "", *lines, "", *told, ""])


def _reply(recipient: FailedRecipient) -> str:
    said = _line(recipient.text, _TEXT)
    if recipient.code == "000":
        return f"{recipient.status} {said}"
    host = _line(recipient.remote_host or "the next mail server", _TEXT)
    return f"{host} answered: {recipient.code} {said}"


def _status(report: Report) -> str:
    date = email.utils.formatdate
    lines = [f"Reporting-MTA: dns; {report.hostname}", f"Arrival-Date: {date(report.arrived)}"]
    times = [f"Last-Attempt-Date: {date(report.now)}"]
    if report.kind == "delay" and report.retry_until is not None:
        times.append(f"Will-Retry-Until: {date(report.retry_until)}")
    limit = _TEXT if len(report.recipients) <= _TOLD else _SHORT_TEXT
    for r in report.recipients:
        kind = "rfc822" if r.address.isascii() else "utf-8"  # RFC 6533 §3
        lines += [
            "",
            f"Final-Recipient: {kind}; {_line(r.address)}",
            f"Action: {'failed' if report.kind == 'bounce' else 'delayed'}",
            f"Status: {r.status}",
        ]
        if r.remote_host:
            lines.append(f"Remote-MTA: dns; {_line(r.remote_host)}")
        said = _line(r.text, limit)
        said = f"smtp; {r.code} {said}" if r.code != "000" else f"x-mxseal; {said}"
        lines += [f"Diagnostic-Code: {said}", *times]
    return "\r\n".join(lines) + "\r\n"
