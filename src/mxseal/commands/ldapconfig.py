"""LDAP profiles: the directories that are asked about addresses, and how (reference §7.1, §7.2)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands.certificates import Listing, Sheet, candidate, certificate_names
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, Problems, Result
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.model import Document, LdapProfile
from mxseal.config.toml import from_plain
from mxseal.directory.presets import PRESETS, SUFFIXES
from mxseal.directory.profile import servers
from mxseal.relay.directory import secret_name
from mxseal.storage.ports import StorageRefused

GROUPS = {
    "ldapconfig": "Directories (LDAP) that are asked about addresses",
    "ldapconfig queries": "The questions that directories are asked",
    "ldapconfig chains": "Queries that are asked one after the other",
}
_NONE = "none"
_SECURITY = {"none": "none", "starttls": "StartTLS", "ldaps": "LDAPS"}
_SWITCH = {"on": True, "off": False}
Type = Literal["active-directory", "openldap", "other"]


def profile_names(ctx: Context) -> list[str]:
    return [profile.name for profile in candidate(ctx).ldap_profiles]


Name = Annotated[str, Argument("Name of the profile", complete=profile_names, ask="Which LDAP profile:")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a profile is asked; None: as it is, and as in the document's defaults for a new one."""

    type_: Annotated[
        Type | None,
        Option(
            "The ports and filters to begin with: active-directory, openldap or other", ask="Server type:"
        ),
    ] = None
    security: Annotated[
        Literal["ldaps", "starttls", "none"] | None,
        Option("TLS from the first byte, by StartTLS, or none", ask="Use TLS to connect to the LDAP server?"),
    ] = None
    base: Annotated[str | None, Option("DN below which is searched", metavar="DN", ask="Base:")] = None
    bind: Annotated[
        Literal["none", "password", "external"] | None,
        Option("Anonymous, by password, or by client certificate (SASL EXTERNAL)", ask="Authentication:"),
    ] = None
    bind_name: Annotated[str | None, Option("DN to log in as, with a password", metavar="DN")] = None
    password: Annotated[Secret | None, Option("It is sealed in the store, not part of the document")] = None
    verify: Annotated[
        Literal["on", "off"] | None, Option("Verify the server's certificate; on, unless you say off")
    ] = None
    strategy: Annotated[
        Literal["failover", "balance"] | None,
        Option("The first host that answers, or all of them by turns"),
    ] = None
    connections: Annotated[int | None, Option("To each host, in each worker", least=1, most=100)] = None
    connect_time: Annotated[float | None, Option("Seconds for name, connection, TLS and bind", least=0.1)] = (
        None
    )
    search_time: Annotated[float | None, Option("Seconds for one answer", least=0.1)] = None
    rest_time: Annotated[
        float | None, Option("Seconds for which a host that failed is not asked", least=0.1)
    ] = None
    cache_entries: Annotated[int | None, Option("Answers that are kept; 0: none", least=0)] = None
    cache_time: Annotated[float | None, Option("Seconds for which they are kept", least=0)] = None
    negative_time: Annotated[float | None, Option("Seconds for which 'not found' is kept", least=0)] = None


# --- showing ----------------------------------------------------------------------------------------------


