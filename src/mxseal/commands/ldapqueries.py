"""Queries of directories: filters, chains of them, and the listeners that ask them (reference §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands.certificates import Listing, candidate
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.hostaccess import listener_names
from mxseal.commands.ldapconfig import known_profile, profile_names, unknown
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Problems, Result
from mxseal.commands.staging import stage
from mxseal.config.check_ldap import kinds
from mxseal.config.model import Document, LdapChain, LdapMasquerade, LdapQuery, LdapRewrite, LdapUse, Listener
from mxseal.config.toml import from_plain
from mxseal.directory.presets import PRESETS, SUFFIXES
from mxseal.ldap.values import Kind


def query_names(ctx: Context) -> list[str]:
    """Queries and chains."""
    return list(kinds(candidate(ctx)))


def accept_names(ctx: Context) -> list[str]:
    return [name for name, kind in kinds(candidate(ctx)).items() if kind == "accept"]


_NONE = "none"
ListenerName = Annotated[
    str, Argument("Name of the listener", complete=listener_names, ask="Which listener:")
]
Unavailable = Annotated[
    Literal["defer", "accept"],
    Option(
        "Where no server answers. defer: 4xx to the client, or the message waits in the work queue; accept: "
        "go on as if the directory had said yes"
    ),
]
At = Annotated[
    Literal["conversation", "work-queue"],
    Option("Before the message is acknowledged, or once it is in the queue", ask="Where is it asked?"),
]
Name = Annotated[str, Argument("Name of the query", complete=query_names, ask="Which LDAP query:")]


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where a query looks; None: as is usual."""

    base: Annotated[str | None, Option("DN below which is searched; left out: the profile's")] = None
    host_attribute: Annotated[str | None, Option("Of routing: where the next hop stands")] = None
    address_attribute: Annotated[str | None, Option("Where the new address stands")] = None
    nested: Annotated[bool, Option("Of group queries: follow groups that are members of groups")] = False


# --- queries ----------------------------------------------------------------------------------------------


@command("ldapconfig", "queries", "list", role="read-only", summary="List the LDAP queries and chains")
def queries_list(ctx: Context) -> Result:
    """With your uncommitted changes, and with the listeners that use them."""
    document = candidate(ctx)
    rows: list[tuple[str | None, ...]] = []
    facts: list[dict[str, Any]] = []
    for query in document.ldap_queries:
        used = _users(document, query.name)
        rows.append((query.name, query.kind, query.profile, query.filter, ", ".join(used) or None))
        facts.append(query.model_dump(mode="json") | {"used_by": used})
    for chain in document.ldap_chains:
        used = _users(document, chain.name)
        text = f"chain of {', '.join(chain.queries)}"
        rows.append((chain.name, chain.kind, None, text, ", ".join(used) or None))
        facts.append(chain.model_dump(mode="json") | {"used_by": used})
    columns = (Column("Name", cut=32), Column("Kind"), Column("Profile"), Column("Filter"), Column("Used by"))
    empty = "There is no LDAP query. 'ldapconfig queries new' makes one."
    return Listing(columns, tuple(rows), title="LDAP queries", empty=empty, facts=tuple(facts))


@command("ldapconfig", "queries", "new", role="operator", summary="Add an LDAP query, or change one")
def queries_new(
    ctx: Context,
    profile: Annotated[
        str, Argument("Profile whose servers are asked", complete=profile_names, ask="Which LDAP profile:")
    ],
    kind: Annotated[Kind, Argument("What it is for", ask="Kind of query:")],
    *,
    filter_: Annotated[
        str | None,
        Option(
            "RFC 4515, with {a} {u} {d}; {f} accept; {g} group. Left out: the usual one", metavar="FILTER"
        ),
    ] = None,
    name: Annotated[str | None, Option("Left out: PROFILE.ldapaccept and so on")] = None,
    places: Places,
) -> Result:
    """One with that name is replaced. What comes from an address is escaped. Try it with 'ldaptest' before
    you commit."""
    document = candidate(ctx)
    spec = known_profile(document, profile)
    plain = {
        "name": name or f"{spec.name}.{SUFFIXES[kind]}",
        "kind": kind,
        "profile": spec.name,
        "filter": filter_ or PRESETS[spec.type][kind],
        **{key: value for key, value in msgspec.structs.asdict(places).items() if value is not None},
    }
    found = from_plain({"ldap_queries": [plain]})
    if isinstance(found, list):
        return Problems("Nothing was changed", tuple(found))
    made = found.ldap_queries[0]
    others = [query for query in document.ldap_queries if query.name.lower() != made.name.lower()]
    verb = "added" if len(others) == len(document.ldap_queries) else "changed"
    fresh = document.model_copy(update={"ldap_queries": (*others, made)})
    return stage(ctx, fresh, f"The LDAP query {made.name} was {verb}.", made.model_dump(mode="json"))


