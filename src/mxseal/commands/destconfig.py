"""Destination controls: how mail to a domain leaves, over which TLS, global settings (reference §6.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from mxseal.commands import destination_files as files
from mxseal.commands.certauthority import authority_names, find_authority
from mxseal.commands.certificate_judgement import is_demo
from mxseal.commands.certificate_use import certconfig_assign
from mxseal.commands.certificates import Listing, candidate, certificate_names
from mxseal.commands.context import CommandFailed, Context, allowed
from mxseal.commands.destination_overrides import override_text
from mxseal.commands.levels import LABELS, MEANINGS, MENU, check_level, level_words, read_level
from mxseal.commands.parameters import Argument, FileText, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, File, Problems, Record, Result
from mxseal.commands.running import NOT_ALLOWED
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Destination, Document
from mxseal.config.toml import from_plain
from mxseal.config.values import DEFAULT, domain_name
from mxseal.relay.routing import DEFAULT_CONCURRENCY, DEFAULT_MESSAGES, Routing

GROUPS = {"destconfig": "How mail to other domains leaves: TLS levels, connections, alerts"}
_NONE = "none"
_ALERT_QUESTION = "Do you want to send an alert when a required TLS connection fails?"
_DEMO_WARNING = (
    'The "Demo" certificate is currently configured. You may use "Demo", but this will not be secure.'
)


# --- values -----------------------------------------------------------------------------------------------


def entry_names(ctx: Context) -> list[str]:
    return [entry.domain for entry in candidate(ctx).destinations]


def own_entries(ctx: Context) -> list[str]:
    return [name for name in entry_names(ctx) if name != DEFAULT]


def anchor_words(ctx: Context) -> list[str]:
    return [*authority_names(ctx), _NONE]


def _check_number(_ctx: Context, text: str) -> None:
    _number(text, "This")


Level = Annotated[
    str | None,
    Option(
        "TLS level, by its name or number; 'default': the default entry's",
        complete=level_words,
        ask=MENU,
        check=check_level,
    ),
]
Concurrency = Annotated[
    str | None,
    Option("Connections at the same time, 1 to 1000, or 'default'", metavar="NUMBER", check=_check_number),
]
Messages = Annotated[
    str | None,
    Option("Messages on one connection, 1 to 10000, or 'default'", metavar="NUMBER", check=_check_number),
]
AlertSwitch = Annotated[
    Literal["on", "off", "default"] | None, Option("Alert when a required TLS connection fails")
]


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry says; None: as it is."""

    tls: Level = None
    concurrency: Concurrency = None
    messages: Messages = None
    alert: AlertSwitch = None
    trust_anchor: Annotated[
        tuple[str, ...],
        Option(
            "A custom authority that the server's chain must end in; several may be named; 'none'",
            metavar="NAME",
            complete=anchor_words,
        ),
    ] = ()
    pin: Annotated[
        tuple[str, ...],
        Option(
            "SHA-256 of a public key that the server must have; several may be named; 'none'",
            metavar="SHA256",
        ),
    ] = ()

    @property
    def empty(self) -> bool:
        return all(not value for value in msgspec.structs.astuple(self))


_ON = {True: "on", False: "off"}
_ALERT = {"on": True, "off": False, "default": None}


def _values(document: Document, controls: Controls) -> dict[str, Any]:
    """The keys of an entry that `controls` change; None: as in the default entry. Raises CommandFailed."""
    values: dict[str, Any] = {}
    if controls.tls is not None:
        values["tls"] = read_level(controls.tls)
    if controls.concurrency is not None:
        values["concurrency"] = _number(controls.concurrency, "--concurrency")
    if controls.messages is not None:
        values["messages_per_connection"] = _number(controls.messages, "--messages")
    if controls.alert is not None:
        values["alert"] = _ALERT[controls.alert]
    if controls.trust_anchor:
        values["trust_anchors"] = _anchors(document, controls.trust_anchor)
    if controls.pin:
        values["pins"] = () if list(controls.pin) == [_NONE] else tuple(controls.pin)
    return values


def _number(text: str, option: str) -> int | None:
    if text.lower() == DEFAULT:
        return None
    if not text.isdecimal():
        raise CommandFailed(f"{option} takes a number or 'default', not {text!r}", 2)
    return int(text)


