"""Lists of revoked certificates: where they are fetched, when, and what is in those that are here (§1.5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import TypeAdapter, ValidationError

from mxseal.certs.crl import Entry, Refused, entries, read_crl
from mxseal.certs.revocation import CrlState
from mxseal.commands.certificates import Listing, Sheet, candidate, iso
from mxseal.commands.checks import Piece
from mxseal.commands.context import CommandFailed, Context, Role
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Field, Parts, Result, Stream, Table
from mxseal.commands.staging import stage
from mxseal.commands.words import nearest
from mxseal.config.check_trust import url_fault
from mxseal.config.model import CrlSource, Document
from mxseal.config.values import Name

GROUPS = {"certconfig crl": "Lists of revoked certificates"}
Schedule = Literal["never", "hourly", "daily", "weekly"]
_FETCHERS: tuple[Role, ...] = ("operator", "certificate-officer")
_NONE = "none"
_NAMES: TypeAdapter[str] = TypeAdapter(Name)
_WORDS = {"none": "no list", "outdated": "out of date", "in-date": "in date"}


def source_names(ctx: Context) -> list[str]:
    return [source.name for source in candidate(ctx).trust.crl_sources]


Source = Annotated[str, Argument("Name of the source", complete=source_names, ask="Which source:")]
Address = Argument("http:// or https:// address of the list", metavar="URL", ask="Address of the list:")
Secondary = Annotated[str | None, Option("Address that is asked when the first fails; 'none'", metavar="URL")]


def _find(sources: Sequence[CrlSource], name: str) -> CrlSource:
    known = {source.name.lower(): source for source in sources}
    if name.lower() in known:
        return known[name.lower()]
    near = nearest(name, known)
    listed = ", ".join(source.name for source in known.values()) or "none"
    hint = f"Did you mean {known[near].name}?" if near else f"There are: {listed}."
    raise CommandFailed(f"There is no source called {name}. {hint}")


def _with(document: Document, **trust: Any) -> Document:
    return document.model_copy(update={"trust": document.trust.model_copy(update=trust)})


def _checked(url: str) -> str:
    fault = url_fault(url.strip())
    if fault is not None:
        raise CommandFailed(f"{fault}. Write one such as http://crl.example.com/ca.crl", 2)
    return url.strip()


# --- show -------------------------------------------------------------------------------------------------


@command("certconfig", "crl", "list", role="read-only", summary="List the sources and their lists")
def crl_list(ctx: Context) -> Result:
    """With your uncommitted changes. A list that is out of date does not count: certificates have no list
    then, which is recorded, and mail goes on."""
    trust = candidate(ctx).trust
    now = ctx.services.now()
    known = {state.name: state for state in ctx.services.crls.states()}
    facts = tuple(_facts(source, known.get(source.name), now) for source in trust.crl_sources)
    columns = (
        Column("Name", cut=20),
        Column("Schedule"),
        Column("List"),
        Column("Revoked"),
        Column("Next update", "next_update"),
        Column("Problem", cut=40),
    )
    rows = tuple(
        (
            each["name"],
            each["schedule"] if each["enabled"] else "off",
            _WORDS[each["list"]],
            each["revoked"],
            (each["next_update"] or "")[:16] or None,
            each["problem"] or None,
        )
        for each in facts
    )
    switches = f"Incoming mail: {_switch(trust.crl_inbound)}. Deliveries: {_switch(trust.crl_outbound)}."
    empty = "There is no source. 'certconfig crl new' makes one."
    title = "Lists of revoked certificates"
    return Listing(columns, rows, title=title, empty=empty, note=switches, facts=facts)


def _switch(on: bool) -> str:
    return "looked up" if on else "not looked up"


def _facts(source: CrlSource, state: CrlState | None, now: float) -> dict[str, Any]:
    state = state or CrlState(name=source.name)
    found = state.found
    return {
        "name": source.name,
        "url": source.url,
        "secondary_url": source.secondary_url,
        "schedule": source.schedule,
        "enabled": source.enabled,
        "list": state.kept(now),
        "fetched_from": state.url or None,
        "fetched_at": iso(state.fetched_at) if state.fetched_at is not None else None,
        "issuer": found.issuer if found else None,
        "signed_by": state.signer or None,
        "this_update": iso(found.this_update) if found else None,
        "next_update": iso(found.next_update) if found else None,
        "revoked": found.count if found else None,
        "bytes": state.size or None,
        "attempted_at": iso(state.attempted_at) if state.attempted_at is not None else None,
        "problem": state.problem,
        "failures": state.failures,
    }


@command("certconfig", "crl", "print", role="read-only", summary="Show a list that is here")
async def crl_print(
    ctx: Context,
    name: Source,
    *,
    limit: Annotated[int, Option("Revoked certificates to show", least=0, most=100_000)] = 20,
    serial: Annotated[str | None, Option("Only the certificate with this number (hexadecimal)")] = None,
) -> Result:
    """Where it came from, who signed it, until when it counts, and the numbers of revoked certificates."""
    source = _find(candidate(ctx).trust.crl_sources, name)
    now = ctx.services.now()
    state = next((each for each in ctx.services.crls.states() if each.name == source.name), None)
    facts = _facts(source, state, now)
    labels = (
        ("url", "Address"), ("secondary_url", "Second address"), ("schedule", "Fetched"), ("list", "List"),
        ("fetched_from", "Came from"), ("fetched_at", "Came at"), ("issuer", "Issuer"),
        ("signed_by", "Signature of"), ("this_update", "Made at"), ("next_update", "Next update"),
        ("revoked", "Revoked certificates"), ("bytes", "Bytes"), ("attempted_at", "Last attempt"),
        ("problem", "Problem"),
    )  # fmt: skip
    shown_facts = facts | {"list": _WORDS[facts["list"]]}
    fields = [Field(label, shown_facts[key], key) for key, label in labels if facts[key] not in (None, "")]
    sheet = Sheet((Field("Name", source.name), *fields), facts=facts)
    if state is None or state.found is None:
        return sheet
    shown = await asyncio.to_thread(_entries, ctx.services.crls.path(source.name), limit, serial)
    return Parts((sheet, _table(shown, state.found.count, serial)))


def _entries(path: Path, limit: int, serial: str | None) -> list[Entry]:
    try:
        crl = read_crl(path.read_bytes())
    except (OSError, Refused) as error:
        raise CommandFailed(
            f"The list can't be read: {error}. 'certconfig crl update' fetches it anew"
        ) from None
    if serial is None:
        return list(islice(entries(crl), limit))
    wanted = serial.replace(":", "").strip().lstrip("0").upper()
    return [entry for entry in entries(crl) if entry.serial == wanted]


def _table(shown: Sequence[Entry], count: int, serial: str | None) -> Table:
    rows = tuple((entry.serial, iso(entry.revoked_at), entry.reason or None) for entry in shown)
    columns = (Column("Number", "serial"), Column("Revoked at"), Column("Reason"))
    note = f"{len(rows)} of {count}." if serial is None and len(rows) < count else ""
    empty = "It names no certificate." if serial is None else f"{serial} is not in the list."
    return Table(columns, rows, empty=empty, note=note)


# --- change -----------------------------------------------------------------------------------------------


@command("certconfig", "crl", "new", role="certificate-officer", summary="Add a source")
def crl_new(
    ctx: Context,
    name: Annotated[str, Argument("Name for it here", ask="Name for it:")],
    url: Annotated[str, Address],
    *,
    secondary: Secondary = None,
    schedule: Annotated[Schedule, Option("How often it is fetched", ask="How often:")] = "daily",
) -> Result:
    """It is fetched as soon as it is committed. The list must be signed by an authority of the custom list or
    of the system's. 'certconfig crl setup' switches the look-up on."""
    document = candidate(ctx)
    try:
        _NAMES.validate_python(name)
    except ValidationError as error:
        raise CommandFailed(f"{error.errors()[0]['ctx']['error']}", 2) from None
    taken = next(
        (each.name for each in document.trust.crl_sources if each.name.lower() == name.lower()), None
    )
    if taken is not None:
        raise CommandFailed(f"There is a source called {taken} already. 'certconfig crl edit' changes it")
    second = None if secondary in (None, _NONE) else _checked(secondary or "")
    source = CrlSource(name=name, url=_checked(url), secondary_url=second, schedule=schedule)
    document = _with(document, crl_sources=(*document.trust.crl_sources, source))
    return stage(ctx, document, f"{name} was added.", source.model_dump())


