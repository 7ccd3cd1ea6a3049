"""Certificates from files and from the clipboard: import, paste, and the answer to a signing request.

Whatever has an error is not stored, and all of its errors are told at once (reference §1.4, §12).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mxseal.certs.facts import Problem, error, key_name, pem, title
from mxseal.certs.profiles import Accepted, accept, accept_signed, parse, uses
from mxseal.certs.x509 import Bundle, read_pem, read_pkcs12
from mxseal.commands.certificate_judgement import private_root
from mxseal.commands.certificate_trust import trusted
from mxseal.commands.certificates import (
    OwnName,
    candidate,
    changed,
    check_free,
    exchanged,
    facts_of,
    find_own,
    free_name,
    put_key,
    refused,
    unchanged,
)
from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument, FileBytes, FileText, Option, Secret
from mxseal.commands.registry import command
from mxseal.commands.results import Result
from mxseal.config.model import Certificate

_BEGIN = b"-----BEGIN "
_INPUT = re.compile(r"\binput (\d+)\b", re.IGNORECASE)
Files = Annotated[
    list[FileBytes],
    Argument("PEM or PKCS#12: certificate, key and intermediates in any order", ask="File names:"),
]
Passphrase = Annotated[
    Secret | None, Option("Of the key or the PKCS#12 file; asked at a terminal when it is needed")
]
AnyNames = Annotated[bool, Option("Take names that are not in the form host.domain")]
NewName = Annotated[
    str, Argument("Name for it here", ask="Enter a name for this certificate profile:", check=check_free)
]


class _Given(msgspec.Struct, frozen=True):
    """What is to become a certificate, and how the caller calls it."""

    files: Sequence[FileBytes]
    passphrase: Secret | None

    @property
    def title(self) -> str:
        return ", ".join(file.path for file in self.files)


@command(
    "certconfig",
    "import",
    role="certificate-officer",
    summary="Import a certificate with its key",
    order=("files", "passphrase"),
)
async def certconfig_import(
    ctx: Context,
    name: NewName,
    files: Files,
    *,
    passphrase: Annotated[
        Secret | None,
        Option(
            "Of the key or the PKCS#12 file; asked at a terminal when it is needed",
            ask="Enter the passphrase (empty: there is none):",
        ),
    ] = None,
    any_names: AnyNames = False,
) -> Result:
    """Under a new name; 'certconfig replace' renews one that is there. Several files are read as one."""
    name = free_name(candidate(ctx), name)
    return await _import(ctx, name, _Given(files, passphrase), any_names)


@command("certconfig", "paste", role="certificate-officer", summary="Paste a certificate with its key")
async def certconfig_paste(
    ctx: Context,
    name: NewName,
    text: Annotated[
        FileText,
        Argument(
            "PEM text in a file, '-' for standard input",
            ask="Paste the certificate in PEM format, with its private key and intermediates or without:",
        ),
    ],
    *,
    passphrase: Passphrase = None,
    any_names: AnyNames = False,
) -> Result:
    """What was not pasted at first, the key and intermediates, is asked at a terminal."""
    name = free_name(candidate(ctx), name)
    pasted = text.text
    client = ctx.client
    if client.interactive and "PRIVATE KEY-----" not in pasted:
        seen = _subject(pasted)
        pasted += "\n" + await client.paste(f"{seen}Paste private key in PEM format:")
    if client.interactive and pasted.count("-----BEGIN CERTIFICATE") == 1:
        while await _yes(ctx, "Do you want to add an intermediate certificate?"):
            pasted += "\n" + await client.paste("Paste intermediate certificate in PEM format:")
    given = _Given([FileBytes(text.path, pasted.encode())], passphrase)
    return await _import(ctx, name, given, any_names)


def _subject(pasted: str) -> str:
    """Whose certificate was pasted; nothing where that can't be read, which the import tells."""
    found = read_pem([pasted.encode()], None)
    return "" if isinstance(found, list) else f"Subject: {found.leaf.subject.rfc4514_string()}\n"


async def _yes(ctx: Context, question: str) -> bool:
    return (await ctx.client.ask(question, "N")).strip().lower() in {"y", "yes"}


async def _import(ctx: Context, name: str, given: _Given, any_names: bool) -> Result:
    found = await read(ctx, given)
    roots = await trusted(candidate(ctx))
    accepted = await asyncio.to_thread(
        accept, name, found, ctx.services.now(), strict_names=not any_names, roots=roots
    )
    if isinstance(accepted, list):
        return refused(f"Nothing was stored: {given.title} can't be used", accepted)
    document = candidate(ctx)
    free_name(document, name)  # somebody may have been quicker
    return _store(ctx, accepted, f"{name} was imported")


def _store(ctx: Context, accepted: Accepted, message: str) -> Result:
    """Seal the key, if one came, and put the profile into the candidate."""
    profile = accepted.certificate
    bundle = parse(profile)
    assert isinstance(bundle, Bundle), "what was accepted can be read"
    if accepted.key is not None:
        put_key(ctx, accepted.key)
    document = exchanged(candidate(ctx), profile)
    facts = {"certificate": facts_of(ctx, document, profile)}
    count = len(bundle.intermediates)
    chain = f"{count} intermediate{'' if count == 1 else 's'}" if count else "no intermediates"
    warnings = private_root(accepted.warnings, bundle, ctx.services.now())
    return changed(ctx, document, f"{message} ({key_name(bundle.leaf)}, {chain}).", facts, warnings)