def _anchors(document: Document, names: Sequence[str]) -> tuple[str, ...]:
    if list(names) == [_NONE]:
        return ()
    return tuple(dict.fromkeys(find_authority(document, name).name for name in names))


def _made(plain: dict[str, Any]) -> Destination | list[Problem]:
    """The entry that these values make, or all that is wrong with them."""
    lean = {key: value for key, value in plain.items() if value is not None}
    found = from_plain({"destinations": [lean]})
    return found if isinstance(found, list) else found.destinations[0]


def _known(document: Document, domain: str) -> Destination:
    """The entry for a domain as it was typed. Raises CommandFailed."""
    wanted = domain.strip().lower()
    if wanted != DEFAULT:
        try:
            wanted = "." * wanted.startswith(".") + domain_name(wanted.removeprefix("."))
        except ValueError as error:
            raise CommandFailed(str(error), 2) from None
    names = [entry.domain for entry in document.destinations]
    for entry in document.destinations:
        if entry.domain == wanted:
            return entry
    near = nearest(wanted, names)
    hint = f"Did you mean {near}?" if near else f"'destconfig new {domain}' makes one."
    raise CommandFailed(f"There is no entry for {domain}. {hint}")


def _with(document: Document, entries: Sequence[Destination]) -> Document:
    return document.model_copy(update={"destinations": tuple(entries)})


def _put(document: Document, entry: Destination) -> Document:
    """The document with an entry in the place of the one for its domain, or behind the others."""
    entries = [entry if each.domain == entry.domain else each for each in document.destinations]
    if entry not in entries:
        entries.append(entry)
    return _with(document, entries)


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an entry, as it would be typed."""
    entry = _known(candidate(ctx), given["domain"])
    return _typed(entry)


def _typed(entry: Destination) -> dict[str, Any]:
    return {
        "tls": DEFAULT if entry.tls is None else str(list(LABELS).index(entry.tls) + 1),
        "concurrency": entry.concurrency or DEFAULT,
        "messages": entry.messages_per_connection or DEFAULT,
        "alert": DEFAULT if entry.alert is None else _ON[entry.alert],
        "trust_anchor": list(entry.trust_anchors) or [_NONE],
        "pin": list(entry.pins) or [_NONE],
    }


def _present_new(_ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of an entry about which nothing was said: as the default entry."""
    return _typed(Destination(domain=DEFAULT))


