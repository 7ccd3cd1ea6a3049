"""Certificates: which there are, how long they last, each with its chain, and all that is done with them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from mxseal.commands.parameters import FileBytes
from mxseal.faces.web.calling import Answer
from mxseal.faces.web.chains import picture
from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_USE = re.compile(r"(listener|interface|log) (\S+) \((.+)\)")
_PLACE = "certificates"
_LIST = "/certificates"
(
    N_("Active"),
    N_("Valid"),
    N_("Expired"),
    N_("Not yet valid"),
    N_("Awaiting signed certificate"),
    N_("Unreadable"),
)
NEW = Form(
    "certconfig new",
    ("name", "common_name", "names", "organization", "unit", "locality", "state", "country", "days", "key"),
    labels={
        "name": N_("Name of the profile"),
        "common_name": N_("Common name"),
        "names": N_("Further names"),
        "organization": N_("Organization"),
        "unit": N_("Unit"),
        "locality": N_("City"),
        "state": N_("State or province"),
        "country": N_("Country"),
        "days": N_("Days until the self-signed one expires"),
        "key": N_("Private key"),
    },
)


class Use(msgspec.Struct, frozen=True):
    """A service that uses a certificate."""

    kind: str
    """delivery, ldap, listener, interface, log."""
    name: str = ""
    sni: bool = False

    @property
    def service(self) -> str:
        """What `certconfig assign` calls it; empty for what is assigned elsewhere."""
        return (
            self.kind
            if self.kind in {"delivery", "ldap"}
            else f"{self.kind}:{self.name}" * (self.kind != "log")
        )


def used(texts: list[str]) -> list[Use]:
    """The services out of what `certconfig show` lists as uses."""
    found = []
    for text in texts:
        match = _USE.fullmatch(text)
        if match is not None:
            found.append(Use(match[1], match[2], "by server name" in match[3]))
        else:
            found.append(Use("ldap" if text == "LDAP client" else "delivery"))
    return found


def _home(visit: Visit) -> str:
    """The page of the certificate that is spoken of."""
    return f"{_LIST}/{quote(visit.part('name'), safe='')}"


# --- looking ----------------------------------------------------------------------------------------------


@page(_LIST, title=N_("Certificates"), place=_PLACE, runs=("certconfig list",))
async def listing(visit: Visit) -> Response:
    found = await visit.ask("certconfig list")
    order = sorted(found.value, key=lambda entry: (not entry["uses"], entry.get("days_left", -1)))
    return visit.show("certificates/list.html", certificates=order, used=used)


@page(_LIST + "/new", title=N_("New certificate"), place=_PLACE, runs=("certconfig new",))
async def new(visit: Visit) -> Response:
    hostname = visit.site.hostname
    return visit.show("certificates/new.html", form=NEW.blank(visit, {"common_name": hostname}))


@action(_LIST + "/new", title=N_("New certificate"), place=_PLACE, runs=("certconfig new",))
async def create(visit: Visit) -> Response:
    view, answer = await NEW.submit(visit)
    if not answer.ok:
        return visit.show("certificates/new.html", 422, form=view)
    return visit.go(f"{_LIST}/{quote(visit.field('name'), safe='')}", answer)


@page(_LIST + "/import", title=N_("Import a certificate"), place=_PLACE, runs=("certconfig import",))
async def bring(visit: Visit) -> Response:
    return visit.show("certificates/import.html", answer=None, name="")


@action(_LIST + "/import", title=N_("Import a certificate"), place=_PLACE, runs=("certconfig import",))
async def take(visit: Visit) -> Response:
    name = visit.field("name")
    answer = await _with_files(visit, "certconfig import", name)
    if not answer.ok:
        return visit.show("certificates/import.html", 422, answer=answer, name=name)
    return visit.go(f"{_LIST}/{quote(name, safe='')}", answer)


@page(_LIST + "/{name}", title=N_("Certificate"), place=_PLACE, runs=("certconfig show",))
async def one(visit: Visit) -> Response:
    found = await visit.ask("certconfig show", name=visit.part("name"))
    facts: dict[str, Any] = found.value
    return visit.show(
        "certificates/show.html",
        name=facts["name"],
        facts=facts,
        chain=picture(facts),
        uses=used(facts["uses"]),
        services=await _services(visit),
        demo=facts["name"].lower() == "demo",
    )


@page(_LIST + "/{name}/served", title=N_("What is really shown"), place=_PLACE, runs=("certconfig served",))
async def served(visit: Visit) -> Response:
    return visit.show(
        "certificates/served.html", name=visit.part("name"), answer=await visit.run("certconfig served")
    )


async def _services(visit: Visit) -> list[Use]:
    """The services that a certificate can be assigned to."""
    if not visit.may("certconfig assign"):
        return []
    listeners = (await visit.ask("listenerconfig list")).value
    interfaces = (await visit.ask("interfaceconfig list")).value
    return [
        *(Use("listener", entry["name"]) for entry in listeners),
        Use("delivery"),
        Use("ldap"),
        *(Use("interface", entry["name"]) for entry in interfaces),
    ]


# --- files ------------------------------------------------------------------------------------------------


async def _with_files(visit: Visit, command: str, name: str) -> Answer:
    """A command that takes certificates, with the files that were chosen and the text that was pasted."""
    files = []
    for field in ("file", "file2", "file3"):
        found = await visit.upload(field)
        if found is not None:
            files.append(FileBytes(found[0][:255], found[1]))
    if pasted := visit.field("pem"):
        files.append(FileBytes(visit.say(N_("what was pasted")), pasted.encode()))
    values: dict[str, Any] = {"name": name, "files": files}
    if passphrase := visit.secret("passphrase"):
        values["passphrase"] = passphrase
    return await visit.run(command, **values)


@page(
    _LIST + "/{name}/replace",
    title=N_("Put in the signed certificate"),
    place=_PLACE,
    runs=("certconfig replace",),
)
async def renewing(visit: Visit) -> Response:
    return visit.show("certificates/replace.html", answer=None, name=visit.part("name"))


@action(
    _LIST + "/{name}/replace",
    title=N_("Put in the signed certificate"),
    place=_PLACE,
    runs=("certconfig replace",),
)
async def renew(visit: Visit) -> Response:
    answer = await _with_files(visit, "certconfig replace", visit.part("name"))
    if not answer.ok:
        return visit.show("certificates/replace.html", 422, answer=answer, name=visit.part("name"))
    return visit.go(_home(visit), answer)


@page(
    _LIST + "/{name}/intermediates",
    title=N_("Add intermediates"),
    place=_PLACE,
    runs=("certconfig intermediates add",),
)
async def adding(visit: Visit) -> Response:
    return visit.show("certificates/intermediates.html", answer=None, name=visit.part("name"))


@action(
    _LIST + "/{name}/intermediates",
    title=N_("Add intermediates"),
    place=_PLACE,
    runs=("certconfig intermediates add",),
)
async def add(visit: Visit) -> Response:
    answer = await _with_files(visit, "certconfig intermediates add", visit.part("name"))
    if not answer.ok:
        return visit.show("certificates/intermediates.html", 422, answer=answer, name=visit.part("name"))
    return visit.go(_home(visit), answer)


@action(_LIST + "/{name}/intermediates/remove", runs=("certconfig intermediates remove",))
async def remove(visit: Visit) -> Response:
    answer = await visit.run(
        "certconfig intermediates remove", name=visit.part("name"), which=visit.field("which")
    )
    return visit.go(_home(visit), answer)


@action(_LIST + "/{name}/repair", runs=("certconfig check",))
async def repair(visit: Visit) -> Response:
    return visit.go(_home(visit), await visit.run("certconfig check", name=visit.part("name"), repair=True))


@action(_LIST + "/{name}/csr", runs=("certconfig csr",))
async def request(visit: Visit) -> Response:
    name = visit.part("name")
    answer = await visit.run("certconfig csr", name=name, output=f"{name}.csr")
    return visit.save(answer) if answer.ok and answer.files else visit.go(_home(visit), answer)


@page(_LIST + "/{name}/export", title=N_("Export"), place=_PLACE, runs=("certconfig export",))
async def leaving(visit: Visit) -> Response:
    return visit.show("certificates/export.html", answer=None, wrong="", name=visit.part("name"))


@action(_LIST + "/{name}/export", title=N_("Export"), place=_PLACE, runs=("certconfig export",))
async def export(visit: Visit) -> Response:
    name = visit.part("name")
    first, again = visit.secret("passphrase"), visit.secret("again")
    if not first or first != again:
        wrong = N_("The two passphrases are not the same.") if first else N_("A passphrase is needed.")
        return visit.show("certificates/export.html", 422, answer=None, wrong=visit.say(wrong), name=name)
    answer = await visit.run("certconfig export", name=name, file=f"{name}.p12", passphrase=first)
    if answer.ok and answer.files:
        return visit.save(answer)
    return visit.show("certificates/export.html", 422, answer=answer, wrong="", name=name)


# --- use and end ------------------------------------------------------------------------------------------


@action(_LIST + "/{name}/assign", runs=("certconfig assign",))
async def assign(visit: Visit) -> Response:
    place = visit.field("as")
    values: dict[str, Any] = {"name": visit.part("name"), "service": visit.field("service")}
    if place in ("second", "sni"):
        values[place] = True
    if visit.field("remove"):
        values["remove"] = True
    return visit.go(_home(visit), await visit.run("certconfig assign", **values))


@action(_LIST + "/{name}/delete", runs=("certconfig delete",), title=N_("Delete"), place=_PLACE)
async def delete(visit: Visit) -> Response:
    name = visit.part("name")
    if visit.field("sure") != "yes":
        text = N_(
            "It leaves the configuration with the next commit. Its key stays sealed in the key store, so "
            "that an older revision can be brought back."
        )
        ask = Confirmation(
            question=visit.say(N_("Delete the certificate {name}?"), name=name),
            text=visit.say(text),
            verb=visit.say(N_("Delete the certificate")),
            action=f"{_home(visit)}/delete",
            back=_home(visit),
        )
        return visit.show("confirm.html", ask=ask)
    answer = await visit.run("certconfig delete", name=name)
    return visit.go(_LIST if answer.ok else _home(visit), answer)
