"""What happened to a message, as sentences in order. PURE.

The value is that of `trackmessage` for programs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from mxseal.faces.web.texts import N_, Say

_MOST_NAMES = 5
MOST_LINES = 200
_STEPS: dict[str, tuple[str, str]] = {
    "delivered": (N_("Delivered to {names}"), "good"),
    "delayed": (N_("Delayed for {names}"), "weak"),
    "bounced": (N_("Bounced for {names}"), "bad"),
    "double-bounced": (N_("Bounced for {names}, without a notification as it has no sender"), "bad"),
    "possible": (N_("Perhaps delivered to {names}: the answer to the end of the message was lost"), "weak"),
    "deleted": (N_("Deleted from the queue for {names}"), "idle"),
    "held": (N_("Held until there is a verdict on a file"), "weak"),
    "analysed": (N_("The files were analysed"), "good"),
    "quarantined": (N_("Put into quarantine"), "bad"),
    "released": (N_("Released from quarantine"), "idle"),
    "dropped": (N_("Dropped because of a file"), "bad"),
    "discarded": (N_("Deleted from quarantine"), "idle"),
}


class Line(msgspec.Struct, frozen=True):
    """One thing that happened. `kind`: good, weak, bad, idle."""

    at: float
    kind: str
    text: str
    detail: str = ""
    """What the other side said, or further facts."""


def lines(story: Mapping[str, Any], speak: Say) -> list[Line]:
    """All that happened, the first at the top; at most MOST_LINES."""
    return sorted(_lines(story, speak), key=lambda line: line.at)[:MOST_LINES]


def _lines(story: Mapping[str, Any], speak: Say) -> Iterator[Line]:
    message = story["message"]
    for each in story["connections"]:
        yield _connection(each, speak)
    for each in story["refused"]:
        if each["recipient"] is not None:
            text = speak(N_("Recipient {name} is refused"), name=each["recipient"])
            yield Line(each["at"], "bad", text, each["reason"])
    yield Line(message["at"], "idle", speak(N_("The message is in the queue")))
    for step in story["steps"]:
        yield _step(step, story, speak)
    if message["finished"] is not None:
        yield Line(message["finished"], "idle", speak(N_("The message left the queue")))


def _connection(each: Mapping[str, Any], speak: Say) -> Line:
    who = f"{each['host']} [{each['ip']}]" if each["host"] and each["host"] != each["ip"] else each["ip"]
    coming = each["kind"] == "icid"
    text = N_("{who} connects to {listener}") if coming else N_("Connection to {who} for {domain}")
    told = speak(text, who=who or "?", listener=each["listener"] or "?", domain=each["domain"])
    kind = "bad" if each["trouble"] or each["outcome"] in ("failed", "tls-failed", "tls-not-used") else "idle"
    return Line(each["at"], kind, told, f"{each['kind'].upper()} {each['number']}")


def _step(step: Mapping[str, Any], story: Mapping[str, Any], speak: Say) -> Line:
    text, kind = _STEPS.get(step["kind"], _STEPS["deleted"])
    by_rid = {each["rid"]: each["recipient"] for each in story["recipients"]}
    names = [by_rid.get(rid, f"RID {rid}") for rid in step["rids"][:_MOST_NAMES]]
    told = ", ".join(names)
    if more := len(step["rids"]) - len(names):
        told = speak(N_("{names} and {n} more"), names=told, n=more)
    reply = step["response"] or " ".join(filter(None, (step["code"], *step["lines"]))) or step["reason"]
    return Line(step["at"], kind, speak(text, names=told), reply)
