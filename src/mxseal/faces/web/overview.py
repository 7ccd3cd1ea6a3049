"""The first page: what is wrong and what to do, then TLS over time, by what was agreed and why it failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from mxseal.faces.web import charts, troubles
from mxseal.faces.web.pages import page
from mxseal.faces.web.retold import retold
from mxseal.faces.web.texts import N_, Say
from mxseal.faces.web.visit import Visit

_FAILING_DAYS = 2
_SPANS = {"day": ("hour", 24, 1), "week": ("hour", 168, 4), "month": ("day", 30, 1)}
"""What is counted, how many, and how many of them are one column."""
_MOST_CAUSES = 8
_COUNTED = 1000
"""Messages of the queue among which recipients of a destination that is down are counted."""
_MOST_ALERTS = 5
_STATES = (
    ("verified", N_("verified"), "good", ("verified",)),
    ("encrypted", N_("encrypted"), "s1", ("encrypted", "unverified")),
    ("clear", N_("in clear"), "weak", ("clear",)),
    ("failed", N_("failed"), "bad", ("failed",)),
)


@page("/", title=N_("Overview"), place="overview", runs=("status",))
async def overview(visit: Visit) -> Response:
    span = visit.query("span") if visit.query("span") in _SPANS else "month"
    by, last, many = _SPANS[span]
    status = await visit.ask("status")
    certificates = await _certificates(visit)
    report = await visit.run("trafficreport", by=by, last=last)
    series = report.value["series"] if report.ok else []
    return visit.show(
        "overview.html",
        troubles=await _troubles(visit, certificates),
        status=status,
        queue=status.record.to_json().get("queue", {}),
        report=report,
        span=span,
        hours=by == "hour",
        at=[each["at"] for each in series[::many]],
        sides=[_side(series, side, title, visit.say, many) for side, title in _SIDES] if series else [],
        causes=_causes(series),
        certificates=certificates,
    )


_SIDES = (("in", N_("Connections in")), ("out", N_("Connections out")))


async def _troubles(visit: Visit, certificates: Sequence[Mapping[str, Any]]) -> list[troubles.Trouble]:
    """As far as the visitor may see them."""
    found: list[troubles.Trouble] = []
    found += troubles.of_certificates(certificates, visit.say)
    if visit.may("tlsreport"):
        report = await visit.run("tlsreport", days=_FAILING_DAYS, failing=True, limit=100)
        found += troubles.of_partners(report.value, visit.say) if report.ok else ()
    if visit.may("tophosts"):
        hosts = await visit.run("tophosts", limit=10, down=True, within=_COUNTED)
        found += (
            troubles.of_hosts(hosts.table.rows, visit.say, cut=bool(hosts.table.note)) if hosts.ok else ()
        )
    if visit.may("displayalerts"):
        alerts = await visit.run("displayalerts", count=50)
        now = visit.site.services.clock.now()
        found += list(troubles.of_alerts(alerts.value, now))[:_MOST_ALERTS] if alerts.ok else ()
    language = visit.language
    return [
        msgspec.structs.replace(each, text=retold(language, each.text), advice=retold(language, each.advice))
        for each in troubles.worst_first(found)
    ]


async def _certificates(visit: Visit) -> list[dict[str, Any]]:
    """Those in use, the ones that expire first at the top."""
    if not visit.may("certconfig list"):
        return []
    found = await visit.run("certconfig list")
    used = [each for each in found.value if each["uses"]] if found.ok else []
    return sorted(used, key=lambda each: each.get("days_left", -1))


def _side(
    series: Sequence[Mapping[str, Any]], side: str, title: str, speak: Say, many: int
) -> dict[str, Any]:
    """All charts of one direction; `many` hours are one column."""
    tls = [each[side].get("tls", {}) for each in series]
    columns = [tls[at : at + many] for at in range(0, len(tls), many)]
    states = [
        charts.Series(
            speak(name),
            kind,
            tuple(sum(each.get(word, 0) for each in column for word in words) for column in columns),
        )
        for _, name, kind, words in _STATES
    ]
    others = speak(N_("others"))
    return {
        "title": title,
        "time": charts.columns(states),
        "verified": charts.bar(states),
        "protocol": charts.shares(_summed(series, side, "protocol"), others),
        "cipher": charts.shares(_summed(series, side, "cipher"), others),
        "group": charts.shares(_summed(series, side, "group"), others),
    }


def _summed(series: Sequence[Mapping[str, Any]], side: str, what: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    for each in series:
        counted.update(each[side].get(what, {}))
    return counted


def _causes(series: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, int, float]]:
    """(cause, in, out, part of the largest in percent), the most frequent first."""
    sides = _summed(series, "in", "cause"), _summed(series, "out", "cause")
    both = (sides[0] + sides[1]).most_common(_MOST_CAUSES)
    return [(cause, sides[0][cause], sides[1][cause], round(100 * n / both[0][1], 2)) for cause, n in both]
