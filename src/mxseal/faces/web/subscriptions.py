"""Log subscriptions: which logs there are, how long they are kept, to which syslog server they are sent."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "system"
_PATH = "/system/subscriptions"
_TITLE = N_("Log subscriptions")
_KEPT = {
    "level": N_("Level"),
    "filename": N_("File name"),
    "rotate_bytes": N_("New file at (bytes)"),
    "rotate_seconds": N_("New file after (s)"),
    "keep_files": N_("Files kept"),
    "keep_days": N_("Days kept"),
}
LOGS = Entries(
    path=_PATH,
    home=_PATH,
    place=_PLACE,
    command="logconfig",
    key="name",
    known_as="log",
    fields=("kind", *_KEPT),
    edit_only=("default",),
    rest=True,
    changes=True,
    labels={
        "name": N_("Name"),
        "kind": N_("What it tells"),
        "default": N_("Begin with the general settings again"),
        **_KEPT,
    },
    helps={"default": N_("What stands in this form and differs from them is put on top")},
    words=Words(
        title=_TITLE,
        lead="",
        summary="",
        new=N_("Add a log"),
        edit=N_("Log {name}"),
        save=N_("Change the log"),
        delete=N_("Delete the log {name}?"),
        deleted=N_("Its files stay. A log that is always there gets its default values back."),
    ),
)
SETUP = Setting(
    path=_PATH + "/setup",
    place=_PLACE,
    command="logconfig setup",
    fields=("level", "rotate_bytes", "rotate_seconds", "keep_files", "keep_days"),
    rest=True,
    changes=True,
    labels={
        "json_log": N_("Write the log of all events (JSON)"),
        "time": N_("Time in lines"),
        "headers": N_("Log subjects"),
        **_KEPT,
    },
    title=N_("General settings of logs"),
    lead=N_("For each log that has no value of its own."),
    verb=N_("Change the general settings"),
    back=_PATH,
    back_title=_TITLE,
)
PUSH = Setting(
    path=_PATH + "/{name}/push",
    place=_PLACE,
    command="logconfig push set",
    key="log",
    fields=(
        "host", "port", "transport", "server_name", "certificate", "format", "facility", "framing",
    ),
    rest=True,
    chosen={"certificate": ()},
    labels={
        "host": N_("Syslog server"),
        "port": N_("Port"),
        "transport": N_("Transport"),
        "server_name": N_("Name in its certificate"),
        "certificate": N_("Client certificate"),
        "format": N_("Format"),
        "facility": N_("Facility"),
        "framing": N_("Framing"),
    },
    title=N_("Send {name} to a syslog server"),
    lead=N_("What the server can't take waits in the log's files. With TLS its certificate is verified."),
    verb=N_("Send the log there"),
    back=_PATH,
    back_title=_TITLE,
)  # fmt: skip


@page(
    _PATH,
    title=_TITLE,
    place=_PLACE,
    runs=("logconfig list", "logconfig status"),
    summary=N_("Which logs are written, how much they tell, how long they are kept, where they are sent."),
)
async def subscriptions(visit: Visit) -> Response:
    return visit.show(
        "subscriptions/list.html",
        logs=(await visit.ask("logconfig list")).value,
        pushes=(await visit.ask("logconfig status")).table,
        at=LOGS.address,
    )


@action(_PATH + "/{name}/unpush", title=_TITLE, place=_PLACE, runs=("logconfig push remove",))
async def unpush(visit: Visit) -> Response:
    name = visit.part("name")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Send {name} to no server any more?"), name=name),
            text=visit.say(N_("From the commit on its lines stay in its files here, and nowhere else.")),
            verb=visit.say(N_("Stop sending")),
            action=visit.request.url.path,
            back=_PATH,
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_PATH, await visit.run("logconfig push remove", log=name))


@action(_PATH + "/rollover", runs=("rollovernow",))
async def rollover(visit: Visit) -> Response:
    log = visit.field("log")
    return visit.go(_PATH, await visit.run("rollovernow", **({"log": log} if log else {})))


PAGES = (*SETUP.pages(), *LOGS.pages(), *PUSH.pages())
