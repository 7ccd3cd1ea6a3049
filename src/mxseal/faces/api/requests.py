"""What a request says: the values of a command's parameters, from its query or its JSON body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from mxseal.commands.parameters import Parameter
from mxseal.commands.registry import Command
from mxseal.commands.values import public
from mxseal.faces.api.answers import Refused

JSON = "application/json"
NDJSON, EVENTS = "application/x-ndjson", "text/event-stream"
_DEEPEST = 8
_SWITCH = {"true": True, "false": False}


async def values_of(request: Request, entry: Command) -> dict[str, Any]:
    """The values, not yet checked against the parameters. Raises Refused."""
    if entry.reads:
        return _from_query(request, entry)
    if request.query_params:
        raise Refused(400, "The parameters of this command go into the body, as one JSON object, not the URL")
    return await _from_body(request)


def _from_query(request: Request, entry: Command) -> dict[str, Any]:
    known = {public(parameter): parameter for parameter in entry.parameters}
    found: dict[str, Any] = {}
    for name, text in request.query_params.multi_items():
        parameter = known.get(name)
        if parameter is not None and parameter.several:
            found.setdefault(name, []).append(_typed(parameter, text))
        elif name in found:
            raise Refused(400, f"{name[:100]} stands in the query twice")
        else:
            found[name] = text if parameter is None else _typed(parameter, text)
    return found


def _typed(parameter: Parameter, text: str) -> Any:
    """The JSON value that a text of a query stands for; another text stays, for the check to tell."""
    if parameter.kind is bool:
        return _SWITCH.get(text.lower(), text)
    if parameter.kind in (int, float):
        try:
            return int(text) if text.isascii() and len(text) < 19 else text
        except ValueError:
            return _float(text) if parameter.kind is float else text
    return text


def _float(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


async def _from_body(request: Request) -> dict[str, Any]:
    body = await request.body()
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise Refused(415, f"The body has to be JSON: 'Content-Type: {JSON}'", headers={"accept-post": JSON})
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refused(400, f"The body is not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise Refused(422, "The body has to be one JSON object with the command's parameters")
    return found


def stream_kind(request: Request) -> str | None:
    """Which form of a stream the caller takes; None when neither."""
    accepted = _accepted(request.headers.get("accept", "*/*"))
    for kind in (NDJSON, EVENTS):
        if kind in accepted:
            return kind
    return NDJSON if accepted.keys() & {"*/*", "application/*"} else None


def takes_json(request: Request) -> bool:
    accepted = _accepted(request.headers.get("accept", "*/*"))
    return bool(accepted.keys() & {"*/*", "application/*", JSON})


def _accepted(header: str) -> Mapping[str, None]:
    """Media types of an Accept header, without those that it excludes (RFC 9110 §12.5.1)."""
    parts = [part.partition(";") for part in (header.strip() or "*/*").lower().split(",")]
    excluded = {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return {kind.strip(): None for kind, _, rest in parts if "".join(rest.split()) not in excluded}
