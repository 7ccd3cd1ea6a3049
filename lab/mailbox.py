"""Messages that a peer has taken, read from the files into which it delivers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from lab.process import PATIENCE, until


@dataclass(frozen=True, kw_only=True)
class Message:
    """One delivered message. `content` has the line ends of the file, and on top what the peer added."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    path: Path

    @property
    def parsed(self) -> EmailMessage:
        """Header and body as the standard library reads them."""
        return BytesParser(policy=policy.default).parsebytes(self.content)

    @property
    def subject(self) -> str:
        return str(self.parsed["subject"] or "")

    @property
    def received(self) -> tuple[str, ...]:
        """The Received lines, newest first, unfolded."""
        return tuple(" ".join(str(line).split()) for line in self.parsed.get_all("received", []))


def read_maildir(folder: Path) -> tuple[Message, ...]:
    """The messages in a Maildir, oldest first; envelopes from Return-Path, Envelope-To and X-Original-To."""
    found = []
    for path in [*folder.glob("new/*"), *folder.glob("cur/*")]:
        content = path.read_bytes()
        head = BytesParser(policy=policy.compat32).parsebytes(content, headersonly=True)
        recipients = head.get("envelope-to") or head.get("x-original-to") or head.get("delivered-to") or ""
        message = Message(
            sender=(head.get("return-path") or "").strip("<> "),
            recipients=tuple(name.strip() for name in recipients.split(",") if name.strip()),
            content=content,
            path=path,
        )
        found.append((path.stat().st_mtime_ns, path.name, message))
    return tuple(message for *_, message in sorted(found, key=lambda entry: entry[:2]))


def wait_for_messages(
    read: Callable[[], tuple[Message, ...]], count: int, log: Callable[[], str], seconds: float = PATIENCE
) -> tuple[Message, ...]:
    """`read()` once it gives at least `count` messages. Raises Trouble with the log's end after `seconds`."""
    until(
        lambda: len(read()) >= count,
        lambda: f"{len(read())} of {count} messages have come in {seconds:g} s. The log ends:\n{_end(log())}",
        seconds,
    )
    return read()


def wait_for_log(read: Callable[[], str], pattern: str, seconds: float = PATIENCE) -> str:
    """The first match of a regular expression in a log, waiting for it. Raises Trouble after `seconds`."""
    until(
        lambda: re.search(pattern, read()) is not None,
        lambda: f"no line like {pattern!r} in {seconds:g} s. The log ends:\n{_end(read())}",
        seconds,
    )
    found = re.search(pattern, read())
    assert found is not None
    return found[0]


def _end(text: str, lines: int = 25) -> str:
    return "\n".join(text.splitlines()[-lines:])
