"""Interfaces: where the web GUI and the API are served, and with which certificate (reference §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands.certauthority import authority_names, find_authority
from mxseal.commands.certificate_use import certconfig_assign
from mxseal.commands.certificates import Listing, candidate, certificate_names
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Problems, Result
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Document, Interface
from mxseal.config.toml import from_plain

GROUPS = {"interfaceconfig": "Where the web GUI and the API are served"}
_OFFICER: Role = "certificate-officer"
_DEFAULT, _NONE = "default", "none"
_SWITCH = {"on": True, "off": False}

Switch = Literal["on", "off"]


def interface_names(ctx: Context) -> list[str]:
    """Names in the candidate."""
    return [interface.name for interface in candidate(ctx).interfaces]


def _authority_words(ctx: Context) -> list[str]:
    return [*authority_names(ctx), _NONE]


Name = Annotated[str, Argument("Name of the interface", complete=interface_names, ask="Which interface:")]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What an interface is; None: as it is, and as in the document's defaults for a new one."""

    address: Annotated[
        str | None, Option("Its address; 0.0.0.0 or :: for all", ask="IP address (such as 192.0.2.25):")
    ] = None
    hostname: Annotated[
        str | None, Option("Name by which browsers reach it; 'default': the gateway's", metavar="NAME")
    ] = None
    https: Annotated[Switch | None, Option("Whether web GUI and API are served")] = None
    https_port: Annotated[
        int | None, Option("Port of HTTPS", ask="Which port do you want to use for HTTPS?")
    ] = None
    http: Annotated[Switch | None, Option("Whether clear text is answered, and leads to HTTPS")] = None
    http_port: Annotated[int | None, Option("Port of HTTP")] = None
    redirect: Annotated[Switch | None, Option("Whether HTTP sends browsers on to HTTPS")] = None
    client_certificates: Annotated[
        Literal["off", "login", "second-factor"] | None,
        Option("Whether browsers are asked for a certificate: in the password's place, or behind it"),
    ] = None
    client_authority: Annotated[
        tuple[str, ...],
        Option(
            "A custom authority from which such certificates must come; several may be named; 'none'",
            metavar="NAME",
            complete=_authority_words,
        ),
    ] = ()


def _known(document: Document, name: str) -> Interface:
    """The interface, upper or lower case. Raises CommandFailed with the names that there are."""
    known = {entry.name.lower(): entry for entry in document.interfaces}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    names = ", ".join(entry.name for entry in document.interfaces) or "none"
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {names}."
    raise CommandFailed(f"There is no interface called {name}. {hint}")


def _free(document: Document, name: str) -> None:
    if any(entry.name.lower() == name.lower() for entry in document.interfaces):
        raise CommandFailed(
            f"There is an interface called {name} already. 'interfaceconfig edit {name}' changes it"
        )


def _plain(settings: Settings, document: Document) -> dict[str, Any]:
    """The keys that the options change. Raises CommandFailed for an authority that is not there."""
    plain = {key: value for key, value in msgspec.structs.asdict(settings).items() if value is not None}
    named = plain.pop("client_authority")
    if named:
        chosen = () if list(named) == [_NONE] else (find_authority(document, each).name for each in named)
        plain["client_authorities"] = tuple(dict.fromkeys(chosen))
    for key in ("https", "http", "redirect"):
        if key in plain:
            plain[key] = _SWITCH[plain[key]]
    if plain.get("hostname", "").lower() == _DEFAULT:
        plain["hostname"] = None
    return plain


def _made(plain: dict[str, Any]) -> Interface | list[Problem]:
    found = from_plain({"interfaces": [{key: value for key, value in plain.items() if value is not None}]})
    return found if isinstance(found, list) else found.interfaces[0]


def _facts(interface: Interface) -> dict[str, Any]:
    return interface.model_dump(mode="json")


@command("interfaceconfig", "list", role="read-only", summary="List the interfaces")
def interfaceconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes. 'certconfig served' looks which certificate is really shown."""
    document = candidate(ctx)
    columns = (
        Column("Name", cut=24), Column("Address"), Column("Hostname", cut=32), Column("HTTPS"),
        Column("Certificate", cut=24), Column("HTTP"),
    )  # fmt: skip
    rows = tuple(
        (
            entry.name,
            entry.address,
            document.interface_hostname(entry),
            str(entry.https_port) if entry.https else "off",
            entry.certificate,
            (f"{entry.http_port}, redirects" if entry.redirect else str(entry.http_port))
            if entry.http
            else "off",
        )
        for entry in document.interfaces
    )
    empty = "There is no interface: web GUI and API are off. 'interfaceconfig new' makes one."
    facts = tuple(map(_facts, document.interfaces))
    return Listing(columns, rows, title="Interfaces", empty=empty, facts=facts)


def _present_new(_ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an interface about which nothing was said."""
    return _typed(Interface(name="New"))


