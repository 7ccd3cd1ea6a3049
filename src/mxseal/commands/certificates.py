"""Certificates in the candidate: list, show, export, delete, and what all certificate commands share.

Reference §1.3 and §1.4. Keys are sealed in the key store as soon as they come; the rest waits for `commit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from cryptography import x509
from pydantic import TypeAdapter, ValidationError

from mxseal.certs.facts import (
    PrivateKey,
    Problem,
    common_name,
    fingerprint,
    key_name,
    name_text,
    self_signed,
    spki_sha256,
)
from mxseal.certs.judge import describe, not_after
from mxseal.certs.keys import KeyDamaged
from mxseal.certs.make import DEMO
from mxseal.certs.profiles import export_pkcs12, parse, uses
from mxseal.certs.x509 import Bundle
from mxseal.commands.certificate_judgement import all_problems, is_demo
from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.menus import Layout
from mxseal.commands.parameters import Argument, Option, OutputFile, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Field, File, Problems, Record, Result, Table
from mxseal.commands.words import nearest
from mxseal.config import check as config_check
from mxseal.config.model import Certificate, Document
from mxseal.config.values import Name
from mxseal.storage.ports import StorageRefused

GROUPS = {
    "certconfig": "Certificates, their chains, and the services that use them",
    "certconfig intermediates": "The intermediate certificates that are sent with a certificate",
}
MENUS = (
    Layout(
        "certconfig",
        GROUPS["certconfig"],
        {
            "certificate": "certconfig certificate",
            "certauthority": "certconfig certauthority",
            "crl": "certconfig crl",
        },
    ),
    Layout(
        "certconfig certificate",
        "Import, ask for, change or remove certificates",
        {
            "import": "certconfig import",
            "paste": "certconfig paste",
            "new": "certconfig new",
            "edit": "certconfig edit",
            "export": "certconfig export",
            "delete": "certconfig delete",
            "print": "certconfig print",
            "assign": "certconfig assign",
            "check": "certconfig check",
            "show": "certconfig show",
            "served": "certconfig served",
        },
        state="certconfig list",
    ),
    Layout(
        "certconfig edit",
        "Put a renewed certificate in, see the signing request, change intermediates",
        {
            "replace": "certconfig replace {}",
            "csr": "certconfig csr {}",
            "add": "certconfig intermediates add {}",
            "remove": "certconfig intermediates remove {}",
            "check": "certconfig check {}",
            "assign": "certconfig assign {}",
        },
        state="certconfig show {}",
        subject="certconfig replace",
    ),
)
"""As the reference's dialogue is laid out (§1.4)."""
_WIDE = 100
"""Columns of a terminal in which the list shows key and number of names as well."""
_NAMES: TypeAdapter[str] = TypeAdapter(Name)
_SHORT_STATUS = {"Awaiting signed certificate": "Awaiting", "Not yet valid": "Not yet"}


class Listing(Table, frozen=True):
    """A table for people; programs get `facts`, which say more than the columns hold."""

    facts: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> Any:
        return list(self.facts)


class Sheet(Record, frozen=True):
    """A record for people; programs get `facts`."""

    facts: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_json(self) -> Any:
        return self.facts


class Trouble(Problems, frozen=True):
    """Problems with certificates, whose codes and severities programs get too, and `facts`."""

    found: tuple[Problem, ...] = ()
    facts: dict[str, Any] = msgspec.field(default_factory=dict)

    def to_json(self) -> Any:
        return {"error": self.message, "problems": plain(self.found), **self.facts}


def refused(message: str, problems: Sequence[Problem]) -> Trouble:
    """All of `problems`, errors first."""
    ordered = sorted(problems, key=lambda problem: problem.severity)
    told = tuple(config_check.Problem(entry.path, entry.text.rstrip("."), entry.remedy) for entry in ordered)
    return Trouble(message, told, tuple(ordered))