@command("ldapconfig", "queries", "delete", role="operator", summary="Remove an LDAP query")
def queries_delete(ctx: Context, name: Name) -> Result:
    """Refused while a listener, a chain or a directory group uses it."""
    document = candidate(ctx)
    query = _query(document, name)
    chains = [f"chain {each.name}" for each in document.ldap_chains if query.name in each.queries]
    if using := [*_users(document, query.name), *chains]:
        raise CommandFailed(f"{query.name} is used by {', '.join(using)}")
    kept = tuple(each for each in document.ldap_queries if each is not query)
    fresh = document.model_copy(update={"ldap_queries": kept})
    return stage(ctx, fresh, f"The LDAP query {query.name} was deleted.", {"name": query.name})


# --- chains -----------------------------------------------------------------------------------------------


@command(
    "ldapconfig", "chains", "new", role="operator", summary="Ask several LDAP queries one after the other"
)
def chains_new(
    ctx: Context,
    name: Annotated[str, Argument("What it is called", ask="Enter a name for the chain:")],
    queries: Annotated[
        list[str],
        Argument("Queries of one kind, in their order", complete=query_names, ask="Which LDAP queries:"),
    ],
) -> Result:
    """The first that finds something counts. One with that name is replaced."""
    document = candidate(ctx)
    steps = [_query(document, each) for each in queries]
    plain = {"name": name, "kind": steps[0].kind, "queries": [query.name for query in steps]}
    found = from_plain({"ldap_chains": [plain]})
    if isinstance(found, list):
        return Problems("Nothing was changed", tuple(found))
    made = found.ldap_chains[0]
    others = [chain for chain in document.ldap_chains if chain.name.lower() != made.name.lower()]
    fresh = document.model_copy(update={"ldap_chains": (*others, made)})
    return stage(ctx, fresh, f"The chain {made.name} asks {', '.join(made.queries)}.", plain)


@command("ldapconfig", "chains", "delete", role="operator", summary="Remove a chain; its queries stay")
def chains_delete(ctx: Context, name: Name) -> Result:
    """Refused while a listener or a directory group uses it."""
    document = candidate(ctx)
    chain = _chain(document, name)
    if using := _users(document, chain.name):
        raise CommandFailed(f"{chain.name} is used by {', '.join(using)}")
    kept = tuple(each for each in document.ldap_chains if each is not chain)
    fresh = document.model_copy(update={"ldap_chains": kept})
    return stage(ctx, fresh, f"The chain {chain.name} was deleted.", {"name": chain.name})


# --- listeners --------------------------------------------------------------------------------------------