@command("interfaceconfig", "new", role="administrator", summary="Add an interface", present=_present_new)
def interfaceconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Please enter a name for this interface:")],
    *,
    settings: Settings,
) -> Result:
    """Left out: 127.0.0.1, HTTPS on port 8443 with the demonstration certificate, no HTTP."""
    document = candidate(ctx)
    made = _made({"name": name.strip(), **_plain(settings, document)})
    if isinstance(made, list):
        return Problems(f"No interface {name} was made", tuple(made))
    _free(document, made.name)
    document = document.model_copy(update={"interfaces": (*document.interfaces, made)})
    where = f"HTTPS on {made.address} port {made.https_port}" if made.https else made.address
    message = f"Interface {made.name} was added: {where}, certificate {made.certificate}."
    return stage(ctx, document, message, _facts(made))


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an interface, as it would be typed: the defaults of the dialogue."""
    entry = _known(candidate(ctx), given["name"])
    return {**_typed(entry), "rename": entry.name, "certificate": entry.certificate}


def _typed(entry: Interface) -> dict[str, Any]:
    switches = {key: "on" if getattr(entry, key) else "off" for key in ("https", "http", "redirect")}
    return {
        **{key: getattr(entry, key) for key in Settings.__struct_fields__ if key != "client_authority"},
        "client_authority": list(entry.client_authorities) or [_NONE],
        "hostname": entry.hostname or _DEFAULT,
        **switches,
    }


def _present_certificate(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"certificate": _known(candidate(ctx), given["name"]).certificate}


@command(
    "interfaceconfig",
    "edit",
    role="administrator",
    summary="Change an interface",
    present=_present,
)
def interfaceconfig_edit(
    ctx: Context,
    name: Name,
    *,
    settings: Settings,
    rename: Annotated[str | None, Option("Its new name", metavar="NAME")] = None,
    certificate: Annotated[
        str | None, Option("The certificate of HTTPS", complete=certificate_names, metavar="NAME")
    ] = None,
) -> Result:
    """What is left out stays. Requests that are being answered are answered; connections that are open keep
    the certificate that they began with."""
    document = candidate(ctx)
    entry = _known(document, name)
    plain = _plain(settings, document)
    if rename is not None:
        plain["name"] = rename.strip()
        if rename.strip().lower() != entry.name.lower():
            _free(document, rename.strip())
    if certificate is not None:
        known = {profile.name.lower(): profile.name for profile in document.certificates}
        plain["certificate"] = known.get(certificate.lower(), certificate)
    if not plain:
        raise CommandFailed("Say what changes; 'help interfaceconfig edit' shows the options", 2)
    made = _made({**entry.model_dump(exclude_defaults=True), **plain})
    if isinstance(made, list):
        return Problems(f"Interface {entry.name} is as it was", tuple(made))
    interfaces = tuple(made if each.name == entry.name else each for each in document.interfaces)
    document = document.model_copy(update={"interfaces": interfaces})
    return stage(ctx, document, f"Interface {made.name} was changed.", _facts(made))


@command(
    "interfaceconfig",
    "certificate",
    role=_OFFICER,
    summary="Let an interface show a certificate",
    present=_present_certificate,
)
def interfaceconfig_certificate(
    ctx: Context,
    name: Name,
    certificate: Annotated[
        str, Argument("Name of the certificate", complete=certificate_names, ask="Which certificate:")
    ],
) -> Result:
    """The same as 'certconfig assign CERTIFICATE interface:NAME'."""
    entry = _known(candidate(ctx), name)
    return certconfig_assign(ctx, certificate, f"interface:{entry.name}")


@command("interfaceconfig", "delete", role="administrator", summary="Remove an interface")
def interfaceconfig_delete(ctx: Context, name: Name) -> Result:
    """Its ports are closed by the commit; requests that are being answered are answered. Without any, the
    gateway is administered on its own machine and over SSH."""
    document = candidate(ctx)
    entry = _known(document, name)
    left = tuple(each for each in document.interfaces if each.name != entry.name)
    document = document.model_copy(update={"interfaces": left})
    return stage(ctx, document, f"Interface {entry.name} was deleted.", {"name": entry.name})