def _present_default(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = candidate(ctx).destinations
    return _typed(next((each for each in entries if each.domain == DEFAULT), Destination(domain=DEFAULT)))


def _present_setup(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    delivery = candidate(ctx).delivery
    return {"certificate": delivery.certificate or _NONE, "alert": _ON[delivery.alert_on_tls_failure]}


def _demo_note(ctx: Context) -> str:
    return _DEMO_WARNING if is_demo(candidate(ctx).delivery.certificate or "") else ""


def _client_certificates(ctx: Context) -> list[str]:
    return [*certificate_names(ctx), _NONE]


# --- show -------------------------------------------------------------------------------------------------


def facts_of(document: Document, entry: Destination) -> dict[str, Any]:
    """What holds for the mail of an entry, and who says so."""
    default = next((each for each in document.destinations if each.domain == DEFAULT), None)
    level, origin = _level(entry, default)
    alert = document.delivery.alert_on_tls_failure if entry.alert is None else entry.alert
    return {
        "domain": entry.domain,
        "tls": level,
        "tls_from": origin,
        "concurrency": entry.concurrency or (default and default.concurrency) or DEFAULT_CONCURRENCY,
        "messages_per_connection": entry.messages_per_connection
        or (default and default.messages_per_connection)
        or DEFAULT_MESSAGES,
        "alert": alert,
        "alert_from": "setup" if entry.alert is None else "entry",
        "trust_anchors": list(entry.trust_anchors),
        "pins": list(entry.pins),
    }


def _level(entry: Destination, default: Destination | None) -> tuple[str, str]:
    if entry.tls is not None:
        return entry.tls, "entry"
    if default is not None and default.tls is not None:
        return default.tls, "default"
    return "off", "built in"


@command("destconfig", "list", role="read-only", summary="List the entries of the destination controls")
def destconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes, and what the entries take over from the default entry. The most exact
    entry counts for a domain: the domain itself, then '.domain' of those above it, then default."""
    document = candidate(ctx)
    facts = tuple(facts_of(document, entry) for entry in document.destinations)
    columns = (
        Column("Domain", cut=30),
        Column("TLS"),
        Column("From", "tls_from"),
        Column("Conn.", "concurrency"),
        Column("Msgs", "messages_per_connection"),
        Column("Alert"),
        Column("Anchors", "trust_anchors", cut=20),
        Column("Pins", "pins"),
    )
    rows = tuple(
        (
            each["domain"],
            each["tls"],
            each["tls_from"],
            each["concurrency"],
            each["messages_per_connection"],
            "on" if each["alert"] else "off",
            ", ".join(each["trust_anchors"]) or None,
            len(each["pins"]) or None,
        )
        for each in facts
    )
    switch = "on" if document.delivery.alert_on_tls_failure else "off"
    note = (
        f"Alerts where an entry says nothing: {switch}. Client certificate: {_shown_certificate(document)}."
    )
    return Listing(
        columns, rows, title="Destination controls", empty="There is no entry.", note=note, facts=facts
    )


def _shown_certificate(document: Document) -> str:
    return document.delivery.certificate or "none"


@command("destconfig", "detail", role="read-only", summary="Show what holds for mail to a domain")
def destconfig_detail(
    ctx: Context,
    domain: Annotated[str, Argument("Any domain", complete=entry_names, ask="Which domain:")],
) -> Result:
    """With your uncommitted changes: the entry that counts for the domain, its SMTP route, and the overrides
    that may outrank the level."""
    document = candidate(ctx)
    entry, target = _counting(document, domain)
    facts = facts_of(document, entry)
    route = [host if port == 25 else f"{host}:{port}" for host, port in target.hosts]
    overrides = [override_text(override) for override in document.tls_overrides]
    level = facts["tls"]
    fields = (
        Field("Domain", domain),
        Field("Entry", entry.domain),
        Field("TLS", f"{level} (from: {facts['tls_from']}): {MEANINGS[level]}", "tls"),
        Field("Connections", facts["concurrency"], "concurrency"),
        Field("Messages per connection", facts["messages_per_connection"]),
        Field("Alert", "on" if facts["alert"] else "off"),
        Field("Trust anchors", tuple(facts["trust_anchors"]) or "those of the lists"),
        Field("Pins", tuple(facts["pins"]) or "none"),
        Field("SMTP route", tuple(route) or "none: the MX records of the domain", "route"),
        Field("TLS overrides", tuple(overrides) or "none", "overrides"),
    )
    return Record(fields)


def _counting(document: Document, domain: str) -> tuple[Destination, Any]:
    """The entry that counts for a domain, and the way of its mail."""
    routing = Routing(document)
    if domain.lower() == DEFAULT or domain.startswith("."):
        return _known(document, domain), routing.target("")
    try:
        name = domain_name(domain)
    except ValueError as error:
        raise CommandFailed(str(error), 2) from None
    return routing.entry(name), routing.target(name)


# --- change -----------------------------------------------------------------------------------------------


@command("destconfig", "new", role="operator", summary="Add an entry for a domain", present=_present_new)
def destconfig_new(
    ctx: Context,
    domain: Annotated[
        str,
        Argument("A domain, or '.domain' for its sub-domains", ask="Enter the domain you wish to configure."),
    ],
    *,
    controls: Controls,
) -> Result:
    """What is left out is as the default entry says. The TLS levels, also by their numbers 1 to 6:

    \b
    off: TLS is never asked for;
    preferred: TLS where the server offers it, else clear text;
    required: TLS or nothing, with any certificate;
    preferred-verify: as preferred, and the log tells whether the certificate is good;
    required-verify: TLS with a certificate for the recipient's domain;
    required-verify-hosted: TLS with a certificate for the domain or one of its mail exchangers.
    """
    document = candidate(ctx)
    values = _values(document, controls)
    entry = _made({"domain": domain.strip(), **values})
    if isinstance(entry, list):
        return Problems(f"No entry for {domain} was made", tuple(entry))
    if any(each.domain == entry.domain for each in document.destinations):
        raise CommandFailed(f"There is an entry for {entry.domain} already. 'destconfig edit {entry.domain}'")
    document = _put(document, entry)
    return stage(ctx, document, f"{entry.domain} was added.", facts_of(document, entry))


@command("destconfig", "edit", role="operator", summary="Change the entry for a domain", present=_present)
def destconfig_edit(
    ctx: Context,
    domain: Annotated[
        str, Argument("Domain of the entry", complete=entry_names, ask="Which entry do you wish to edit?")
    ],
    *,
    controls: Controls,
) -> Result:
    """What is left out stays; 'default' and 'none' take a value of the entry's own away. 'help destconfig
    new' explains the levels."""
    entry = _known(candidate(ctx), domain)
    if controls.empty:
        raise CommandFailed("Say what changes; 'help destconfig edit' shows the options", 2)
    return _edited(ctx, entry, controls)


def _edited(ctx: Context, entry: Destination, controls: Controls) -> Result:
    document = candidate(ctx)
    plain = entry.model_dump(exclude_defaults=True) | _values(document, controls)
    fresh = _made(plain)
    if isinstance(fresh, list):
        return Problems(f"{entry.domain} is as it was", tuple(fresh))
    document = _put(document, fresh)
    return stage(ctx, document, f"{fresh.domain} was changed.", facts_of(document, fresh))


@command("destconfig", "delete", role="operator", summary="Remove the entry for a domain")
def destconfig_delete(
    ctx: Context,
    domain: Annotated[
        str, Argument("Domain of the entry", complete=own_entries, ask="Which entry do you wish to delete?")
    ],
) -> Result:
    """Its mail then leaves as the next less exact entry says, in the end the default one."""
    document = candidate(ctx)
    entry = _known(document, domain)
    if entry.domain == DEFAULT:
        raise CommandFailed("The default entry can't be deleted. 'destconfig default' changes it")
    document = _with(document, [each for each in document.destinations if each != entry])
    after = facts_of(document, Routing(document).entry(entry.domain.removeprefix(".")))
    note = f"Its mail now leaves as the entry {after['domain']} says: TLS {after['tls']}."
    return stage(ctx, document, f"{entry.domain} was deleted.", {"domain": entry.domain}, note)


@command(
    "destconfig",
    "default",
    role="operator",
    summary="Show or change the default entry",
    present=_present_default,
)
def destconfig_default(ctx: Context, *, controls: Controls) -> Result:
    """For domains without an entry, and for what entries leave open; without options it is shown. 'help
    destconfig new' explains the levels."""
    document = candidate(ctx)
    entry = next((each for each in document.destinations if each.domain == DEFAULT), None)
    if controls.empty:
        return (
            destconfig_detail(ctx, DEFAULT) if entry else Done("There is no default entry: TLS is off.", {})
        )
    return _edited(ctx, entry or Destination(domain=DEFAULT), controls)


# --- global settings --------------------------------------------------------------------------------------


@command(
    "destconfig",
    "setup",
    role=("operator", "certificate-officer"),
    summary="Change global settings",
    present=_present_setup,
)
def destconfig_setup(
    ctx: Context,
    *,
    certificate: Annotated[
        str | None,
        Option(
            "Certificate that is shown to next hops that ask for one; 'none'",
            complete=_client_certificates,
            ask="Please choose the certificate to apply:",
            note=_demo_note,
        ),
    ] = None,
    alert: Annotated[
        Literal["on", "off"] | None,
        Option("Alert when a required TLS connection fails", ask=_ALERT_QUESTION),
    ] = None,
) -> Result:
    """The client certificate of deliveries, and whether a required TLS connection that fails raises an alert
    (for all entries that say nothing). 'alertconfig' says who gets it."""
    if certificate is None and alert is None:
        raise CommandFailed("Say what changes: --certificate, --alert or both", 2)
    notes: list[str] = []
    facts: dict[str, Any] = {}
    if certificate is not None:
        done = _assign(ctx, certificate)
        notes, facts = done.message.split("\n")[1:], done.facts
    document = candidate(ctx)
    if alert is not None:
        delivery = document.delivery.model_copy(update={"alert_on_tls_failure": alert == "on"})
        document = document.model_copy(update={"delivery": delivery})
    told = "on" if document.delivery.alert_on_tls_failure else "off"
    message = f"Client certificate: {_shown_certificate(document)}. Alert when required TLS fails: {told}."
    facts = {**facts, "certificate": document.delivery.certificate, "alert_on_tls_failure": told == "on"}
    return stage(ctx, document, message, facts, *notes)


def _assign(ctx: Context, name: str) -> Done:
    if not allowed(ctx.role, ("certificate-officer",)):
        raise CommandFailed(
            f"Only a certificate-officer or administrator may change the certificate; yours is {ctx.role}",
            NOT_ALLOWED,
        )
    document = candidate(ctx)
    if name.lower() != _NONE:
        result = certconfig_assign(ctx, name, "delivery")
    elif document.delivery.certificate is None:
        return Done("", {})
    else:
        result = certconfig_assign(ctx, document.delivery.certificate, "delivery", remove=True)
    assert isinstance(result, Done), "an assignment that fails raises"
    return result


# --- files ------------------------------------------------------------------------------------------------


@command("destconfig", "export", role="read-only", summary="Write all entries to a file")
def destconfig_export(
    ctx: Context,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
    *,
    format_: Annotated[
        Literal["toml", "csv"] | None, Option("Left out: by the file's ending, else TOML", quiet=True)
    ] = None,
) -> Result:
    """With your uncommitted changes. 'destconfig import' reads it."""
    entries = candidate(ctx).destinations
    content = files.write(entries, format_ or files.format_of(file.path)).encode()
    return File(file.path, content, f"{_entries(len(entries))} written to {file.path}.")


@command("destconfig", "import", role="operator", summary="Read entries from a file")
def destconfig_import(
    ctx: Context,
    file: Annotated[FileText, Argument("TOML or CSV file, '-' for standard input", ask="File name:")],
    *,
    merge: Annotated[bool, Option("Keep entries for domains that the file does not have")] = False,
    format_: Annotated[
        Literal["toml", "csv"] | None, Option("Left out: by the file's ending or content", quiet=True)
    ] = None,
) -> Result:
    """The file takes the place of all entries; the default entry stays if it has none. A file with mistakes
    is not taken; all of them are shown with their lines. CSV begins with a line that names the columns:
    domain,tls,concurrency,messages_per_connection,alert,trust_anchors,pins; several values in one field have
    ';' between them."""
    document = candidate(ctx)
    found = files.read(file.text, format_ or files.format_of(file.path, file.text), document)
    if isinstance(found, list):
        return Problems(f"{file.path} was not imported", tuple(found))
    if not found:
        raise CommandFailed(f"{file.path} has no entry. Nothing was changed")
    fresh = {entry.domain for entry in found}
    kept = [
        entry for entry in document.destinations
        if entry.domain not in fresh and (merge or entry.domain == DEFAULT)
    ]  # fmt: skip
    before = {entry.domain: entry for entry in document.destinations}
    gone = [domain for domain in before if domain not in fresh and domain not in {e.domain for e in kept}]
    altered = [entry.domain for entry in found if entry.domain in before and before[entry.domain] != entry]
    added = [entry.domain for entry in found if entry.domain not in before]
    facts = {"added": added, "changed": altered, "removed": gone}
    message = (
        f"{_entries(len(found))} read from {file.path}: {len(added)} added, {len(altered)} changed, "
        f"{len(gone)} removed."
    )
    entries = _ordered([*kept, *found], list(before))
    return stage(ctx, _with(document, entries), message, facts)


def _ordered(entries: Sequence[Destination], before: Sequence[str]) -> list[Destination]:
    """As they stood, then the new ones: an order that differs would be told as a change."""
    place = {domain: at for at, domain in enumerate(before)}
    return sorted(entries, key=lambda entry: place.get(entry.domain, len(place)))


def _entries(count: int) -> str:
    return f"{count} entr{'y was' if count == 1 else 'ies were'}"
