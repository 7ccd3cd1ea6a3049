"""Fixtures for tests of recordings."""

from __future__ import annotations

import os

import pytest

from lab import Unavailable
from lab.tshark import ready
from tests.tls.pairs import Pki


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session", autouse=True)
def reader() -> None:
    """Wireshark's programs."""
    try:
        ready()
    except Unavailable as reason:
        if os.environ.get("MXSEAL_LAB") == "required":
            raise
        pytest.skip(str(reason))
