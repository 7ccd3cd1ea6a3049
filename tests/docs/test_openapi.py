"""The OpenAPI document that is shipped is the one that the registry makes."""

from __future__ import annotations

import json
from typing import Any

from mxseal import __version__
from mxseal.commands.catalogue import registry
from mxseal.faces.api import openapi
from tests.docs.pages import ROOT

SHIPPED = ROOT / "docs" / "openapi.json"


def test_the_openapi_document_is_what_the_registry_says() -> None:
    made = json.loads(json.dumps(openapi.document(registry(), __version__)))
    assert json.loads(SHIPPED.read_text()) == made, (
        "run: python -m mxseal.faces.api.openapi > docs/openapi.json"
    )


def test_every_command_has_one_operation_and_every_parameter_is_described() -> None:
    document = json.loads(SHIPPED.read_text())
    found: dict[str, Any] = {}
    for path, methods in document["paths"].items():
        assert len(methods) == 1
        found[path] = next(iter(methods.values()))
    for entry in registry().commands:
        operation = found.pop(f"/{'/'.join(entry.words)}")
        assert set(operation["x-roles"]) == {"administrator", *entry.roles}
        body = (
            operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        )
        described = {entry["name"] for entry in operation.get("parameters", [])} | set(
            body.get("properties", {})
        )
        assert described == {parameter.name.rstrip("_") for parameter in entry.parameters}
    assert not found


def test_no_question_has_a_secret_or_a_file_in_its_url() -> None:
    for entry in registry().commands:
        if entry.reads:
            kinds = {parameter.describe()["type"] for parameter in entry.parameters}
            assert not kinds & {"Secret", "FileText", "FileBytes", "OutputFile"}, entry.words


def test_only_few_commands_are_questions_beyond_those_of_read_only() -> None:
    few = {" ".join(entry.words) for entry in registry().commands if entry.asked}
    of_users = {"userconfig list", "userconfig sshkey list", "userconfig certificate list"}
    assert few == of_users | {"tokenconfig list"}
