"""Message tracking: find a message by all that is known of it, and its story with the TLS of both sides."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from mxseal.commands.parameters import OutputFile
from mxseal.faces.web import stories, strips
from mxseal.faces.web.calling import Answer
from mxseal.faces.web.pages import page
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "messages"
_PAGE = 50
_MOST_EXPORTED = 10_000
_MOST_STRIPS = 5
_LONGEST = 400
MAIN = {
    "from": N_("Sender"),
    "to": N_("Recipient"),
    "subject": N_("Words of the subject"),
}
"""Parameter of `findevent` -> label, always there."""
FURTHER = {
    "message_id": N_("Message-ID header"),
    "host": N_("Host that it came from or went to"),
    "mid": N_("MID, number of the message"),
    "icid": N_("ICID, number of the connection in"),
    "dcid": N_("DCID, number of a connection out"),
    "since": N_("Queued at or after"),
    "until": N_("Queued before"),
    "protocol": N_("TLS version"),
    "cipher": N_("Cipher suite"),
    "group": N_("Key exchange group"),
    "cause": N_("Cause of a diagnosis"),
}
"""The same, behind "More"."""
CHOICES: dict[str, tuple[str, dict[str, str]]] = {
    "event": (N_("What happened"), {
        "delivered": N_("delivered"), "waiting": N_("waits"), "delayed": N_("delayed"),
        "bounced": N_("bounced"), "deleted": N_("deleted"), "tls-failed": N_("an attempt was stopped by TLS"),
        "in-clear": N_("delivered in clear"), "refused-recipient": N_("a recipient was refused"),
        "double-bounced": N_("bounced without a notification"), "possibly-delivered": N_("perhaps delivered"),
        "notification": N_("is a notification"), "amp": N_("its files were analysed"),
        "malicious": N_("a malicious file was found"), "held": N_("waited for a verdict on a file"),
        "quarantined": N_("put into quarantine"), "released": N_("released from quarantine"),
    }),
    "tls": (N_("TLS of a connection"), {
        "verified": N_("encrypted and verified"), "encrypted": N_("encrypted"),
        "unverified": N_("encrypted, not verified"), "clear": N_("in clear"), "failed": N_("failed"),
    }),
    "side": (N_("Which connection"), {"in": N_("the one in"), "out": N_("one out")}),
    "direction": (N_("Direction"), {"inbound": N_("for own domains"), "outbound": N_("from own hosts")}),
    "level": (N_("TLS level"), {
        "off": N_("off"), "preferred": N_("preferred"), "required": N_("required"),
        "preferred-verify": N_("preferred-verify"), "required-verify": N_("required-verify"),
        "required-verify-hosted": N_("required-verify-hosted"),
    }),
    "refused": (N_("Look among"), {
        "any": N_("all that was refused"), "connection": N_("refused connections"),
        "tls": N_("failed handshakes"), "tls-required": N_("mail without the TLS that is required"),
        "recipient": N_("refused recipients"), "message": N_("messages that were broken off"),
    }),
}  # fmt: skip
"""Parameter -> label, its values with their words."""
_SEVERAL = ("event", "tls", "refused")
_NUMBERS = ("mid", "icid", "dcid")


def _asked(visit: Visit) -> dict[str, str]:
    """What is looked for, as it stands in the address."""
    names = (*MAIN, *FURTHER, *CHOICES)
    return {name: value for name in names if (value := visit.query(name)[:_LONGEST])}


def _values(asked: dict[str, str]) -> dict[str, Any]:
    """The same for the command."""
    values: dict[str, Any] = dict(asked)
    for name in _SEVERAL:
        if name in values:
            values[name] = [values[name]]
    for name in _NUMBERS:
        if name in values and values[name].isdecimal() and len(values[name]) <= 15:
            values[name] = int(values[name])
    return values


def _address(asked: dict[str, str], **further: str) -> str:
    return urlencode(asked | further)


@page("/messages", title=N_("Messages"), place=_PLACE, runs=("findevent",))
async def search(visit: Visit) -> Response:
    asked = _asked(visit)
    after = visit.query("after")[:_LONGEST]
    answer = await visit.run("findevent", **_values(asked), limit=_PAGE, after=after or None)
    found = answer.value if answer.ok else {}
    following = found.get("next")
    return visit.show(
        "messages/list.html",
        200 if answer.ok or not asked else 400,
        asked=asked,
        answer=answer,
        found=found,
        newest=f"?{_address(asked)}" if after else "",
        older=f"?{_address(asked, after=following)}" if following else "",
        export=_address(asked),
        fields=(MAIN, FURTHER, CHOICES),
        results=strips.RESULTS,
    )


@page("/messages/export", title=N_("Export"), place=_PLACE, runs=("findevent",))
async def export(visit: Visit) -> Response:
    form = "json" if visit.query("format") == "json" else "csv"
    name = "refused" if visit.query("refused") else "messages"
    answer: Answer = await visit.ask(
        "findevent",
        **_values(_asked(visit)),
        limit=_MOST_EXPORTED,
        export=OutputFile(f"{name}.{form}"),
        format=form,
    )
    return visit.save(answer)


@page("/messages/{mid}", title=N_("Message"), place=_PLACE, runs=("trackmessage",))
async def message(visit: Visit) -> Response:
    log = visit.query("log") == "yes"
    found = await visit.ask("trackmessage", mid=visit.number("mid"), lang=visit.language, log=log)
    story = found.value
    shown = strips.of_message(story, visit.site.hostname, visit.say)
    return visit.show(
        "messages/story.html",
        mid=visit.number("mid"),
        story=story,
        message=story["message"],
        strips=shown[:_MOST_STRIPS],
        hidden=len(shown[_MOST_STRIPS:]),
        connections=story["connections"][: _MOST_STRIPS + 1],
        lines=stories.lines(story, visit.say),
        results=strips.RESULTS,
    )
