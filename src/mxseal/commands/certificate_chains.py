"""Chains: intermediates one by one, and the check that finds and repairs what is wrong (reference §12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from cryptography import x509

from mxseal.certs.chain import check_chain
from mxseal.certs.facts import Problem, error, fingerprint, has_errors, pem, title, warning
from mxseal.certs.judge import describe, judge_for_delivery, weak_signature
from mxseal.certs.keys import KeyDamaged
from mxseal.certs.profiles import DELIVERY, parse, repaired, uses
from mxseal.certs.x509 import CERTIFICATE_LIMIT, Bundle, read_pem
from mxseal.commands.certificate_import import as_pem
from mxseal.commands.certificate_judgement import all_problems, is_demo, private_root
from mxseal.commands.certificate_trust import trusted
from mxseal.commands.certificates import (
    Listing,
    OwnName,
    ProfileName,
    candidate,
    certificate_names,
    changed,
    exchanged,
    find,
    find_own,
    link_facts,
    opened,
    plain,
    refused,
    unchanged,
)
from mxseal.commands.context import CommandFailed, Context, Role, allowed
from mxseal.commands.parameters import Argument, FileBytes, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Done, Result
from mxseal.commands.running import NOT_ALLOWED
from mxseal.config.check import key_path
from mxseal.config.model import Certificate, Document

_CHANGERS: tuple[Role, ...] = ("certificate-officer",)
_SOON_DAYS = 30
_NOTES = {"self-signed", "demonstration", "rare-key", "no-client-auth", "root-not-trusted", "name-not-fqdn"}
"""Codes of what may well be meant so: told, and no reason for the check to fail."""

Roots = Sequence[x509.Certificate] | None


# --- intermediates ----------------------------------------------------------------------------------------


@command(
    "certconfig", "intermediates", "list", role="read-only", summary="List a certificate's intermediates"
)
def certconfig_intermediates_list(ctx: Context, name: ProfileName) -> Result:
    """As they are stored. What is sent is the certificate, then the path, each once and without the root."""
    profile = find(candidate(ctx), name)
    links = tuple(link_facts(number, link) for number, link in enumerate(opened(profile).intermediates, 1))
    columns = (
        Column("Number"),
        Column("Name", cut=23),
        Column("Issued By", cut=23),
        Column("Expires"),
        Column("Fingerprint", cut=11),
    )
    rows = tuple(
        (
            link["number"],
            link["common_name"] or link["subject"],
            link["issuer"],
            link["not_after"][:10],
            link["fingerprint"],
        )
        for link in links
    )
    return Listing(columns, rows, empty=f"{profile.name} has no intermediates.", facts=links)


@command("certconfig", "intermediates", "add", role=_CHANGERS, summary="Add intermediates to a certificate")
async def certconfig_intermediates_add(
    ctx: Context,
    name: OwnName,
    files: Annotated[list[FileBytes], Argument("PEM files with intermediates", ask="File names:")],
) -> Result:
    """Behind those that there are. What is then wrong with the chain is told, and put in order by
    'certconfig check NAME --repair'."""
    profile = find_own(candidate(ctx), name, "given intermediates")
    problems: list[Problem] = []
    added: list[x509.Certificate] = []
    for file in files:
        found = _certificates(file)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            added += found
            problems += [problem for link in found for problem in weak_signature(link)]
    if len(profile.intermediates) + len(added) > CERTIFICATE_LIMIT:
        text = f"{profile.name} would have more than {CERTIFICATE_LIMIT} intermediates."
        problems.append(error("too-many", text, "Give those of its path only."))
    if has_errors(problems):
        return refused(f"The intermediates of {profile.name} are as they were", problems)
    texts = tuple(pem(link) for link in added)
    fresh = profile.model_copy(update={"intermediates": (*profile.intermediates, *texts)})
    names = ", ".join(map(title, added))
    return await _exchange(ctx, profile, fresh, f"Added to the intermediates of {profile.name}: {names}.")


def _certificates(file: FileBytes) -> list[x509.Certificate] | Problem:
    text = as_pem(file.content, None)
    found = read_pem(text) if isinstance(text, bytes) else text
    if isinstance(found, Bundle):
        if found.key is None:
            return [found.leaf, *found.intermediates]
        return error(
            "key-given",
            f"{file.path} holds a private key, which has no place among intermediates.",
            "Give the certificates of the authorities only.",
        )
    if isinstance(text, bytes) and found[0].code == "several-leaves":
        return x509.load_pem_x509_certificates(text)  # which one is the leaf does not matter here
    return msgspec.structs.replace(found[0], text=f"{file.path}: {found[0].text}")


def intermediate_numbers(ctx: Context) -> list[str]:
    longest = max((len(entry.intermediates) for entry in candidate(ctx).certificates), default=0)
    return [str(number) for number in range(1, longest + 1)]


@command("certconfig", "intermediates", "remove", role=_CHANGERS, summary="Remove an intermediate")
async def certconfig_intermediates_remove(
    ctx: Context,
    name: OwnName,
    which: Annotated[
        str,
        Argument(
            "Its number in the list, its name, or the beginning of its fingerprint",
            complete=intermediate_numbers,
            ask="Number, name or fingerprint:",
        ),
    ],
) -> Result:
    profile = find_own(candidate(ctx), name, "changed")
    links = opened(profile).intermediates
    index = _chosen(profile, links, which)
    rest = (*profile.intermediates[:index], *profile.intermediates[index + 1 :])
    fresh = profile.model_copy(update={"intermediates": rest})
    message = f"Removed from the intermediates of {profile.name}: {title(links[index])}."
    return await _exchange(ctx, profile, fresh, message)


def _chosen(profile: Certificate, links: Sequence[x509.Certificate], which: str) -> int:
    """The place that `which` names. Raises CommandFailed for none and for several."""
    if which.isdecimal() and 0 < int(which[:4]) <= len(links):
        return int(which[:4]) - 1
    mark = which.replace(":", "").upper()
    found = [
        index
        for index, link in enumerate(links)
        if which.lower() in {title(link).lower(), link.subject.rfc4514_string().lower()}
        or (len(mark) >= 6 and fingerprint(link).replace(":", "").startswith(mark))
    ]
    if len(found) == 1:
        return found[0]
    listed = f"'certconfig intermediates list {profile.name}' lists them"
    if not found:
        raise CommandFailed(f"{profile.name} has no intermediate {which}. {listed}")
    numbers = " and ".join(str(index + 1) for index in found)
    raise CommandFailed(f"{which} is the name of the intermediates {numbers}. Write the number; {listed}")


async def _exchange(ctx: Context, before: Certificate, after: Certificate, message: str) -> Result:
    """Put a profile with other intermediates in the place of `before`; tell what its chain lacks."""
    bundle, now = opened(after), ctx.services.now()
    roots = await trusted(candidate(ctx))
    problems = await asyncio.to_thread(check_chain, bundle.leaf, bundle.intermediates, now, roots)
    document = exchanged(unchanged(ctx, before), after)
    chain = [link_facts(number, link) for number, link in enumerate(bundle.intermediates, 1)]
    facts = {"name": after.name, "chain": chain}
    return changed(ctx, document, message, facts, private_root(problems, bundle, now))


# --- check ------------------------------------------------------------------------------------------------


class _Checked(msgspec.Struct, frozen=True):
    """A profile, as it is after the repair if there was one, and what is to be said about it."""

    profile: Certificate
    problems: tuple[Problem, ...]
    was_repaired: bool = False


@command(
    "certconfig",
    "check",
    role="read-only",
    summary="Check a certificate and its chain, or all of them",
    reads=False,
)
async def certconfig_check(
    ctx: Context,
    name: Annotated[str | None, Argument("Name of the certificate", complete=certificate_names)] = None,
    *,
    repair: Annotated[
        bool, Option("Store exactly the path, each certificate once, as intermediates")
    ] = False,
) -> Result:
    """Key, dates, names, usage, and whether the intermediates are the path to an authority of the trust list
    (delivery.ca_file, else the system's). The status is 1 when something is wrong. A repair is a change of
    your candidate."""
    if repair and not allowed(ctx.role, _CHANGERS):
        sentence = f"--repair needs the role administrator or certificate-officer; yours is {ctx.role}"
        raise CommandFailed(sentence, NOT_ALLOWED)
    document = candidate(ctx)
    profiles = document.certificates if name is None else (find(document, name),)
    roots = await trusted(document)
    checked = await asyncio.to_thread(_check_all, document, profiles, ctx.services.now(), roots, repair)
    checked = [
        msgspec.structs.replace(one, problems=(*_key_problems(ctx, one), *one.problems)) for one in checked
    ]
    return _report(ctx, document, checked, repair)


def _check_all(
    document: Document, profiles: Sequence[Certificate], now: float, roots: Roots, repair: bool
) -> list[_Checked]:
    checked = []
    for profile in profiles:
        fresh = _path_only(profile, now) if repair else profile
        problems = _problems(document, fresh, now, roots)
        path = key_path("certificates", profile.name)
        placed = tuple(msgspec.structs.replace(entry, path=entry.path or path) for entry in problems)
        checked.append(_Checked(fresh, placed, fresh != profile))
    return checked


def _path_only(profile: Certificate, now: float) -> Certificate:
    """The profile itself when its intermediates are the path already, or can't be read."""
    before, fresh = parse(profile), repaired(profile, now)
    if isinstance(before, list) or isinstance(fresh, list) or is_demo(profile.name):
        return profile
    return profile if before.intermediates == opened(fresh).intermediates else fresh


def _problems(document: Document, profile: Certificate, now: float, roots: Roots) -> list[Problem]:
    bundle = parse(profile)
    if isinstance(bundle, list):
        return bundle
    found = all_problems(profile, bundle, now, roots)
    if DELIVERY in uses(document, profile.name):
        found += judge_for_delivery(bundle.leaf)
    days = describe(bundle.leaf, now).days_left(now)
    if 0 <= days < _SOON_DAYS:
        text = f"The certificate {title(bundle.leaf)} expires in {days} day{'' if days == 1 else 's'}."
        found.append(warning("expires-soon", text, "Renew it: 'certconfig csr' prints a signing request."))
    return found


def _key_problems(ctx: Context, checked: _Checked) -> list[Problem]:
    """Whether the key is in the store and can be opened."""
    name = checked.profile.name
    bundle = parse(checked.profile)
    if isinstance(bundle, list):
        return []
    try:
        text = (
            "" if ctx.services.keys.key_of(bundle.leaf) else f"The key store holds no key that fits {name}."
        )
    except KeyDamaged as damage:
        text = str(damage)
    if not text:
        return []
    remedy = f"Put the certificate in again with its key: 'certconfig replace {name} FILE…'."
    return [Problem("key-missing", "error", text, remedy, key_path("certificates", name))]


def _report(ctx: Context, document: Document, checked: Sequence[_Checked], repair: bool) -> Result:
    mended = [one.profile for one in checked if one.was_repaired]
    for profile in mended:
        unchanged(ctx, find(document, profile.name))
    problems = [problem for one in checked for problem in one.problems]
    facts: dict[str, Any] = {"checked": [one.profile.name for one in checked]}
    told = ""
    if repair:
        facts["repaired"] = [profile.name for profile in mended]
        told = "There was nothing to repair. "
    if mended:
        fresh = candidate(ctx)
        for profile in mended:
            fresh = exchanged(fresh, profile)
        names = ", ".join(profile.name for profile in mended)
        done = changed(ctx, fresh, f"Repaired: {names}.", facts)
        told, facts = f"{done.message} ", {**facts, **done.facts}
    facts.pop("warnings", None)
    if any(problem.code not in _NOTES for problem in problems):
        what = "What is left" if mended else "Not all is in order"
        return msgspec.structs.replace(refused(f"{told}{what}", problems), facts=facts)
    subject = checked[0].profile.name if len(checked) == 1 else f"{len(checked)} certificates"
    verb = "is" if len(checked) == 1 else "are"
    notes = [f"Note: {problem.path}: {problem.text} {problem.remedy}" for problem in problems]
    lines = [f"{told}{subject} {verb} in order.", *notes]
    return Done("\n".join(lines), {**facts, "problems": plain(problems)})
