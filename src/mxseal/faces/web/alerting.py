"""Who gets alerts, by mail and by webhook, and how often."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.forms import Form, FormView
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "system"
_ALERTS = "/system/alerts"
_TITLE = N_("Alerts")
_WHICH = {"classes": N_("Classes"), "severities": N_("Severities")}
_HELP = {
    "classes": N_("all, or some of system, delivery, certificates, storage, security, with commas"),
    "severities": N_("all, or some of critical, warning, information, with commas"),
}
EDIT = Setting(
    path=_ALERTS + "/of/{name}",
    place=_PLACE,
    command="alertconfig edit",
    key="address",
    fields=("classes", "severities"),
    labels=_WHICH,
    helps=_HELP,
    title=N_("Alerts to {name}"),
    lead=N_("Which alerts this address gets."),
    verb=N_("Change which alerts"),
    back=_ALERTS,
    back_title=_TITLE,
)
SETUP = Setting(
    path=_ALERTS + "/setup",
    place=_PLACE,
    command="alertconfig setup",
    fields=("first_wait", "longest_wait", "kept", "calm_time", "queue_age", "disk_free_percent"),
    rest=True,
    labels={
        "first_wait": N_("First wait before a duplicate (s)"),
        "longest_wait": N_("Longest wait before a duplicate (s)"),
        "kept": N_("Alerts kept"),
        "calm_time": N_("Calm until it is over (s)"),
        "queue_age": N_("Age of the oldest message (s)"),
        "disk_free_percent": N_("Free disk space (%)"),
    },
    title=N_("When alerts are sent"),
    lead=N_("Duplicates are held back, and each that is sent says how many were."),
    verb=N_("Change when alerts are sent"),
    back=_ALERTS,
    back_title=_TITLE,
)
FROM = Setting(
    path=_ALERTS + "/from",
    place=_PLACE,
    command="alertconfig from",
    fields=("address", "default"),
    labels={"address": N_("Mail address"), "default": N_("Use alert@ and this gateway's host name")},
    helps={"default": N_("Empty the address for that")},
    title=N_("Sender of alerts"),
    lead=N_("The address must exist: what can't be delivered comes back to it."),
    verb=N_("Change the sender"),
    back=_ALERTS,
    back_title=_TITLE,
)
HOOK = Form(
    "alertconfig webhook add",
    ("name", "url", "classes", "severities", "secret"),
    labels={"name": N_("Name"), "url": N_("Address (https)"), "secret": N_("Secret"), **_WHICH},
    helps=_HELP,
)
_ALL = {"classes": "all", "severities": "all"}


def _hooking(visit: Visit, view: FormView, status: int = 200) -> Response:
    return visit.show("alerting/hook.html", status, form=view)


@page(_ALERTS + "/webhook", title=N_("Add a webhook"), place=_PLACE, runs=("alertconfig webhook add",))
async def hooking(visit: Visit) -> Response:
    return _hooking(visit, HOOK.blank(visit, _ALL))


@action(_ALERTS + "/webhook", title=N_("Add a webhook"), place=_PLACE, runs=("alertconfig webhook add",))
async def hook(visit: Visit) -> Response:
    view, answer = await HOOK.submit(visit)
    return visit.go(_ALERTS, answer) if answer.ok else _hooking(visit, view, 422)


@action(_ALERTS + "/webhook/delete", runs=("alertconfig webhook delete",))
async def unhook(visit: Visit) -> Response:
    return visit.go(_ALERTS, await visit.run("alertconfig webhook delete", name=visit.field("name")))


PAGES = (*SETUP.pages(), *FROM.pages(), *EDIT.pages())
