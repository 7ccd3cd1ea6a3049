"""docs/security.md names the tests that show what holds an attack off: they exist, by file and name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_each_test_that_the_threat_model_names_exists(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text())
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert [name for named, name in NAMED if named == file and name not in there] == []


def test_each_attack_in_the_threat_model_names_a_test() -> None:
    tables = [part for part in TEXT.split("\n\n") if part.startswith("| attack | what holds it off |")]
    assert len(tables) == 9
    for table in tables:
        for row in table.splitlines()[2:]:
            assert re.search(r"`tests/[\w/]+\.py::test_\w+` \|$", row), row
