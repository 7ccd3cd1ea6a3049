"""The search of the top bar: straight to the thing that was typed."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from mxseal.faces.web.pages import page
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit

_NUMBERED = re.compile(r"(?:(mid|icid|dcid)\s*:?\s*)?(\d{1,15})", re.IGNORECASE)
_DOMAIN = re.compile(r"@?([\w-]+(?:\.[\w-]+)+)\.?")


@page("/find", title=N_("Search"))
async def find(visit: Visit) -> Response:
    wanted = visit.query("q")[:320]
    if not wanted:
        return visit.go("/")
    numbered = _NUMBERED.fullmatch(wanted)
    if numbered:
        path = await _numbered(visit, (numbered[1] or "mid").lower(), int(numbered[2]))
    elif "@" in wanted.lstrip("@"):
        path = await _mail(visit, wanted) or f"/queue?match={quote(wanted, safe='')}"
    elif domain := _DOMAIN.fullmatch(wanted):
        name = quote(domain[1].lower(), safe="")
        known = (await visit.run("tlspeers", domain=domain[1])).ok
        path = f"/partners/{name}" if known else f"/queue/host/{name}"
    else:
        path = ""
    if path:
        return visit.go(path)
    return visit.show("find.html", wanted=wanted)


async def _numbered(visit: Visit, kind: str, number: int) -> str:
    """A message's story, or while it is not on record yet its page in the queue; messages of a connection."""
    if kind != "mid":
        return f"/messages?{kind}={number}" if await _any(visit, **{kind: number}) else ""
    if await _any(visit, mid=number):
        return f"/messages/{number}"
    return f"/queue/{number}" if (await visit.run("showmessage", mid=number)).ok else ""


async def _mail(visit: Visit, who: str) -> str:
    """Messages to an address, else from it."""
    for side in ("to", "from"):
        if await _any(visit, **{side: who}):
            return f"/messages?{side}={quote(who, safe='')}"
    return ""


async def _any(visit: Visit, **wanted: Any) -> bool:
    found = await visit.run("findevent", **wanted, limit=1)
    return found.ok and bool(found.value["messages"])
