"""`analysisconfig` and `quarantineconfig`: which files are analysed, what becomes of their messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import ValidationError

from mxseal.commands.certificates import Sheet
from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Option
from mxseal.commands.registry import UsageFault, command
from mxseal.commands.results import Field, Result
from mxseal.config.model import Analysis, Document, Quarantine
from mxseal.config.model_screening import FileAction, HeldAction

GROUPS = {
    "analysisconfig": "Which files in mail are analysed, and what becomes of a message",
    "quarantineconfig": "How long and how much is kept in quarantine",
}
_MB = 1 << 20
_NONE = "none"
_T = TypeVar("_T", Analysis, Quarantine)


def server_names(ctx: Context) -> list[str]:
    return [each.name for each in ctx.services.history.candidate(ctx.owner).analysis_servers]


class Files(msgspec.Struct, frozen=True, kw_only=True):
    """Which files, and who is asked."""

    enabled: Annotated[Literal["yes", "no"] | None, Option("Whether files are analysed")] = None
    servers: Annotated[
        str | None,
        Option("Analysis servers in the order in which they are asked, with commas", complete=server_names),
    ] = None
    types: Annotated[
        str | None, Option("Types of files with commas: application/pdf, application/*, .exe; all")
    ] = None
    max_megabytes: Annotated[int | None, Option("Larger files are not analysed", least=1, most=1024)] = None
    header: Annotated[str | None, Option("The header field that tells the result")] = None


class Actions(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a message."""

    malicious: Annotated[FileAction | None, Option("With a malicious file")] = None
    unknown: Annotated[FileAction | None, Option("With a file that no server knows")] = None
    unscannable: Annotated[FileAction | None, Option("With a file that can't be analysed")] = None
    pending: Annotated[HeldAction | None, Option("While a server analyses a file")] = None
    fault: Annotated[HeldAction | None, Option("When a server does not answer")] = None
    late: Annotated[FileAction | None, Option("When a message was held for hold_seconds")] = None
    hold_seconds: Annotated[int | None, Option("A message is held so long at most", least=0, most=86_400)] = (
        None
    )
    threshold: Annotated[int | None, Option("A score from here on is malicious", least=1, most=100)] = None


_KEYS = {"hold_seconds": "hold_time"}