def plain(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """For programs."""
    return [msgspec.to_builtins(problem) for problem in problems]


# --- the candidate ----------------------------------------------------------------------------------------


def certificate_names(ctx: Context) -> list[str]:
    return [entry.name for entry in ctx.services.history.candidate(ctx.owner).certificates]


def own_names(ctx: Context) -> list[str]:
    """All but that of the demonstration certificate."""
    return [name for name in certificate_names(ctx) if not is_demo(name)]


ProfileName = Annotated[
    str, Argument("Name of the certificate", complete=certificate_names, ask="Which one:")
]
OwnName = Annotated[str, Argument("Name of the certificate", complete=own_names, ask="Which one:")]


def candidate(ctx: Context) -> Document:
    return ctx.services.history.candidate(ctx.owner)


def find(document: Document, name: str) -> Certificate:
    """The profile, upper or lower case. Raises CommandFailed with the names that there are."""
    for profile in document.certificates:
        if profile.name.lower() == name.lower():
            return profile
    known = {profile.name.lower(): profile.name for profile in document.certificates}
    near = nearest(name, known)
    hint = f"Did you mean {known[near]}?" if near else f"There are: {', '.join(known.values()) or 'none'}."
    raise CommandFailed(f"There is no certificate called {name}. {hint}")


def find_own(document: Document, name: str, what: str) -> Certificate:
    """The same for commands that the demonstration certificate is spared from (reference §1.2)."""
    profile = find(document, name)
    if is_demo(profile.name):
        raise CommandFailed(
            f"The demonstration certificate can't be {what}. Make one of your own with 'certconfig new' or "
            "'certconfig import'"
        )
    return profile


def free_name(document: Document, name: str) -> str:
    """`name`, if a new profile can have it. Raises CommandFailed with the remedy."""
    try:
        name = _NAMES.validate_python(name)
    except ValidationError as error:
        raise CommandFailed(f"{error.errors()[0]['ctx']['error']}.") from None
    if is_demo(name):
        raise CommandFailed(f"{DEMO} is the demonstration certificate. Choose another name")
    taken = next((entry.name for entry in document.certificates if entry.name.lower() == name.lower()), None)
    if taken is not None:
        raise CommandFailed(
            f"There is a certificate called {taken} already. 'certconfig replace {taken} FILE' puts a "
            "renewed one in its place and keeps its assignments; or choose another name"
        )
    return name


def check_free(ctx: Context, name: str) -> None:
    """Raises CommandFailed."""
    free_name(candidate(ctx), name)


def opened(profile: Certificate) -> Bundle:
    """The certificates of a profile. Raises CommandFailed for one that can't be read."""
    bundle = parse(profile)
    if isinstance(bundle, list):
        told = "; ".join(problem.sentence() for problem in bundle)
        raise CommandFailed(f"The certificate {profile.name} can't be read: {told}")
    return bundle


def key_of(ctx: Context, profile: Certificate) -> PrivateKey:
    """Its key. Raises CommandFailed with the remedy."""
    remedy = f"Put the certificate in again with its key: 'certconfig replace {profile.name} FILE…'"
    try:
        key = ctx.services.keys.key_of(opened(profile).leaf)
    except KeyDamaged as damage:
        raise CommandFailed(f"{damage} {remedy}") from None
    if key is None:
        raise CommandFailed(f"The key store holds no key for {profile.name}. {remedy}")
    return key


def put_key(ctx: Context, key: PrivateKey) -> None:
    """Seal it. Raises CommandFailed when the store refuses."""
    try:
        ctx.services.keys.put(key)
    except StorageRefused as fault:
        raise CommandFailed(f"Nothing was changed: the key store takes no key ({fault})") from None


def unchanged(ctx: Context, profile: Certificate) -> Document:
    """The candidate as it is now, in which `profile` is still what it was before something took its time.

    Raises CommandFailed when the same person has changed it from elsewhere.
    """
    document = candidate(ctx)
    if document.certificate(profile.name) != profile:
        raise CommandFailed(f"{profile.name} was changed while this went on. Do it again")
    return document


def exchanged(document: Document, profile: Certificate) -> Document:
    """The document with `profile` in the place of the one of that name, or behind the others."""
    entries = [profile if entry.name == profile.name else entry for entry in document.certificates]
    if profile not in entries:
        entries.append(profile)
    return document.model_copy(update={"certificates": tuple(entries)})


def changed(
    ctx: Context, document: Document, message: str, facts: dict[str, Any], warnings: Sequence[Problem] = ()
) -> Done:
    """Make `document` the candidate; say so, with what should be known."""
    done = change(ctx, document, message)
    lines = [done.message, *(f"Warning: {warning.text} {warning.remedy}" for warning in warnings)]
    return Done("\n".join(lines), {**done.facts, **facts, "warnings": plain(warnings)})


# --- what a certificate is --------------------------------------------------------------------------------


def awaiting(profile: Certificate, leaf: x509.Certificate) -> bool:
    """Whether the signing request has no answer yet."""
    return profile.csr is not None and self_signed(leaf)


def iso(at: float) -> str:
    """'2026-02-16T09:31:02Z'."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(at: float) -> str:
    return iso(at)[:10]


def link_facts(number: int, certificate: x509.Certificate) -> dict[str, Any]:
    """One certificate of a chain, for programs."""
    return {
        "number": number,
        "common_name": common_name(certificate.subject),
        "subject": certificate.subject.rfc4514_string(),
        "issuer": name_text(certificate.issuer),
        "not_after": iso(not_after(certificate)),
        "key": key_name(certificate),
        "fingerprint": fingerprint(certificate),
        "spki_sha256": spki_sha256(certificate),
    }


def facts_of(ctx: Context, document: Document, profile: Certificate) -> dict[str, Any]:
    """Everything about a profile, for programs; little about one that can't be read."""
    used = uses(document, profile.name)
    bundle = parse(profile)
    if isinstance(bundle, list):
        return {"name": profile.name, "status": "Unreadable", "uses": used, "problems": plain(bundle)}
    now = ctx.services.now()
    waits = awaiting(profile, bundle.leaf)
    info = describe(bundle.leaf, now, active=bool(used), awaiting=waits)
    return {
        "name": profile.name,
        "status": info.status,
        "common_name": info.common_name,
        "names": list(info.names),
        "subject": info.subject,
        "issuer": info.issuer,
        "serial": info.serial,
        "not_before": iso(info.not_before),
        "not_after": iso(info.not_after),
        "days_left": info.days_left(now),
        "remaining": info.remaining(now),
        "key": info.key,
        "key_stored": ctx.services.keys.fits(bundle.leaf),
        "fingerprint": info.fingerprint,
        "spki_sha256": info.spki_sha256,
        "self_signed": info.self_signed,
        "awaiting_signed_certificate": waits,
        "uses": used,
        "send_exact_path": profile.send_exact_path,
        "chain": [link_facts(number, link) for number, link in enumerate(bundle.intermediates, 1)],
    }


# --- list and show ----------------------------------------------------------------------------------------


@command("certconfig", "list", role="read-only", summary="List the certificates")
def certconfig_list(ctx: Context) -> Result:
    """With your uncommitted changes. Active: a service uses it. 'certconfig show NAME' and --json say more; a
    wide terminal gets two more columns."""
    document = candidate(ctx)
    facts = tuple(facts_of(ctx, document, profile) for profile in document.certificates)
    columns = [
        Column("Name", cut=10),
        Column("Common Name", cut=18),
        Column("Issued By", cut=14),
        Column("Status", cut=10),
        Column("Remaining"),
        Column("Expires"),
    ]
    if ctx.width >= _WIDE:
        columns += [Column("Key"), Column("Names")]
    rows = tuple(tuple(_row(entry)[: len(columns)]) for entry in facts)
    return Listing(
        tuple(columns),
        rows,
        title="List of Certificates",
        empty="There is no certificate. 'certconfig new' makes one, 'certconfig import' takes one.",
        facts=facts,
    )


def _row(facts: dict[str, Any]) -> list[str | int]:
    return [
        facts["name"],
        facts.get("common_name") or next(iter(facts.get("names", ())), ""),
        facts.get("issuer", ""),
        _SHORT_STATUS.get(facts["status"], facts["status"]),
        facts.get("remaining", ""),
        facts.get("not_after", "")[:10],
        facts.get("key", ""),
        len(facts.get("names", ())),
    ]


@command("certconfig", "show", role="read-only", summary="Show everything about one certificate")
def certconfig_show(ctx: Context, name: ProfileName) -> Result:
    """With its chain, the services that use it, and what is wrong with it. 'certconfig check' also looks
    whether the chain reaches an authority that is trusted."""
    document = candidate(ctx)
    profile = find(document, name)
    facts = facts_of(ctx, document, profile)
    bundle = parse(profile)
    if isinstance(bundle, list):
        return refused(f"The certificate {profile.name} can't be read", bundle)
    problems = all_problems(profile, bundle, ctx.services.now(), None)
    facts |= {"certificate": profile.certificate, "csr": profile.csr, "problems": plain(problems)}
    fields = [
        Field("Name", profile.name),
        Field("Common name", facts["common_name"]),
        Field("Names", tuple(facts["names"])),
        Field("Subject", facts["subject"]),
        Field("Issued by", facts["issuer"]),
        Field("Serial number", facts["serial"]),
        Field("Status", facts["status"]),
        Field(
            "Signing request", "waits for its certificate" if facts["awaiting_signed_certificate"] else "none"
        ),
        Field("Valid", f"{facts['not_before']} to {facts['not_after']}"),
        Field("Remaining", facts["remaining"]),
        Field("Key", facts["key"] if facts["key_stored"] else f"{facts['key']}, not in the key store"),
        Field("SHA-256", facts["fingerprint"]),
        Field("Public key SHA-256", facts["spki_sha256"]),
        Field("Used by", tuple(facts["uses"]) or "no service"),
        *(Field(str(link["number"]), _link(link), section="Chain") for link in facts["chain"]),
        *(Field(p.severity.capitalize(), f"{p.text} {p.remedy}", section="Problems") for p in problems),
    ]
    return Sheet(tuple(fields), facts=facts)


def _link(link: dict[str, Any]) -> str:
    title = link["common_name"] or link["subject"]
    return f"{title}, issued by {link['issuer']}, valid until {link['not_after'][:10]}, {link['key']}"


# --- export and delete ------------------------------------------------------------------------------------


@command("certconfig", "export", role="certificate-officer", summary="Export a certificate with its key")
async def certconfig_export(
    ctx: Context,
    name: OwnName,
    file: Annotated[OutputFile, Argument("PKCS#12 file to write; it must not exist yet", ask="File name:")],
    *,
    passphrase: Annotated[Secret, Option("That opens the file again", ask="Passphrase:", repeat=True)],
) -> Result:
    """PKCS#12 with the certificate, its key and its chain, encrypted with AES-256. The file is readable by
    its owner only."""
    profile = find_own(candidate(ctx), name, "exported")
    key = key_of(ctx, profile)
    data = await asyncio.to_thread(export_pkcs12, profile, key, passphrase.text, ctx.services.now())
    if isinstance(data, list):
        return refused(f"{profile.name} was not exported", data)
    message = f"{profile.name} was exported to {file.path}, with its private key."
    return File(file.path, data, message, private=True)


@command("certconfig", "delete", role="certificate-officer", summary="Remove a certificate")
def certconfig_delete(ctx: Context, name: OwnName) -> Result:
    """Not while a service uses it. Its key stays sealed in the key store, as older revisions to which you can
    go back may need it."""
    document = candidate(ctx)
    profile = find_own(document, name, "deleted")
    used = uses(document, profile.name)
    if used:
        return Problems(
            f"{profile.name} was not deleted, as services use it",
            tuple(
                config_check.Problem("", service, "Assign another certificate to it with 'certconfig assign'")
                for service in used
            ),
        )
    rest = tuple(entry for entry in document.certificates if entry.name != profile.name)
    document = document.model_copy(update={"certificates": rest})
    return changed(ctx, document, f"{profile.name} was deleted.", {"name": profile.name})
