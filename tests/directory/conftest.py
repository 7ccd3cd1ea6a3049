"""A directory that the tests of one file share, and its certificate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.ca import Authority
from lab.slapd import Slapd
from tests.directory.estate import directory
from tests.e2e.estate import starter


@pytest.fixture(scope="module")
def slapd(authority: Authority) -> Iterator[Slapd]:
    """With LDAPS and StartTLS; everybody may read."""
    with starter() as start:
        yield start(lambda: directory(authority.issue("127.0.0.1")))
