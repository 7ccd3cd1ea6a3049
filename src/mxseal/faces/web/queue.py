"""The queue: what waits, one message of it, and orders to deliver or delete."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_SHOWN = 200


@page("/queue", title=N_("Queue"), place="queue", runs=("showrecipients", "tophosts", "status"))
async def waiting(visit: Visit) -> Response:
    match = visit.query("match")
    recipients = await visit.ask("showrecipients", match=match or None, limit=_SHOWN)
    hosts = await visit.ask("tophosts", limit=10)
    status = (await visit.ask("status")).record.to_json()
    suspended = status.get("gateway", {}).get("deliveries") == "suspended"
    return visit.show("queue/list.html", match=match, waiting=recipients, hosts=hosts, suspended=suspended)


@page("/queue/{mid}", title=N_("Waiting message"), place="queue", runs=("showmessage",))
async def message(visit: Visit) -> Response:
    found = await visit.ask("showmessage", mid=visit.number("mid"))
    return visit.show("queue/message.html", mid=visit.number("mid"), message=found)


@page("/queue/host/{domain}", title=N_("Destination"), place="queue", runs=("hoststatus",))
async def host(visit: Visit) -> Response:
    found = await visit.ask("hoststatus", host=visit.part("domain"))
    return visit.show("queue/host.html", domain=visit.part("domain"), host=found)


@action("/queue/deliver", runs=("delivernow",))
async def deliver(visit: Visit) -> Response:
    answer = await visit.run("delivernow", where=visit.fields("where"))
    return visit.go(_back(visit), answer)


@action("/queue/delete", runs=("deleterecipients",), title=N_("Delete from the queue"), place="queue")
async def delete(visit: Visit) -> Response:
    where = visit.fields("where")
    if not where:
        return visit.go("/queue", await visit.run("deleterecipients", where=[]))
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Delete these messages from the queue?")),
            text=visit.say(N_("They are gone, and neither sender nor recipient is told: {which}"),
                           which=", ".join(where)),
            verb=visit.say(N_("Delete from the queue")),
            action="/queue/delete",
            back=_back(visit),
            fields=tuple(("where", each) for each in where),
        )  # fmt: skip
        return visit.show("confirm.html", ask=ask)
    return visit.go("/queue", await visit.run("deleterecipients", where=where))


@action("/queue/suspend", runs=("suspenddel",))
async def suspend(visit: Visit) -> Response:
    return visit.go("/queue", await visit.run("suspenddel"))


@action("/queue/resume", runs=("resumedel",))
async def resume(visit: Visit) -> Response:
    return visit.go("/queue", await visit.run("resumedel"))


def _back(visit: Visit) -> str:
    """The page of the queue that the form stands on."""
    mid = visit.field("mid")
    return f"/queue/{mid}" if mid.isdecimal() and len(mid) <= 15 else "/queue"


@action("/queue/level", runs=("settls",))
async def level(visit: Visit) -> Response:
    mid = visit.field("mid")
    number = int(mid) if mid.isdecimal() and len(mid) < 16 else mid
    answer = await visit.run("settls", mid=number, level=visit.field("level"))
    return visit.go(f"/queue/{number}" if isinstance(number, int) else "/queue", answer)