def _present_accept(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(_listener(candidate(ctx), given["listener"]).ldap_accept)


def _present_routing(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(_listener(candidate(ctx), given["listener"]).ldap_routing)


def _present_masquerade(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(_listener(candidate(ctx), given["listener"]).ldap_masquerade)


def _typed(use: LdapUse | LdapRewrite | None) -> dict[str, Any]:
    if use is None:
        return {"query": _NONE}
    found = use.model_dump()
    return found | ({"header": list(found.pop("headers"))} if "headers" in found else {})


@command(
    "listenerconfig",
    "ldapaccept",
    role="operator",
    summary="Ask a directory whether recipients exist",
    present=_present_accept,
)
def listener_ldapaccept(
    ctx: Context,
    listener: ListenerName,
    query: Annotated[
        str,
        Argument("An accept query or chain; 'none': nobody asks", complete=accept_names, ask="Which query:"),
    ],
    *,
    at: Annotated[
        Literal["conversation", "work-queue"],
        Option("At each recipient, or once the message is in the queue", ask="Where is it asked?"),
    ] = "conversation",
    no_match: Annotated[
        Literal["bounce", "drop"],
        Option("In the work queue, of an unknown recipient: tell the sender, or nobody"),
    ] = "bounce",
    unavailable: Unavailable = "defer",
) -> Result:
    """Of mail from hosts that may not relay, for the domains of recipient access. In the conversation the
    client is told 550 for an address that the directory does not know; in the work queue no client learns
    which addresses there are."""
    use = None
    if query.lower() != _NONE:
        name = _of_kind(candidate(ctx), query, "accept")
        use = LdapUse(query=name, at=at, no_match=no_match, unavailable=unavailable)
    told = f"asks {use.query} whether recipients exist" if use else "asks nobody whether recipients exist"
    return _put(ctx, listener, "ldap_accept", use, told)


@command(
    "listenerconfig",
    "ldaprouting",
    role="operator",
    summary="Ask a directory where recipients' mail goes",
    present=_present_routing,
)
def listener_ldaprouting(
    ctx: Context,
    listener: ListenerName,
    query: Annotated[
        str,
        Argument("A routing query or chain; 'none': nobody asks", complete=query_names, ask="Which query:"),
    ],
    *,
    at: At = "work-queue",
    unavailable: Unavailable = "defer",
) -> Result:
    """Of mail from hosts that may not relay, once each message has come. The host and the address that the
    directory names take the place of the domain's; a recipient that it does not know stays as it is."""
    use = None
    if query.lower() != _NONE:
        name = _of_kind(candidate(ctx), query, "routing")
        use = LdapRewrite(query=name, at=at, unavailable=unavailable)
    told = f"asks {use.query} where mail goes" if use else "asks nobody where mail goes"
    return _put(ctx, listener, "ldap_routing", use, told)


@command(
    "listenerconfig",
    "masquerade",
    role="operator",
    summary="Ask a directory what senders' addresses become",
    present=_present_masquerade,
)
def listener_masquerade(
    ctx: Context,
    listener: ListenerName,
    query: Annotated[
        str,
        Argument(
            "A masquerade query or chain; 'none': nobody asks", complete=query_names, ask="Which query:"
        ),
    ],
    *,
    header: Annotated[
        tuple[Literal["from", "sender", "reply-to", "to", "cc"], ...],
        Option("A header field whose addresses are looked up too; several may be named"),
    ] = (),
    at: At = "work-queue",
    unavailable: Unavailable = "defer",
) -> Result:
    """Of mail from hosts that may relay, once each message has come: the envelope sender, and the addresses
    in the chosen header fields. A DKIM signature of what is rewritten does not hold any more."""
    use = None
    if query.lower() != _NONE:
        name = _of_kind(candidate(ctx), query, "masquerade")
        use = LdapMasquerade(query=name, at=at, headers=header, unavailable=unavailable)
    told = f"asks {use.query} what senders become" if use else "leaves senders as they are"
    return _put(ctx, listener, "ldap_masquerade", use, told)


def _of_kind(document: Document, query: str, kind: Kind) -> str:
    """The name of a query as it is written. Raises CommandFailed."""
    names = [name for name, each in kinds(document).items() if each == kind]
    found = next((name for name in names if name.lower() == query.lower()), None)
    if found is None:
        raise CommandFailed(unknown(f"{kind} query", query, names))
    return found


def _put(ctx: Context, listener: str, key: str, use: LdapUse | LdapRewrite | None, told: str) -> Result:
    document = candidate(ctx)
    entry = _listener(document, listener)
    fresh = entry.model_copy(update={key: use})
    listeners = tuple(fresh if each.name == entry.name else each for each in document.listeners)
    facts = {"listener": entry.name, key: use.model_dump() if use else None}
    document = document.model_copy(update={"listeners": listeners})
    return stage(ctx, document, f"Listener {entry.name} {told}.", facts)


def _users(document: Document, name: str) -> list[str]:
    """The listeners and directory groups that use a query."""
    return [
        f"listener {listener.name}"
        for listener in document.listeners
        for use in (listener.ldap_accept, listener.ldap_routing, listener.ldap_masquerade)
        if use is not None and use.query == name
    ] + [f"directory group {group.name}" for group in document.ldap_groups if group.query == name]


def _listener(document: Document, name: str) -> Listener:
    for listener in document.listeners:
        if listener.name.lower() == name.lower():
            return listener
    raise CommandFailed(unknown("listener", name, [each.name for each in document.listeners]))


def _query(document: Document, name: str) -> LdapQuery:
    for query in document.ldap_queries:
        if query.name.lower() == name.lower():
            return query
    raise CommandFailed(unknown("LDAP query", name, [each.name for each in document.ldap_queries]))


def _chain(document: Document, name: str) -> LdapChain:
    for chain in document.ldap_chains:
        if chain.name.lower() == name.lower():
            return chain
    raise CommandFailed(unknown("chain", name, [each.name for each in document.ldap_chains]))
