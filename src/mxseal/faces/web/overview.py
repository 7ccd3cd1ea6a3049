"""The first page: how the gateway is doing."""

from __future__ import annotations

from starlette.responses import Response

from mxseal.faces.web.pages import page
from mxseal.faces.web.texts import N_
from mxseal.faces.web.visit import Visit


@page("/", title=N_("Overview"), place="overview", runs=("status",))
async def overview(visit: Visit) -> Response:
    return visit.show("overview.html", status=await visit.ask("status"))
