"""Directories (LDAP): profiles, queries, chains, who asks them, how they do, and asking by hand."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.calling import command_of
from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.forms import Form
from mxseal.faces.web.pages import action, page
from mxseal.faces.web.settings import Setting
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "system"
_HOME = "/system/ldap"
_TITLE = N_("Directories (LDAP)")
_NONE = ("none",)
ASK = Form(
    "ldaptest",
    ("query", "address", "sender", "group"),
    labels={
        "query": N_("Query or chain"),
        "address": N_("Address"),
        "sender": N_("Sender"),
        "group": N_("Group"),
    },
    chosen={"query": ()},
)
PROFILES = Entries(
    path=_HOME + "/profiles",
    home=_HOME,
    place=_PLACE,
    command="ldapconfig",
    key="name",
    fields=(
        "hosts", "type_", "security", "verify", "base", "bind", "bind_name", "password", "strategy",
        "connections", "connect_time", "search_time", "rest_time", "cache_entries", "cache_time",
        "negative_time",
    ),
    new_only=("queries",),
    rest=True,
    labels={
        "name": N_("Name"),
        "hosts": N_("Hosts, in their order"),
        "type_": N_("Kind of directory"),
        "security": N_("TLS"),
        "verify": N_("Verify the server's certificate"),
        "base": N_("Base DN"),
        "bind": N_("Login (bind)"),
        "bind_name": N_("DN to log in as"),
        "password": N_("Password"),
        "strategy": N_("Strategy"),
        "connections": N_("Connections to each host"),
        "connect_time": N_("Time to connect (s)"),
        "search_time": N_("Time to search (s)"),
        "rest_time": N_("Rest after a failure (s)"),
        "cache_entries": N_("Answers kept"),
        "cache_time": N_("Kept for (s)"),
        "negative_time": N_("“Not found” kept for (s)"),
        "queries": N_("Add the usual queries"),
    },
    helps={
        "hosts": N_("Host, host:port or [v6]:port, with spaces between them"),
        "password": N_("It is sealed in the store and never shown again. Left empty, it stays as it is."),
        "queries": N_("Whether recipients exist, where mail goes, as is usual for this kind of directory"),
    },
    words=Words(
        title=_TITLE,
        lead="",
        summary="",
        new=N_("Add a directory"),
        edit=N_("Directory {name}"),
        save=N_("Change the directory"),
        delete=N_("Delete the directory {name}?"),
        deleted=N_("A directory that queries ask can't be deleted: delete these first."),
    ),
)  # fmt: skip
QUERIES = Entries(
    path=_HOME + "/queries",
    home=_HOME,
    place=_PLACE,
    command="ldapconfig queries",
    key="name",
    replaces=True,
    fields=("profile", "kind", "filter_", "base", "host_attribute", "address_attribute", "nested"),
    rest=True,
    chosen={"profile": ()},
    labels={
        "name": N_("Name"),
        "profile": N_("Directory"),
        "kind": N_("What it is for"),
        "filter_": N_("Filter"),
        "base": N_("Base DN"),
        "host_attribute": N_("Attribute with the next hop"),
        "address_attribute": N_("Attribute with the new address"),
        "nested": N_("Follow groups in groups"),
    },
    helps={
        "filter_": N_(
            "{a} address, {u} its user, {d} its domain, {f} sender, {g} group; empty: the usual one"
        )
    },
    words=Words(
        title=_TITLE,
        lead="",
        summary="",
        new=N_("Add a query"),
        edit=N_("Query {name}"),
        save=N_("Change the query"),
        delete=N_("Delete the query {name}?"),
        deleted=N_("A query that is in use can't be deleted."),
    ),
)
CHAINS = Entries(
    path=_HOME + "/chains",
    home=_HOME,
    place=_PLACE,
    command="ldapconfig chains",
    key="name",
    replaces=True,
    listed="ldapconfig queries list",
    fields=("queries",),
    rest=True,
    labels={"name": N_("Name"), "queries": N_("Queries, in their order")},
    helps={"queries": N_("Names of queries of one kind, with spaces between them")},
    words=Words(
        title=_TITLE,
        lead="",
        summary="",
        new=N_("Add a chain"),
        edit=N_("Chain {name}"),
        save=N_("Change the chain"),
        delete=N_("Delete the chain {name}?"),
        deleted=N_("Its queries stay. A chain that is in use can't be deleted."),
    ),
)

GROUPS = Entries(
    path=_HOME + "/groups",
    home=_HOME,
    place=_PLACE,
    command="ldapconfig groups",
    key="name",
    replaces=True,
    fields=("query", "group"),
    rest=True,
    chosen={"query": ()},
    labels={"name": N_("Name"), "query": N_("Query or chain"), "group": N_("DN of the group")},
    words=Words(
        title=_TITLE,
        lead="",
        summary="",
        new=N_("Add a directory group"),
        edit=N_("Directory group {name}"),
        save=N_("Change the directory group"),
        delete=N_("Delete the directory group {name}?"),
        deleted=N_("The group in the directory is not touched. One that is in use can't be deleted."),
    ),
)
TLS_GROUPS = Setting(
    path="/policies/flow/{name}/groups",
    place="policies",
    command="policyconfig policy tlsgroups",
    key="name",
    fields=("sender_group", "recipient_group", "unavailable"),
    rest=True,
    labels={
        "sender_group": N_("Groups that send over TLS only"),
        "recipient_group": N_("Groups that get mail over TLS only"),
        "unavailable": N_("When no directory answers"),
    },
    title=N_("Directory groups of {name}"),
    lead=N_("A client without TLS is told 530 where a member is concerned. Over TLS nobody is asked."),
    verb=N_("Change the groups"),
    back="/policies/flow",
    back_title=N_("Mail flow policies"),
)


def _asks(word: str, command: str, title: str, lead: str) -> Setting:
    """The page on which a listener is given a query."""
    return Setting(
        path=f"{_HOME}/listeners/{{name}}/{word}",
        place=_PLACE,
        command=f"listenerconfig {command}",
        key="listener",
        fields=("query",),
        rest=True,
        chosen={"query": _NONE},
        labels={
            "query": N_("Query or chain"),
            "at": N_("When it is asked"),
            "no_match": N_("Unknown recipients, in the work queue"),
            "unavailable": N_("When no directory answers"),
            "header": N_("Header fields"),
        },
        helps={"query": N_("Only those for this purpose are taken.")},
        title=title,
        lead=lead,
        verb=N_("Change what is asked"),
        back=_HOME,
        back_title=_TITLE,
    )


USES = (
    _asks(
        "accept",
        "ldapaccept",
        N_("Recipients of {name}"),
        N_("Whether recipients exist. Of mail from hosts that may not relay."),
    ),
    _asks(
        "routing",
        "ldaprouting",
        N_("Ways of mail to {name}"),
        N_("Where mail goes, and to which address. Of mail from hosts that may not relay."),
    ),
    _asks(
        "masquerade",
        "masquerade",
        N_("Senders of {name}"),
        N_("What the sender becomes. Of mail from hosts that may relay."),
    ),
)
SETUP = Setting(
    path=_HOME + "/setup",
    place=_PLACE,
    command="ldapconfig setup",
    fields=("certificate",),
    rest=True,
    chosen={"certificate": _NONE},
    labels={"certificate": N_("Client certificate")},
    helps={"certificate": N_("Shown to each directory that asks; the login where that is “external”")},
    title=N_("Client certificate for directories"),
    lead=N_("One for all directories."),
    verb=N_("Change the client certificate"),
    back=_HOME,
    back_title=_TITLE,
)


@page(
    _HOME,
    title=_TITLE,
    place=_PLACE,
    runs=(
        "ldapconfig list",
        "ldapconfig queries list",
        "ldapconfig groups list",
        "ldapstatus",
        "listenerconfig list",
    ),
    summary=N_("Directories that are asked about addresses: who they are, what they are asked, how they do."),
)
async def directories(visit: Visit) -> Response:
    questions = (await visit.ask("ldapconfig queries list")).value
    return visit.show(
        "directories/home.html",
        profiles=(await visit.ask("ldapconfig list")).value,
        queries=[each for each in questions if "profile" in each],
        chains=[each for each in questions if "profile" not in each],
        groups=(await visit.ask("ldapconfig groups list")).value,
        states={state["name"]: state for state in (await visit.ask("ldapstatus")).value},
        listeners=[
            {"name": row[0], "asked": {use.command: _asked(visit, use, str(row[0])) for use in USES}}
            for row in (await visit.ask("listenerconfig list")).table.rows
        ],
        uses=USES,
        at={
            "profile": PROFILES.address,
            "query": QUERIES.address,
            "chain": CHAINS.address,
            "group": GROUPS.address,
        },
        form=ASK.blank(visit) if visit.may("ldaptest") else None,
    )


def _asked(visit: Visit, use: Setting, listener: str) -> str:
    """The query that a listener has for a use, as the command's dialogue shows it."""
    present = command_of(visit.site.runner.commands, tuple(use.command.split())).present
    return str(present(visit.context(), {use.key: listener})["query"]) if present else "none"


