"""`ampconfig`: the servers that analyse files (reference §10)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from cryptography import x509

from mxseal.certs.facts import pem, title
from mxseal.certs.live import split_pem
from mxseal.commands.certificates import Listing, Sheet, candidate, certificate_names
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.ldapconfig import unknown
from mxseal.commands.parameters import Argument, FileBytes, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, Problems, Result
from mxseal.commands.staging import stage
from mxseal.config.model import AnalysisServer, Document
from mxseal.config.toml import from_plain
from mxseal.relay.scanning import key_name
from mxseal.storage.ports import StorageRefused

GROUPS = {"ampconfig": "Servers that analyse the files of messages"}
_NONE = "none"
_SWITCH = {"on": True, "off": False}
_MOST_AUTHORITIES = 20
Kind = Literal["threatgrid", "icap"]


def server_names(ctx: Context) -> list[str]:
    return [server.name for server in candidate(ctx).analysis_servers]


Name = Annotated[str, Argument("Name of the server", complete=server_names, ask="Which analysis server:")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is asked; None: as it is, and as in the document's defaults for a new one."""

    port: Annotated[
        int | None,
        Option("443 for threatgrid, 11344 for icap, unless you say otherwise", least=1, most=65535),
    ] = None
    api_key: Annotated[
        Secret | None,
        Option("Of threatgrid; it is sealed in the store, not part of the document", ask="API key:"),
    ] = None
    service: Annotated[str | None, Option("Of icap: the service, as in icap://host/SERVICE")] = None
    authority: Annotated[
        FileBytes | None,
        Option(
            "PEM file with the only authorities that the server's certificate may come from", metavar="FILE"
        ),
    ] = None
    trust: Annotated[
        Literal["lists"] | None,
        Option("Believe the lists of [trust] again, in place of --authority", quiet=True),
    ] = None
    verify: Annotated[
        Literal["on", "off"] | None, Option("Verify the server's certificate; on, unless you say off")
    ] = None
    certificate: Annotated[
        str | None,
        Option("Client certificate for this server, or 'none'", complete=certificate_names),
    ] = None
    security: Annotated[
        Literal["tls", "none"] | None, Option("TLS, or none for a scanner on this machine")
    ] = None
    malicious_from: Annotated[
        int | None, Option("Of threatgrid: the score from which a file is malicious", least=1, most=100)
    ] = None
    private: Annotated[
        Literal["on", "off"] | None, Option("Of threatgrid: only the own organisation sees what is submitted")
    ] = None
    vm: Annotated[str | None, Option("Of threatgrid: the machine that runs the files")] = None
    playbook: Annotated[str | None, Option("Of threatgrid: what is done with a file while it runs")] = None
    key_as: Annotated[
        Literal["header", "parameter"] | None, Option("Of threatgrid: how the key is sent", quiet=True)
    ] = None
    connections: Annotated[
        int | None, Option("Files under way to it at a time, in each worker", least=1, most=100)
    ] = None
    connect_time: Annotated[float | None, Option("Seconds for name, connection and TLS", least=0.1)] = None
    answer_time: Annotated[float | None, Option("Seconds for which it may be silent", least=0.1)] = None
    rest_time: Annotated[
        float | None, Option("Seconds for which a server that failed is not asked", least=0.1)
    ] = None


# --- showing ----------------------------------------------------------------------------------------------


