"""What goes on: logs with search and a live view, alerts, tests of mail servers, explanations."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape
from starlette.responses import Response

from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.streams import first, follow
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "system"
_SHOWN = 200_000
"""Characters of a search that a page shows."""
_NUMBERS = re.compile(r"\b(MID|ICID|DCID) ([1-9][0-9]{0,14})\b")


# --- logs -------------------------------------------------------------------------------------------------


@page(
    "/system/logs",
    title=N_("Logs"),
    place=_PLACE,
    runs=("logs", "grep"),
    summary=N_("What happened, line by line: search, and watch as it happens."),
)
async def logs(visit: Visit) -> Response:
    return visit.show("watching/logs.html", logs=await visit.ask("logs"))


@page("/system/logs/{log}", title=N_("Log"), place=_PLACE, runs=("logs", "grep", "tail"))
async def log(visit: Visit) -> Response:
    name, wanted = visit.part("log"), visit.query("q")
    text, cut, failed = "", False, ""
    if wanted:
        text, cut, ended = await first(visit, "grep", _SHOWN, words=[wanted, name], i=bool(visit.query("i")))
        failed = ended.message if ended.outcome != "ok" else ""
    lines = [linked(name, line) for line in text.splitlines()]
    return visit.show("watching/log.html", name=name, q=wanted, lines=lines, cut=cut, failed=failed)


@page("/system/logs/{log}/stream", title=N_("Log"), place=_PLACE, runs=("tail",))
async def stream(visit: Visit) -> Response:
    return follow(visit, "tail", log=visit.part("log"), lines=100)


def linked(log: str, line: str) -> Markup:
    """A line in which each number of a message or connection leads to all lines about it."""

    def link(found: re.Match[str]) -> str:
        wanted = urlencode({"q": rf"\b{found[0]}\b"})
        address = f"/system/logs/{quote(log, safe='')}?{wanted}"
        return f'<a href="{escape(address)}">{found[0]}</a>'

    return Markup(_NUMBERS.sub(link, str(escape(line))))  # noqa: S704 - the line was escaped before


# --- alerts -----------------------------------------------------------------------------------------------

NEW = Form(
    "alertconfig new",
    ("address", "classes", "severities"),
    labels={"address": N_("Mail address"), "classes": N_("Classes"), "severities": N_("Severities")},
)
_ALL = {"classes": "all", "severities": "all"}


@page(
    "/system/alerts",
    title=N_("Alerts"),
    place=_PLACE,
    runs=("displayalerts", "alertconfig show"),
    summary=N_("What went wrong and who was told of it; who gets alerts."),
)
async def alerts(visit: Visit) -> Response:
    found = await visit.ask("displayalerts", count=200)
    settings = (await visit.ask("alertconfig show")).value
    return visit.show(
        "watching/alerts.html",
        alerts=list(reversed(found.value)),
        settings=settings,
        form=NEW.blank(visit, _ALL),
    )


@action("/system/alerts/new", title=N_("Alerts"), place=_PLACE, runs=("alertconfig new",))
async def subscribe(visit: Visit) -> Response:
    view, answer = await NEW.submit(visit)
    if not answer.ok:
        return visit.show("watching/subscribe.html", 422, form=view)
    return visit.go("/system/alerts", answer)


@action("/system/alerts/delete", runs=("alertconfig delete",))
async def unsubscribe(visit: Visit) -> Response:
    return visit.go("/system/alerts", await visit.run("alertconfig delete", address=visit.field("address")))


@action("/system/alerts/test", runs=("alertconfig test",))
async def test(visit: Visit) -> Response:
    """Of one class, to all who get such."""
    answer = await visit.run("alertconfig test", what=visit.field("what"))
    if not answer.ok:
        return visit.go("/system/alerts", answer)
    return visit.go("/system/alerts", visit.say(N_("The test alerts went out.")))


# --- checks -----------------------------------------------------------------------------------------------


@page(
    "/system/checks",
    title=N_("Checks"),
    place=_PLACE,
    runs=("testreceiver", "tlsverify"),
    summary=N_("Test the TLS of any domain as a sender meets it, or of your own as others see it."),
)
async def checks(visit: Visit) -> Response:
    return visit.show("watching/checks.html", target=visit.query("target"))


@action("/system/checks/receiver", runs=("testreceiver",))
async def receiver(visit: Visit) -> Response:
    target = visit.field("target")
    wishes: dict[str, Any] = {name: True for name in ("versions", "dialogue", "assure") if visit.field(name)}
    title = visit.say(N_("Mail servers of {target}"), target=target)
    job = visit.site.jobs.start(visit, title, "testreceiver", subject=target, **wishes)
    return visit.go(f"/system/checks/{job.id}")


@action("/system/checks/verify", runs=("tlsverify",))
async def verify(visit: Visit) -> Response:
    domain, host = visit.field("domain"), visit.field("host")
    title = visit.say(N_("Certificate for {domain}"), domain=domain)
    values = {"domain": domain} | ({"host": host} if host else {})
    job = visit.site.jobs.start(visit, title, "tlsverify", **values)
    return visit.go(f"/system/checks/{job.id}")


@action("/system/checks/name", runs=("dig",))
async def look(visit: Visit) -> Response:
    name, kind = visit.field("name"), visit.field("kind")
    title = visit.say(N_("What the name servers say of {name}"), name=name)
    job = visit.site.jobs.start(visit, title, "dig", name=name, **({"type": kind} if kind else {}))
    return visit.go(f"/system/checks/{job.id}")


@page("/system/checks/{job}", title=N_("Check"), place=_PLACE)
async def job(visit: Visit) -> Response:
    return visit.show("watching/job.html", job=visit.site.jobs.find(visit))


@page("/explain/{what}/{number}", title=N_("Explanation"), place="messages", runs=("explain",))
async def explain(visit: Visit) -> Response:
    what, number = visit.part("what"), visit.number("number")
    answer = await visit.ask("explain", what=what, number=number, lang=visit.language)
    return visit.show("watching/explain.html", what=what.upper(), number=number, answer=answer)
