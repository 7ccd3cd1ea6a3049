"""Rules for LDAP: names, filters, and settings that go together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mxseal.config.model import Document, LdapProfile
from mxseal.config.problem import Problem, Rule, key_path
from mxseal.ldap.filters import ADDRESS, DOMAIN, GROUP, SENDER, USER, fault_of
from mxseal.ldap.values import Kind

ALLOWED: dict[Kind, frozenset[str]] = {
    "accept": frozenset((ADDRESS, USER, DOMAIN, SENDER)),
    "routing": frozenset((ADDRESS, USER, DOMAIN)),
    "masquerade": frozenset((ADDRESS, USER, DOMAIN)),
    "group": frozenset((ADDRESS, USER, DOMAIN, GROUP)),
}
"""The tokens that each kind of query may have."""


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(sorted(names))
    return f"Known are: {listed}" if listed else "There are none yet"


def _names(document: Document) -> Iterator[Problem]:
    seen: set[str] = set()
    lists = (
        ("ldap_profiles", document.ldap_profiles, set[str]()),
        # A chain stands wherever a query can: they share their names.
        ("ldap_queries", document.ldap_queries, seen),
        ("ldap_chains", document.ldap_chains, seen),
        ("ldap_groups", document.ldap_groups, set[str]()),
    )
    for field, entries, taken in lists:
        for entry in entries:
            if entry.name.lower() in taken:
                path = key_path(field, entry.name)
                yield Problem(path, "this name is used twice", "Give each entry a name of its own")
            taken.add(entry.name.lower())


def _profiles(document: Document) -> Iterator[Problem]:
    for profile in document.ldap_profiles:
        for key, text, remedy in _faults(profile):
            yield Problem(key_path("ldap_profiles", profile.name, key), text, remedy)


def _faults(profile: LdapProfile) -> Iterator[tuple[str, str, str]]:
    """(key, text, remedy)"""
    if not profile.hosts:
        yield "hosts", "the profile has no host", 'Write at least one, such as ["ldap.example.com"]'
    if profile.bind == "external" and profile.security == "none":
        yield (
            "bind",
            "'external' is a login by client certificate, and without TLS none is shown",
            "Set security to ldaps or starttls",
        )
    if profile.bind == "password" and not profile.bind_name:
        yield "bind_name", "a login by password needs a name", "Write the DN of the account"
    if profile.bind == "password" and profile.password is None:
        yield (
            "password",
            "the password is missing",
            f"Set it with 'ldapconfig edit \"{profile.name}\" --password'",
        )


def _certificate(document: Document) -> Iterator[Problem]:
    name = document.ldap.certificate
    known = {entry.name for entry in document.certificates}
    if name is None or name in known or not document.ldap_profiles:
        return
    yield Problem("ldap.certificate", f"there is no certificate called {name!r}", _known(known))


def _queries(document: Document) -> Iterator[Problem]:
    profiles = {profile.name for profile in document.ldap_profiles}
    for query in document.ldap_queries:
        if query.profile not in profiles:
            path = key_path("ldap_queries", query.name, "profile")
            yield Problem(path, f"there is no LDAP profile called {query.profile!r}", _known(profiles))
        fault = fault_of(query.filter, ALLOWED[query.kind])
        if fault is not None:
            path = key_path("ldap_queries", query.name, "filter")
            yield Problem(path, fault, "Try it with 'ldaptest' before you commit")


def kinds(document: Document) -> dict[str, Kind]:
    """What each query and chain is, by name."""
    found = {query.name: query.kind for query in document.ldap_queries}
    return found | {chain.name: chain.kind for chain in document.ldap_chains}


def _chains(document: Document) -> Iterator[Problem]:
    known = {query.name: query.kind for query in document.ldap_queries}
    for chain in document.ldap_chains:
        path = key_path("ldap_chains", chain.name, "queries")
        if not chain.queries:
            yield Problem(path, "the chain is empty", "Name the queries in the order in which to ask")
        for name in chain.queries:
            if name not in known:
                yield Problem(path, f"there is no query called {name!r}", _known(known))
            elif known[name] != chain.kind:
                text = f"{name!r} is of the kind {known[name]}, and the chain of the kind {chain.kind}"
                yield Problem(path, text, "Put queries of one kind into a chain")


def _uses(document: Document) -> Iterator[Problem]:
    known = kinds(document)
    for listener in document.listeners:
        for kind in ("accept", "routing", "masquerade"):
            use = getattr(listener, f"ldap_{kind}")
            if use is None:
                continue
            path = key_path("listeners", listener.name, f"ldap_{kind}", "query")
            if use.query not in known:
                yield Problem(path, f"there is no LDAP query called {use.query!r}", _known(known))
            elif known[use.query] != kind:
                text = f"{use.query!r} is of the kind {known[use.query]}, one of the kind {kind} is needed"
                yield Problem(path, text, "Choose another query")


def _order(document: Document) -> Iterator[Problem]:
    for listener in document.listeners:
        accept, routing, masquerade = listener.ldap_accept, listener.ldap_routing, listener.ldap_masquerade
        if accept and routing and (accept.at, routing.at) == ("work-queue", "conversation"):
            path = key_path("listeners", listener.name, "ldap_routing", "at")
            text = "recipients would get a route before it is known whether they exist"
            yield Problem(path, text, "Set it to work-queue, or that of ldap_accept to conversation")
        if masquerade is not None and masquerade.headers and masquerade.at == "conversation":
            path = key_path("listeners", listener.name, "ldap_masquerade", "at")
            yield Problem(path, "header fields are rewritten in the work queue only", "Set it to work-queue")


def group_uses(document: Document) -> Iterator[tuple[str, str]]:
    """(key's path, name of the group) of whatever names a directory group."""
    for index, override in enumerate(document.tls_overrides):
        for key in ("sender_group", "recipient_group"):
            if (name := getattr(override, key)) is not None:
                yield key_path("tls_overrides", index, key), name
    for policy in document.mail_flow_policies:
        for key in ("tls_sender_groups", "tls_recipient_groups"):
            for name in getattr(policy, key):
                yield key_path("mail_flow_policies", policy.name, key), name


def _groups(document: Document) -> Iterator[Problem]:
    known = kinds(document)
    for group in document.ldap_groups:
        path = key_path("ldap_groups", group.name, "query")
        if group.query not in known:
            yield Problem(path, f"there is no LDAP query called {group.query!r}", _known(known))
        elif known[group.query] != "group":
            text = f"{group.query!r} is of the kind {known[group.query]}, one of the kind group is needed"
            yield Problem(path, text, "Choose another query")
    names = {group.name for group in document.ldap_groups}
    for path, name in group_uses(document):
        if name not in names:
            yield Problem(path, f"there is no directory group called {name!r}", _known(names))


def _weak(document: Document) -> Iterator[Problem]:
    for profile in document.ldap_profiles:
        path = key_path("ldap_profiles", profile.name, "security")
        if profile.security == "none" and profile.bind == "password":
            yield Problem(path, "the password goes over the network in clear", "Set it to ldaps or starttls")
        elif profile.security == "none":
            text = "what the directory answers is neither encrypted nor proved to be its own"
            yield Problem(path, text, "Set it to ldaps or starttls")
        elif not profile.verify:
            path = key_path("ldap_profiles", profile.name, "verify")
            text = "anybody between here and the directory can answer in its place"
            yield Problem(
                path, text, "Import the directory's authority into the custom list and set it to true"
            )


RULES: tuple[Rule, ...] = (_names, _profiles, _certificate, _queries, _chains, _uses, _order, _groups)
ADVICE: tuple[Rule, ...] = (_weak,)
