"""What became of the messages, told from the JSON log alone: it has every fact that the table needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the closing table."""

    title: str
    as_expected: bool
    arrived: tuple[str, ...]
    """How it came in: protocol, cipher, group."""
    left: tuple[str, ...]
    """How it went out: protocol, cipher, group, whether the certificate was verified."""
    outcome: str


@dataclass(kw_only=True)
class Message:
    """The facts of one message, by its MID."""

    mid: int
    icid: int
    subject: str = ""
    queued: bool = False
    recipients: int = 0
    delivered: int = 0
    dcid: int | None = None


@dataclass(kw_only=True)
class Story:
    """All messages and TLS connections of a JSON log."""

    messages: dict[int, Message] = field(default_factory=dict)
    inbound: dict[int, Event] = field(default_factory=dict)
    """ICID to TLS facts."""
    inbound_failed: dict[int, Event] = field(default_factory=dict)
    """ICID to the event."""
    outbound: dict[int, Event] = field(default_factory=dict)
    """DCID to TLS facts."""
    outbound_failed: dict[int, Event] = field(default_factory=dict)
    """DCID to the event."""

    def about(self, subject: str) -> Message | None:
        """The message with this subject."""
        return next((each for each in self.messages.values() if each.subject == subject), None)


def read(text: str) -> Story:
    """The story that a JSON log tells."""
    story = Story()
    for event in _events(text):
        _take(story, event)
    return story


def _events(text: str) -> Iterable[Event]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # the last line, still being written


def _take(story: Story, event: Event) -> None:
    kind = event["event"]
    if kind == "MessageStarted":
        story.messages[event["mid"]] = Message(mid=event["mid"], icid=event["icid"])
    elif kind == "InboundTlsSucceeded":
        story.inbound[event["icid"]] = event["facts"]
    elif kind == "InboundTlsFailed":
        story.inbound_failed[event["icid"]] = event
    elif kind == "OutboundTlsSucceeded":
        story.outbound[event["dcid"]] = event["facts"]
    elif kind == "OutboundTlsFailed":
        story.outbound_failed[event["dcid"]] = event
    elif event.get("mid") in story.messages:
        _take_message(story.messages[event["mid"]], event)


def _take_message(message: Message, event: Event) -> None:
    kind = event["event"]
    if kind == "RecipientAccepted":
        message.recipients += 1
    elif kind == "MessageReceived":
        message.subject = event["subject"] or ""
    elif kind == "MessageQueued":
        message.queued = True
    elif kind == "RecipientsDelivered":
        message.delivered += len(event["rids"])
        message.dcid = event["dcid"]
    elif kind == "RecipientDelayed":
        message.dcid = event["dcid"]


def tls_words(facts: Event | None) -> tuple[str, ...]:
    """Protocol, cipher, group of a TLS connection, or that there was none."""
    if facts is None:
        return ("no TLS",)
    return tuple(word for word in (facts["protocol"], facts["cipher"], facts["group"]) if word)


def delivered_row(story: Story, title: str, arrived: int) -> Row:
    """A message that had to go through, encrypted and verified. `arrived`: copies that the next hop has."""
    message = story.about(title)
    if message is None:
        return Row(title=title, as_expected=False, arrived=("never came in",), left=("-",), outcome="NO")
    facts = story.outbound.get(message.dcid) if message.dcid is not None else None
    verified = facts is not None and facts["verified"]
    word = "certificate verified" if verified else "certificate NOT verified"
    complete = message.recipients == message.delivered == arrived > 0
    return Row(
        title=title,
        as_expected=complete and verified and message.icid in story.inbound,
        arrived=tls_words(story.inbound.get(message.icid)),
        left=(*tls_words(facts), word) if facts is not None else ("no TLS",),
        outcome=f"{'yes' if complete else 'NO'}, {arrived} of {message.recipients}",
    )


def refused_row(story: Story, title: str) -> Row:
    """A client whose handshake had to fail, with a diagnosis."""
    failed = list(story.inbound_failed.values())
    told = failed[-1]["diagnosis"] if failed else None
    return Row(
        title=title,
        as_expected=told is not None,
        arrived=("handshake failed", told["cause"] if told else "no diagnosis"),
        left=("-",),
        outcome="refused" if told else "not told why",
    )


def held_row(story: Story, title: str, seen: Sequence[object]) -> Row:
    """A message that must not leave in clear text. `seen`: what the next hop was given, nothing."""
    message = story.about(title)
    failed = story.outbound_failed.get(message.dcid) if message and message.dcid is not None else None
    told = failed["diagnosis"] if failed else None
    held = message is not None and message.queued and not message.delivered and not seen
    return Row(
        title=title,
        as_expected=held and told is not None,
        arrived=tls_words(story.inbound.get(message.icid)) if message else (),
        left=("required, not offered", told["cause"] if told else "no diagnosis"),
        outcome="held back" if held else "NOT held back",
    )
