"""An event log and an indexer for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tracking.journal import Journal, Mail, Tracking


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "home")


@pytest.fixture
def tracking(journal: Journal) -> Iterator[Tracking]:
    here = Tracking(journal.home)
    yield here
    here.close()


@pytest.fixture
def mail() -> Mail:
    return Mail()
