"""What is allowed to whom: destinations and their TLS levels, mail flow policies, sender groups, routes."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.entries import Entries, Words
from mxseal.faces.web.pages import page
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_PLACE = "policies"


@page("/policies", title=N_("Policies"), place=_PLACE)
async def policies(visit: Visit) -> Response:
    return visit.show("place.html")


async def _would_fail(visit: Visit, domain: str) -> dict[str, str]:
    """Of each level, how many of the connections on record would have failed under it."""
    peers = await visit.run("tlspeers", domain=domain, direction="out")
    counts: dict[str, tuple[int, int]] = {}
    for peer in peers.value if peers.ok else ():
        for level, seen in peer["levels"].items():
            refused, known = counts.get(level, (0, 0))
            counts[level] = refused + seen["refused"], known + seen["refused"] + seen["passed"]
    none = N_("none of {known} connections would have failed")
    some = N_("{refused} of {known} connections would have failed")
    return {
        level: visit.say(some if refused else none, refused=refused, known=known)
        for level, (refused, known) in counts.items()
        if known
    }


DESTINATIONS = Entries(
    path="/policies/destinations",
    place=_PLACE,
    command="destconfig",
    key="domain",
    fields=("tls", "concurrency", "messages", "alert", "trust_anchor", "pin"),
    labels={
        "domain": N_("Domain"),
        "tls": N_("TLS level"),
        "concurrency": N_("Connections at the same time"),
        "messages": N_("Messages on one connection"),
        "alert": N_("Alert when required TLS fails"),
        "trust_anchor": N_("Trust anchors"),
        "pin": N_("Pinned keys"),
    },
    kinds={"tls": "level"},
    beside=_would_fail,
    beside_list=(
        (N_("All deliveries"), "/policies/delivery", "destconfig setup"),
        (N_("As a file"), "/policies/destinations/file", "destconfig export"),
    ),
    words=Words(
        title=N_("Destination controls"),
        lead=N_("How mail to other domains leaves. The most exact entry counts, in the end the default one."),
        summary=N_("The TLS level of mail to each partner, and how many connections it may take."),
        new=N_("Add a destination"),
        edit=N_("Mail to {name}"),
        save=N_("Change the destination"),
        delete=N_("Delete the entry for {name}?"),
        deleted=N_("Its mail then leaves as the next less exact entry says, in the end the default one."),
    ),
)
FLOW = Entries(
    path="/policies/flow",
    place=_PLACE,
    command="policyconfig policy",
    key="name",
    fields=("action", "tls", "tls_sender", "messages", "recipients", "size"),
    labels={
        "name": N_("Name"),
        "action": N_("Access"),
        "tls": N_("TLS level"),
        "tls_sender": N_("Senders that must use TLS"),
        "messages": N_("Messages on one connection"),
        "recipients": N_("Recipients of one message"),
        "size": N_("Size of a message"),
    },
    kinds={"tls": "receiving"},
    of_one=((N_("Directory groups"), "/policies/flow/{name}/groups", "policyconfig policy tlsgroups"),),
    words=Words(
        title=N_("Mail flow policies"),
        lead=N_("What a connecting host may do, and over which TLS. Sender groups give hosts a policy."),
        summary=N_("What connecting hosts may do, and the TLS level that they must keep."),
        new=N_("Add a policy"),
        edit=N_("Policy {name}"),
        save=N_("Change the policy"),
        delete=N_("Delete the policy {name}?"),
        deleted=N_("A policy that a sender group has can't be deleted: give the group another one first."),
    ),
)
GROUPS = Entries(
    path="/policies/groups",
    place=_PLACE,
    command="policyconfig group",
    key="name",
    fields=("policy", "member", "certificate", "listener"),
    labels={
        "name": N_("Name"),
        "policy": N_("Mail flow policy"),
        "member": N_("Members"),
        "certificate": N_("Client certificates"),
        "listener": N_("Only on these listeners"),
        "before": N_("Put it before number"),
    },
    new_only=("before",),
    named=1,
    words=Words(
        title=N_("Sender groups"),
        lead=N_("Which hosts get which policy. The first group that matches decides."),
        summary=N_("Which connecting hosts get which policy."),
        new=N_("Add a sender group"),
        edit=N_("Sender group {name}"),
        save=N_("Change the sender group"),
        delete=N_("Delete the sender group {name}?"),
        deleted=N_("Its hosts then get the policy of the next group that matches, or the default one."),
    ),
)
ROUTES = Entries(
    path="/policies/routes",
    place=_PLACE,
    command="smtproutes",
    key="domain",
    fields=("hosts",),
    labels={"domain": N_("Domain"), "hosts": N_("Next hops, in order")},
    beside_list=((N_("As a file"), "/policies/routes/file", "smtproutes export"),),
    words=Words(
        title=N_("SMTP routes"),
        lead=N_("Next hops of mail to a domain, in the place of its mail exchangers."),
        summary=N_("Where mail to your own domains goes, and to others that have a fixed way."),
        new=N_("Add a route"),
        edit=N_("Route of {name}"),
        save=N_("Change the route"),
        delete=N_("Delete the route of {name}?"),
        deleted=N_("Its mail then takes the next less exact route, in the end the domain's mail exchangers."),
        empty=N_("There is no route: all mail goes to the mail exchangers of its domain."),
    ),
)
PAGES = (*DESTINATIONS.pages(), *FLOW.pages(), *GROUPS.pages(), *ROUTES.pages())