def _present(ctx: Context, given: Mapping[str, Any]) -> Mapping[str, Any]:
    source = _find(candidate(ctx).trust.crl_sources, given["name"])
    return {
        "url": source.url,
        "secondary": source.secondary_url or _NONE,
        "schedule": source.schedule,
        "enable": "on" if source.enabled else "off",
    }


def _present_switches(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    trust = candidate(ctx).trust
    switches = {"inbound": trust.crl_inbound, "outbound": trust.crl_outbound}
    return {name: "on" if on else "off" for name, on in switches.items()}


@command("certconfig", "crl", "edit", role="certificate-officer", summary="Change a source", present=_present)
def crl_edit(
    ctx: Context,
    name: Source,
    *,
    url: Annotated[str | None, Option("Address of the list", metavar="URL")] = None,
    secondary: Secondary = None,
    schedule: Annotated[Schedule | None, Option("How often it is fetched")] = None,
    enable: Annotated[Literal["on", "off"] | None, Option("Whether it is fetched and used")] = None,
) -> Result:
    """What is left out stays as it is."""
    document = candidate(ctx)
    source = _find(document.trust.crl_sources, name)
    update: dict[str, Any] = {}
    if url is not None:
        update["url"] = _checked(url)
    if secondary is not None:
        update["secondary_url"] = None if secondary == _NONE else _checked(secondary)
    if schedule is not None:
        update["schedule"] = schedule
    if enable is not None:
        update["enabled"] = enable == "on"
    if not update:
        raise CommandFailed("Say what changes: --url, --secondary, --schedule or --enable", 2)
    fresh = source.model_copy(update=update)
    sources = tuple(fresh if each == source else each for each in document.trust.crl_sources)
    return stage(ctx, _with(document, crl_sources=sources), f"{source.name} was changed.", fresh.model_dump())


@command("certconfig", "crl", "delete", role="certificate-officer", summary="Remove a source and its list")
def crl_delete(ctx: Context, name: Source) -> Result:
    document = candidate(ctx)
    source = _find(document.trust.crl_sources, name)
    rest = tuple(each for each in document.trust.crl_sources if each != source)
    message = f"{source.name} was deleted."
    return stage(ctx, _with(document, crl_sources=rest), message, {"name": source.name})


@command(
    "certconfig",
    "crl",
    "setup",
    role="certificate-officer",
    summary="Switch the look-up on or off",
    present=_present_switches,
)
def crl_setup(
    ctx: Context,
    *,
    inbound: Annotated[
        Literal["on", "off"] | None, Option("For client certificates of incoming mail")
    ] = None,
    outbound: Annotated[Literal["on", "off"] | None, Option("For certificates of next hops")] = None,
) -> Result:
    """With the look-up on, a revoked certificate is worth as much as one of an unknown authority. One without
    a list in date is recorded as such and not refused."""
    if inbound is None and outbound is None:
        raise CommandFailed("Say what changes: --inbound, --outbound or both", 2)
    document = candidate(ctx)
    update: dict[str, Any] = {}
    if inbound is not None:
        update["crl_inbound"] = inbound == "on"
    if outbound is not None:
        update["crl_outbound"] = outbound == "on"
    document = _with(document, **update)
    trust = document.trust
    message = f"Incoming mail: {_switch(trust.crl_inbound)}. Deliveries: {_switch(trust.crl_outbound)}."
    facts = {"crl_inbound": trust.crl_inbound, "crl_outbound": trust.crl_outbound}
    return stage(ctx, document, message, facts)


# --- fetch ------------------------------------------------------------------------------------------------


@command(
    "certconfig",
    "crl",
    "update",
    role=_FETCHERS,
    summary="Fetch lists now",
    streams=True,
)
def crl_update(
    ctx: Context,
    names: Annotated[
        list[str], Argument("Sources; none: all that are switched on", complete=source_names)
    ] = [],  # noqa: B006
) -> Result:
    """Those of the configuration in force, so commit first. The status is 1 when one could not be had; the
    list that is here stays then."""
    sources = ctx.services.history.current().document.trust.crl_sources
    chosen = [_find(sources, name) for name in names] or [each for each in sources if each.enabled]
    if not chosen:
        raise CommandFailed(
            "There is no source in the configuration in force. 'certconfig crl new' makes one"
        )
    return Stream(_updating(ctx, [source.name for source in chosen]), _value)


def _value(chunk: str) -> Any:
    return chunk.value if isinstance(chunk, Piece) else {"line": chunk}


async def _updating(ctx: Context, names: Sequence[str]) -> AsyncIterator[str]:
    now = ctx.services.now()
    failed: list[str] = []
    for name in names:
        async for step in _steps(ctx, name):
            if isinstance(step, str):
                yield Piece(f"{name}: {step}\n", {"source": name, "progress": step})
                continue
            if step.problem:
                failed.append(name)
            yield Piece(f"{name}: {_outcome(step, now)}\n", {"source": name, "outcome": _told(step, now)})
    if failed:
        raise CommandFailed(f"Not fetched: {', '.join(failed)}")


async def _steps(ctx: Context, name: str) -> AsyncIterator[str | CrlState]:
    """What happens, as it happens; the last is how it ended."""
    steps: asyncio.Queue[str | None] = asyncio.Queue()
    task = asyncio.ensure_future(ctx.services.crls.update(name, steps.put_nowait))
    task.add_done_callback(lambda _task: steps.put_nowait(None))
    try:
        while (step := await steps.get()) is not None:
            yield step
        yield task.result()
    except KeyError:
        raise CommandFailed(f"{name} is not in the configuration in force any more") from None
    finally:
        task.cancel()


def _outcome(state: CrlState, now: float) -> str:
    if state.problem or state.found is None:
        return f"not fetched: {state.problem}; there is {_left(state, now)}"
    found = state.found
    return (
        f"{found.count} revoked certificate{'' if found.count == 1 else 's'} of {state.signer}, valid until "
        f"{iso(found.next_update)}"
    )


def _left(state: CrlState, now: float) -> str:
    return {
        "none": "no list",
        "outdated": "the last list, which is out of date",
        "in-date": "the last list, which still counts",
    }[state.kept(now)]


def _told(state: CrlState, now: float) -> dict[str, Any]:
    found = state.found
    return {
        "problem": state.problem,
        "list": state.kept(now),
        "revoked": found.count if found else None,
        "next_update": iso(found.next_update) if found else None,
    }
