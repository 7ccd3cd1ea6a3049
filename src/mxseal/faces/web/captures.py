"""Recordings of connections and captures of packets: for administrators, since they show what was said."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.forms import Form, FormView
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PATH = "/system/captures"
_TITLE = N_("Recordings")
_RECORD = N_("Record the next connection")
_CAPTURE = N_("Capture packets")
_READ = (
    "sessioncapture status", "sessioncapture list", "packetcapture status", "packetcapture list",
)  # fmt: skip
ARM = Form(
    "sessioncapture arm",
    ("domain", "host", "next_icid", "ldap", "listener", "only", "count", "minutes", "with_content"),
    labels={
        "domain": N_("Domain"),
        "host": N_("Host"),
        "next_icid": N_("The next incoming connection"),
        "ldap": N_("Directory"),
        "listener": N_("Listener"),
        "only": N_("Only"),
        "count": N_("How many connections"),
        "minutes": N_("Minutes to wait"),
        "with_content": N_("With message content"),
    },
    helps={
        "ldap": N_("A connection to a server of this directory"),
        "next_icid": N_("Whoever it is from"),
        "with_content": N_("Also what stands behind DATA and in AUTH; else it is left out for good"),
    },
    chosen={"ldap": (), "listener": ()},
)
PACKETS = Form(
    "packetcapture start",
    ("ip", "port", "interface", "size", "minutes"),
    labels={
        "ip": N_("Addresses or networks"),
        "port": N_("Ports"),
        "interface": N_("Network interface"),
        "size": N_("Size (MiB)"),
        "minutes": N_("Minutes"),
    },
    chosen={"interface": ()},
)


@page(
    _PATH,
    title=_TITLE,
    place="system",
    runs=_READ,
    summary=N_("What really went over the wire: single connections, decrypted, and packets."),
)
async def captures(visit: Visit) -> Response:
    session = await visit.ask("sessioncapture status")
    return visit.show(
        "captures/home.html",
        armed=session.value, note=session.table.note,
        recordings=list(reversed((await visit.ask("sessioncapture list")).value)),
        running=(await visit.ask("packetcapture status")).value,
        caught=list(reversed((await visit.ask("packetcapture list")).value)),
    )  # fmt: skip


def _form(visit: Visit, view: FormView, status: int = 200) -> Response:
    return visit.show("captures/form.html", status, form=view)


@page(_PATH + "/arm", title=_RECORD, place="system", runs=("sessioncapture arm",))
async def arming(visit: Visit) -> Response:
    return _form(visit, ARM.blank(visit))


@action(_PATH + "/arm", title=_RECORD, place="system", runs=("sessioncapture arm",))
async def arm(visit: Visit) -> Response:
    view, answer = await ARM.submit(visit)
    return visit.go(_PATH, answer) if answer.ok else _form(visit, view, 422)


@action(_PATH + "/disarm", runs=("sessioncapture disarm",))
async def disarm(visit: Visit) -> Response:
    return visit.go(_PATH, await visit.run("sessioncapture disarm", number=visit.field("number")))


@page(_PATH + "/packets", title=_CAPTURE, place="system", runs=("packetcapture start",))
async def starting(visit: Visit) -> Response:
    return _form(visit, PACKETS.blank(visit))


@action(_PATH + "/packets", title=_CAPTURE, place="system", runs=("packetcapture start",))
async def start(visit: Visit) -> Response:
    view, answer = await PACKETS.submit(visit)
    return visit.go(_PATH, answer) if answer.ok else _form(visit, view, 422)


@action(_PATH + "/packets/stop", runs=("packetcapture stop",))
async def stop(visit: Visit) -> Response:
    return visit.go(_PATH, await visit.run("packetcapture stop"))


@page(_PATH + "/{name}", title=N_("Recording"), place="system", runs=("sessioncapture show",))
async def recording(visit: Visit) -> Response:
    found = await visit.ask("sessioncapture show", name=visit.part("name"))
    return visit.show("captures/show.html", name=visit.part("name"), facts=found.value)


def _which(visit: Visit) -> str:
    return "packetcapture" if visit.field("kind") == "packets" else "sessioncapture"


@action(_PATH + "/{name}/download", runs=("sessioncapture download", "packetcapture download"))
async def download(visit: Visit) -> Response:
    name, which = visit.part("name"), _which(visit)
    ending = "pcap" if which == "packetcapture" else "pcapng"
    answer = await visit.run(f"{which} download", name=name, file=f"{name}.{ending}")
    return visit.save(answer) if answer.ok and answer.files else visit.go(_PATH, answer)


@action(
    _PATH + "/{name}/delete",
    title=_TITLE,
    place="system",
    runs=("sessioncapture delete", "packetcapture delete"),
)
async def delete(visit: Visit) -> Response:
    name, which = visit.part("name"), _which(visit)
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Delete {name}?"), name=name),
            text=visit.say(N_("It can't be brought back.")),
            verb=visit.say(N_("Delete")),
            action=visit.request.url.path,
            back=_PATH,
            fields=(("kind", visit.field("kind")),),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_PATH, await visit.run(f"{which} delete", name=name))
