"""Servers that analyse files: the list, what is set of each, and one round trip to try them."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.pages import action
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_HOME = "/system/analysis"
SERVERS = Entries(
    path=_HOME,
    place="system",
    command="ampconfig",
    key="name",
    fields=(
        "kind", "host", "port", "api_key", "service", "authority", "trust", "verify", "certificate",
        "malicious_from", "private", "answer_time", "rest_time",
    ),
    labels={
        "name": N_("Name"),
        "kind": N_("What it speaks"),
        "host": N_("Host name"),
        "port": N_("Port"),
        "api_key": N_("API key"),
        "service": N_("ICAP service"),
        "authority": N_("Its authority, a PEM file"),
        "trust": N_("Authorities to believe"),
        "verify": N_("Verify its certificate"),
        "certificate": N_("Client certificate for it"),
        "malicious_from": N_("Malicious from this score"),
        "private": N_("Keep what is submitted private"),
        "answer_time": N_("Time to answer, in seconds"),
        "rest_time": N_("Rest after a failure, in seconds"),
    },
    words=Words(
        title=N_("Analysis servers"),
        lead=N_("Appliances and scanners that say what the files of messages are worth."),
        summary=N_("Servers that analyse the files of messages, and whether they answer."),
        new=N_("Add an analysis server"),
        edit=N_("Analysis server {name}"),
        save=N_("Change the analysis server"),
        delete=N_("Delete the analysis server {name}?"),
        deleted=N_("Files are not given to it any more once this is committed."),
    ),
    above_list="analysing/try.html",
)  # fmt: skip


@action(_HOME + "/try", runs=("testanalysis",))
async def attempt(visit: Visit) -> Response:
    name = visit.field("server")
    title = visit.say(N_("Answers of {name}"), name=name) if name else visit.say(N_("Answers of all servers"))
    values: dict[str, Any] = {"server": name} | ({"submit": True} if visit.field("submit") else {})
    job = visit.site.jobs.start(visit, title, "testanalysis", **values)
    return visit.go(f"/system/checks/{job.id}")


PAGES = SERVERS.pages()
