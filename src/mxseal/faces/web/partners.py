"""TLS partners: what TLS with each was like, what would break under a stricter level, and why it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response

from mxseal.faces.web import charts, strips
from mxseal.faces.web.pages import page
from mxseal.faces.web.texts import N_, Say
from mxseal.faces.web.visit import Visit

_PLACE = "partners"
_SHOWN = 200
_DAYS = 30
_LONGEST = 320
LEVELS = ("preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted")
"""Those with a verdict, in the order of their strictness."""
SIDES = {"out": N_("mail to them"), "in": N_("mail from them")}
(
    N_("preferred"),
    N_("required"),
    N_("preferred-verify"),
    N_("required-verify"),
    N_("required-verify-hosted"),
)


@page("/partners", title=N_("TLS partners"), place=_PLACE, runs=("tlspeers",))
async def listing(visit: Visit) -> Response:
    if domain := visit.query("domain")[:_LONGEST]:
        return visit.go(f"/partners/{quote(domain.lower().rstrip('.'), safe='')}")
    level, side = visit.query("level"), visit.query("side")
    if (level and level not in LEVELS) or (side and side not in SIDES):
        raise HTTPException(404)
    found = await visit.ask("tlspeers", direction=side or None, would_fail=level or None, limit=_SHOWN)
    return visit.show(
        "partners/list.html",
        level=level,
        side=side,
        peers=found.value["peers"] if level else found.value,
        totals=found.value["totals"] if level else None,
        levels=LEVELS,
        sides=SIDES,
        shown=_SHOWN,
        state_of=strips.state_of,
    )


@page("/partners/{domain}", title=N_("TLS partner"), place=_PLACE, runs=("tlspeers",))
async def partner(visit: Visit) -> Response:
    domain = visit.part("domain")[:_LONGEST]
    found = await visit.run("tlspeers", domain=domain)
    report = await visit.run("tlsreport", domain=domain, days=_DAYS)
    days = report.value["domain_by_day"] if report.ok else []
    counted = report.value["partners"] if report.ok else []
    if not found.ok and not counted:
        return visit.show("partners/unknown.html", 404, domain=domain)
    peers = found.value if found.ok else []
    return visit.show(
        "partners/show.html",
        domain=domain,
        peers=[(each, strips.of_peer(each, visit.site.hostname, visit.say)) for each in peers],
        chart=history(days, visit.say)
        if any(each["tls"] + each["clear"] + each["failed"] for each in days)
        else None,
        days=days,
        failure=max(counted, key=lambda each: each["failed_at"] or 0, default=None),
        diagnosis=await _diagnosis(visit, domain),
        levels=LEVELS,
        level_page=await _level_page(visit, domain),
    )


def history(days: Sequence[Mapping[str, Any]], speak: Say) -> charts.Chart:
    """A partner's connections, a column for each day."""
    kinds = (
        ("tls", N_("over TLS"), "good"),
        ("clear", N_("in clear"), "weak"),
        ("failed", N_("failed"), "bad"),
    )
    return charts.columns([
        charts.Series(speak(name), kind, tuple(day[key] for day in days)) for key, name, kind in kinds
    ])  # fmt: skip


async def _diagnosis(visit: Visit, domain: str) -> tuple[int, Mapping[str, Any]] | None:
    """Of the last message that TLS stopped on its way there: its MID, and why, in the reader's language."""
    found = await visit.run("findevent", to=domain, tls=["failed"], side="out", limit=1)
    if not found.ok or not found.value["messages"]:
        return None
    mid = found.value["messages"][0]["mid"]
    story = await visit.run("trackmessage", mid=mid, lang=visit.language)
    if not story.ok:
        return None
    for each in reversed(story.value["connections"]):
        why = each["explanation"].get("diagnosis")
        if each["outcome"] == "tls-failed" and each["domain"].lower() == domain.lower() and why:
            return mid, why
    return None


async def _level_page(visit: Visit, domain: str) -> str:
    """Where the level of mail to this domain is set; empty: the visitor may not."""
    if not visit.may("destconfig new", "destconfig edit", "destconfig list"):
        return ""
    entries = await visit.run("destconfig list")
    known = {str(row[0]).lower() for row in entries.table.rows} if entries.ok else set()
    name = quote(domain, safe="")
    if domain.lower() in known:
        return f"/policies/destinations/{name}/edit"
    return f"/policies/destinations/new?domain={name}"
