"""Listeners: the ports on which mail is received, their certificates and limits (reference §6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from mxseal.certs.make import DEMO
from mxseal.commands.certificate_use import certconfig_assign, judged_for
from mxseal.commands.certificates import Listing, Sheet, candidate, certificate_names
from mxseal.commands.context import CommandFailed, Context, Role, allowed
from mxseal.commands.hostaccess import listener_names
from mxseal.commands.menus import Layout
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, Problems, Result
from mxseal.commands.running import NOT_ALLOWED
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Document, Listener, ListenerLimits
from mxseal.config.toml import from_plain

GROUPS = {"listenerconfig": "The ports on which mail is received, their certificates and limits"}
MENUS = (
    Layout(
        "listenerconfig edit",
        "Change a listener",
        {
            "settings": "listenerconfig edit {}",
            "certificate": "listenerconfig certificate {}",
            "limits": "listenerconfig limits {}",
            "ldapaccept": "listenerconfig ldapaccept {}",
            "ldaprouting": "listenerconfig ldaprouting {}",
            "masquerade": "listenerconfig masquerade {}",
            "hostaccess": "listenerconfig edit hostaccess",
        },
        state="listenerconfig detail {}",
        subject="listenerconfig detail",
    ),
    Layout(
        "listenerconfig edit hostaccess",
        "Who may send mail to it, and over which TLS",
        {
            "new": "policyconfig group new",
            "edit": "policyconfig group edit",
            "delete": "policyconfig group delete",
            "move": "policyconfig group move",
            "default": "policyconfig policy default",
            "policy": "policyconfig policy",
        },
        state="hostaccess --listener {}",
        subject="listenerconfig detail",
    ),
)
"""As the reference's dialogue is laid out (§2, §6.7)."""
_OFFICER: Role = "certificate-officer"
_DEFAULT = "default"
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DIGITS = 15
_SWITCH = {"on": True, "off": False}

