"""How a command's end becomes an HTTP answer: JSON, or a problem document (RFC 9457)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from mxseal.commands.results import Data, Done, File, Parts, Problems, Result
from mxseal.commands.running import USAGE, Ended
from mxseal.config.problem import Problem

PROBLEM = "application/problem+json"
_STATUS = {"ok": 200, "usage": 422, "refused": 403, "failed": 409, "cancelled": 503, "internal": 500}


class Refused(Exception):
    """A request that is not carried out."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        problems: Iterable[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.problems = tuple(problems)
        self.headers = dict(headers or {})

    def response(self) -> Response:
        content = problem(self.status, self.detail, self.problems)
        return Response(msgspec.json.encode(content), self.status, self.headers, PROBLEM)


def problem(status: int, detail: str, problems: Iterable[Problem] = ()) -> dict[str, Any]:
    """A problem document; the type is left to the status (RFC 9457 §4.2.1)."""
    sentence = detail.strip()
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": sentence if sentence.endswith((".", "?", "!")) or not sentence else f"{sentence}.",
    }
    told = [msgspec.to_builtins(entry) for entry in problems]
    return {**content, "problems": told} if told else content


def status_of(ended: Ended, *, asked: bool = False) -> int:
    """The HTTP status that tells how a command ended. `asked`: it was a question, and has no answer."""
    if ended.outcome == "failed" and ended.status != USAGE and asked:
        return 404
    if ended.outcome == "failed" and ended.status == USAGE:
        return _STATUS["usage"]
    return _STATUS[ended.outcome]


def answer(ended: Ended, result: Result | None, files: Mapping[str, bytes], *, reads: bool) -> Response:
    """The whole answer to a command whose result does not stream."""
    status = status_of(ended, asked=reads and result is None)
    if status == 200:
        return Response(encode(plain(result, files)), 200, media_type="application/json")
    return Response(encode(failure(ended, status, result, files)), status, media_type=PROBLEM)


def failure(ended: Ended, status: int, result: Result | None, files: Mapping[str, bytes]) -> dict[str, Any]:
    """A problem document with all that the command had to say."""
    told = problem(status, ended.message or "it failed", ended.problems or problems_of(result))
    if isinstance(result, Problems):
        extra = {key: value for key, value in result.to_json().items() if key != "error"}
        return extra | told | {"problems": extra.get("problems", [])}
    return told if result is None else {**told, "result": plain(result, files)}


def problems_of(result: Result | None) -> list[Problem]:
    parts = result.parts if isinstance(result, Parts) else (result,)
    return [entry for part in parts if isinstance(part, Problems) for entry in part.problems]


def plain(result: Result | None, files: Mapping[str, bytes]) -> Any:
    """A result as JSON, with the content of the files that the command wrote."""
    if result is None:
        return {}
    if isinstance(result, Parts):
        return [plain(part, files) for part in result.parts]
    value = result.to_json()
    if isinstance(result, Done | File) and isinstance(value, dict) and value.get("file") in files:
        return {**value, **_content(files[value["file"]])}
    if isinstance(result, Data) and isinstance(value, bytes):
        return _content(value)
    return value


def _content(content: bytes) -> dict[str, str]:
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def encode(value: Any) -> bytes:
    return msgspec.json.encode(value)
