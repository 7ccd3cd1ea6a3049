"""GET /metrics: Prometheus reads it, from an address that the document allows or with a token."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from mxseal.commands.services import Services

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Admits = Callable[[Request], Response | None]
"""Looks at a request's token; what is answered where it has none that will do."""


class MetricsPage:
    """The route."""

    def __init__(self, services: Services, admits: Admits) -> None:
        self._services = services
        self._admits = admits

    async def answer(self, request: Request) -> Response:
        allowed = self._services.history.current().document.metrics.allowed
        remote = request.client.host if request.client is not None else ""
        if not within(remote, allowed):
            refusal = self._admits(request)
            if refusal is not None:
                return refusal
        text = await self._services.metrics()
        return PlainTextResponse(text, headers={"content-type": CONTENT_TYPE})


def within(remote: str, networks: Sequence[str]) -> bool:
    """Whether an address is one of these, or in one of these networks."""
    try:
        address = ipaddress.ip_address(remote)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in ipaddress.ip_network(network) for network in networks)
