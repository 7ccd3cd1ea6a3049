"""Servers that the tests of one file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.appliance import Appliance
from lab.ca import Authority
from lab.cicap import Cicap
from tests.conftest import Starter
from tests.e2e.estate import starter


@pytest.fixture(scope="module")
def cicap(authority: Authority) -> Iterator[Cicap]:
    """c-icap with ClamAV, over TLS and without."""
    with starter() as start:
        yield start(lambda: Cicap(authority.issue("127.0.0.1")))


@pytest.fixture
def thing(running: Starter, authority: Authority) -> Appliance:
    """The double of an appliance."""
    return running(lambda: Appliance(authority.issue("127.0.0.1")))
