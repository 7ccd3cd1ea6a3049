"""Which authorities are believed: the custom list and the system's (reference §1.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

from cryptography import x509
from pydantic import TypeAdapter, ValidationError

from mxseal.certs.authorities import Admitted, Wish, admit, dependents, read
from mxseal.certs.facts import common_name, fingerprint, key_name, name_text, pem, self_signed, title
from mxseal.certs.judge import not_after
from mxseal.commands.certificate_trust import trusted
from mxseal.commands.certificates import Listing, Sheet, candidate, day, plain, refused
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Argument, FileBytes, Option, OutputFile
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, File, Problems, Record, Result
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check import Problem
from mxseal.config.model import Authority, Document
from mxseal.config.values import Name

GROUPS = {
    "certconfig certauthority": "The authorities that peers' certificates are held against",
    "certconfig certauthority custom": "The list of your own",
    "certconfig certauthority system": "The list of the operating system",
}
_NAMES: TypeAdapter[str] = TypeAdapter(Name)


def authority_names(ctx: Context) -> list[str]:
    return [entry.name for entry in candidate(ctx).trust.authorities]


KnownAuthority = Annotated[
    str, Argument("Name of the authority", complete=authority_names, ask="Which authority:")
]


def find_authority(document: Document, name: str) -> Authority:
    """The entry, upper or lower case. Raises CommandFailed with the names that there are."""
    known = {entry.name.lower(): entry for entry in document.trust.authorities}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    listed = ", ".join(entry.name for entry in known.values()) or "none"
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {listed}."
    raise CommandFailed(f"There is no custom authority called {name}. {hint}")


def _with(document: Document, **trust: Any) -> Document:
    return document.model_copy(update={"trust": document.trust.model_copy(update=trust)})


def _state(on: bool) -> str:
    return "Enabled" if on else "Disabled"


@command("certconfig", "certauthority", "show", role="read-only", summary="Show which lists are on")
async def certauthority_show(ctx: Context) -> Result:
    """With your uncommitted changes. delivery.ca_file takes the place of the system's list."""
    document = candidate(ctx)
    trust = document.trust
    system = await trusted(document)
    return Record(
        (
            Field("Custom List", _state(trust.custom)),
            Field("System List", _state(trust.system)),
            Field("Custom authorities", len(trust.authorities)),
            Field("System authorities", len(system) if system is not None else 0),
        )
    )


# --- the custom list --------------------------------------------------------------------------------------


def _switch(ctx: Context, which: str, on: bool) -> Result:
    document = candidate(ctx)
    message = f"The {which} list is {'enabled' if on else 'disabled'}."
    if getattr(document.trust, which) == on:
        message = f"The {which} list was {'enabled' if on else 'disabled'} already."
    return stage(ctx, _with(document, **{which: on}), message, {"list": which, "enabled": on})


@command(
    "certconfig", "certauthority", "custom", "enable", role="certificate-officer",
    summary="Believe the authorities of the custom list",
)  # fmt: skip
def custom_enable(ctx: Context) -> Result:
    return _switch(ctx, "custom", True)


@command(
    "certconfig", "certauthority", "custom", "disable", role="certificate-officer",
    summary="Do not believe the authorities of the custom list",
)  # fmt: skip
def custom_disable(ctx: Context) -> Result:
    """The list itself stays, and destinations that name an authority of it go on to believe that one."""
    return _switch(ctx, "custom", False)


@command(
    "certconfig", "certauthority", "custom", "import", role="certificate-officer",
    summary="Add the authorities of a PEM file to the custom list",
)  # fmt: skip
async def custom_import(
    ctx: Context,
    file: Annotated[FileBytes, Argument("PEM file with one or several authorities", ask="File name:")],
    *,
    name: Annotated[
        str, Option("Name for it, where the file holds one; left out: from its common name")
    ] = "",
    fqdn: Annotated[bool, Option("Refuse names that are no full host names (CN, DNS names)")] = False,
) -> Result:
    """Refused as a whole, with all that is wrong: what can't be read, has expired, is there already, is no
    authority (CA:TRUE), or is an intermediate whose root is in no list that is on."""
    if name:
        _free(candidate(ctx), name)
    roots = await _system_roots(candidate(ctx))
    document = candidate(ctx)
    wish = Wish(name=name, strict_names=fqdn)
    known = document.trust.authorities
    admitted = await asyncio.to_thread(admit, file.content, known, roots, ctx.services.now(), wish)
    if isinstance(admitted, list):
        return refused(f"Nothing was imported from {file.path}", admitted)
    return _added(ctx, known, admitted)