def _present(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    says = ctx.services.history.candidate(ctx.owner).analysis
    plain = says.model_dump()
    return {
        "enabled": "yes" if says.enabled else "no",
        "servers": ",".join(says.servers) or _NONE,
        "types": ",".join(says.types) or "all",
        "max_megabytes": max(1, says.max_size // _MB),
        "hold_seconds": int(says.hold_time),
        **{name: plain[name] for name in Actions.__struct_fields__ if name in plain},
        "header": says.header,
    }


@command(
    "analysisconfig", "show", role="read-only", summary="Show which files are analysed, and what follows"
)
def analysisconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes. 'ampconfig' has the servers, 'policyconfig' exceptions by sender
    group."""
    says = ctx.services.history.candidate(ctx.owner).analysis
    fields = [
        Field("Analysis of files", "on" if says.enabled else "off", "enabled"),
        Field("Servers", ", ".join(says.servers) or _NONE, "servers"),
        Field("Types", ", ".join(says.types) or "all", "types"),
        Field("Megabytes of a file at most", round(says.max_size / _MB, 1), "max_size"),
        Field("Header", says.header, "header"),
        Field("Malicious", says.malicious, "malicious", section="Action"),
        Field("Unknown", says.unknown, "unknown", section="Action"),
        Field("Can't be analysed", says.unscannable, "unscannable", section="Action"),
        Field("Being analysed", says.pending, "pending", section="Action"),
        Field("Server does not answer", says.fault, "fault", section="Action"),
        Field("Held for too long", says.late, "late", section="Action"),
        Field("Seconds held at most", says.hold_time, "hold_time", section="Action"),
        Field("Malicious from score", says.threshold, "threshold", section="Action"),
    ]
    return Sheet(tuple(fields), facts=says.model_dump())


@command(
    "analysisconfig", "setup", role="operator", summary="Say which files are analysed, and what follows",
    present=_present,
)  # fmt: skip
def analysisconfig_setup(ctx: Context, *, files: Files, actions: Actions) -> Result:
    """What is left out stays as it is. A server must be there: 'ampconfig new'.

    Example: analysisconfig setup --enabled yes --servers scanner --malicious quarantine --late deliver
    """
    given = msgspec.structs.asdict(files) | msgspec.structs.asdict(actions)
    changed: dict[str, Any] = {_KEYS.get(k, k): v for k, v in given.items() if v is not None}
    if "enabled" in changed:
        changed["enabled"] = changed["enabled"] == "yes"
    for name, empty in (("servers", _NONE), ("types", "all")):
        if name in changed:
            words = [each.strip() for each in changed[name].split(",") if each.strip()]
            changed[name] = [] if [each.lower() for each in words] == [empty] else words
    if "max_megabytes" in changed:
        changed["max_size"] = changed.pop("max_megabytes") * _MB
    document = ctx.services.history.candidate(ctx.owner)
    analysis = _changed(document.analysis, changed, "analysisconfig")
    told = (
        f"Files are analysed by {', '.join(analysis.servers) or 'nobody'}, malicious: {analysis.malicious}."
    )
    return change(
        ctx,
        document.model_copy(update={"analysis": analysis}),
        told if analysis.enabled else "No files are analysed.",
    )


def _changed(table: _T, changed: Mapping[str, Any], group: str) -> _T:
    """The table with these values. UsageFault where there is none, CommandFailed where one makes no sense."""
    if not changed:
        raise UsageFault(f"Nothing to change. 'help {group} setup' shows what can be.")
    try:
        return type(table).model_validate(table.model_dump() | dict(changed))
    except ValidationError as error:
        first = error.errors()[0]
        text = first["msg"].removeprefix("Value error, ")
        raise CommandFailed(f"{'.'.join(map(str, first['loc']))}: {text}", 2) from None


# --- the quarantine ---------------------------------------------------------------------------------------


def _present_quarantine(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    says = _candidate(ctx).quarantine
    return {"keep_days": says.keep_days, "max_megabytes": says.max_bytes // _MB}


def _candidate(ctx: Context) -> Document:
    return ctx.services.history.candidate(ctx.owner)


@command("quarantineconfig", "show", role="read-only", summary="Show how much the quarantine keeps")
def quarantineconfig_show(ctx: Context) -> Result:
    """With your uncommitted changes."""
    says = _candidate(ctx).quarantine
    fields = (
        Field("Days kept", says.keep_days, "keep_days"),
        Field("Megabytes at most", says.max_bytes // _MB, "max_megabytes"),
    )
    return Sheet(fields, facts=says.model_dump())


@command(
    "quarantineconfig", "setup", role="operator", summary="Say how long and how much the quarantine keeps",
    present=_present_quarantine,
)  # fmt: skip
def quarantineconfig_setup(
    ctx: Context,
    *,
    keep_days: Annotated[int | None, Option("Then messages are deleted", least=1, most=365)] = None,
    max_megabytes: Annotated[int | None, Option("With more the oldest are deleted", least=1)] = None,
) -> Result:
    """What is left out stays as it is. What is too old or too much goes once this is committed."""
    given = {"keep_days": keep_days, "max_bytes": None if max_megabytes is None else max_megabytes * _MB}
    document = _candidate(ctx)
    changed = {name: value for name, value in given.items() if value is not None}
    says = _changed(document.quarantine, changed, "quarantineconfig")
    told = (
        f"Messages stay in quarantine for {says.keep_days} days, {says.max_bytes // _MB} megabytes at most."
    )
    return change(ctx, document.model_copy(update={"quarantine": says}), told)