@command("ldapconfig", "list", role="read-only", summary="List the LDAP profiles")
def ldapconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes."""
    document = candidate(ctx)
    columns = (
        Column("Name", cut=24),
        Column("Hosts", cut=48),
        Column("TLS"),
        Column("Bind"),
        Column("Base", cut=32),
        Column("Queries"),
    )
    rows = tuple(_row(document, profile) for profile in document.ldap_profiles)
    certificate = document.ldap.certificate or "none"
    return Listing(
        columns,
        rows,
        title="LDAP profiles",
        empty="There is no LDAP profile. 'ldapconfig new' makes one.",
        note=f"Client certificate: {certificate}." if rows else "",
        facts=tuple(_facts(document, profile) for profile in document.ldap_profiles),
    )


def _row(document: Document, profile: LdapProfile) -> tuple[str | int, ...]:
    hosts = ", ".join(server.name for server in servers(profile))
    tls = _SECURITY[profile.security]
    if profile.security != "none" and not profile.verify:
        tls = f"{tls}, not verified"
    count = sum(query.profile == profile.name for query in document.ldap_queries)
    return profile.name, hosts, tls, profile.bind, profile.base, count


def _facts(document: Document, profile: LdapProfile) -> dict[str, Any]:
    plain = profile.model_dump(mode="json")
    plain["password"] = profile.password is not None
    plain["hosts"] = [server.name for server in servers(profile)]
    plain["queries"] = [query.name for query in document.ldap_queries if query.profile == profile.name]
    plain["certificate"] = document.ldap.certificate
    return plain


@command("ldapconfig", "show", role="read-only", summary="Show all of one LDAP profile")
def ldapconfig_show(ctx: Context, name: Name) -> Result:
    """With your uncommitted changes. A password is never shown."""
    document = candidate(ctx)
    profile = known_profile(document, name)
    facts = _facts(document, profile)
    shown = {
        "Hosts": tuple(facts["hosts"]),
        "Strategy": profile.strategy,
        "Type": profile.type,
        "TLS": _SECURITY[profile.security],
        "Server certificate": "verified" if profile.verify else "not verified",
        "Client certificate": document.ldap.certificate or "none",
        "Bind": profile.bind,
        "Bind name": profile.bind_name or None,
        "Password": "set" if profile.password else None,
        "Base": profile.base or None,
        "Connections to each host": profile.connections,
        "Time to connect (s)": profile.connect_time,
        "Time to search (s)": profile.search_time,
        "Rest after a failure (s)": profile.rest_time,
        "Answers kept": profile.cache_entries,
        "Kept for (s)": profile.cache_time,
        "'Not found' kept for (s)": profile.negative_time,
        "Queries": tuple(facts["queries"]),
    }
    fields = tuple(Field(label, value) for label, value in shown.items() if value not in (None, ()))
    return Sheet(fields, title=f"LDAP profile {profile.name}", facts=facts)


@command("ldapconfig", "presets", role="read-only", summary="Show the ports and filters of known directories")
def ldapconfig_presets(_ctx: Context) -> Result:
    """What 'ldapconfig new' and 'ldapconfig queries new' begin with."""
    ports = {"active-directory": (3269, 3268)}
    rows = [
        (kind, *ports.get(kind, (636, 389)), use, text)
        for kind, filters in PRESETS.items()
        for use, text in filters.items()
    ]
    columns = (Column("Type"), Column("LDAPS"), Column("Without"), Column("Query"), Column("Filter"))
    return Listing(
        columns,
        tuple(rows),
        title="Known directories",
        facts=tuple(
            {"type": row[0], "ldaps_port": row[1], "port": row[2], "kind": row[3], "filter": row[4]}
            for row in rows
        ),
    )


def _typed(profile: LdapProfile) -> dict[str, Any]:
    """Of a profile, as it would be typed."""
    values = {key: getattr(profile, key.rstrip("_")) for key in Settings.__struct_fields__}
    del values["password"]
    return values | {"verify": "on" if profile.verify else "off", "hosts": list(profile.hosts)}


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(known_profile(candidate(ctx), given["name"]))


def _present_new(_ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(LdapProfile(name="New", hosts=()))


def _present_setup(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"certificate": candidate(ctx).ldap.certificate or _NONE}


# --- profiles ---------------------------------------------------------------------------------------------


@command("ldapconfig", "new", role="operator", summary="Add an LDAP profile", present=_present_new)
def ldapconfig_new(
    ctx: Context,
    name: Annotated[
        str, Argument("What it is called", ask="Please create a name for this server configuration:")
    ],
    hosts: Annotated[
        list[str],
        Argument(
            "Host, host:port, [v6]:port; several in the order of failover",
            metavar="HOST[:PORT]",
            ask="Please enter the hostname:",
        ),
    ],
    *,
    settings: Settings,
    queries: Annotated[
        bool, Option("Add the queries that are usual for the type, such as NAME.ldapaccept")
    ] = False,
) -> Result:
    """With LDAPS, and with the server's certificate verified, unless you say otherwise. Without a port:
    3269 and 3268 for Active Directory, else 636 and 389. Try it with 'ldapconfig test' before you commit.

    Example: ldapconfig new LDAP dc1.example.com --type active-directory --base DC=example,DC=com
    """
    document = candidate(ctx)
    if any(profile.name.lower() == name.lower() for profile in document.ldap_profiles):
        raise CommandFailed(f"There is an LDAP profile {name} already. 'ldapconfig edit {name}' changes it")
    plain = {"name": name, "hosts": hosts} | _given(ctx, settings)
    made = _made(plain)
    if isinstance(made, Problems):
        return made
    update: dict[str, Any] = {"ldap_profiles": (*document.ldap_profiles, made)}
    if queries:
        update["ldap_queries"] = (*document.ldap_queries, *_usual(made, document))
    fresh = document.model_copy(update=update)
    message = f"The LDAP profile {made.name} was added."
    return stage(ctx, fresh, message, _facts(fresh, made))


@command("ldapconfig", "edit", role="operator", summary="Change an LDAP profile", present=_present)
def ldapconfig_edit(
    ctx: Context,
    name: Name,
    *,
    settings: Settings,
    hosts: Annotated[
        list[str] | None,
        Option("Hosts in the place of those that it has; may be repeated", metavar="HOST[:PORT]"),
    ] = None,
) -> Result:
    """What is left out stays as it is."""
    document = candidate(ctx)
    profile = known_profile(document, name)
    given = _given(ctx, settings) | ({"hosts": hosts} if hosts else {})
    if not given:
        raise CommandFailed("Say what to change; 'help ldapconfig edit' shows what there is", 2)
    made = _made(profile.model_dump() | given)
    if isinstance(made, Problems):
        return made
    fresh = _replaced(document, profile.name, made)
    return stage(ctx, fresh, f"The LDAP profile {made.name} was changed.", _facts(fresh, made))


@command("ldapconfig", "delete", role="operator", summary="Remove an LDAP profile")
def ldapconfig_delete(ctx: Context, name: Name) -> Result:
    """Refused while queries ask it."""
    document = candidate(ctx)
    profile = known_profile(document, name)
    using = [query.name for query in document.ldap_queries if query.profile == profile.name]
    if using:
        raise CommandFailed(
            f"{profile.name} is asked by {', '.join(using)}. "
            "Delete these first with 'ldapconfig queries delete'"
        )
    kept = tuple(entry for entry in document.ldap_profiles if entry.name != profile.name)
    fresh = document.model_copy(update={"ldap_profiles": kept})
    return stage(ctx, fresh, f"The LDAP profile {profile.name} was deleted.", {"name": profile.name})


@command(
    "ldapconfig",
    "setup",
    role=("operator", "certificate-officer"),
    summary="Change what LDAP profiles share",
    present=_present_setup,
)
def ldapconfig_setup(
    ctx: Context,
    *,
    certificate: Annotated[
        str,
        Option(
            "Client certificate for directory servers, or 'none'",
            complete=certificate_names,
            ask="Please choose the certificate to apply:",
        ),
    ],
) -> Result:
    """The certificate is shown to every directory server that asks for one, and is the login of profiles that
    bind as 'external'."""
    document = candidate(ctx)
    chosen: str | None = None
    if certificate.lower() != _NONE:
        known = {entry.name.lower(): entry.name for entry in document.certificates}
        chosen = known.get(certificate.lower())
        if chosen is None:
            raise CommandFailed(
                f"There is no certificate called {certificate}. There are: {', '.join(known.values())}"
            )
    fresh = document.model_copy(update={"ldap": document.ldap.model_copy(update={"certificate": chosen})})
    told = f"Directory servers are shown {chosen or 'no client certificate'}."
    notes = [_DEMO] if chosen == "Demo" else []
    return stage(ctx, fresh, told, {"certificate": chosen}, *notes)


_DEMO = 'The "Demo" certificate is currently configured. You may use "Demo", but this will not be secure.'


# --- small steps ------------------------------------------------------------------------------------------


def known_profile(document: Document, name: str) -> LdapProfile:
    """A profile by its name, upper or lower case. Raises CommandFailed."""
    for profile in document.ldap_profiles:
        if profile.name.lower() == name.lower():
            return profile
    raise CommandFailed(unknown("LDAP profile", name, [each.name for each in document.ldap_profiles]))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """That there is none of this name, and which are meant perhaps."""
    names = list(known)
    near = nearest(name, names)
    if near:
        return f"There is no {what} called {name}. Did you mean {near}?"
    return f"There is no {what} called {name}. There are: {', '.join(names) or 'none yet'}"


def _given(ctx: Context, settings: Settings) -> dict[str, Any]:
    """The settings that were typed, as the document's keys. A password is sealed under a name of its own, so
    that the one in force stays until the commit."""
    typed = {
        key.rstrip("_"): value
        for key, value in msgspec.structs.asdict(settings).items()
        if value is not None and key not in ("password", "verify")
    }
    if settings.verify is not None:
        typed["verify"] = _SWITCH[settings.verify]
    if settings.password is not None:
        if not settings.password.text:
            # RFC 4513 §5.1.2: servers take an empty password for anybody, and let them in as nobody.
            raise CommandFailed("The password is empty. Nothing was changed")
        typed["password"] = _sealed(ctx, settings.password)
        typed.setdefault("bind", "password")
    return typed


def _sealed(ctx: Context, secret: Secret) -> str:
    identifier = secrets.token_hex(8)
    try:
        ctx.services.secrets.put(secret_name(identifier), secret.text.encode())
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was changed: the store takes no secret ({refused})") from None
    return identifier


def _made(plain: dict[str, Any]) -> LdapProfile | Problems:
    found = from_plain({"ldap_profiles": [plain]})
    if isinstance(found, list):
        return Problems("Nothing was changed", tuple(found))
    return found.ldap_profiles[0]


def _replaced(document: Document, name: str, made: LdapProfile) -> Document:
    profiles = tuple(made if entry.name == name else entry for entry in document.ldap_profiles)
    return document.model_copy(update={"ldap_profiles": profiles})


def _usual(profile: LdapProfile, document: Document) -> Sequence[Any]:
    """The queries that a directory of this type is usually asked, less those whose names are taken."""
    taken = {query.name.lower() for query in document.ldap_queries}
    plain = [
        {"name": f"{profile.name}.{SUFFIXES[kind]}", "kind": kind, "profile": profile.name, "filter": text}
        for kind, text in PRESETS[profile.type].items()
    ]
    found = from_plain({"ldap_queries": [entry for entry in plain if entry["name"].lower() not in taken]})
    return () if isinstance(found, list) else found.ldap_queries
