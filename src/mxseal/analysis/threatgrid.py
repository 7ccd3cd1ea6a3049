"""The Threat Grid API v2, as far as a gateway needs it (reference §10.2): requests, and what answers mean.
PURE.

A server's JSON is looked at key by key: what is not as it should be is a `Refusal`, never an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from mxseal.analysis.exchange import plain
from mxseal.analysis.http import Request, Response
from mxseal.analysis.values import FaultKind, Item

State = Literal["waiting", "succeeded", "failed"]
_STATES: dict[str, State] = {
    "wait": "waiting",
    "prep": "waiting",
    "run": "waiting",
    "proc": "waiting",
    "succ": "succeeded",
    "fail": "failed",
}
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SAMPLES = "/api/v2/samples"
_ASKED = 10
_MOST = 200
"""Samples of an answer that are looked at."""
_LONGEST_WAIT = 3600.0
_LONGEST_NAME = 200


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The account at an appliance, and how files are given to it."""

    host: str
    """As it stands in Host."""
    key: str
    key_as: Literal["header", "parameter"] = "header"
    private: bool = True
    """Only the own organisation sees the sample."""
    vm: str = ""
    playbook: str = ""


class Sample(msgspec.Struct, frozen=True):
    """A file that the appliance has."""

    reference: str
    state: State


class Refusal(msgspec.Struct, frozen=True):
    """No answer to what was asked."""

    kind: FaultKind
    text: str
    after: float | None = None
    """Seconds for which the server asks to be left alone."""


# --- requests ---------------------------------------------------------------------------------------------


def look_up(access: Access, sha256: str) -> Request:
    """Whether the appliance knows a file."""
    return _get(access, _SAMPLES, {"sha256": sha256, "limit": str(_ASKED)})


def state(access: Access, reference: str) -> Request:
    """How far a sample is."""
    return _get(access, f"{_SAMPLES}/{quote(reference, safe='')}/state", {})


def threat(access: Access, reference: str) -> Request:
    """The score of a sample that is done."""
    return _get(access, f"{_SAMPLES}/{quote(reference, safe='')}/threat", {})


def whoami(access: Access) -> Request:
    """Whose key it is."""
    return _get(access, "/api/v3/session/whoami", {})


