"""The search of the top bar: straight to the thing that was typed."""

from __future__ import annotations

import re
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
    if numbered and (numbered[1] or "mid").lower() == "mid":
        if (await visit.run("showmessage", mid=int(numbered[2]))).ok:
            return visit.go(f"/queue/{numbered[2]}")
    elif "@" in wanted.lstrip("@"):
        return visit.go("/queue", match=wanted)
    elif domain := _DOMAIN.fullmatch(wanted):
        return visit.go(f"/queue/host/{quote(domain[1].lower(), safe='')}")
    return visit.show("find.html", wanted=wanted)
