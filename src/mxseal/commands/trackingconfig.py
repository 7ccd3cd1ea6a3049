"""`trackingconfig`: whether messages are tracked, how long, and how the indexer is doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ValidationError

from mxseal.commands.configuration import change
from mxseal.commands.context import CommandFailed, Context
from mxseal.commands.parameters import Option
from mxseal.commands.registry import UsageFault, command
from mxseal.commands.results import Field, Result
from mxseal.commands.times import moment
from mxseal.commands.tracked import FullRecord, asked, plain
from mxseal.config.model import Tracking
from mxseal.storage.tracking.file import Status

GROUPS = {"trackingconfig": "Message tracking: how long, and how it is doing"}
_MB = 1 << 20


@command("trackingconfig", "show", role="read-only", summary="Show what is kept, and how far the indexer is")
async def trackingconfig_show(ctx: Context) -> Result:
    """The limits are those in force. 'Unread' is the part of the JSON log that is not in tracking yet."""
    services = ctx.services
    document = services.history.current().document
    tracking = services.tracking
    status: Status | None = None
    trouble = tracking.problem
    try:
        status = await asked(tracking.file.status)
    except CommandFailed as failed:
        trouble = trouble or (str(failed) if document.tracking.enabled else "")
    if not document.logs.json_log:
        trouble = "There is nothing to read: the JSON log is switched off. Set json_log = true in [logs]"
    behind = _behind(status, services.now())
    settings = document.tracking
    value = {
        "settings": settings.model_dump(),
        "running": tracking.pid is not None,
        "pid": tracking.pid,
        "problem": trouble,
        "behind_seconds": behind,
        "status": plain(status) if status is not None else None,
    }
    state = (
        "off" if not settings.enabled else "on" if tracking.pid is not None else "the indexer does not run"
    )
    fields = [
        Field("Tracking", state),
        Field("Problem", trouble or "none"),
        Field("Days kept", settings.keep_days),
        Field("Megabytes at most", settings.max_bytes // _MB),
        Field("Refusals at most", settings.max_refused),
        *_status(status, behind),
    ]
    return FullRecord(tuple(fields), "", value)


def _behind(status: Status | None, now: float) -> float:
    """Seconds between now and the last event that was read, where there is more to read."""
    if status is None or not status.unread_bytes or status.newest is None:
        return 0.0
    return max(0.0, round(now - status.newest, 1))


def _status(status: Status | None, behind: float) -> list[Field]:
    if status is None:
        return []
    told: list[tuple[str, Any]] = [
        ("Messages", status.messages),
        ("Refusals", status.refusals),
        ("Oldest message", moment(status.oldest) if status.oldest else "-"),
        ("Read up to", moment(status.newest) if status.newest else "-"),
        ("Unread bytes of the log", status.unread_bytes),
        ("Behind (s)", behind),
        ("Megabytes used", round(status.bytes_used / _MB, 1)),
        ("Megabytes on disk", round(status.bytes_on_disk / _MB, 1)),
        ("Lines that could not be read", status.unreadable),
        ("Events about unknown messages", status.orphans),
    ]
    told += [
        ("Gap", f"found {moment(gap.at)}: from the log of {gap.from_stamp} to that of {gap.to_stamp}")
        for gap in status.gaps[:5]
    ]
    return [Field(label, value, section="Now") for label, value in told]


def _present(ctx: Context, _given: Mapping[str, Any]) -> Mapping[str, Any]:
    tracking = ctx.services.history.candidate(ctx.owner).tracking
    return {
        "enabled": "yes" if tracking.enabled else "no",
        "keep_days": tracking.keep_days,
        "max_megabytes": tracking.max_bytes // _MB,
        "max_refused": tracking.max_refused,
    }


@command(
    "trackingconfig",
    "setup",
    role="operator",
    summary="Say whether messages are tracked, and how long",
    present=_present,
)
def trackingconfig_setup(
    ctx: Context,
    *,
    enabled: Annotated[Literal["yes", "no"] | None, Option("Whether anything is taken in")] = None,
    keep_days: Annotated[int | None, Option("Days for which messages are kept", least=1)] = None,
    max_megabytes: Annotated[int | None, Option("With more the oldest messages go", least=64)] = None,
    max_refused: Annotated[int | None, Option("Rows about what was refused", least=1000)] = None,
) -> Result:
    """What is left out stays as it is. Ten million messages of one recipient each take about 7,000 megabytes.

    Example: trackingconfig setup --keep-days 365 --max-megabytes 50000
    """
    document = ctx.services.history.candidate(ctx.owner)
    given = {
        "enabled": None if enabled is None else enabled == "yes",
        "keep_days": keep_days,
        "max_bytes": None if max_megabytes is None else max_megabytes * _MB,
        "max_refused": max_refused,
    }
    changed = {name: value for name, value in given.items() if value is not None}
    if not changed:
        raise UsageFault("Nothing to change. 'help trackingconfig setup' shows what can be.")
    try:
        tracking = Tracking.model_validate(document.tracking.model_dump() | changed)
    except ValidationError as error:
        first = error.errors()[0]
        raise CommandFailed(f"tracking.{'.'.join(map(str, first['loc']))}: {first['msg']}", 2) from None
    told = (
        f"Messages will be tracked for {tracking.keep_days} days, in {tracking.max_bytes // _MB} megabytes "
        "at most."
        if tracking.enabled
        else "Nothing new will be tracked; what there is can be searched."
    )
    return change(ctx, document.model_copy(update={"tracking": tracking}), told)