@command("ampconfig", "list", role="read-only", summary="List the servers that analyse files")
def ampconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes."""
    servers = candidate(ctx).analysis_servers
    columns = (
        Column("Name", cut=24),
        Column("Kind"),
        Column("Server", cut=48),
        Column("TLS"),
        Column("Authority"),
        Column("Client certificate", "certificate"),
    )
    rows = tuple(
        (each.name, each.kind, _place(each), _tls(each), _authority(each), each.certificate or _NONE)
        for each in servers
    )
    return Listing(
        columns,
        rows,
        title="Analysis servers",
        empty="There is no analysis server. 'ampconfig new' makes one.",
        facts=tuple(map(_facts, servers)),
    )


@command("ampconfig", "show", role="read-only", summary="Show all of one analysis server")
def ampconfig_show(ctx: Context, name: Name) -> Result:
    """With your uncommitted changes. An API key is never shown."""
    server = known_server(candidate(ctx), name)
    shown: dict[str, Any] = {
        "Kind": server.kind,
        "Server": _place(server),
        "TLS": _tls(server),
        "Authority": _authority(server) if server.security == "tls" else None,
        "Client certificate": server.certificate or _NONE,
    }
    if server.kind == "threatgrid":
        shown |= {
            "API key": "set" if server.api_key else "missing",
            "API key is sent as": server.key_as,
            "Malicious from score": server.malicious_from,
            "Private": "yes" if server.private else "no",
            "Machine": server.vm or None,
            "Playbook": server.playbook or None,
        }
    else:
        shown["Service"] = server.service
    shown |= {
        "Files at a time": server.connections,
        "Time to connect (s)": server.connect_time,
        "Time to answer (s)": server.answer_time,
        "Rest after a failure (s)": server.rest_time,
    }
    fields = tuple(Field(label, value) for label, value in shown.items() if value is not None)
    return Sheet(fields, title=f"Analysis server {server.name}", facts=_facts(server))


def _place(server: AnalysisServer) -> str:
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"{host}:{server.at}"


def _tls(server: AnalysisServer) -> str:
    if server.security == "none":
        return _NONE
    return "verified" if server.verify else "not verified"


def _authority(server: AnalysisServer) -> str:
    if server.authority is None:
        return "lists of [trust]"
    titles = []
    for text in split_pem(server.authority):
        try:
            titles.append(title(x509.load_pem_x509_certificate(text.encode())))
        except ValueError:
            titles.append("one that can't be read")
    return ", ".join(titles)


def _facts(server: AnalysisServer) -> dict[str, Any]:
    plain = server.model_dump(mode="json")
    return plain | {"api_key": server.api_key is not None, "port": server.at}


def _typed(server: AnalysisServer) -> dict[str, Any]:
    """Of a server, as it would be typed."""
    left_out = ("api_key", "authority", "trust")
    values = {key: getattr(server, key) for key in Settings.__struct_fields__ if key not in left_out}
    values |= {key: "on" if values[key] else "off" for key in ("verify", "private")}
    return values | {"certificate": server.certificate or _NONE, "host": server.host, "port": server.at}


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return _typed(known_server(candidate(ctx), given["name"]))


def _present_new(_ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = given.get("kind")
    chosen: Kind = "icap" if kind == "icap" else "threatgrid"
    return _typed(AnalysisServer(name="New", kind=chosen, host="localhost"))


# --- changing ---------------------------------------------------------------------------------------------


@command(
    "ampconfig", "new", role="operator", summary="Add a server that analyses files", present=_present_new
)
def ampconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("What it is called", ask="Please create a name for this server:")],
    kind: Annotated[Kind, Argument("threatgrid: an appliance; icap: a scanner", ask="What does it speak:")],
    host: Annotated[str, Argument("Host name or address", ask="Please enter the hostname:")],
    *,
    settings: Settings,
) -> Result:
    """Over TLS, and with the server's certificate verified, unless you say otherwise. Try it with
    'testanalysis' before you commit.

    Example: ampconfig new Appliance threatgrid tg.example.com --authority ca.pem --api-key env:KEY
    """
    document = candidate(ctx)
    if any(server.name.lower() == name.lower() for server in document.analysis_servers):
        raise CommandFailed(f"There is an analysis server {name} already. 'ampconfig edit {name}' changes it")
    made = _made({"name": name, "kind": kind, "host": host} | _given(ctx, document, settings))
    if isinstance(made, Problems):
        return made
    fresh = document.model_copy(update={"analysis_servers": (*document.analysis_servers, made)})
    return stage(ctx, fresh, f"The analysis server {made.name} was added.", _facts(made))


@command("ampconfig", "edit", role="operator", summary="Change an analysis server", present=_present)
def ampconfig_edit(
    ctx: Context,
    name: Name,
    *,
    settings: Settings,
    host: Annotated[str | None, Option("Host name or address")] = None,
) -> Result:
    """What is left out stays as it is."""
    document = candidate(ctx)
    server = known_server(document, name)
    given = _given(ctx, document, settings) | ({"host": host} if host else {})
    if not given:
        raise CommandFailed("Say what to change; 'help ampconfig edit' shows what there is", 2)
    plain = server.model_dump(exclude_none=True) | given
    made = _made({key: value for key, value in plain.items() if value is not None})
    if isinstance(made, Problems):
        return made
    servers = tuple(made if entry.name == server.name else entry for entry in document.analysis_servers)
    fresh = document.model_copy(update={"analysis_servers": servers})
    return stage(ctx, fresh, f"The analysis server {made.name} was changed.", _facts(made))


@command("ampconfig", "delete", role="operator", summary="Remove an analysis server")
def ampconfig_delete(ctx: Context, name: Name) -> Result:
    """Files are not given to it any more once this is committed."""
    document = candidate(ctx)
    server = known_server(document, name)
    kept = tuple(entry for entry in document.analysis_servers if entry.name != server.name)
    fresh = document.model_copy(update={"analysis_servers": kept})
    return stage(ctx, fresh, f"The analysis server {server.name} was deleted.", {"name": server.name})


# --- small steps ------------------------------------------------------------------------------------------


def known_server(document: Document, name: str) -> AnalysisServer:
    """A server by its name, upper or lower case. Raises CommandFailed."""
    for server in document.analysis_servers:
        if server.name.lower() == name.lower():
            return server
    raise CommandFailed(unknown("analysis server", name, [each.name for each in document.analysis_servers]))


def _given(ctx: Context, document: Document, settings: Settings) -> dict[str, Any]:
    """The settings that were typed, as the document's keys. An API key is sealed under a name of its own, so
    that the one in force stays until the commit."""
    apart = ("api_key", "authority", "trust", "verify", "private", "certificate")
    typed = {
        key: value
        for key, value in msgspec.structs.asdict(settings).items()
        if value is not None and key not in apart
    }
    for key, word in (("verify", settings.verify), ("private", settings.private)):
        if word is not None:
            typed[key] = _SWITCH[word]
    if settings.authority is not None and settings.trust is not None:
        raise CommandFailed("Choose one of --authority and --trust lists", 2)
    if settings.trust is not None:
        typed["authority"] = None
    if settings.authority is not None:
        typed["authority"] = _authorities(settings.authority)
    if settings.certificate is not None:
        typed["certificate"] = _certificate(document, settings.certificate)
    if settings.api_key is not None:  # last: what is refused before it leaves no secret behind
        typed["api_key"] = _sealed(ctx, settings.api_key)
    return typed


def _certificate(document: Document, name: str) -> str | None:
    if name.lower() == _NONE:
        return None
    known = {entry.name.lower(): entry.name for entry in document.certificates}
    if name.lower() not in known:
        raise CommandFailed(f"There is no certificate called {name}. There are: {', '.join(known.values())}")
    return known[name.lower()]


def _authorities(file: FileBytes) -> str:
    """The certificates of a PEM file, and nothing else of it: a key may stand beside them."""
    try:
        found = x509.load_pem_x509_certificates(file.content)
        [title(each) for each in found]  # the parser is lazy
    except ValueError:
        raise CommandFailed(f"{file.path} holds no certificate in PEM form. Nothing was changed") from None
    if len(found) > _MOST_AUTHORITIES:
        raise CommandFailed(
            f"{file.path} holds {len(found)} certificates, at most {_MOST_AUTHORITIES} are taken"
        )
    return pem(*found)


def _sealed(ctx: Context, secret: Secret) -> str:
    key = secret.text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key or len(key) > 500:
        raise CommandFailed("An API key is one word of letters and digits. Nothing was changed")
    identifier = secrets.token_hex(8)
    try:
        ctx.services.secrets.put(key_name(identifier), key.encode())
    except StorageRefused as refused:
        raise CommandFailed(f"Nothing was changed: the store takes no secret ({refused})") from None
    return identifier


def _made(plain: dict[str, Any]) -> AnalysisServer | Problems:
    found = from_plain({"analysis_servers": [plain]})
    if isinstance(found, list):
        return Problems("Nothing was changed", tuple(found))
    return found.analysis_servers[0]
