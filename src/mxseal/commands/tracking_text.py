"""A message's story as text: a line for each thing that happened, and the page of `trackmessage`. PURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from mxseal.commands.explanation import Explanation
from mxseal.commands.explanation_text import Writer
from mxseal.commands.tracked import peer, tls_words
from mxseal.storage.tracking.values import Connection, Found, Step, Story
from mxseal.tls.observed import one_line

_MOST_SHOWN = 100
_SENTENCES = {
    "waiting": "It waits in the queue.",
    "delivered": "All recipients have it.",
    "partly-delivered": "Some recipients have it, others do not.",
    "bounced": "It could not be delivered.",
    "deleted": "It was deleted.",
    "quarantined": "It is in quarantine.",
}
_SCREENED = {
    "held": "Held until there is a verdict on a file",
    "analysed": "Files analysed",
    "quarantined": "Put into quarantine",
    "released": "Released from quarantine by",
    "dropped": "Dropped",
    "discarded": "Deleted from quarantine",
}


class Line(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at: float
    timestamp: str
    """RFC 3339, to the second."""
    description: str
    last_event: bool


def summary(story: Story) -> list[Line]:
    """All that happened, in order."""
    told = sorted(_told(story), key=lambda each: each[0])
    last = len(told) - 1
    return [Line(at, _stamp(at), one_line(text), index == last) for index, (at, text) in enumerate(told)]


def _told(story: Story) -> Iterator[tuple[float, str]]:
    message = story.message
    for connection in story.connections:
        yield from _connection(connection)
    source = f" on ICID {message.icid}" if message.icid else ""
    yield story.started, f"MID {message.mid} begins{source}, from <{message.sender}>"
    for refused in story.refused:
        if refused.recipient is not None:
            yield refused.at, f"Recipient <{refused.recipient}> is refused {refused.reason}"
    for recipient in story.recipients if len(story.recipients) <= _MOST_SHOWN else ():
        yield story.started, f"Recipient {recipient.rid}: <{recipient.recipient}>"
    if message.message_id:
        yield message.at, f"Message-ID {message.message_id}"
    if message.subject:
        yield message.at, f'Subject "{message.subject}"'
    yield message.at, f"MID {message.mid} is queued, {message.size} bytes"
    for step in story.steps:
        yield step.at, _step(step, story)
    if message.finished is not None:
        yield message.finished, f"MID {message.mid} is finished"


def _connection(found: Connection) -> Iterator[tuple[float, str]]:
    who = peer(found.host, found.ip)
    if found.kind == "icid":
        group = f", sender group {found.sender_group}" if found.sender_group else ""
        text = f"ICID {found.number}: {who} connects to {found.listener or '?'}{group}"
        yield found.at, f"{text}, policy {found.policy or '?'}, level {found.level or '?'}"
    else:
        text = f"DCID {found.number}: connection to {who} port {found.port} for {found.domain}"
        yield found.at, f"{text}, level {found.level or '?'} ({found.level_from or '?'})"
    tls, name = found.tls, f"{found.kind.upper()} {found.number}"
    if tls is not None and tls.state and tls.state not in ("clear", "failed"):
        yield found.at, f"{name}: {tls_words(tls)}, {tls.cipher}, {tls.group or 'no group'}"
    elif tls is not None and tls.state == "failed":
        yield found.at, f"{name}: TLS failed: {tls.cause}"
    elif tls is not None and tls.state == "clear":
        yield found.at, f"{name}: without TLS"
    if found.trouble:
        yield found.at, f"{name}: {found.trouble}"


def _step(step: Step, story: Story) -> str:
    names = _names(step, story)
    way = f" over DCID {step.dcid}" if step.dcid else ""
    reply = f"{step.status} {step.reason} ({step.code} {' '.join(step.lines)})"
    match step.kind:
        case "delivered":
            return f"Delivered to {names}{way}: {step.response}"
        case "delayed":
            following = f"; next attempt {_stamp(step.next_attempt)}" if step.next_attempt else ""
            return f"Delayed for {names}{way}: {reply}{following}"
        case "bounced":
            return f"Bounced for {names}{way}: {reply}"
        case "double-bounced":
            return f"Bounced for {names} without a notification, as it has no sender: {reply}"
        case "possible":
            return f"Perhaps delivered to {names}{way}: the answer to the end of the message was lost"
        case "held" | "analysed" | "quarantined" | "released" | "dropped" | "discarded":
            return f"{_SCREENED[step.kind]}: {step.reason}"
        case _:
            return f"Deleted from the queue for {names}"


def _names(step: Step, story: Story) -> str:
    by_rid = {each.rid: each.recipient for each in story.recipients}
    names = [f"<{by_rid.get(rid, f'RID {rid}')}>" for rid in step.rids[:5]]
    more = len(step.rids) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def page(story: Story, writer: Writer, told: Sequence[Explanation], lines: Sequence[str]) -> str:
    """For people."""
    message = story.message
    shown = ", ".join(map(one_line, message.recipients[:3]))
    more = message.recipient_count - min(3, len(message.recipients))
    out = [
        f"MID {message.mid}: from <{one_line(message.sender)}> to {shown}"
        + (f" and {more} more" if more > 0 else ""),
        "",
        f"  {_SENTENCES[message.state]} {_counts(message)}",
    ]
    if message.about:
        out.append(f"  It is a notification about MID {message.about}.")
    if story.notices:
        out.append(f"  Notifications about it: {', '.join(f'MID {mid}' for mid in story.notices)}.")
    out += ["", "What happened"]
    happened = summary(story)
    left_out = len(happened) - _MOST_SHOWN
    out += [f"  {line.timestamp}  {line.description}" for line in happened[:_MOST_SHOWN]]
    if left_out > 0:
        out.append(f"  … and {left_out} lines more: --json has them all")
    text = "\n".join(out) + "\n"
    for each in told:
        text += "\n" + writer.connection(each, ())
    hidden = len(story.connections) - len(told)
    if hidden > 0:
        text += f"\n{hidden} more connections are not explained here: explain dcid NUMBER, or --json.\n"
    if lines:
        text += "\nMail log\n" + "".join(f"  {line}\n" for line in lines)
    return text


def _counts(message: Found) -> str:
    waiting = message.recipient_count - message.delivered - message.bounced - message.deleted
    counted = (
        ("delivered", message.delivered),
        ("waiting", waiting),
        ("bounced", message.bounced),
        ("deleted", message.deleted),
        ("refused at once", message.refused),
    )
    told = ", ".join(f"{name} {count}" for name, count in counted if count)
    return f"Recipients: {told}." if told else ""


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