def submit(access: Access, item: Item) -> Request:
    """Give a file to the appliance (multipart/form-data, RFC 7578)."""
    fields = {"private": "true" if access.private else "false"}
    fields |= {"vm": access.vm} if access.vm else {}
    fields |= {"playbook": access.playbook} if access.playbook else {}
    if access.key_as == "parameter":
        fields["api_key"] = access.key
    # A file can't hold its own digest: this stands nowhere in it.
    boundary = f"mxseal-{item.sha256[:48]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="sample"; filename="{_name(item)}"\r\n'
    parts += [
        head.encode() + b"Content-Type: application/octet-stream\r\n\r\n",
        item.content,
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    form = ("Content-Type", f"multipart/form-data; boundary={boundary}")
    return Request("POST", _SAMPLES, (*_headers(access), form), b"".join(parts))


def _get(access: Access, path: str, query: dict[str, str]) -> Request:
    if access.key_as == "parameter":
        query = query | {"api_key": access.key}
    return Request("GET", f"{path}?{urlencode(query)}" if query else path, _headers(access))


def _headers(access: Access) -> tuple[tuple[str, str], ...]:
    headers = (("Host", access.host), ("Accept", "application/json"), ("User-Agent", "MXSeal"))
    if access.key_as == "parameter":
        return headers
    return (*headers, ("Authorization", f"bearer {access.key}"))


def _name(item: Item) -> str:
    """A file's name between quotes (RFC 7578 §4.2, as browsers write it)."""
    name = plain(item.name, _LONGEST_NAME).encode("utf-8", "replace").decode() or "attachment"
    return name.replace("%", "%25").replace('"', "%22").replace("\\", "_")


# --- answers ----------------------------------------------------------------------------------------------


def found(response: Response, sha256: str) -> Sample | Refusal | None:
    """The best of the samples with this digest; None: the appliance has none."""
    data = _data(response)
    if isinstance(data, Refusal):
        return data
    if not isinstance(data, list | dict):
        return _odd("no list of samples")
    samples = [sample for entry in _entries(data) if (sample := _sample(entry, sha256)) is not None]
    order: tuple[State, ...] = ("succeeded", "waiting", "failed")
    return min(samples, key=lambda sample: order.index(sample.state), default=None)


def submitted(response: Response) -> Sample | Refusal:
    """The sample that a file has become."""
    data = _data(response)
    if isinstance(data, Refusal):
        return data
    sample = _sample(data, None)
    return sample if sample is not None else _odd("a sample without an id")


def progress(response: Response, reference: str) -> Sample | Refusal:
    """How far a sample is."""
    data = _data(response)
    if isinstance(data, Refusal):
        return data
    known = _STATES.get(str(data.get("state"))) if isinstance(data, dict) else None
    return Sample(reference, known) if known is not None else _odd("a state that is not known")


def score(response: Response) -> int | Refusal:
    """0 to 100."""
    data = _data(response)
    if isinstance(data, Refusal):
        return data
    value = data.get("score") if isinstance(data, dict) else None
    # true and false are numbers to Python, and none here.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        return _odd("no score from 0 to 100")
    return round(value)


def login(response: Response) -> str | Refusal:
    """The account that the key belongs to."""
    data = _data(response)
    if isinstance(data, Refusal):
        return data
    name = data.get("login") if isinstance(data, dict) else None
    return plain(name, 100) if isinstance(name, str) else ""


def identifier(text: str) -> bool:
    """Whether this can be a sample's id: it becomes part of a path."""
    return _IDENTIFIER.fullmatch(text) is not None


def _entries(data: Any) -> Iterator[Any]:
    """The samples of a list, however they are wrapped: API and searches differ."""
    listed = data.get("items") if isinstance(data, dict) else data
    for entry in listed[:_MOST] if isinstance(listed, list) else ():
        inner = entry.get("item") if isinstance(entry, dict) else None
        yield inner if isinstance(inner, dict) else entry


def _sample(entry: Any, sha256: str | None) -> Sample | None:
    """`sha256`: only of this file. An appliance that knows no such filter would answer with all it has."""
    if not isinstance(entry, dict):
        return None
    if sha256 is not None and str(entry.get("sha256")).lower() != sha256:
        return None
    reference = entry.get("id")
    if isinstance(reference, int) and not isinstance(reference, bool):
        reference = str(reference) if abs(reference) < 10**18 else None
    if not isinstance(reference, str) or not identifier(reference):
        return None
    return Sample(reference, _STATES.get(str(entry.get("state")), "waiting"))


def _data(response: Response) -> Any:
    """What stands in the envelope, or why nothing does."""
    if not 200 <= response.status < 300:
        return _refusal(response)
    try:
        envelope = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        return _odd("something that is not JSON")
    if not isinstance(envelope, dict) or "data" not in envelope:
        return _odd("JSON without 'data'")
    return envelope["data"]


def _odd(what: str) -> Refusal:
    return Refusal("protocol", f"the server answered with {what}")


def _refusal(response: Response) -> Refusal:
    said = f"{response.status} {plain(response.reason, 80)}".strip()
    if response.status in (401, 403):
        text = f"the server does not take the API key ({said}): set another, or have its account activated"
        return Refusal("refused", text)
    if response.status == 429:
        return Refusal("busy", f"the server asks for patience ({said})", _after(response))
    if response.status in (500, 502, 503, 504):
        return Refusal("busy", f"the server has a trouble of its own ({said})", _after(response))
    return Refusal("refused", f"the server answered {said}")


def _after(response: Response) -> float | None:
    text = response.header("retry-after").strip()
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return min(float(text), _LONGEST_WAIT)