@page(_HOME + "/presets", title=N_("Known directories"), place=_PLACE, runs=("ldapconfig presets",))
async def presets(visit: Visit) -> Response:
    return visit.show("directories/presets.html", found=await visit.ask("ldapconfig presets"))


@action(_HOME + "/ask", title=_TITLE, place=_PLACE, runs=("ldaptest",))
async def ask(visit: Visit) -> Response:
    values = {name: visit.field(name) for name in ("query", "address", "sender", "group")}
    title = visit.say(N_("{query}, asked about {address}"), query=values["query"], address=values["address"])
    job = visit.site.jobs.start(
        visit, title, "ldaptest", **{key: value for key, value in values.items() if value}
    )
    return visit.go(f"/system/checks/{job.id}")


@action(_HOME + "/profiles/{name}/test", runs=("ldapconfig test",))
async def test(visit: Visit) -> Response:
    name = visit.part("name")
    title = visit.say(N_("Hosts of the directory {name}"), name=name)
    job = visit.site.jobs.start(visit, title, "ldapconfig test", name=name)
    return visit.go(f"/system/checks/{job.id}")


@action(_HOME + "/flush", runs=("ldapflush",))
async def flush(visit: Visit) -> Response:
    profile = visit.field("profile")
    return visit.go(_HOME, await visit.run("ldapflush", **({"profile": profile} if profile else {})))


PAGES = (
    *PROFILES.pages(),
    *QUERIES.pages(),
    *CHAINS.pages(),
    *GROUPS.pages(),
    *TLS_GROUPS.pages(),
    *SETUP.pages(),
    *(each for use in USES for each in use.pages()),
)
