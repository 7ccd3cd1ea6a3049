"""The quarantine: messages that the analysis of files keeps back, one of them, release and delete."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_SHOWN = 200
VERDICTS = {
    "clean": N_("harmless"),
    "malicious": N_("malicious"),
    "unknown": N_("unknown to the servers"),
    "unscannable": N_("can't be analysed"),
    "pending": N_("no verdict in time"),
    "fault": N_("no server answered"),
}
"""Of the file that decided."""


@page(
    "/quarantine", title=N_("Quarantine"), place="queue", runs=("quarantine list",),
    summary=N_("Messages that the analysis of files keeps back"),
)  # fmt: skip
async def kept(visit: Visit) -> Response:
    match = visit.query("match")
    found = await visit.ask("quarantine list", match=match or None, limit=_SHOWN)
    return visit.show("quarantine/list.html", match=match, kept=found.value, verdicts=VERDICTS)


@page("/quarantine/{mid}", title=N_("Message in quarantine"), place="queue", runs=("quarantine show",))
async def message(visit: Visit) -> Response:
    found = await visit.ask("quarantine show", mid=visit.number("mid"))
    header = ""
    if visit.may("quarantine headers"):
        told = await visit.run("quarantine headers", mid=visit.number("mid"))
        header = told.text if told.ok else told.message
    return visit.show("quarantine/message.html", kept=found.value, header=header, verdicts=VERDICTS)


@action(
    "/quarantine/release", runs=("quarantine release",), title=N_("Release from quarantine"), place="queue"
)
async def release(visit: Visit) -> Response:
    mids = visit.fields("mids")
    if mids and visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Deliver these messages?")),
            text=visit.say(
                N_("They go to all their recipients as they are, and are not analysed again: {which}"),
                which=", ".join(mids),
            ),
            verb=visit.say(N_("Release from quarantine")),
            action="/quarantine/release",
            back="/quarantine",
            fields=tuple(("mids", each) for each in mids),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go("/quarantine", await visit.run("quarantine release", mids=mids))


@action("/quarantine/delete", runs=("quarantine delete",), title=N_("Delete from quarantine"), place="queue")
async def delete(visit: Visit) -> Response:
    mids = visit.fields("mids")
    if mids and visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Delete these messages from quarantine?")),
            text=visit.say(
                N_("They are gone, and neither sender nor recipient is told: {which}"), which=", ".join(mids)
            ),
            verb=visit.say(N_("Delete from quarantine")),
            action="/quarantine/delete",
            back="/quarantine",
            fields=tuple(("mids", each) for each in mids),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go("/quarantine", await visit.run("quarantine delete", mids=mids))