def _added(ctx: Context, known: tuple[Authority, ...], admitted: Admitted) -> Result:
    document = candidate(ctx)
    if document.trust.authorities != known:
        raise CommandFailed("The custom list was changed while this went on. Do it again")
    document = _with(document, authorities=(*known, *admitted.authorities))
    names = [entry.name for entry in admitted.authorities]
    facts = {"imported": names, "warnings": plain(admitted.warnings)}
    notes = [f"Warning: {note.text} {note.remedy}" for note in admitted.warnings]
    return stage(ctx, document, f"Imported: {', '.join(names)}.", facts, *notes)


async def _system_roots(document: Document) -> Sequence[x509.Certificate]:
    return (await trusted(document) or ()) if document.trust.system else ()


def _free(document: Document, name: str) -> None:
    try:
        _NAMES.validate_python(name)
    except ValidationError as error:
        raise CommandFailed(f"{error.errors()[0]['ctx']['error']}", 2) from None
    if any(entry.name.lower() == name.lower() for entry in document.trust.authorities):
        raise CommandFailed(f"There is a custom authority called {name} already. Choose another name")


@command(
    "certconfig", "certauthority", "custom", "export", role="read-only",
    summary="Write the custom list to a PEM file",
)  # fmt: skip
def custom_export(
    ctx: Context,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
    *,
    authority: Annotated[list[str], Option("Only this one", complete=authority_names)] = [],  # noqa: B006
) -> Result:
    """The certificates as they were imported, with your uncommitted changes."""
    document = candidate(ctx)
    chosen = [find_authority(document, name) for name in authority] or list(document.trust.authorities)
    if not chosen:
        raise CommandFailed("The custom list is empty: there is nothing to export")
    content = "".join(f"{entry.certificate.rstrip()}\n" for entry in chosen).encode()
    return File(file.path, content, f"{_count(len(chosen))} written to {file.path}.")


@command(
    "certconfig", "certauthority", "custom", "delete", role="certificate-officer",
    summary="Take an authority out of the custom list",
)  # fmt: skip
def custom_delete(ctx: Context, name: KnownAuthority) -> Result:
    """Not while a destination has it as its trust anchor, or an interface takes certificates of it."""
    document = candidate(ctx)
    entry = find_authority(document, name)
    used = [each.domain for each in document.destinations if entry.name in each.trust_anchors]
    if used:
        remedy = "Name another with 'destconfig edit DOMAIN --trust-anchor', or none"
        problems = tuple(Problem("", f"destination {domain}", remedy) for domain in used)
        return Problems(f"{entry.name} was not deleted, as destinations have it as trust anchor", problems)
    asking = [each.name for each in document.interfaces if entry.name in each.client_authorities]
    if asking:
        remedy = "Name another with 'interfaceconfig edit NAME --client-authority', or none"
        problems = tuple(Problem("", f"interface {name}", remedy) for name in asking)
        return Problems(f"{entry.name} was not deleted, as interfaces take certificates of it", problems)
    left = dependents(entry, document.trust.authorities, ctx.services.now())
    notes = [f"Warning: without their root these intermediates count for nothing: {', '.join(left)}."]
    rest = tuple(each for each in document.trust.authorities if each != entry)
    document = _with(document, authorities=rest)
    return stage(ctx, document, f"{entry.name} was deleted.", {"name": entry.name}, *(notes if left else []))


@command(
    "certconfig", "certauthority", "custom", "print", role="read-only",
    summary="Show the custom list, or one authority of it",
)  # fmt: skip
def custom_print(
    ctx: Context,
    name: Annotated[str | None, Argument("Only this one, with everything", complete=authority_names)] = None,
) -> Result:
    """With your uncommitted changes."""
    document = candidate(ctx)
    if name is not None:
        return _sheet(ctx, find_authority(document, name))
    entries = [(entry.name, read(entry)) for entry in document.trust.authorities]
    title = f"Custom List: {_state(document.trust.custom)}"
    return _listing(
        ctx, entries, title, "The custom list is empty. 'certconfig certauthority custom import'."
    )


