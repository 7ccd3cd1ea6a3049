"""Tokens by which programs use the API: whoever is logged in has their own, administrators see all."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.forms import Form, FormView
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PATH = "/system/tokens"
_TITLE = N_("API tokens")
NEW = Form(
    "tokenconfig new",
    ("name", "role", "expires", "user"),
    labels={"name": N_("Name"), "role": N_("Role"), "expires": N_("Expires"), "user": N_("User")},
    helps={
        "name": N_("Of the program that will use it, such as backup or monitoring"),
        "role": N_("What it may do, at most what its user may; left open: read only"),
        "user": N_("The user that it belongs to, and ends with; left open: you"),
    },
    chosen={"user": ()},
)
_OWN = Form("tokenconfig new", ("name", "role", "expires"), NEW.labels, helps=NEW.helps)
"""For those who may make tokens for nobody else."""


@page(
    _PATH,
    title=_TITLE,
    place="system",
    runs=("tokenconfig list",),
    summary=N_("Keys by which programs use the API, with their roles and until when they are good."),
)
async def tokens(visit: Visit) -> Response:
    return visit.show("tokens/list.html", found=await visit.ask("tokenconfig list"))


@page(_PATH + "/new", title=N_("Make a token"), place="system", runs=("tokenconfig new",))
async def new(visit: Visit) -> Response:
    return visit.show("tokens/new.html", form=_form(visit).blank(visit, {"role": "read-only"}))


@action(_PATH + "/new", title=N_("Make a token"), place="system", runs=("tokenconfig new",))
async def make(visit: Visit) -> Response:
    """The token is shown in the answer itself: it is kept nowhere, and no reload gives it again."""
    view, answer = await _form(visit).submit(visit)
    if not answer.ok:
        return _again(visit, view)
    made = visit.show("tokens/made.html", made=answer.value)
    made.headers["Cache-Control"] = "no-store"
    return made


def _again(visit: Visit, view: FormView) -> Response:
    return visit.show("tokens/new.html", 422, form=view)


def _form(visit: Visit) -> Form:
    return NEW if visit.may("userconfig list") else _OWN


@action(_PATH + "/revoke", title=_TITLE, place="system", runs=("tokenconfig revoke",))
async def revoke(visit: Visit) -> Response:
    name = visit.field("name")
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Revoke the token {name}?"), name=name),
            text=visit.say(N_("Programs that use it are refused at once. It can't be brought back.")),
            verb=visit.say(N_("Revoke the token")),
            action=_PATH + "/revoke",
            back=_PATH,
            fields=(("name", name),),
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go(_PATH, await visit.run("tokenconfig revoke", name=name))
