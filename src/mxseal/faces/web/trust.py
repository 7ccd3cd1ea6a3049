"""Which authorities are believed, and where lists of revoked certificates come from."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "certificates"
_TRUST = "/trust"
_REVOCATION = "/revocation"
_CA = "certconfig certauthority"
IMPORT = Form(
    f"{_CA} custom import",
    ("file", "name", "fqdn"),
    labels={
        "file": N_("PEM file"),
        "name": N_("Name"),
        "fqdn": N_("Refuse names that are no full host names"),
    },
)


# --- authorities ------------------------------------------------------------------------------------------


@page(_TRUST, title=N_("Trust lists"), place=_PLACE, runs=(f"{_CA} show", f"{_CA} custom print"))
async def lists(visit: Visit) -> Response:
    state = {field.label: field.value for field in (await visit.ask(f"{_CA} show")).record.fields}
    return visit.show(
        "trust/lists.html",
        on={"custom": state["Custom List"] == "Enabled", "system": state["System List"] == "Enabled"},
        system=state["System authorities"],
        custom=(await visit.ask(f"{_CA} custom print")).value,
    )


@page(_TRUST + "/system", title=N_("Authorities of the system"), place=_PLACE, runs=(f"{_CA} system print",))
async def system(visit: Visit) -> Response:
    match = visit.query("match")
    found = await visit.ask(f"{_CA} system print", match=match)
    return visit.show("trust/system.html", found=found, match=match)


@page(_TRUST + "/custom/{name}", title=N_("Authority"), place=_PLACE, runs=(f"{_CA} custom print",))
async def authority(visit: Visit) -> Response:
    found = await visit.ask(f"{_CA} custom print", name=visit.part("name"))
    return visit.show("trust/authority.html", facts=found.value)


@page(_TRUST + "/import", title=N_("Import authorities"), place=_PLACE, runs=(f"{_CA} custom import",))
async def bring(visit: Visit) -> Response:
    return visit.show("trust/import.html", form=IMPORT.blank(visit))


@action(_TRUST + "/import", title=N_("Import authorities"), place=_PLACE, runs=(f"{_CA} custom import",))
async def take(visit: Visit) -> Response:
    view, answer = await IMPORT.submit(visit)
    if not answer.ok:
        return visit.show("trust/import.html", 422, form=view)
    return visit.go(_TRUST, answer)


@action(
    _TRUST + "/switch",
    place=_PLACE,
    runs=tuple(f"{_CA} {which} {verb}" for which in ("custom", "system") for verb in ("enable", "disable")),
)
async def switch(visit: Visit) -> Response:
    which = "system" if visit.field("list") == "system" else "custom"
    verb = "enable" if visit.field("to") == "on" else "disable"
    return visit.go(_TRUST, await visit.run(f"{_CA} {which} {verb}"))


@action(_TRUST + "/export", runs=(f"{_CA} custom export", f"{_CA} system export"))
async def export(visit: Visit) -> Response:
    which = "system" if visit.field("list") == "system" else "custom"
    values: dict[str, Any] = {"file": f"{which}-authorities.pem"}
    if which == "custom" and (names := visit.fields("authority")):
        values["authority"] = names
    answer = await visit.run(f"{_CA} {which} export", **values)
    return visit.save(answer) if answer.ok and answer.files else visit.go(_TRUST, answer)


@action(_TRUST + "/custom/{name}/delete", place=_PLACE, runs=(f"{_CA} custom delete",))
async def delete(visit: Visit) -> Response:
    name = visit.part("name")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Delete the authority {name}?"), name=name),
            text=visit.say(
                N_("Certificates that it signed then no longer count as verified, from the commit on.")
            ),
            verb=visit.say(N_("Delete the authority")),
            action=visit.address(),
            back=visit.address().removesuffix("/delete"),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_TRUST, await visit.run(f"{_CA} custom delete", name=name))


# --- revocation -------------------------------------------------------------------------------------------

SOURCES = Entries(
    path=_REVOCATION,
    place=_PLACE,
    command="certconfig crl",
    key="name",
    fields=("url", "secondary", "schedule"),
    edit_only=("enable",),
    labels={
        "name": N_("Name"),
        "url": N_("Address of the list"),
        "secondary": N_("Second address"),
        "schedule": N_("Fetched"),
        "enable": N_("In use"),
    },
    above_list="trust/revocation.html",
    words=Words(
        title=N_("Lists of revoked certificates"),
        lead=N_(
            "Where lists are fetched (CRL). A certificate without a list in date is recorded, not refused."
        ),
        summary="",
        new=N_("Add a source"),
        edit=N_("Source {name}"),
        save=N_("Change the source"),
        delete=N_("Delete the source {name}?"),
        deleted=N_("Its list goes with it: certificates that it revoked are no longer recognised as such."),
        empty=N_("There is no source. Add the address of an authority's list, then switch the look-up on."),
    ),
)
SETUP = Setting(
    path=_REVOCATION + "/setup",
    place=_PLACE,
    command="certconfig crl setup",
    fields=("inbound", "outbound"),
    labels={"inbound": N_("Incoming mail"), "outbound": N_("Deliveries")},
    title=N_("Look-up of revoked certificates"),
    lead=N_("With the look-up on, a revoked certificate is worth as much as one of an unknown authority."),
    verb=N_("Change the look-up"),
    back=_REVOCATION,
    back_title=N_("Lists of revoked certificates"),
)


@page(_REVOCATION + "/{name}/list", title=N_("List"), place=_PLACE, runs=("certconfig crl print",))
async def revoked(visit: Visit) -> Response:
    name = visit.part("name")
    return visit.show("trust/list.html", name=name, answer=await visit.ask("certconfig crl print", name=name))


@action(_REVOCATION + "/update", title=N_("Fetch now"), place=_PLACE, runs=("certconfig crl update",))
async def update(visit: Visit) -> Response:
    job = visit.site.jobs.start(visit, visit.say(N_("Fetch the lists")), "certconfig crl update")
    return visit.go(f"/system/checks/{job.id}")


PAGES = (*SETUP.pages(), *SOURCES.pages())