# --- the answer of an authority ---------------------------------------------------------------------------


@command(
    "certconfig", "replace", role="certificate-officer", summary="Put a signed or renewed certificate in"
)
async def certconfig_replace(
    ctx: Context,
    name: OwnName,
    files: Files,
    *,
    passphrase: Passphrase = None,
    any_names: AnyNames = False,
) -> Result:
    """The authority's answer to the signing request, or a renewed certificate. Name and assignments stay, the
    intermediates are replaced by those in the files. A certificate with another key is taken when that key is
    in the files too."""
    profile = find_own(candidate(ctx), name, "replaced")
    given = _Given(files, passphrase)
    found = await read(ctx, given)
    roots = await trusted(candidate(ctx))
    accepted = await asyncio.to_thread(
        _renewed, profile, found, ctx.services.now(), strict_names=not any_names, roots=roots
    )
    if isinstance(accepted, Accepted) and (missing := _key_missing(ctx, accepted)):
        accepted = [missing]
    if isinstance(accepted, list):
        return refused(f"{profile.name} is as it was: {given.title} can't be used", accepted)
    used = uses(unchanged(ctx, profile), profile.name)
    return _store(ctx, accepted, f"{profile.name} was replaced" + (f" for {', '.join(used)}" if used else ""))


def _renewed(
    profile: Certificate,
    given: Bundle | list[Problem],
    now: float,
    *,
    strict_names: bool,
    roots: Sequence[x509.Certificate] | None,
) -> Accepted | list[Problem]:
    """A key that comes along decides for itself; without one the key of the request, or the old one."""
    if isinstance(given, list) or given.key is None:
        return accept_signed(profile, given, now, strict_names=strict_names, roots=roots)
    accepted = accept(profile.name, given, now, strict_names=strict_names, roots=roots)
    if isinstance(accepted, list):
        return accepted
    fresh = accepted.certificate.model_copy(update={"send_exact_path": profile.send_exact_path})
    return msgspec.structs.replace(accepted, certificate=fresh)


def _key_missing(ctx: Context, accepted: Accepted) -> Problem | None:
    bundle = parse(accepted.certificate)
    if accepted.key is not None or isinstance(bundle, list) or ctx.services.keys.fits(bundle.leaf):
        return None
    return error(
        "key-missing",
        f"The key store holds no key for {title(bundle.leaf)} ({key_name(bundle.leaf)}).",
        "Give the private key in the files too.",
    )


# --- reading ----------------------------------------------------------------------------------------------


async def read(ctx: Context, given: _Given) -> Bundle | list[Problem]:
    """Certificates and key of the files. Somebody at a terminal is asked for the passphrase if needed."""
    passphrase = given.passphrase.text if given.passphrase else None
    found = await asyncio.to_thread(read_files, given.files, passphrase or None)
    if _locked(found) and passphrase == "":
        found = await asyncio.to_thread(read_files, given.files, passphrase)
    if not _locked(found) or passphrase:
        return found
    if ctx.client.interactive:
        passphrase = await ctx.client.secret(f"Passphrase of {given.title}:", False)
        return await asyncio.to_thread(read_files, given.files, passphrase)
    return [
        error(
            "passphrase-needed",
            f"{given.title} is encrypted, or damaged.",
            "Give its passphrase: --passphrase pass:TEXT, env:NAME, file:PATH or stdin.",
        )
    ]


def _locked(found: Bundle | list[Problem]) -> bool:
    return isinstance(found, list) and any(
        problem.code in {"passphrase-needed", "wrong-passphrase"} for problem in found
    )


def read_files(files: Sequence[FileBytes], passphrase: str | None) -> Bundle | list[Problem]:
    secret = passphrase.encode() if passphrase is not None else None
    texts: list[bytes] = []
    problems: list[Problem] = []
    for file in files:
        text = as_pem(file.content, secret)
        if isinstance(text, list):
            problems += [_with_name(problem, [file.path]) for problem in text]
        else:
            texts.append(text)
    if problems:
        return problems
    found = read_pem(texts, secret)
    if isinstance(found, list):
        return [_with_name(problem, [file.path for file in files]) for problem in found]
    return found


def as_pem(content: bytes, secret: bytes | None) -> bytes | list[Problem]:
    """PKCS#12 and DER as PEM, so that files of all kinds can be read as one."""
    if _BEGIN in content or not content.startswith(b"\x30"):
        return content
    try:
        return x509.load_der_x509_certificate(content).public_bytes(Encoding.PEM)
    except ValueError:
        found = read_pkcs12(content, None)  # one that is not encrypted refuses any passphrase
    if _locked(found) and secret is not None:
        found = read_pkcs12(content, secret)
    if isinstance(found, list):
        return found
    text = pem(found.leaf, *found.intermediates).encode()
    if found.key is None:
        return text
    return text + found.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _with_name(problem: Problem, paths: Sequence[str]) -> Problem:
    """'input 2' by the name that the caller gave."""

    def named(match: re.Match[str]) -> str:
        number = int(match[1])
        return paths[number - 1] if 0 < number <= len(paths) else match[0]

    return msgspec.structs.replace(problem, text=_INPUT.sub(named, problem.text))
