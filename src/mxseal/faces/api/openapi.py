"""The OpenAPI 3.1 document, made from the registry: what programs read of the API."""

from __future__ import annotations

import sys
from typing import Any, Literal, get_args, get_origin

import msgspec

from mxseal import __version__
from mxseal.commands.catalogue import registry
from mxseal.commands.parameters import (
    FILE_LIMIT,
    SECRET_LIMIT,
    FileBytes,
    FileText,
    OutputFile,
    Parameter,
    Secret,
)
from mxseal.commands.registry import Command, Registry
from mxseal.commands.values import MOST_VALUES, TEXT_LIMIT, public

Schema = dict[str, Any]
_ABOUT = """\
One route for each command of MXSeal, with the same parameters, roles and results as at the command line.
Commands that change nothing and take no files are GET, with their parameters in the query; all others are
POST, with one JSON object. Changes to the configuration are collected in a candidate of the token's own until
`commit`. Long work is told line by line (`application/x-ndjson`, or `text/event-stream`); the last line holds
`ended`. A caller that closes the connection ends its command.
"""
_PROBLEMS = {
    "400": "The request can't be read",
    "401": "The token is missing, wrong, expired or revoked",
    "403": "The token's role may not do this",
    "404": "A question about something that is not there",
    "406": "The answer has another media type than those accepted",
    "409": "The command says no, and why; nothing was done unless `result` says otherwise",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "Parameters do not fit: `problems` names them",
    "429": "Too many wrong tokens from this address, or too many commands at once",
    "500": "A fault of the gateway, told in its system log",
    "503": "The gateway is stopping",
}
_NO_NUL = "^[^\\u0000]*$"


def method(entry: Command) -> Literal["GET", "POST"]:
    return "GET" if entry.reads else "POST"


def document(commands: Registry, version: str) -> Schema:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "MXSeal", "version": version, "description": _ABOUT},
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in sorted({entry.words[0] for entry in commands.commands})],
        "paths": {
            f"/{'/'.join(entry.words)}": {method(entry).lower(): _operation(entry)}
            for entry in sorted(commands.commands, key=lambda entry: entry.words)
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made with `tokenconfig new`."}
            },
            "schemas": {"Problem": _PROBLEM, "File": _FILE},
            "responses": {
                status: {
                    "description": text,
                    "content": {"application/problem+json": {"schema": _reference("schemas", "Problem")}},
                }
                for status, text in _PROBLEMS.items()
            },
        },
    }


def _operation(entry: Command) -> Schema:
    about = entry.describe()
    other = "415" if entry.reads else "404"
    operation: Schema = {
        "operationId": "-".join(entry.words),
        "tags": [entry.words[0]],
        "summary": entry.summary,
        "description": f"{about['description']}\n\nRoles: {_roles(entry)}.".strip(),
        "x-roles": sorted({"administrator", *entry.roles}),
        "responses": {
            "200": {"description": "What the command has to say", "content": _content(entry)},
            **{status: _reference("responses", status) for status in _PROBLEMS if status != other},
        },
    }
    if entry.reads:
        operation["parameters"] = [_query(parameter) for parameter in entry.parameters]
    else:
        operation["requestBody"] = _body(entry)
    return operation


def _roles(entry: Command) -> str:
    return "all" if "read-only" in entry.roles else ", ".join(sorted({"administrator", *entry.roles}))


def _content(entry: Command) -> Schema:
    if entry.streams:
        return {"application/x-ndjson": {}, "text/event-stream": {}}
    return {"application/json": {}}


def _reference(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _query(parameter: Parameter) -> Schema:
    found: Schema = {
        "name": public(parameter),
        "in": "query",
        "required": parameter.needed,
        "description": parameter.marker.help,
        "schema": _schema(parameter),
    }
    return {**found, "style": "form", "explode": True} if parameter.several else found


def _body(entry: Command) -> Schema:
    needed = [public(parameter) for parameter in entry.parameters if parameter.needed]
    schema: Schema = {
        "type": "object",
        "properties": {
            public(parameter): {"description": parameter.marker.help, **_nullable(parameter)}
            for parameter in entry.parameters
        },
        "additionalProperties": False,
    }
    if needed:
        schema["required"] = needed
    return {"required": bool(needed), "content": {"application/json": {"schema": schema}}}


def _nullable(parameter: Parameter) -> Schema:
    schema = _schema(parameter)
    return schema if parameter.needed else {"anyOf": [schema, {"type": "null"}]}


def _schema(parameter: Parameter) -> Schema:
    one = _one(parameter)
    if not parameter.needed and isinstance(parameter.default, str | int | float) and parameter.default != "":
        one["default"] = parameter.default
    if not parameter.several:
        return one
    one.pop("default", None)
    bounds = {"minItems": 1} if parameter.needed else {}
    return {"type": "array", "items": one, "maxItems": MOST_VALUES, **bounds}


def _one(parameter: Parameter) -> Schema:
    kind, marker = parameter.kind, parameter.marker
    if get_origin(kind) is Literal:
        return {"enum": list(get_args(kind))}
    if kind is bool:
        return {"type": "boolean"}
    if kind in (int, float):
        schema: Schema = {"type": "integer" if kind is int else "number"}
        bounds = {"minimum": marker.least, "maximum": marker.most}
        return schema | {name: value for name, value in bounds.items() if value is not None}
    if kind in (FileText, FileBytes):
        return _reference("schemas", "File")
    if kind is Secret:
        return {"type": "string", "maxLength": SECRET_LIMIT, "pattern": _NO_NUL, "writeOnly": True}
    least = {"minLength": 1} if kind is OutputFile else {}
    return {"type": "string", "maxLength": TEXT_LIMIT, "pattern": _NO_NUL, **least}


_NAME: Schema = {"type": "string", "maxLength": 255, "pattern": _NO_NUL}
_FILE: Schema = {
    "description": f"A file: its text, or an object with its text or base64. At most {FILE_LIMIT >> 20} MiB.",
    "oneOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"text": {"type": "string"}, "name": _NAME},
            "required": ["text"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"base64": {"type": "string", "contentEncoding": "base64"}, "name": _NAME},
            "required": ["base64"],
            "additionalProperties": False,
        },
    ],
}
_PROBLEM: Schema = {
    "description": "RFC 9457. `problems` has what is wrong in single places, with what to do about it.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "problems": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in ("path", "text", "remedy")},
                "required": ["path", "text", "remedy"],
            },
        },
        "result": {"description": "What the command found out before it failed"},
    },
    "required": ["type", "title", "status", "detail"],
}

if __name__ == "__main__":
    made = document(registry(), __version__)
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(made), indent=1).decode() + "\n")
