"""The gateway itself: sessions of browsers and SSH, tracking, numbers, who logged in, restart, limits."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.pieces import Confirmation
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "system"
_HOME = "/system"
_SYSTEM = N_("System")
_METRICS = "/system/metrics"
_LISTENERS = N_("Listeners")
ALLOW = Form("metricsconfig allow", ("network",), labels={"network": N_("Address or network")})
SETTINGS = (
    Setting(
        path="/system/tracking",
        place=_PLACE,
        command="trackingconfig setup",
        fields=("enabled", "keep_days", "max_megabytes", "max_refused"),
        rest=True,
        labels={
            "enabled": N_("Track messages"),
            "keep_days": N_("Days kept"),
            "max_megabytes": N_("Megabytes at most"),
            "max_refused": N_("Refusals at most"),
        },
        shows="trackingconfig show",
        title=N_("Message tracking"),
        lead=N_("How long the messages stay that the page of messages finds, and how far the indexer is."),
        verb=N_("Change the tracking"),
        back=_HOME,
        back_title=_SYSTEM,
        summary=N_("How long messages can be found, how much room they take, how far the indexer is."),
    ),
    Setting(
        path="/system/web",
        place=_PLACE,
        command="webconfig setup",
        fields=("second_factor", "idle_time", "session_time", "login_attempts", "login_wait"),
        rest=True,
        labels={
            "second_factor": N_("Second factor"),
            "idle_time": N_("Idle time (s)"),
            "session_time": N_("Session time (s)"),
            "login_attempts": N_("Login attempts"),
            "login_wait": N_("Login wait (s)"),
        },
        title=N_("Administration by browser"),
        lead=N_("How long sessions of these pages last, and who needs a second factor."),
        verb=N_("Change the rules for browsers"),
        back=_HOME,
        back_title=_SYSTEM,
        summary=N_("Second factors, how long sessions of these pages last, wrong passwords."),
    ),
    Setting(
        path="/system/ssh",
        place=_PLACE,
        command="sshconfig setup",
        fields=("address", "port", "passwords", "idle_time"),
        rest=True,
        labels={
            "address": N_("Address"),
            "port": N_("Port"),
            "passwords": N_("Passwords, beside keys"),
            "idle_time": N_("Idle time (s)"),
        },
        shows="sshconfig show",
        title=N_("Administration over SSH"),
        lead=N_("Compare the fingerprints with what your client shows at first."),
        verb=N_("Change SSH"),
        back=_HOME,
        back_title=_SYSTEM,
        summary=N_("Where SSH listens, whether passwords will do, the gateway's keys."),
    ),
    Setting(
        path="/policies/delivery",
        place="policies",
        command="destconfig setup",
        fields=("certificate", "alert"),
        rest=True,
        chosen={"certificate": ("none",)},
        labels={"certificate": N_("Client certificate"), "alert": N_("Alert when required TLS fails")},
        title=N_("All deliveries"),
        lead=N_("The certificate that next hops are shown when they ask, and alerts."),
        verb=N_("Change what holds for all deliveries"),
        back="/policies/destinations",
        back_title=N_("Destination controls"),
        summary=N_("The client certificate of deliveries, and whether required TLS that fails is an alert."),
    ),
    Setting(
        path="/system/listeners/{name}/limits",
        place=_PLACE,
        command="listenerconfig limits",
        key="name",
        fields=("connections", "connections_per_host"),
        rest=True,
        labels={
            "connections": N_("Connections at the same time"),
            "connections_per_host": N_("Connections of one host"),
            "messages_per_connection": N_("Messages on one connection"),
            "recipients_per_message": N_("Recipients of one message"),
            "message_size": N_("Size of a message"),
            "header_size": N_("Size of a message's header"),
            "commands_per_connection": N_("Commands on one connection"),
            "errors_per_connection": N_("Errors on one connection"),
            "refused_recipients": N_("Refused recipients"),
            "tls_sessions": N_("TLS sessions kept"),
            "handshakes_per_second": N_("Handshakes per second of one host"),
            "handshake_time": N_("Time for a handshake (s)"),
            "idle_time": N_("Idle time (s)"),
            "connection_time": N_("Time of a connection (s)"),
            "hops": N_("Hops of a message"),
        },
        title=N_("Limits of {name}"),
        lead=N_("What one client, and all of them together, may take."),
        verb=N_("Change the limits"),
        back="/system/listeners",
        back_title=_LISTENERS,
    ),
)


# --- numbers for programs ---------------------------------------------------------------------------------


@page(
    _METRICS,
    title=N_("Numbers for Prometheus"),
    place=_PLACE,
    runs=("metricsconfig show", "metrics"),
    summary=N_("All numbers of the gateway, and who reads them without a token."),
)
async def metrics(visit: Visit) -> Response:
    return visit.show(
        "upkeep/metrics.html",
        networks=[row[0] for row in (await visit.ask("metricsconfig show")).table.rows],
        form=ALLOW.blank(visit),
        text=(await visit.ask("metrics")).text,
    )


@action(_METRICS, title=N_("Numbers for Prometheus"), place=_PLACE, runs=("metricsconfig allow",))
async def allow(visit: Visit) -> Response:
    view, answer = await ALLOW.submit(visit)
    if answer.ok:
        return visit.go(_METRICS, answer)
    return visit.show("upkeep/metrics.html", 422, networks=[], form=view, text="")


@action(_METRICS + "/remove", runs=("metricsconfig remove",))
async def remove(visit: Visit) -> Response:
    return visit.go(_METRICS, await visit.run("metricsconfig remove", network=visit.field("network")))


# --- this gateway -----------------------------------------------------------------------------------------


@page(
    "/system/gateway",
    title=N_("This gateway"),
    place=_PLACE,
    runs=("version", "uptime", "status"),
    summary=N_("Version, since when it runs, all its figures; start it again."),
)
async def gateway(visit: Visit) -> Response:
    return visit.show(
        "upkeep/gateway.html",
        version=(await visit.ask("version")).record,
        uptime=(await visit.ask("uptime")).record,
        status=(await visit.ask("status", detail="detail")).record,
    )


@action("/system/gateway/restart", title=N_("This gateway"), place=_PLACE, runs=("restart",))
async def restart(visit: Visit) -> Response:
    if visit.field("sure") != "yes":
        ask = Confirmation(
            question=visit.say(N_("Start the gateway again?")),
            text=visit.say(N_("What is in flight is finished first. Who connects meanwhile waits.")),
            verb=visit.say(N_("Start it again")),
            action="/system/gateway/restart",
            back="/system/gateway",
        )
        return visit.show("confirm.html", ask=ask)
    return visit.go("/system/gateway", await visit.run("restart"))


@page(
    "/system/logins",
    title=N_("Logins"),
    place=_PLACE,
    runs=("last",),
    summary=N_("Who logged in, from where, how, and for how long."),
)
async def logins(visit: Visit) -> Response:
    return visit.show("upkeep/logins.html", found=await visit.ask("last", lines=200))


@page(
    "/policies/access",
    title=N_("Host access table"),
    place="policies",
    runs=("hostaccess",),
    summary=N_("Who may send mail to which listener, and over which TLS, as one table."),
)
async def access(visit: Visit) -> Response:
    return visit.show("upkeep/access.html", answer=await visit.ask("hostaccess"))


PAGES = tuple(each for setting in SETTINGS for each in setting.pages())
