"""Servers that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ca import Authority
from lab.place import folder_for
from tests.e2e.estate import Starter, starter


@pytest.fixture(scope="module")
def lasting() -> Iterator[Starter]:
    """`lasting(lambda: Sink(...))`: the server, started; stopped in reverse order behind the file's tests."""
    with starter() as start:
        yield start


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A folder for the files of one file's tests."""
    with folder_for("e2e") as folder:
        yield folder


@pytest.fixture(scope="module")
def roots(authority: Authority, ground: Path) -> Path:
    """PEM file of the throw-away authority, for `delivery.ca_file`."""
    path = ground / "roots.pem"
    path.write_bytes(authority.pem)
    return path
