"""`tlsreport` and `trafficreport`: what was counted of TLS, by partner and over time (reference §9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from mxseal.commands.context import Context
from mxseal.commands.parameters import Argument, Option
from mxseal.commands.registry import command
from mxseal.commands.results import Column, Result
from mxseal.commands.times import moment
from mxseal.commands.tracked import FullTable, asked, plain
from mxseal.storage.tracking.totals import DAY, HOUR, Count, Partner, PartnerDay, Span
from mxseal.storage.tracking.values import TLS_STATES, Side
from mxseal.tls.observed import one_line

_MOST_DAYS, _MOST_HOURS = 400, 35 * 24
"""For which partners and hours are kept."""
_SIDES: tuple[Side, ...] = ("in", "out")


@command("tlsreport", role="read-only", summary="TLS connections by domain, with those that failed first")
async def tlsreport(
    ctx: Context,
    *,
    days: Annotated[int, Option("Today and so many days before", least=1, most=_MOST_DAYS)] = 7,
    domain: Annotated[str | None, Option("Only this one")] = None,
    direction: Annotated[Side | None, Option("Only who sends to us (in), or who we send to (out)")] = None,
    failing: Annotated[bool, Option("Only where TLS failed")] = False,
    limit: Annotated[int, Option("How many rows to show", least=1, most=100_000)] = 200,
) -> Result:
    """How many connections of each domain used TLS where it was required, where it was preferred, or not at
    all, how many failed and why the last one did. Incoming connections are counted under the domain of the
    client's verified name, or its address. Days are those of UTC.

    Example: tlsreport --days 30 --failing
    """
    now = ctx.services.now()
    since = (int(now) // DAY - days + 1) * DAY
    file = ctx.services.tracking.file
    name = domain.lower().rstrip(".") if domain else None
    found = await asked(lambda: file.partners(since, direction, name, failing=failing))
    totals = await asked(lambda: file.totals(since, now + DAY))
    by_day = await asked(lambda: file.traffic("day", since, now + DAY, ("tls", "messages")))
    value = {
        "since": since,
        "until": now,
        "days": days,
        "totals": {side: totals[side] for side in _SIDES},
        "by_day": _series(by_day, "day", since, now),
        "domain_by_day": await _days(ctx, since, name, direction),
        "domains": len(found),
        "partners": [_partner(each) for each in found[:limit]],
    }
    rows = tuple(map(_row, found[:limit]))
    note = _sum(totals) + ("" if len(found) <= limit else f" {len(found) - limit} more are not shown.")
    return FullTable(
        _COLUMNS, rows, "TLS connections", f"Nothing was counted since {moment(since)}.", note, value
    )


async def _days(ctx: Context, since: int, name: str | None, side: Side | None) -> list[dict[str, int]]:
    """One entry for each day, the empty ones too, when one domain was asked for."""
    if name is None:
        return []
    found = await asked(lambda: ctx.services.tracking.file.partner_days(since, name, side))
    by_day = {each.at: each for each in found}
    days = range(since, int(ctx.services.now()) + 1, DAY)
    return [plain(by_day.get(at) or PartnerDay(at=at, tls=0, clear=0, failed=0)) for at in days]


_COLUMNS = (
    Column("Direction"),
    Column("Domain", cut=40),
    Column("Required ok"),
    Column("failed", "required_failed"),
    Column("Preferred ok"),
    Column("failed", "preferred_failed"),
    Column("In clear"),
    Column("TLS %"),
    Column("Messages over TLS"),
    Column("in clear", "messages_clear"),
    Column("Last failure"),
    Column("Why", cut=70),
)


def _row(each: Partner) -> tuple[str | int | float | None, ...]:
    return (
        each.side,
        one_line(each.domain),
        each.required_ok,
        each.required_failed,
        each.preferred_ok,
        each.preferred_failed,
        each.clear,
        each.percent,
        each.messages_tls,
        each.messages_clear,
        moment(each.failed_at) if each.failed_at else None,
        one_line(each.reason) or None,
    )


def _partner(each: Partner) -> dict[str, Any]:
    value: dict[str, Any] = plain(each)
    side = value.pop("side")
    return {
        "direction": side,
        **value,
        "failed_at": each.failed_at or None,
        "attempts": each.attempts,
        "connections": each.connections,
        "percent": each.percent,
    }


def _sum(totals: dict[str, dict[str, dict[str, int]]]) -> str:
    told = []
    for side, name in (("in", "came in"), ("out", "went out")):
        tls = totals[side].get("tls", {})
        secure = sum(tls.get(state, 0) for state in ("verified", "encrypted", "unverified"))
        told.append(
            f"Of the connections that {name}, {secure} were encrypted ({tls.get('verified', 0)} verified), "
            f"{tls.get('clear', 0)} in clear, {tls.get('failed', 0)} failed."
        )
    return " ".join(told)


# --- over time --------------------------------------------------------------------------------------------


@command("trafficreport", role="read-only", summary="Connections and messages over time, by kind of TLS")
async def trafficreport(
    ctx: Context,
    by: Annotated[Span, Argument("One row for each hour or day")] = "hour",
    *,
    last: Annotated[
        int | None, Option("So many hours or days, this one included", least=1, most=1100)
    ] = None,
    side: Annotated[Literal["in", "out"] | None, Option("Only what came in, or went out")] = None,
) -> Result:
    """For charts: --json has all that is counted, by protocol, cipher, key exchange, cause of failure and so
    on. Hours are kept for 35 days, days for three years; both are those of UTC. Without --last: 24 hours or
    30 days.

    Example: trafficreport day --last 90 --json
    """
    size = HOUR if by == "hour" else DAY
    count = min(last or (24 if by == "hour" else 30), _MOST_HOURS if by == "hour" else 1100)
    now = ctx.services.now()
    since = (int(now) // size - count + 1) * size
    found = await asked(lambda: ctx.services.tracking.file.traffic(by, since, now + size))
    series = _series(found, by, since, now)
    sides = _SIDES if side is None else (side,)
    for each in series:
        for other in set(_SIDES) - set(sides):
            del each[other]
    value = {"by": by, "since": since, "until": now, "series": series}
    rows = tuple(_time_row(each, name) for each in series for name in sides if each[name])
    return FullTable(_TIME_COLUMNS, rows, "", "Nothing was counted in this time.", "", value)


_TIME_COLUMNS = (
    Column("From"),
    Column("Direction"),
    Column("Connections"),
    Column("Verified"),
    Column("Encrypted"),
    Column("Unverified"),
    Column("In clear"),
    Column("Failed"),
    Column("Messages"),
    Column("Recipients"),
)


def _time_row(each: dict[str, Any], side: str) -> tuple[str | int, ...]:
    found = each[side]
    tls = found.get("tls", {})
    return (
        moment(each["at"]),
        side,
        sum(found.get("connections", {}).values()),
        *(tls.get(state, 0) for state in TLS_STATES),
        sum(found.get("messages", {}).values()),
        sum(found.get("recipients", {}).values()),
    )


def _series(found: Sequence[Count], by: Span, since: float, until: float) -> list[dict[str, Any]]:
    """One entry for each hour or day, the empty ones too: {at, in: {what: {word: count}}, out: …}."""
    size = HOUR if by == "hour" else DAY
    series: dict[int, dict[str, Any]] = {
        at: {"at": at, "in": {}, "out": {}} for at in range(int(since), int(until) + 1, size)
    }
    for each in found:
        if (entry := series.get(each.at)) is not None:
            entry[each.side].setdefault(each.what, {})[each.word] = each.count
    return list(series.values())
