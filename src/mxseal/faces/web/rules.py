"""What holds for all mail: TLS versions and ciphers, domains, overrides, defaults, order of groups."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.policies import DESTINATIONS
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "policies"
_TLS = "/policies/tls"
_DOMAINS = "/policies/domains"
_OVERRIDES = "/policies/overrides"

# --- versions and ciphers ---------------------------------------------------------------------------------


@page(
    _TLS,
    title=N_("TLS versions and ciphers"),
    place=_PLACE,
    runs=("sslconfig show", "sslconfig profiles"),
    summary=N_("Which versions and ciphers of TLS are spoken, and whom that shuts out."),
)
async def tls(visit: Visit) -> Response:
    found = await visit.ask("sslconfig show")
    uses = [
        dict(zip(("use", "profile", "versions", "suites", "own", "ciphers"), row, strict=True))
        for row in found.table.rows
    ]
    for use, name in zip(uses, ("gui", "inbound", "outbound"), strict=True):
        use["key"] = name
    return visit.show("rules/tls.html", uses=uses, profiles=await visit.ask("sslconfig profiles"))


def _tls(use: str, title: str, lead: str) -> Setting:
    return Setting(
        path=f"{_TLS}/{use}",
        place=_PLACE,
        command=f"sslconfig {use}",
        fields=("profile", "protocols", "ciphers"),
        labels={"profile": N_("Profile"), "protocols": N_("Versions"), "ciphers": N_("Ciphers")},
        title=title,
        lead=lead,
        verb=N_("Change versions and ciphers"),
        back=_TLS,
        back_title=N_("TLS versions and ciphers"),
    )


# --- domains that mail is taken for -----------------------------------------------------------------------

ADD = Form("policyconfig domains add", ("domains",), labels={"domains": N_("Domains")})


@page(
    _DOMAINS,
    title=N_("Recipient domains"),
    place=_PLACE,
    runs=("policyconfig domains list",),
    summary=N_("The domains that mail is taken for."),
)
async def domains(visit: Visit) -> Response:
    found = await visit.ask("policyconfig domains list")
    names = [row[0] for row in found.table.rows]
    return visit.show("rules/domains.html", domains=names, form=ADD.blank(visit))


@action(_DOMAINS, title=N_("Recipient domains"), place=_PLACE, runs=("policyconfig domains add",))
async def take(visit: Visit) -> Response:
    view, answer = await ADD.submit(visit)
    if answer.ok:
        return visit.go(_DOMAINS, answer)
    found = await visit.ask("policyconfig domains list")
    names = [row[0] for row in found.table.rows]
    return visit.show("rules/domains.html", 422, domains=names, form=view)


@action(_DOMAINS + "/delete", runs=("policyconfig domains delete",), place=_PLACE)
async def leave(visit: Visit) -> Response:
    domain = visit.field("domain")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Take no more mail for {domain}?"), domain=domain),
            text=visit.say(N_("Mail for it is then answered 550, except from hosts whose policy relays.")),
            verb=visit.say(N_("Take no more mail")),
            action=_DOMAINS + "/delete",
            back=_DOMAINS,
            fields=(("domain", domain),),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_DOMAINS, await visit.run("policyconfig domains delete", domains=[domain]))


# --- overrides --------------------------------------------------------------------------------------------

OVERRIDE = Form(
    "destconfig override add",
    ("sender", "recipient", "sender_group", "recipient_group", "unavailable", "tls", "before"),
    labels={
        "sender_group": N_("Mail from members of"),
        "recipient_group": N_("Mail to members of"),
        "unavailable": N_("When no directory answers"),
        "sender": N_("Mail from"),
        "recipient": N_("Mail to"),
        "tls": N_("TLS level"),
        "before": N_("Put it before number"),
    },
    kinds={"tls": "own"},
    chosen={"sender_group": (), "recipient_group": ()},
)


@page(
    _OVERRIDES,
    title=N_("Overrides"),
    place=_PLACE,
    runs=("destconfig override list",),
    summary=N_("TLS levels by sender or recipient, which outrank those of the destinations."),
)
async def overrides(visit: Visit) -> Response:
    return visit.show("rules/overrides.html", found=await visit.ask("destconfig override list"))


@page(_OVERRIDES + "/new", title=N_("Add an override"), place=_PLACE, runs=("destconfig override add",))
async def overriding(visit: Visit) -> Response:
    return visit.show("rules/override.html", form=OVERRIDE.blank(visit, {"tls": "required-verify"}))


@action(_OVERRIDES + "/new", title=N_("Add an override"), place=_PLACE, runs=("destconfig override add",))
async def override(visit: Visit) -> Response:
    view, answer = await OVERRIDE.submit(visit)
    if not answer.ok:
        return visit.show("rules/override.html", 422, form=view)
    return visit.go(_OVERRIDES, answer)


@action(_OVERRIDES + "/delete", runs=("destconfig override delete",))
async def no_override(visit: Visit) -> Response:
    """Only the one that was shown: numbers move when somebody else changes the list."""
    rows = (await visit.ask("destconfig override list")).table.rows
    number, shown = visit.field("number"), visit.field("shown")
    if not any(str(row[0]) == number and str(row[1] or row[2]) == shown for row in rows):
        return visit.go(_OVERRIDES, visit.say(N_("The list has changed meanwhile. Nothing was removed.")))
    return visit.go(_OVERRIDES, await visit.run("destconfig override delete", number=_int(number)))


# --- defaults and order -----------------------------------------------------------------------------------

SETTINGS = (
    _tls("gui", N_("TLS of these pages"), N_("For browsers and programs that speak HTTPS to this gateway.")),
    _tls(
        "inbound", N_("TLS of incoming mail"), N_("For all listeners. Open connections keep what they have.")
    ),
    _tls("outbound", N_("TLS of deliveries"), N_("For all destinations.")),
    Setting(
        path="/policies/default-destination",
        place=_PLACE,
        command="destconfig default",
        fields=DESTINATIONS.fields,
        labels=DESTINATIONS.labels,
        kinds={"tls": "own"},
        title=N_("Default destination"),
        lead=N_("For domains without an entry of their own, and for what entries leave open."),
        verb=N_("Change the default"),
        back="/policies/destinations",
        back_title=N_("Destination controls"),
        summary=N_("The TLS level and limits of mail to all other domains."),
    ),
    Setting(
        path="/policies/default-policy",
        place=_PLACE,
        command="policyconfig policy default",
        fields=("name",),
        labels={"name": N_("Mail flow policy")},
        chosen={"name": ()},
        title=N_("Default policy"),
        lead=N_("What hosts may do that no sender group matches: most of the internet."),
        verb=N_("Change the default"),
        back="/policies/flow",
        back_title=N_("Mail flow policies"),
        summary=N_("The mail flow policy of hosts that no sender group matches."),
    ),
)


@page(
    "/policies/order",
    title=N_("Order of sender groups"),
    place=_PLACE,
    runs=("policyconfig group list",),
    summary=N_("Which sender group is asked first."),
)
async def order(visit: Visit) -> Response:
    rows = (await visit.ask("policyconfig group list")).table.rows
    return visit.show("rules/order.html", groups=[row[:4] for row in rows])


@action("/policies/order", runs=("policyconfig group move",))
async def move(visit: Visit) -> Response:
    name, number = visit.field("name"), visit.field("number")
    return visit.go(
        "/policies/order", await visit.run("policyconfig group move", name=name, number=_int(number))
    )


def _int(text: str) -> int | str:
    """What is no number stays a text, and the command says so."""
    return int(text) if text.isdecimal() and len(text) < 9 else text


PAGES = tuple(each for setting in SETTINGS for each in setting.pages())