Name = Annotated[str, Argument("Name of the listener", complete=listener_names, ask="Which listener:")]
Switch = Literal["on", "off"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener is; None: as it is, and as in the document's defaults for a new one."""

    address: Annotated[
        str | None, Option("Address on which it listens", ask="Please enter the address for this listener:")
    ] = None
    port: Annotated[int | None, Option("Its port", ask="Please enter the TCP port for this listener:")] = None
    type_: Annotated[
        Literal["public", "private"] | None,
        Option("public: for mail from the internet; private: for hosts inside", ask="Type:"),
    ] = None
    hostname: Annotated[
        str | None, Option("Name in banner and replies; 'default': the gateway's", metavar="NAME")
    ] = None
    implicit_tls: Annotated[Switch | None, Option("TLS from the first byte, as on port 465")] = None
    bare_newlines: Annotated[
        Literal["reject", "clean"] | None,
        Option("A CR or LF alone in a message: refuse the message, or write CRLF instead"),
    ] = None
    reverse_dns: Annotated[Switch | None, Option("Look up the names of clients")] = None


def check_amount(_ctx: Context, text: str) -> None:
    """Raises CommandFailed for what is neither a number, perhaps with K, M or G, nor 'default'."""
    if isinstance(amount(text), str) and text.strip().lower() != _DEFAULT:
        raise CommandFailed(f"{text} is no number: write one such as 100 or 50M, or 'default'")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds as they are typed; None: as they are."""

    connections: Annotated[
        str | None, Option("Connections at the same time", metavar="NUMBER", check=check_amount)
    ] = None
    connections_per_host: Annotated[
        str | None, Option("The same from one address", metavar="NUMBER", check=check_amount)
    ] = None
    messages_per_connection: Annotated[
        str | None, Option("Messages on one connection", metavar="NUMBER", check=check_amount)
    ] = None
    recipients_per_message: Annotated[
        str | None, Option("Recipients of one message", metavar="NUMBER", check=check_amount)
    ] = None
    message_size: Annotated[
        str | None, Option("Bytes of a message, such as 50M", metavar="SIZE", check=check_amount)
    ] = None
    header_size: Annotated[
        str | None, Option("Bytes of its header, such as 256K", metavar="SIZE", check=check_amount)
    ] = None
    commands_per_connection: Annotated[
        str | None, Option("Commands on one connection", metavar="NUMBER", check=check_amount)
    ] = None
    errors_per_connection: Annotated[
        str | None, Option("Commands in error, behind which it ends", metavar="NUMBER", check=check_amount)
    ] = None
    refused_recipients: Annotated[
        str | None, Option("Refused recipients, behind which it ends", metavar="NUMBER", check=check_amount)
    ] = None
    tls_sessions: Annotated[
        str | None, Option("TLS connections at the same time", metavar="NUMBER", check=check_amount)
    ] = None
    handshakes_per_second: Annotated[
        str | None,
        Option(
            "TLS handshakes in a second, of clients that sent no mail yet",
            metavar="NUMBER",
            check=check_amount,
        ),
    ] = None
    handshake_time: Annotated[
        str | None, Option("Seconds for a TLS handshake", metavar="SECONDS", check=check_amount)
    ] = None
    idle_time: Annotated[
        str | None, Option("Seconds without a command", metavar="SECONDS", check=check_amount)
    ] = None
    connection_time: Annotated[
        str | None, Option("Seconds in all", metavar="SECONDS", check=check_amount)
    ] = None
    hops: Annotated[
        str | None,
        Option("Received lines, behind which mail is a loop", metavar="NUMBER", check=check_amount),
    ] = None


# --- values -----------------------------------------------------------------------------------------------


def _known(document: Document, name: str) -> Listener:
    """The listener, upper or lower case. Raises CommandFailed with the names that there are."""
    known = {entry.name.lower(): entry for entry in document.listeners}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    names = ", ".join(entry.name for entry in document.listeners) or "none"
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {names}."
    raise CommandFailed(f"There is no listener called {name}. {hint}")


def _plain(settings: Settings) -> dict[str, Any]:
    """The keys that the options change."""
    given = msgspec.structs.asdict(settings)
    given["type"] = given.pop("type_")
    plain = {key: value for key, value in given.items() if value is not None}
    for key in ("implicit_tls", "reverse_dns"):
        if key in plain:
            plain[key] = _SWITCH[plain[key]]
    if plain.get("hostname", "").lower() == _DEFAULT:
        plain["hostname"] = None
    return plain


def _made(plain: dict[str, Any]) -> Listener | list[Problem]:
    """The listener that these values make, or all that is wrong with them."""
    found = from_plain({"listeners": [plain]})
    return found if isinstance(found, list) else found.listeners[0]


def _put(document: Document, name: str, fresh: Listener) -> Document:
    """The document with a listener in the place of the one called `name`; groups that name it follow."""
    listeners = tuple(fresh if entry.name == name else entry for entry in document.listeners)
    groups = tuple(
        group.model_copy(
            update={"listeners": tuple(fresh.name if each == name else each for each in group.listeners)}
        )
        for group in document.sender_groups
    )
    return document.model_copy(update={"listeners": listeners, "sender_groups": groups})


def _free(document: Document, name: str) -> None:
    """Raises CommandFailed when a listener has that name."""
    if any(entry.name.lower() == name.lower() for entry in document.listeners):
        raise CommandFailed(
            f"There is a listener called {name} already. 'listenerconfig edit {name}' changes it"
        )


def _officer(ctx: Context) -> None:
    if not allowed(ctx.role, (_OFFICER,)):
        raise CommandFailed(
            f"Only a {_OFFICER} or administrator may choose the certificate; yours is {ctx.role}", NOT_ALLOWED
        )


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a listener, as it would be typed."""
    entry = _known(candidate(ctx), given["name"])
    return {**_typed(entry), "rename": entry.name}


def _present_new(_ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a listener about which nothing was said."""
    return _typed(Listener(name="New"))


def _typed(entry: Listener) -> dict[str, Any]:
    return {
        "address": entry.address,
        "port": entry.port,
        "type_": entry.type,
        "hostname": entry.hostname or _DEFAULT,
        "implicit_tls": _switch(entry.implicit_tls),
        "bare_newlines": entry.bare_newlines,
        "reverse_dns": _switch(entry.reverse_dns),
        "certificate": entry.certificate,
    }


def _switch(on: bool) -> str:
    return "on" if on else "off"


def _present_limits(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    limits = _known(candidate(ctx), given["name"]).limits.model_dump()
    return {key: f"{_shown(value)}" for key, value in limits.items()}


# --- show -------------------------------------------------------------------------------------------------


def facts_of(listener: Listener) -> dict[str, Any]:
    """All that holds for a listener, for programs."""
    return listener.model_dump(mode="json")


@command("listenerconfig", "list", role="read-only", summary="List the listeners")
def listenerconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes. 'listenerconfig detail' shows all of one, its limits too."""
    listeners = candidate(ctx).listeners
    columns = (
        Column("Name", cut=24),
        Column("Type"),
        Column("Address"),
        Column("Port"),
        Column("TLS", "implicit_tls"),
        Column("Certificate", cut=24),
        Column("Further", "further", cut=24),
    )
    rows = tuple(
        (
            entry.name,
            entry.type,
            entry.address,
            entry.port,
            "at once" if entry.implicit_tls else "STARTTLS",
            entry.certificate,
            ", ".join(filter(None, (entry.second_certificate, *entry.sni_certificates))) or None,
        )
        for entry in listeners
    )
    facts = tuple(map(facts_of, listeners))
    return Listing(columns, rows, title="Listeners", empty="There is no listener.", facts=facts)


@command("listenerconfig", "detail", role="read-only", summary="Show all of a listener")
def listenerconfig_detail(ctx: Context, name: Name) -> Result:
    """With your uncommitted changes: what it is, its certificates, its limits, and the sender groups that
    are for it alone. 'hostaccess' shows who may send mail to it."""
    document = candidate(ctx)
    entry = _known(document, name)
    groups = [group.name for group in document.sender_groups if entry.name in group.listeners]
    fields = [
        Field("Name", entry.name),
        Field("Type", entry.type),
        Field("Address", entry.address),
        Field("Port", entry.port),
        Field("TLS", "from the first byte" if entry.implicit_tls else "by STARTTLS"),
        Field("Certificate", entry.certificate),
        Field("Second certificate", entry.second_certificate or "none"),
        Field("By server name", entry.sni_certificates or "none"),
        Field("Hostname", document.listener_hostname(entry)),
        Field("Bare newlines", entry.bare_newlines),
        Field("Reverse DNS", "on" if entry.reverse_dns else "off"),
        Field("Sender groups of its own", tuple(groups) or "none"),
        *(
            Field(_label(key), _shown(value), key, section="Limits")
            for key, value in entry.limits.model_dump().items()
        ),
    ]
    return Sheet(tuple(fields), facts={**facts_of(entry), "sender_groups": groups})


def _label(key: str) -> str:
    return key.replace("_", " ").capitalize().replace("Tls", "TLS")


def _shown(value: float) -> float | int:
    return int(value) if value == int(value) else value


# --- change -----------------------------------------------------------------------------------------------


@command("listenerconfig", "new", role="operator", summary="Add a listener", present=_present_new)
def listenerconfig_new(
    ctx: Context,
    name: Annotated[str, Argument("Its name", ask="Please create a name for this listener:")],
    *,
    settings: Settings,
    certificate: Annotated[
        str | None,
        Option(f"Left out: {DEMO}. Needs the role {_OFFICER}", complete=certificate_names, metavar="NAME"),
    ] = None,
) -> Result:
    """Left out: 127.0.0.1, port 25, public, STARTTLS, the demonstration certificate. Who may send mail to it
    say 'policyconfig' and 'hostaccess'."""
    document = candidate(ctx)
    made = _made({"name": name.strip(), **_plain(settings)})
    if isinstance(made, list):
        return Problems(f"No listener {name} was made", tuple(made))
    _free(document, made.name)
    document = document.model_copy(update={"listeners": (*document.listeners, made)})
    notes: list[str] = []
    if certificate is not None:
        document, made, notes = _with_certificate(ctx, document, made, certificate)
    message = f"Listener {made.name} was added: {made.address} port {made.port}, certificate "
    return stage(ctx, document, f"{message}{made.certificate}.", facts_of(made), *notes)


def _with_certificate(
    ctx: Context, document: Document, listener: Listener, certificate: str
) -> tuple[Document, Listener, list[str]]:
    """The document with the listener's first certificate, and what 'certconfig assign' would warn of."""
    _officer(ctx)
    fresh, warnings = judged_for(ctx, document, listener, certificate)
    notes = [f"Warning: {warning.text} {warning.remedy}" for warning in warnings]
    return _put(document, listener.name, fresh), fresh, notes


@command("listenerconfig", "edit", role="operator", summary="Change a listener", present=_present)
def listenerconfig_edit(
    ctx: Context,
    name: Name,
    *,
    settings: Settings,
    rename: Annotated[
        str | None, Option("Its new name; sender groups that name it follow", metavar="NAME")
    ] = None,
    certificate: Annotated[
        str | None,
        Option(f"Its first certificate. Needs the role {_OFFICER}", complete=certificate_names,
               metavar="NAME"),
    ] = None,
) -> Result:  # fmt: skip
    """What is left out stays. Open connections keep what they began with; a new address or port is opened
    before the old one is closed."""
    document = candidate(ctx)
    entry = _known(document, name)
    plain = _plain(settings)
    if not plain and rename is None and certificate is None:
        raise CommandFailed("Say what changes; 'help listenerconfig edit' shows the options", 2)
    if rename is not None:
        plain["name"] = rename.strip()
        if rename.strip().lower() != entry.name.lower():
            _free(document, rename.strip())
    values = {**entry.model_dump(exclude_defaults=True), **plain}
    made = _made({key: value for key, value in values.items() if value is not None})
    if isinstance(made, list):
        return Problems(f"Listener {entry.name} is as it was", tuple(made))
    document = _put(document, entry.name, made)
    notes: list[str] = []
    if certificate is not None:
        document, made, notes = _with_certificate(ctx, document, made, certificate)
    return stage(ctx, document, f"Listener {made.name} was changed.", facts_of(made), *notes)


@command("listenerconfig", "delete", role="operator", summary="Remove a listener")
def listenerconfig_delete(ctx: Context, name: Name) -> Result:
    """Its port is closed by the commit; open connections end in their own time. A gateway keeps at least one
    listener."""
    document = candidate(ctx)
    entry = _known(document, name)
    if len(document.listeners) == 1:
        raise CommandFailed(
            f"{entry.name} is the only listener, and a gateway without one gets no mail. Make another with "
            "'listenerconfig new' first"
        )
    left = tuple(each for each in document.listeners if each.name != entry.name)
    document = document.model_copy(update={"listeners": left})
    return stage(ctx, document, f"Listener {entry.name} was deleted.", {"name": entry.name})


def _present_certificate(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"certificate": _known(candidate(ctx), given["name"]).certificate}


@command(
    "listenerconfig",
    "certificate",
    role=_OFFICER,
    summary="Let a listener show a certificate",
    present=_present_certificate,
)
def listenerconfig_certificate(
    ctx: Context,
    name: Name,
    certificate: Annotated[
        str,
        Argument(
            "Name of the certificate", complete=certificate_names, ask="Choose the certificate to apply:"
        ),
    ],
    *,
    second: Annotated[bool, Option("Beside the first, with the other kind of key")] = False,
    sni: Annotated[bool, Option("For clients that ask for one of its names")] = False,
    remove: Annotated[bool, Option("Show it no more")] = False,
) -> Result:
    """The same as 'certconfig assign CERTIFICATE listener:NAME'."""
    entry = _known(candidate(ctx), name)
    service = f"listener:{entry.name}"
    return certconfig_assign(ctx, certificate, service, second=second, sni=sni, remove=remove)


# --- limits -----------------------------------------------------------------------------------------------


@command(
    "listenerconfig",
    "limits",
    role="operator",
    summary="Change what strangers may do to a listener",
    present=_present_limits,
)
def listenerconfig_limits(ctx: Context, name: Name, *, limits: Limits) -> Result:
    """What is left out stays; 'default' brings a limit's default back. Sizes may end in K, M or G.
    'listenerconfig detail' shows all limits. A mail flow policy may narrow some of them."""
    document = candidate(ctx)
    entry = _known(document, name)
    given = {key: text for key, text in msgspec.structs.asdict(limits).items() if text is not None}
    if not given:
        raise CommandFailed("Say which limits change; 'help listenerconfig limits' shows the options", 2)
    plain = entry.limits.model_dump(exclude_defaults=True)
    for key, text in given.items():
        plain.pop(key, None)
        if text.lower() != _DEFAULT:
            plain[key] = amount(text)
    made = _made({**entry.model_dump(exclude_defaults=True), "limits": plain})
    if isinstance(made, list):
        return Problems(f"The limits of {entry.name} are as they were", tuple(made))
    facts = {key: getattr(made.limits, key) for key in given}
    message = f"Limits of {entry.name}: {_listed(made.limits, list(given))}."
    return stage(ctx, _put(document, entry.name, made), message, {"name": entry.name, **facts})


def amount(text: str) -> int | float | str:
    """The number of '20', '0.5', '50M'; what is none stays as it is, for the document's check to tell."""
    word = text.strip().lower()
    number, unit = (word[:-1], _UNITS[word[-1]]) if word[-1:] in _UNITS else (word, 1)
    if number.isascii() and number.isdecimal() and len(number) <= _DIGITS:
        return int(number) * unit
    try:
        return float(number) if unit == 1 else text
    except ValueError:
        return text


def _listed(limits: ListenerLimits, keys: Sequence[str]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {_shown(getattr(limits, key))}" for key in keys)