def _sheet(ctx: Context, entry: Authority) -> Result:
    certificate = read(entry)
    if certificate is None:
        raise CommandFailed(f"The certificate of {entry.name} can't be read. Delete it and import it again")
    facts = _facts(entry.name, certificate, ctx.services.now())
    labels = {"name": "Name", "subject": "Subject", "issuer": "Issued by", "kind": "Kind", "key": "Key"}
    fields = [Field(label, facts[key], key) for key, label in labels.items()]
    fields += [
        Field("Expires", facts["expires"]),
        Field("SHA-256", facts["fingerprint"], "fingerprint"),
        Field("Certificate", "\n" + entry.certificate.rstrip(), "certificate"),
    ]
    return Sheet(tuple(fields), facts={**facts, "certificate": entry.certificate})


def _facts(name: str, certificate: x509.Certificate, now: float) -> dict[str, Any]:
    return {"name": name, **_lasting(certificate), "expired": now > not_after(certificate)}


@lru_cache(maxsize=1000)
def _lasting(certificate: x509.Certificate) -> dict[str, Any]:
    """What does not change. The signature of each root is verified, which takes a tenth of a second for the
    system's list."""
    return {
        "common_name": common_name(certificate.subject),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": name_text(certificate.issuer),
        "kind": "root" if self_signed(certificate) else "intermediate",
        "key": key_name(certificate),
        "expires": day(not_after(certificate)),
        "fingerprint": fingerprint(certificate),
    }


def _listing(
    ctx: Context, entries: Sequence[tuple[str, x509.Certificate | None]], title: str, empty: str
) -> Listing:
    now = ctx.services.now()
    facts = [
        _facts(name, certificate, now) if certificate is not None else {"name": name, "kind": "unreadable"}
        for name, certificate in entries
    ]
    columns = (Column("Name", cut=28), Column("Kind"), Column("Issued by", "issuer", cut=22),
               Column("Expires"), Column("Key"))  # fmt: skip
    rows = tuple(
        (
            each["name"],
            each["kind"],
            None if each["kind"] == "root" else each.get("issuer"),
            f"{each['expires']}{' (expired)' if each['expired'] else ''}" if "expires" in each else None,
            each.get("key"),
        )
        for each in facts
    )
    return Listing(columns, rows, title=title, empty=empty, facts=tuple(facts))


def _count(number: int) -> str:
    return f"{number} authorit{'y was' if number == 1 else 'ies were'}"


# --- the system's list ------------------------------------------------------------------------------------


@command(
    "certconfig", "certauthority", "system", "enable", role="certificate-officer",
    summary="Believe the authorities of the system's list",
)  # fmt: skip
def system_enable(ctx: Context) -> Result:
    return _switch(ctx, "system", True)


@command(
    "certconfig", "certauthority", "system", "disable", role="certificate-officer",
    summary="Do not believe the authorities of the system's list",
)  # fmt: skip
def system_disable(ctx: Context) -> Result:
    """Then only the custom list counts, and a level that verifies needs it."""
    return _switch(ctx, "system", False)


async def _system(ctx: Context) -> Sequence[x509.Certificate]:
    found = await trusted(candidate(ctx))
    if not found:
        raise CommandFailed(
            "There is no system list on this machine. Install the package ca-certificates, or name a PEM "
            "file in delivery.ca_file"
        )
    return found


@command(
    "certconfig", "certauthority", "system", "export", role="read-only",
    summary="Write the system's list to a PEM file",
)  # fmt: skip
async def system_export(
    ctx: Context,
    file: Annotated[OutputFile, Argument("File to write; it must not exist yet", ask="File name:")],
) -> Result:
    """The one that counts: delivery.ca_file, where that is set."""
    found = await _system(ctx)
    return File(file.path, pem(*found).encode(), f"{_count(len(found))} written to {file.path}.")


@command("certconfig", "certauthority", "system", "print", role="read-only", summary="Show the system's list")
async def system_print(
    ctx: Context,
    match: Annotated[str, Argument("Part of a name")] = "",
) -> Result:
    """It is kept by the operating system: on Debian by the package ca-certificates."""
    found = await _system(ctx)
    await asyncio.to_thread(lambda: [_lasting(each) for each in found])
    entries = [(title(each), each) for each in found if match.lower() in title(each).lower()]
    heading = f"System List: {_state(candidate(ctx).trust.system)}"
    return _listing(
        ctx, sorted(entries, key=lambda entry: entry[0].lower()), heading, "None has such a name."
    )
