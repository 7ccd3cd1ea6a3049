"""Fixtures of the faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faces.serving import Serving, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Serving]:
    """A gateway's local face in a home of its own."""
    with serving(tmp_path) as running:
        yield running
